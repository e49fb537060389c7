// What winograd.h does with a job, for a struct Maps and a struct Products. Layouts, innermost
// last:
//   packed weights  (chunk, position, panel, group of input channels, 2 vectors, channel of the
//                    group), groups of Products::kTogether
//   transformed src (position, input block, tile, block)
//   products        (position, output block of the chunk, tile, block)
// Included once per instruction set, by the sources that use Highway.

#if defined(LSEG_KERNELS_CPU_WINOGRAD_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSEG_KERNELS_CPU_WINOGRAD_BLOCK_INL_H_
#undef LSEG_KERNELS_CPU_WINOGRAD_BLOCK_INL_H_
#else
#define LSEG_KERNELS_CPU_WINOGRAD_BLOCK_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/winograd_dst-inl.h"
#include "kernels/cpu/winograd_tile-inl.h"
#include "kernels/runtime/integers.h"

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

// Of a panel that are gone through at a time, for as many input channels as that takes: they stay
// in the L1 cache beside the tiles.
constexpr int64_t kPanelBytes = 16384;

// Panels of a chunk; the last may have fewer. Padding channels of a block are computed, from
// weights that are zero, so that zeros are written there.
template <int kBlock>
int64_t PanelsOf(const WinogradShape& s, int64_t chunk) {
  const int64_t channels = std::min(kChunk, s.OutBlocks() * kBlock - chunk * kChunk);
  return CeilDiv(channels, PanelSize<kBlock>());
}

constexpr int64_t kAhead = 16;  // steps by which weights are fetched before they are wanted

