// One kernel for all formats: a pixel is `lanes` channels next to one another (1 for NCHW, all for
// NHWC), and a plane is the pixels of such a group. Lanes are the inner loop, so blocked formats
// fill vectors whatever the window. Padding channels are zeros, and pooling keeps them.
#include "kernels/pool.h"

#include <cmath>

#include "kernels/cpu/loops.h"
#include "kernels/runtime/dispatch.h"

namespace lseg {
namespace {

struct Span {
  int64_t begin, end;
};

// Along one axis: what is needed to tell which source elements a window holds.
struct Axis {
  int64_t in, out, kernel, stride, pad;

  // The window of an output, cut to the source.
  Span Window(int64_t at) const {
    const int64_t begin = at * stride - pad;
    return {std::max<int64_t>(begin, 0), std::min(begin + kernel, in)};
  }
  // What the average divides by: the window cut to the padded source.
  int64_t Divisor(int64_t at) const {
    const int64_t begin = at * stride - pad;
    return std::min(begin + kernel, in + pad) - begin;
  }
  // The outputs whose windows hold a source element.
  Span Outputs(int64_t at) const {
    const int64_t first = at + pad - kernel + 1;
    return {first <= 0 ? 0 : (first + stride - 1) / stride, std::min((at + pad) / stride + 1, out)};
  }
  int64_t OutputSize(bool round_up) const {
    const int64_t room = in + 2 * pad - kernel;
    const double steps = static_cast<double>(room) / static_cast<double>(stride);
    const int64_t size = static_cast<int64_t>(round_up ? std::ceil(steps) : std::floor(steps)) + 1;
    return (size - 1) * stride >= in + pad ? size - 1 : size;
  }
};

Axis Rows(const PoolParams& p, int64_t out) {
  return {p.src.h, out, p.kernel_h, p.stride_h, p.pad_h};
}
Axis Columns(const PoolParams& p, int64_t out) {
  return {p.src.w, out, p.kernel_w, p.stride_w, p.pad_w};
}

struct Geometry {
  Axis rows, columns;
  int64_t lanes;
};

// Windows of 2x2 with stride 2 and no padding, the case of nearly all nets, have loops of their
// own.
bool Is2x2(const Geometry& g) {
  const Axis &r = g.rows, &c = g.columns;
  return r.kernel == 2 && c.kernel == 2 && r.stride == 2 && c.stride == 2 && r.pad + c.pad == 0;
}

// The choice between the maximum so far and a further value. A NaN counts as larger than any
// number. Two plain selections: the compiler does not vectorise one with a composed condition.
template <class T>
LSEG_INLINE T Choose(float best, float value, T if_best, T if_value) {
  const T chosen = value > best ? if_value : if_best;
  return value != value ? if_value : chosen;
}

// 2x2 maxima of `lanes` windows. Lanes are kStep apart, the two pixels of a row `pixel`.
template <int kStep, bool kArgmax>
LSEG_INLINE void Max2x2(int64_t lanes, int64_t pixel, const float* __restrict top,
                        const float* __restrict bottom, float* __restrict dst,
                        int32_t* __restrict argmax) {
#pragma omp simd
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const float a = top[lane * kStep], b = top[lane * kStep + pixel];
    const float c = bottom[lane * kStep], d = bottom[lane * kStep + pixel];
    const float ab = Choose(a, b, a, b);
    const float abc = Choose(ab, c, ab, c);
    dst[lane] = Choose(abc, d, abc, d);
    if (kArgmax) {
      const int32_t at_ab = Choose(a, b, 0, 1);
      const int32_t at_abc = Choose(ab, c, at_ab, 2);
      argmax[lane] = Choose(abc, d, at_abc, 3);
    }
  }
}

// The windows [0, count) of a row of 2x2 windows; they lie inside. kLanes 1: NCHW, whose windows
// side by side serve as lanes.
template <int kLanes, bool kArgmax>
LSEG_INLINE void Max2x2Row(const Geometry& g, int64_t count, const float* top, float* dst,
                           int32_t* argmax) {
  const float* bottom = top + g.columns.in * g.lanes;
  if (kLanes == 1 && g.lanes == 1) {
    return Max2x2<2, kArgmax>(count, 1, top, bottom, dst, argmax);
  }
  for (int64_t x = 0; x < count; ++x) {
    for (int64_t lane = 0; lane < g.lanes; lane += kLanes) {
      const int64_t from = 2 * x * g.lanes + lane, to = x * g.lanes + lane;
      Max2x2<1, kArgmax>(kLanes, g.lanes, top + from, bottom + from, dst + to,
                         kArgmax ? argmax + to : nullptr);
    }
  }
}

// One row of dst, kLanes of its channels at a time. Pointers are at the plane's first element.
template <int kLanes, bool kArgmax>
LSEG_INLINE void MaxRow(const Geometry& g, int64_t row, const float* __restrict src,
                        float* __restrict dst, int32_t* __restrict argmax) {
  const Axis &rows = g.rows, &columns = g.columns;
  const Span ys = rows.Window(row);
  const int64_t to = row * columns.out * g.lanes;
  int64_t x = 0;
  if (Is2x2(g) && ys.end - ys.begin == 2) {
    x = columns.in / 2;
    Max2x2Row<kLanes, kArgmax>(g, x, src + ys.begin * columns.in * g.lanes, dst + to,
                               kArgmax ? argmax + to : nullptr);
  }
  for (; x < columns.out; ++x) {
    const Span xs = columns.Window(x);
    for (int64_t first = 0; first < g.lanes; first += kLanes) {
      float best[kLanes] = {};
      int32_t best_at[kLanes] = {};
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t at = xs.begin; at < xs.end; ++at) {
          const float* from = src + (y * columns.in + at) * g.lanes + first;
          const auto position =
              static_cast<int32_t>((y - row * rows.stride + rows.pad) * columns.kernel + at -
                                   x * columns.stride + columns.pad);
          const bool is_first = y == ys.begin && at == xs.begin;
#pragma omp simd
          for (int lane = 0; lane < kLanes; ++lane) {
            const float before = is_first ? from[lane] : best[lane];
            const int32_t before_at = is_first ? position : best_at[lane];
            best[lane] = Choose(before, from[lane], before, from[lane]);
            best_at[lane] = Choose(before, from[lane], before_at, position);
          }
        }
      }
      const int64_t at = to + x * g.lanes + first;
      std::copy(best, best + kLanes, dst + at);
      if (kArgmax) std::copy(best_at, best_at + kLanes, argmax + at);
    }
  }
}

