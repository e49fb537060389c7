// Engine "first_layer", backward weights: bound by reading d_dst, which each block does once. Rows
// of the products are the taps and a last row of ones, whose sums are d_bias; columns are channels
// of dst, and the sum runs over pixels. d_dst comes by cp.async, a row of a tile at a time, and is
// turned by ldmatrix (f32: read as it is); pixels of src are gathered from the tile of FirstTile.
// Each block leaves its sums in the workspace: conv_partials.cuh.
// Counted on softgpu: sectors whole; wavefronts of shared loads 9 % (bf16) and 13 % (f32) above the
// fewest, where four rows of taps meet.
#include "kernels/cuda/conv_first.h"
#include "kernels/cuda/conv_partials.cuh"

namespace lseg::cuda {
namespace {

constexpr int kStages = 3;  // rows of d_dst in shared memory or on their way
constexpr int kWarps = kFirstThreads / 32;
constexpr int kPixels = kFirstWidth / kWarps;  // of a row that a warp takes
constexpr int kFragmentsN = kFirstOutputs / 8;

struct FirstWeightsArgs {
  FirstArgs image;
  float* partials;  // [block x][taps + 1][padded outputs]
};

// A row of d_dst in shared memory: of each pixel, its 64 channels in segments of 16 bytes.
template <class T>
struct GradientRow {
  static constexpr int kPixelBytes = kFirstOutputs * sizeof(T);
  static constexpr int kBytes = kFirstWidth * kPixelBytes;
  static constexpr int kSegments = kPixelBytes / 16;

  // 2 bytes: ldmatrix reads one segment of eight pixels; f32: the lanes read 32 bytes of four.
  __device__ static int At(int pixel, int segment) {
    const int place = sizeof(T) == 2 ? segment ^ (pixel & 7) : segment ^ (pixel & 3) * 2;
    return pixel * kPixelBytes + place * 16;
  }

  __device__ static void Copy(const FirstArgs& args, const FirstPlace& place, int row,
                              const T* d_dst, uint32_t to) {
    const int y = place.y + row, first = blockIdx.y * kFirstOutputs;
    const int64_t line = (static_cast<int64_t>(place.image) * args.height + y) * args.width;
#pragma unroll
    for (int i = threadIdx.x; i < kFirstWidth * kSegments; i += kFirstThreads) {
      const int pixel = i / kSegments, segment = i % kSegments;
      const int channel = first + segment * (16 / static_cast<int>(sizeof(T)));
      const bool valid = y < args.height && place.x + pixel < args.width && channel < args.outputs;
      const T* from = d_dst + (line + place.x + pixel) * args.outputs + channel;
      CpAsync16OrZeros(to + At(pixel, segment), valid ? from : d_dst, valid, true);
    }
  }
};

// Operand a: a lane's taps of kDepth pixels. Rows past the taps are 1 (the bias) or 0.
template <class T, int kFragmentsM>
class TapsOperand {
 public:
  __device__ explicit TapsOperand(int taps) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    Vector one;
    for (T& value : one.at) value = Mma<T>::Round(1);
#pragma unroll
    for (int i = 0; i < kFragmentsM * 2; ++i) {
      const int tap = i * 8 + g;
      at_[i] = tap < taps ? FirstTile<T>::TapAt(tap) + t * kPerRegister : -1;
      fill_[i] = tap == taps ? one.Bits() : 0;
    }
  }

  __device__ void Load(const T* pixel, uint32_t (&a)[kFragmentsM][4]) const {
#pragma unroll
    for (int m = 0; m < kFragmentsM; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = at_[m * 2 + i % 2];
        const T* from = pixel + (at < 0 ? 0 : at) + i / 2 * (Mma<T>::kDepth / 2);
        Vector values;
        for (int j = 0; j < kPerRegister; ++j) values.at[j] = from[j];
        a[m][i] = at < 0 ? fill_[m * 2 + i % 2] : values.Bits();
      }
    }
  }

 private:
  static constexpr int kPerRegister = 4 / sizeof(T);
  struct alignas(4) Vector {
    T at[kPerRegister];
    __device__ uint32_t Bits() const { return *reinterpret_cast<const uint32_t*>(at); }
  };
  int at_[kFragmentsM * 2];
  uint32_t fill_[kFragmentsM * 2];
};

