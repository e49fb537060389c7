// Engine "first_layer", forward: bound by writing dst, which is why a lane stores 16 bytes, and the
// four lanes that share a pixel 64 bytes in a row, straight from the registers of mma: the order of
// the columns of a product is free, so each lane gets neighbouring channels. Operands are rounded
// to dst's type (f32: to tf32 where allowed); K = 9 channels padded to whole instructions, gathered
// from a tile in shared memory. Exact f32 has a kernel of plain FMAs.
// Counted on softgpu: sectors of stores whole; wavefronts of shared loads 14 % (bf16) and 7 %
// (tf32) above the fewest, exact f32 without conflicts. Loads of weights are scattered, once a
// block; of src, rows begin one pixel before a sector.
#include "kernels/cpu/conv_engines.h"
#include "kernels/cuda/conv_engines.h"
#include "kernels/cuda/conv_first.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

struct FirstForwardArgs {
  FirstArgs image;
  const float* weight;
  const float* bias;  // may be null
  bool relu;
};

// A block's bias, zeros where there is none.
__device__ void LoadBias(const FirstForwardArgs& args, int first, float* bias) {
  const int output = first + threadIdx.x;
  if (threadIdx.x >= kFirstOutputs) return;
  bias[threadIdx.x] =
      args.bias != nullptr && output < args.image.outputs ? args.bias[output] : 0.0f;
}

// The columns of the products: channel of column `column` of fragment `fragment`. A lane, which
// has columns 2t and 2t+1 of all fragments, has the kWidth channels from t * kWidth of each group.
template <class T>
__device__ int ChannelOf(int fragment, int column) {
  constexpr int kWidth = kVectorWidth<T>, kGroup = kWidth / 2;
  return fragment / kGroup * 4 * kWidth + column / 2 * kWidth + fragment % kGroup * 2 + column % 2;
}

constexpr int kFragments = kFirstOutputs / 8;

// Operand b of all products: weights as mma takes them, zeros past the last tap and channel.
template <class T, int kSteps>
__device__ void LoadWeights(const FirstForwardArgs& args, int first,
                            uint32_t (&b)[kSteps][kFragments][2]) {
  constexpr int kPerRegister = 4 / sizeof(T), kDepth = Mma<T>::kDepth;
  const int column = threadIdx.x % 32 / 4, t = threadIdx.x % 4, taps = args.image.channels * 9;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
      const int output = first + ChannelOf<T>(n, column);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        Vector<T, kPerRegister> values;
#pragma unroll
        for (int i = 0; i < kPerRegister; ++i) {
          const int k = step * kDepth + half * (kDepth / 2) + t * kPerRegister + i;
          const bool valid = k < taps && output < args.image.outputs;
          values.at[i] = Mma<T>::Round(valid ? args.weight[output * taps + k] : 0.0f);
        }
        b[step][n][half] = *reinterpret_cast<const uint32_t*>(&values);
      }
    }
  }
}

// Operand a of the products of 16 pixels from `pixel` on.
template <class T, int kSteps>
__device__ void LoadPixels(const T* pixel, const int (&taps)[kSteps][2 * 4 / sizeof(T)],
                           uint32_t (&a)[kSteps][4]) {
  constexpr int kPerRegister = 4 / sizeof(T);
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      Vector<T, kPerRegister> values;
#pragma unroll
      for (int j = 0; j < kPerRegister; ++j) {
        values.at[j] = pixel[taps[step][i / 2 * kPerRegister + j] + i % 2 * 8];
      }
      a[step][i] = *reinterpret_cast<const uint32_t*>(&values);
    }
  }
}

