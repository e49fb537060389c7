// The multi-channel bin loss on cases worked out by hand: every branch of the cut-off, and the
// traps. bin_loss_gradient_test.cc compares with the oracle and with numeric gradients.
#include "kernels/bin_loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/runtime/random.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// log(1 + exp(z)) for z = 2, 1, 0, -1, -2; sigmoid(2) and so on.
constexpr double kSoftplus[5] = {2.1269280110, 1.3132616875, 0.6931471806, 0.3132616875,
                                 0.1269280110};
constexpr double kSigmoid[5] = {0.8807970780, 0.7310585786, 0.5, 0.2689414214, 0.1192029220};

// Values to 10 digits above, arithmetic in f32 below: sums of a few terms.
constexpr double kTolerance = 1e-6;

struct Outcome {
  float loss = NAN;
  std::vector<BinLossStats> stats;  // by image and channel
  std::vector<float> gradient;
};

class BinLossTest : public DeviceTest {
 protected:
  Outcome RunLoss(const BinLossParams& params, const std::vector<float>& logits,
                  const std::vector<uint8_t>& label, float loss_weight = 1) {
    Context context(GetParam(), 2);
    const int64_t planes = params.logits.n * params.logits.c;
    const Memory<BinLossStats> stats(
        context, std::vector<BinLossStats>(params.StatsBytes() / sizeof(BinLossStats)));
    const Memory<float> z(context, logits), loss(context, {NAN});
    const Memory<uint8_t> classes(context, label);
    const Memory<float> gradient(context, std::vector<float>(logits.size(), NAN));
    BinLossForward(context, params, z.data(), classes.data(), stats.data(), loss.data());
    BinLossBackward(context, params, z.data(), classes.data(), stats.data(), loss_weight,
                    gradient.data(), GradMode::kWrite);
    Outcome outcome{loss.Values()[0], stats.Values(), gradient.Values()};
    outcome.stats.resize(planes);
    return outcome;
  }
};
LSEG_ON_ALL_DEVICES(BinLossTest);

BinLossParams Params(Shape logits, Shape label, int64_t key, int64_t num_label) {
  BinLossParams params;
  params.logits = logits;
  params.label = label;
  params.key = key;
  params.num_label = num_label;
  return params;
}

// One positive with z = 0, then one negative a bin, hardest first.
const std::vector<float> kOnePerBin = {0, 2, 1, 0, -1, -2};
const std::vector<uint8_t> kFirstIsPositive = {1, 0, 0, 0, 0, 0};
BinLossParams OnePerBin(int64_t key) { return Params({1, 1, 2, 3}, {1, 1, 2, 3}, key, 1); }

TEST_P(BinLossTest, EachBranchOfTheCutOff) {
  // P = 1, so key negatives are wanted and each bin brings one; key 6 is never reached: all.
  for (int64_t key = 1; key <= 6; ++key) {
    const int taken = static_cast<int>(std::min<int64_t>(key, 5));
    const Outcome outcome = RunLoss(OnePerBin(key), kOnePerBin, kFirstIsPositive);
    const double weight_positive = taken / (taken + 1.0), weight_negative = 1 / (taken + 1.0);
    double loss = kSoftplus[2] * weight_positive;
    for (int i = 0; i < taken; ++i) loss += kSoftplus[i] * weight_negative;
    EXPECT_NEAR(outcome.loss, loss, kTolerance) << "key " << key;
    EXPECT_EQ(outcome.stats[0].first_bin, 5 - taken) << "key " << key;
    EXPECT_NEAR(outcome.gradient[0], -0.5 * weight_positive, kTolerance) << "key " << key;
    for (int i = 0; i < 5; ++i) {
      EXPECT_NEAR(outcome.gradient[i + 1], i < taken ? kSigmoid[i] * weight_negative : 0,
                  kTolerance)
          << "key " << key << ", negative " << i;
    }
  }
}

TEST_P(BinLossTest, KeyZeroTakesTheHardestBinOnly) {
  // 0 wanted: reached by the first bin, empty or not.
  const Outcome outcome = RunLoss(OnePerBin(0), kOnePerBin, kFirstIsPositive);
  EXPECT_EQ(outcome.stats[0].first_bin, 4);
  EXPECT_NEAR(outcome.loss, (kSoftplus[2] + kSoftplus[0]) / 2, kTolerance);
}

