// See conv_first.h. A group of pixels by two vectors of outputs stays in registers over all taps;
// the pixels' values are broadcast, the weights of two vectors come from the L1 cache. A row is
// written two vectors of outputs at a time, and read a vector of them: few streams that are long.
#include <algorithm>

#include "kernels/cpu/conv_first.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/runtime/integers.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv_first_simd.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/bfloat16-inl.h"
#include "kernels/cpu/maxima-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Two vectors a pixel: 6 pixels fill 16 registers, 12 fill 32.
// Of the gradients, 9 taps a channel and two more vectors.
#if HWY_TARGET == HWY_AVX3 || HWY_ARCH_ARM
constexpr int kPixels = 12, kChannelsTogether = 3;
#else
constexpr int kPixels = 6, kChannelsTogether = 1;
#endif

// Vectors are no longer than kMost, which divides the block.
template <int kMost>
using Tag = hn::CappedTag<float, kMost>;

template <int kMost>
constexpr int64_t Lanes() {
  return static_cast<int64_t>(hn::MaxLanes(Tag<kMost>()));
}

inline int64_t LineOf(int64_t width) { return RoundUp(width, kPixels) + 2; }

// Output channels of a panel are two vectors; those beyond the last are computed and not stored.
template <int kMost>
int64_t Panels(const FirstLayerShape& s) {
  return (s.out + 2 * Lanes<kMost>() - 1) / (2 * Lanes<kMost>());
}

// To memory or, where kStream, past the caches.
template <bool kStream, class D, class T>
HWY_INLINE void StoreRow(hn::Vec<D> value, D d, T* to) {
  if constexpr (kStream) {
    hn::Stream(value, d, to);
  } else {
    StoreFloats(value, d, to);
  }
}

template <int kMost, bool kStream, class T>
void RowOf(const FirstLayerShape& s, const float* lines, const float* packed, const float* bias,
           bool relu, T* dst) {
  const Tag<kMost> d;
  using V = hn::Vec<Tag<kMost>>;
  constexpr int64_t kLanes = Lanes<kMost>();
  const int64_t line = LineOf(s.width), panels = Panels<kMost>(s);
  const auto at = [&](int64_t c) { return dst + c / s.block * s.dst_block + c % s.block; };
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t c0 = panel * 2 * kLanes, c1 = c0 + kLanes;
    const bool second = c1 < s.out;
    const float* first = packed + panel * s.channels * 9 * 2 * kLanes;
    const V bias0 = bias != nullptr ? hn::LoadU(d, bias + c0) : hn::Zero(d);
    const V bias1 = bias != nullptr && second ? hn::LoadU(d, bias + c1) : hn::Zero(d);
    for (int64_t x = 0; x < s.width; x += kPixels) {
      const int64_t count = std::min<int64_t>(kPixels, s.width - x);
      const float* weight = first;
      V sum0[kPixels], sum1[kPixels];
      for (int p = 0; p < kPixels; ++p) sum0[p] = bias0, sum1[p] = bias1;
      for (int64_t row = 0; row < 3 * s.channels; ++row) {
        const float* from = lines + row * line + x;
        for (int tap = 0; tap < 3; ++tap, weight += 2 * kLanes) {
          // Compilers would keep values for the next tap, and sums in memory for want of registers.
          asm volatile("" : : : "memory");
          const V w0 = hn::LoadU(d, weight), w1 = hn::LoadU(d, weight + kLanes);
          for (int p = 0; p < kPixels; ++p) {
            const V value = hn::Set(d, from[tap + p]);
            sum0[p] = hn::MulAdd(value, w0, sum0[p]);
            sum1[p] = hn::MulAdd(value, w1, sum1[p]);
          }
        }
      }
      if (relu) {
        for (int p = 0; p < kPixels; ++p) {
          sum0[p] = Rectified(d, sum0[p]);
          sum1[p] = Rectified(d, sum1[p]);
        }
      }
      T *to0 = at(c0) + x * s.block, *to1 = second ? at(c1) + x * s.block : nullptr;
      // No index that is known at run time only: it would put the sums into memory.
      for (int p = 0; p < kPixels; ++p) {
        if (p < count) StoreRow<kStream>(sum0[p], d, to0 + p * s.block);
      }
      for (int p = 0; p < kPixels; ++p) {
        if (second && p < count) StoreRow<kStream>(sum1[p], d, to1 + p * s.block);
      }
    }
  }
  if (kStream) hwy::FlushStream();
}

