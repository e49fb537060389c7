// conv_amx_weights.h, for processors with AMX.
#include "kernels/cpu/conv_amx_weights.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/runtime/integers.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv_amx_weights_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#if HWY_TARGET == HWY_AVX3
#include "kernels/cpu/amx-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kPanel = kAmxPanel, kHalf = kPanel / 2;
// Elements of a tile.
constexpr int64_t kTile = kTileBytes / sizeof(BFloat16), kSumTile = kTileBytes / sizeof(float);

using Words = hn::FixedTag<uint16_t, 32>;
using Pairs = hn::FixedTag<uint32_t, 16>;
using Floats = hn::FixedTag<float, 16>;
using PairVec = hn::Vec<Pairs>;

// 32 channels of two pixels, as pairs. Those of the lower half of each four come first: channel
// ChannelOf(half, lane) in the lane.
struct PairedChannels {
  PairVec half[2];
};

inline PairedChannels Paired(const BFloat16* first, const BFloat16* second, int64_t channel) {
  const Words d;
  const Pairs pairs;
  const auto load = [&](const BFloat16* pixel) {
    return pixel == nullptr ? hn::Zero(d)
                            : hn::LoadU(d, reinterpret_cast<const uint16_t*>(pixel + channel));
  };
  const auto a = load(first), b = load(second);
  return {{hn::BitCast(pairs, hn::InterleaveLower(d, a, b)),
           hn::BitCast(pairs, hn::InterleaveUpper(d, a, b))}};
}

inline int64_t ChannelOf(int64_t half, int64_t lane) { return lane / 4 * 8 + lane % 4 + 4 * half; }

// Where all lanes' channels lie, in multiples of `step`.
inline hn::Vec<hn::RebindToSigned<Floats>> ChannelsOf(int64_t half, int64_t step) {
  HWY_ALIGN int32_t at[kHalf];
  for (int64_t lane = 0; lane < kHalf; ++lane) {
    at[lane] = static_cast<int32_t>(ChannelOf(half, lane) * step);
  }
  return hn::Load(hn::RebindToSigned<Floats>(), at);
}

// The pixels of a step, and the one behind it; null where zeros stand for them.
struct Pixels {
  const BFloat16* at[kAmxStep + 1];
};

// `first_row`: of the image, which the band's first row is.
Pixels PixelsOf(const AmxShape& s, const BFloat16* map, int64_t channels, int64_t n,
                int64_t first_row, int64_t rows, int64_t step, int64_t margin) {
  Pixels pixels;
  for (int64_t i = 0; i <= kAmxStep; ++i) {
    const int64_t flat = step * kAmxStep + i, row = flat / (s.width + 1);
    const int64_t y = first_row + row, x = flat % (s.width + 1) - margin;
    const bool inside = row < rows && y >= 0 && y < s.height && x >= 0 && x < s.width;
    pixels.at[i] = inside ? map + ((n * s.height + y) * s.width + x) * channels : nullptr;
  }
  return pixels;
}

