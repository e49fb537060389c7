// Products of Winograd's positions to what they are wanted for: tiles of dst, or the end of a
// stage. Included once per instruction set, by the sources that use Highway.

#if defined(LSEG_KERNELS_CPU_WINOGRAD_DST_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSEG_KERNELS_CPU_WINOGRAD_DST_INL_H_
#undef LSEG_KERNELS_CPU_WINOGRAD_DST_INL_H_
#else
#define LSEG_KERNELS_CPU_WINOGRAD_DST_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/conv.h"
#include "kernels/cpu/maxima-inl.h"
#include "kernels/cpu/winograd_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kChunk = kWinogradChunk;

// Where a tile's products lie, and the bias of their block of channels.
struct TileProducts {
  const float* products;  // the tile's in the first position
  int64_t plane;
  const float* bias;
};

// The first of the two passes over a tile: kIn x kIn products of one vector of channels to kTile x
// kIn, where kIn is kTile + 2.
template <int kTile, class D, class V = hn::Vec<D>>
HWY_INLINE void HalfTransform(D d, const TileProducts& tile, int64_t k, V* half) {
  constexpr int kIn = kTile + 2;
  for (int j = 0; j < kIn; ++j) {
    V column[kIn];
    for (int i = 0; i < kIn; ++i) {
      column[i] = hn::LoadU(d, tile.products + (i * kIn + j) * tile.plane + k);
    }
    TransformOutput<kTile>(d, column, half + j, kIn);
  }
}

// Outputs of one block of a tile to dst, those inside the image.
template <class Maps, int kBlock, int kTile, class Args>
HWY_INLINE void StoreTile(const Args& args, const TileProducts& tile, int64_t rows, int64_t columns,
                          const Steps<Maps, kBlock>& steps, typename Maps::Element* to) {
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  for (int64_t k = 0; k < kBlock; k += hn::MaxLanes(d)) {
    V half[kTile * (kTile + 2)];
    HalfTransform<kTile>(d, tile, k, half);
    const V offset = hn::LoadU(d, tile.bias + k);
    for (int64_t i = 0; i < rows; ++i) {
      V row[kTile];
      TransformOutput<kTile>(d, half + i * (kTile + 2), row, 1);
      auto* out = to + i * steps.row + k;
      for (int64_t j = 0; j < columns; ++j, out += steps.Pixel()) {
        V value = hn::Add(row[j], offset);
        if (args.add) value = hn::Add(value, Maps::Load(d, out));
        if (args.relu) value = Rectified(d, value);
        if (args.mask != nullptr) {
          const V mask = Maps::Load(d, args.mask + (out - args.dst));
          value = hn::IfThenElseZero(hn::Gt(mask, hn::Zero(d)), value);
        }
        Maps::Store(value, d, out);
      }
    }
  }
}

// Bias of a block, zero in channels beyond the last.
template <int kBlock>
HWY_INLINE void LoadBias(const WinogradShape& s, const float* from, int64_t b, float* bias) {
  std::fill_n(bias, kBlock, 0.0f);
  if (from == nullptr) return;
  std::copy_n(from + b * kBlock, std::min<int64_t>(kBlock, s.out - b * kBlock), bias);
}

template <class Maps, int kBlock, int kTile, class Args>
void TransformDst(const WinogradShape& s, const Args& args, const WinogradJob& job,
                  int64_t first_block, int64_t end_block, const float* products) {
  const int64_t plane = WinogradProductPlane(s, job.tiles);
  const Steps<Maps, kBlock> steps(s.out, args.dst_held.end - args.dst_held.begin, s.width);
  for (int64_t b = first_block; b < end_block; ++b) {
    HWY_ALIGN float bias[kBlock];
    LoadBias<kBlock>(s, args.bias, b, bias);
    for (int64_t t = 0; t < job.tiles; ++t) {
      const TileAt at(s, job.tile + t);
      const float* from = products + ((b - first_block) * job.tiles + t) * kBlock;
      StoreTile<Maps, kBlock, kTile>(
          args, {from, plane, bias}, std::min<int64_t>(kTile, s.height - at.y),
          std::min<int64_t>(kTile, s.width - at.x), steps,
          args.dst + at.n * steps.image + b * steps.block +
              (at.y - args.dst_held.begin) * steps.row + at.x * steps.Pixel());
    }
  }
}

