// Bytes bound it, 4 an element of the larger side, dst or d_dst. Kernels:
// - forward where the kernel is twice the stride (bilinear upsampling, as L-Seg has it): an output
//   is reached by 2x2 source pixels of every channel; a thread keeps the weights of its output
//   phase in registers and walks down the column, one new row of source an output
// - forward in general: a thread an output, over the source elements that reach it
// - backward data where each channel goes by itself, with bilinear weights: deconv_separable.cu
// - backward data in general: a group of lanes a source pixel, along the kernel's columns; d_dst is
//   read from memory once, from cache (kernel / stride)^2 times
// - backward weights and bias: a block a sum, in double; weights read d_dst kernel^2 times from
//   cache, which is dear, and rarely wanted: upsampling is mostly fixed
#include <algorithm>

#include "kernels/cuda/deconv_separable.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/reduce.cuh"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 128, kReduceThreads = 256;
constexpr int kInputs = 4;     // input channels that share what backward data reads
constexpr int kBlocks2x2 = 4;  // of Forward2x2, a multiprocessor

// Along one axis, position = at * stride - pad + tap * dilation.
struct Axis {
  int in, out, kernel, stride, pad, dilation;

  __device__ int Position(int at, int tap) const { return at * stride - pad + tap * dilation; }
};

struct Geometry {
  Axis rows, columns;
  int64_t batch;
  int inputs, outputs;  // channels of a group
  int group;

  __host__ __device__ int64_t SrcPlane() const { return int64_t{rows.in} * columns.in; }
  __host__ __device__ int64_t DstPlane() const { return int64_t{rows.out} * columns.out; }
  __host__ __device__ int Taps() const { return rows.kernel * columns.kernel; }
  // Planes of src and dst of a group's first channel.
  __device__ int64_t SrcPlaneOf(int64_t n, int g) const { return (n * group + g) * inputs; }
  __device__ int64_t DstPlaneOf(int64_t n, int g) const { return (n * group + g) * outputs; }
};

// A thread an output element; blockIdx.y its row, blockIdx.z (n, output channel).
__global__ void __launch_bounds__(kThreads)
    ForwardGeneral(Geometry g, const float* src, const float* weight, const float* bias,
                   float* dst) {
  const Axis &rows = g.rows, &columns = g.columns;
  const int x = blockIdx.x * kThreads + threadIdx.x;
  if (x >= columns.out) return;
  const int channels = g.group * g.outputs;
  for (int64_t plane = blockIdx.z; plane < g.batch * channels; plane += gridDim.z) {
    const int channel = static_cast<int>(plane % channels), in_group = channel % g.outputs;
    const int first_input = channel / g.outputs * g.inputs;
    const float* from = src + g.SrcPlaneOf(plane / channels, channel / g.outputs) * g.SrcPlane();
    for (int y = blockIdx.y; y < rows.out; y += gridDim.y) {
      float sum = bias == nullptr ? 0.0f : bias[channel];
      for (int r = 0; r < rows.kernel; ++r) {
        const int down = y + rows.pad - r * rows.dilation;
        if (down < 0 || down % rows.stride != 0 || down / rows.stride >= rows.in) continue;
        for (int s = 0; s < columns.kernel; ++s) {
          const int along = x + columns.pad - s * columns.dilation;
          if (along < 0 || along % columns.stride != 0) continue;
          if (along / columns.stride >= columns.in) continue;
          const int64_t at = int64_t{down / rows.stride} * columns.in + along / columns.stride;
          for (int i = 0; i < g.inputs; ++i) {
            const int64_t pair = int64_t{first_input + i} * g.outputs + in_group;
            sum += weight[pair * g.Taps() + r * columns.kernel + s] * from[i * g.SrcPlane() + at];
          }
        }
      }
      dst[plane * g.DstPlane() + int64_t{y} * columns.out + x] = sum;
    }
  }
}

