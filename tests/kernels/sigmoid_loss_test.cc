#include "kernels/sigmoid_loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"
#include "tests/reference/ops.h"

namespace lseg {
namespace {

using Normalization = SigmoidLossParams::Normalization;

SigmoidLossParams Params(int64_t count, int64_t batch, Normalization normalization) {
  SigmoidLossParams params;
  params.count = count;
  params.batch = batch;
  params.normalization = normalization;
  return params;
}

struct Outcome {
  float loss = NAN, normalizer = NAN;
  std::vector<float> gradient;
};

class SigmoidLossTest : public DeviceTest {
 protected:
  Outcome RunLoss(const SigmoidLossParams& params, const std::vector<float>& logits,
                  const std::vector<float>& target, float loss_weight = 1,
                  std::vector<float> before = {}, GradMode mode = GradMode::kWrite, int threads = 2,
                  std::optional<float> loss_scale = {}) {
    Context context(GetParam(), threads);
    if (before.empty()) before.assign(logits.size(), NAN);
    const Memory<float> z(context, logits), t(context, target), gradient(context, before);
    const Memory<float> loss(context, {NAN}), normalizer(context, {NAN});
    const Memory<float> scale(context, {loss_scale.value_or(NAN)});
    SigmoidLossForward(context, params, z.data(), t.data(), normalizer.data(), loss.data());
    SigmoidLossBackward(context, params, z.data(), t.data(), normalizer.data(), loss_weight,
                        gradient.data(), mode, loss_scale ? scale.data() : nullptr);
    return {loss.Values()[0], normalizer.Values()[0], gradient.Values()};
  }
};
LSEG_ON_ALL_DEVICES(SigmoidLossTest);

TEST_P(SigmoidLossTest, ByHand) {
  // -log sigmoid(0) = ln 2; target 0 at z = 2: log(1 + e^2) = 2.1269280110; half at z = -1:
  // log(1 + e^-1) + 0.5 = 0.8132616875. Batch 2.
  const Outcome outcome =
      RunLoss(Params(4, 2, Normalization::kBatchSize), {0, 2, -1, 300}, {1, 0, 0.5f, 1}, 10);
  EXPECT_NEAR(outcome.loss, (0.6931471806 + 2.1269280110 + 0.8132616875) / 2, 1e-6);
  EXPECT_EQ(outcome.normalizer, 2);
  const double expected[4] = {-0.5, 0.8807970780, 0.2689414214 - 0.5, 0};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(outcome.gradient[i], expected[i] * 10 / 2, 2e-6);
}

TEST_P(SigmoidLossTest, Normalizations) {
  const std::vector<float> logits(6, 0), target = {1, 0, -1, -1, 1, 0};
  const double sum = 4 * 0.6931471806;  // -1 is ignored
  for (const auto& [normalization, normalizer] :
       std::vector<std::pair<Normalization, float>>{{Normalization::kFull, 6},
                                                    {Normalization::kValid, 4},
                                                    {Normalization::kBatchSize, 3},
                                                    {Normalization::kNone, 1}}) {
    SigmoidLossParams params = Params(6, 3, normalization);
    params.has_ignore = true;
    params.ignore = -1;
    const Outcome outcome = RunLoss(params, logits, target);
    EXPECT_EQ(outcome.normalizer, normalizer);
    EXPECT_NEAR(outcome.loss, sum / normalizer, 1e-6);
    EXPECT_EQ(outcome.gradient[2], 0);
    EXPECT_NEAR(outcome.gradient[5], 0.5 / normalizer, 1e-7);
  }
}

TEST_P(SigmoidLossTest, TheNormalizerIsAtLeastOne) {
  SigmoidLossParams params = Params(2, 1, Normalization::kValid);
  params.has_ignore = true;
  params.ignore = 0;
  const Outcome outcome = RunLoss(params, {1, 2}, {0, 0});
  EXPECT_EQ(outcome.normalizer, 1);
  EXPECT_EQ(outcome.loss, 0);
  EXPECT_THAT(outcome.gradient, testing::Each(0));
}

TEST_P(SigmoidLossTest, AgreesWithTheOracle) {
  for (const int64_t count : {7, 1000, 60'010}) {
    SigmoidLossParams params = Params(count, 1, Normalization::kValid);
    params.has_ignore = true;
    params.ignore = 2;
    const std::vector<float> logits = Draw(1, count, -8, 8);
    std::vector<float> target;
    Random random(3, 1);
    for (int64_t i = 0; i < count; ++i) target.push_back(static_cast<float>(random.Below(3)));
    const reference::LossAndGradient expected = reference::SigmoidLoss(params, logits, target);
    for (const bool add : {false, true}) {
      const std::vector<float> before = Before(add, 4, count);
      const Outcome outcome =
          RunLoss(params, logits, target, 1, before, add ? GradMode::kAdd : GradMode::kWrite);
      // Chunks of 256 terms are summed in f32, by lanes; what cancels within a term is below 8.
      EXPECT_NEAR(outcome.loss, expected.loss, 4e-6 * expected.loss) << count;
      EXPECT_EQ(outcome.normalizer, expected.normalizer);
      ExpectNear(outcome.gradient, add ? Add(expected.gradient, before) : expected.gradient, 5e-7,
                 1, "gradient");
    }
  }
}

TEST_P(SigmoidLossTest, TheSameBitsForAnyNumberOfThreads) {
  const SigmoidLossParams params = Params(60'010, 10, Normalization::kBatchSize);
  const std::vector<float> logits = Draw(1, params.count, -8, 8);
  const std::vector<float> target = Draw(2, params.count, 0, 1);
  const Outcome one = RunLoss(params, logits, target, 1, {}, GradMode::kWrite, 1);
  const Outcome three = RunLoss(params, logits, target, 1, {}, GradMode::kWrite, 3);
  EXPECT_EQ(one.loss, three.loss);
  EXPECT_EQ(one.gradient, three.gradient);
}

// A power of two: not a bit of the gradient is lost.
TEST_P(SigmoidLossTest, LossScaleMultipliesTheGradientAlone) {
  const SigmoidLossParams params = Params(1003, 17, Normalization::kBatchSize);
  const std::vector<float> logits = Draw(1, params.count, -8, 8);
  const std::vector<float> target = Draw(2, params.count, 0, 1);
  const std::vector<float> zeros(params.count, 0);
  for (const GradMode mode : {GradMode::kWrite, GradMode::kAdd}) {
    const Outcome plain = RunLoss(params, logits, target, 0.75f, zeros, mode);
    const Outcome scaled = RunLoss(params, logits, target, 0.75f, zeros, mode, 2, 1024.0f);
    EXPECT_EQ(scaled.loss, plain.loss);
    std::vector<float> expected = plain.gradient;
    for (float& value : expected) value *= 1024;
    EXPECT_EQ(scaled.gradient, expected);
    EXPECT_NE(scaled.gradient, zeros);
  }
}

TEST_P(SigmoidLossTest, SkipAndRefusals) {
  Context context(GetParam());
  const float normalizer = 1;
  SigmoidLossBackward(context, Params(4, 2, Normalization::kFull), nullptr, nullptr, &normalizer, 1,
                      nullptr, GradMode::kSkip);
  EXPECT_THROW(Params(0, 1, Normalization::kFull).Validate(), Error);
  EXPECT_THROW(Params(5, 2, Normalization::kFull).Validate(), Error);
}

}  // namespace
}  // namespace lseg
