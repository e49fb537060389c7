// See pool_rows.h. Lanes are the inner loop, so blocked formats fill vectors whatever the window.
// Padding channels are zeros, and pooling keeps them.
#include "kernels/cpu/pool_rows.h"

#include "kernels/cpu/loops.h"

namespace lseg {
namespace {

// Windows of 2x2 with stride 2 and no padding, the case of nearly all nets, have loops of their
// own.
bool Is2x2(const PoolGeometry& g) {
  const PoolAxis &r = g.rows, &c = g.columns;
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
template <int kStep, bool kArgmax, class T>
LSEG_INLINE void Max2x2(int64_t lanes, int64_t pixel, const T* __restrict top,
                        const T* __restrict bottom, T* __restrict dst, int32_t* __restrict argmax) {
#pragma omp simd
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const float a = ToFloat(top[lane * kStep]), b = ToFloat(top[lane * kStep + pixel]);
    const float c = ToFloat(bottom[lane * kStep]), d = ToFloat(bottom[lane * kStep + pixel]);
    const float ab = Choose(a, b, a, b);
    const float abc = Choose(ab, c, ab, c);
    dst[lane] = FromFloat<T>(Choose(abc, d, abc, d));
    if (kArgmax) {
      const int32_t at_ab = Choose(a, b, 0, 1);
      const int32_t at_abc = Choose(ab, c, at_ab, 2);
      argmax[lane] = Choose(abc, d, at_abc, 3);
    }
  }
}

// The windows [0, count) of a row of 2x2 windows; they lie inside. kLanes 1: NCHW, whose windows
// side by side serve as lanes.
template <int kLanes, bool kArgmax, class T>
LSEG_INLINE void Max2x2Row(const PoolGeometry& g, int64_t count, const T* top, T* dst,
                           int32_t* argmax) {
  const T* bottom = top + g.columns.in * g.lanes;
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
template <int kLanes, bool kArgmax, class T>
LSEG_INLINE void MaxRow(const PoolGeometry& g, int64_t row, const T* __restrict src,
                        T* __restrict dst, int32_t* __restrict argmax) {
  const PoolAxis &rows = g.rows, &columns = g.columns;
  const PoolSpan ys = rows.Window(row);
  const int64_t to = row * columns.out * g.lanes;
  int64_t x = 0;
  if (Is2x2(g) && ys.end - ys.begin == 2) {
    x = columns.in / 2;
    Max2x2Row<kLanes, kArgmax>(g, x, src + ys.begin * columns.in * g.lanes, dst + to,
                               kArgmax ? argmax + to : nullptr);
  }
  for (; x < columns.out; ++x) {
    const PoolSpan xs = columns.Window(x);
    for (int64_t first = 0; first < g.lanes; first += kLanes) {
      float best[kLanes] = {};
      int32_t best_at[kLanes] = {};
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t at = xs.begin; at < xs.end; ++at) {
          const T* from = src + (y * columns.in + at) * g.lanes + first;
          const auto position =
              static_cast<int32_t>((y - row * rows.stride + rows.pad) * columns.kernel + at -
                                   x * columns.stride + columns.pad);
          const bool is_first = y == ys.begin && at == xs.begin;
#pragma omp simd
          for (int lane = 0; lane < kLanes; ++lane) {
            const float value = ToFloat(from[lane]), before = is_first ? value : best[lane];
            const int32_t before_at = is_first ? position : best_at[lane];
            best[lane] = Choose(before, value, before, value);
            best_at[lane] = Choose(before, value, before_at, position);
          }
        }
      }
      const int64_t at = to + x * g.lanes + first;
#pragma omp simd
      for (int lane = 0; lane < kLanes; ++lane) dst[at + lane] = FromFloat<T>(best[lane]);
      if (kArgmax) std::copy(best_at, best_at + kLanes, argmax + at);
    }
  }
}

template <int kLanes, class T>
LSEG_INLINE void AverageRow(const PoolGeometry& g, int64_t row, const T* __restrict src,
                            T* __restrict dst) {
  const PoolAxis &rows = g.rows, &columns = g.columns;
  const PoolSpan ys = rows.Window(row);
  for (int64_t x = 0; x < columns.out; ++x) {
    const PoolSpan xs = columns.Window(x);
    const float divisor = static_cast<float>(rows.Divisor(row) * columns.Divisor(x));
    for (int64_t first = 0; first < g.lanes; first += kLanes) {
      float sum[kLanes] = {};
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t at = xs.begin; at < xs.end; ++at) {
          const T* from = src + (y * columns.in + at) * g.lanes + first;
#pragma omp simd
          for (int lane = 0; lane < kLanes; ++lane) sum[lane] += ToFloat(from[lane]);
        }
      }
      T* to = dst + (row * columns.out + x) * g.lanes + first;
#pragma omp simd
      for (int lane = 0; lane < kLanes; ++lane) to[lane] = FromFloat<T>(sum[lane] / divisor);
    }
  }
}

