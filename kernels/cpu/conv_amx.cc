// The "implicit_gemm_amx" engine (backward weights elsewhere): forward and backward data of 3x3
// convolutions in bf16 on AMX's tiles, see conv_amx.h. The gradient with respect to the source is
// the same convolution of the destination's gradient with the weights transposed and reversed.
//
// Threads share nothing that they write, and no value depends on the division into jobs.
#include "kernels/cpu/conv_amx.h"

#include <omp.h>

#include "kernels/cpu/conv_engines.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

constexpr int64_t kRowGrid = 2;  // a block's rows

// What a job's blocks take of the L2 cache, of which these processors have 2 MiB a core; a panel's
// weights for 512 channels are 0.3 MB.
constexpr int64_t kJobBytes = int64_t{1} << 20;

class AmxConv : public ConvPlan {
 public:
  AmxConv(const Context& context, const ConvParams& params, ConvDirection direction)
      : p_(params), direction_(direction), threads_(context.threads()) {
    const bool forward = direction == ConvDirection::kForward;
    shape_ = {.batch = params.src.n,
              .height = params.src.h,
              .width = params.src.w,
              .in = forward ? params.src.c : params.out_channels,
              .out = forward ? params.out_channels : params.src.c,
              .pooled = params.pooled};
    most_blocks_ = std::max<int64_t>(1, kJobBytes / AmxSrcBytes(shape_));
  }

  int64_t PackedWeightBytes() const override {
    return AmxPackedCount(shape_) * int64_t{sizeof(BFloat16)};
  }

  void PackWeights(Context&, const float* weight, void* packed) const override {
#pragma omp parallel for num_threads(threads_)
    for (int64_t panel = 0; panel < shape_.Panels(); ++panel) {
      AmxPackWeights(shape_, weight, direction_ == ConvDirection::kBackwardData, panel,
                     static_cast<BFloat16*>(packed));
    }
  }

  int64_t WorkspaceBytes(GradMode) const override { return threads_ * ScratchBytes(); }
  int64_t ScorePartials() const override { return p_.score_channels > 0 ? shape_.Chunks() : 0; }

  void Run(Context&, const ConvArgs& args) const override {
    if (direction_ == ConvDirection::kBackwardData && args.d_src_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, direction_, args);
    RunRows(Conv3x3ArgsOf<BFloat16>(p_, direction_, args), ConvRowsOnGrid(p_, kRowGrid, args),
            static_cast<char*>(args.workspace));
  }

 private:
  int64_t ScratchBytes() const { return RoundUp(AmxScratchBytes(shape_, most_blocks_), 64); }

  // In jobs of equal numbers of blocks, as many for each thread. Outputs are divided only where
  // there would be few of those: every job copies its source anew, and all read all weights of
  // theirs.
  void RunRows(const Conv3x3Args<BFloat16>& args, RowRange rows, char* workspace) const {
    const int64_t begin = rows.begin / kRowGrid * shape_.BlocksX();
    const int64_t end = CeilDiv(rows.end, kRowGrid) * shape_.BlocksX();
    const int64_t chunks = shape_.Chunks(), images = shape_.batch;
    const int64_t wanted = RoundUp(CeilDiv(end - begin, most_blocks_), threads_);
    const int64_t size = CeilDiv(end - begin, std::min(wanted, end - begin));
    const int64_t parts = CeilDiv(end - begin, size);
    const int64_t most = std::clamp<int64_t>(CeilDiv(4 * threads_, parts * images), 1, chunks);
    const int64_t depth = CeilDiv(chunks, most), groups = CeilDiv(chunks, depth);
#pragma omp parallel for num_threads(threads_) schedule(dynamic) collapse(3)
    for (int64_t n = 0; n < images; ++n) {
      for (int64_t part = 0; part < parts; ++part) {
        for (int64_t group = 0; group < groups; ++group) {
          const int64_t block = begin + part * size;
          AmxConvolve(shape_, args,
                      {.n = n,
                       .block = block,
                       .blocks = std::min(size, end - block),
                       .chunk = group * depth,
                       .chunk_end = std::min((group + 1) * depth, chunks),
                       .scratch = workspace + omp_get_thread_num() * ScratchBytes()});
        }
      }
    }
  }

  ConvParams p_;
  ConvDirection direction_;
  int threads_;
  AmxShape shape_;
  int64_t most_blocks_ = 0;  // of a job
};

}  // namespace

int64_t ConvAmxRowGrid(const ConvParams&) { return kRowGrid; }

bool SupportsConvAmx(const Context&, const ConvParams& p, ConvDirection, ConvFormats formats) {
  return IsConv3x3(p) && formats.src == Format::kNHWC && formats.dst == Format::kNHWC &&
         formats.src_dtype == DType::kBF16 && formats.dst_dtype == DType::kBF16 &&
         p.src.c % kAmxPanel == 0 && p.out_channels % kAmxPanel == 0 && HasAmxBf16();
}

std::unique_ptr<ConvPlan> MakeConvAmx(const Context& context, const ConvParams& params,
                                      ConvDirection direction, ConvFormats) {
  if (direction == ConvDirection::kBackwardWeights) return MakeConvAmxWeights(context, params);
  return std::make_unique<AmxConv>(context, params, direction);
}

}  // namespace lseg