TEST_P(BinLossTest, StatisticsAndWholeBins) {
  // Two of bin 4 where one is wanted: bins are taken whole.
  const Outcome outcome = RunLoss(OnePerBin(1), {0, 2, 2, 0, -2, -2}, kFirstIsPositive);
  const BinLossStats& s = outcome.stats[0];
  EXPECT_EQ(s.positives, 1);
  EXPECT_THAT(s.negatives, ElementsAre(2, 0, 1, 0, 2));
  EXPECT_NEAR(s.loss_positive, kSoftplus[2], kTolerance);
  EXPECT_NEAR(s.loss_negative[0], 2 * kSoftplus[4], kTolerance);
  EXPECT_NEAR(s.loss_negative[4], 2 * kSoftplus[0], kTolerance);
  EXPECT_EQ(s.first_bin, 4);
  EXPECT_NEAR(outcome.loss, (2 * kSoftplus[2] + 2 * kSoftplus[0]) / 3, kTolerance);
}

TEST_P(BinLossTest, NegativesAreCountedByLesionRoundedDown) {
  // Two channels, all bins taken (key is never reached): 5 and 6 negatives. With num_label 7 that
  // counts 0 + 0, where their sum would give floor(11 / 7) = 1.
  const std::vector<float> logits(12, 0);
  const std::vector<uint8_t> label = kFirstIsPositive;  // channel 0: 1 positive, channel 1: none
  for (const auto& [num_label, count_negative] :
       std::vector<std::pair<int64_t, double>>{{4, 2}, {6, 1}, {7, 0}}) {
    const Outcome outcome =
        RunLoss(Params({1, 2, 2, 3}, {1, 1, 2, 3}, 10, num_label), logits, label);
    const double total = 1 + count_negative;
    EXPECT_NEAR(outcome.loss,
                kSoftplus[2] * (count_negative / total) + 11 * kSoftplus[2] * (1 / total),
                5 * kTolerance)
        << "num_label " << num_label;
  }
}

TEST_P(BinLossTest, AChannelWithoutPositivesTakesAllFiveBins) {
  // Channel 0: the positive and bin 4 (key 1). Channel 1: no positive, six negatives.
  std::vector<float> logits = kOnePerBin;
  for (const float z : {2, 1, 0, -1, -2, -2}) logits.push_back(z);
  const Outcome outcome =
      RunLoss(Params({1, 2, 2, 3}, {1, 1, 2, 3}, 1, 1), logits, kFirstIsPositive);
  EXPECT_EQ(outcome.stats[0].first_bin, 4);
  EXPECT_EQ(outcome.stats[1].first_bin, 0);
  const double total = 1 + (1 + 6);
  double negatives = kSoftplus[0] + kSoftplus[4];
  for (const double term : kSoftplus) negatives += term;
  EXPECT_NEAR(outcome.loss, kSoftplus[2] * (7 / total) + negatives / total, kTolerance);
  EXPECT_NEAR(outcome.gradient[11], kSigmoid[4] / total, kTolerance);
}

TEST_P(BinLossTest, AnEmptyImageTeachesNothing) {
  for (const int64_t num_label : {1, 100}) {  // 100: count_neg is 0 too, a division by zero
    const Outcome outcome = RunLoss(Params({1, 2, 2, 3}, {1, 1, 2, 3}, 10, num_label),
                                    std::vector<float>(12, 1), std::vector<uint8_t>(6, 0));
    EXPECT_EQ(outcome.loss, 0);
    EXPECT_EQ(outcome.stats[0].positives, 0);
    EXPECT_THAT(outcome.gradient, testing::Each(0));
  }
}

