// Bound by memory: d_dst is read once, a row of it that two source rows share twice where a band of
// source rows ends (from cache), 4 bytes an element. A thread goes down its columns of d_dst and
// adds up rows with their taps, two source rows at a time, as a row of d_dst reaches two; a block's
// sums then lie in shared memory, where they are added up along rows.
#include <algorithm>

#include "kernels/cuda/deconv_separable.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 128;      // of a block that adds up
constexpr int kPairThreads = 256;  // of one that looks at weights
constexpr int kMostTaps = 128;
constexpr int kMostPairs = 1024, kMostChannels = 512;
constexpr int kMostBand = 8;  // source rows of a block
constexpr int kLoads = 8;     // of a thread that are under way at once

// A kernel as column times row, with zeros up to twice the stride.
struct Taps {
  float rows[kMostTaps], columns[kMostTaps];
};

// Along one axis: output at * stride - pad + tap.
struct Axis {
  int in, out, kernel, stride, pad;
};

struct Geometry {
  Axis rows, columns;
  int channels;                // of src and of dst
  int64_t planes;              // of src and of dst: images' channels
  int band, columns_of_block;  // of src
};

// A key that grows with the absolute value, and among equals with how early it comes.
__device__ uint64_t KeyOf(float weight, int at) {
  return (uint64_t{__float_as_uint(fabsf(weight))} << 32) | static_cast<uint32_t>(~at);
}

// The largest key of the block, in all threads.
__device__ uint64_t LargestKey(uint64_t key) {
  __shared__ uint64_t largest[kPairThreads / 32];
  for (int distance = 16; distance > 0; distance /= 2) {
    key = max(key, __shfl_xor_sync(0xffffffff, key, distance));
  }
  if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = key;
  __syncthreads();
  for (const uint64_t other : largest) key = max(key, other);
  return key;
}

// A block a pair of channels of a group. Weights of a channel to itself: the taps are the row and
// the column of the largest weight.
__global__ void __launch_bounds__(kPairThreads)
    FactorWeights(Geometry g, int inputs, const float* weight, int32_t* fits, Taps* taps) {
  const int input = blockIdx.x / inputs, size = g.rows.kernel * g.columns.kernel;
  const float* w = weight + int64_t{blockIdx.x} * size;
  bool fit = true;
  if (input % inputs != blockIdx.x % inputs) {
    for (int i = threadIdx.x; i < size; i += kPairThreads) fit = fit && w[i] == 0;
  } else {
    uint64_t key = 0;
    for (int i = threadIdx.x; i < size; i += kPairThreads) key = max(key, KeyOf(w[i], i));
    const int peak = static_cast<int>(~static_cast<uint32_t>(LargestKey(key)));
    const int peak_row = peak / g.columns.kernel, peak_column = peak % g.columns.kernel;
    const float scale = w[peak] == 0 ? 0 : 1.0f / w[peak];
    const auto row_tap = [&](int r) { return scale * w[r * g.columns.kernel + peak_column]; };
    const float* row = w + peak_row * g.columns.kernel;
    for (int i = threadIdx.x; i < size; i += kPairThreads) {
      const float product = row_tap(i / g.columns.kernel) * row[i % g.columns.kernel];
      fit = fit && fabsf(product - w[i]) <= 0x1p-22f * fabsf(w[i]);
    }
    for (int i = threadIdx.x; i < kMostTaps; i += kPairThreads) {
      taps[input].rows[i] = i < g.rows.kernel ? row_tap(i) : 0.0f;
      taps[input].columns[i] = i < g.columns.kernel ? row[i] : 0.0f;
    }
  }
  const bool all = __syncthreads_and(fit) != 0;
  if (threadIdx.x == 0) fits[blockIdx.x] = all;
}

// A place in a row of sums: lanes that read every stride-th of them, 2 to 32, meet in no bank.
__device__ constexpr int Skewed(int at) { return at + at / 32; }

// A row of sums for each source row of the block, of kThreads * kWidth columns of d_dst.
template <int kWidth>
using Sums = float[kMostBand][Skewed(kThreads * kWidth)];

// This thread's columns, x .. x + kWidth - 1, from `first_row` of src on.
template <int kWidth>
__device__ void SumDown(const Geometry& g, const float* taps, const float* d_dst, int first_row,
                        int x, Sums<kWidth>& sums) {
  const Axis& rows = g.rows;
  const bool inside = x >= 0 && x < g.columns.out;
  const int top = first_row * rows.stride - rows.pad, count = (g.band + 1) * rows.stride;
  float older[kWidth] = {}, newer[kWidth] = {};  // source rows that the row of d_dst reaches
  int phase = 0, row = -1;                       // of the block: which `older` is
#pragma unroll 1
  for (int t = 0; t < count; t += kLoads) {
    Vector<float, kWidth> values[kLoads];
#pragma unroll
    for (int k = 0; k < kLoads; ++k) {
      const int y = top + t + k;
      if (inside && y >= 0 && y < rows.out) {
        values[k] = Load<kWidth>(d_dst + int64_t{y} * g.columns.out + x);
      } else {
        for (float& value : values[k].at) value = 0;
      }
    }
#pragma unroll
    for (int k = 0; k < kLoads; ++k) {
      const float to_newer = taps[phase], to_older = taps[phase + rows.stride];
      for (int i = 0; i < kWidth; ++i) {
        older[i] += to_older * values[k].at[i];
        newer[i] += to_newer * values[k].at[i];
      }
      if (++phase < rows.stride) continue;
      const bool wanted = row >= 0 && row < g.band;
      for (int i = 0; i < kWidth; ++i) {
        if (wanted) sums[row][Skewed(threadIdx.x * kWidth + i)] = older[i];
        older[i] = newer[i];
        newer[i] = 0;
      }
      phase = 0;
      ++row;
    }
  }
}

