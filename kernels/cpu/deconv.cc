// Outputs fall into `stride` phases, x + pad = q * stride + phase. Within one phase, neighbours in
// q read neighbours of the source with the same weights, so every inner loop is a contiguous
// multiply-add whatever stride and dilation are, and an output reads only the ceil(kernel /
// stride)^2 source pixels that reach it. Zero weights are multiplied like all others: a NaN is not
// hidden.
#include "kernels/deconv.h"

#include <numeric>

#include "kernels/cpu/deconv_separable.h"
#include "kernels/cpu/loops.h"
#include "kernels/runtime/dispatch.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

constexpr int64_t kColumns = 256;  // of a piece of a row, held on the stack
constexpr int64_t kInputs = 4;     // input channels that share what backward-data gathers

// Along one axis, position = at * stride - pad + tap * dilation.
struct Axis {
  int64_t in, out, kernel, stride, pad, dilation;

  // Taps tap, tap + TapStep(), ... fall into one phase.
  int64_t TapStep() const { return stride / std::gcd(stride, dilation); }
  // The first tap through which a source element, if it exists, reaches output `at`; the others
  // follow at TapStep(). `kernel` where there is none.
  int64_t FirstTap(int64_t at) const {
    const int64_t end = std::min(TapStep(), kernel);
    for (int64_t tap = 0; tap < end; ++tap) {
      if ((at + pad - tap * dilation) % stride == 0) return tap;
    }
    return kernel;
  }
};

struct Geometry {
  Axis rows, columns;
  int64_t inputs, outputs;  // channels of a group
  int64_t group;

  int64_t InChannels() const { return inputs * group; }
  int64_t OutChannels() const { return outputs * group; }
  int64_t SrcPlane() const { return rows.in * columns.in; }
  int64_t DstPlane() const { return rows.out * columns.out; }
  // Weights of an (input channel, output channel of the group).
  int64_t Taps() const { return rows.kernel * columns.kernel; }
};

// All that the source reaches.
Shape WholeOf(const DeconvParams& p) {
  return {p.src.n, p.out_channels, (p.src.h - 1) * p.stride_h + p.dilation_h * (p.kernel_h - 1) + 1,
          (p.src.w - 1) * p.stride_w + p.dilation_w * (p.kernel_w - 1) + 1};
}

Geometry GeometryOf(const DeconvParams& p) {
  p.Validate();
  const Shape dst = p.Dst();
  return {{p.src.h, dst.h, p.kernel_h, p.stride_h, p.pad_h, p.dilation_h},
          {p.src.w, dst.w, p.kernel_w, p.stride_w, p.pad_w, p.dilation_w},
          p.src.c / p.group,
          p.out_channels / p.group,
          p.group};
}

struct Phase {
  int64_t row;                  // of dst
  int64_t row_tap, column_tap;  // the first of each
  int64_t begin, end;           // columns q
};

// Adds one phase of a row to sum[q - begin]. src and weight are at the group's first input channel
// and, for weight, at the output channel.
LSEG_INLINE void AddPhase(const Geometry& g, const Phase& phase, const float* __restrict src,
                          const float* __restrict weight, float* __restrict sum) {
  const Axis &rows = g.rows, &columns = g.columns;
  const int64_t row_step = rows.TapStep(), column_step = columns.TapStep();
  const int64_t begin = phase.begin, end = phase.end;
  for (int64_t i = 0; i < g.inputs; ++i) {
    for (int64_t r = phase.row_tap; r < rows.kernel; r += row_step) {
      const int64_t rest = phase.row + rows.pad - r * rows.dilation;
      if (rest < 0 || rest / rows.stride >= rows.in) continue;
      const float* src_row = src + i * g.SrcPlane() + rest / rows.stride * columns.in;
      const float* taps = weight + i * g.outputs * g.Taps() + r * columns.kernel;
      for (int64_t tap = phase.column_tap; tap < columns.kernel; tap += column_step) {
        const int64_t shift = tap * columns.dilation / columns.stride;
        const int64_t q_end = std::min(end, columns.in + shift);
        const float factor = taps[tap];
#pragma omp simd
        for (int64_t q = std::max(begin, shift); q < q_end; ++q) {
          sum[q - begin] += factor * src_row[q - shift];
        }
      }
    }
  }
}

