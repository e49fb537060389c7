// The one numeric gradient checker: every layer passes through it.
//
// A net text ends in losses; its inputs are filled with seeded random numbers. The analytic
// gradient of the objective by each parameter and each f32 input is compared with the central
// difference of the net's own loss, element by element; a failure names the tensor, the element and
// both values. Inputs named label, target and reference are read only, and not checked.
#pragma once

#include <functional>
#include <string>

#include "framework/net.h"

namespace lseg {

struct GradientCheck {
  // Half the width of the difference. The loss is evaluated in f32: its rounding, some 1e-7 of its
  // value, over 2 * step is the noise; the curvature's error grows with the square of step.
  float step = 1e-2f;
  // |analytic - numeric| <= tolerance * max(1, |analytic|, |numeric|)
  float tolerance = 2e-3f;
  // Keeps ReLU off its kink: biases of +1 and -1 in turn, weights small enough that no input of a
  // ReLU changes its sign within a step.
  bool off_the_kinks = false;
  int samples = 60;  // elements checked per tensor, spread evenly
  uint64_t seed = 1;
  Device device = Device::kCpu;
  // Fills an input instead of the default: uniform in [-1, 1], but inputs named "label" 0 or 1.
  std::function<void(const std::string& blob, float* values, int64_t count)> fill;
};

// Adds gtest failures.
void CheckGradients(const std::string& net_text, const GradientCheck& check = {});

// A trainable net of a text with plain SGD, force_backward on.
std::unique_ptr<Net> MakeTrainableNet(const std::string& net_text, Context& context,
                                      std::shared_ptr<ParameterSet> parameters);

// Uniform in [-1, 1].
void FillUniform(float* values, int64_t count, Random& random);

}  // namespace lseg
