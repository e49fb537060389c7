// Backward weights of the engines "winograd4x3", "winograd4x3_bf16" and "winograd2x3_bf16", see
// winograd_weights.h.
// Sums over tiles run in blocks of tiles, whose size depends on the shape alone, and in stripes of
// blocks (GradientStripes): so results do not depend on the number of threads.
#include <omp.h>

#include <algorithm>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cpu/winograd_weights.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

constexpr int64_t kRun = 48;  // tiles a thread transforms at a time: whole groups

// Element, of maps, and Value, in which products are taken.
template <class Element, class Value>
class WinogradWeightsConv : public ConvPlan {
 public:
  WinogradWeightsConv(const Context& context, const ConvParams& params, ConvFormats formats,
                      int64_t tile)
      : p_(params), threads_(context.threads()) {
    shape_ = {.block = WinogradBlock(formats.src),
              .tile = tile,
              .batch = params.src.n,
              .height = params.src.h,
              .width = params.src.w,
              .in = params.src.c,
              .out = params.out_channels};
    // Both transformed tensors of a block of tiles are to stay in a few MiB of L3 cache; below some
    // 192 tiles, the work on the taps of each block would show.
    const int64_t tile_bytes =
        shape_.Positions() * (InBlocks() + OutBlocks()) * shape_.block * int64_t{sizeof(Value)};
    const int64_t wanted = std::clamp<int64_t>((int64_t{8} << 20) / tile_bytes, 192, 768);
    blocks_ = CeilDiv(shape_.Tiles(), wanted);
    tiles_ = Grouped(CeilDiv(shape_.Tiles(), blocks_));
    blocks_ = CeilDiv(shape_.Tiles(), tiles_);
    runs_ = CeilDiv(tiles_, kRun);
    stripes_ = GradientStripes(WeightCount() * int64_t{sizeof(float)}, blocks_);
    DivideChannels(LaneThreads());
  }

  int64_t WorkspaceBytes(GradMode) const override {
    return Lanes() * LaneBytes() + stripes_ * SumsCount() * int64_t{sizeof(float)};
  }

  void Run(Context&, const ConvArgs& args) const override {
    if (args.d_weight_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, ConvDirection::kBackwardWeights, args);
    const bool add = args.d_weight_mode == GradMode::kAdd;
    auto* lanes = static_cast<char*>(args.workspace);
    auto* sums = reinterpret_cast<float*>(lanes + Lanes() * LaneBytes());
    if (stripes_ == 1) {
      SumStripe(args, 0, LaneIn(lanes), {sums, args.d_weight, add});
    } else {
#pragma omp parallel for num_threads(Lanes()) schedule(dynamic)
      for (int64_t stripe = 0; stripe < stripes_; ++stripe) {
        float* bias = sums + stripe * SumsCount();
        SumStripe(args, stripe, LaneIn(lanes + omp_get_thread_num() * LaneBytes()),
                  {bias, bias + BiasCount(), false});
      }
      StoreWeights(sums + BiasCount(), add, args.d_weight);
    }
    if (p_.bias) AddStripes(sums, stripes_, SumsCount(), p_.out_channels, add, args.d_bias);
  }

 private:
  // Where a block of tiles is transformed and multiplied.
  struct Lane {
    Value *src, *d_dst;
    float *sums, *scratch;
  };
  // Where a stripe's sums go. add: the weights' are added to what is there.
  struct Sums {
    float *bias, *weights;
    bool add;
  };

  // Whole groups of tiles.
  static int64_t Grouped(int64_t tiles) {
    constexpr int64_t kTogether = kTilesTogether<Value>;
    return RoundUp(tiles, kTogether);
  }
  int64_t Plane(int64_t blocks, int64_t tiles) const {
    return WinogradPlane(shape_, blocks, Grouped(tiles), sizeof(Value));
  }

  int64_t InBlocks() const { return shape_.InBlocks(); }
  int64_t OutBlocks() const { return shape_.OutBlocks(); }
  int64_t SrcCount() const { return shape_.Positions() * Plane(InBlocks(), tiles_); }
  int64_t DDstCount() const { return shape_.Positions() * Plane(OutBlocks(), tiles_); }
  int64_t RunSumsCount() const { return runs_ * BiasCount(); }
  int64_t ScratchCount() const {
    return RoundUp(WinogradWeightsScratchCount(shape_, job_in_blocks_, job_outs_), 16);
  }

  // Several stripes run in a lane and by a thread each, one in one lane by all threads.
  int Lanes() const { return static_cast<int>(std::min<int64_t>(threads_, stripes_)); }
  int LaneThreads() const { return stripes_ > 1 ? 1 : threads_; }
  int64_t LaneBytes() const {
    const int64_t floats = LaneThreads() * ScratchCount() + RunSumsCount();
    return RoundUp((SrcCount() + DDstCount()) * int64_t{sizeof(Value)} + floats * 4, 64);
  }
  Lane LaneIn(char* memory) const {
    Lane lane;
    lane.src = reinterpret_cast<Value*>(memory);
    lane.d_dst = lane.src + SrcCount();
    lane.scratch = reinterpret_cast<float*>(lane.d_dst + DDstCount());
    lane.sums = lane.scratch + LaneThreads() * ScratchCount();
    return lane;
  }

  // Of a stripe: the bias, and, where there are several, the weights.
  int64_t BiasCount() const { return RoundUp(OutBlocks() * shape_.block, 16); }
  int64_t WeightCount() const { return shape_.out * shape_.in * 9; }
  int64_t SumsCount() const {
    return BiasCount() + (stripes_ > 1 ? RoundUp(WeightCount(), 16) : 0);
  }