// One row of one output channel, written.
LSEG_MULTIVERSION void ForwardRow(const Geometry& g, int64_t row, const float* src,
                                  const float* weight, float bias, float* dst) {
  const Axis& columns = g.columns;
  const int64_t phases = std::min(columns.TapStep(), columns.kernel);
  if (phases < columns.stride) std::fill(dst, dst + columns.out, bias);  // some have no tap
  const int64_t row_tap = g.rows.FirstTap(row);
  const int64_t all = CeilDiv(columns.out + columns.pad, columns.stride);
  for (int64_t begin = 0; begin < all; begin += kColumns) {
    const int64_t end = std::min(begin + kColumns, all);
    for (int64_t tap = 0; tap < phases; ++tap) {
      float sum[kColumns];
      std::fill(sum, sum + kColumns, bias);
      AddPhase(g, {row, row_tap, tap, begin, end}, src, weight, sum);
      const int64_t shift = tap * columns.dilation % columns.stride - columns.pad;
      const int64_t first = std::max(begin, CeilDiv(-shift, columns.stride));
      const int64_t last = std::min(end, CeilDiv(columns.out - shift, columns.stride));
      for (int64_t q = first; q < last; ++q) dst[q * columns.stride + shift] = sum[q - begin];
    }
  }
}

// The row of d_dst that a tap of source columns [begin, end) reads, made contiguous; 0 outside.
LSEG_INLINE void Gather(const Axis& columns, int64_t tap, int64_t begin, int64_t end,
                        const float* __restrict d_dst_row, float* __restrict gathered) {
  const int64_t shift = tap * columns.dilation - columns.pad;
  const int64_t first = std::clamp(CeilDiv(-shift, columns.stride), begin, end);
  const int64_t last = std::clamp(CeilDiv(columns.out - shift, columns.stride), first, end);
  std::fill(gathered, gathered + (first - begin), 0.0f);
  for (int64_t k = first; k < last; ++k) {
    gathered[k - begin] = d_dst_row[k * columns.stride + shift];
  }
  std::fill(gathered + (last - begin), gathered + (end - begin), 0.0f);
}

// Row `row` of `inputs` (<= kInputs) input channels. Pointers are at the first of these channels
// and at the group's first output channel.
LSEG_MULTIVERSION void BackwardDataRow(const Geometry& g, int64_t row, int64_t inputs,
                                       const float* d_dst, const float* weight, float* d_src,
                                       bool add) {
  const Axis &rows = g.rows, &columns = g.columns;
  for (int64_t begin = 0; begin < columns.in; begin += kColumns) {
    const int64_t count = std::min(kColumns, columns.in - begin);
    float sums[kInputs][kColumns] = {}, gathered[kColumns];
    for (int64_t o = 0; o < g.outputs; ++o) {
      for (int64_t r = 0; r < rows.kernel; ++r) {
        const int64_t y = row * rows.stride - rows.pad + r * rows.dilation;
        if (y < 0 || y >= rows.out) continue;
        const float* d_dst_row = d_dst + o * g.DstPlane() + y * columns.out;
        for (int64_t tap = 0; tap < columns.kernel; ++tap) {
          Gather(columns, tap, begin, begin + count, d_dst_row, gathered);
          for (int64_t i = 0; i < inputs; ++i) {
            const float factor = weight[(i * g.outputs + o) * g.Taps() + r * columns.kernel + tap];
            float* sum = sums[i];
#pragma omp simd
            for (int64_t k = 0; k < count; ++k) sum[k] += factor * gathered[k];
          }
        }
      }
    }
    for (int64_t i = 0; i < inputs; ++i) {
      float* to = d_src + i * g.SrcPlane() + row * columns.in + begin;
      for (int64_t k = 0; k < count; ++k) to[k] = add ? to[k] + sums[i][k] : sums[i][k];
    }
  }
}

