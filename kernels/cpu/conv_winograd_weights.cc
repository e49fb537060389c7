// Backward weights of the "winograd4x3" and "winograd2x3_bf16" engines, see winograd_weights.h.
// Sums over tiles run in blocks of tiles, whose size depends on the shape alone, and one after
// another: results do not depend on the number of threads.
#include <omp.h>

#include <algorithm>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cpu/winograd_weights.h"

namespace lseg {
namespace {

constexpr int64_t kRun = 48;  // tiles a thread transforms at a time: whole groups

int64_t DivideUp(int64_t value, int64_t by) { return (value + by - 1) / by; }

template <class Element>
class WinogradWeightsConv : public ConvPlan {
 public:
  WinogradWeightsConv(const Context& context, const ConvParams& params, ConvFormats formats,
                      int64_t tile)
      : p_(params), threads_(context.threads()) {
    shape_ = {.dtype = formats.src_dtype,
              .block = WinogradBlock(formats.src),
              .tile = tile,
              .batch = params.src.n,
              .height = params.src.h,
              .width = params.src.w,
              .in = params.src.c,
              .out = params.out_channels};
    // Both transformed tensors of a block of tiles are to stay in a few MiB of L3 cache; below some
    // 192 tiles, the work on the taps of each block would show.
    const int64_t tile_bytes =
        shape_.Positions() * (InBlocks() + OutBlocks()) * shape_.block * int64_t{sizeof(Element)};
    const int64_t wanted = std::clamp<int64_t>((int64_t{8} << 20) / tile_bytes, 192, 768);
    const int64_t blocks = DivideUp(shape_.Tiles(), wanted);
    tiles_ = Grouped(DivideUp(shape_.Tiles(), blocks));
    runs_ = DivideUp(tiles_, kRun);
    DivideChannels();
  }

  int64_t WorkspaceBytes(GradMode) const override {
    return (SrcCount() + DDstCount()) * int64_t{sizeof(Element)} +
           (threads_ * ScratchCount() + SumsCount() + OutBlocks() * shape_.block) * 4;
  }

  void Run(Context&, const ConvArgs& args) const override {
    if (args.d_weight_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, ConvDirection::kBackwardWeights, args);
    const bool add = args.d_weight_mode == GradMode::kAdd;
    Memory memory = Divide(args.workspace);
    std::fill_n(memory.bias, OutBlocks() * shape_.block, 0.0f);
    for (int64_t tile = 0; tile < shape_.Tiles(); tile += tiles_) {
      const int64_t tiles = std::min(tiles_, shape_.Tiles() - tile);
      Transform(args, tile, tiles, memory);
      Multiply(tiles, add || tile > 0, memory, args.d_weight);
    }
    for (int64_t o = 0; p_.bias && o < p_.out_channels; ++o) {
      args.d_bias[o] = add ? args.d_bias[o] + memory.bias[o] : memory.bias[o];
    }
  }

 private:
  struct Memory {
    Element *src, *d_dst;
    float *sums, *bias, *scratch;
  };

  // Whole groups of tiles.
  static int64_t Grouped(int64_t tiles) {
    constexpr int64_t kTogether = kTilesTogether<Element>;
    return DivideUp(tiles, kTogether) * kTogether;
  }
  int64_t Plane(int64_t blocks, int64_t tiles) const {
    return WinogradPlane(shape_, blocks, Grouped(tiles), sizeof(Element));
  }

  int64_t InBlocks() const { return shape_.InBlocks(); }
  int64_t OutBlocks() const { return shape_.OutBlocks(); }
  int64_t SrcCount() const { return shape_.Positions() * Plane(InBlocks(), tiles_); }
  int64_t DDstCount() const { return shape_.Positions() * Plane(OutBlocks(), tiles_); }
  int64_t SumsCount() const { return runs_ * OutBlocks() * shape_.block; }
  int64_t ScratchCount() const {
    return DivideUp(WinogradWeightsScratchCount(shape_, job_in_blocks_, job_outs_), 16) * 16;
  }

  Memory Divide(void* workspace) const {
    Memory memory;
    memory.src = static_cast<Element*>(workspace);
    memory.d_dst = memory.src + SrcCount();
    memory.scratch = reinterpret_cast<float*>(memory.d_dst + DDstCount());
    memory.sums = memory.scratch + threads_ * ScratchCount();
    memory.bias = memory.sums + SumsCount();
    return memory;
  }