  void SumStripe(const ConvArgs& args, int64_t stripe, const Lane& lane, const Sums& sums) const {
    std::fill_n(sums.bias, BiasCount(), 0.0f);
    const int64_t first = stripe * blocks_ / stripes_, end = (stripe + 1) * blocks_ / stripes_;
    for (int64_t block = first; block < end; ++block) {
      const int64_t tile = block * tiles_, tiles = std::min(tiles_, shape_.Tiles() - tile);
      Transform(args, tile, tiles, lane, sums.bias);
      Multiply(tiles, sums.add || block > first, lane, sums.weights);
    }
  }

  // Of all stripes.
  void StoreWeights(const float* sums, bool add, float* d_weight) const {
    constexpr int64_t kChunk = 4096;
#pragma omp parallel for num_threads(threads_)
    for (int64_t first = 0; first < WeightCount(); first += kChunk) {
      AddStripes(sums + first, stripes_, SumsCount(), std::min(kChunk, WeightCount() - first), add,
                 d_weight + first);
    }
  }

  // Jobs of 32 input by 64 output channels read each operand seldom enough; fewer channels a job
  // where that would leave threads without work.
  void DivideChannels(int threads) {
    const int64_t panel = WinogradPanelSize(shape_.block);
    job_in_blocks_ = std::min(32 / shape_.block, InBlocks());
    job_outs_ = 64;
    const auto jobs = [&] {
      return CeilDiv(InBlocks(), job_in_blocks_) * CeilDiv(shape_.out, job_outs_);
    };
    while (jobs() < 4 * threads && (job_outs_ > panel || job_in_blocks_ > 1)) {
      if (job_outs_ > panel &&
          (job_outs_ >= job_in_blocks_ * shape_.block || job_in_blocks_ == 1)) {
        job_outs_ = std::max(panel, job_outs_ / 2);
      } else {
        job_in_blocks_ = CeilDiv(job_in_blocks_, 2);
      }
    }
  }

  void Transform(const ConvArgs& args, int64_t tile, int64_t tiles, const Lane& lane,
                 float* bias) const {
    const int64_t runs = CeilDiv(tiles, kRun), blocks = InBlocks() + OutBlocks();
    const auto run_of = [&](int64_t b, int64_t run, Value* out, int64_t all_blocks) {
      return WinogradRun<Value>{.block = b,
                                .tile = tile + run * kRun,
                                .tiles = std::min(kRun, tiles - run * kRun),
                                .out = out + (b * Grouped(tiles) + run * kRun) * shape_.block,
                                .plane = Plane(all_blocks, tiles)};
    };
#pragma omp parallel for num_threads(LaneThreads()) schedule(dynamic) collapse(2)
    for (int64_t b = 0; b < blocks; ++b) {
      for (int64_t run = 0; run < runs; ++run) {
        if (b < InBlocks()) {
          WinogradTransformSrc(shape_, static_cast<const Element*>(args.src),
                               run_of(b, run, lane.src, InBlocks()));
        } else {
          WinogradTransformDDst(shape_, static_cast<const Element*>(args.d_dst),
                                run_of(b - InBlocks(), run, lane.d_dst, OutBlocks()),
                                lane.sums + (run * OutBlocks() + b - InBlocks()) * shape_.block);
        }
      }
    }
    const int64_t channels = OutBlocks() * shape_.block;
    for (int64_t run = 0; run < runs; ++run) {
      for (int64_t o = 0; o < channels; ++o) bias[o] += lane.sums[run * channels + o];
    }
  }

  void Multiply(int64_t tiles, bool add, const Lane& lane, float* d_weight) const {
    const int64_t in_jobs = CeilDiv(InBlocks(), job_in_blocks_);
    const int64_t out_jobs = CeilDiv(shape_.out, job_outs_);
#pragma omp parallel for num_threads(LaneThreads()) schedule(dynamic) collapse(2)
    for (int64_t o = 0; o < out_jobs; ++o) {
      for (int64_t i = 0; i < in_jobs; ++i) {
        const WinogradWeightsJob<Value> job = {
            .tiles = tiles,
            .src = lane.src,
            .d_dst = lane.d_dst,
            .in_block = i * job_in_blocks_,
            .in_end = std::min((i + 1) * job_in_blocks_, InBlocks()),
            .out = o * job_outs_,
            .out_end = std::min((o + 1) * job_outs_, shape_.out),
            .add = add,
            .scratch = lane.scratch + omp_get_thread_num() * ScratchCount()};
        WinogradWeights(shape_, job, d_weight);
      }
    }
  }

  ConvParams p_;
  int threads_;
  WinogradShape shape_;
  int64_t stripes_ = 1, blocks_ = 0;          // of the image
  int64_t tiles_ = 0, runs_ = 0;              // of a block of tiles
  int64_t job_in_blocks_ = 0, job_outs_ = 0;  // channels of a job
};

}  // namespace

std::unique_ptr<ConvPlan> MakeConvWinogradWeights(const Context& context, const ConvParams& params,
                                                  ConvFormats formats, DType products) {
  if (products == DType::kBF16) {
    return std::make_unique<WinogradWeightsConv<BFloat16, BFloat16>>(context, params, formats, 2);
  }
  if (formats.src_dtype == DType::kBF16) {
    return std::make_unique<WinogradWeightsConv<BFloat16, float>>(context, params, formats, 4);
  }
  return std::make_unique<WinogradWeightsConv<float, float>>(context, params, formats, 4);
}

}  // namespace lseg