template <int kMost>
void PackOf(const FirstLayerShape& s, const float* weight, float* packed) {
  constexpr int64_t kPanel = 2 * Lanes<kMost>();
  const int64_t taps = s.channels * 9;
  for (int64_t panel = 0; panel < Panels<kMost>(s); ++panel) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t k = 0; k < kPanel; ++k) {
        const int64_t o = panel * kPanel + k;
        *packed++ = o < s.out ? weight[o * taps + tap] : 0.0f;
      }
    }
  }
}

constexpr int64_t kAhead = 32;  // pixels whose gradients are fetched before they are wanted

// Taps of kChannels channels by one vector of outputs, and the bias, over pixels [begin, end).
template <int kChannels, int kMost, class T>
void AddPixels(const FirstLayerShape& s, const float* lines, const T* d_dst, int64_t begin,
               int64_t end, float* sums, float* bias) {
  const Tag<kMost> d;
  using V = hn::Vec<Tag<kMost>>;
  const int64_t line = LineOf(s.width);
  // Loops of at most 9: GCC unrolls none of more than 16, and the sums would lie in memory.
  V sum[kChannels][9], total = hn::LoadU(d, bias);
  for (int c = 0; c < kChannels; ++c) {
    for (int tap = 0; tap < 9; ++tap) sum[c][tap] = hn::LoadU(d, sums + (c * 9 + tap) * s.out);
  }
  for (int64_t x = begin; x < end; ++x) {
    // Of each pixel a vector is read, too far apart for processors that fetch lines unasked.
    hwy::Prefetch(d_dst + (x + kAhead) * s.block);
    const V gradient = LoadFloats(d, d_dst + x * s.block);
    for (int c = 0; c < kChannels; ++c) {
      for (int tap = 0; tap < 9; ++tap) {
        const V value = hn::Set(d, lines[(c * 3 + tap / 3) * line + x + tap % 3]);
        sum[c][tap] = hn::MulAdd(value, gradient, sum[c][tap]);
      }
    }
    total = hn::Add(total, gradient);
  }
  for (int c = 0; c < kChannels; ++c) {
    for (int tap = 0; tap < 9; ++tap) hn::StoreU(sum[c][tap], d, sums + (c * 9 + tap) * s.out);
  }
  hn::StoreU(total, d, bias);
}

template <int kMost, class T>
void AddGradientsOf(const FirstLayerShape& s, const float* lines, const T* d_dst, float* sums) {
  // Where gradients are read again for further channels, so many pixels' stay in the L1 cache.
  constexpr int64_t kStrip = 64;
  const int64_t strip = s.channels <= kChannelsTogether ? s.width : kStrip;
  for (int64_t x = 0; x < s.width; x += strip) {
    const int64_t end = std::min(x + strip, s.width);
    for (int64_t o = 0; o < s.out; o += Lanes<kMost>()) {
      const T* from = d_dst + o / s.block * s.dst_block + o % s.block;
      for (int64_t c = 0; c < s.channels; c += kChannelsTogether) {
        // Where channels are few, the bias' sum is taken with the first alone.
        float ignored[Lanes<kMost>()] = {};
        float* bias = c == 0 ? sums + s.channels * 9 * s.out + o : ignored;
        const float* first = lines + c * 3 * LineOf(s.width);
        float* to = sums + c * 9 * s.out + o;
        if (s.channels - c >= kChannelsTogether) {
          AddPixels<kChannelsTogether, kMost>(s, first, from, x, end, to, bias);
        } else if (s.channels - c == 2) {
          AddPixels<2, kMost>(s, first, from, x, end, to, bias);
        } else {
          AddPixels<1, kMost>(s, first, from, x, end, to, bias);
        }
      }
    }
  }
}

// ---- Entry points: the longest vector that divides the block becomes a constant ----

template <int kMost>
bool IsAligned(const float* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % (Lanes<kMost>() * sizeof(float)) == 0;
}