TEST_P(BinLossTest, ClassesOfALabelMapBelongToOneChannelEach) {
  // Class 2 is a negative of channel 0 and the positive of channel 1.
  const Outcome outcome = RunLoss(Params({1, 2, 1, 2}, {1, 1, 1, 2}, 10, 1), {0, 1, 2, -1}, {1, 2});
  EXPECT_EQ(outcome.stats[0].positives, 1);
  EXPECT_THAT(outcome.stats[0].negatives, ElementsAre(0, 0, 0, 1, 0));
  EXPECT_EQ(outcome.stats[1].positives, 1);
  EXPECT_THAT(outcome.stats[1].negatives, ElementsAre(0, 0, 0, 0, 1));
  // count_pos = count_neg = 2; positives: z = 0 and z = -1.
  EXPECT_NEAR(outcome.loss, (kSoftplus[2] + kSoftplus[1] + kSoftplus[1] + kSoftplus[0]) / 2,
              kTolerance);
}

TEST_P(BinLossTest, MasksKeepLesionsThatOverlap) {
  // The first pixel belongs to both channels, which no label map can say.
  const Outcome outcome =
      RunLoss(Params({1, 2, 1, 2}, {1, 2, 1, 2}, 10, 1), {0, 1, 2, -1}, {1, 0, 1, 0});
  EXPECT_EQ(outcome.stats[0].positives, 1);
  EXPECT_EQ(outcome.stats[1].positives, 1);
  EXPECT_NEAR(outcome.loss, (kSoftplus[2] + kSoftplus[1] + kSoftplus[4] + kSoftplus[3]) / 2,
              kTolerance);
  EXPECT_NEAR(outcome.gradient[2], -kSigmoid[4] / 2, kTolerance);
}

TEST_P(BinLossTest, AChannelThatIsNotAnnotatedIsAsIfItWereNotThere) {
  // Channels 0 and 2 of three are the whole of a loss of two; 6 channels more than a block takes.
  const int64_t plane = 5 * 7;
  for (const int64_t channels : {2, 6}) {
    Random random(5, static_cast<uint64_t>(channels));
    std::vector<float> logits, fewer_logits;
    std::vector<uint8_t> label, fewer_label;
    for (int64_t c = 0; c < channels + 1; ++c) {
      for (int64_t i = 0; i < plane; ++i) {
        const float z = random.Uniform(-3, 3);
        const uint8_t positive = random.Below(4) == 0;
        logits.push_back(z);
        label.push_back(c == 1 ? kNotAnnotated : positive);
        if (c != 1) fewer_logits.push_back(z);
        if (c != 1) fewer_label.push_back(positive);
      }
    }
    const Shape shape{1, channels + 1, 5, 7}, fewer_shape{1, channels, 5, 7};
    const Outcome outcome = RunLoss(Params(shape, shape, 2, 2), logits, label);
    const Outcome fewer =
        RunLoss(Params(fewer_shape, fewer_shape, 2, 2), fewer_logits, fewer_label);
    EXPECT_EQ(outcome.loss, fewer.loss);
    EXPECT_GT(outcome.loss, 0);
    std::vector<float> expected = fewer.gradient;
    expected.insert(expected.begin() + plane, plane, 0.0f);
    EXPECT_EQ(outcome.gradient, expected);
  }
}

TEST_P(BinLossTest, EveryImageHasItsOwnCutOffAndTheLossIsTheirMean) {
  // Image 0 reaches its one wanted negative with bin 4, image 1, without it, with bin 3 only.
  std::vector<float> logits = kOnePerBin;
  const std::vector<float> second = {1, 1, 1, 0, -1, -2};
  logits.insert(logits.end(), second.begin(), second.end());
  std::vector<uint8_t> label = kFirstIsPositive;
  label.insert(label.end(), kFirstIsPositive.begin(), kFirstIsPositive.end());
  const Outcome both = RunLoss(Params({2, 1, 2, 3}, {2, 1, 2, 3}, 1, 1), logits, label);
  const Outcome first = RunLoss(OnePerBin(1), kOnePerBin, kFirstIsPositive);
  const Outcome other = RunLoss(OnePerBin(1), second, kFirstIsPositive);
  EXPECT_EQ(both.stats[0].first_bin, 4);
  EXPECT_EQ(both.stats[1].first_bin, 3);
  EXPECT_NEAR(both.loss, (first.loss + other.loss) / 2, kTolerance);
  for (int i = 0; i < 6; ++i) {
    EXPECT_NEAR(both.gradient[i], first.gradient[i] / 2, kTolerance);
    EXPECT_NEAR(both.gradient[6 + i], other.gradient[i] / 2, kTolerance);
  }
}