  // Jobs of 32 input by 64 output channels read each operand seldom enough; fewer channels a job
  // where that would leave threads without work.
  void DivideChannels() {
    const int64_t panel = WinogradPanelSize(shape_.block);
    job_in_blocks_ = std::min(32 / shape_.block, InBlocks());
    job_outs_ = 64;
    const auto jobs = [&] {
      return DivideUp(InBlocks(), job_in_blocks_) * DivideUp(shape_.out, job_outs_);
    };
    while (jobs() < 4 * threads_ && (job_outs_ > panel || job_in_blocks_ > 1)) {
      if (job_outs_ > panel &&
          (job_outs_ >= job_in_blocks_ * shape_.block || job_in_blocks_ == 1)) {
        job_outs_ = std::max(panel, job_outs_ / 2);
      } else {
        job_in_blocks_ = DivideUp(job_in_blocks_, 2);
      }
    }
  }

  void Transform(const ConvArgs& args, int64_t tile, int64_t tiles, const Memory& memory) const {
    const int64_t runs = DivideUp(tiles, kRun), blocks = InBlocks() + OutBlocks();
    const auto run_of = [&](int64_t b, int64_t run, Element* out, int64_t all_blocks) {
      return WinogradRun<Element>{.block = b,
                                  .tile = tile + run * kRun,
                                  .tiles = std::min(kRun, tiles - run * kRun),
                                  .out = out + (b * Grouped(tiles) + run * kRun) * shape_.block,
                                  .plane = Plane(all_blocks, tiles)};
    };
#pragma omp parallel for num_threads(threads_) schedule(dynamic) collapse(2)
    for (int64_t b = 0; b < blocks; ++b) {
      for (int64_t run = 0; run < runs; ++run) {
        if (b < InBlocks()) {
          WinogradTransformSrc(shape_, static_cast<const Element*>(args.src),
                               run_of(b, run, memory.src, InBlocks()));
        } else {
          WinogradTransformDDst(shape_, static_cast<const Element*>(args.d_dst),
                                run_of(b - InBlocks(), run, memory.d_dst, OutBlocks()),
                                memory.sums + (run * OutBlocks() + b - InBlocks()) * shape_.block);
        }
      }
    }
    const int64_t channels = OutBlocks() * shape_.block;
    for (int64_t run = 0; run < runs; ++run) {
      for (int64_t o = 0; o < channels; ++o) memory.bias[o] += memory.sums[run * channels + o];
    }
  }

  void Multiply(int64_t tiles, bool add, const Memory& memory, float* d_weight) const {
    const int64_t in_jobs = DivideUp(InBlocks(), job_in_blocks_);
    const int64_t out_jobs = DivideUp(shape_.out, job_outs_);
#pragma omp parallel for num_threads(threads_) schedule(dynamic) collapse(2)
    for (int64_t o = 0; o < out_jobs; ++o) {
      for (int64_t i = 0; i < in_jobs; ++i) {
        const WinogradWeightsJob<Element> job = {
            .tiles = tiles,
            .src = memory.src,
            .d_dst = memory.d_dst,
            .in_block = i * job_in_blocks_,
            .in_end = std::min((i + 1) * job_in_blocks_, InBlocks()),
            .out = o * job_outs_,
            .out_end = std::min((o + 1) * job_outs_, shape_.out),
            .add = add,
            .scratch = memory.scratch + omp_get_thread_num() * ScratchCount()};
        WinogradWeights(shape_, job, d_weight);
      }
    }
  }

  ConvParams p_;
  int threads_;
  WinogradShape shape_;
  int64_t tiles_ = 0, runs_ = 0;              // of a block of tiles
  int64_t job_in_blocks_ = 0, job_outs_ = 0;  // channels of a job
};

}  // namespace

std::unique_ptr<ConvPlan> MakeConvWinogradWeights(const Context& context, const ConvParams& params,
                                                  ConvFormats formats) {
  if (formats.src_dtype == DType::kBF16) {
    return std::make_unique<WinogradWeightsConv<BFloat16>>(context, params, formats, 2);
  }
  return std::make_unique<WinogradWeightsConv<float>>(context, params, formats, 4);
}

}  // namespace lseg
