#include "kernels/softmax.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

using Normalization = SigmoidLossParams::Normalization;
constexpr uint8_t kVoid = 255;

// exp(z_c) / sum exp(z_k) in double, as it stands in the books.
std::vector<double> Oracle(const Shape& s, const std::vector<float>& z) {
  std::vector<double> p(z.size());
  const int64_t plane = s.h * s.w;
  for (int64_t n = 0; n < s.n; ++n) {
    for (int64_t i = 0; i < plane; ++i) {
      const int64_t at = n * s.c * plane + i;
      double sum = 0;
      for (int64_t c = 0; c < s.c; ++c) sum += std::exp(double{z[at + c * plane]});
      for (int64_t c = 0; c < s.c; ++c) {
        p[at + c * plane] = std::exp(double{z[at + c * plane]}) / sum;
      }
    }
  }
  return p;
}

struct Outcome {
  float loss = NAN, normalizer = NAN;
  std::vector<float> gradient;
};

class SoftmaxTest : public DeviceTest {
 protected:
  // With a class map, unless params say otherwise.
  Outcome RunLoss(SoftmaxLossParams params, const std::vector<float>& logits,
                  const std::vector<uint8_t>& label, float loss_weight = 1,
                  std::vector<float> before = {}, GradMode mode = GradMode::kWrite, int threads = 2,
                  std::optional<float> loss_scale = {}) {
    Context context(GetParam(), threads);
    const Shape& s = params.logits;
    if (params.label == Shape()) params.label = {s.n, 1, s.h, s.w};
    if (before.empty()) before.assign(logits.size(), NAN);
    const Memory<float> z(context, logits), gradient(context, before);
    const Memory<uint8_t> truth(context, label);
    const Memory<float> loss(context, {NAN}), normalizer(context, {NAN});
    const Memory<float> scale(context, {loss_scale.value_or(NAN)});
    SoftmaxLossForward(context, params, z.data(), truth.data(), normalizer.data(), loss.data());
    SoftmaxLossBackward(context, params, z.data(), truth.data(), normalizer.data(), loss_weight,
                        gradient.data(), mode, loss_scale ? scale.data() : nullptr);
    return {loss.Values()[0], normalizer.Values()[0], gradient.Values()};
  }
};
LSEG_ON_ALL_DEVICES(SoftmaxTest);

// Planes that are no multiple of a chunk or a vector, chunks that end with an image.
const Shape kShapes[] = {{1, 1, 1, 1}, {2, 5, 3, 7}, {3, 21, 17, 19}, {2, 2, 1, 515}};

TEST_P(SoftmaxTest, AgreesWithTheOracle) {
  for (const Shape& shape : kShapes) {
    Context context(GetParam());
    const std::vector<float> z = Draw(1, shape.Count(), -9, 9);
    const Memory<float> src(context, z), dst(context, std::vector<float>(z.size(), NAN));
    SoftmaxForward(context, shape, src.data(), dst.data());
    // Of z - largest, at most 18, half a unit in the last place (1e-6); of the exponential 2 ulp,
    // of the sum C, of the quotient 1.
    ExpectNear(dst.Values(), Oracle(shape, z), 2e-6 + 6e-8 * static_cast<double>(shape.c), 0,
               ToString(shape));
    SoftmaxForward(context, shape, src.data(), src.data());
    EXPECT_EQ(src.Values(), dst.Values()) << "in place";
  }
}

TEST_P(SoftmaxTest, LargeLogitsAreNoTrouble) {
  Context context(GetParam());
  const Memory<float> src(context, {1000, -3e38f, 1000 - 0.6931472f});
  SoftmaxForward(context, {1, 3, 1, 1}, src.data(), src.data());
  const std::vector<float> p = src.Values();
  EXPECT_NEAR(p[0], 2.0 / 3, 1e-4);  // 1000 - ln 2 is rounded to a multiple of 6e-5
  EXPECT_EQ(p[1], 0);
  EXPECT_NEAR(p[2], 1.0 / 3, 1e-4);
}

