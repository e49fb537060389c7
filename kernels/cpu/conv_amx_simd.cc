// conv_amx.h, for processors with AMX and AVX512-BF16.
#include "kernels/cpu/conv_amx.h"
#include "kernels/cpu/simd_targets.h"

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <optional>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv_amx_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#if HWY_TARGET == HWY_AVX3
#include "kernels/cpu/amx-inl.h"
#include "kernels/cpu/bfloat16-inl.h"
#include "kernels/cpu/maxima-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kTile = kTileBytes / sizeof(BFloat16);  // elements
constexpr int64_t kPanel = kAmxPanel, kLanes = 16, kColumns = 16, kRows = 2;
// Of the columns of a tile of scores the first half are of the weights' upper parts, the others of
// what those leave.
constexpr int64_t kScoreColumns = 16;
static_assert(kMostScores * 2 <= kScoreColumns);

using Floats = hn::FixedTag<float, kLanes>;
using Vec = hn::Vec<Floats>;
using Args = Conv3x3Args<BFloat16>;
using Words = hn::FixedTag<uint16_t, 2 * kLanes>;

// Outputs of a panel at one pixel.
struct Pair {
  Vec low, high;
};

// The block of a job, with what of it lies in the image.
struct Block {
  Block(const AmxShape& s, int64_t block)
      : y(block / s.BlocksX() * kRows),
        x(block % s.BlocksX() * s.Columns()),
        rows(std::min(kRows, s.height - y)),
        columns(std::min(s.Columns(), s.width - x)) {}
  int64_t y, x, rows, columns;
};

// A block's source: its neighbour above and to the left, and elements to the next pixel, row and
// slice of channels.
struct Patch {
  const BFloat16* at;
  int64_t pixel, row, slice;
};

constexpr int64_t PatchRows() { return kRows + 2; }
inline int64_t PatchCount(const AmxShape& s) {
  return s.Slices() * PatchRows() * (s.Columns() + 2) * kPanel;
}

// Pixels of many channels lie so far apart that a tile's rows would fall into few sets of the L1
// cache. A copy is worth its while then, and needed where the block meets the image's border.
bool LiesInMap(const AmxShape& s, const Block& b) {
  return s.in < 256 && b.y >= 1 && b.y + kRows < s.height && b.x >= 1 &&
         b.x + s.Columns() < s.width;
}

// Copies a block's source, zeros where there is no image, to `to`.
void CopyPatch(const AmxShape& s, const Args& args, int64_t n, const Block& b, BFloat16* to) {
  const Words d;
  const int64_t columns = s.Columns() + 2, slice = PatchRows() * columns * kPanel;
  const int64_t held = args.src_held.end - args.src_held.begin;
  for (int64_t i = 0; i < PatchRows(); ++i) {
    const int64_t y = b.y - 1 + i;
    const BFloat16* row = args.src + (n * held + y - args.src_held.begin) * s.width * s.in;
    for (int64_t j = 0; j < columns; ++j, to += kPanel) {
      const int64_t x = b.x - 1 + j;
      const bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
      auto* out = reinterpret_cast<uint16_t*>(to);
      const auto* in = reinterpret_cast<const uint16_t*>(row + x * s.in);
      for (int64_t k = 0; k < s.Slices(); ++k, out += slice) {
        hn::StoreU(inside ? hn::LoadU(d, in + k * kPanel) : hn::Zero(d), d, out);
      }
    }
  }
}

Patch PatchOf(const AmxShape& s, const Args& args, int64_t n, const Block& b,
              const BFloat16* copy) {
  if (!LiesInMap(s, b)) {
    const int64_t row = (s.Columns() + 2) * kPanel;
    return {copy, kPanel, row, PatchRows() * row};
  }
  const int64_t held = args.src_held.end - args.src_held.begin;
  const int64_t row = n * held + b.y - 1 - args.src_held.begin;
  return {args.src + (row * s.width + b.x - 1) * s.in, s.in, s.width * s.in, kPanel};
}

