// Parameter updates in Caffe's order of operations, over all parameters in one call:
//   0. g /= the scale by which the losses multiplied it, so that it survives f16 (loss_scale)
//   1. clip: if |g|_2 over all parameters > clip_gradients, g *= clip_gradients / |g|_2, on the
//      gradient accumulated over iter_size passes, before it is divided
//   2. g /= iter_size
//   3. g += weight_decay * decay_mult * w (L2) or weight_decay * decay_mult * sign(w) (L1)
//   4. SGD:  v = momentum * v + lr * lr_mult * g;  w -= v
//      Adam: m = beta1 m + (1-beta1) g;  v = beta2 v + (1-beta2) g^2;
//            w -= lr * lr_mult * sqrt(1-beta2^t)/(1-beta1^t) * m / (sqrt(v) + delta), t from 1
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/runtime/context.h"

namespace lseg {

struct UpdateParams {
  enum class Method { kSgd, kAdam };
  enum class Regularization { kL2, kL1 };
  Method method = Method::kSgd;
  Regularization regularization = Regularization::kL2;
  float momentum = 0;        // Adam's beta1
  float momentum2 = 0.999f;  // Adam's beta2
  float delta = 1e-8f;
  float weight_decay = 0;
  float clip_gradients = -1;  // no clipping below 0
  int iter_size = 1;

  void Validate() const;
};

// One parameter: value and gradient, and the solver's memory of it.
struct UpdateTensor {
  int64_t count = 0;
  float* value = nullptr;
  const float* grad = nullptr;  // null: takes no part, neither in the norm nor in the step
  float* state1 = nullptr;      // SGD's velocity, Adam's m
  float* state2 = nullptr;      // Adam's v; null for SGD
  float lr_mult = 1, decay_mult = 1;
};

// What a step reads from memory at run time rather than from its params, so that a recorded
// iteration can be replayed.
struct StepState {
  float learning_rate;
  int32_t iteration;  // from 0; Adam's t is iteration + 1
};

// sum of squares of all gradients -> norm[0] = its square root, accumulated in double in a fixed
// order; NaN or infinity shows in the norm. loss_scale[0] (memory of the device; null: 1) is what
// the losses multiplied their gradients by: the norm is that of the gradients without it. losses:
// one number each (memory of the device); where one is not finite, the norm is NaN, so that Update
// leaves the weights alone without a word from the host. At most kMostLosses.
constexpr int kMostLosses = 32;
void GradientNorm(Context& context, const std::vector<UpdateTensor>& tensors, float* norm,
                  const float* loss_scale = nullptr, const std::vector<const float*>& losses = {});

// One step of all tensors. `norm` is GradientNorm's and may be null when not clipping. Where it is
// given and not finite, nothing is updated, so that the weights before the accident stay. A
// loss_scale that is a power of two changes no bit of the result, but by under- and overflow.
void Update(Context& context, const UpdateParams& params, const std::vector<UpdateTensor>& tensors,
            const StepState* step, const float* norm, const float* loss_scale = nullptr);

}  // namespace lseg