// 16 vectors of 16 as a matrix, turned over.
HWY_INLINE void Transpose(PairVec (&v)[16]) {
  const Pairs d;
  const hn::Repartition<uint64_t, Pairs> wide;
  PairVec t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = hn::InterleaveLower(d, v[i], v[i + 1]);
    t[i + 1] = hn::InterleaveUpper(d, v[i], v[i + 1]);
  }
  const auto lower = [&](PairVec a, PairVec b) {
    return hn::BitCast(d, hn::InterleaveLower(wide, hn::BitCast(wide, a), hn::BitCast(wide, b)));
  };
  const auto upper = [&](PairVec a, PairVec b) {
    return hn::BitCast(d, hn::InterleaveUpper(wide, hn::BitCast(wide, a), hn::BitCast(wide, b)));
  };
  // Of four rows each: block b of v[i + j] is column 4 b + j.
  for (int i = 0; i < 16; i += 4) {
    v[i] = lower(t[i], t[i + 2]);
    v[i + 1] = upper(t[i], t[i + 2]);
    v[i + 2] = lower(t[i + 1], t[i + 3]);
    v[i + 3] = upper(t[i + 1], t[i + 3]);
  }
  for (int j = 0; j < 4; ++j) {
    const auto a = v[j].raw, b = v[4 + j].raw, c = v[8 + j].raw, e = v[12 + j].raw;
    const auto ab_even = _mm512_shuffle_i32x4(a, b, 0x88),
               ab_odd = _mm512_shuffle_i32x4(a, b, 0xdd);
    const auto ce_even = _mm512_shuffle_i32x4(c, e, 0x88),
               ce_odd = _mm512_shuffle_i32x4(c, e, 0xdd);
    t[j].raw = _mm512_shuffle_i32x4(ab_even, ce_even, 0x88);
    t[8 + j].raw = _mm512_shuffle_i32x4(ab_even, ce_even, 0xdd);
    t[4 + j].raw = _mm512_shuffle_i32x4(ab_odd, ce_odd, 0x88);
    t[12 + j].raw = _mm512_shuffle_i32x4(ab_odd, ce_odd, 0xdd);
  }
  for (int i = 0; i < 16; ++i) v[i] = t[i];
}

// Pixels from one channel of the laid out destination to the next.
int64_t DstPitch(const AmxShape& s, int64_t rows) { return AmxDstCount(s, rows) / s.out; }

// Elements from the source's pairs of one parity, and of one half of a panel, to those of the next.
int64_t ParityPitch(const AmxShape& s, int64_t rows) { return AmxSrcCount(s, rows) / 2; }
int64_t HalfPitch(const AmxShape& s, int64_t rows) {
  return AmxSrcSteps(s, rows) * kAmxStep * kHalf;
}

void LayOutSrc(const AmxShape& s, const AmxBand& band, const BFloat16* src, int64_t step,
               BFloat16* laid_out) {
  const Pixels pixels =
      PixelsOf(s, src, s.in, band.n, band.y - 1, band.rows + 2, step, /*margin=*/1);
  const int64_t half = HalfPitch(s, band.rows);
  for (int64_t parity = 0; parity < 2; ++parity) {
    BFloat16* panel = laid_out + parity * ParityPitch(s, band.rows) + step * kTile;
    for (int64_t channel = 0; channel < s.in; channel += kPanel, panel += 2 * half) {
      for (int64_t i = 0; i < kAmxStep / 2; ++i) {
        const int64_t first = 2 * i + parity;
        const PairedChannels paired = Paired(pixels.at[first], pixels.at[first + 1], channel);
        BFloat16* to = panel + i * 2 * kHalf;
        hn::StoreU(paired.half[0], Pairs(), reinterpret_cast<uint32_t*>(to));
        hn::StoreU(paired.half[1], Pairs(), reinterpret_cast<uint32_t*>(to + half));
      }
    }
  }
}

void LayOutDDst(const AmxShape& s, const AmxBand& band, const BFloat16* d_dst, int64_t step,
                BFloat16* laid_out) {
  const Pixels pixels = PixelsOf(s, d_dst, s.out, band.n, band.y, band.rows, step, /*margin=*/0);
  const int64_t pitch = DstPitch(s, band.rows);
  for (int64_t channel = 0; channel < s.out; channel += kPanel) {
    PairVec halves[2][kAmxStep / 2];
    for (int64_t i = 0; i < kAmxStep / 2; ++i) {
      const PairedChannels paired = Paired(pixels.at[2 * i], pixels.at[2 * i + 1], channel);
      halves[0][i] = paired.half[0];
      halves[1][i] = paired.half[1];
    }
    for (int64_t half = 0; half < 2; ++half) {
      Transpose(halves[half]);
      for (int64_t i = 0; i < kHalf; ++i) {
        BFloat16* to = laid_out + (channel + half * kHalf + i) * pitch + step * kAmxStep;
        hn::StoreU(halves[half][i], Pairs(), reinterpret_cast<uint32_t*>(to));
      }
    }
  }
}