// What the windows [0, count) of a row of 2x2 windows give to one of their two source rows.
template <int kStep, class T>
LSEG_INLINE void AddGradient2x2(int64_t lanes, int64_t pixel, int32_t position,
                                const T* __restrict d_dst, const int32_t* __restrict argmax,
                                T* __restrict d_src) {
#pragma omp simd
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const float gradient = ToFloat(d_dst[lane]);
    const int32_t at = argmax[lane];
    const float left = ToFloat(d_src[lane * kStep]), right = ToFloat(d_src[lane * kStep + pixel]);
    d_src[lane * kStep] = FromFloat<T>(left + (at == position ? gradient : 0.0f));
    d_src[lane * kStep + pixel] = FromFloat<T>(right + (at == position + 1 ? gradient : 0.0f));
  }
}

template <int kLanes, class T>
LSEG_INLINE void AddGradient2x2Row(const PoolGeometry& g, int64_t count, int32_t position,
                                   const T* d_dst, const int32_t* argmax, T* d_src) {
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

// Adds to one row of d_src what the windows that hold it give: a gather, in the windows' order.
template <int kLanes, bool kMax, class T>
LSEG_INLINE void GradientRow(const PoolGeometry& g, int64_t row, const T* __restrict d_dst,
                             const int32_t* __restrict argmax, T* __restrict d_src) {
  const PoolAxis &rows = g.rows, &columns = g.columns;
  const PoolSpan ys = rows.Outputs(row);
  const auto row_position = [&](int64_t y) {
    return (row - y * rows.stride + rows.pad) * columns.kernel;
  };
  T* to_row = d_src + row * columns.in * g.lanes;
  int64_t at = 0;
  if (kMax && Is2x2(g) && ys.begin < ys.end) {  // of one window at most
    const int64_t count = columns.in / 2, from = ys.begin * columns.out * g.lanes;
    AddGradient2x2Row<kLanes>(g, count, static_cast<int32_t>(row_position(ys.begin)), d_dst + from,
                              argmax + from, to_row);
    at = 2 * count;
  }
  for (; at < columns.in; ++at) {
    const PoolSpan xs = columns.Outputs(at);
    for (int64_t first = 0; first < g.lanes; first += kLanes) {
      T* to = to_row + at * g.lanes + first;
      float sum[kLanes];
#pragma omp simd
      for (int lane = 0; lane < kLanes; ++lane) sum[lane] = ToFloat(to[lane]);
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t x = xs.begin; x < xs.end; ++x) {
          const int64_t from = (y * columns.out + x) * g.lanes + first;
          const auto position =
              static_cast<int32_t>(row_position(y) + at - x * columns.stride + columns.pad);
          const float divisor =
              kMax ? 1.0f : static_cast<float>(rows.Divisor(y) * columns.Divisor(x));
#pragma omp simd
          for (int lane = 0; lane < kLanes; ++lane) {
            const float gradient = ToFloat(d_dst[from + lane]);
            if constexpr (kMax) {
              sum[lane] += argmax[from + lane] == position ? gradient : 0.0f;
            } else {
              sum[lane] += gradient / divisor;
            }
          }
        }
      }
#pragma omp simd
      for (int lane = 0; lane < kLanes; ++lane) to[lane] = FromFloat<T>(sum[lane]);
    }
  }
}