// The gradient of one weight, over the batch. Fixed in most nets: plain, and in double.
double WeightGradient(const Geometry& g, int64_t batch, int64_t r, int64_t tap, const float* src,
                      const float* d_dst) {
  const Axis &rows = g.rows, &columns = g.columns;
  const int64_t shift = tap * columns.dilation - columns.pad;
  const int64_t first = std::clamp<int64_t>(CeilDiv(-shift, columns.stride), 0, columns.in);
  const int64_t last =
      std::clamp<int64_t>(CeilDiv(columns.out - shift, columns.stride), 0, columns.in);
  double sum = 0;
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t j = 0; j < rows.in; ++j) {
      const int64_t y = j * rows.stride - rows.pad + r * rows.dilation;
      if (y < 0 || y >= rows.out) continue;
      const float* src_row = src + n * g.InChannels() * g.SrcPlane() + j * columns.in;
      const float* d_dst_row = d_dst + n * g.OutChannels() * g.DstPlane() + y * columns.out;
      for (int64_t k = first; k < last; ++k) {
        sum += static_cast<double>(src_row[k]) * d_dst_row[k * columns.stride + shift];
      }
    }
  }
  return sum;
}

void Store(float* to, double value, GradMode mode) {
  *to = static_cast<float>(mode == GradMode::kAdd ? *to + value : value);
}

}  // namespace

void DeconvParams::Validate() const {
  LSEG_CHECK(src.n > 0 && src.c > 0 && src.h > 0 && src.w > 0,
             "deconvolution: the input " << ToString(src) << " is empty");
  LSEG_CHECK(kernel_h > 0 && kernel_w > 0 && stride_h > 0 && stride_w > 0 && dilation_h > 0 &&
                 dilation_w > 0,
             "deconvolution: kernel " << kernel_h << "x" << kernel_w << ", stride " << stride_h
                                      << "x" << stride_w << " and dilation " << dilation_h << "x"
                                      << dilation_w << " must be positive");
  LSEG_CHECK(pad_h >= 0 && pad_w >= 0,
             "deconvolution: pad " << pad_h << "x" << pad_w << " must not be negative");
  LSEG_CHECK(out_channels > 0 && group > 0 && src.c % group == 0 && out_channels % group == 0,
             "deconvolution: group " << group << " must divide the " << src.c << " input and the "
                                     << out_channels << " output channels");
  const Shape dst = Dst();
  const Shape whole = WholeOf(*this);
  LSEG_CHECK(dst.h > 0 && dst.w > 0, "deconvolution: pad " << pad_h << "x" << pad_w
                                                           << " leaves nothing of the output ("
                                                           << ToString(dst) << ")");
  LSEG_CHECK(pad_h + dst.h <= whole.h && pad_w + dst.w <= whole.w,
             "deconvolution: " << dst.h << "x" << dst.w << " from " << pad_h << "," << pad_w
                               << " on are no part of the whole output of " << whole.h << "x"
                               << whole.w);
}

Shape DeconvParams::Dst() const {
  Shape dst = WholeOf(*this);
  dst.h = rows != 0 ? rows : dst.h - 2 * pad_h;
  dst.w = columns != 0 ? columns : dst.w - 2 * pad_w;
  return dst;
}

Shape DeconvParams::Weight() const { return {src.c, out_channels / group, kernel_h, kernel_w}; }

