// SGD and Adam in Caffe's order of operations: on numbers worked out by hand or, for Adam, by a
// script of the formulas in double; then whole arrays against a plain loop in double.
#include "kernels/update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

using testing::HasSubstr;
using Method = UpdateParams::Method;
using Regularization = UpdateParams::Regularization;

// A parameter with all that a solver keeps of it.
struct Parameter {
  std::vector<float> value, grad, state1, state2;
  float lr_mult = 1, decay_mult = 1;
};

// Its copy on a device.
class DeviceParameter {
 public:
  DeviceParameter(const Context& context, const Parameter& p)
      : value_(context, p.value),
        grad_(context, p.grad),
        state1_(context, p.state1.empty() ? std::vector<float>(p.value.size()) : p.state1),
        state2_(context, p.state2.empty() ? std::vector<float>(p.value.size()) : p.state2),
        tensor_{static_cast<int64_t>(p.value.size()),
                value_.data(),
                grad_.data(),
                state1_.data(),
                state2_.data(),
                p.lr_mult,
                p.decay_mult} {}

  const UpdateTensor& tensor() const { return tensor_; }
  void CopyTo(Parameter* p) const {
    p->value = value_.Values();
    p->state1 = state1_.Values();
    p->state2 = state2_.Values();
  }

 private:
  Memory<float> value_, grad_, state1_, state2_;
  UpdateTensor tensor_;
};

class OptimizerTest : public DeviceTest {
 protected:
  void Step(const UpdateParams& params, const std::vector<Parameter*>& parameters, StepState step,
            bool with_norm = true, int threads = 2, std::optional<float> loss_scale = {}) {
    Context context(GetParam(), threads);
    std::vector<std::unique_ptr<DeviceParameter>> copies;
    std::vector<UpdateTensor> tensors;
    for (const Parameter* parameter : parameters) {
      copies.push_back(std::make_unique<DeviceParameter>(context, *parameter));
      tensors.push_back(copies.back()->tensor());
    }
    const Memory<float> norm(context, {NAN});
    const Memory<StepState> state(context, {step});
    const Memory<float> scale(context, {loss_scale.value_or(NAN)});
    const float* const scale_or_null = loss_scale ? scale.data() : nullptr;
    if (with_norm) GradientNorm(context, tensors, norm.data(), scale_or_null);
    Update(context, params, tensors, state.data(), with_norm ? norm.data() : nullptr,
           scale_or_null);
    for (size_t i = 0; i < parameters.size(); ++i) copies[i]->CopyTo(parameters[i]);
  }
};
class SgdTest : public OptimizerTest {};
class AdamTest : public OptimizerTest {};
class UpdateTest : public OptimizerTest {};
class GradientNormTest : public DeviceTest {};
LSEG_ON_ALL_DEVICES(SgdTest);
LSEG_ON_ALL_DEVICES(AdamTest);
LSEG_ON_ALL_DEVICES(UpdateTest);
LSEG_ON_ALL_DEVICES(GradientNormTest);

void ExpectValues(const std::vector<float>& actual, const std::vector<double>& expected) {
  // A handful of roundings of numbers near 1.
  ExpectNear(actual, expected, 1e-6, 0.1, "values");
}

TEST_P(SgdTest, MomentumAndMultipliers) {
  UpdateParams params;
  params.momentum = 0.9f;
  Parameter a{{1, 2}, {0.5f, -1}, {}, {}, 2};  // rate 0.1 * 2
  Step(params, {&a}, {0.1f, 0});
  ExpectValues(a.value, {1 - 0.1, 2 + 0.2});
  ExpectValues(a.state1, {0.1, -0.2});
  // v = 0.9 v + 0.05 * 2 g
  Step(params, {&a}, {0.05f, 1});
  ExpectValues(a.state1, {0.09 + 0.05, -0.18 - 0.1});
  ExpectValues(a.value, {0.9 - 0.14, 2.2 + 0.28});
}

TEST_P(SgdTest, WeightDecayComesAfterTheDivisionByIterSize) {
  UpdateParams params;
  params.weight_decay = 0.1f;
  params.iter_size = 4;
  Parameter a{{2, -1, 0}, {8, 4, -4}, {}, {}, 1, 0.5f};
  // g / 4 + 0.05 w
  Step(params, {&a}, {1, 0});
  ExpectValues(a.value, {2 - 2.1, -1 - 0.95, 1});
}

TEST_P(SgdTest, L1DecaysByTheSign) {
  UpdateParams params;
  params.weight_decay = 0.25f;
  params.regularization = Regularization::kL1;
  Parameter a{{2, -1, 0}, {0, 0, 0}, {}, {}};
  Step(params, {&a}, {1, 0});
  ExpectValues(a.value, {1.75, -0.75, 0});
}

