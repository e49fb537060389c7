// The "winograd4x3" engine (backward weights elsewhere): forward and backward data of 3x3
// convolutions in a blocked format by F(4x4, 3x3), see winograd.h. The gradient with respect to the
// source is the same convolution of the destination's gradient with the weights transposed and
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

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

class WinogradConv : public ConvPlan {
 public:
  WinogradConv(const Context& context, const ConvParams& params, ConvDirection direction,
               ConvFormats formats)
      : p_(params), direction_(direction), threads_(context.threads()) {
    const bool forward = direction == ConvDirection::kForward;
    shape_ = {.block = ChannelBlock(formats.src, params.src.c),
              .batch = params.src.n,
              .height = params.src.h,
              .width = params.src.w,
              .in = forward ? params.src.c : params.out_channels,
              .out = forward ? params.out_channels : params.src.c};
    Divide();
  }

  int64_t PackedWeightBytes() const override { return WinogradPackedCount(shape_) * 4; }

  void PackWeights(Context&, const float* weight, void* packed) const override {
    const int64_t panels = WinogradPanels(shape_);
#pragma omp parallel for num_threads(threads_)
    for (int64_t panel = 0; panel < panels; ++panel) {
      WinogradPackWeights(shape_, weight, direction_ == ConvDirection::kBackwardData, panel,
                          static_cast<float*>(packed));
    }
  }

  int64_t WorkspaceBytes(GradMode) const override { return threads_ * ScratchCount() * 4; }

  void Run(Context&, const ConvArgs& args) const override {
    WinogradArgs a = {};
    if (direction_ == ConvDirection::kBackwardData) {
      if (args.d_src_mode == GradMode::kSkip) return;
      a.src = args.f32_d_dst();
      a.dst = args.f32_d_src();
      a.add = args.d_src_mode == GradMode::kAdd;
    } else {
      a.src = args.f32_src();
      a.dst = args.f32_dst();
      a.bias = p_.bias ? args.bias : nullptr;
      a.relu = p_.relu;
    }
    CheckConvArgs(p_, direction_, args);
    a.packed = static_cast<const float*>(args.weight);
    auto* scratch = static_cast<float*>(args.workspace);
    const int64_t tiles = shape_.Tiles(), chunks = Chunks();
    const int64_t blocks = (tiles + tiles_ - 1) / tiles_, groups = (chunks + chunks_ - 1) / chunks_;
#pragma omp parallel for num_threads(threads_) schedule(dynamic) collapse(2)
    for (int64_t block = 0; block < blocks; ++block) {
      for (int64_t group = 0; group < groups; ++group) {
        const WinogradJob job = {.tile = block * tiles_,
                                 .tiles = std::min(tiles_, tiles - block * tiles_),
                                 .chunk = group * chunks_,
                                 .chunk_end = std::min((group + 1) * chunks_, chunks),
                                 .scratch = scratch + omp_get_thread_num() * ScratchCount()};
        WinogradConvolve(shape_, a, job);
      }
    }
  }

 private:
  int64_t Chunks() const { return (shape_.out + kWinogradChunk - 1) / kWinogradChunk; }
  // Whole cache lines, so that threads do not write into each other's.
  int64_t ScratchCount() const { return RoundUp(WinogradScratchCount(shape_, tiles_), 16); }

  // Sets tiles_ and chunks_ of a job. The transformed source of a job should take half the L2
  // cache, but every job reads all weights, at two operations a tile for each of them: weights too
  // many for a share of the L3 cache come from memory, which keeps up only if many tiles use them.
  void Divide() {
    const int64_t tiles = shape_.Tiles(), rows = WinogradTileRows();
    const int64_t tile_bytes = 36 * shape_.InBlocks() * shape_.block * 4;
    const int64_t least = PackedWeightBytes() > (int64_t{4} << 20) ? 96 : 24;
    const int64_t wanted = std::clamp<int64_t>(L2Bytes() / 2 / tile_bytes, least, 192);
    const int64_t blocks = (tiles + wanted - 1) / wanted;
    tiles_ = RoundUp((tiles + blocks - 1) / blocks, rows);
    // At least four jobs a thread, as far as there are chunks to divide.
    const int64_t groups = std::clamp<int64_t>((4 * threads_ + blocks - 1) / blocks, 1, Chunks());
    chunks_ = (Chunks() + groups - 1) / groups;
  }

  ConvParams p_;
  ConvDirection direction_;
  int threads_;
  WinogradShape shape_;
  int64_t tiles_ = 0, chunks_ = 0;
};

}  // namespace

bool SupportsConvWinograd4x3(const Context&, const ConvParams& p, ConvDirection,
                             ConvFormats formats) {
  return p.kernel_h == 3 && p.kernel_w == 3 && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 1 &&
         p.pad_w == 1 && p.dilation_h == 1 && p.dilation_w == 1 && p.group == 1 &&
         formats.src == formats.dst && formats.AllF32() &&
         (formats.src == Format::kNChw8c || formats.src == Format::kNChw16c);
}

std::unique_ptr<ConvPlan> MakeConvWinograd4x3(const Context& context, const ConvParams& params,
                                              ConvDirection direction, ConvFormats formats) {
  if (direction == ConvDirection::kBackwardWeights) {
    return MakeConvWinogradWeights(context, params, formats);
  }
  return std::make_unique<WinogradConv>(context, params, direction, formats);
}

}  // namespace lseg
