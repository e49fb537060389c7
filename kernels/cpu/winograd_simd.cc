// See winograd.h. Layouts, innermost last:
//   packed weights  (chunk, position, panel, input channel, 2 vectors)
//   transformed src (position, input block, tile, block)
//   products        (position, output block of the chunk, tile, block)
#include <algorithm>

#include "kernels/cpu/simd_targets.h"
#include "kernels/cpu/winograd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/winograd_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Two vectors a row of the product: 6 rows fill 16 registers, 12 fill 32.
#if HWY_TARGET == HWY_AVX3 || HWY_ARCH_ARM
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif
constexpr int64_t kChunk = kWinogradChunk;

// Input channels a pass: 16 KiB of a panel, which stay in the L1 cache beside the tiles.
template <int kBlock>
constexpr int64_t Depth() {
  return 4096 / PanelSize<kBlock>();
}

// Panels of a chunk; the last may have fewer. Padding channels of a block are computed, from
// weights that are zero, so that zeros are written there.
template <int kBlock>
int64_t PanelsOf(const WinogradShape& s, int64_t chunk) {
  const int64_t channels = std::min(kChunk, s.OutBlocks() * kBlock - chunk * kChunk);
  return (channels + PanelSize<kBlock>() - 1) / PanelSize<kBlock>();
}

inline int64_t SrcPlane(const WinogradShape& s, int64_t tiles) {
  return WinogradPlane(s, s.InBlocks(), tiles);
}

inline int64_t ProductPlane(const WinogradShape& s, int64_t tiles) {
  return WinogradPlane(s, kChunk / s.block, tiles);
}

// ---- Products ----

