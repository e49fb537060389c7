// The one-dimensional transforms of F(4, 3) and F(2, 3) on vectors of channels, by the outputs
// kTile of a tile, and what reads tiles. See winograd.h for the points. Included once per
// instruction set, by the sources that use Highway.
//
// What differs between maps stands in a struct Maps (below: BlockedF32, NhwcBF16):
//   Element      of maps
//   kBlocked     they are in a blocked format, else in NHWC
//   Load, Store  vectors of f32 from and to Elements
// and between the types in which products are taken in a struct Products (below: ProductsF32):
//   Value        of transformed maps and of packed weights
//   kTogether    factors whose products are added up at once, which lie together
//   Store                        vectors of f32 to Values
//   StoreTogether, LoadTogether  kTogether of these vectors, lane by lane
//   Factor                       kTogether Values, in all lanes
//   MulAdd                       the products of the two, added to a vector of f32

#if defined(LSEG_KERNELS_CPU_WINOGRAD_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSEG_KERNELS_CPU_WINOGRAD_TILE_INL_H_
#undef LSEG_KERNELS_CPU_WINOGRAD_TILE_INL_H_
#else
#define LSEG_KERNELS_CPU_WINOGRAD_TILE_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/bfloat16-inl.h"
#include "kernels/cpu/winograd.h"
#include "kernels/runtime/integers.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The points +-kP and +-kQ, and the denominators of G's rows: product of differences to the others.
constexpr float kP = 0.75f, kQ = 1.5f, kP2 = kP * kP, kQ2 = kQ * kQ;
constexpr double kNormZero = 1.0 / (double{kP2} * kQ2);
constexpr double kNormP = 1.0 / (2.0 * kP2 * (double{kP2} - kQ2));
constexpr double kNormQ = 1.0 / (2.0 * kQ2 * (double{kQ2} - kP2));

template <int kBlock>
using Tag = hn::CappedTag<float, kBlock>;

template <int kBlock>
constexpr int64_t PanelSize() {
  return 2 * static_cast<int64_t>(hn::MaxLanes(Tag<kBlock>()));
}

struct BlockedF32 {
  using Element = float;
  static constexpr bool kBlocked = true;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const float* from) {
    return hn::LoadU(d, from);
  }
  template <class D>
  static HWY_INLINE void Store(hn::Vec<D> value, D d, float* to) {
    hn::StoreU(value, d, to);
  }
};

struct NhwcBF16 {
  using Element = BFloat16;
  static constexpr bool kBlocked = false;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const BFloat16* from) {
    return LoadFloats(d, from);
  }
  template <class D>
  static HWY_INLINE void Store(hn::Vec<D> value, D d, BFloat16* to) {
    StoreFloats(value, d, to);
  }
};