TEST_P(SoftmaxTest, BackwardIsTheJacobianTimesTheGradient) {
  const Shape shape{2, 5, 3, 7};
  const int64_t plane = shape.h * shape.w;
  Context context(GetParam());
  const std::vector<float> p = Draw(1, shape.Count(), 0, 1), d = Draw(2, shape.Count());
  // d_z_c = sum over k of d_k * dp_k/dz_c, where dp_k/dz_c = p_k ([c = k] - p_c)
  std::vector<double> expected(p.size());
  for (int64_t j = 0; j < shape.Count(); ++j) {
    const int64_t pixel = j % plane, image = j / (shape.c * plane);
    for (int64_t c = 0; c < shape.c; ++c) {
      const int64_t k = (image * shape.c + c) * plane + pixel;
      expected[j] += double{d[k]} * p[k] * ((k == j ? 1.0 : 0.0) - p[j]);
    }
  }
  for (const bool add : {false, true}) {
    const std::vector<float> before = Before(add, 3, shape.Count());
    const Memory<float> dst(context, p), d_dst(context, d), d_src(context, before);
    SoftmaxBackward(context, shape, dst.data(), d_dst.data(), d_src.data(),
                    add ? GradMode::kAdd : GradMode::kWrite);
    // Eight roundings of numbers below 5.
    ExpectNear(d_src.Values(), add ? Add(expected, before) : expected, 6e-7, 5, "d_src");
  }
}

TEST_P(SoftmaxTest, LossByHand) {
  // Two pixels, three classes. p of the first: 1/3 each; of the second: 1/2, 1/4, 1/4.
  const float ln2 = 0.69314718f;
  SoftmaxLossParams params;
  params.logits = {1, 3, 1, 2};
  const Outcome outcome = RunLoss(params, {5, ln2, 5, 0, 5, 0}, {2, 0}, 10);
  EXPECT_NEAR(outcome.loss, (std::log(3.0) + std::log(2.0)) / 2, 1e-6);
  EXPECT_EQ(outcome.normalizer, 2);
  const double expected[6] = {1.0 / 3, -0.5, 1.0 / 3, 0.25, -2.0 / 3, 0.25};
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(outcome.gradient[i], expected[i] * 10 / 2, 2e-6) << i;
}

TEST_P(SoftmaxTest, Normalizations) {
  const std::vector<uint8_t> label = {0, kVoid, 1, kVoid, kVoid, 0};
  const std::vector<float> logits(12, 0);
  const double sum = 3 * 0.6931471806;
  for (const auto& [normalization, normalizer] :
       std::vector<std::pair<Normalization, float>>{{Normalization::kFull, 6},
                                                    {Normalization::kValid, 3},
                                                    {Normalization::kBatchSize, 2},
                                                    {Normalization::kNone, 1}}) {
    SoftmaxLossParams params;
    params.logits = {2, 2, 1, 3};
    params.normalization = normalization;
    params.has_ignore = true;
    params.ignore = kVoid;
    const Outcome outcome = RunLoss(params, logits, label);
    EXPECT_EQ(outcome.normalizer, normalizer);
    EXPECT_NEAR(outcome.loss, sum / normalizer, 1e-6);
    EXPECT_EQ(outcome.gradient[1], 0) << "ignored";
    EXPECT_NEAR(outcome.gradient[0], -0.5 / normalizer, 1e-7);
    EXPECT_NEAR(outcome.gradient[3], 0.5 / normalizer, 1e-7) << "the other class of pixel 0";
  }
}

TEST_P(SoftmaxTest, AllIgnoredIsNothing) {
  SoftmaxLossParams params;
  params.logits = {1, 2, 1, 2};
  params.has_ignore = true;
  params.ignore = kVoid;
  const Outcome outcome = RunLoss(params, {1, 2, 3, 4}, {kVoid, kVoid});
  EXPECT_EQ(outcome.normalizer, 1);
  EXPECT_EQ(outcome.loss, 0);
  EXPECT_THAT(outcome.gradient, testing::Each(0));
}

