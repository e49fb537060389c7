// Backward weights of the "implicit_gemm_amx" engine, see conv_amx_weights.h. Sums over pixels run
// in bands, whose height depends on the shape alone, and one after another: results do not depend
// on the number of threads.
#include "kernels/cpu/conv_amx_weights.h"

#include "kernels/cpu/conv_engines.h"

namespace lseg {
namespace {

int64_t DivideUp(int64_t value, int64_t by) { return (value + by - 1) / by; }

class AmxWeightsConv : public ConvPlan {
 public:
  AmxWeightsConv(const Context& context, const ConvParams& params)
      : p_(params), threads_(context.threads()) {
    shape_ = {.batch = params.src.n,
              .height = params.src.h,
              .width = params.src.w,
              .in = params.src.c,
              .out = params.out_channels};
    // A job's 64 channels of a band are to stay in an L2 cache of 2 MiB, and all channels in a
    // share of the L3 cache. Sums are read and written once a band, which few pixels would show.
    const int64_t pixel_bytes = (shape_.in + shape_.out) * int64_t{sizeof(BFloat16)};
    const int64_t pixels = std::clamp<int64_t>((int64_t{4} << 20) / pixel_bytes, 2048, 8192);
    const int64_t most = std::clamp<int64_t>(pixels / shape_.width, 1, shape_.height);
    rows_ = DivideUp(shape_.height, DivideUp(shape_.height, most));
  }

  int64_t WorkspaceBytes(GradMode) const override {
    return SrcBytes() + DDstBytes() + SumsBytes() + shape_.out * int64_t{sizeof(float)};
  }

  void Run(Context&, const ConvArgs& args) const override {
    if (args.d_weight_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, ConvDirection::kBackwardWeights, args);
    const bool add = args.d_weight_mode == GradMode::kAdd;
    const Memory memory = Divide(args.workspace);
    for (int64_t n = 0; n < shape_.batch; ++n) {
      for (int64_t y = 0; y < shape_.height; y += rows_) {
        const AmxBand band = {n, y, std::min(rows_, shape_.height - y)};
        const bool last = n + 1 == shape_.batch && y + rows_ >= shape_.height;
        LayOut(args, band, memory);
        Multiply(band, n == 0 && y == 0, memory, last ? args.d_weight : nullptr, add);
      }
    }
    for (int64_t o = 0; p_.bias && o < p_.out_channels; ++o) {
      args.d_bias[o] = add ? args.d_bias[o] + memory.bias[o] : memory.bias[o];
    }
  }

 private:
  struct Memory {
    BFloat16 *src, *d_dst;
    float *sums, *bias;
  };

  int64_t InPanels() const { return shape_.in / kAmxPanel; }
  int64_t OutPanels() const { return shape_.out / kAmxPanel; }
  // Whole cache lines, as are panels.
  int64_t SrcBytes() const { return AmxSrcCount(shape_, rows_) * int64_t{sizeof(BFloat16)}; }
  int64_t DDstBytes() const { return AmxDstCount(shape_, rows_) * int64_t{sizeof(BFloat16)}; }
  int64_t SumsBytes() const {
    return InPanels() * OutPanels() * 3 * kAmxSums * int64_t{sizeof(float)};
  }

  Memory Divide(void* workspace) const {
    auto* at = static_cast<char*>(workspace);
    Memory memory;
    memory.src = reinterpret_cast<BFloat16*>(at);
    memory.d_dst = reinterpret_cast<BFloat16*>(at += SrcBytes());
    memory.sums = reinterpret_cast<float*>(at += DDstBytes());
    memory.bias = reinterpret_cast<float*>(at += SumsBytes());
    return memory;
  }

  void LayOut(const ConvArgs& args, const AmxBand& band, const Memory& memory) const {
    const auto* src = static_cast<const BFloat16*>(args.src);
    const auto* d_dst = static_cast<const BFloat16*>(args.d_dst);
    const int64_t src_steps = AmxSrcSteps(shape_, band.rows);
    const int64_t steps = src_steps + AmxDstSteps(shape_, band.rows);
#pragma omp parallel for num_threads(threads_) schedule(dynamic, 4)
    for (int64_t step = 0; step < steps; ++step) {
      if (step < src_steps) {
        AmxLayOutSrc(shape_, band, src, step, memory.src);
      } else {
        AmxLayOutDDst(shape_, band, d_dst, step - src_steps, memory.d_dst);
      }
    }
  }

  // d_weight: null where bands follow.
  void Multiply(const AmxBand& band, bool first, const Memory& memory, float* d_weight,
                bool add) const {
#pragma omp parallel for num_threads(threads_) schedule(dynamic) collapse(3)
    for (int64_t in = 0; in < InPanels(); ++in) {
      for (int64_t out = 0; out < OutPanels(); ++out) {
        for (int64_t tap_row = 0; tap_row < 3; ++tap_row) {
          float* sums = memory.sums + ((in * OutPanels() + out) * 3 + tap_row) * kAmxSums;
          const AmxWeightsJob job = {.rows = band.rows,
                                     .src = memory.src,
                                     .d_dst = memory.d_dst,
                                     .in = in,
                                     .out = out,
                                     .tap_row = tap_row,
                                     .first = first,
                                     .sums = sums};
          AmxMultiplyTaps(shape_, job);
          if (d_weight != nullptr) AmxStoreTaps(shape_, job, add, d_weight);
          if (p_.bias && in == 0 && tap_row == 0) {
            AmxSumDDst(shape_, band.rows, memory.d_dst, out, first, memory.bias);
          }
        }
      }
    }
  }

  ConvParams p_;
  int threads_;
  AmxShape shape_;
  int64_t rows_ = 0;  // of a band
};

}  // namespace

std::unique_ptr<ConvPlan> MakeConvAmxWeights(const Context& context, const ConvParams& params) {
  return std::make_unique<AmxWeightsConv>(context, params);
}

}  // namespace lseg