// Tiles 0 to 3 hold sums (two halves of the outputs, then those for the second half of the input
// channels), 4 and 5 gradients, `pitch` pixels a channel, 6 and 7 sources, `half` elements apart.
void MultiplyTap(int64_t steps, const BFloat16* d_dst, int64_t pitch, const BFloat16* src,
                 int64_t half, bool first, float* sums) {
  const int64_t row = pitch * int64_t{sizeof(BFloat16)};
  if (first) {
    TileZero<0>();
    TileZero<1>();
    TileZero<2>();
    TileZero<3>();
  } else {
    TileLoad<0>(sums, kTileRowBytes);
    TileLoad<1>(sums + kSumTile, kTileRowBytes);
    TileLoad<2>(sums + 2 * kSumTile, kTileRowBytes);
    TileLoad<3>(sums + 3 * kSumTile, kTileRowBytes);
  }
  for (int64_t step = 0; step < steps; ++step, d_dst += kAmxStep, src += kTile) {
    TileLoad<6>(src, kTileRowBytes);
    TileLoad<4>(d_dst, row);
    TileMulAdd<0, 4, 6>();
    TileLoad<5>(d_dst + kHalf * pitch, row);
    TileMulAdd<1, 5, 6>();
    TileLoad<7>(src + half, kTileRowBytes);
    TileMulAdd<2, 4, 7>();
    TileMulAdd<3, 5, 7>();
  }
  TileStore<0>(sums, kTileRowBytes);
  TileStore<1>(sums + kSumTile, kTileRowBytes);
  TileStore<2>(sums + 2 * kSumTile, kTileRowBytes);
  TileStore<3>(sums + 3 * kSumTile, kTileRowBytes);
}

void MultiplyTaps(const AmxShape& s, const AmxWeightsJob& job) {
  const TileRows rows({16, 16, 16, 16, 16, 16, 16, 16});
  const int64_t pitch = DstPitch(s, job.rows), half = HalfPitch(s, job.rows);
  for (int64_t column = 0; column < 3; ++column) {
    const int64_t offset = job.tap_row * (s.width + 1) + column;
    const BFloat16* src = job.src + offset % 2 * ParityPitch(s, job.rows) + job.in * 2 * half;
    MultiplyTap(AmxDstSteps(s, job.rows), job.d_dst + job.out * kPanel * pitch, pitch,
                src + offset / 2 * 2 * kHalf, half, job.first, job.sums + column * kPanel * kPanel);
  }
}

// Of one output after another, whose weights lie side by side.
void StoreTaps(const AmxShape& s, int64_t in, int64_t out, const float* sums, bool add,
               float* d_weight) {
  const Floats d;
  const hn::Vec<hn::RebindToSigned<Floats>> ins[2] = {ChannelsOf(0, 9), ChannelsOf(1, 9)};
  for (int64_t out_half = 0; out_half < 2; ++out_half) {
    for (int64_t i = 0; i < kHalf; ++i) {
      const int64_t channel = out * kPanel + ChannelOf(out_half, i);
      float* first = d_weight + (channel * s.in + in * kPanel) * 9;
      for (int64_t tap = 0; tap < 9; ++tap) {
        const float* from = sums + tap * kPanel * kPanel + out_half * kSumTile + i * kHalf;
        for (int64_t in_half = 0; in_half < 2; ++in_half, from += 2 * kSumTile) {
          auto value = hn::Load(d, from);
          if (add) value = hn::Add(value, hn::GatherIndex(d, first + tap, ins[in_half]));
          hn::ScatterIndex(value, d, first + tap, ins[in_half]);
        }
      }
    }
  }
}

