// The engines "winograd4x3", "winograd2x3", and for maps in bf16 "winograd4x3_bf16" and
// "winograd2x3_bf16" (backward weights elsewhere, and not by the second): forward and backward data
// of 3x3 convolutions by F(4x4, 3x3) and F(2x2, 3x3), see winograd.h. The gradient with respect to
// the source is the same convolution of the destination's gradient with the weights transposed and
// reversed.
//
// Work is divided into blocks of tiles, and, where there are few of those, into groups of output
// channels too (each group transforms the source anew: a few per cent of the products' cost).
// Threads share nothing that they write, and no value depends on the division.
#include <omp.h>
#include <unistd.h>

#include <algorithm>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cpu/winograd.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

// Bytes of L2 cache a core has, within what the blocking was measured for.
int64_t L2Bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  const int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#else
  const int64_t bytes = 0;  // not known
#endif
  return std::clamp<int64_t>(bytes, 256 << 10, 2 << 20);
}

// Element, of maps, and Value, in which products are taken.
template <class Element, class Value>
class WinogradConv : public ConvPlan {
 public:
  WinogradConv(const Context& context, const ConvParams& params, ConvDirection direction,
               ConvFormats formats, int64_t tile)
      : p_(params), direction_(direction), threads_(context.threads()) {
    const bool forward = direction == ConvDirection::kForward;
    shape_ = {.block = WinogradBlock(formats.src),
              .tile = tile,
              .batch = params.src.n,
              .height = params.src.h,
              .width = params.src.w,
              .in = forward ? params.src.c : params.out_channels,
              .out = forward ? params.out_channels : params.src.c};
    most_tiles_ = MostTiles();
  }

  int64_t PackedWeightBytes() const override {
    return WinogradPackedCount(shape_) * int64_t{sizeof(Value)};
  }

  void PackWeights(Context&, const float* weight, void* packed) const override {
    const int64_t panels = WinogradPanels(shape_);
#pragma omp parallel for num_threads(threads_)
    for (int64_t panel = 0; panel < panels; ++panel) {
      WinogradPackWeights(shape_, weight, direction_ == ConvDirection::kBackwardData, panel,
                          static_cast<Value*>(packed));
    }
  }

  int64_t WorkspaceBytes(GradMode) const override { return threads_ * ScratchBytes(); }
  int64_t ScorePartials() const override { return p_.score_channels > 0 ? shape_.Chunks() : 0; }

  void Run(Context&, const ConvArgs& args) const override {
    if (direction_ == ConvDirection::kBackwardData && args.d_src_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, direction_, args);
    const auto a = Conv3x3ArgsOf<Element, Value>(p_, direction_, args);
    const RowRange rows = ConvRowsOnGrid(p_, ConvWinogradRowGrid(p_), args);
    if (rows.begin == 0 && rows.end == shape_.height) {
      return RunTiles(a, 0, shape_.Tiles(), args.workspace);
    }
    for (int64_t n = 0; n < shape_.batch; ++n) {
      const auto tile = [&](int64_t y) { return (n * shape_.TilesY() + y) * shape_.TilesX(); };
      RunTiles(a, tile(rows.begin / shape_.tile), tile(CeilDiv(rows.end, shape_.tile)),
               args.workspace);
    }
  }

 private:
  // Whole cache lines, so that threads do not write into each other's.
  int64_t ScratchBytes() const {
    return RoundUp(WinogradScratchBytes(shape_, most_tiles_, sizeof(Value)), 64);
  }