// blockIdx: columns of src, bands of its rows, planes.
template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    SeparableGradient(Geometry g, SeparablePairs pairs, const Taps* taps, bool add,
                      const float* d_dst, float* d_src) {
  if (!pairs.AllFit()) return;
  const Axis &rows = g.rows, &columns = g.columns;
  const int64_t plane = blockIdx.z;
  const int first_row = blockIdx.y * g.band, first_column = blockIdx.x * g.columns_of_block;
  __shared__ Taps its;
  __shared__ Sums<kWidth> sums;
  const Taps& channel = taps[blockIdx.z % g.channels];
  its.rows[threadIdx.x] = channel.rows[threadIdx.x];
  its.columns[threadIdx.x] = channel.columns[threadIdx.x];
  static_assert(kThreads == kMostTaps);
  // The columns of d_dst, from a whole vector on.
  const int begin = first_column * columns.stride - columns.pad, start = begin & -kWidth;
  __syncthreads();
  SumDown<kWidth>(g, its.rows, d_dst + plane * rows.out * columns.out, first_row,
                  start + static_cast<int>(threadIdx.x) * kWidth, sums);
  __syncthreads();
  const int used_rows = min(g.band, rows.in - first_row);
  const int used_columns = min(g.columns_of_block, columns.in - first_column);
  float* to = d_src + (plane * rows.in + first_row) * columns.in + first_column;
  for (int r = 0; r < used_rows; ++r) {
    for (int c = threadIdx.x; c < used_columns; c += kThreads) {
      const int at = c * columns.stride + begin - start;
      float sum = 0;
#pragma unroll 4
      for (int t = 0; t < 2 * columns.stride; ++t) sum += its.columns[t] * sums[r][Skewed(at + t)];
      float& element = to[int64_t{r} * columns.in + c];
      element = add ? element + sum : sum;
    }
  }
}

// Columns of src of a block: what reaches them lies within the block's columns of d_dst, wherever
// among the elements of a vector they begin.
int ColumnsOfBlock(int width, int64_t stride) {
  return static_cast<int>((kThreads * width - (width - 1)) / stride) - 1;
}

Geometry GeometryOf(const DeconvParams& p, int width) {
  const Shape dst = p.Dst();
  const auto axis = [](int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad) {
    return Axis{static_cast<int>(in), static_cast<int>(out), static_cast<int>(kernel),
                static_cast<int>(stride), static_cast<int>(pad)};
  };
  return {axis(p.src.h, dst.h, p.kernel_h, p.stride_h, p.pad_h),
          axis(p.src.w, dst.w, p.kernel_w, p.stride_w, p.pad_w),
          static_cast<int>(p.src.c),
          p.src.n * p.src.c,
          static_cast<int>(std::clamp<int64_t>(16 / p.stride_h, 1, kMostBand)),
          ColumnsOfBlock(width, p.stride_w)};
}

}  // namespace

bool MayBeSeparable(const DeconvParams& p) {
  const int64_t pairs = p.src.c * (p.src.c / p.group);
  const auto fits = [](int64_t kernel, int64_t stride, int64_t dilation) {
    return dilation == 1 && kernel <= 2 * stride && 2 * stride <= kMostTaps;
  };
  return p.src.c == p.out_channels && pairs <= kMostPairs && p.src.c <= kMostChannels &&
         fits(p.kernel_h, p.stride_h, p.dilation_h) && fits(p.kernel_w, p.stride_w, p.dilation_w) &&
         ColumnsOfBlock(1, p.stride_w) > 0 && p.src.n * p.src.c <= 65535 && p.src.h <= 65535;
}

SeparablePairs SeparableBackwardData(Context& context, const DeconvParams& params,
                                     const float* d_dst, const float* weight, float* d_src,
                                     GradMode d_src_mode) {
  const int inputs = static_cast<int>(params.src.c / params.group);
  const int count = static_cast<int>(params.src.c) * inputs;
  auto* fits = static_cast<int32_t*>(Scratch(context));
  auto* taps = reinterpret_cast<Taps*>(fits + kMostPairs);
  static_assert(kMostPairs * sizeof(int32_t) + kMostChannels * sizeof(Taps) <= kScratchBytes);
  const bool vectors = params.Dst().w % 4 == 0 && IsAligned(d_dst, 16);
  const Geometry g = GeometryOf(params, vectors ? 4 : 1);
  FactorWeights<<<static_cast<unsigned>(count), kPairThreads, 0, StreamOf(context)>>>(
      g, inputs, weight, fits, taps);
  CheckLaunch("a look at a deconvolution's weights");
  const SeparablePairs pairs{fits, count};
  const dim3 grid(static_cast<unsigned>(CeilDiv(g.columns.in, g.columns_of_block)),
                  static_cast<unsigned>(CeilDiv(g.rows.in, g.band)),
                  static_cast<unsigned>(g.planes));
  const auto kernel = vectors ? SeparableGradient<4> : SeparableGradient<1>;
  kernel<<<grid, kThreads, 0, StreamOf(context)>>>(g, pairs, taps, d_src_mode == GradMode::kAdd,
                                                   d_dst, d_src);
  CheckLaunch("separable deconvolution backward data");
  return pairs;
}

}  // namespace lseg::cuda