// Tiles 0 to 3 hold sums (two rows of the block, then those of the second half of the outputs), 4
// and 5 sources, 6 and 7 weights. One row of taps: the source's row that the block's first row
// wants is in tile kFirst, that of the second is loaded to kSecond, where the next row of taps
// wants it.
template <int kFirst, int kSecond>
HWY_INLINE void MultiplyTap(const BFloat16* second, int64_t pixel, const BFloat16* packed) {
  TileLoad<6>(packed, kTileRowBytes);
  TileMulAdd<0, kFirst, 6>();
  TileLoad<kSecond>(second, pixel);
  TileMulAdd<1, kSecond, 6>();
  TileLoad<7>(packed + kTile, kTileRowBytes);
  TileMulAdd<2, kFirst, 7>();
  TileMulAdd<3, kSecond, 7>();
}

// One column of taps after another, so that three rows of taps load four rows of the source. `step`
// is called after each, with how many are done of 3 Slices(): vector instructions find place there
// while the tiles multiply.
template <class Step>
HWY_INLINE void MultiplyBlock(const AmxShape& s, const Patch& patch, const BFloat16* packed,
                              float* sums, const Step& step) {
  const int64_t pixel = patch.pixel * int64_t{sizeof(BFloat16)};
  const BFloat16* slice = patch.at;
  TileZero<0>();
  TileZero<1>();
  TileZero<2>();
  TileZero<3>();
  for (int64_t k = 0; k < s.Slices(); ++k, slice += patch.slice) {
    for (int64_t column = 0; column < 3; ++column, packed += 6 * kTile) {
      const BFloat16* at = slice + column * patch.pixel;
      TileLoad<4>(at, pixel);
      MultiplyTap<4, 5>(at + patch.row, pixel, packed);
      MultiplyTap<5, 4>(at + 2 * patch.row, pixel, packed + 2 * kTile);
      MultiplyTap<4, 5>(at + 3 * patch.row, pixel, packed + 4 * kTile);
      step(3 * k + column + 1);
    }
  }
  constexpr int64_t kPixelBytes = kPanel * sizeof(float);
  TileStore<0>(sums, kPixelBytes);
  TileStore<1>(sums + kColumns * kPanel, kPixelBytes);
  TileStore<2>(sums + kLanes, kPixelBytes);
  TileStore<3>(sums + kColumns * kPanel + kLanes, kPixelBytes);
}

Pair Bias(const Args& args, int64_t panel) {
  const Floats d;
  if (args.bias == nullptr) return {hn::Zero(d), hn::Zero(d)};
  return {hn::LoadU(d, args.bias + panel * kPanel),
          hn::LoadU(d, args.bias + panel * kPanel + kLanes)};
}

HWY_INLINE Pair LoadPair(const float* sums, const Pair& bias) {
  const Floats d;
  return {hn::Add(hn::Load(d, sums), bias.low), hn::Add(hn::Load(d, sums + kLanes), bias.high)};
}

HWY_INLINE void StorePair(const Pair& value, BFloat16* to) {
  hn::StoreU(Cvtne2Ps2Bf16(value.high, value.low), Words(), reinterpret_cast<uint16_t*>(to));
}

HWY_INLINE Pair Rectified(const Pair& value) {
  return {Rectified(Floats(), value.low), Rectified(Floats(), value.high)};
}

HWY_INLINE Vec WhereAboveZero(const BFloat16* mask, Vec value) {
  const Floats d;
  return hn::IfThenElseZero(hn::Gt(LoadFloats(d, mask), hn::Zero(d)), value);
}

// ---- The end of a stage ----

// The upper and the lower parts of a panel's score weights, as one tile.
void SplitScoreWeights(const AmxShape& s, const Args& args, int64_t panel, BFloat16* tile) {
  std::fill_n(tile, kTile, BFloat16{});
  for (int64_t c = 0; c < args.score_channels; ++c) {
    for (int64_t k = 0; k < kPanel; ++k) {
      const float weight = args.score_weight[c * s.out + panel * kPanel + k];
      const auto upper = FromFloat<BFloat16>(weight);
      BFloat16* to = tile + k / 2 * 2 * kScoreColumns + k % 2;
      to[2 * c] = upper;
      to[2 * (c + kMostScores)] = FromFloat<BFloat16>(weight - ToFloat(upper));
    }
  }
}