// Kernel 2 * stride, dilation 1, kChannels to kChannels in each group. A thread an output column of
// one row phase, `band` outputs `stride` apart, each from two rows of the source, while the next
// one is on its way; blockIdx.y: (band, phase), blockIdx.z: (n, group). Source pixels beyond the
// border count as zeros.
template <int kChannels>
__global__ void __launch_bounds__(kThreads, kBlocks2x2)
    Forward2x2(Geometry g, int band, const float* src, const float* weight, const float* bias,
               float* dst) {
  const Axis &rows = g.rows, &columns = g.columns;
  const int stride = rows.stride, kernel_w = columns.kernel;
  const int x = blockIdx.x * kThreads + threadIdx.x;
  if (x >= columns.out) return;
  const int phase = blockIdx.y % stride, first_row = blockIdx.y / stride * band;
  const int column = (x + columns.pad) / columns.stride;  // of the source; and the one before it
  const int column_phase = (x + columns.pad) % columns.stride;
  const int group = blockIdx.z % g.group;
  const int64_t n = blockIdx.z / g.group;

  float w[kChannels][kChannels][2][2];  // [input][output][source row: this, before][column]
  for (int i = 0; i < kChannels; ++i) {
    for (int o = 0; o < kChannels; ++o) {
      const float* taps = weight + (int64_t{group * kChannels + i} * kChannels + o) * g.Taps() +
                          phase * kernel_w + column_phase;
      for (int r = 0; r < 2; ++r) {
        for (int s = 0; s < 2; ++s) {
          w[i][o][r][s] = taps[r * stride * kernel_w + s * columns.stride];
        }
      }
    }
  }
  const float* from = src + g.SrcPlaneOf(n, group) * g.SrcPlane() + column;
  const bool exists[2] = {columns.in > column, column > 0};
  const auto load = [&](int row, float(&values)[kChannels][2]) {
    const bool row_exists = row >= 0 && row < rows.in;
    for (int i = 0; i < kChannels; ++i) {
      const float* at = from + i * g.SrcPlane() + int64_t{row} * columns.in;
      for (int s = 0; s < 2; ++s) values[i][s] = row_exists && exists[s] ? at[-s] : 0.0f;
    }
  };
  float before[kChannels][2], here[kChannels][2], next[kChannels][2];
  load(first_row - 1, before);
  load(first_row, here);
  float offsets[kChannels];
  for (int o = 0; o < kChannels; ++o) {
    offsets[o] = bias == nullptr ? 0.0f : bias[group * kChannels + o];
  }
  float* to = dst + g.DstPlaneOf(n, group) * g.DstPlane() + x;
  for (int row = first_row; row < first_row + band; ++row) {
    load(row + 1, next);
    float sums[kChannels];
    for (int o = 0; o < kChannels; ++o) sums[o] = offsets[o];
    for (int i = 0; i < kChannels; ++i) {
      for (int s = 0; s < 2; ++s) {
        for (int o = 0; o < kChannels; ++o) {
          sums[o] += w[i][o][0][s] * here[i][s] + w[i][o][1][s] * before[i][s];
        }
        before[i][s] = here[i][s];
        here[i][s] = next[i][s];
      }
    }
    const int y = row * stride + phase - rows.pad;
    if (y < 0 || y >= rows.out) continue;
    for (int o = 0; o < kChannels; ++o) {
      to[o * g.DstPlane() + int64_t{y} * columns.out] = sums[o];
    }
  }
}

// The sum over the kLanes lanes of a group, in each of them.
template <int kLanes>
__device__ float GroupSum(float value) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, distance);
  }
  return value;
}

// kLanes lanes a source pixel, along the kernel's columns; up to kInputs channels at once.
// blockIdx.y: source row, blockIdx.z: (n, group, block of input channels). Nothing is left to do
// where `separable` says so.
template <int kLanes>
__global__ void __launch_bounds__(kThreads)
    BackwardData(Geometry g, SeparablePairs separable, bool add, const float* d_dst,
                 const float* weight, float* d_src) {
  if (separable.AllFit()) return;
  const Axis &rows = g.rows, &columns = g.columns;
  const int lane = threadIdx.x % kLanes;
  const int column = (blockIdx.x * kThreads + threadIdx.x) / kLanes;  // may lie beyond the source
  const int blocks = (g.inputs + kInputs - 1) / kInputs, taps = g.Taps();
  const int64_t dst_plane = g.DstPlane();
  for (int64_t task = blockIdx.z; task < g.batch * g.group * blocks; task += gridDim.z) {
    const int first = static_cast<int>(task % blocks) * kInputs;
    const int inputs = min(kInputs, g.inputs - first);
    const int group = static_cast<int>(task / blocks % g.group);
    const int64_t n = task / blocks / g.group;
    const float* from = d_dst + g.DstPlaneOf(n, group) * dst_plane;
    const float* factors = weight + int64_t{group * g.inputs + first} * g.outputs * taps;
    for (int row = blockIdx.y; row < rows.in; row += gridDim.y) {
      float sums[kInputs] = {};
      for (int s = lane; s < columns.kernel; s += kLanes) {
        const int x = columns.Position(column, s);
        if (column >= columns.in || x < 0 || x >= columns.out) continue;
        for (int o = 0; o < g.outputs; ++o) {
          for (int r = 0; r < rows.kernel; ++r) {
            const int y = rows.Position(row, r);
            if (y < 0 || y >= rows.out) continue;
            const float gradient = from[o * dst_plane + int64_t{y} * columns.out + x];
            const float* factor = factors + o * taps + r * columns.kernel + s;
#pragma unroll
            for (int i = 0; i < kInputs; ++i) {
              if (i < inputs) sums[i] += gradient * factor[i * g.outputs * taps];
            }
          }
        }
      }
      for (float& sum : sums) sum = GroupSum<kLanes>(sum);
      if (lane != 0 || column >= columns.in) continue;
      for (int i = 0; i < inputs; ++i) {
        float& to = d_src[(g.SrcPlaneOf(n, group) + first + i) * g.SrcPlane() +
                          int64_t{row} * columns.in + column];
        to = add ? to + sums[i] : sums[i];
      }
    }
  }
}