TEST_P(BinLossTest, ScaleAndLossWeight) {
  BinLossParams params = OnePerBin(2);
  const Outcome plain = RunLoss(params, kOnePerBin, kFirstIsPositive);
  params.scale = 0.25f;
  const Outcome scaled = RunLoss(params, kOnePerBin, kFirstIsPositive, 3);
  EXPECT_NEAR(scaled.loss, plain.loss * 0.25, kTolerance) << "the top's weight is not the loss'";
  for (int i = 0; i < 6; ++i) {
    EXPECT_NEAR(scaled.gradient[i], plain.gradient[i] * 0.75, kTolerance);
  }
}

TEST_P(BinLossTest, PublishedBackwardTakesBin0WhereTheCutOffIsBin1) {
  for (int64_t key = 1; key <= 6; ++key) {
    BinLossParams params = OnePerBin(key);
    const Outcome right = RunLoss(params, kOnePerBin, kFirstIsPositive);
    params.published_backward = true;
    const Outcome published = RunLoss(params, kOnePerBin, kFirstIsPositive);
    EXPECT_EQ(published.loss, right.loss);
    std::vector<float> expected = right.gradient;
    if (key == 4) expected[5] = static_cast<float>(kSigmoid[4] / 5);  // the negative of bin 0
    for (int i = 0; i < 6; ++i) {
      EXPECT_NEAR(published.gradient[i], expected[i], kTolerance) << "key " << key;
    }
  }
}

TEST_P(BinLossTest, BinsBeginAtTheLogitsOfTheirProbabilities) {
  const double edges[4] = {-std::log(4.0), -std::log(1.5), std::log(1.5), std::log(4.0)};
  for (int bin = 1; bin <= 4; ++bin) {
    const auto edge = static_cast<float>(edges[bin - 1]);
    EXPECT_EQ(kBinEdges[bin - 1], edge);
    EXPECT_EQ(BinOf(edge), bin);
    EXPECT_EQ(BinOf(std::nextafter(edge, -10.0f)), bin - 1);
    // The gradient's edge is the same number: take bins from `bin` on, at the edge and below it.
    const std::vector<float> logits = {0, edge, std::nextafter(edge, -10.0f)};
    const Outcome outcome = RunLoss(Params({1, 1, 1, 3}, {1, 1, 1, 3}, 1, 1), logits, {1, 0, 0});
    EXPECT_EQ(outcome.stats[0].first_bin, bin);
    EXPECT_GT(outcome.gradient[1], 0);
    EXPECT_EQ(outcome.gradient[2], 0);
  }
  EXPECT_EQ(BinOf(-std::numeric_limits<float>::infinity()), 0);
  EXPECT_EQ(BinOf(1e30f), 4);
}

TEST_P(BinLossTest, LargeLogitsStayFinite) {
  const Outcome outcome = RunLoss(Params({1, 1, 1, 2}, {1, 1, 1, 2}, 10, 1), {-3000, 5000}, {1, 0});
  EXPECT_FLOAT_EQ(outcome.loss, (3000 + 5000) / 2.0f);
  EXPECT_THAT(outcome.gradient, ElementsAre(-0.5f, 0.5f));
}

TEST_P(BinLossTest, ANaNMakesTheLossOne) {
  for (size_t at = 0; at < 6; ++at) {  // positive, taken, not taken
    std::vector<float> logits = kOnePerBin;
    logits[at] = NAN;
    EXPECT_TRUE(std::isnan(RunLoss(OnePerBin(1), logits, kFirstIsPositive).loss)) << at;
  }
}