template <int kLanes>
LSEG_INLINE void AverageRow(const Geometry& g, int64_t row, const float* __restrict src,
                            float* __restrict dst) {
  const Axis &rows = g.rows, &columns = g.columns;
  const Span ys = rows.Window(row);
  for (int64_t x = 0; x < columns.out; ++x) {
    const Span xs = columns.Window(x);
    const float divisor = static_cast<float>(rows.Divisor(row) * columns.Divisor(x));
    for (int64_t first = 0; first < g.lanes; first += kLanes) {
      float sum[kLanes] = {};
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t at = xs.begin; at < xs.end; ++at) {
          const float* from = src + (y * columns.in + at) * g.lanes + first;
#pragma omp simd
          for (int lane = 0; lane < kLanes; ++lane) sum[lane] += from[lane];
        }
      }
      float* to = dst + (row * columns.out + x) * g.lanes + first;
#pragma omp simd
      for (int lane = 0; lane < kLanes; ++lane) to[lane] = sum[lane] / divisor;
    }
  }
}

// What the windows [0, count) of a row of 2x2 windows give to one of their two source rows.
template <int kStep>
LSEG_INLINE void AddGradient2x2(int64_t lanes, int64_t pixel, int32_t position,
                                const float* __restrict d_dst, const int32_t* __restrict argmax,
                                float* __restrict d_src) {
#pragma omp simd
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const float gradient = d_dst[lane];
    const int32_t at = argmax[lane];
    const float left = d_src[lane * kStep], right = d_src[lane * kStep + pixel];
    d_src[lane * kStep] = left + (at == position ? gradient : 0.0f);
    d_src[lane * kStep + pixel] = right + (at == position + 1 ? gradient : 0.0f);
  }
}

template <int kLanes>
LSEG_INLINE void AddGradient2x2Row(const Geometry& g, int64_t count, int32_t position,
                                   const float* d_dst, const int32_t* argmax, float* d_src) {
  if (kLanes == 1 && g.lanes == 1) {
    return AddGradient2x2<2>(count, 1, position, d_dst, argmax, d_src);
  }
  for (int64_t x = 0; x < count; ++x) {
    for (int64_t lane = 0; lane < g.lanes; lane += kLanes) {
      const int64_t from = x * g.lanes + lane;
      AddGradient2x2<1>(kLanes, g.lanes, position, d_dst + from, argmax + from,
                        d_src + 2 * x * g.lanes + lane);
    }
  }
}