__device__ void StoreSum(float* to, double sum, bool add) {
  *to = static_cast<float>(add ? *to + sum : sum);
}

// A block a weight: a warp a source row, lanes along it.
__global__ void __launch_bounds__(kReduceThreads)
    BackwardWeights(Geometry g, const float* src, const float* d_dst, float* d_weight, bool add) {
  const Axis &rows = g.rows, &columns = g.columns;
  const int64_t at = blockIdx.x;
  const int tap = static_cast<int>(at % g.Taps());
  const int64_t pair = at / g.Taps();
  const int64_t input = pair / g.outputs;
  const int64_t output = input / g.inputs * g.outputs + pair % g.outputs;
  double sum = 0;
  for (int64_t task = threadIdx.x / 32; task < g.batch * rows.in; task += kReduceThreads / 32) {
    const int64_t n = task / rows.in;
    const int row = static_cast<int>(task % rows.in);
    const int y = rows.Position(row, tap / columns.kernel);
    if (y < 0 || y >= rows.out) continue;
    const float* src_row =
        src + (n * g.group * g.inputs + input) * g.SrcPlane() + int64_t{row} * columns.in;
    const float* d_dst_row =
        d_dst + (n * g.group * g.outputs + output) * g.DstPlane() + int64_t{y} * columns.out;
    for (int k = threadIdx.x % 32; k < columns.in; k += 32) {
      const int x = columns.Position(k, tap % columns.kernel);
      if (x >= 0 && x < columns.out) sum += static_cast<double>(src_row[k]) * d_dst_row[x];
    }
  }
  sum = BlockSum<kReduceThreads>(sum);
  if (threadIdx.x == 0) StoreSum(d_weight + at, sum, add);
}

// A block a channel.
__global__ void __launch_bounds__(kReduceThreads)
    BackwardBias(Geometry g, const float* d_dst, float* d_bias, bool add) {
  const int64_t channels = int64_t{g.group} * g.outputs;
  double sum = 0;
  for (int64_t n = 0; n < g.batch; ++n) {
    const float* from = d_dst + (n * channels + blockIdx.x) * g.DstPlane();
    for (int64_t i = threadIdx.x; i < g.DstPlane(); i += kReduceThreads) sum += from[i];
  }
  sum = BlockSum<kReduceThreads>(sum);
  if (threadIdx.x == 0) StoreSum(d_bias + blockIdx.x, sum, add);
}

int ToInt(int64_t value) {
  LSEG_CHECK(value <= INT32_MAX / 4,
             "deconvolution on a GPU: an extent of " << value << " is too large");
  return static_cast<int>(value);
}

Geometry GeometryOf(const DeconvParams& p) {
  const Shape dst = p.Dst();
  ToInt(dst.h + p.pad_h);
  ToInt(dst.w + p.pad_w);
  ToInt(p.out_channels * p.kernel_h * p.kernel_w);
  return {{ToInt(p.src.h), ToInt(dst.h), ToInt(p.kernel_h), ToInt(p.stride_h), ToInt(p.pad_h),
           ToInt(p.dilation_h)},
          {ToInt(p.src.w), ToInt(dst.w), ToInt(p.kernel_w), ToInt(p.stride_w), ToInt(p.pad_w),
           ToInt(p.dilation_w)},
          p.src.n,
          ToInt(p.src.c / p.group),
          ToInt(p.out_channels / p.group),
          ToInt(p.group)};
}

constexpr int64_t kMostGrid = 65535;  // blocks along y, and along z
constexpr int64_t kMostBands = 64;    // of Forward2x2

// Whether every output is reached by 2x2 source pixels, of the channels that Forward2x2 knows.
bool Is2x2(const Geometry& g) {
  const auto fits = [](const Axis& a) { return a.kernel == 2 * a.stride && a.dilation == 1; };
  return fits(g.rows) && fits(g.columns) && g.inputs == g.outputs &&
         (g.inputs == 1 || g.inputs == 4) && g.rows.stride <= kMostGrid / kMostBands &&
         g.batch * g.group <= kMostGrid;
}