// ---- The end of a stage ----

// The two by two maxima of a tile's outputs, those inside the image, to the pooled map.
template <class Maps, int kBlock, int kTile, class D, class V = hn::Vec<D>>
HWY_INLINE void PoolTile(D d, const V* values, int64_t rows, int64_t columns,
                         const Steps<Maps, kBlock>& steps, typename Maps::Element* to) {
  for (int64_t y = 0; y < rows; y += 2) {
    for (int64_t x = 0; x < columns; x += 2) {
      const V* corner = values + y * kTile + x;
      V most = corner[0];
      if (x + 1 < columns) most = Larger(most, corner[1]);
      if (y + 1 < rows) most = Larger(most, corner[kTile]);
      if (y + 1 < rows && x + 1 < columns) most = Larger(most, corner[kTile + 1]);
      Maps::Store(most, d, to + y / 2 * steps.row + x / 2 * steps.Pixel());
    }
  }
}

// One tile, all channels of a chunk: each vector of them is transformed, pooled, and multiplied
// into the sums of the scores, whose lanes are added up at the end.
template <class Maps, int kBlock, int kTile, class Args>
void EndTile(const WinogradShape& s, const Args& args, const WinogradJob& job, int64_t chunk,
             int64_t t, const float* products) {
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  constexpr int kPixels = kTile * kTile;
  const TileAt at(s, job.tile + t);
  const int64_t rows = std::min<int64_t>(kTile, s.height - at.y);
  const int64_t columns = std::min<int64_t>(kTile, s.width - at.x);
  const int64_t first = chunk * kChunk / kBlock;
  const int64_t end = std::min((chunk + 1) * kChunk / kBlock, s.OutBlocks());
  const int64_t plane = WinogradProductPlane(s, job.tiles);
  const Steps<Maps, kBlock> steps(s.out, args.dst_held.end - args.dst_held.begin,
                                  (s.width + 1) / 2);  // of the pooled map
  V sums[kMostScores * kPixels];
  for (int64_t i = 0; i < args.score_channels * kPixels; ++i) sums[i] = hn::Zero(d);
  for (int64_t b = first; b < end; ++b) {
    HWY_ALIGN float bias[kBlock];
    LoadBias<kBlock>(s, args.bias, b, bias);
    const TileProducts tile = {products + ((b - first) * job.tiles + t) * kBlock, plane, bias};
    for (int64_t k = 0; k < kBlock; k += hn::MaxLanes(d)) {
      V half[kTile * (kTile + 2)], values[kPixels];
      HalfTransform<kTile>(d, tile, k, half);
      const V offset = hn::LoadU(d, bias + k);
      for (int i = 0; i < kTile; ++i) {
        TransformOutput<kTile>(d, half + i * (kTile + 2), values + i * kTile, 1);
      }
      for (V& value : values) {
        value = hn::Add(value, offset);
        if (args.relu) value = Rectified(d, value);
      }
      if (args.pooled != nullptr) {
        PoolTile<Maps, kBlock, kTile>(d, values, rows, columns, steps,
                                      args.pooled + at.n * steps.image + b * steps.block +
                                          (at.y / 2 - args.dst_held.begin) * steps.row +
                                          at.x / 2 * steps.Pixel() + k);
      }
      for (int64_t c = 0; c < args.score_channels; ++c) {
        const V weight = hn::LoadU(d, args.score_weight + c * s.out + b * kBlock + k);
        for (int i = 0; i < kPixels; ++i) {
          sums[c * kPixels + i] = hn::MulAdd(weight, values[i], sums[c * kPixels + i]);
        }
      }
    }
  }
  for (int64_t c = 0; c < args.score_channels; ++c) {
    float* to = args.score_partials +
                (((chunk * s.batch + at.n) * args.score_channels + c) * s.height + at.y) * s.width +
                at.x;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        to[i * s.width + j] = hn::GetLane(hn::SumOfLanes(d, sums[c * kPixels + i * kTile + j]));
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#endif