// Adds to one row of d_src what the windows that hold it give, window by window.
template <int kLanes, bool kMax>
LSEG_INLINE void GradientRow(const Geometry& g, int64_t row, const float* __restrict d_dst,
                             const int32_t* __restrict argmax, float* __restrict d_src) {
  const Axis &rows = g.rows, &columns = g.columns;
  const Span ys = rows.Outputs(row);
  for (int64_t y = ys.begin; y < ys.end; ++y) {
    const int64_t from_row = y * columns.out * g.lanes;
    const int64_t row_position = (row - y * rows.stride + rows.pad) * columns.kernel;
    int64_t x = 0;
    if (kMax && Is2x2(g)) {
      x = columns.in / 2;
      AddGradient2x2Row<kLanes>(g, x, static_cast<int32_t>(row_position), d_dst + from_row,
                                argmax + from_row, d_src + row * columns.in * g.lanes);
    }
    for (; x < columns.out; ++x) {
      const Span xs = columns.Window(x);
      const float divisor = kMax ? 1.0f : static_cast<float>(rows.Divisor(y) * columns.Divisor(x));
      for (int64_t at = xs.begin; at < xs.end; ++at) {
        const auto position =
            static_cast<int32_t>(row_position + at - x * columns.stride + columns.pad);
        for (int64_t first = 0; first < g.lanes; first += kLanes) {
          const int64_t from = from_row + x * g.lanes + first;
          float* sum = d_src + (row * columns.in + at) * g.lanes + first;
#pragma omp simd
          for (int lane = 0; lane < kLanes; ++lane) {
            if constexpr (kMax) {
              sum[lane] += argmax[from + lane] == position ? d_dst[from + lane] : 0.0f;
            } else {
              sum[lane] += d_dst[from + lane] / divisor;
            }
          }
        }
      }
    }
  }
}

template <int kLanes>
LSEG_INLINE void ForwardRow(const Geometry& g, bool max, int64_t row, const float* src, float* dst,
                            int32_t* argmax) {
  if (!max) {
    AverageRow<kLanes>(g, row, src, dst);
  } else if (argmax == nullptr) {
    MaxRow<kLanes, false>(g, row, src, dst, nullptr);
  } else {
    MaxRow<kLanes, true>(g, row, src, dst, argmax);
  }
}

LSEG_MULTIVERSION void RunForwardRow(const Geometry& g, bool max, int64_t row, const float* src,
                                     float* dst, int32_t* argmax) {
  if (g.lanes % 16 == 0) {
    ForwardRow<16>(g, max, row, src, dst, argmax);
  } else if (g.lanes % 8 == 0) {
    ForwardRow<8>(g, max, row, src, dst, argmax);
  } else {
    ForwardRow<1>(g, max, row, src, dst, argmax);
  }
}

template <bool kMax>
LSEG_INLINE void BackwardRow(const Geometry& g, int64_t row, const float* d_dst,
                             const int32_t* argmax, float* d_src) {
  if (g.lanes % 16 == 0) {
    GradientRow<16, kMax>(g, row, d_dst, argmax, d_src);
  } else if (g.lanes % 8 == 0) {
    GradientRow<8, kMax>(g, row, d_dst, argmax, d_src);
  } else {
    GradientRow<1, kMax>(g, row, d_dst, argmax, d_src);
  }
}

LSEG_MULTIVERSION void RunBackwardRow(const Geometry& g, bool max, int64_t row, const float* d_dst,
                                      const int32_t* argmax, float* d_src, bool add,
                                      const float* relu_dst) {
  const int64_t size = g.columns.in * g.lanes;
  if (!add) std::fill(d_src + row * size, d_src + (row + 1) * size, 0.0f);
  max ? BackwardRow<true>(g, row, d_dst, argmax, d_src)
      : BackwardRow<false>(g, row, d_dst, argmax, d_src);
  if (relu_dst == nullptr) return;
  for (int64_t i = row * size; i < (row + 1) * size; ++i) {
    d_src[i] = relu_dst[i] > 0 ? d_src[i] : 0.0f;
  }
}

struct Layout {
  Geometry geometry;
  int64_t planes, src_plane, dst_plane;  // plane sizes in elements
};

Layout LayoutOf(const PoolParams& params) {
  params.Validate();
  const Shape dst = params.Dst();
  const int64_t lanes = ChannelBlock(params.format, dst.c);
  return {{Rows(params, dst.h), Columns(params, dst.w), lanes},
          dst.n * ((dst.c + lanes - 1) / lanes),
          params.src.h * params.src.w * lanes,
          dst.h * dst.w * lanes};
}