// Rows of a band, of `rows` that each of `walks` blocks would go down: with all waves of blocks
// full but the last, few waves of short bands and many of long ones take about as long; this is the
// shortest, where a band's start costs what three of its rows do.
int64_t Band2x2(const Context& context, int64_t rows, int64_t walks) {
  const int64_t at_once = int64_t{Multiprocessors(context)} * kBlocks2x2;
  int64_t best = rows, best_cost = INT64_MAX;
  for (int64_t bands = 1; bands <= std::min(rows, kMostBands); ++bands) {
    const int64_t band = CeilDiv(rows, bands);
    const int64_t cost = CeilDiv(bands * walks, at_once) * (band + 3);
    if (cost < best_cost) best = band, best_cost = cost;
  }
  return best;
}

void LaunchForward2x2(Context& context, const Geometry& g, const float* src, const float* weight,
                      const float* bias, float* dst) {
  const int64_t columns = CeilDiv(g.columns.out, kThreads), images = g.batch * g.group;
  const int64_t rows = CeilDiv(g.rows.out + g.rows.pad, g.rows.stride);
  const int64_t band = Band2x2(context, rows, columns * g.rows.stride * images);
  const dim3 grid(static_cast<unsigned>(columns),
                  static_cast<unsigned>(CeilDiv(rows, band) * g.rows.stride),
                  static_cast<unsigned>(images));
  const auto launch = [&](auto kernel) {
    kernel<<<grid, kThreads, 0, StreamOf(context)>>>(g, static_cast<int>(band), src, weight, bias,
                                                     dst);
  };
  g.inputs == 4 ? launch(Forward2x2<4>) : launch(Forward2x2<1>);
}

unsigned Capped(int64_t blocks) { return static_cast<unsigned>(std::min(blocks, kMostGrid)); }

}  // namespace

void DeconvForward(Context& context, const DeconvParams& params, const float* src,
                   const float* weight, const float* bias, float* dst) {
  const Geometry g = GeometryOf(params);
  const float* offset = params.bias ? bias : nullptr;
  if (Is2x2(g)) {
    LaunchForward2x2(context, g, src, weight, offset, dst);
  } else {
    const dim3 grid(static_cast<unsigned>(CeilDiv(g.columns.out, kThreads)), Capped(g.rows.out),
                    Capped(g.batch * params.out_channels));
    ForwardGeneral<<<grid, kThreads, 0, StreamOf(context)>>>(g, src, weight, offset, dst);
  }
  CheckLaunch("deconvolution forward");
}

void DeconvBackwardData(Context& context, const DeconvParams& params, const float* d_dst,
                        const float* weight, float* d_src, GradMode d_src_mode) {
  const Geometry g = GeometryOf(params);
  SeparablePairs separable;
  if (MayBeSeparable(params)) {
    separable = SeparableBackwardData(context, params, d_dst, weight, d_src, d_src_mode);
  }
  const auto launch = [&](auto kernel, int lanes) {
    const dim3 grid(static_cast<unsigned>(CeilDiv(g.columns.in, kThreads / lanes)),
                    Capped(g.rows.in), Capped(g.batch * g.group * CeilDiv(g.inputs, kInputs)));
    kernel<<<grid, kThreads, 0, StreamOf(context)>>>(g, separable, d_src_mode == GradMode::kAdd,
                                                     d_dst, weight, d_src);
  };
  if (g.columns.kernel <= 4) {
    launch(BackwardData<4>, 4);
  } else if (g.columns.kernel <= 8) {
    launch(BackwardData<8>, 8);
  } else if (g.columns.kernel <= 16) {
    launch(BackwardData<16>, 16);
  } else {
    launch(BackwardData<32>, 32);
  }
  CheckLaunch("deconvolution backward data");
}

void DeconvBackwardWeights(Context& context, const DeconvParams& params, const float* src,
                           const float* d_dst, float* d_weight, GradMode d_weight_mode,
                           float* d_bias, GradMode d_bias_mode) {
  const Geometry g = GeometryOf(params);
  if (d_weight_mode != GradMode::kSkip) {
    const auto weights = static_cast<unsigned>(ToInt(params.Weight().Count()));
    BackwardWeights<<<weights, kReduceThreads, 0, StreamOf(context)>>>(
        g, src, d_dst, d_weight, d_weight_mode == GradMode::kAdd);
    CheckLaunch("deconvolution backward weights");
  }
  if (d_bias_mode != GradMode::kSkip) {
    const auto channels = static_cast<unsigned>(params.out_channels);
    BackwardBias<<<channels, kReduceThreads, 0, StreamOf(context)>>>(g, d_dst, d_bias,
                                                                     d_bias_mode == GradMode::kAdd);
    CheckLaunch("deconvolution backward bias");
  }
}

}  // namespace lseg::cuda
