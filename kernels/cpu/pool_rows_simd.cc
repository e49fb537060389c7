// See pool_rows.h. Vectors run over lanes, so blocked formats fill them whatever the window.
// Padding channels are zeros, and pooling keeps them.
#include <algorithm>
#include <limits>

#include "kernels/cpu/pool_rows.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pool_rows_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/bfloat16-inl.h"
#include "kernels/cpu/maxima-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Windows of 2x2 with stride 2 and no padding, the case of nearly all nets, have loops of their
// own.
inline bool Is2x2(const PoolGeometry& g) {
  const PoolAxis &r = g.rows, &c = g.columns;
  return r.kernel == 2 && c.kernel == 2 && r.stride == 2 && c.stride == 2 && r.pad + c.pad == 0;
}

// In NCHW such windows, which lie side by side, fill vectors of this kind.
using Windows = hn::CappedTag<float, 16>;

// Positions in registers are as wide as floats.
template <class D>
using Positions = hn::Vec<hn::RebindToSigned<D>>;

template <class D>
HWY_INLINE Positions<D> LoadPositions(D, const int32_t* from) {
  return hn::LoadU(hn::RebindToSigned<D>(), from);
}
template <class D>
HWY_INLINE Positions<D> LoadPositions(D, const uint8_t* from) {
  return hn::PromoteTo(hn::RebindToSigned<D>(), hn::LoadU(hn::Rebind<uint8_t, D>(), from));
}

template <class D>
HWY_INLINE void StorePositions(Positions<D> positions, D, int32_t* to) {
  hn::StoreU(positions, hn::RebindToSigned<D>(), to);
}
template <class D>
HWY_INLINE void StorePositions(Positions<D> positions, D, uint8_t* to) {
  const hn::Rebind<uint8_t, D> bytes;
  hn::StoreU(hn::DemoteTo(bytes, positions), bytes, to);
}

// The maximum of what it has seen, and its position.
template <class D>
struct Maximum {
  HWY_INLINE Maximum(hn::Vec<D> first, int32_t position)
      : value(first), at(hn::Set(hn::RebindToSigned<D>(), position)) {}

  HWY_INLINE void See(hn::Vec<D> next, int32_t position) {
    const hn::RebindToSigned<D> integers;
    const auto larger = IsLarger(value, next);
    value = hn::IfThenElse(larger, next, value);
    at = hn::IfThenElse(hn::RebindMask(integers, larger), hn::Set(integers, position), at);
  }

  hn::Vec<D> value;
  Positions<D> at;
};

template <bool kArgmax, class D, class T, class P>
HWY_INLINE void Max2x2(D d, hn::Vec<D> a, hn::Vec<D> b, hn::Vec<D> below_a, hn::Vec<D> below_b,
                       T* dst, P* argmax) {
  Maximum<D> best(a, 0);
  best.See(b, 1);
  best.See(below_a, 2);
  best.See(below_b, 3);
  StoreFloats(best.value, d, dst);
  if constexpr (kArgmax) StorePositions(best.at, d, argmax);
}

// The first of a row's 2x2 windows that lie inside; how many they were. (Inlined, loops compete for
// registers.)
template <bool kArgmax, class D, class T, class P>
HWY_NOINLINE int64_t Max2x2Row(D d, PoolGeometry g, const T* top, T* dst, P* argmax) {
  const int64_t count = g.columns.in / 2, lanes = g.lanes, below = g.columns.in * lanes;
  if (lanes == 1) {
    const Windows windows;
    const int64_t step = hn::Lanes(windows), whole = count / step * step;
    hn::Vec<Windows> a, b, below_a, below_b;
    for (int64_t x = 0; x < whole; x += step) {
      LoadPairs(windows, top + 2 * x, a, b);
      LoadPairs(windows, top + 2 * x + below, below_a, below_b);
      Max2x2<kArgmax>(windows, a, b, below_a, below_b, dst + x, kArgmax ? argmax + x : nullptr);
    }
    return whole;
  }
  for (int64_t x = 0; x < count; ++x) {
    for (int64_t lane = 0; lane < lanes; lane += hn::Lanes(d)) {
      const T* from = top + 2 * x * lanes + lane;
      const int64_t to = x * lanes + lane;
      Max2x2<kArgmax>(d, LoadFloats(d, from), LoadFloats(d, from + lanes),
                      LoadFloats(d, from + below), LoadFloats(d, from + below + lanes), dst + to,
                      kArgmax ? argmax + to : nullptr);
    }
  }
  return count;
}

