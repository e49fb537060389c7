// Sums over a fixed number of stripes, in double: the same for any number of threads.
#include "kernels/sigmoid_loss.h"

#include "kernels/cpu/loops.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/runtime/dispatch.h"

namespace lseg {
namespace {

constexpr int64_t kChunk = 256;  // terms that are summed in float before they are added in double

struct Sum {
  double loss = 0;
  int64_t valid = 0;
};

// Caffe compares the target, cut to an integer, with ignore_label.
LSEG_INLINE bool IsValid(float target, bool has_ignore, int ignore) {
  return !(has_ignore & (static_cast<int32_t>(target) == ignore));
}

LSEG_MULTIVERSION Sum SumStripe(int64_t count, bool has_ignore, int ignore, const float* logits,
                                const float* target) {
  Sum sum;
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t end = std::min(begin + kChunk, count);
    float loss = 0;
    int32_t valid = 0;
#pragma omp simd reduction(+ : loss, valid)
    for (int64_t i = begin; i < end; ++i) {
      const bool is_valid = IsValid(target[i], has_ignore, ignore);
      const float term = Softplus(logits[i]) - logits[i] * target[i];
      loss += is_valid ? term : 0.0f;
      valid += is_valid;
    }
    sum.loss += loss;
    sum.valid += valid;
  }
  return sum;
}

struct Gradient {
  bool has_ignore;
  int ignore;
  float factor;
};

LSEG_INLINE float GradientOf(float logit, float target, const Gradient& g) {
  const float gradient = (Sigmoid(logit) - target) * g.factor;
  return IsValid(target, g.has_ignore, g.ignore) ? gradient : 0.0f;
}

LSEG_MULTIVERSION void GradientChunk(int64_t count, const Gradient& gradient, const float* logits,
                                     const float* target, float* d_logits, bool add) {
  const Gradient g = gradient;
  if (add) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) d_logits[i] += GradientOf(logits[i], target[i], g);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) d_logits[i] = GradientOf(logits[i], target[i], g);
  }
}

}  // namespace

double NormalizerOf(SigmoidLossParams::Normalization normalization, int64_t elements, int64_t valid,
                    int64_t batch) {
  using Normalization = SigmoidLossParams::Normalization;
  switch (normalization) {
    case Normalization::kFull:
      return static_cast<double>(elements);
    case Normalization::kValid:
      return static_cast<double>(valid);
    case Normalization::kBatchSize:
      return static_cast<double>(batch);
    case Normalization::kNone:
      return 1;
  }
  LSEG_FAIL("loss: unknown normalization " << static_cast<int>(normalization));
}

void SigmoidLossParams::Validate() const {
  LSEG_CHECK(count > 0, "sigmoid loss: " << count << " elements; there must be some");
  LSEG_CHECK(batch > 0 && count % batch == 0, "sigmoid loss: a batch of "
                                                  << batch << " images does not divide the "
                                                  << count << " elements");
}

void SigmoidLossForward(Context& context, const SigmoidLossParams& params, const float* logits,
                        const float* target, float* normalizer, float* loss) {
  params.Validate();
  LSEG_ON_CUDA(context, SigmoidLossForward(context, params, logits, target, normalizer, loss));
  Sum sums[kStripes];
#pragma omp parallel for schedule(static) num_threads(context.threads())
  for (int s = 0; s < kStripes; ++s) {
    const Stripe stripe = StripeOf(params.count, s);
    sums[s] = SumStripe(stripe.count, params.has_ignore, params.ignore, logits + stripe.begin,
                        target + stripe.begin);
  }
  Sum all;
  for (const Sum& sum : sums) {
    all.loss += sum.loss;
    all.valid += sum.valid;
  }
  const double divisor =
      std::max(1.0, NormalizerOf(params.normalization, params.count, all.valid, params.batch));
  *normalizer = static_cast<float>(divisor);
  *loss = static_cast<float>(all.loss / divisor);
}

void SigmoidLossBackward(Context& context, const SigmoidLossParams& params, const float* logits,
                         const float* target, const float* normalizer, float loss_weight,
                         float* d_logits, GradMode d_logits_mode, const float* loss_scale) {
  params.Validate();
  if (d_logits_mode == GradMode::kSkip) return;
  LSEG_ON_CUDA(context, SigmoidLossBackward(context, params, logits, target, normalizer,
                                            loss_weight, d_logits, d_logits_mode, loss_scale));
  const float factor = loss_scale == nullptr ? loss_weight : loss_weight * *loss_scale;
  const Gradient gradient{params.has_ignore, params.ignore, factor / *normalizer};
  ForChunks(context, params.count, [=](int64_t begin, int64_t size) {
    GradientChunk(size, gradient, logits + begin, target + begin, d_logits + begin,
                  d_logits_mode == GradMode::kAdd);
  });
}

}  // namespace lseg