  // Tiles [begin, end), in jobs. The transformed source of a job should take half the L2 cache, but
  // every job reads all weights, at two operations a tile for each of them: weights too many for a
  // share of the L3 cache come from memory, which keeps up only if many tiles use them.
  void RunTiles(const Conv3x3Args<Element, Value>& args, int64_t begin, int64_t end,
                void* workspace) const {
    auto* scratch = static_cast<char*>(workspace);
    const int64_t tiles = end - begin, chunks = shape_.Chunks();
    const int64_t wanted = CeilDiv(tiles, most_tiles_);
    const int64_t size = RoundUp(CeilDiv(tiles, wanted), WinogradTileRows());
    const int64_t blocks = CeilDiv(tiles, size);
    // At least four jobs a thread, as far as there are chunks to divide.
    const int64_t most = std::clamp<int64_t>(CeilDiv(4 * threads_, blocks), 1, chunks);
    const int64_t depth = CeilDiv(chunks, most), groups = CeilDiv(chunks, depth);
#pragma omp parallel for num_threads(threads_) schedule(dynamic) collapse(2)
    for (int64_t block = 0; block < blocks; ++block) {
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t tile = begin + block * size;
        const WinogradJob job = {.tile = tile,
                                 .tiles = std::min(size, end - tile),
                                 .chunk = group * depth,
                                 .chunk_end = std::min((group + 1) * depth, chunks),
                                 .scratch = scratch + omp_get_thread_num() * ScratchBytes()};
        WinogradConvolve(shape_, args, job);
      }
    }
  }

  // Of a job, rounded up to what is multiplied together.
  int64_t MostTiles() const {
    const int64_t tile_bytes =
        shape_.Positions() * shape_.InBlocks() * shape_.block * int64_t{sizeof(Value)};
    const int64_t least = PackedWeightBytes() > (int64_t{4} << 20) ? 96 : 24;
    const int64_t most = std::clamp<int64_t>(L2Bytes() / 2 / tile_bytes, least, 192);
    return RoundUp(std::min(most, shape_.Tiles()), WinogradTileRows());
  }

  ConvParams p_;
  ConvDirection direction_;
  int threads_;
  WinogradShape shape_;
  int64_t most_tiles_ = 0;
};

template <class Element, class Value>
std::unique_ptr<ConvPlan> Make(const Context& context, const ConvParams& params,
                               ConvDirection direction, ConvFormats formats, int64_t tile) {
  if (direction == ConvDirection::kBackwardWeights) {
    constexpr DType kProducts = sizeof(Value) == 4 ? DType::kF32 : DType::kBF16;
    return MakeConvWinogradWeights(context, params, formats, kProducts);
  }
  return std::make_unique<WinogradConv<Element, Value>>(context, params, direction, formats, tile);
}

}  // namespace

int64_t ConvWinogradRowGrid(const ConvParams&) { return 4; }

bool SupportsConvWinograd4x3(const Context&, const ConvParams& p, ConvDirection direction,
                             ConvFormats formats) {
  const bool fits_stage_end = direction == ConvDirection::kForward &&
                              p.out_channels % ChannelBlock(formats.dst, p.out_channels) == 0;
  return IsConv3x3(p) && formats.src == formats.dst && formats.AllF32() &&
         (!p.HasStageEnd() || fits_stage_end) &&
         (formats.src == Format::kNChw8c || formats.src == Format::kNChw16c);
}

std::unique_ptr<ConvPlan> MakeConvWinograd4x3(const Context& context, const ConvParams& params,
                                              ConvDirection direction, ConvFormats formats) {
  return Make<float, float>(context, params, direction, formats, 4);
}

bool SupportsConvWinograd2x3(const Context& context, const ConvParams& params,
                             ConvDirection direction, ConvFormats formats) {
  return direction != ConvDirection::kBackwardWeights &&
         SupportsConvWinograd4x3(context, params, direction, formats);
}

std::unique_ptr<ConvPlan> MakeConvWinograd2x3(const Context& context, const ConvParams& params,
                                              ConvDirection direction, ConvFormats formats) {
  return Make<float, float>(context, params, direction, formats, 2);
}

bool SupportsConvWinograd4x3Bf16(const Context&, const ConvParams& p, ConvDirection,
                                 ConvFormats formats) {
  const int64_t block = WinogradBlock(Format::kNHWC);
  return IsConv3x3(p) && formats.src == Format::kNHWC && formats.dst == Format::kNHWC &&
         formats.src_dtype == DType::kBF16 && formats.dst_dtype == DType::kBF16 &&
         p.src.c % block == 0 && p.out_channels % block == 0;
}

std::unique_ptr<ConvPlan> MakeConvWinograd4x3Bf16(const Context& context, const ConvParams& params,
                                                  ConvDirection direction, ConvFormats formats) {
  return Make<BFloat16, float>(context, params, direction, formats, 4);
}

bool SupportsConvWinograd2x3Bf16(const Context& context, const ConvParams& params,
                                 ConvDirection direction, ConvFormats formats) {
  return WinogradHasBf16() && SupportsConvWinograd4x3Bf16(context, params, direction, formats);
}

std::unique_ptr<ConvPlan> MakeConvWinograd2x3Bf16(const Context& context, const ConvParams& params,
                                                  ConvDirection direction, ConvFormats formats) {
  return Make<BFloat16, BFloat16>(context, params, direction, formats, 2);
}

}  // namespace lseg