TEST_P(SgdTest, ClippingActsOnTheAccumulatedGradientOfAllParameters) {
  UpdateParams params;
  params.clip_gradients = 1;
  params.iter_size = 2;
  params.weight_decay = 0.1f;
  // The norm of (3, 4) is 5: times 1/5, then / 2, then + 0.1 w. After the division the norm would
  // be 2.5, and with the decay another one.
  Parameter a{{1}, {3}, {}, {}}, b{{-2}, {4}, {}, {}};
  Step(params, {&a, &b}, {1, 0});
  ExpectValues(a.value, {1 - (0.3 + 0.1)});
  ExpectValues(b.value, {-2 - (0.4 - 0.2)});
}

TEST_P(SgdTest, NoClippingAtOrBelowTheLimit) {
  for (const float limit : {5.0f, 20.0f}) {  // the norm is 5
    UpdateParams params;
    params.clip_gradients = limit;
    Parameter a{{0, 0}, {3, 4}, {}, {}};
    Step(params, {&a}, {1, 0});
    EXPECT_EQ(a.value, (std::vector<float>{-3, -4}));
  }
}

TEST_P(UpdateTest, ANormThatIsNotFiniteUpdatesNothing) {
  for (const Method method : {Method::kSgd, Method::kAdam}) {
    for (const float clip : {-1.0f, 10.0f}) {
      for (const float bad : {NAN, INFINITY, -INFINITY}) {
        UpdateParams params;
        params.method = method;
        params.momentum = 0.9f;
        params.clip_gradients = clip;
        Parameter a{{1, 2}, {0.5f, bad}, {7, 7}, {8, 8}}, b{{3}, {1}, {7}, {8}};
        Step(params, {&a, &b}, {0.1f, 0});
        EXPECT_EQ(a.value, (std::vector<float>{1, 2}));
        EXPECT_EQ(b.value, (std::vector<float>{3}));
        EXPECT_EQ(a.state1, (std::vector<float>{7, 7}));
        EXPECT_EQ(a.state2, (std::vector<float>{8, 8}));
      }
    }
  }
}

TEST_P(UpdateTest, WithoutANormOnlyWhereNothingIsClipped) {
  UpdateParams params;
  Parameter a{{1}, {0.5f}, {}, {}};
  Step(params, {&a}, {1, 0}, false);
  EXPECT_EQ(a.value[0], 0.5f);
  params.clip_gradients = 1;
  EXPECT_THROW(Step(params, {&a}, {1, 0}, false), Error);
}

TEST_P(UpdateTest, AParameterWithoutAGradientStays) {
  Context context(GetParam());
  Parameter a{{1}, {3}, {}, {}}, fixed{{5}, {}, {}, {}};
  const DeviceParameter on_device(context, a), fixed_on_device(context, fixed);
  UpdateTensor without = fixed_on_device.tensor();
  without.grad = nullptr;
  const std::vector<UpdateTensor> tensors = {on_device.tensor(), without};
  const Memory<float> norm(context, {NAN});
  GradientNorm(context, tensors, norm.data());
  EXPECT_EQ(norm.Values()[0], 3);
  UpdateParams params;
  params.weight_decay = 0.1f;
  const Memory<StepState> step(context, {{1, 0}});
  Update(context, params, tensors, step.data(), norm.data());
  on_device.CopyTo(&a);
  fixed_on_device.CopyTo(&fixed);
  EXPECT_EQ(fixed.value[0], 5);
  ExpectValues(a.value, {1 - 3.1});
}

TEST_P(UpdateTest, MissingStateIsRefused) {
  Context context(GetParam());
  const DeviceParameter a(context, {{1}, {3}, {}, {}});
  UpdateTensor tensor = a.tensor();
  tensor.state2 = nullptr;
  UpdateParams params;
  const Memory<StepState> step(context, {{1, 0}});
  Update(context, params, {tensor}, step.data(), nullptr);  // SGD needs one state only
  params.method = Method::kAdam;
  EXPECT_THROW(Update(context, params, {tensor}, step.data(), nullptr), Error);
}