// Adds a panel's part to the scores of a block: (row, column, kScoreColumns).
void AddScores(const BFloat16* map, const BFloat16* weights, bool first, float* scores) {
  constexpr int64_t kRow = kColumns * kScoreColumns;
  if (first) {
    TileZero<0>();
    TileZero<1>();
  } else {
    TileLoad<0>(scores, kTileRowBytes);
    TileLoad<1>(scores + kRow, kTileRowBytes);
  }
  TileLoad<6>(weights, kTileRowBytes);
  TileLoad<4>(map, kTileRowBytes);
  TileMulAdd<0, 4, 6>();
  TileLoad<5>(map + kColumns * kPanel, kTileRowBytes);
  TileMulAdd<1, 5, 6>();
  TileStore<0>(scores, kTileRowBytes);
  TileStore<1>(scores + kRow, kTileRowBytes);
}

// A chunk's scores of a block, as AddScores left them, to the partial sums.
void StoreScores(const AmxShape& s, const Args& args, int64_t n, const Block& b, int64_t chunk,
                 const float* scores) {
  for (int64_t c = 0; c < args.score_channels; ++c) {
    const int64_t plane = (chunk * s.batch + n) * args.score_channels + c;
    for (int64_t i = 0; i < b.rows; ++i) {
      const float* from = scores + i * kColumns * kScoreColumns + c;
      float* to = args.score_partials + (plane * s.height + b.y + i) * s.width + b.x;
      for (int64_t j = 0; j < b.columns; ++j, from += kScoreColumns) {
        to[j] = from[0] + from[kMostScores];
      }
    }
  }
}

// ---- A block's outputs ----

// Of a panel, by its sums: to dst, or, at the end of a stage, to `map`, (row, column, output), and
// their maxima over windows of two by two, of those inside the image, to the pooled map. They are
// made a window at a time.
class Outputs {
 public:
  static constexpr int64_t kWindows = kColumns / 2;

  Outputs(const AmxShape& s, const Args& args, int64_t n, const Block& b, int64_t panel,
          const float* sums, BFloat16* map)
      : s_(s), args_(args), b_(b), bias_(Bias(args, panel)), sums_(sums), map_(map) {
    const int64_t held = args.dst_held.end - args.dst_held.begin;
    const bool ends = args.dst == nullptr;
    const int64_t row = n * held + (ends ? b.y / 2 : b.y) - args.dst_held.begin;
    const int64_t width = ends ? (s.width + 1) / 2 : s.width;
    first_ = (row * width + (ends ? b.x / 2 : b.x)) * s.out + panel * kPanel;
  }

  // Makes those of the first `windows` that are not made yet.
  HWY_INLINE void MakeTo(int64_t windows) {
    for (; made_ < windows; ++made_) {
      if (2 * made_ >= b_.columns) continue;
      args_.dst != nullptr ? Store(2 * made_) : End(2 * made_);
    }
  }

 private:
  HWY_INLINE void Store(int64_t first_column) const {
    const Floats d;
    const int64_t end = std::min(first_column + 2, b_.columns);
    for (int64_t i = 0; i < b_.rows; ++i) {
      int64_t at = first_ + (i * s_.width + first_column) * s_.out;
      for (int64_t j = first_column; j < end; ++j, at += s_.out) {
        Pair value = LoadPair(sums_ + (i * kColumns + j) * kPanel, bias_);
        if (args_.add) {
          value.low = hn::Add(value.low, LoadFloats(d, args_.dst + at));
          value.high = hn::Add(value.high, LoadFloats(d, args_.dst + at + kLanes));
        }
        if (args_.relu) value = Rectified(value);
        if (args_.mask != nullptr) {
          value.low = WhereAboveZero(args_.mask + at, value.low);
          value.high = WhereAboveZero(args_.mask + at + kLanes, value.high);
        }
        StorePair(value, args_.dst + at);
      }
    }
  }

