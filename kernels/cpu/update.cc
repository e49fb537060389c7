// One parallel loop over the stripes of all parameters: a net has many small ones, each too short
// to be shared out by itself.
#include "kernels/update.h"

#include <cmath>

#include "kernels/cpu/loops.h"
#include "kernels/runtime/dispatch.h"

namespace lseg {
namespace {

LSEG_MULTIVERSION double SumOfSquares(int64_t count, const float* grad) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(grad[i]) * grad[i];
  return sum;
}

// What a step does to every element of one tensor.
struct Factors {
  float clip, divide;  // the gradient times both: clipping, and 1 / (iter_size * loss scale)
  float decay;
  float rate;  // learning rate * lr_mult, Adam's correction included
  float momentum, momentum2, delta;
};

// Steps 0 to 3 of the header.
template <bool kL1>
LSEG_INLINE float GradientOf(const Factors& f, float grad, float value) {
  const float sign = value > 0 ? 1.0f : value < 0 ? -1.0f : 0.0f;
  return grad * f.clip * f.divide + f.decay * (kL1 ? sign : value);
}

template <bool kL1>
LSEG_INLINE void Sgd(int64_t count, const Factors& f, const float* __restrict grad,
                     float* __restrict value, float* __restrict velocity) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    velocity[i] = f.momentum * velocity[i] + f.rate * GradientOf<kL1>(f, grad[i], value[i]);
    value[i] -= velocity[i];
  }
}

template <bool kL1>
LSEG_INLINE void Adam(int64_t count, const Factors& f, const float* __restrict grad,
                      float* __restrict value, float* __restrict m, float* __restrict v) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const float g = GradientOf<kL1>(f, grad[i], value[i]);
    m[i] = f.momentum * m[i] + (1.0f - f.momentum) * g;
    v[i] = f.momentum2 * v[i] + (1.0f - f.momentum2) * (g * g);
    value[i] -= f.rate * (m[i] / (std::sqrt(v[i]) + f.delta));
  }
}

LSEG_MULTIVERSION void SgdRange(int64_t count, const Factors& factors, bool l1, const float* grad,
                                float* value, float* velocity) {
  const Factors f = factors;
  l1 ? Sgd<true>(count, f, grad, value, velocity) : Sgd<false>(count, f, grad, value, velocity);
}

LSEG_MULTIVERSION void AdamRange(int64_t count, const Factors& factors, bool l1, const float* grad,
                                 float* value, float* m, float* v) {
  const Factors f = factors;
  l1 ? Adam<true>(count, f, grad, value, m, v) : Adam<false>(count, f, grad, value, m, v);
}

// sqrt(1 - beta2^t) / (1 - beta1^t)
double AdamCorrection(const UpdateParams& params, int32_t iteration) {
  const double t = iteration + 1.0;
  return std::sqrt(1.0 - std::pow(static_cast<double>(params.momentum2), t)) /
         (1.0 - std::pow(static_cast<double>(params.momentum), t));
}

void CheckTensor(const UpdateTensor& tensor, bool adam) {
  LSEG_CHECK(tensor.count >= 0 && tensor.value != nullptr && tensor.state1 != nullptr &&
                 (!adam || tensor.state2 != nullptr),
             "update: a parameter of " << tensor.count << " elements lacks its value or the "
                                       << "solver's state (SGD has one, Adam two)");
}

}  // namespace

void UpdateParams::Validate() const {
  LSEG_CHECK(momentum >= 0 && momentum < 1,
             "solver: momentum " << momentum << " must be in [0, 1)");
  LSEG_CHECK(method != Method::kAdam || (momentum2 >= 0 && momentum2 < 1),
             "solver: momentum2 " << momentum2 << " must be in [0, 1)");
  LSEG_CHECK(method != Method::kAdam || delta > 0,
             "solver: delta " << delta << " must be positive: Adam divides by it where a gradient "
                              << "has always been 0");
  LSEG_CHECK(iter_size >= 1, "solver: iter_size " << iter_size << " must be 1 or more");
}

void GradientNorm(Context& context, const std::vector<UpdateTensor>& tensors, float* norm,
                  const float* loss_scale, const std::vector<const float*>& losses) {
  LSEG_CHECK(losses.size() <= static_cast<size_t>(kMostLosses),
             "a step of " << losses.size() << " losses: at most " << kMostLosses);
  LSEG_ON_CUDA(context, GradientNorm(context, tensors, norm, loss_scale, losses));
  double sums[kStripes];
#pragma omp parallel for schedule(static) num_threads(context.threads())
  for (int s = 0; s < kStripes; ++s) {
    sums[s] = 0;
    for (const UpdateTensor& tensor : tensors) {
      const Stripe stripe = StripeOf(tensor.count, s);
      if (tensor.grad == nullptr || stripe.count == 0) continue;
      sums[s] += SumOfSquares(stripe.count, tensor.grad + stripe.begin);
    }
  }
  double sum = 0;
  for (const double part : sums) sum += part;
  *norm = static_cast<float>(std::sqrt(sum) / (loss_scale == nullptr ? 1.0f : *loss_scale));
  for (const float* loss : losses) {
    if (!std::isfinite(*loss)) *norm = NAN;
  }
}

void Update(Context& context, const UpdateParams& params, const std::vector<UpdateTensor>& tensors,
            const StepState* step, const float* norm, const float* loss_scale) {
  params.Validate();
  const bool adam = params.method == UpdateParams::Method::kAdam;
  const bool l1 = params.regularization == UpdateParams::Regularization::kL1;
  const bool clips = params.clip_gradients >= 0;
  LSEG_CHECK(!clips || norm != nullptr, "update: clipping needs the norm of the gradients");
  for (const UpdateTensor& tensor : tensors) {
    if (tensor.grad != nullptr) CheckTensor(tensor, adam);
  }
  LSEG_ON_CUDA(context, Update(context, params, tensors, step, norm, loss_scale));
  if (norm != nullptr && !std::isfinite(*norm)) return;
  const float clip = clips && *norm > params.clip_gradients ? params.clip_gradients / *norm : 1.0f;
  const float divide =
      1.0f / static_cast<float>(params.iter_size) / (loss_scale == nullptr ? 1.0f : *loss_scale);
  const double correction = adam ? AdamCorrection(params, step->iteration) : 1.0;
#pragma omp parallel for schedule(static) num_threads(context.threads())
  for (int s = 0; s < kStripes; ++s) {
    for (const UpdateTensor& tensor : tensors) {
      const Stripe stripe = StripeOf(tensor.count, s);
      if (tensor.grad == nullptr || stripe.count == 0) continue;
      const float rate = step->learning_rate * tensor.lr_mult;
      const Factors factors{clip,
                            divide,
                            params.weight_decay * tensor.decay_mult,
                            static_cast<float>(rate * correction),
                            params.momentum,
                            params.momentum2,
                            params.delta};
      const float* grad = tensor.grad + stripe.begin;
      float *value = tensor.value + stripe.begin, *state1 = tensor.state1 + stripe.begin;
      if (adam) {
        AdamRange(stripe.count, factors, l1, grad, value, state1, tensor.state2 + stripe.begin);
      } else {
        SgdRange(stripe.count, factors, l1, grad, value, state1);
      }
    }
  }
}

}  // namespace lseg