// One row of dst. Pointers are at the plane's first element.
template <bool kArgmax, class D, class T, class P>
void MaxRow(D d, PoolGeometry g, int64_t row, const T* src, T* dst, P* argmax) {
  const PoolAxis rows = g.rows, columns = g.columns;
  const PoolSpan ys = rows.Window(row);
  const int64_t to = row * columns.out * g.lanes;
  int64_t x = 0;
  if (Is2x2(g) && ys.end - ys.begin == 2) {
    x = Max2x2Row<kArgmax>(d, g, src + ys.begin * columns.in * g.lanes, dst + to,
                           kArgmax ? argmax + to : nullptr);
  }
  for (; x < columns.out; ++x) {
    const PoolSpan xs = columns.Window(x);
    const auto position = [&](int64_t y, int64_t at) {
      return static_cast<int32_t>((y - row * rows.stride + rows.pad) * columns.kernel + at -
                                  x * columns.stride + columns.pad);
    };
    for (int64_t lane = 0; lane < g.lanes; lane += hn::Lanes(d)) {
      const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
      Maximum<D> best(lowest, position(ys.begin, xs.begin));
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t at = xs.begin; at < xs.end; ++at) {
          best.See(LoadFloats(d, src + (y * columns.in + at) * g.lanes + lane), position(y, at));
        }
      }
      StoreFloats(best.value, d, dst + to + x * g.lanes + lane);
      if constexpr (kArgmax) StorePositions(best.at, d, argmax + to + x * g.lanes + lane);
    }
  }
}

template <class D, class T>
void AverageRow(D d, PoolGeometry g, int64_t row, const T* src, T* dst) {
  const PoolAxis rows = g.rows, columns = g.columns;
  const PoolSpan ys = rows.Window(row);
  for (int64_t x = 0; x < columns.out; ++x) {
    const PoolSpan xs = columns.Window(x);
    const auto divisor = hn::Set(d, static_cast<float>(rows.Divisor(row) * columns.Divisor(x)));
    for (int64_t lane = 0; lane < g.lanes; lane += hn::Lanes(d)) {
      auto sum = hn::Zero(d);
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t at = xs.begin; at < xs.end; ++at) {
          sum = hn::Add(sum, LoadFloats(d, src + (y * columns.in + at) * g.lanes + lane));
        }
      }
      StoreFloats(hn::Div(sum, divisor), d, dst + (row * columns.out + x) * g.lanes + lane);
    }
  }
}

// A row of d_src, and of what came out of the ReLU or null.
template <class T>
struct Target {
  template <class D>
  HWY_INLINE hn::Vec<D> Before(D d, int64_t at) const {
    return add ? LoadFloats(d, d_src + at) : hn::Zero(d);
  }
  template <class D>
  HWY_INLINE void Store(D d, hn::Vec<D> sum, int64_t at) const {
    if (relu_dst != nullptr) sum = Kept(d, sum, LoadFloats(d, relu_dst + at));
    StoreFloats(sum, d, d_src + at);
  }
  // Elements 2i and 2i + 1 get what left and right have in lane i.
  template <class D>
  HWY_INLINE void AddPairs(D d, hn::Vec<D> left, hn::Vec<D> right, int64_t at) const {
    auto even = hn::Zero(d), odd = even;
    if (add) LoadPairs(d, d_src + at, even, odd);
    left = hn::Add(even, left);
    right = hn::Add(odd, right);
    if (relu_dst != nullptr) {
      LoadPairs(d, relu_dst + at, even, odd);
      left = Kept(d, left, even);
      right = Kept(d, right, odd);
    }
    StorePairs(left, right, d, d_src + at);
  }