  HWY_INLINE Pair ToMap(int64_t i, int64_t j) const {
    const int64_t at = (i * kColumns + j) * kPanel;
    Pair value = LoadPair(sums_ + at, bias_);
    if (args_.relu) value = Rectified(value);
    StorePair(value, map_ + at);
    return value;
  }

  HWY_INLINE void End(int64_t j) const {
    Pair most = ToMap(0, j);
    const auto take = [&](const Pair& next) {
      most = {Larger(most.low, next.low), Larger(most.high, next.high)};
    };
    if (j + 1 < b_.columns) take(ToMap(0, j + 1));
    if (b_.rows == 2) take(ToMap(1, j));
    if (b_.rows == 2 && j + 1 < b_.columns) take(ToMap(1, j + 1));
    if (args_.pooled != nullptr) StorePair(most, args_.pooled + first_ + j / 2 * s_.out);
  }

  const AmxShape& s_;
  const Args& args_;
  Block b_;
  Pair bias_;
  const float* sums_;
  BFloat16* map_;
  int64_t first_;  // of dst or the pooled map
  int64_t made_ = 0;
};

// ---- Jobs ----

// Elements of a thread's memory: sums of two blocks and outputs of one, two panels' score weights,
// scores of each of a job's blocks.
constexpr int64_t kSums = kRows * kColumns * kPanel, kMap = kSums;
constexpr int64_t kScores = kRows * kColumns * kScoreColumns;

int64_t ScratchBytes(const AmxShape& s, int64_t blocks) {
  return (2 * kSums + blocks * kScores) * int64_t{sizeof(float)} +
         (kMap + 2 * kTile + blocks * PatchCount(s)) * int64_t{sizeof(BFloat16)};
}

// While the tiles multiply for a block and panel, the outputs of the one before are made.
void Convolve(const AmxShape& s, const Args& args, const AmxJob& job) {
  const auto columns = static_cast<uint8_t>(s.Columns());
  const TileRows rows({columns, columns, columns, columns, columns, columns, 16, 16});
  auto* sums = static_cast<float*>(job.scratch);
  float* scores = sums + 2 * kSums;
  auto* map = reinterpret_cast<BFloat16*>(scores + job.blocks * kScores);
  BFloat16 *score_weights = map + kMap, *patches = score_weights + 2 * kTile;
  const auto patch = [&](int64_t g) { return patches + g * PatchCount(s); };
  for (int64_t g = 0; g < job.blocks; ++g) {
    const Block b(s, job.block + g);
    if (!LiesInMap(s, b)) CopyPatch(s, args, job.n, b, patch(g));
  }
  const int64_t panel_count = s.Slices() * 18 * kTile, steps = 3 * s.Slices();
  const int64_t first_panel = job.chunk * kAmxChunk;
  const int64_t panels = std::min(job.chunk_end * kAmxChunk, s.Panels()) - first_panel;
  const auto panel_of = [&](int64_t unit) { return first_panel + unit / job.blocks; };
  // The scores of a unit (a panel of a block) whose outputs lie in `map`.
  const auto add_scores = [&](int64_t unit) {
    const int64_t panel = panel_of(unit), g = unit % job.blocks, chunk = panel / kAmxChunk;
    float* to = scores + g * kScores;
    AddScores(map, score_weights + panel % 2 * kTile, panel % kAmxChunk == 0, to);
    if (panel % kAmxChunk == kAmxChunk - 1 || panel + 1 == s.Panels()) {
      StoreScores(s, args, job.n, Block(s, job.block + g), chunk, to);
    }
  };
  std::optional<Outputs> before;
  for (int64_t unit = 0; unit < panels * job.blocks; ++unit) {
    const int64_t panel = panel_of(unit), g = unit % job.blocks;
    const Block b(s, job.block + g);
    float* to = sums + unit % 2 * kSums;
    if (g == 0 && args.score_channels > 0) {
      SplitScoreWeights(s, args, panel, score_weights + panel % 2 * kTile);
    }
    MultiplyBlock(s, PatchOf(s, args, job.n, b, patch(g)), args.packed + panel * panel_count, to,
                  [&](int64_t step) {
                    if (before) before->MakeTo(step * Outputs::kWindows / steps);
                  });
    if (before && args.score_channels > 0) add_scores(unit - 1);
    before.emplace(s, args, job.n, b, panel, to, map);
  }
  before->MakeTo(Outputs::kWindows);
  if (args.score_channels > 0) add_scores(panels * job.blocks - 1);
}