void CheckF32(const PoolParams& params) {
  LSEG_CHECK(params.dtype == DType::kF32,
             "pooling of " << ToString(params.dtype) << " on the CPU: f32 only");
}

void CheckAxis(const char* name, const Axis& axis) {
  LSEG_CHECK(axis.kernel > 0 && axis.stride > 0, "pooling: kernel " << axis.kernel << " and stride "
                                                                    << axis.stride << " of the "
                                                                    << name << " must be positive");
  LSEG_CHECK(axis.pad >= 0 && axis.pad < axis.kernel,
             "pooling: pad " << axis.pad << " of the " << name << " must be in 0.."
                             << axis.kernel - 1 << ", below the kernel " << axis.kernel);
}

}  // namespace

void PoolParams::Validate() const {
  LSEG_CHECK(src.n > 0 && src.c > 0 && src.h > 0 && src.w > 0,
             "pooling: the input " << ToString(src) << " is empty");
  LSEG_CHECK(format != Format::kOpaque, "pooling: the format must be known, not opaque");
  CheckAxis("height", Rows(*this, 0));
  CheckAxis("width", Columns(*this, 0));
  LSEG_CHECK(kernel_h <= INT32_MAX / kernel_w,
             "pooling: kernel " << kernel_h << "x" << kernel_w << " is too large: positions in it "
                                << "are 32-bit integers");
  const Shape dst = Dst();
  LSEG_CHECK(dst.h > 0 && dst.w > 0, "pooling: kernel "
                                         << kernel_h << "x" << kernel_w << ", stride " << stride_h
                                         << "x" << stride_w << " and pad " << pad_h << "x" << pad_w
                                         << " leave nothing of the input " << ToString(src)
                                         << ": use a smaller kernel or a larger input");
}

Shape PoolParams::Dst() const {
  return {src.n, src.c, Rows(*this, 0).OutputSize(round_up),
          Columns(*this, 0).OutputSize(round_up)};
}

RowRange PoolParams::SrcRows(RowRange dst_rows) const {
  if (dst_rows.begin >= dst_rows.end) return {0, 0};
  const Axis rows = Rows(*this, 0);
  return {rows.Window(dst_rows.begin).begin, rows.Window(dst_rows.end - 1).end};
}

void PoolForward(Context& context, const PoolParams& params, const void* src, void* dst,
                 int32_t* argmax) {
  const Layout layout = LayoutOf(params);
  LSEG_ON_CUDA(context, PoolForward(context, params, src, dst, argmax));
  CheckF32(params);
  const Geometry& geometry = layout.geometry;
  const bool max = params.method == PoolParams::Method::kMax;
#pragma omp parallel for collapse(2) schedule(static) \
    num_threads(context.threads()) if (layout.planes * layout.src_plane > kParallelFrom)
  for (int64_t plane = 0; plane < layout.planes; ++plane) {
    for (int64_t row = 0; row < geometry.rows.out; ++row) {
      RunForwardRow(geometry, max, row, static_cast<const float*>(src) + plane * layout.src_plane,
                    static_cast<float*>(dst) + plane * layout.dst_plane,
                    argmax == nullptr ? nullptr : argmax + plane * layout.dst_plane);
    }
  }
}

void PoolBackward(Context& context, const PoolParams& params, const void* d_dst,
                  const int32_t* argmax, void* d_src, GradMode d_src_mode, const void* relu_dst) {
  const Layout layout = LayoutOf(params);
  if (d_src_mode == GradMode::kSkip) return;
  const Geometry& geometry = layout.geometry;
  const bool max = params.method == PoolParams::Method::kMax;
  LSEG_CHECK(!max || argmax != nullptr,
             "pooling: the gradient of the maximum needs the positions that forward found");
  LSEG_ON_CUDA(context, PoolBackward(context, params, d_dst, argmax, d_src, d_src_mode, relu_dst));
  CheckF32(params);
#pragma omp parallel for collapse(2) schedule(static) \
    num_threads(context.threads()) if (layout.planes * layout.src_plane > kParallelFrom)
  for (int64_t plane = 0; plane < layout.planes; ++plane) {
    for (int64_t row = 0; row < geometry.rows.in; ++row) {
      RunBackwardRow(
          geometry, max, row, static_cast<const float*>(d_dst) + plane * layout.dst_plane,
          max ? argmax + plane * layout.dst_plane : nullptr,
          static_cast<float*>(d_src) + plane * layout.src_plane, d_src_mode == GradMode::kAdd,
          relu_dst == nullptr ? nullptr
                              : static_cast<const float*>(relu_dst) + plane * layout.src_plane);
    }
  }
}

}  // namespace lseg