// More losses than a launch takes, with a gradient that is added and one that is skipped.
TEST_P(BinLossTest, SeveralAtOnceAreEachAsTheyAreAlone) {
  constexpr int kLosses = kMostBinLosses + 1;
  for (const Shape& shape : {Shape{2, 5, 7, 9}, {1, 4, 20, 16}}) {
    const BinLossParams params = Params(shape, {shape.n, 1, shape.h, shape.w}, 3, shape.c);
    std::vector<uint8_t> label;
    for (const float draw : Draw(50, params.label.Count(), 0, 3 * static_cast<float>(shape.c))) {
      label.push_back(draw < static_cast<float>(shape.c + 1) ? static_cast<uint8_t>(draw) : 0);
    }
    Context context(GetParam(), 2);
    const Memory<uint8_t> classes(context, label);
    const std::vector<float> before = Draw(51, shape.Count());
    std::vector<Memory<float>> logits, losses, gradients;
    std::vector<Memory<BinLossStats>> stats;
    std::vector<BinLossTask> forward;
    std::vector<BinLossGradientTask> backward;
    for (int i = 0; i < kLosses; ++i) {
      logits.emplace_back(context, Draw(60 + static_cast<uint64_t>(i), shape.Count(), -3, 3));
      losses.emplace_back(context, std::vector<float>{NAN});
      gradients.emplace_back(context, before);
      stats.emplace_back(context,
                         std::vector<BinLossStats>(params.StatsBytes() / sizeof(BinLossStats)));
      const GradMode mode = i == 1 ? GradMode::kAdd : i == 2 ? GradMode::kSkip : GradMode::kWrite;
      forward.push_back({logits[i].data(), stats[i].data(), losses[i].data()});
      backward.push_back({logits[i].data(), stats[i].data(), 1.0f / static_cast<float>(i + 1),
                          gradients[i].data(), mode});
    }
    BinLossesForward(context, params, classes.data(), forward);
    BinLossesBackward(context, params, classes.data(), backward);
    for (int i = 0; i < kLosses; ++i) {
      const Outcome alone = RunLoss(params, logits[i].Values(), label, backward[i].loss_weight);
      std::vector<float> expected = alone.gradient;
      for (size_t at = 0; at < expected.size(); ++at) {
        if (backward[i].mode == GradMode::kAdd) expected[at] += before[at];
        if (backward[i].mode == GradMode::kSkip) expected[at] = before[at];
      }
      EXPECT_EQ(losses[i].Values()[0], alone.loss) << i;
      EXPECT_NE(alone.loss, 0) << i;
      EXPECT_EQ(gradients[i].Values(), expected) << i;
    }
  }
}

TEST_P(BinLossTest, ALabelOutOfRangeIsRefused) {
  const auto message = [this](const BinLossParams& params, const std::vector<uint8_t>& label) {
    try {
      RunLoss(params, std::vector<float>(params.logits.Count()), label);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const bool on_cpu = GetParam() == Device::kCpu;
  EXPECT_THAT(
      message(Params({2, 2, 2, 3}, {2, 1, 2, 3}, 10, 2), {0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0}),
      HasSubstr(on_cpu ? "label 3 at image 1, row 1, column 1 is above 2"
                       : "a label has a value that is no class"));
  EXPECT_THAT(message(Params({1, 2, 1, 3}, {1, 2, 1, 3}, 10, 2), {0, 1, 1, 0, 0, 255}),
              HasSubstr(on_cpu ? "label 255 at image 0, row 0, column 2 is above 1"
                               : "a label has a value that is no class"));
}

TEST_P(BinLossTest, ImpossibleParamsAreRefused) {
  const Shape shape{1, 2, 2, 3};
  const auto refuses = [](const BinLossParams& params, const char* why) {
    try {
      params.Validate();
      ADD_FAILURE() << "accepted: " << why;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(why));
    }
  };
  refuses(Params(shape, {1, 3, 2, 3}, 10, 2), "label 1x3x2x3 does not fit the logits 1x2x2x3");
  refuses(Params(shape, {1, 1, 2, 4}, 10, 2), "does not fit");
  refuses(Params(shape, {1, 1, 2, 3}, -1, 2), "key -1");
  refuses(Params(shape, {1, 1, 2, 3}, 10, 0), "num_label 0");
  refuses(Params({1, 0, 2, 3}, {1, 1, 2, 3}, 10, 2), "are empty");
  refuses(Params({1, 256, 2, 3}, {1, 1, 2, 3}, 10, 2), "256 channels");
}

}  // namespace
}  // namespace lseg
