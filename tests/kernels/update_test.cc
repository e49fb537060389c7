// SGD and Adam in Caffe's order of operations: on numbers worked out by hand or, for Adam, by a
// script of the formulas in double; then whole arrays against a plain loop in double.
#include "kernels/update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

  UpdateTensor Tensor() {
    if (state1.empty()) state1.assign(value.size(), 0);
    if (state2.empty()) state2.assign(value.size(), 0);
    return {static_cast<int64_t>(value.size()),
            value.data(),
            grad.data(),
            state1.data(),
            state2.data(),
            lr_mult,
            decay_mult};
  }
};

void Step(const UpdateParams& params, std::vector<Parameter*> parameters, StepState step,
          bool with_norm = true, int threads = 2) {
  Context context(Device::kCpu, threads);
  std::vector<UpdateTensor> tensors;
  for (Parameter* parameter : parameters) tensors.push_back(parameter->Tensor());
  float norm = NAN;
  if (with_norm) GradientNorm(context, tensors, &norm);
  Update(context, params, tensors, &step, with_norm ? &norm : nullptr);
}

void ExpectValues(const std::vector<float>& actual, const std::vector<double>& expected) {
  // A handful of roundings of numbers near 1.
  ExpectNear(actual, expected, 1e-6, 0.1, "values");
}

TEST(SgdTest, MomentumAndMultipliers) {
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

TEST(SgdTest, WeightDecayComesAfterTheDivisionByIterSize) {
  UpdateParams params;
  params.weight_decay = 0.1f;
  params.iter_size = 4;
  Parameter a{{2, -1, 0}, {8, 4, -4}, {}, {}, 1, 0.5f};
  // g / 4 + 0.05 w
  Step(params, {&a}, {1, 0});
  ExpectValues(a.value, {2 - 2.1, -1 - 0.95, 1});
}

TEST(SgdTest, L1DecaysByTheSign) {
  UpdateParams params;
  params.weight_decay = 0.25f;
  params.regularization = Regularization::kL1;
  Parameter a{{2, -1, 0}, {0, 0, 0}, {}, {}};
  Step(params, {&a}, {1, 0});
  ExpectValues(a.value, {1.75, -0.75, 0});
}

TEST(SgdTest, ClippingActsOnTheAccumulatedGradientOfAllParameters) {
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

TEST(SgdTest, NoClippingAtOrBelowTheLimit) {
  for (const float limit : {5.0f, 20.0f}) {  // the norm is 5
    UpdateParams params;
    params.clip_gradients = limit;
    Parameter a{{0, 0}, {3, 4}, {}, {}};
    Step(params, {&a}, {1, 0});
    EXPECT_EQ(a.value, (std::vector<float>{-3, -4}));
  }
}

TEST(UpdateTest, ANormThatIsNotFiniteUpdatesNothing) {
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

TEST(UpdateTest, WithoutANormOnlyWhereNothingIsClipped) {
  UpdateParams params;
  Parameter a{{1}, {0.5f}, {}, {}};
  Step(params, {&a}, {1, 0}, false);
  EXPECT_EQ(a.value[0], 0.5f);
  params.clip_gradients = 1;
  EXPECT_THROW(Step(params, {&a}, {1, 0}, false), Error);
}

TEST(UpdateTest, AParameterWithoutAGradientStays) {
  Context context;
  Parameter a{{1}, {3}, {}, {}}, fixed{{5}, {}, {}, {}};
  UpdateTensor without = fixed.Tensor();
  without.grad = nullptr;
  const std::vector<UpdateTensor> tensors = {a.Tensor(), without};
  float norm;
  GradientNorm(context, tensors, &norm);
  EXPECT_EQ(norm, 3);
  UpdateParams params;
  params.weight_decay = 0.1f;
  const StepState step{1, 0};
  Update(context, params, tensors, &step, &norm);
  EXPECT_EQ(fixed.value[0], 5);
  ExpectValues(a.value, {1 - 3.1});
}

TEST(UpdateTest, MissingStateIsRefused) {
  Context context;
  Parameter a{{1}, {3}, {}, {}};
  UpdateTensor tensor = a.Tensor();
  tensor.state2 = nullptr;
  UpdateParams params;
  const StepState step{1, 0};
  Update(context, params, {tensor}, &step, nullptr);  // SGD needs one state only
  params.method = Method::kAdam;
  EXPECT_THROW(Update(context, params, {tensor}, &step, nullptr), Error);
}

// Three steps; expected values from the formulas of the header in double, printed to 10 digits.
TEST(AdamTest, BiasCorrectionDecayAndIterSize) {
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

TEST(AdamTest, CaffesDefaultForMomentumIsNone) {
  // beta1 0: m is the gradient, the first step has the size of the rate.
  UpdateParams params;
  params.method = Method::kAdam;
  Parameter a{{1, 1}, {3, -0.5f}, {}, {}};
  Step(params, {&a}, {0.01f, 0});
  ExpectNear(a.value, {0.99, 1.01}, 1e-6, 0, "first step");
}

// Long enough for every stripe, with an end that fills no vector.
constexpr int64_t kCount = 70'003;

TEST(UpdateTest, ArraysAgreeWithAPlainLoop) {
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

TEST(UpdateTest, TheSameBitsForAnyNumberOfThreads) {
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

TEST(GradientNormTest, OverAllTensors) {
  Context context;
  const std::vector<float> a = {3, -4}, b = {12}, c(1'000'000, 0.001f);
  const auto norm_of = [&](const std::vector<UpdateTensor>& tensors) {
    float norm = -1;
    GradientNorm(context, tensors, &norm);
    return norm;
  };
  EXPECT_EQ(norm_of({{2, nullptr, a.data()}, {1, nullptr, b.data()}}), 13);
  EXPECT_EQ(norm_of({}), 0);
  // A million squares of 1e-6, which a sum in f32 would lose: 1 to an ulp.
  EXPECT_NEAR(norm_of({{1'000'000, nullptr, c.data()}}), 1, 1e-7);
  // Squares that overflow f32 do not hide a norm that f32 holds.
  const std::vector<float> large = {3e30f, 4e30f};
  EXPECT_FLOAT_EQ(norm_of({{2, nullptr, large.data()}}), 5e30f);
}

TEST(UpdateParamsTest, ImpossibleOnesAreRefused) {
  const auto message = [](auto change) -> std::string {
    UpdateParams params;
    change(&params);
    try {
      params.Validate();
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(message([](UpdateParams*) {}), HasSubstr("accepted"));
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