template <int kLanes, class T>
LSEG_INLINE void ForwardLanes(const PoolGeometry& g, bool max, int64_t row, const T* src, T* dst,
                              int32_t* argmax) {
  if (!max) {
    AverageRow<kLanes>(g, row, src, dst);
  } else if (argmax == nullptr) {
    MaxRow<kLanes, false>(g, row, src, dst, nullptr);
  } else {
    MaxRow<kLanes, true>(g, row, src, dst, argmax);
  }
}

template <class T>
LSEG_INLINE void ForwardRow(const PoolGeometry& g, bool max, int64_t row, const T* src, T* dst,
                            int32_t* argmax) {
  if (g.lanes % 16 == 0) {
    ForwardLanes<16>(g, max, row, src, dst, argmax);
  } else if (g.lanes % 8 == 0) {
    ForwardLanes<8>(g, max, row, src, dst, argmax);
  } else {
    ForwardLanes<1>(g, max, row, src, dst, argmax);
  }
}

template <bool kMax, class T>
LSEG_INLINE void GradientLanes(const PoolGeometry& g, int64_t row, const T* d_dst,
                               const int32_t* argmax, T* d_src) {
  if (g.lanes % 16 == 0) {
    GradientRow<16, kMax>(g, row, d_dst, argmax, d_src);
  } else if (g.lanes % 8 == 0) {
    GradientRow<8, kMax>(g, row, d_dst, argmax, d_src);
  } else {
    GradientRow<1, kMax>(g, row, d_dst, argmax, d_src);
  }
}

template <class T>
LSEG_INLINE void BackwardRow(const PoolGeometry& g, bool max, int64_t row, const T* d_dst,
                             const int32_t* argmax, T* d_src, bool add, const T* relu_dst) {
  const int64_t size = g.columns.in * g.lanes;
  if (!add) std::fill(d_src + row * size, d_src + (row + 1) * size, T());
  max ? GradientLanes<true>(g, row, d_dst, argmax, d_src)
      : GradientLanes<false>(g, row, d_dst, argmax, d_src);
  if (relu_dst == nullptr) return;
#pragma omp simd
  for (int64_t i = row * size; i < (row + 1) * size; ++i) {
    d_src[i] = ToFloat(relu_dst[i]) > 0 ? d_src[i] : T();
  }
}

}  // namespace

LSEG_MULTIVERSION void PoolForwardRow(const PoolGeometry& g, bool max, int64_t row,
                                      const float* src, float* dst, int32_t* argmax) {
  ForwardRow(g, max, row, src, dst, argmax);
}
LSEG_MULTIVERSION void PoolForwardRow(const PoolGeometry& g, bool max, int64_t row,
                                      const BFloat16* src, BFloat16* dst, int32_t* argmax) {
  ForwardRow(g, max, row, src, dst, argmax);
}

LSEG_MULTIVERSION void PoolBackwardRow(const PoolGeometry& g, bool max, int64_t row,
                                       const float* d_dst, const int32_t* argmax, float* d_src,
                                       bool add, const float* relu_dst) {
  BackwardRow(g, max, row, d_dst, argmax, d_src, add, relu_dst);
}
LSEG_MULTIVERSION void PoolBackwardRow(const PoolGeometry& g, bool max, int64_t row,
                                       const BFloat16* d_dst, const int32_t* argmax,
                                       BFloat16* d_src, bool add, const BFloat16* relu_dst) {
  BackwardRow(g, max, row, d_dst, argmax, d_src, add, relu_dst);
}

}  // namespace lseg
