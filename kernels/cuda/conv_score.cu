// Engine "score", forward: bound by reading src, which happens once, 16 bytes a lane. Products on
// the tensor cores: the order of the channels in a sum is free, so the 16 bytes that a lane loads
// of a pixel, and those of the same channels' weights, are operands of two mma as they are; no
// lane ever needs another one's data. Exact f32 has a kernel of plain FMAs, where eight lanes share
// a pixel and shuffles add up.
// Counted on softgpu: sectors whole but for the weights, which each block reads once; no bank
// conflicts.
#include <limits>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cuda/conv_engines.h"
#include "kernels/cuda/conv_score.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

constexpr int kWarps = kScoreThreads / 32;

struct ScoreForwardArgs {
  ScoreArgs score;
  const float* weight;
  const float* bias;  // may be null
  bool relu;
  float* dst;
};

__device__ void StoreScore(const ScoreForwardArgs& args, int pixel, int output, float sum) {
  const ScoreArgs& score = args.score;
  if (pixel >= score.pixels || output >= score.outputs) return;
  if (args.bias != nullptr) sum += args.bias[output];
  if (args.relu && sum < 0) sum = 0;
  const int image = pixel / score.image_pixels;
  const int64_t plane = static_cast<int64_t>(image) * score.outputs + output;
  args.dst[plane * score.image_pixels + pixel - image * score.image_pixels] = sum;
}

// 16 bytes of a pixel, zeros past the last pixel or channel.
template <class T>
__device__ uint4 LoadSegment(const ScoreArgs& args, const T* src, int pixel, int channel) {
  if (pixel >= args.pixels || channel >= args.channels) return make_uint4(0, 0, 0, 0);
  return __ldg(
      reinterpret_cast<const uint4*>(src + static_cast<int64_t>(pixel) * args.channels + channel));
}

// A warp computes 32 pixels. Of a chunk of 64 bytes of each, lane 4g + t loads segment t of pixels
// g, g + 8, g + 16 and g + 24.
template <class T>
__global__ void __launch_bounds__(kScoreThreads)
    ScoreForward(const ScoreForwardArgs args, const T* __restrict__ src) {
  constexpr int kWidth = kVectorWidth<T>, kChunk = 4 * kWidth;
  extern __shared__ uint4 weights[];  // [chunk][lane]: segment t of output g's weights
  const ScoreArgs& score = args.score;
  const int chunks = (score.channels + kChunk - 1) / kChunk;
  for (int i = threadIdx.x; i < chunks * 32; i += kScoreThreads) {
    const int output = i % 32 / 4, channel = i / 32 * kChunk + i % 4 * kWidth;
    Vector<T, kWidth> values;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const bool valid = output < score.outputs && channel < score.channels;
      values.at[j] =
          Mma<T>::Round(valid ? args.weight[output * score.channels + channel + j] : 0.0f);
    }
    weights[i] = *reinterpret_cast<const uint4*>(&values);
  }
  __syncthreads();
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int stride = gridDim.x * kScoreThreads;
  for (int first = blockIdx.x * kScoreThreads + threadIdx.x / 32 * 32; first < score.pixels;
       first += stride) {
    float sums[2][4] = {};
#pragma unroll 2
    for (int chunk = 0; chunk < chunks; ++chunk) {
      uint4 pixels[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        pixels[i] = LoadSegment(score, src, first + g + i * 8, chunk * kChunk + t * kWidth);
      }
      const uint4 w = weights[chunk * 32 + lane];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        const uint4 &low = pixels[m * 2], &high = pixels[m * 2 + 1];
        Mma<T>::Run(sums[m], {low.x, high.x, low.y, high.y}, w.x, w.y);
        Mma<T>::Run(sums[m], {low.z, high.z, low.w, high.w}, w.z, w.w);
      }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      StoreScore(args, first + i / 2 * 8 + g, t * 2 + i % 2, sums[i / 4][i % 4]);
    }
  }
}

// Adds up the sums of eight lanes. Each step halves those that a lane goes on with: at the end lane
// l % 8 has sums l % 8 * kCount / 8 and after, at the front.
template <int kCount, int kMask = 4, int kSize>
__device__ void AddUpEightLanes(float (&sums)[kSize]) {
  constexpr int kHalf = kCount / 2;
  const bool upper = threadIdx.x & kMask;
#pragma unroll
  for (int i = 0; i < kHalf; ++i) {
    const float given = upper ? sums[i] : sums[i + kHalf];
    const float kept = upper ? sums[i + kHalf] : sums[i];
    sums[i] = kept + __shfl_xor_sync(~0u, given, kMask);
  }
  if constexpr (kMask > 1) AddUpEightLanes<kHalf, kMask / 2>(sums);
}