// What a lane has of a pixel: rows 0-7 of the fragments with half 0, rows 8-15 with half 1.
template <class T>
__device__ void StorePixel(const float (&sums)[kFragments][4], int half, int first, int outputs,
                           bool relu, T* pixel) {
  constexpr int kWidth = kVectorWidth<T>, kGroup = kWidth / 2;
#pragma unroll
  for (int group = 0; group < kFragments / kGroup; ++group) {
    const int channel = first + ChannelOf<T>(group * kGroup, threadIdx.x % 4 * 2);
    if (channel >= outputs) continue;
    Vector<T, kWidth> values;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float sum = sums[group * kGroup + i / 2][half * 2 + i % 2];
      values.at[i] = FromFloat<T>(relu && sum < 0 ? 0.0f : sum);
    }
    Store(pixel + channel, values);
  }
}

// Blocks a multiprocessor holds: bounds the registers, of which the weights take most.
template <class T, int kSteps>
constexpr int kBlocks = sizeof(T) == 2 && kSteps == 2 ? 4
                        : kSteps == 5                 ? 2
                                                      : 3;

template <class T, int kSteps>
__global__ void __launch_bounds__(kFirstThreads, (kBlocks<T, kSteps>))
    FirstForward(const FirstForwardArgs args, T* __restrict__ dst) {
  using Tile = FirstTile<T>;
  constexpr int kTapsAStep = 2 * 4 / sizeof(T), kPerRegister = 4 / sizeof(T);
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float bias[kFirstOutputs];
  T* tile = reinterpret_cast<T*>(shared);
  const FirstArgs& image = args.image;
  const int first = blockIdx.y * kFirstOutputs;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  LoadBias(args, first, bias);
  uint32_t b[kSteps][kFragments][2];
  LoadWeights<T, kSteps>(args, first, b);
  int taps[kSteps][kTapsAStep];
#pragma unroll
  for (int i = 0; i < kSteps * kTapsAStep; ++i) {
    const int k = i / kTapsAStep * Mma<T>::kDepth +
                  i % kTapsAStep / kPerRegister * (Mma<T>::kDepth / 2) + t * kPerRegister +
                  i % kPerRegister;
    taps[i / kTapsAStep][i % kTapsAStep] = k < image.channels * 9 ? Tile::TapAt(k) : 0;
  }
  for (int at = blockIdx.x; at < image.images * image.tiles_y * image.tiles_x; at += gridDim.x) {
    const FirstPlace place(image, at);
    __syncthreads();
    Tile::Load(image, place.image, place.y, place.x, tile);
    __syncthreads();
    for (int part = warp; part < kFirstHeight * kFirstWidth / 16; part += kFirstThreads / 32) {
      const int row = part / (kFirstWidth / 16), column = part % (kFirstWidth / 16) * 16 + g;
      uint32_t a[kSteps][4];
      LoadPixels<T, kSteps>(tile + row * Tile::kRow + column, taps, a);
      float sums[kFragments][4];
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
        const float2 start = *reinterpret_cast<const float2*>(&bias[ChannelOf<T>(n, t * 2)]);
        sums[n][0] = sums[n][2] = start.x;
        sums[n][1] = sums[n][3] = start.y;
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
          Mma<T>::Run(sums[n], a[step], b[step][n][0], b[step][n][1]);
        }
      }
      const int y = place.y + row, x = place.x + column;
      if (y >= image.height) continue;
      T* pixel = dst + ((static_cast<int64_t>(place.image) * image.height + y) * image.width + x) *
                           image.outputs;
      if (x < image.width) StorePixel(sums, 0, first, image.outputs, args.relu, pixel);
      if (x + 8 < image.width) {
        StorePixel(sums, 1, first, image.outputs, args.relu, pixel + 8 * image.outputs);
      }
    }
  }
}