template <int kMost>
void RowF32(const FirstLayerShape& s, const float* lines, const float* packed, const float* bias,
            bool relu, bool stream, float* dst) {
  if (stream && IsAligned<kMost>(dst)) {
    return RowOf<kMost, true>(s, lines, packed, bias, relu, dst);
  }
  RowOf<kMost, false>(s, lines, packed, bias, relu, dst);
}
void Row(const FirstLayerShape& s, const float* lines, const float* packed, const float* bias,
         bool relu, bool stream, float* dst) {
  if (s.block % 16 != 0) return RowF32<8>(s, lines, packed, bias, relu, stream, dst);
  RowF32<16>(s, lines, packed, bias, relu, stream, dst);
}
void RowBFloat16(const FirstLayerShape& s, const float* lines, const float* packed,
                 const float* bias, bool relu, BFloat16* dst) {
  if (s.block % 16 != 0) return RowOf<8, false>(s, lines, packed, bias, relu, dst);
  RowOf<16, false>(s, lines, packed, bias, relu, dst);
}

template <class T>
void AddGradientsAs(const FirstLayerShape& s, const float* lines, const T* d_dst, float* sums) {
  if (s.block % 16 != 0) return AddGradientsOf<8>(s, lines, d_dst, sums);
  AddGradientsOf<16>(s, lines, d_dst, sums);
}
void AddGradients(const FirstLayerShape& s, const float* lines, const float* d_dst, float* sums) {
  AddGradientsAs(s, lines, d_dst, sums);
}
void AddGradientsBFloat16(const FirstLayerShape& s, const float* lines, const BFloat16* d_dst,
                          float* sums) {
  AddGradientsAs(s, lines, d_dst, sums);
}

void Pack(const FirstLayerShape& s, const float* weight, float* packed) {
  if (s.block % 16 != 0) return PackOf<8>(s, weight, packed);
  PackOf<16>(s, weight, packed);
}

int64_t Line(int64_t width) { return LineOf(width); }

int64_t PackedCount(const FirstLayerShape& s) {
  const int64_t panel = 2 * (s.block % 16 != 0 ? Lanes<8>() : Lanes<16>());
  return RoundUp(s.out, panel) * s.channels * 9;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lseg {

HWY_EXPORT(Row);
HWY_EXPORT(RowBFloat16);
HWY_EXPORT(AddGradients);
HWY_EXPORT(AddGradientsBFloat16);
HWY_EXPORT(Pack);
HWY_EXPORT(Line);
HWY_EXPORT(PackedCount);

int64_t FirstLayerLine(const FirstLayerShape& shape) {
  return HWY_DYNAMIC_DISPATCH(Line)(shape.width);
}

int64_t FirstLayerPackedCount(const FirstLayerShape& shape) {
  return HWY_DYNAMIC_DISPATCH(PackedCount)(shape);
}

void FirstLayerPack(const FirstLayerShape& shape, const float* weight, float* packed) {
  HWY_DYNAMIC_DISPATCH(Pack)(shape, weight, packed);
}

void FirstLayerRow(const FirstLayerShape& shape, const float* lines, const float* packed,
                   const float* bias, bool relu, bool stream, float* dst) {
  HWY_DYNAMIC_DISPATCH(Row)(shape, lines, packed, bias, relu, stream, dst);
}
void FirstLayerRow(const FirstLayerShape& shape, const float* lines, const float* packed,
                   const float* bias, bool relu, bool /*stream*/, BFloat16* dst) {
  HWY_DYNAMIC_DISPATCH(RowBFloat16)(shape, lines, packed, bias, relu, dst);
}

void FirstLayerAddGradients(const FirstLayerShape& shape, const float* lines, const float* d_dst,
                            float* sums) {
  HWY_DYNAMIC_DISPATCH(AddGradients)(shape, lines, d_dst, sums);
}
void FirstLayerAddGradients(const FirstLayerShape& shape, const float* lines, const BFloat16* d_dst,
                            float* sums) {
  HWY_DYNAMIC_DISPATCH(AddGradientsBFloat16)(shape, lines, d_dst, sums);
}

}  // namespace lseg
#endif