// Rows [0, kRows) of a panel: c = (or +=) a b over `blocks` blocks of input channels.
template <int kBlock, int kRows>
void MultiplyRows(const float* a, int64_t a_stride, int64_t blocks, const float* b, bool add,
                  float* c0, float* c1) {
  const Tag<kBlock> d;
  constexpr int64_t kLanes = hn::MaxLanes(Tag<kBlock>());
  hn::Vec<Tag<kBlock>> sum0[kRows], sum1[kRows];
  for (int r = 0; r < kRows; ++r) sum0[r] = sum1[r] = hn::Zero(d);
  for (int64_t i = 0; i < blocks; ++i, a += a_stride) {
    for (int k = 0; k < kBlock; ++k, b += 2 * kLanes) {
      const auto b0 = hn::LoadU(d, b), b1 = hn::LoadU(d, b + kLanes);
      for (int r = 0; r < kRows; ++r) {
        const auto factor = hn::Set(d, a[r * kBlock + k]);
        sum0[r] = hn::MulAdd(factor, b0, sum0[r]);
        sum1[r] = hn::MulAdd(factor, b1, sum1[r]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    if (add) {
      sum0[r] = hn::Add(sum0[r], hn::LoadU(d, c0 + r * kBlock));
      sum1[r] = hn::Add(sum1[r], hn::LoadU(d, c1 + r * kBlock));
    }
    hn::StoreU(sum0[r], d, c0 + r * kBlock);
    hn::StoreU(sum1[r], d, c1 + r * kBlock);
  }
}

// The same for a number of rows below kRows that is known at run time only.
template <int kBlock, int kRows>
void MultiplyRest(int64_t rows, const float* a, int64_t a_stride, int64_t blocks, const float* b,
                  bool add, float* c0, float* c1) {
  if constexpr (kRows > 1) {
    if (rows < kRows - 1) {
      return MultiplyRest<kBlock, kRows - 1>(rows, a, a_stride, blocks, b, add, c0, c1);
    }
    MultiplyRows<kBlock, kRows - 1>(a, a_stride, blocks, b, add, c0, c1);
  }
}

// One position, one panel, all tiles of the job.
template <int kBlock>
void MultiplyPanel(const WinogradShape& s, int64_t tiles, const float* a, const float* b, float* c0,
                   float* c1) {
  const int64_t a_stride = tiles * kBlock, blocks = s.InBlocks();
  for (int64_t first = 0; first < blocks; first += Depth<kBlock>() / kBlock) {
    const int64_t count = std::min(Depth<kBlock>() / kBlock, blocks - first);
    const float* from = a + first * a_stride;
    const float* with = b + first * kBlock * PanelSize<kBlock>();
    int64_t t = 0;
    for (; t + kTileRows <= tiles; t += kTileRows) {
      MultiplyRows<kBlock, kTileRows>(from + t * kBlock, a_stride, count, with, first > 0,
                                      c0 + t * kBlock, c1 + t * kBlock);
    }
    if (t < tiles) {
      MultiplyRest<kBlock, kTileRows>(tiles - t, from + t * kBlock, a_stride, count, with,
                                      first > 0, c0 + t * kBlock, c1 + t * kBlock);
    }
  }
}

template <int kBlock>
void MultiplyChunk(const WinogradShape& s, const float* packed, const WinogradJob& job,
                   int64_t chunk, const float* src, float* products) {
  constexpr int64_t kPanel = PanelSize<kBlock>(), kLanes = kPanel / 2;
  const int64_t size = s.InBlocks() * kBlock * kPanel, panels = PanelsOf<kBlock>(s, chunk);
  const float* weights = packed + chunk * (kChunk / kPanel) * s.Positions() * size;
  const int64_t src_plane = SrcPlane(s, job.tiles), plane = ProductPlane(s, job.tiles);
  for (int64_t position = 0; position < s.Positions(); ++position) {
    for (int64_t p = 0; p < panels; ++p, weights += size) {
      const auto at = [&](int64_t channel) {  // counted from the first of the chunk
        return products + position * plane + channel / kBlock * job.tiles * kBlock +
               channel % kBlock;
      };
      MultiplyPanel<kBlock>(s, job.tiles, src + position * src_plane, weights, at(p * kPanel),
                            at(p * kPanel + kLanes));
    }
  }
}

// ---- Destination ----

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
template <int kBlock, int kTile>
HWY_INLINE void StoreTile(const WinogradArgs& args, const TileProducts& tile, int64_t rows,
                          int64_t columns, int64_t row_stride, float* to) {
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  for (int64_t k = 0; k < kBlock; k += hn::MaxLanes(d)) {
    V half[kTile * (kTile + 2)];
    HalfTransform<kTile>(d, tile, k, half);
    const V offset = hn::LoadU(d, tile.bias + k);
    for (int64_t i = 0; i < rows; ++i) {
      V row[kTile];
      TransformOutput<kTile>(d, half + i * (kTile + 2), row, 1);
      float* out = to + i * row_stride + k;
      for (int64_t j = 0; j < columns; ++j) {
        V value = hn::Add(row[j], offset);
        if (args.add) value = hn::Add(value, hn::LoadU(d, out + j * kBlock));
        if (args.relu) value = hn::Max(value, hn::Zero(d));
        if (args.mask != nullptr) {
          const V mask = hn::LoadU(d, args.mask + (out + j * kBlock - args.dst));
          value = hn::IfThenElseZero(hn::Gt(mask, hn::Zero(d)), value);
        }
        hn::StoreU(value, d, out + j * kBlock);
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

template <int kBlock, int kTile>
void TransformDst(const WinogradShape& s, const WinogradArgs& args, const WinogradJob& job,
                  int64_t first_block, int64_t end_block, const float* products) {
  const int64_t plane = ProductPlane(s, job.tiles), row = s.width * kBlock;
  const int64_t held = args.dst_held.end - args.dst_held.begin;
  for (int64_t b = first_block; b < end_block; ++b) {
    HWY_ALIGN float bias[kBlock];
    LoadBias<kBlock>(s, args.bias, b, bias);
    for (int64_t t = 0; t < job.tiles; ++t) {
      const TileAt at(s, job.tile + t);
      const float* from = products + ((b - first_block) * job.tiles + t) * kBlock;
      const int64_t y = (at.n * s.OutBlocks() + b) * held + at.y - args.dst_held.begin;
      StoreTile<kBlock, kTile>(args, {from, plane, bias}, std::min<int64_t>(kTile, s.height - at.y),
                               std::min<int64_t>(kTile, s.width - at.x), row,
                               args.dst + y * row + at.x * kBlock);
    }
  }
}

// ---- The end of a stage ----

constexpr int kMaxScores = 8;

// The two by two maxima of a tile's outputs, those inside the image, to the pooled map.
template <int kTile, class D, class V = hn::Vec<D>>
HWY_INLINE void PoolTile(D d, const V* values, int64_t rows, int64_t columns, int64_t row_stride,
                         int64_t block, float* to) {
  for (int64_t y = 0; y < rows; y += 2) {
    for (int64_t x = 0; x < columns; x += 2) {
      const V* corner = values + y * kTile + x;
      V most = corner[0];
      if (x + 1 < columns) most = hn::Max(most, corner[1]);
      if (y + 1 < rows) most = hn::Max(most, corner[kTile]);
      if (y + 1 < rows && x + 1 < columns) most = hn::Max(most, corner[kTile + 1]);
      hn::StoreU(most, d, to + y / 2 * row_stride + x / 2 * block);
    }
  }
}

// One tile, all channels of a chunk: each vector of them is transformed, pooled, and multiplied
// into the sums of the scores, whose lanes are added up at the end.
template <int kBlock, int kTile>
void EndTile(const WinogradShape& s, const WinogradArgs& args, const WinogradJob& job,
             int64_t chunk, int64_t t, const float* products) {
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  constexpr int kPixels = kTile * kTile;
  const TileAt at(s, job.tile + t);
  const int64_t rows = std::min<int64_t>(kTile, s.height - at.y);
  const int64_t columns = std::min<int64_t>(kTile, s.width - at.x);
  const int64_t first = chunk * kChunk / kBlock;
  const int64_t end = std::min((chunk + 1) * kChunk / kBlock, s.OutBlocks());
  const int64_t plane = ProductPlane(s, job.tiles), pooled_row = (s.width + 1) / 2 * kBlock;
  const int64_t held = args.dst_held.end - args.dst_held.begin;
  V sums[kMaxScores * kPixels];
  for (int64_t i = 0; i < args.score_channels * kPixels; ++i) sums[i] = hn::Zero(d);
  for (int64_t b = first; b < end; ++b) {
    HWY_ALIGN float bias[kBlock];
    LoadBias<kBlock>(s, args.bias, b, bias);
    const TileProducts tile = {products + ((b - first) * job.tiles + t) * kBlock, plane, bias};
    const int64_t y = (at.n * s.OutBlocks() + b) * held + at.y / 2 - args.dst_held.begin;
    for (int64_t k = 0; k < kBlock; k += hn::MaxLanes(d)) {
      V half[kTile * (kTile + 2)], values[kPixels];
      HalfTransform<kTile>(d, tile, k, half);
      const V offset = hn::LoadU(d, bias + k);
      for (int i = 0; i < kTile; ++i) {
        TransformOutput<kTile>(d, half + i * (kTile + 2), values + i * kTile, 1);
      }
      for (V& value : values) {
        value = hn::Add(value, offset);
        if (args.relu) value = hn::Max(value, hn::Zero(d));
      }
      if (args.pooled != nullptr) {
        PoolTile<kTile>(d, values, rows, columns, pooled_row, kBlock,
                        args.pooled + y * pooled_row + at.x / 2 * kBlock + k);
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

template <int kBlock, int kTile>
void ConvolveBlock(const WinogradShape& s, const WinogradArgs& args, const WinogradJob& job) {
  float* src = job.scratch;
  float* products = src + s.Positions() * SrcPlane(s, job.tiles);
  for (int64_t b = 0; b < s.InBlocks(); ++b) {
    TransformSrcBlock<kBlock, kTile>(s, args.src, args.src_held, b, job.tile, job.tiles,
                                     src + b * job.tiles * kBlock, SrcPlane(s, job.tiles));
  }
  for (int64_t chunk = job.chunk; chunk < job.chunk_end; ++chunk) {
    MultiplyChunk<kBlock>(s, args.packed, job, chunk, src, products);
    if (args.dst == nullptr) {
      for (int64_t t = 0; t < job.tiles; ++t) {
        EndTile<kBlock, kTile>(s, args, job, chunk, t, products);
      }
    } else {
      TransformDst<kBlock, kTile>(s, args, job, chunk * kChunk / kBlock,
                                  std::min((chunk + 1) * kChunk / kBlock, s.OutBlocks()), products);
    }
  }
}

// ---- Weights ----

// Taps of one input channel and a panel's outputs, zero beyond the last.
template <int64_t kPanel>
void GatherTaps(const WinogradShape& s, const float* weight, bool transposed, int64_t first_out,
                int64_t i, float (*taps)[kPanel]) {
  std::fill_n(taps[0], 9 * kPanel, 0.0f);
  const int64_t count = i < s.in ? std::min(kPanel, s.out - first_out) : 0;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t o = first_out + k;
    const float* from = weight + (transposed ? i * s.out + o : o * s.in + i) * 9;
    for (int tap = 0; tap < 9; ++tap) taps[tap][k] = from[transposed ? 8 - tap : tap];
  }
}

template <int kBlock, int kTile>
void PackBlock(const WinogradShape& s, const float* weight, bool transposed, int64_t panel,
               float* packed) {
  constexpr int kIn = kTile + 2;
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  constexpr int64_t kPanel = PanelSize<kBlock>(), kLanes = kPanel / 2;
  const int64_t rows = s.InBlocks() * kBlock;
  const int64_t chunk = panel * kPanel / kChunk, before = chunk * (kChunk / kPanel);
  const int64_t plane = PanelsOf<kBlock>(s, chunk) * rows * kPanel;
  float* to = packed + before * s.Positions() * rows * kPanel + (panel - before) * rows * kPanel;
  for (int64_t i = 0; i < rows; ++i, to += kPanel) {
    HWY_ALIGN float taps[9][kPanel];
    GatherTaps<kPanel>(s, weight, transposed, panel * kPanel, i, taps);
    for (int64_t k = 0; k < kPanel; k += kLanes) {
      V half[3 * kIn];
      for (int c = 0; c < 3; ++c) {
        const V column[3] = {hn::Load(d, taps[c] + k), hn::Load(d, taps[3 + c] + k),
                             hn::Load(d, taps[6 + c] + k)};
        TransformWeight<kTile>(d, column, half + c, 3);
      }
      for (int r = 0; r < kIn; ++r) {
        V row[kIn];
        TransformWeight<kTile>(d, half + r * 3, row, 1);
        for (int c = 0; c < kIn; ++c) {
          hn::StoreU(row[c], d, to + (r * kIn + c) * plane + k);
        }
      }
    }
  }
}

void Convolve(const WinogradShape& s, const WinogradArgs& args, const WinogradJob& job) {
  if (s.tile == 2) {
    if (s.block == 8) return ConvolveBlock<8, 2>(s, args, job);
    return ConvolveBlock<16, 2>(s, args, job);
  }
  if (s.block == 8) return ConvolveBlock<8, 4>(s, args, job);
  ConvolveBlock<16, 4>(s, args, job);
}

void Pack(const WinogradShape& s, const float* weight, bool transposed, int64_t panel,
          float* packed) {
  if (s.tile == 2) {
    if (s.block == 8) return PackBlock<8, 2>(s, weight, transposed, panel, packed);
    return PackBlock<16, 2>(s, weight, transposed, panel, packed);
  }
  if (s.block == 8) return PackBlock<8, 4>(s, weight, transposed, panel, packed);
  PackBlock<16, 4>(s, weight, transposed, panel, packed);
}

int64_t Panel(int64_t block) { return block == 8 ? PanelSize<8>() : PanelSize<16>(); }

int64_t TileRows() { return kTileRows; }

int64_t ScratchCount(const WinogradShape& s, int64_t tiles) {
  return s.Positions() * (SrcPlane(s, tiles) + ProductPlane(s, tiles));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lseg {

HWY_EXPORT(Convolve);
HWY_EXPORT(Pack);
HWY_EXPORT(Panel);
HWY_EXPORT(TileRows);
HWY_EXPORT(ScratchCount);

int64_t WinogradPanelSize(int64_t block) { return HWY_DYNAMIC_DISPATCH(Panel)(block); }

int64_t WinogradPanels(const WinogradShape& shape) {
  const int64_t panel = WinogradPanelSize(shape.block);
  return (shape.OutBlocks() * shape.block + panel - 1) / panel;
}

int64_t WinogradTileRows() { return HWY_DYNAMIC_DISPATCH(TileRows)(); }

int64_t WinogradPackedCount(const WinogradShape& shape) {
  return WinogradPanels(shape) * WinogradPanelSize(shape.block) * shape.Positions() *
         shape.InBlocks() * shape.block;
}

int64_t WinogradScratchCount(const WinogradShape& shape, int64_t tiles) {
  return HWY_DYNAMIC_DISPATCH(ScratchCount)(shape, tiles);
}

void WinogradPackWeights(const WinogradShape& shape, const float* weight, bool transposed,
                         int64_t panel, float* packed) {
  HWY_DYNAMIC_DISPATCH(Pack)(shape, weight, transposed, panel, packed);
}

void WinogradConvolve(const WinogradShape& shape, const WinogradArgs& args,
                      const WinogradJob& job) {
  HWY_DYNAMIC_DISPATCH(Convolve)(shape, args, job);
}

}  // namespace lseg
#endif