// Rows [0, kRows) of a panel: c = (or +=) a b over `blocks` blocks of input channels.
template <class Products, int kBlock, int kRows, class Value>
void MultiplyRows(const Value* a, int64_t a_stride, int64_t blocks, const Value* b, bool add,
                  float* c0, float* c1) {
  const Tag<kBlock> d;
  constexpr int64_t kVector = hn::MaxLanes(Tag<kBlock>()) * Products::kTogether;
  hn::Vec<Tag<kBlock>> sum0[kRows], sum1[kRows];
  for (int r = 0; r < kRows; ++r) sum0[r] = sum1[r] = hn::Zero(d);
  for (int64_t i = 0; i < blocks; ++i, a += a_stride) {
    for (int k = 0; k < kBlock; k += Products::kTogether, b += 2 * kVector) {
      // Not hwy::Prefetch: around that GCC 12 keeps sums in memory, at twice the time.
      __builtin_prefetch(b + kAhead * 2 * kVector);
      __builtin_prefetch(b + kAhead * 2 * kVector + kVector);
      const auto b0 = Products::LoadTogether(d, b), b1 = Products::LoadTogether(d, b + kVector);
      for (int r = 0; r < kRows; ++r) {
        const auto factor = Products::Factor(d, a + r * kBlock + k);
        sum0[r] = Products::MulAdd(factor, b0, sum0[r]);
        sum1[r] = Products::MulAdd(factor, b1, sum1[r]);
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
template <class Products, int kBlock, int kRows, class Value>
void MultiplyRest(int64_t rows, const Value* a, int64_t a_stride, int64_t blocks, const Value* b,
                  bool add, float* c0, float* c1) {
  if constexpr (kRows > 1) {
    if (rows < kRows - 1) {
      return MultiplyRest<Products, kBlock, kRows - 1>(rows, a, a_stride, blocks, b, add, c0, c1);
    }
    MultiplyRows<Products, kBlock, kRows - 1>(a, a_stride, blocks, b, add, c0, c1);
  }
}

// One position, one panel, all tiles of the job.
template <class Products, int kBlock, class Value>
void MultiplyPanel(const WinogradShape& s, int64_t tiles, const Value* a, const Value* b, float* c0,
                   float* c1) {
  constexpr int64_t kDepth = kPanelBytes / sizeof(Value) / PanelSize<kBlock>() / kBlock;
  const int64_t a_stride = tiles * kBlock, blocks = s.InBlocks();
  for (int64_t first = 0; first < blocks; first += kDepth) {
    const int64_t count = std::min(kDepth, blocks - first);
    const Value* from = a + first * a_stride;
    const Value* with = b + first * kBlock * PanelSize<kBlock>();
    int64_t t = 0;
    for (; t + kTileRows <= tiles; t += kTileRows) {
      MultiplyRows<Products, kBlock, kTileRows>(from + t * kBlock, a_stride, count, with, first > 0,
                                                c0 + t * kBlock, c1 + t * kBlock);
    }
    if (t < tiles) {
      MultiplyRest<Products, kBlock, kTileRows>(tiles - t, from + t * kBlock, a_stride, count, with,
                                                first > 0, c0 + t * kBlock, c1 + t * kBlock);
    }
  }
}

template <class Products, int kBlock, class Value>
void MultiplyChunk(const WinogradShape& s, const Value* packed, const WinogradJob& job,
                   int64_t chunk, const Value* src, float* products) {
  constexpr int64_t kPanel = PanelSize<kBlock>(), kLanes = kPanel / 2;
  const int64_t size = s.InBlocks() * kBlock * kPanel, panels = PanelsOf<kBlock>(s, chunk);
  const Value* weights = packed + chunk * (kChunk / kPanel) * s.Positions() * size;
  const int64_t src_plane = WinogradSrcPlane(s, job.tiles, sizeof(Value)),
                plane = WinogradProductPlane(s, job.tiles);
  for (int64_t position = 0; position < s.Positions(); ++position) {
    for (int64_t p = 0; p < panels; ++p, weights += size) {
      const auto at = [&](int64_t channel) {  // counted from the first of the chunk
        return products + position * plane + channel / kBlock * job.tiles * kBlock +
               channel % kBlock;
      };
      MultiplyPanel<Products, kBlock>(s, job.tiles, src + position * src_plane, weights,
                                      at(p * kPanel), at(p * kPanel + kLanes));
    }
  }
}

// Block `b` of the source's channels, of which the rows `held` lie in memory, for a job's tiles, to
// `out`, the place of the first of them in the first plane.
template <class Maps, class Products, int kBlock, int kTile>
void TransformSrc(const WinogradShape& s, const typename Maps::Element* src, RowRange held,
                  int64_t b, const WinogradJob& job, typename Products::Value* out, int64_t plane) {
  constexpr int kIn = kTile + 2;
  HWY_ALIGN typename Maps::Element copy[kIn * kIn * kBlock];
  const Tag<kBlock> d;
  const Steps<Maps, kBlock> steps(s.in, held.end - held.begin, s.width);
  for (int64_t t = job.tile; t < job.tile + job.tiles; ++t, out += kBlock) {
    const TileAt at(s, t);
    const auto* image = src + at.n * steps.image + b * steps.block - held.begin * steps.row;
    const auto patch = PatchAt<kIn>(s, steps, image, at.y - 1, at.x - 1, copy);
    for (int64_t k = 0; k < kBlock; k += hn::MaxLanes(d)) {
      TransformPatch<Maps, kTile>(d, patch, k, [&](int64_t i, hn::Vec<Tag<kBlock>> value) {
        Products::Store(value, d, out + i * plane + k);
      });
    }
  }
}

template <class Maps, class Products, int kBlock, int kTile>
void ConvolveJob(const WinogradShape& s,
                 const Conv3x3Args<typename Maps::Element, typename Products::Value>& args,
                 const WinogradJob& job) {
  using Value = typename Products::Value;
  auto* src = reinterpret_cast<Value*>(job.scratch);
  const int64_t src_plane = WinogradSrcPlane(s, job.tiles, sizeof(Value));
  auto* products = reinterpret_cast<float*>(src + s.Positions() * src_plane);
  for (int64_t b = 0; b < s.InBlocks(); ++b) {
    TransformSrc<Maps, Products, kBlock, kTile>(s, args.src, args.src_held, b, job,
                                                src + b * job.tiles * kBlock, src_plane);
  }
  for (int64_t chunk = job.chunk; chunk < job.chunk_end; ++chunk) {
    MultiplyChunk<Products, kBlock>(s, args.packed, job, chunk, src, products);
    if (args.dst == nullptr) {
      for (int64_t t = 0; t < job.tiles; ++t) {
        EndTile<Maps, kBlock, kTile>(s, args, job, chunk, t, products);
      }
    } else {
      TransformDst<Maps, kBlock, kTile>(s, args, job, chunk * kChunk / kBlock,
                                        std::min((chunk + 1) * kChunk / kBlock, s.OutBlocks()),
                                        products);
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

template <class Products, int kBlock, int kTile>
void PackPanel(const WinogradShape& s, const float* weight, bool transposed, int64_t panel,
               typename Products::Value* packed) {
  constexpr int kIn = kTile + 2, kTogether = Products::kTogether;
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  constexpr int64_t kPanel = PanelSize<kBlock>(), kLanes = kPanel / 2;
  const int64_t rows = s.InBlocks() * kBlock;
  const int64_t chunk = panel * kPanel / kChunk, before = chunk * (kChunk / kPanel);
  const int64_t plane = PanelsOf<kBlock>(s, chunk) * rows * kPanel;
  auto* to = packed + before * s.Positions() * rows * kPanel + (panel - before) * rows * kPanel;
  for (int64_t i = 0; i < rows; i += kTogether) {
    HWY_ALIGN float taps[kTogether][9][kPanel];
    for (int e = 0; e < kTogether; ++e) {
      GatherTaps<kPanel>(s, weight, transposed, panel * kPanel, i + e, taps[e]);
    }
    for (int64_t k = 0; k < kPanel; k += kLanes, to += kLanes * kTogether) {
      V transformed[kIn * kIn][kTogether];
      for (int e = 0; e < kTogether; ++e) {
        V half[3 * kIn];
        for (int c = 0; c < 3; ++c) {
          const V column[3] = {hn::Load(d, taps[e][c] + k), hn::Load(d, taps[e][3 + c] + k),
                               hn::Load(d, taps[e][6 + c] + k)};
          TransformWeight<kTile>(d, column, half + c, 3);
        }
        for (int r = 0; r < kIn; ++r) {
          V row[kIn];
          TransformWeight<kTile>(d, half + r * 3, row, 1);
          for (int c = 0; c < kIn; ++c) transformed[r * kIn + c][e] = row[c];
        }
      }
      for (int64_t at = 0; at < kIn * kIn; ++at) {
        Products::StoreTogether(transformed[at], d, to + at * plane);
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#endif