struct ProductsF32 {
  using Value = float;
  static constexpr int kTogether = 1;
  template <class D>
  static HWY_INLINE void Store(hn::Vec<D> value, D d, float* to) {
    hn::StoreU(value, d, to);
  }
  template <class D>
  static HWY_INLINE void StoreTogether(const hn::Vec<D> (&values)[kTogether], D d, float* to) {
    hn::StoreU(values[0], d, to);
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> LoadTogether(D d, const float* from) {
    return hn::LoadU(d, from);
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> Factor(D d, const float* from) {
    return hn::Set(d, *from);
  }
  template <class V>
  static HWY_INLINE V MulAdd(V factor, V values, V sum) {
    return hn::MulAdd(factor, values, sum);
  }
};

// Elements from one image, block of channels, row and pixel of a map to the next, where `rows` rows
// lie in memory.
template <class Maps, int kBlock>
struct Steps {
  Steps(int64_t channels, int64_t rows, int64_t width)
      : pixel(Maps::kBlocked ? kBlock : channels),
        row(width * pixel),
        block(Maps::kBlocked ? rows * row : kBlock),
        image(Maps::kBlocked ? CeilDiv(channels, kBlock) * block : rows * row) {}
  // Of a pixel, known when compiling where it can be.
  int64_t Pixel() const { return Maps::kBlocked ? kBlock : pixel; }
  int64_t pixel, row, block, image;
};

struct TileAt {
  TileAt(const WinogradShape& s, int64_t tile)
      : n(tile / (s.TilesY() * s.TilesX())),
        y(tile / s.TilesX() % s.TilesY() * s.tile),
        x(tile % s.TilesX() * s.tile) {}
  int64_t n, y, x;  // image, and the first row and column of outputs
};

// out = B^T in, kTile + 2 to as many. Elements of `out` are `stride` apart.
template <int kTile, class D, class V = hn::Vec<D>>
HWY_INLINE void TransformInput(D d, const V* in, V* out, int stride) {
  if constexpr (kTile == 2) {
    out[0 * stride] = hn::Sub(in[0], in[2]);
    out[1 * stride] = hn::Add(in[2], in[1]);
    out[2 * stride] = hn::Sub(in[2], in[1]);
    out[3 * stride] = hn::Sub(in[3], in[1]);
    return;
  }
  const V p = hn::Set(d, kP), q = hn::Set(d, kQ), p2 = hn::Set(d, kP2), q2 = hn::Set(d, kQ2);
  const V sum = hn::Set(d, kP2 + kQ2);
  const V even_p = hn::NegMulAdd(q2, in[2], in[4]), odd_p = hn::NegMulAdd(q2, in[1], in[3]);
  const V even_q = hn::NegMulAdd(p2, in[2], in[4]), odd_q = hn::NegMulAdd(p2, in[1], in[3]);
  const V product = hn::Set(d, kP2 * kQ2);
  out[0 * stride] = hn::MulAdd(product, in[0], hn::NegMulAdd(sum, in[2], in[4]));
  out[1 * stride] = hn::MulAdd(p, odd_p, even_p);
  out[2 * stride] = hn::NegMulAdd(p, odd_p, even_p);
  out[3 * stride] = hn::MulAdd(q, odd_q, even_q);
  out[4 * stride] = hn::NegMulAdd(q, odd_q, even_q);
  out[5 * stride] = hn::MulAdd(product, in[1], hn::NegMulAdd(sum, in[3], in[5]));
}

// out = A^T in, kTile + 2 to kTile.
template <int kTile, class D, class V = hn::Vec<D>>
HWY_INLINE void TransformOutput(D d, const V* in, V* out, int stride) {
  if constexpr (kTile == 2) {
    out[0 * stride] = hn::Add(in[0], hn::Add(in[1], in[2]));
    out[1 * stride] = hn::Add(hn::Sub(in[1], in[2]), in[3]);
    return;
  }
  const V p = hn::Set(d, kP), q = hn::Set(d, kQ), p2 = hn::Set(d, kP2), q2 = hn::Set(d, kQ2);
  const V p3 = hn::Set(d, kP * kP2), q3 = hn::Set(d, kQ * kQ2);
  const V even_p = hn::Add(in[1], in[2]), odd_p = hn::Sub(in[1], in[2]);
  const V even_q = hn::Add(in[3], in[4]), odd_q = hn::Sub(in[3], in[4]);
  out[0 * stride] = hn::Add(in[0], hn::Add(even_p, even_q));
  out[1 * stride] = hn::MulAdd(p, odd_p, hn::Mul(q, odd_q));
  out[2 * stride] = hn::MulAdd(p2, even_p, hn::Mul(q2, even_q));
  out[3 * stride] = hn::MulAdd(p3, odd_p, hn::MulAdd(q3, odd_q, in[5]));
}

// out = G in, 3 to kTile + 2.
template <int kTile, class D, class V = hn::Vec<D>>
HWY_INLINE void TransformWeight(D d, const V* in, V* out, int stride) {
  if constexpr (kTile == 2) {
    const V half = hn::Set(d, 0.5f), even = hn::Mul(half, hn::Add(in[0], in[2]));
    out[0 * stride] = in[0];
    out[1 * stride] = hn::MulAdd(half, in[1], even);
    out[2 * stride] = hn::NegMulAdd(half, in[1], even);
    out[3 * stride] = in[2];
    return;
  }
  const auto set = [&](double value) { return hn::Set(d, static_cast<float>(value)); };
  const V even_p = hn::MulAdd(set(kNormP * kP2), in[2], hn::Mul(set(kNormP), in[0]));
  const V even_q = hn::MulAdd(set(kNormQ * kQ2), in[2], hn::Mul(set(kNormQ), in[0]));
  const V odd_p = hn::Mul(set(kNormP * kP), in[1]), odd_q = hn::Mul(set(kNormQ * kQ), in[1]);
  out[0 * stride] = hn::Mul(set(kNormZero), in[0]);
  out[1 * stride] = hn::Add(even_p, odd_p);
  out[2 * stride] = hn::Sub(even_p, odd_p);
  out[3 * stride] = hn::Add(even_q, odd_q);
  out[4 * stride] = hn::Sub(even_q, odd_q);
  out[5 * stride] = in[2];
}

// A square of pixels of one block of channels.
template <class Element>
struct Patch {
  const Element* at;
  int64_t row, pixel;  // to the next
};

// kSize x kSize pixels from (top, left) on of the map whose row 0 would lie at `image`: where they
// are, or, where some lie outside the image, in `copy`, with zeros for those.
template <int kSize, class Maps, int kBlock, class Element = typename Maps::Element>
HWY_INLINE Patch<Element> PatchAt(const WinogradShape& s, const Steps<Maps, kBlock>& steps,
                                  const Element* image, int64_t top, int64_t left, Element* copy) {
  const int64_t row = steps.row, pixel = steps.Pixel();
  if (top >= 0 && left >= 0 && top + kSize <= s.height && left + kSize <= s.width) {
    return {image + top * row + left * pixel, row, pixel};
  }
  Element* to = copy;
  for (int64_t y = top; y < top + kSize; ++y) {
    for (int64_t x = left; x < left + kSize; ++x, to += kBlock) {
      if (y >= 0 && y < s.height && x >= 0 && x < s.width) {
        std::copy_n(image + y * row + x * pixel, kBlock, to);
      } else {
        std::fill_n(to, kBlock, Element{});
      }
    }
  }
  return {copy, kSize * kBlock, kBlock};
}

// B^T d B of one vector of channels from channel k of the block on: put(position, value) each.
template <class Maps, int kTile, class D, class Put>
HWY_INLINE void TransformPatch(D d, const Patch<typename Maps::Element>& from, int64_t k, Put put) {
  constexpr int kIn = kTile + 2;
  using V = hn::Vec<D>;
  V half[kIn * kIn];
  for (int j = 0; j < kIn; ++j) {
    V column[kIn];
    for (int i = 0; i < kIn; ++i) {
      column[i] = Maps::Load(d, from.at + i * from.row + j * from.pixel + k);
    }
    TransformInput<kTile>(d, column, half + j, kIn);
  }
  for (int i = 0; i < kIn; ++i) {
    V line[kIn];
    TransformInput<kTile>(d, half + i * kIn, line, 1);
    for (int j = 0; j < kIn; ++j) put(i * kIn + j, line[j]);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#endif
