// Backward weights of the "implicit_gemm_amx" engine, see conv_amx_weights.h. Sums over pixels run
// in bands, whose height depends on the shape alone, and in stripes of them (GradientStripes): so
// results do not depend on the number of threads.
#include "kernels/cpu/conv_amx_weights.h"

#include <omp.h>

#include <algorithm>

#include "kernels/cpu/conv_engines.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

class AmxWeightsConv : public ConvPlan {
 public:
  AmxWeightsConv(const Context& context, const ConvParams& params)
      : p_(params), threads_(context.threads()) {
    shape_ = {.batch = params.src.n,
              .height = params.src.h,
              .width = params.src.w,
              .in = params.src.c,
              .out = params.out_channels};
    // A stripe's band is to stay in an L2 cache of 2 MiB; of one that is shared, a job's 64
    // channels are, and all channels in a share of the L3 cache. Sums are read and written once a
    // band, which few pixels would show.
    const int64_t pixel_bytes = (2 * shape_.in + shape_.out) * int64_t{sizeof(BFloat16)};
    DivideRows((int64_t{1} << 20) / pixel_bytes);
    stripes_ = GradientStripes(WeightSums() * int64_t{sizeof(float)}, shape_.batch * bands_);
    if (stripes_ == 1) {
      DivideRows(std::clamp<int64_t>((int64_t{6} << 20) / pixel_bytes, 2048, 8192));
    }
  }

  int64_t WorkspaceBytes(GradMode) const override {
    return Lanes() * LaidOutBytes() + stripes_ * SumsBytes();
  }

  void Run(Context&, const ConvArgs& args) const override {
    if (args.d_weight_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, ConvDirection::kBackwardWeights, args);
    auto* memory = static_cast<char*>(args.workspace);
    auto* sums = reinterpret_cast<float*>(memory + Lanes() * LaidOutBytes());
    if (stripes_ == 1) {
      SumStripe(args, 0, memory, sums, threads_);
    } else {
#pragma omp parallel for num_threads(Lanes()) schedule(dynamic)
      for (int64_t stripe = 0; stripe < stripes_; ++stripe) {
        SumStripe(args, stripe, memory + omp_get_thread_num() * LaidOutBytes(),
                  sums + stripe * SumsCount(), 1);
      }
    }
    Store(args, sums);
  }

 private:
  // Bands of equal height and of about so many pixels, or a row.
  void DivideRows(int64_t pixels) {
    const int64_t most = std::clamp<int64_t>(pixels / shape_.width, 1, shape_.height);
    rows_ = CeilDiv(shape_.height, CeilDiv(shape_.height, most));
    bands_ = CeilDiv(shape_.height, rows_);
  }

  int64_t InPanels() const { return shape_.in / kAmxPanel; }
  int64_t OutPanels() const { return shape_.out / kAmxPanel; }
  int64_t Panels() const { return InPanels() * OutPanels(); }
  // Bands that are laid out at a time.
  int Lanes() const { return static_cast<int>(std::min<int64_t>(threads_, stripes_)); }
  // Whole cache lines, as are panels.
  int64_t SrcCount() const { return AmxSrcCount(shape_, rows_); }
  int64_t LaidOutBytes() const {
    return (SrcCount() + AmxDstCount(shape_, rows_)) * int64_t{sizeof(BFloat16)};
  }
  // Of the weights, (in, out, row of taps), and behind them of the bias.
  int64_t WeightSums() const { return Panels() * 3 * kAmxSums; }
  int64_t SumsCount() const { return WeightSums() + shape_.out; }
  int64_t SumsBytes() const { return SumsCount() * int64_t{sizeof(float)}; }

  // Sums over a stripe's bands, by so many threads.
  void SumStripe(const ConvArgs& args, int64_t stripe, char* laid_out, float* sums,
                 int threads) const {
    auto* src = reinterpret_cast<BFloat16*>(laid_out);
    BFloat16* d_dst = src + SrcCount();
    const int64_t bands = shape_.batch * bands_;
    const int64_t first = stripe * bands / stripes_, end = (stripe + 1) * bands / stripes_;
    for (int64_t i = first; i < end; ++i) {
      const int64_t y = i % bands_ * rows_;
      const AmxBand band = {i / bands_, y, std::min(rows_, shape_.height - y)};
      LayOut(args, band, src, d_dst, threads);
      Multiply({.rows = band.rows, .src = src, .d_dst = d_dst, .first = i == first}, sums, threads);
    }
  }

  void LayOut(const ConvArgs& args, const AmxBand& band, BFloat16* src, BFloat16* d_dst,
              int threads) const {
    const int64_t src_steps = AmxSrcSteps(shape_, band.rows);
    const int64_t steps = src_steps + AmxDstSteps(shape_, band.rows);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4)
    for (int64_t step = 0; step < steps; ++step) {
      if (step < src_steps) {
        AmxLayOutSrc(shape_, band, static_cast<const BFloat16*>(args.src), step, src);
      } else {
        AmxLayOutDDst(shape_, band, static_cast<const BFloat16*>(args.d_dst), step - src_steps,
                      d_dst);
      }
    }
  }

  // `band`: a job without channels and taps.
  void Multiply(const AmxWeightsJob& band, float* sums, int threads) const {
#pragma omp parallel for num_threads(threads) schedule(dynamic) collapse(3)
    for (int64_t in = 0; in < InPanels(); ++in) {
      for (int64_t out = 0; out < OutPanels(); ++out) {
        for (int64_t tap_row = 0; tap_row < 3; ++tap_row) {
          AmxWeightsJob job = band;
          job.in = in;
          job.out = out;
          job.tap_row = tap_row;
          job.sums = SumsOf(sums, in, out) + tap_row * kAmxSums;
          AmxMultiplyTaps(shape_, job);
          if (p_.bias && in == 0 && tap_row == 0) {
            AmxSumDDst(shape_, band.rows, band.d_dst, out, band.first, sums + WeightSums());
          }
        }
      }
    }
  }

  // Rows of taps lie in the same cache lines: one thread writes all three.
  void Store(const ConvArgs& args, float* sums) const {
    const bool add = args.d_weight_mode == GradMode::kAdd;
#pragma omp parallel for num_threads(threads_) collapse(2)
    for (int64_t out = 0; out < OutPanels(); ++out) {
      for (int64_t in = 0; in < InPanels(); ++in) {
        float* to = SumsOf(sums, in, out);
        AddStripes(to, stripes_, SumsCount(), 3 * kAmxSums, /*add=*/false, to);
        AmxStoreTaps(shape_, in, out, to, add, args.d_weight);
      }
    }
    if (!p_.bias) return;
    AddStripes(sums + WeightSums(), stripes_, SumsCount(), shape_.out, add, args.d_bias);
  }

  float* SumsOf(float* sums, int64_t in, int64_t out) const {
    return sums + (in * OutPanels() + out) * 3 * kAmxSums;
  }

  ConvParams p_;
  int threads_;
  AmxShape shape_;
  int64_t stripes_ = 1;
  int64_t bands_ = 0, rows_ = 0;  // of an image, of a band
};

}  // namespace

std::unique_ptr<ConvPlan> MakeConvAmxWeights(const Context& context, const ConvParams& params) {
  return std::make_unique<AmxWeightsConv>(context, params);
}

}  // namespace lseg