// Operand b of kDepth pixels from `pixel` on, all channels.
template <class T>
__device__ void LoadGradients(const uint8_t* row, int pixel, uint32_t (&b)[kFragmentsN][2]) {
  using Row = GradientRow<T>;
  const int lane = threadIdx.x % 32;
  if constexpr (sizeof(T) == 2) {
    // Matrices: pixels 0-7 and 8-15 of a segment, then of the next one.
    pixel += lane % 16;
#pragma unroll
    for (int n = 0; n < kFragmentsN; n += 2) {
      uint32_t both[4];
      LdmatrixX4Trans(both, SharedAddress(row + Row::At(pixel, n + lane / 16)));
      b[n][0] = both[0], b[n][1] = both[1], b[n + 1][0] = both[2], b[n + 1][1] = both[3];
    }
  } else {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int n = 0; n < kFragmentsN; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int at = Row::At(pixel + half * 4 + t, n * 2 + g / 4) + g % 4 * 4;
        b[n][half] = *reinterpret_cast<const uint32_t*>(row + at);
      }
    }
  }
}

// Floats of a row of sums in shared memory: those that a half of a warp reads lie in all banks.
constexpr int kTotalRow = kFirstOutputs + 8;

// Adds up the sums of the block's warps, one after the other, in shared memory.
template <int kFragmentsM>
__device__ void AddUpWarps(const float (&sums)[kFragmentsM][kFragmentsN][4], float* total) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  for (int warp = 0; warp < kWarps; ++warp) {
    __syncthreads();
    if (threadIdx.x / 32 != warp) continue;
#pragma unroll
    for (int m = 0; m < kFragmentsM; ++m) {
#pragma unroll
      for (int n = 0; n < kFragmentsN; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float2* at = reinterpret_cast<float2*>(total + (m * 16 + half * 8 + g) * kTotalRow +
                                                 n * 8 + t * 2);
          float2 sum = make_float2(sums[m][n][half * 2], sums[m][n][half * 2 + 1]);
          if (warp > 0) {
            const float2 before = *at;
            sum.x += before.x;
            sum.y += before.y;
          }
          *at = sum;
        }
      }
    }
  }
  __syncthreads();
}

template <class T, int kFragmentsM>
__global__ void __launch_bounds__(kFirstThreads, 3)
    FirstBackwardWeights(const FirstWeightsArgs args, const T* __restrict__ d_dst) {
  using Row = GradientRow<T>;
  extern __shared__ __align__(128) uint8_t shared[];
  static_assert(kStages * Row::kBytes >= kFragmentsM * 16 * kTotalRow * 4, "for AddUpWarps");
  T* tile = reinterpret_cast<T*>(shared + kStages * Row::kBytes);
  const FirstArgs& image = args.image;
  const int taps = image.channels * 9, first_pixel = threadIdx.x / 32 * kPixels;
  const TapsOperand<T, kFragmentsM> operand(taps);
  float sums[kFragmentsM][kFragmentsN][4] = {};
  for (int at = blockIdx.x; at < image.images * image.tiles_y * image.tiles_x; at += gridDim.x) {
    const FirstPlace place(image, at);
    __syncthreads();
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) {
      Row::Copy(image, place, stage, d_dst, SharedAddress(shared + stage * Row::kBytes));
      CommitGroup();
    }
    FirstTile<T>::Load(image, place.image, place.y, place.x, tile);
    for (int row = 0; row < kFirstHeight; ++row) {
      WaitGroup<kStages - 2>();
      __syncthreads();  // the row is there, and everybody is done with the one before
      const int ahead = row + kStages - 1;
      if (ahead < kFirstHeight) {
        Row::Copy(image, place, ahead, d_dst,
                  SharedAddress(shared + ahead % kStages * Row::kBytes));
      }
      CommitGroup();
      const uint8_t* gradients = shared + row % kStages * Row::kBytes;
#pragma unroll
      for (int pixel = first_pixel; pixel < first_pixel + kPixels; pixel += Mma<T>::kDepth) {
        uint32_t a[kFragmentsM][4], b[kFragmentsN][2];
        operand.Load(tile + row * FirstTile<T>::kRow + pixel, a);
        LoadGradients<T>(gradients, pixel, b);
#pragma unroll
        for (int m = 0; m < kFragmentsM; ++m) {
#pragma unroll
          for (int n = 0; n < kFragmentsN; ++n) Mma<T>::Run(sums[m][n], a[m], b[n][0], b[n][1]);
        }
      }
    }
  }
  WaitGroup<0>();
  float* total = reinterpret_cast<float*>(shared);
  AddUpWarps<kFragmentsM>(sums, total);
  const int outputs = gridDim.y * kFirstOutputs;
  float* partial = args.partials + static_cast<int64_t>(blockIdx.x) * (taps + 1) * outputs +
                   blockIdx.y * kFirstOutputs;
  for (int i = threadIdx.x; i < (taps + 1) * kFirstOutputs; i += kFirstThreads) {
    partial[i / kFirstOutputs * outputs + i % kFirstOutputs] =
        total[i / kFirstOutputs * kTotalRow + i % kFirstOutputs];
  }
}