  template <class D>
  static HWY_INLINE hn::Vec<D> Kept(D d, hn::Vec<D> sum, hn::Vec<D> relu) {
    return hn::IfThenElseZero(hn::Gt(relu, hn::Zero(d)), sum);
  }

  T* d_src;
  bool add;
  const T* relu_dst;
};

// A window's gradient for its element at `position`.
template <class D>
HWY_INLINE hn::Vec<D> Share(D d, hn::Vec<D> gradient, Positions<D> best, int32_t position) {
  const auto is_best = hn::Eq(best, hn::Set(hn::RebindToSigned<D>(), position));
  return hn::IfThenElseZero(hn::RebindMask(d, is_best), gradient);
}

// The first elements of a row of d_src that 2x2 windows hold, in which its left elements are at
// `position`; how many they were. d_dst and argmax are at the windows' row.
template <class D, class T, class P>
HWY_NOINLINE int64_t Gradient2x2Row(D d, PoolGeometry g, int32_t position, const T* d_dst,
                                    const P* argmax, Target<T> target) {
  const int64_t count = g.columns.in / 2;
  if (g.lanes == 1) {
    const Windows windows;
    const int64_t step = hn::Lanes(windows), whole = count / step * step;
    for (int64_t x = 0; x < whole; x += step) {
      const auto gradient = LoadFloats(windows, d_dst + x);
      const auto best = LoadPositions(windows, argmax + x);
      target.AddPairs(windows, Share(windows, gradient, best, position),
                      Share(windows, gradient, best, position + 1), 2 * x);
    }
    return 2 * whole;
  }
  for (int64_t x = 0; x < count; ++x) {
    for (int64_t lane = 0; lane < g.lanes; lane += hn::Lanes(d)) {
      const int64_t left = 2 * x * g.lanes + lane, right = left + g.lanes,
                    from = x * g.lanes + lane;
      const auto gradient = LoadFloats(d, d_dst + from);
      const auto best = LoadPositions(d, argmax + from);
      target.Store(d, hn::Add(target.Before(d, left), Share(d, gradient, best, position)), left);
      target.Store(d, hn::Add(target.Before(d, right), Share(d, gradient, best, position + 1)),
                   right);
    }
  }
  return 2 * count;
}

// One row of d_src: a gather from the windows that hold its elements, in the windows' order.
template <bool kMax, class D, class T, class P>
void GradientRow(D d, PoolGeometry g, int64_t row, const T* d_dst, const P* argmax,
                 Target<T> target) {
  const PoolAxis rows = g.rows, columns = g.columns;
  const PoolSpan ys = rows.Outputs(row);
  const auto position = [&](int64_t y, int64_t x, int64_t at) {
    return static_cast<int32_t>((row - y * rows.stride + rows.pad) * columns.kernel + at -
                                x * columns.stride + columns.pad);
  };
  int64_t at = 0;
  if (kMax && Is2x2(g) && ys.begin < ys.end) {  // of one window at most
    const int64_t from = ys.begin * columns.out * g.lanes;
    at = Gradient2x2Row(d, g, position(ys.begin, 0, 0), d_dst + from, argmax + from, target);
  }
  for (; at < columns.in; ++at) {
    const PoolSpan xs = columns.Outputs(at);
    for (int64_t lane = 0; lane < g.lanes; lane += hn::Lanes(d)) {
      auto sum = target.Before(d, at * g.lanes + lane);
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t x = xs.begin; x < xs.end; ++x) {
          const int64_t from = (y * columns.out + x) * g.lanes + lane;
          const auto gradient = LoadFloats(d, d_dst + from);
          if constexpr (kMax) {
            const auto best = LoadPositions(d, argmax + from);
            sum = hn::Add(sum, Share(d, gradient, best, position(y, x, at)));
          } else {
            const auto divisor = static_cast<float>(rows.Divisor(y) * columns.Divisor(x));
            sum = hn::Add(sum, hn::Div(gradient, hn::Set(d, divisor)));
          }
        }
      }
      target.Store(d, sum, at * g.lanes + lane);
    }
  }
}