// More than the table of one launch holds, some without elements or a gradient.
TEST_P(UpdateTest, ManyParameters) {
  Context context(GetParam());
  std::vector<std::unique_ptr<DeviceParameter>> copies;
  std::vector<UpdateTensor> tensors;
  for (int i = 0; i < 300; ++i) {
    const auto value = static_cast<float>(i);
    const std::vector<float> values(i % 7, value), grads(i % 7, 2);
    copies.push_back(
        std::make_unique<DeviceParameter>(context, Parameter{values, grads, {}, {}, 0.5f}));
    tensors.push_back(copies.back()->tensor());
    if (i % 5 == 0) tensors.back().grad = nullptr;
  }
  const Memory<float> norm(context, {NAN});
  GradientNorm(context, tensors, norm.data());
  const Memory<StepState> step(context, {{3, 0}});
  Update(context, UpdateParams{}, tensors, step.data(), norm.data());
  double squares = 0;
  for (int i = 0; i < 300; ++i) {
    Parameter result;
    copies[i]->CopyTo(&result);
    const auto expected = static_cast<float>(i % 5 == 0 ? i : i - 3);
    EXPECT_THAT(result.value, testing::Each(expected)) << i;
    if (i % 5 != 0) squares += 4 * (i % 7);
  }
  EXPECT_FLOAT_EQ(norm.Values()[0], static_cast<float>(std::sqrt(squares)));
}

// Three steps; expected values from the formulas of the header in double, printed to 10 digits.
TEST_P(AdamTest, BiasCorrectionDecayAndIterSize) {
  UpdateParams params;
  params.method = Method::kAdam;
  params.momentum = 0.9f;
  params.weight_decay = 0.1f;
  params.iter_size = 2;
  Parameter a{{1, -2}, {}, {}, {}, 0.5f, 0.5f};
  const std::vector<std::vector<float>> grads = {{0.5f, -0.25f}, {-1, 0.125f}, {2, 0}};
  const std::vector<std::vector<double>> values = {
      {0.9500000527, -1.9500000703}, {0.9625089842, -1.9111739892}, {0.9385885457, -1.8711332728}};
  for (int32_t t = 0; t < 3; ++t) {
    a.grad = grads[t];
    Step(params, {&a}, {0.1f, t});
    ExpectValues(a.value, values[t]);
  }
  // (1 - momentum2) in f32 is off by 2^-25 / 0.001 = 3e-5 of itself; Caffe's is too.
  ExpectNear(a.state1, {0.0883875452, -0.0309308703}, 1e-6, 0, "m");
  ExpectNear(a.state2, {0.001392938539, 0.000060879041}, 5e-5, 0, "v");
}

TEST_P(AdamTest, CaffesDefaultForMomentumIsNone) {
  // beta1 0: m is the gradient, the first step has the size of the rate.
  UpdateParams params;
  params.method = Method::kAdam;
  Parameter a{{1, 1}, {3, -0.5f}, {}, {}};
  Step(params, {&a}, {0.01f, 0});
  ExpectNear(a.value, {0.99, 1.01}, 1e-6, 0, "first step");
}

// Long enough for every stripe, with an end that fills no vector.
constexpr int64_t kCount = 70'003;

TEST_P(UpdateTest, ArraysAgreeWithAPlainLoop) {
  for (const Method method : {Method::kSgd, Method::kAdam}) {
    for (const Regularization kind : {Regularization::kL2, Regularization::kL1}) {
      UpdateParams params;
      params.method = method;
      params.regularization = kind;
      params.momentum = 0.9f;
      params.weight_decay = 0.01f;
      params.clip_gradients = 10;
      params.iter_size = 3;
      Parameter a{Draw(1, kCount), Draw(2, kCount), Draw(3, kCount), Draw(4, kCount, 0.1f, 1)};
      const Parameter before = a;
      double squares = 0;
      for (const float g : a.grad) squares += double{g} * g;
      Step(params, {&a}, {0.1f, 4});
      const double correction = std::sqrt(1 - std::pow(0.999, 5)) / (1 - std::pow(0.9, 5));
      std::vector<double> value, state1;
      for (int64_t i = 0; i < kCount; ++i) {
        const double w = before.value[i], sign = (w > 0) - (w < 0);
        const double g = before.grad[i] * 10 / std::sqrt(squares) / 3 +
                         0.01 * (kind == Regularization::kL1 ? sign : w);
        if (method == Method::kSgd) {
          state1.push_back(0.9 * before.state1[i] + 0.1 * g);
          value.push_back(w - state1.back());
        } else {
          state1.push_back(0.9 * before.state1[i] + 0.1 * g);
          const double v = 0.999 * before.state2[i] + 0.001 * g * g;
          value.push_back(w - 0.1 * correction * state1.back() / (std::sqrt(v) + 1e-8));
        }
      }
      // Values and states are below 2; a dozen roundings.
      ExpectNear(a.state1, state1, 1e-6, 1, "state");
      ExpectNear(a.value, value, 1e-6, 1, "value");
    }
  }
}

TEST_P(UpdateTest, TheSameBitsForAnyNumberOfThreads) {
  for (const Method method : {Method::kSgd, Method::kAdam}) {
    UpdateParams params;
    params.method = method;
    params.momentum = 0.9f;
    params.clip_gradients = 0.5f;
    Parameter one{Draw(1, kCount), Draw(2, kCount), {}, {}}, three = one;
    Parameter small{Draw(5, 3), Draw(6, 3), {}, {}}, small_too = small;
    Step(params, {&one, &small}, {0.1f, 0}, true, 1);
    Step(params, {&three, &small_too}, {0.1f, 0}, true, 3);
    EXPECT_EQ(one.value, three.value);
    EXPECT_EQ(small.value, small_too.value);
  }
}