// Sum [tap][output] to OIHW, the last row to the bias.
struct FirstWeightsTarget {
  __device__ float* operator()(int64_t index) const {
    const int tap = static_cast<int>(index / padded_outputs);
    const int output = static_cast<int>(index % padded_outputs);
    if (output >= outputs) return nullptr;
    if (tap < taps) return d_weight + output * taps + tap;
    return d_bias == nullptr ? nullptr : d_bias + output;
  }
  int taps, outputs, padded_outputs;
  float* d_weight;
  float* d_bias;
};

dim3 Grid(const Context& context, const FirstArgs& args) {
  const int64_t tiles = int64_t{args.images} * args.tiles_y * args.tiles_x;
  return dim3(GridFor(context, tiles, 1, 3),
              static_cast<unsigned>(CeilDiv(args.outputs, kFirstOutputs)));
}

int64_t PartialElements(const FirstArgs& args) {
  return (args.channels * 9 + 1) * CeilDiv(args.outputs, kFirstOutputs) * kFirstOutputs;
}

template <class T, int kFragmentsM>
void Launch(const Context& context, const FirstWeightsArgs& args, const T* d_dst) {
  const int shared = kStages * GradientRow<T>::kBytes +
                     args.image.channels * FirstTile<T>::kChannel * static_cast<int>(sizeof(T));
  const auto kernel = FirstBackwardWeights<T, kFragmentsM>;
  LSEG_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
  kernel<<<Grid(context, args.image), kFirstThreads, shared, StreamOf(context)>>>(args, d_dst);
  CheckLaunch("FirstBackwardWeights");
}

}  // namespace

int64_t FirstWeightsWorkspace(const Context& context, const ConvParams& params) {
  const FirstArgs args = MakeFirstArgs(params);
  return Grid(context, args).x * PartialElements(args) * static_cast<int64_t>(sizeof(float));
}

void RunFirstWeights(Context& context, const ConvParams& params, DType dtype, const ConvArgs& run) {
  FirstWeightsArgs args = {MakeFirstArgs(params), static_cast<float*>(run.workspace)};
  args.image.src = run.f32_src();
  WithElementType(dtype, [&](auto element) {
    using T = decltype(element);
    const T* d_dst = static_cast<const T*>(run.d_dst);
    // Rows for the taps of 3 channels and the bias, and for those of 4.
    if (params.src.c <= 3) return Launch<T, 2>(context, args, d_dst);
    Launch<T, 3>(context, args, d_dst);
  });
  const int64_t elements = PartialElements(args.image);
  const int taps = args.image.channels * 9;
  const FirstWeightsTarget target = {taps, args.image.outputs,
                                     static_cast<int>(elements / (taps + 1)), run.d_weight,
                                     params.bias ? run.d_bias : nullptr};
  RunSumPartials(context, args.partials, static_cast<int>(Grid(context, args.image).x), elements,
                 target, run.d_weight_mode == GradMode::kAdd);
}

}  // namespace lseg::cuda