// Exact f32: a thread has 8 pixels of a row and 4 channels; 16 threads have all channels of a
// block.
__global__ void __launch_bounds__(kFirstThreads, 4)
    FirstForwardExact(const FirstForwardArgs args, float* __restrict__ dst) {
  using Tile = FirstTile<float>;
  constexpr int kPixels = 8;
  extern __shared__ __align__(16) uint8_t shared[];
  const FirstArgs& image = args.image;
  const int taps = image.channels * 9, first = blockIdx.y * kFirstOutputs;
  float* tile = reinterpret_cast<float*>(shared);
  float* bias = tile + image.channels * Tile::kChannel;
  float* weight = bias + kFirstOutputs;  // [tap][channel]
  LoadBias(args, first, bias);
  for (int i = threadIdx.x; i < taps * kFirstOutputs; i += kFirstThreads) {
    const int output = first + i % kFirstOutputs;
    weight[i] = output < image.outputs ? args.weight[output * taps + i / kFirstOutputs] : 0.0f;
  }
  const int channel = threadIdx.x % 16 * 4, column = threadIdx.x / 16 * kPixels;
  for (int at = blockIdx.x; at < image.images * image.tiles_y * image.tiles_x; at += gridDim.x) {
    const FirstPlace place(image, at);
    __syncthreads();
    Tile::Load<true>(image, place.image, place.y, place.x, tile);
    __syncthreads();
    for (int row = 0; row < kFirstHeight && place.y + row < image.height; ++row) {
      float4 sums[kPixels];
#pragma unroll
      for (float4& sum : sums) sum = *reinterpret_cast<const float4*>(bias + channel);
      for (int line = 0; line < image.channels * 3; ++line) {  // of the taps: channel, row
        const float* from =
            tile + line / 3 * Tile::kChannel + (row + line % 3) * Tile::kRow + column;
        float values[kPixels + 4];
#pragma unroll
        for (int i = 0; i < kPixels + 4; i += 4) {
          *reinterpret_cast<float4*>(values + i) = *reinterpret_cast<const float4*>(from + i);
        }
#pragma unroll
        for (int s = 0; s < 3; ++s) {
          const float4 w =
              *reinterpret_cast<const float4*>(weight + (line * 3 + s) * kFirstOutputs + channel);
#pragma unroll
          for (int i = 0; i < kPixels; ++i) {
            sums[i].x = fmaf(w.x, values[i + s], sums[i].x);
            sums[i].y = fmaf(w.y, values[i + s], sums[i].y);
            sums[i].z = fmaf(w.z, values[i + s], sums[i].z);
            sums[i].w = fmaf(w.w, values[i + s], sums[i].w);
          }
        }
      }
      if (first + channel >= image.outputs) continue;
      const int x = place.x + column;
      float* pixel =
          dst +
          ((static_cast<int64_t>(place.image) * image.height + place.y + row) * image.width + x) *
              image.outputs +
          first + channel;
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
        float4 sum = sums[i];
        if (args.relu) {
          sum.x = sum.x < 0 ? 0 : sum.x;
          sum.y = sum.y < 0 ? 0 : sum.y;
          sum.z = sum.z < 0 ? 0 : sum.z;
          sum.w = sum.w < 0 ? 0 : sum.w;
        }
        if (x + i < image.width) {
          *reinterpret_cast<float4*>(pixel + static_cast<int64_t>(i) * image.outputs) = sum;
        }
      }
    }
  }
}

dim3 FirstGrid(const Context& context, const FirstArgs& args, int blocks_per_sm) {
  const int64_t tiles = int64_t{args.images} * args.tiles_y * args.tiles_x;
  return dim3(GridFor(context, tiles, 1, blocks_per_sm),
              static_cast<unsigned>(CeilDiv(args.outputs, kFirstOutputs)));
}

template <class T, int kSteps>
void LaunchFirstForward(const Context& context, const FirstForwardArgs& args, T* dst) {
  const int shared = args.image.channels * FirstTile<T>::kChannel * static_cast<int>(sizeof(T));
  FirstForward<T, kSteps><<<FirstGrid(context, args.image, kBlocks<T, kSteps>), kFirstThreads,
                            shared, StreamOf(context)>>>(args, dst);
  CheckLaunch("FirstForward");
}

}  // namespace