void DeconvForward(Context& context, const DeconvParams& params, const float* src,
                   const float* weight, const float* bias, float* dst) {
  const Geometry g = GeometryOf(params);
  LSEG_CHECK(!params.bias || bias != nullptr, "deconvolution: the bias is missing");
  LSEG_ON_CUDA(context, DeconvForward(context, params, src, weight, bias, dst));
  const int64_t channels = g.OutChannels();
#pragma omp parallel for collapse(3) schedule(static) num_threads(context.threads())
  for (int64_t n = 0; n < params.src.n; ++n) {
    for (int64_t channel = 0; channel < channels; ++channel) {
      for (int64_t row = 0; row < g.rows.out; ++row) {
        const int64_t input = channel / g.outputs * g.inputs;  // the group's first
        ForwardRow(g, row, src + (n * g.InChannels() + input) * g.SrcPlane(),
                   weight + (input * g.outputs + channel % g.outputs) * g.Taps(),
                   params.bias ? bias[channel] : 0.0f,
                   dst + (n * channels + channel) * g.DstPlane() + row * g.columns.out);
      }
    }
  }
}

void DeconvBackwardData(Context& context, const DeconvParams& params, const float* d_dst,
                        const float* weight, float* d_src, GradMode d_src_mode) {
  const Geometry g = GeometryOf(params);
  if (d_src_mode == GradMode::kSkip) return;
  LSEG_ON_CUDA(context, DeconvBackwardData(context, params, d_dst, weight, d_src, d_src_mode));
  if (IsSeparableDiagonal(params, weight)) {
    SeparableBackwardData(context, params, d_dst, weight, d_src, d_src_mode);
    return;
  }
  const int64_t blocks = CeilDiv(g.inputs, kInputs);  // of a group
#pragma omp parallel for collapse(3) schedule(static) num_threads(context.threads())
  for (int64_t n = 0; n < params.src.n; ++n) {
    for (int64_t task = 0; task < g.group * blocks; ++task) {
      for (int64_t row = 0; row < g.rows.in; ++row) {
        const int64_t group = task / blocks, in_group = task % blocks * kInputs;
        const int64_t input = group * g.inputs + in_group;
        BackwardDataRow(g, row, std::min(kInputs, g.inputs - in_group),
                        d_dst + (n * g.OutChannels() + group * g.outputs) * g.DstPlane(),
                        weight + input * g.outputs * g.Taps(),
                        d_src + (n * g.InChannels() + input) * g.SrcPlane(),
                        d_src_mode == GradMode::kAdd);
      }
    }
  }
}

void DeconvBackwardWeights(Context& context, const DeconvParams& params, const float* src,
                           const float* d_dst, float* d_weight, GradMode d_weight_mode,
                           float* d_bias, GradMode d_bias_mode) {
  const Geometry g = GeometryOf(params);
  LSEG_CHECK(d_bias_mode == GradMode::kSkip || params.bias,
             "deconvolution: a gradient of the bias is asked for, but there is none");
  LSEG_ON_CUDA(context, DeconvBackwardWeights(context, params, src, d_dst, d_weight, d_weight_mode,
                                              d_bias, d_bias_mode));
  const int64_t batch = params.src.n, channels = g.OutChannels(), plane = g.DstPlane();
  if (d_weight_mode != GradMode::kSkip) {
    const int64_t count = params.Weight().Count();
#pragma omp parallel for schedule(static) num_threads(context.threads())
    for (int64_t at = 0; at < count; ++at) {
      const int64_t tap = at % g.columns.kernel, r = at / g.columns.kernel % g.rows.kernel;
      const int64_t input = at / g.Taps() / g.outputs;
      const int64_t output = input / g.inputs * g.outputs + at / g.Taps() % g.outputs;
      Store(d_weight + at,
            WeightGradient(g, batch, r, tap, src + input * g.SrcPlane(), d_dst + output * plane),
            d_weight_mode);
    }
  }
  if (d_bias_mode == GradMode::kSkip) return;
#pragma omp parallel for schedule(static) num_threads(context.threads())
  for (int64_t channel = 0; channel < channels; ++channel) {
    double sum = 0;
    for (int64_t n = 0; n < batch; ++n) {
      const float* from = d_dst + (n * channels + channel) * plane;
      for (int64_t i = 0; i < plane; ++i) sum += from[i];
    }
    Store(d_bias + channel, sum, d_bias_mode);
  }
}

}  // namespace lseg