// All columns of the sums are alike, for each is the sum of the gradients times ones.
void SumDDst(const AmxShape& s, int64_t rows, const BFloat16* laid_out, int64_t out, bool first,
             float* sums) {
  const TileRows tiles({16, 16, 16, 16, 16, 16, 16, 16});
  HWY_ALIGN BFloat16 ones[kTile];
  HWY_ALIGN float columns_of_sums[2 * kSumTile];
  std::fill_n(ones, kTile, FromFloat<BFloat16>(1));
  const int64_t pitch = DstPitch(s, rows), row = pitch * int64_t{sizeof(BFloat16)};
  const BFloat16* d_dst = laid_out + out * kPanel * pitch;
  TileZero<0>();
  TileZero<1>();
  TileLoad<6>(ones, kTileRowBytes);
  for (int64_t step = 0; step < AmxDstSteps(s, rows); ++step, d_dst += kAmxStep) {
    TileLoad<4>(d_dst, row);
    TileMulAdd<0, 4, 6>();
    TileLoad<5>(d_dst + kHalf * pitch, row);
    TileMulAdd<1, 5, 6>();
  }
  TileStore<0>(columns_of_sums, kTileRowBytes);
  TileStore<1>(columns_of_sums + kSumTile, kTileRowBytes);
  for (int64_t half = 0; half < 2; ++half) {
    for (int64_t i = 0; i < kHalf; ++i) {
      float& to = sums[out * kPanel + ChannelOf(half, i)];
      const float sum = columns_of_sums[half * kSumTile + i * kHalf];
      to = first ? sum : to + sum;
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();
#endif  // HWY_AVX3

#if HWY_ONCE
#include "kernels/cpu/avx512_only.h"

namespace lseg {

int64_t AmxDstSteps(const AmxShape& shape, int64_t rows) {
  return CeilDiv(rows * (shape.width + 1), kAmxStep);
}

// The last tap of the last step reads this far.
int64_t AmxSrcSteps(const AmxShape& shape, int64_t rows) {
  const int64_t offset = 2 * (shape.width + 1) + 2;
  return AmxDstSteps(shape, rows) + CeilDiv(offset, kAmxStep);
}

int64_t AmxSrcCount(const AmxShape& shape, int64_t rows) {
  return 2 * shape.in * AmxSrcSteps(shape, rows) * kAmxStep;
}

// A channel takes an odd number of cache lines, so that a tile's rows fall into different sets of
// the cache.
int64_t AmxDstCount(const AmxShape& shape, int64_t rows) {
  return shape.out * (AmxDstSteps(shape, rows) | 1) * kAmxStep;
}

void AmxLayOutSrc(const AmxShape& shape, const AmxBand& band, const BFloat16* src, int64_t step,
                  BFloat16* laid_out) {
  LSEG_AVX512_ONLY(LayOutSrc, shape, band, src, step, laid_out);
}

void AmxLayOutDDst(const AmxShape& shape, const AmxBand& band, const BFloat16* d_dst, int64_t step,
                   BFloat16* laid_out) {
  LSEG_AVX512_ONLY(LayOutDDst, shape, band, d_dst, step, laid_out);
}

void AmxMultiplyTaps(const AmxShape& shape, const AmxWeightsJob& job) {
  LSEG_AVX512_ONLY(MultiplyTaps, shape, job);
}

void AmxStoreTaps(const AmxShape& shape, int64_t in, int64_t out, const float* sums, bool add,
                  float* d_weight) {
  LSEG_AVX512_ONLY(StoreTaps, shape, in, out, sums, add, d_weight);
}

void AmxSumDDst(const AmxShape& shape, int64_t rows, const BFloat16* laid_out, int64_t out,
                bool first, float* sums) {
  LSEG_AVX512_ONLY(SumDDst, shape, rows, laid_out, out, first, sums);
}

}  // namespace lseg
#endif
