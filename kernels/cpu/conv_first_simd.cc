// See conv_first.h. A group of pixels by two vectors of outputs stays in registers over all taps;
// the pixels' values are broadcast, the weights of two vectors come from the L1 cache.
#include <algorithm>

#include "kernels/cpu/conv_first.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv_first_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Two vectors a pixel: 6 pixels fill 16 registers, 12 fill 32.
#if HWY_TARGET == HWY_AVX3 || HWY_ARCH_ARM
constexpr int kPixels = 12;
#else
constexpr int kPixels = 6;
#endif

template <int kBlock>
using Tag = hn::CappedTag<float, kBlock>;

template <int kBlock>
constexpr int64_t Lanes() {
  return static_cast<int64_t>(hn::MaxLanes(Tag<kBlock>()));
}

inline int64_t LineOf(int64_t width) { return (width + kPixels - 1) / kPixels * kPixels + 2; }

// Output channels of a panel are two vectors; those beyond the last are computed and not stored.
template <int kBlock>
int64_t Panels(const FirstLayerShape& s) {
  return (s.out + 2 * Lanes<kBlock>() - 1) / (2 * Lanes<kBlock>());
}

template <int kBlock>
void RowOf(const FirstLayerShape& s, const float* lines, const float* packed, const float* bias,
           bool relu, float* dst) {
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  constexpr int64_t kLanes = Lanes<kBlock>();
  const int64_t line = LineOf(s.width), panels = Panels<kBlock>(s);
  const auto at = [&](int64_t c) { return dst + c / kBlock * s.dst_block + c % kBlock; };
  for (int64_t x = 0; x < s.width; x += kPixels) {
    const int64_t count = std::min<int64_t>(kPixels, s.width - x);
    const float* weight = packed;
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t c0 = panel * 2 * kLanes, c1 = c0 + kLanes;
      const bool second = c1 < s.out;
      V sum0[kPixels], sum1[kPixels];
      const V bias0 = bias != nullptr ? hn::LoadU(d, bias + c0) : hn::Zero(d);
      const V bias1 = bias != nullptr && second ? hn::LoadU(d, bias + c1) : hn::Zero(d);
      for (int p = 0; p < kPixels; ++p) sum0[p] = bias0, sum1[p] = bias1;
      for (int64_t row = 0; row < 3 * s.channels; ++row) {
        const float* from = lines + row * line + x;
        for (int tap = 0; tap < 3; ++tap, weight += 2 * kLanes) {
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
          sum0[p] = hn::Max(sum0[p], hn::Zero(d));
          sum1[p] = hn::Max(sum1[p], hn::Zero(d));
        }
      }
      float *to0 = at(c0) + x * kBlock, *to1 = second ? at(c1) + x * kBlock : nullptr;
      for (int64_t p = 0; p < count; ++p) {
        hn::StoreU(sum0[p], d, to0 + p * kBlock);
        if (second) hn::StoreU(sum1[p], d, to1 + p * kBlock);
      }
    }
  }
}

template <int kBlock>
void PackOf(const FirstLayerShape& s, const float* weight, float* packed) {
  constexpr int64_t kPanel = 2 * Lanes<kBlock>();
  const int64_t taps = s.channels * 9;
  for (int64_t panel = 0; panel < Panels<kBlock>(s); ++panel) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t k = 0; k < kPanel; ++k) {
        const int64_t o = panel * kPanel + k;
        *packed++ = o < s.out ? weight[o * taps + tap] : 0.0f;
      }
    }
  }
}

void Row(const FirstLayerShape& s, const float* lines, const float* packed, const float* bias,
         bool relu, float* dst) {
  if (s.block == 8) return RowOf<8>(s, lines, packed, bias, relu, dst);
  RowOf<16>(s, lines, packed, bias, relu, dst);
}

void Pack(const FirstLayerShape& s, const float* weight, float* packed) {
  if (s.block == 8) return PackOf<8>(s, weight, packed);
  PackOf<16>(s, weight, packed);
}

int64_t Line(int64_t width) { return LineOf(width); }

int64_t PackedCount(const FirstLayerShape& s) {
  const int64_t panel = 2 * (s.block == 8 ? Lanes<8>() : Lanes<16>());
  return (s.out + panel - 1) / panel * panel * s.channels * 9;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lseg {

HWY_EXPORT(Row);
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
                   const float* bias, bool relu, float* dst) {
  HWY_DYNAMIC_DISPATCH(Row)(shape, lines, packed, bias, relu, dst);
}

}  // namespace lseg
#endif