// A tile's rows are pairs of channels: of each output the first's weight, then the second's.
void PackWeights(const AmxShape& s, const float* weight, bool transposed, int64_t panel,
                 BFloat16* packed) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const hn::RebindToUnsigned<Floats> du;
  const int64_t out_step = transposed ? 9 : s.in * 9, in_step = transposed ? s.out * 9 : 9;
  const auto index = hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<int32_t>(out_step)));
  const auto bits = [&](const float* from) {
    return hn::PromoteTo(du, Rounded(d, hn::GatherIndex(d, from, index)));
  };
  auto* to = reinterpret_cast<uint32_t*>(packed + panel * s.Slices() * 18 * kTile);
  for (int64_t slice = 0; slice < s.Slices(); ++slice) {
    for (int64_t column = 0; column < 3; ++column) {
      for (int64_t row = 0; row < 3; ++row) {
        const int64_t tap = transposed ? 8 - (row * 3 + column) : row * 3 + column;
        for (int64_t half = 0; half < kPanel; half += kLanes) {
          const float* from =
              weight + (panel * kPanel + half) * out_step + slice * kPanel * in_step + tap;
          for (int64_t k = 0; k < kPanel; k += 2, from += 2 * in_step, to += kLanes) {
            const auto second = hn::ShiftLeft<16>(bits(from + in_step));
            hn::StoreU(hn::Or(bits(from), second), du, to);
          }
        }
      }
    }
  }
}

int64_t SrcBytes(const AmxShape& s) { return PatchCount(s) * int64_t{sizeof(BFloat16)}; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();
#endif  // HWY_AVX3

#if HWY_ONCE
#include "kernels/cpu/avx512_only.h"

namespace lseg {

#if (HWY_TARGETS & HWY_AVX3) && defined(__linux__)
bool HasAmxBf16() {
  // The system gives a process the registers' memory only when asked (Linux,
  // Documentation/arch/x86/xstate.rst).
  constexpr int64_t kRequestPermission = 0x1023, kTileData = 18;
  static const bool has = (hwy::SupportedTargets() & HWY_AVX3) != 0 &&
                          __builtin_cpu_supports("avx512bf16") &&
                          __builtin_cpu_supports("amx-bf16") &&
                          syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return has;
}
#else
bool HasAmxBf16() { return false; }
#endif

int64_t AmxPackedCount(const AmxShape& shape) { return shape.in * shape.out * 9; }

int64_t AmxScratchBytes(const AmxShape& shape, int64_t blocks) {
  LSEG_AVX512_ONLY(ScratchBytes, shape, blocks);
}
int64_t AmxSrcBytes(const AmxShape& shape) { LSEG_AVX512_ONLY(SrcBytes, shape); }

void AmxPackWeights(const AmxShape& shape, const float* weight, bool transposed, int64_t panel,
                    BFloat16* packed) {
  LSEG_AVX512_ONLY(PackWeights, shape, weight, transposed, panel, packed);
}

void AmxConvolve(const AmxShape& shape, const Conv3x3Args<BFloat16>& args, const AmxJob& job) {
  LSEG_AVX512_ONLY(Convolve, shape, args, job);
}

}  // namespace lseg
#endif