// Gradients that a power of two has multiplied: the same step to the bit, clipped or not.
TEST_P(UpdateTest, TheLossScaleIsTakenOffAgain) {
  for (const Method method : {Method::kSgd, Method::kAdam}) {
    for (const float clip : {-1.0f, 0.5f, 1e6f}) {
      UpdateParams params;
      params.method = method;
      params.momentum = 0.9f;
      params.weight_decay = 0.01f;
      params.clip_gradients = clip;
      params.iter_size = 3;
      Parameter plain{Draw(1, 1003), Draw(2, 1003), Draw(3, 1003), Draw(4, 1003, 0.1f, 1)};
      Parameter scaled = plain;
      for (float& g : scaled.grad) g *= 4096;
      Step(params, {&plain}, {0.1f, 4});
      Step(params, {&scaled}, {0.1f, 4}, true, 2, 4096.0f);
      EXPECT_EQ(scaled.value, plain.value);
      EXPECT_EQ(scaled.state1, plain.state1);
      EXPECT_EQ(scaled.state2, plain.state2);
    }
  }
}

TEST_P(GradientNormTest, IsThatWithoutTheLossScale) {
  Context context(GetParam());
  const Memory<float> grad(context, {3 * 512.0f, -4 * 512.0f}), norm(context, {-1});
  const Memory<float> scale(context, {512});
  GradientNorm(context, {{2, nullptr, grad.data()}}, norm.data(), scale.data());
  EXPECT_EQ(norm.Values()[0], 5);
}

TEST_P(GradientNormTest, IsNanWhereALossIsNotFinite) {
  Context context(GetParam());
  const Memory<float> grad(context, {3, 4}), norm(context, {-1});
  for (const float last : {7.0f, INFINITY, -INFINITY, NAN}) {
    const Memory<float> losses(context, {0.5f, last});
    GradientNorm(context, {{2, nullptr, grad.data()}}, norm.data(), nullptr,
                 {losses.data(), losses.data() + 1});
    EXPECT_THAT(norm.Values()[0], testing::NanSensitiveFloatEq(last == 7 ? 5 : NAN)) << last;
  }
  EXPECT_THROW(GradientNorm(context, {}, norm.data(), nullptr,
                            std::vector<const float*>(kMostLosses + 1, grad.data())),
               Error);
}

TEST_P(GradientNormTest, OverAllTensors) {
  Context context(GetParam());
  const auto norm_of = [&](const std::vector<std::vector<float>>& grads) {
    std::vector<std::unique_ptr<Memory<float>>> copies;
    std::vector<UpdateTensor> tensors;
    for (const std::vector<float>& grad : grads) {
      copies.push_back(std::make_unique<Memory<float>>(context, grad));
      tensors.push_back({static_cast<int64_t>(grad.size()), nullptr, copies.back()->data()});
    }
    const Memory<float> norm(context, {-1});
    GradientNorm(context, tensors, norm.data());
    return norm.Values()[0];
  };
  EXPECT_EQ(norm_of({{3, -4}, {12}}), 13);
  EXPECT_EQ(norm_of({}), 0);
  // A million squares of 1e-6, which a sum in f32 would lose: 1 to an ulp.
  EXPECT_NEAR(norm_of({std::vector<float>(1'000'000, 0.001f)}), 1, 1e-7);
  // Squares that overflow f32 do not hide a norm that f32 holds.
  EXPECT_FLOAT_EQ(norm_of({{3e30f, 4e30f}}), 5e30f);
}

TEST(UpdateParamsTest, ImpossibleOnesAreRefused) {
  const auto message = [](auto change) { return RefusalOf(UpdateParams(), change); };
  EXPECT_EQ(message([](UpdateParams*) {}), "");
  EXPECT_THAT(message([](UpdateParams* p) { p->momentum = 1; }), HasSubstr("momentum 1 "));
  EXPECT_THAT(message([](UpdateParams* p) { p->iter_size = 0; }), HasSubstr("iter_size 0"));
  EXPECT_THAT(message([](UpdateParams* p) {
                p->method = Method::kAdam;
                p->momentum2 = 1;
              }),
              HasSubstr("momentum2 1 "));
  EXPECT_THAT(message([](UpdateParams* p) {
                p->method = Method::kAdam;
                p->delta = 0;
              }),
              HasSubstr("delta 0"));
}

}  // namespace
}  // namespace lseg
