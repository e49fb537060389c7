// Bound by memory: forward reads 8 bytes an element, backward reads 8 and writes 4 (and reads 4
// more where it adds). The sum is taken in chunks that depend on the count only, a block each, and
// a second kernel of one block adds these in a fixed order.
#include <algorithm>

#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/loss_sum.cuh"
#include "kernels/cuda/math.cuh"
#include "kernels/cuda/ops.h"

namespace lseg::cuda {
namespace {

constexpr int kThreads = kLossThreads;
constexpr int kTerms = 16;  // of a thread, summed in float before they are added in double

struct Ignore {
  bool has_ignore;
  int value;

  // Caffe compares the target, cut to an integer, with ignore_label.
  __device__ bool IsValid(float target) const {
    return !(has_ignore && static_cast<int>(target) == value);
  }
};

// One part a block, of `rounds` times kThreads * kTerms elements.
__global__ void __launch_bounds__(kThreads)
    SumParts(int64_t count, int64_t rounds, Ignore ignore, const float* logits, const float* target,
             LossPart* parts) {
  double loss = 0;
  int64_t valid = 0;
  for (int64_t round = 0; round < rounds; ++round) {
    const int64_t begin = (int64_t{blockIdx.x} * rounds + round) * kThreads * kTerms;
    float sum = 0;
    int taken = 0;
#pragma unroll
    for (int term = 0; term < kTerms; ++term) {
      const int64_t i = begin + term * kThreads + threadIdx.x;
      if (i >= count) break;
      const float z = logits[i], t = target[i];
      if (!ignore.IsValid(t)) continue;
      sum += Softplus(z) - z * t;
      ++taken;
    }
    loss += sum;
    valid += taken;
  }
  loss = BlockSum<kThreads>(loss);
  valid = BlockSum<kThreads>(valid);
  if (threadIdx.x == 0) parts[blockIdx.x] = {loss, valid};
}

template <bool kAdd>
struct GradientOp {
  const float *logits, *target, *normalizer;
  float* d_logits;
  float loss_weight;
  const float* loss_scale;
  Ignore ignore;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    const float scale = loss_scale == nullptr ? 1.0f : *loss_scale;
    const float factor = loss_weight * scale / *normalizer;
    const auto z = Load<kWidth>(logits + at), t = Load<kWidth>(target + at);
    Vector<float, kWidth> gradient;
    if constexpr (kAdd) gradient = Load<kWidth>(d_logits + at);
    for (int i = 0; i < kWidth; ++i) {
      const float share = ignore.IsValid(t.at[i]) ? (Sigmoid(z.at[i]) - t.at[i]) * factor : 0.0f;
      gradient.at[i] = kAdd ? gradient.at[i] + share : share;
    }
    Store(d_logits + at, gradient);
  }
};

}  // namespace

void SigmoidLossForward(Context& context, const SigmoidLossParams& params, const float* logits,
                        const float* target, float* normalizer, float* loss) {
  const int64_t most_parts = kScratchBytes / static_cast<int64_t>(sizeof(LossPart));
  const int64_t rounds = CeilDiv(params.count, most_parts * kThreads * kTerms);
  const int64_t parts = CeilDiv(params.count, rounds * kThreads * kTerms);
  auto* sums = static_cast<LossPart*>(Scratch(context));
  const Ignore ignore{params.has_ignore, params.ignore};
  SumParts<<<static_cast<unsigned>(parts), kThreads, 0, StreamOf(context)>>>(
      params.count, rounds, ignore, logits, target, sums);
  CheckLaunch("sigmoid loss");
  FinishLoss<<<1, kFinishThreads, 0, StreamOf(context)>>>(
      static_cast<int>(parts), sums,
      NormalizerOf(params.normalization, params.count, 0, params.batch), normalizer, loss);
  CheckLaunch("sigmoid loss' sum");
}

void SigmoidLossBackward(Context& context, const SigmoidLossParams& params, const float* logits,
                         const float* target, const float* normalizer, float loss_weight,
                         float* d_logits, GradMode d_logits_mode, const float* loss_scale) {
  const bool aligned = IsAligned(logits, 16) && IsAligned(target, 16) && IsAligned(d_logits, 16);
  const Ignore ignore{params.has_ignore, params.ignore};
  const auto run = [&](const auto& op) {
    RunElementwise<4>(context, "sigmoid loss backward", params.count, aligned, op);
  };
  if (d_logits_mode == GradMode::kAdd) {
    run(GradientOp<true>{logits, target, normalizer, d_logits, loss_weight, loss_scale, ignore});
  } else {
    run(GradientOp<false>{logits, target, normalizer, d_logits, loss_weight, loss_scale, ignore});
  }
}

}  // namespace lseg::cuda