FirstArgs MakeFirstArgs(const ConvParams& p) {
  FirstArgs args = {};
  args.images = static_cast<int>(p.src.n);
  args.channels = static_cast<int>(p.src.c);
  args.height = static_cast<int>(p.src.h);
  args.width = static_cast<int>(p.src.w);
  args.outputs = static_cast<int>(p.out_channels);
  args.tiles_x = static_cast<int>(CeilDiv(p.src.w, kFirstWidth));
  args.tiles_y = static_cast<int>(CeilDiv(p.src.h, kFirstHeight));
  return args;
}

void RunFirstForward(Context& context, const ConvParams& params, DType dtype, const ConvArgs& run) {
  FirstForwardArgs args = {MakeFirstArgs(params), static_cast<const float*>(run.weight),
                           params.bias ? run.bias : nullptr, params.relu};
  args.image.src = run.f32_src();
  if (dtype == DType::kF32 && !params.allow_tf32) {
    const int shared =
        (args.image.channels * (FirstTile<float>::kChannel + 9 * kFirstOutputs) + kFirstOutputs) *
        static_cast<int>(sizeof(float));
    FirstForwardExact<<<FirstGrid(context, args.image, 4), kFirstThreads, shared,
                        StreamOf(context)>>>(args, run.f32_dst());
    return CheckLaunch("FirstForwardExact");
  }
  WithElementType(dtype, [&](auto element) {
    using T = decltype(element);
    T* dst = static_cast<T*>(run.dst);
    // Steps for 3 channels, the usual case, and for 4.
    if (params.src.c <= 3) return LaunchFirstForward<T, 32 / Mma<T>::kDepth>(context, args, dst);
    LaunchFirstForward<T, (36 + Mma<T>::kDepth - 1) / Mma<T>::kDepth>(context, args, dst);
  });
}

namespace {

class FirstConv : public ConvPlan {
 public:
  FirstConv(const Context& context, const ConvParams& params, ConvDirection direction, DType dtype)
      : p_(params),
        direction_(direction),
        dtype_(dtype),
        workspace_(direction == ConvDirection::kForward ? 0
                                                        : FirstWeightsWorkspace(context, params)) {}

  int64_t WorkspaceBytes(GradMode) const override { return workspace_; }

  void Run(Context& context, const ConvArgs& args) const override {
    const bool forward = direction_ == ConvDirection::kForward;
    if (!forward && args.d_weight_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, direction_, args);
    LSEG_CHECK(IsAligned(forward ? args.dst : args.d_dst, 16),
               "first_layer: dst and d_dst must be aligned to 16 bytes");
    (forward ? RunFirstForward : RunFirstWeights)(context, p_, dtype_, args);
  }

 private:
  ConvParams p_;
  ConvDirection direction_;
  DType dtype_;
  int64_t workspace_;
};

}  // namespace

bool SupportsConvFirst(const Context&, const ConvParams& p, ConvDirection direction,
                       ConvFormats formats) {
  const bool exact = formats.dst_dtype == DType::kF32 && !p.allow_tf32;
  return (direction == ConvDirection::kForward ||
          (direction == ConvDirection::kBackwardWeights && !exact)) &&
         formats.src == Format::kNCHW && formats.src_dtype == DType::kF32 &&
         formats.dst == Format::kNHWC && IsFloat(formats.dst_dtype) && p.src.c <= 4 &&
         p.out_channels % 8 == 0 && p.out_channels <= 2 * kFirstOutputs && p.kernel_h == 3 &&
         p.kernel_w == 3 && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 1 && p.pad_w == 1 &&
         p.dilation_h == 1 && p.dilation_w == 1 && p.group == 1;
}

std::unique_ptr<ConvPlan> MakeConvFirst(const Context& context, const ConvParams& params,
                                        ConvDirection direction, ConvFormats formats) {
  return std::make_unique<FirstConv>(context, params, direction, formats.dst_dtype);
}

}  // namespace lseg::cuda