// Calls work(vector tag) with vectors that a pixel's lanes fill.
template <class Work>
void WithVector(int64_t lanes, Work work) {
  if (lanes % 16 == 0) return work(hn::CappedTag<float, 16>());
  if (lanes % 8 == 0) return work(hn::CappedTag<float, 8>());
  work(hn::CappedTag<float, 1>());
}

template <class T>
void ForwardRow(PoolGeometry g, bool max, int64_t row, const T* src, T* dst, void* argmax) {
  WithVector(g.lanes, [&](auto d) {
    if (!max) return AverageRow(d, g, row, src, dst);
    auto* bytes = static_cast<uint8_t*>(argmax);
    if (argmax == nullptr) return MaxRow<false>(d, g, row, src, dst, bytes);
    if (g.argmax == DType::kU8) return MaxRow<true>(d, g, row, src, dst, bytes);
    MaxRow<true>(d, g, row, src, dst, static_cast<int32_t*>(argmax));
  });
}

template <class T>
void BackwardRow(PoolGeometry g, bool max, int64_t row, const T* d_dst, const void* argmax,
                 T* d_src, bool add, const T* relu_dst) {
  const int64_t at = row * g.columns.in * g.lanes;
  const Target<T> target = {d_src + at, add, relu_dst == nullptr ? nullptr : relu_dst + at};
  WithVector(g.lanes, [&](auto d) {
    const auto* bytes = static_cast<const uint8_t*>(argmax);
    if (!max) return GradientRow<false>(d, g, row, d_dst, bytes, target);
    if (g.argmax == DType::kU8) return GradientRow<true>(d, g, row, d_dst, bytes, target);
    GradientRow<true>(d, g, row, d_dst, static_cast<const int32_t*>(argmax), target);
  });
}

// What is dispatched has no templates.
void ForwardF32(const PoolGeometry& g, bool max, int64_t row, const float* src, float* dst,
                void* argmax) {
  ForwardRow(g, max, row, src, dst, argmax);
}
void ForwardBF16(const PoolGeometry& g, bool max, int64_t row, const BFloat16* src, BFloat16* dst,
                 void* argmax) {
  ForwardRow(g, max, row, src, dst, argmax);
}
void BackwardF32(const PoolGeometry& g, bool max, int64_t row, const float* d_dst,
                 const void* argmax, float* d_src, bool add, const float* relu_dst) {
  BackwardRow(g, max, row, d_dst, argmax, d_src, add, relu_dst);
}
void BackwardBF16(const PoolGeometry& g, bool max, int64_t row, const BFloat16* d_dst,
                  const void* argmax, BFloat16* d_src, bool add, const BFloat16* relu_dst) {
  BackwardRow(g, max, row, d_dst, argmax, d_src, add, relu_dst);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lseg {

HWY_EXPORT(ForwardF32);
HWY_EXPORT(ForwardBF16);
HWY_EXPORT(BackwardF32);
HWY_EXPORT(BackwardBF16);

void PoolForwardRow(const PoolGeometry& g, bool max, int64_t row, const float* src, float* dst,
                    void* argmax) {
  HWY_DYNAMIC_DISPATCH(ForwardF32)(g, max, row, src, dst, argmax);
}
void PoolForwardRow(const PoolGeometry& g, bool max, int64_t row, const BFloat16* src,
                    BFloat16* dst, void* argmax) {
  HWY_DYNAMIC_DISPATCH(ForwardBF16)(g, max, row, src, dst, argmax);
}

void PoolBackwardRow(const PoolGeometry& g, bool max, int64_t row, const float* d_dst,
                     const void* argmax, float* d_src, bool add, const float* relu_dst) {
  HWY_DYNAMIC_DISPATCH(BackwardF32)(g, max, row, d_dst, argmax, d_src, add, relu_dst);
}
void PoolBackwardRow(const PoolGeometry& g, bool max, int64_t row, const BFloat16* d_dst,
                     const void* argmax, BFloat16* d_src, bool add, const BFloat16* relu_dst) {
  HWY_DYNAMIC_DISPATCH(BackwardBF16)(g, max, row, d_dst, argmax, d_src, add, relu_dst);
}

}  // namespace lseg
#endif