// A warp computes 16 pixels: lanes 8g to 8g + 7 load 128 bytes of pixels g, g + 4, g + 8, g + 12.
template <int kOutputs>
__global__ void __launch_bounds__(kScoreThreads)
    ScoreForwardExact(const ScoreForwardArgs args, const float* __restrict__ src) {
  constexpr int kPixels = 4, kChunk = 32;
  extern __shared__ uint4 shared[];
  float* weights = reinterpret_cast<float*>(shared);  // [output][chunks * kChunk]
  const ScoreArgs& score = args.score;
  const int row = (score.channels + kChunk - 1) / kChunk * kChunk;
  for (int i = threadIdx.x; i < kOutputs * row; i += kScoreThreads) {
    const int output = i / row, channel = i % row;
    const bool valid = output < score.outputs && channel < score.channels;
    weights[i] = valid ? args.weight[output * score.channels + channel] : 0.0f;
  }
  __syncthreads();
  const int lane = threadIdx.x % 32, g = lane / 8;
  const int stride = gridDim.x * kWarps * 16;
  for (int first = (blockIdx.x * kWarps + threadIdx.x / 32) * 16; first < score.pixels;
       first += stride) {
    float sums[kPixels * kOutputs] = {};
    for (int channel = lane % 8 * 4; channel < row; channel += kChunk) {
      float4 values[kPixels];
#pragma unroll
      for (int p = 0; p < kPixels; ++p) {
        const uint4 segment = LoadSegment(score, src, first + g + p * 4, channel);
        values[p] = *reinterpret_cast<const float4*>(&segment);
      }
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) {
        const float4 w = *reinterpret_cast<const float4*>(weights + o * row + channel);
#pragma unroll
        for (int p = 0; p < kPixels; ++p) {
          float& sum = sums[p * kOutputs + o];
          sum = fmaf(w.x, values[p].x, sum);
          sum = fmaf(w.y, values[p].y, sum);
          sum = fmaf(w.z, values[p].z, sum);
          sum = fmaf(w.w, values[p].w, sum);
        }
      }
    }
    AddUpEightLanes<kPixels * kOutputs>(sums);
    constexpr int kKept = kPixels * kOutputs / 8;
#pragma unroll
    for (int i = 0; i < kKept; ++i) {
      const int sum = lane % 8 * kKept + i;
      StoreScore(args, first + g + sum / kOutputs * 4, sum % kOutputs, sums[i]);
    }
  }
}

template <int kOutputs>
void LaunchExact(const Context& context, const ScoreForwardArgs& args, const float* src) {
  const int shared = kOutputs * static_cast<int>(CeilDiv(args.score.channels, 32)) * 32 * 4;
  const unsigned grid = GridFor(context, args.score.pixels, kWarps * 16, 4);
  ScoreForwardExact<kOutputs><<<grid, kScoreThreads, shared, StreamOf(context)>>>(args, src);
  CheckLaunch("ScoreForwardExact");
}

class ScoreConv : public ConvPlan {
 public:
  ScoreConv(const Context& context, const ConvParams& params, ConvDirection direction, DType dtype)
      : p_(params),
        direction_(direction),
        dtype_(dtype),
        workspace_(direction == ConvDirection::kBackwardWeights
                       ? ScoreWeightsWorkspace(context, params, dtype)
                       : 0) {}

  int64_t WorkspaceBytes(GradMode) const override { return workspace_; }

  void Run(Context& context, const ConvArgs& args) const override {
    const bool skip =
        (direction_ == ConvDirection::kBackwardData && args.d_src_mode == GradMode::kSkip) ||
        (direction_ == ConvDirection::kBackwardWeights && args.d_weight_mode == GradMode::kSkip);
    if (skip) return;
    CheckConvArgs(p_, direction_, args);
    LSEG_CHECK(IsAligned(args.src, 16) && IsAligned(args.d_src, 16) && IsAligned(args.weight, 16),
               "score: src, d_src and weight must be aligned to 16 bytes");
    switch (direction_) {
      case ConvDirection::kForward:
        return RunScoreForward(context, p_, dtype_, args);
      case ConvDirection::kBackwardData:
        return RunScoreData(context, p_, dtype_, args);
      case ConvDirection::kBackwardWeights:
        return RunScoreWeights(context, p_, dtype_, args);
    }
  }

 private:
  ConvParams p_;
  ConvDirection direction_;
  DType dtype_;
  int64_t workspace_;
};

}  // namespace

ScoreArgs MakeScoreArgs(const ConvParams& p) {
  return {static_cast<int>(p.src.n * p.src.h * p.src.w), static_cast<int>(p.src.h * p.src.w),
          static_cast<int>(p.src.c), static_cast<int>(p.out_channels)};
}

void RunScoreForward(Context& context, const ConvParams& params, DType dtype, const ConvArgs& run) {
  const ScoreForwardArgs args = {MakeScoreArgs(params), static_cast<const float*>(run.weight),
                                 params.bias ? run.bias : nullptr, params.relu, run.f32_dst()};
  if (dtype == DType::kF32 && !params.allow_tf32) {
    if (params.out_channels <= 4) return LaunchExact<4>(context, args, run.f32_src());
    return LaunchExact<kMostScores>(context, args, run.f32_src());
  }
  WithElementType(dtype, [&](auto element) {
    using T = decltype(element);
    const int shared = static_cast<int>(CeilDiv(params.src.c * sizeof(T), 64)) * 32 * 16;
    const unsigned grid = GridFor(context, args.score.pixels, kScoreThreads, 4);
    ScoreForward<<<grid, kScoreThreads, shared, StreamOf(context)>>>(
        args, static_cast<const T*>(run.src));
    CheckLaunch("ScoreForward");
  });
}

bool SupportsConvScore(const Context&, const ConvParams& p, ConvDirection, ConvFormats formats) {
  constexpr int64_t kMostChannels = 1024;  // whose weights fit 48 KB of shared memory
  return formats.src == Format::kNHWC && formats.dst == Format::kNCHW &&
         IsFloat(formats.src_dtype) && formats.dst_dtype == DType::kF32 && p.kernel_h == 1 &&
         p.kernel_w == 1 && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 0 && p.pad_w == 0 &&
         p.group == 1 && p.out_channels <= kMostScores && p.src.c % 8 == 0 &&
         p.src.c <= kMostChannels &&
         p.src.n * p.src.h * p.src.w <= std::numeric_limits<int32_t>::max() / 2;
}

std::unique_ptr<ConvPlan> MakeConvScore(const Context& context, const ConvParams& params,
                                        ConvDirection direction, ConvFormats formats) {
  return std::make_unique<ScoreConv>(context, params, direction, formats.src_dtype);
}

}  // namespace lseg::cuda