TEST_P(SoftmaxTest, LossAgreesWithTheOracle) {
  for (const Shape& shape : kShapes) {
    SoftmaxLossParams params;
    params.logits = shape;
    params.has_ignore = true;
    params.ignore = kVoid;
    const int64_t plane = shape.h * shape.w;
    const std::vector<float> logits = Draw(1, shape.Count(), -9, 9);
    const std::vector<double> p = Oracle(shape, logits);
    std::vector<uint8_t> label;
    Random random(3, 1);
    for (int64_t i = 0; i < params.Pixels(); ++i) {
      const uint32_t drawn = random.Below(static_cast<uint32_t>(shape.c + 1));
      label.push_back(drawn == shape.c && i > 0 ? kVoid : static_cast<uint8_t>(drawn % shape.c));
    }
    double loss = 0, valid = 0;
    std::vector<double> gradient(p.size());
    for (int64_t i = 0; i < params.Pixels(); ++i) {
      if (label[i] == kVoid) continue;
      ++valid;
      const int64_t at = i / plane * shape.c * plane + i % plane;
      loss -= std::log(p[at + label[i] * plane]);
      for (int64_t c = 0; c < shape.c; ++c) {
        gradient[at + c * plane] = p[at + c * plane] - (c == label[i]);
      }
    }
    for (double& g : gradient) g /= valid;
    for (const bool add : {false, true}) {
      const std::vector<float> before = Before(add, 4, shape.Count());
      const Outcome outcome =
          RunLoss(params, logits, label, 1, before, add ? GradMode::kAdd : GradMode::kWrite);
      // A pixel's terms, below 20, are rounded a few times in f32; the sum is one in double.
      EXPECT_NEAR(outcome.loss, loss / valid, 5e-6) << ToString(shape);
      EXPECT_EQ(outcome.normalizer, static_cast<float>(valid));
      // As the probabilities above, then divided and added.
      ExpectNear(outcome.gradient, add ? Add(gradient, before) : gradient, 4e-6, 0.1,
                 "gradient of " + ToString(shape));
    }
  }
}

TEST_P(SoftmaxTest, TheSameBitsForAnyNumberOfThreads) {
  SoftmaxLossParams params;
  params.logits = {2, 3, 97, 101};
  const std::vector<float> logits = Draw(1, params.logits.Count(), -8, 8);
  std::vector<uint8_t> label(params.Pixels());
  for (size_t i = 0; i < label.size(); ++i) label[i] = static_cast<uint8_t>(i * 7 % 3);
  const Outcome one = RunLoss(params, logits, label, 1, {}, GradMode::kWrite, 1);
  const Outcome three = RunLoss(params, logits, label, 1, {}, GradMode::kWrite, 3);
  EXPECT_EQ(one.loss, three.loss);
  EXPECT_EQ(one.gradient, three.gradient);
}

// A power of two: not a bit of the gradient is lost.
TEST_P(SoftmaxTest, LossScaleMultipliesTheGradientAlone) {
  SoftmaxLossParams params;
  params.logits = {2, 3, 5, 7};
  const std::vector<float> logits = Draw(1, params.logits.Count(), -4, 4);
  const std::vector<uint8_t> label(params.Pixels(), 1);
  const Outcome plain = RunLoss(params, logits, label, 0.75f);
  const Outcome scaled = RunLoss(params, logits, label, 0.75f, {}, GradMode::kWrite, 2, 1024.0f);
  EXPECT_EQ(scaled.loss, plain.loss);
  std::vector<float> expected = plain.gradient;
  for (float& value : expected) value *= 1024;
  EXPECT_EQ(scaled.gradient, expected);
}

// Two images; where planes overlap the last counts.
TEST_P(SoftmaxTest, PlanesOfClassesAreAClassMap) {
  SoftmaxLossParams map, planes;
  map.logits = planes.logits = {2, 4, 1, 3};
  planes.label = {2, 3, 1, 3};
  const std::vector<float> logits = Draw(1, map.logits.Count(), -4, 4);
  const Outcome a = RunLoss(map, logits, {0, 1, 3, 2, 3, 0});
  const Outcome b = RunLoss(planes, logits,
                            {0, 1, 0, 0, 0, 0, 0, 0, 1,    // image 0
                             1, 0, 0, 1, 1, 0, 0, 1, 0});  // image 1
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.normalizer, b.normalizer);
  EXPECT_EQ(a.gradient, b.gradient);
}

TEST_P(SoftmaxTest, ALabelThatIsNoClassIsAnError) {
  SoftmaxLossParams params;
  params.logits = {1, 3, 1, 2};
  EXPECT_THAT(ErrorOf([&] {
                RunLoss(params, std::vector<float>(6, 0), {2, 3});
              }),
              testing::HasSubstr("label"));
  params.label = {1, 1, 1, 2};
  params.Validate();
  params.logits.c = 0;
  EXPECT_THROW(params.Validate(), Error);
  params.logits.c = 256;
  EXPECT_THROW(params.Validate(), Error);
  params.logits.c = 5;
  params.label.c = 3;
  EXPECT_THAT(ErrorOf([&] { params.Validate(); }), testing::HasSubstr("1x1x1x2 or"));
}

}  // namespace
}  // namespace lseg
