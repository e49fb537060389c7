// Areas and ratios against counts by definition, values worked out by hand, and scikit-learn's.
#include "lseg/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/runtime/check.h"
#include "kernels/runtime/random.h"

namespace lseg {
namespace {

using ::testing::HasSubstr;
using Values = std::vector<float>;
using Truth = std::vector<uint8_t>;

const std::vector<Protocol> kAll(std::begin(kProtocols), std::end(kProtocols));
// Sums of at most a thousand terms in double: rounding stays far below this.
constexpr double kTolerance = 1e-12;

// One lesion, one image of one row.
Report Evaluate(const Values& prob, const Truth& truth, std::vector<Protocol> protocols = kAll,
                float threshold = 0.5f) {
  PrEvaluator evaluator(
      {.lesions = {"MA"}, .protocols = std::move(protocols), .thresholds = {threshold}});
  const auto width = static_cast<int64_t>(prob.size());
  const Report image = evaluator.Add("a.npy", prob.data(), truth.data(), 1, width);
  evaluator.AddSecondPass(prob.data(), truth.data(), 1, width);
  Report pooled = evaluator.Pooled();
  for (auto& [protocol, curve] : pooled.lesions[0].curves) {
    EXPECT_EQ(image.lesions[0].curves.at(protocol).aupr, curve.aupr) << ToString(protocol);
    EXPECT_TRUE(image.lesions[0].curves.at(protocol).points.empty());
  }
  return pooled;
}

double Aupr(const Values& prob, const Truth& truth, Protocol protocol) {
  return Evaluate(prob, truth, {protocol}).lesions[0].curves.at(protocol).aupr.value();
}

// By definition: counts at every threshold, from the highest, and the trapezoids under them (or the
// steps). `positive(i, k)`: is pixel i predicted at the k-th threshold.
template <typename Positive>
double AreaByDefinition(const Truth& truth, int thresholds, Positive positive, bool steps) {
  double area = 0, last_recall = 0, last_precision = 0;
  for (int k = 0; k < thresholds; ++k) {
    double hits = 0, predicted = 0, all = 0;
    for (size_t i = 0; i < truth.size(); ++i) {
      all += truth[i];
      predicted += positive(i, k);
      hits += truth[i] && positive(i, k);
    }
    const double recall = hits / all;
    double precision = hits / predicted;
    if (std::isnan(precision)) precision = 1;
    if (steps) area += (recall - last_recall) * precision;
    if (!steps && k > 0) area += (recall - last_recall) * (precision + last_precision) / 2;
    last_recall = recall, last_precision = precision;
  }
  return area;
}

double ByDefinition(const Values& prob, const Truth& truth, Protocol protocol) {
  if (protocol == Protocol::kIdrid33) {
    const auto at = [&](size_t i, int k) { return std::lround(255.0 * prob[i]) >= 256 - 8 * k; };
    return AreaByDefinition(truth, 33, at, false);
  }
  if (protocol == Protocol::kMmseg11) {
    const auto at = [&](size_t i, int k) { return prob[i] > static_cast<float>((10 - k) / 10.0); };
    return AreaByDefinition(truth, 11, at, false);
  }
  Values distinct = prob;
  std::sort(distinct.rbegin(), distinct.rend());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  const auto at = [&](size_t i, int k) { return prob[i] >= distinct[k]; };
  return AreaByDefinition(truth, static_cast<int>(distinct.size()), at, true);
}

// import numpy
// from sklearn.metrics import average_precision_score, auc  # 1.9.1
// r = numpy.random.default_rng(5)
// p = numpy.round(r.random(24), 2).astype(numpy.float32)
// p[[7, 19, 17]] = 0, 0, 0.5
// t = (r.random(24) < 0.2 + 0.5 * p).astype(int)
// def area(predictions):
//     P = [1 if not q.any() else t[q].mean() for q in predictions]
//     R = [t[q].sum() / t.sum() for q in predictions]
//     return auc(R, P)
// print(average_precision_score(t, p),
//       area([numpy.round(255 * p.astype(float)) >= k for k in range(256, -1, -8)]),
//       area([p > numpy.float32(k / 10) for k in range(10, -1, -1)]))
// 0.7558922558922558 0.7450036075036075 0.6623376623376623
const Values kProb = {0.81f, 0.81f, 0.52f, 0.29f, 0.05f, 0.38f, 0.41f, 0.0f,
                      0.05f, 1.0f,  0.65f, 0.23f, 0.43f, 0.97f, 0.9f,  0.84f,
                      0.39f, 0.5f,  0.68f, 0.0f,  0.56f, 0.27f, 0.88f, 0.06f};
const Truth kTruth = {0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0};

TEST(Metrics, AgreeWithScikitLearn) {
  EXPECT_NEAR(Aupr(kProb, kTruth, Protocol::kExact), 0.7558922558922558, kTolerance);
  EXPECT_NEAR(Aupr(kProb, kTruth, Protocol::kIdrid33), 0.7450036075036075, kTolerance);
  EXPECT_NEAR(Aupr(kProb, kTruth, Protocol::kMmseg11), 0.6623376623376623, kTolerance);
}

// Worked out by hand. exact: steps of recall 1/3 at .9 (precision 1), .8 (2/3) and .1 (3/5).
TEST(Metrics, AgreeWithAreasByHand) {
  const Values prob = {0.9f, 0.8f, 0.8f, 0.7f, 0.1f};
  const Truth truth = {1, 0, 1, 0, 1};
  EXPECT_NEAR(Aupr(prob, truth, Protocol::kExact), (1 + 2 / 3. + 3 / 5.) / 3, kTolerance);

  // At 0 and 1 only. idrid33: (recall, precision) = (0, 1), (1/2, 1) and at threshold 0 (1, 2/3).
  // mmseg11 never predicts the positive pixel of probability 0: (0, 1) and (1/2, 1).
  const Values ends = {1, 0, 0};
  const Truth of_ends = {1, 1, 0};
  EXPECT_NEAR(Aupr(ends, of_ends, Protocol::kIdrid33), 0.5 + 0.5 * (1 + 2 / 3.) / 2, kTolerance);
  EXPECT_NEAR(Aupr(ends, of_ends, Protocol::kMmseg11), 0.5, kTolerance);
  EXPECT_NEAR(Aupr(ends, of_ends, Protocol::kExact), 0.5 + 0.5 * 2 / 3, kTolerance);
}

TEST(Metrics, PrecisionIsOneWhereNothingIsPredicted) {
  // Only threshold 0 predicts anything: the trapezoid from (0, 1) to (1, 1/4).
  EXPECT_NEAR(Aupr({0, 0, 0, 0}, {0, 1, 0, 0}, Protocol::kIdrid33), (1 + 0.25) / 2, kTolerance);
  EXPECT_EQ(Aupr({0, 0, 0, 0}, {0, 1, 0, 0}, Protocol::kMmseg11), 0);
  EXPECT_NEAR(Aupr({0, 0, 0, 0}, {0, 1, 0, 0}, Protocol::kExact), 0.25, kTolerance);
}

TEST(Metrics, EveryProtocolAgreesWithItsDefinition) {
  Random random(11, 0);
  for (int round = 0; round < 60; ++round) {
    Values prob;
    Truth truth;
    const int pixels = 1 + static_cast<int>(random.Below(60));
    for (int i = 0; i < pixels; ++i) {
      // Thresholds of both protocols, 0 and 1, neighbours of thresholds, and numbers in between.
      const float on[] = {random.Below(11) / 10.0f, random.Below(256) / 255.0f,
                          (random.Below(255) + 0.5f) / 255.0f, random.Uniform()};
      float p = on[random.Below(4)];
      if (random.Below(3) == 0) p = std::nextafter(p, random.Below(2) ? 1.0f : 0.0f);
      prob.push_back(p);
      truth.push_back(i == 0 || random.Uniform() < 0.1f + 0.6f * p);
    }
    for (Protocol protocol : kProtocols) {
      EXPECT_NEAR(Aupr(prob, truth, protocol), ByDefinition(prob, truth, protocol), kTolerance)
          << ToString(protocol) << ", round " << round;
    }
  }
}

// Gray 127.5 is 128, so 0.5 is at threshold 128 and its lower neighbour is not.
TEST(Metrics, Idrid33RoundsHalfAGrayUp) {
  const auto area = [](float positive, float negative) {
    return Aupr({positive, negative}, {1, 0}, Protocol::kIdrid33);
  };
  const float below = std::nextafter(0.5f, 0.0f);
  EXPECT_EQ(area(0.5f, below), 1);            // 128 is told from 127
  EXPECT_EQ(area(0.5f, 0.5f), 0.75);          // no threshold between them: (0, 1) to (1, 1/2)
  EXPECT_EQ(area(below, 120 / 255.f), 0.75);  // 120 to 127 are one step of thresholds
  EXPECT_EQ(area(120 / 255.f, 119 / 255.f), 1);
}

TEST(Metrics, Mmseg11ThresholdsAreExceededNotReached) {
  const auto area = [](float positive, float negative) {
    return Aupr({positive, negative}, {1, 0}, Protocol::kMmseg11);
  };
  EXPECT_EQ(area(std::nextafter(0.3f, 1.0f), 0.3f), 1);
  EXPECT_EQ(area(0.3f, std::nextafter(0.2f, 1.0f)), 0.75);
}

TEST(Metrics, CurvesRunFromTheHighestThresholdDown) {
  const Report report = Evaluate(kProb, kTruth);
  const auto& curves = report.lesions[0].curves;
  EXPECT_EQ(curves.at(Protocol::kIdrid33).points.size(), 33u);
  EXPECT_EQ(curves.at(Protocol::kMmseg11).points.size(), 11u);
  EXPECT_EQ(curves.at(Protocol::kExact).points.size(), 9u);  // probabilities of positives
  for (const auto& [protocol, curve] : curves) {
    for (size_t i = 1; i < curve.points.size(); ++i) {
      EXPECT_LT(curve.points[i].threshold, curve.points[i - 1].threshold) << ToString(protocol);
      EXPECT_GE(curve.points[i].recall, curve.points[i - 1].recall) << ToString(protocol);
    }
  }
  const PrPoint& all = curves.at(Protocol::kIdrid33).points.back();  // everything predicted
  EXPECT_EQ(all.recall, 1);
  EXPECT_EQ(all.precision, std::accumulate(kTruth.begin(), kTruth.end(), 0) / 24.0);
}

TEST(Metrics, AnAbsentLesionHasNoArea) {
  const Report report = Evaluate({0.2f, 0.9f, 0.1f}, {0, 0, 0});
  for (Protocol protocol : kProtocols) {
    EXPECT_FALSE(report.lesions[0].curves.at(protocol).aupr.has_value()) << ToString(protocol);
    EXPECT_TRUE(report.lesions[0].curves.at(protocol).points.empty());
    EXPECT_FALSE(report.MeanAupr(protocol).has_value());
  }
  EXPECT_EQ(report.lesions[0].at_threshold.Dice(), 0);  // a false alarm
  EXPECT_FALSE(report.lesions[0].at_threshold.Recall().has_value());
  EXPECT_FALSE(report.Mean(&PointScore::Dice).has_value());
}

TEST(Metrics, RatiosAtTheThreshold) {
  const Values prob = {0.5f, std::nextafter(0.5f, 0.0f), 0.7f, 0.9f, 0.1f, 0.0f, 0.6f, 0.2f};
  const Truth truth = {1, 1, 0, 1, 0, 0, 1, 0};
  const PointScore score = Evaluate(prob, truth).lesions[0].at_threshold;  // 0.5 itself is positive
  EXPECT_EQ(score.pixels, 8);
  EXPECT_EQ(score.positives, 4);
  EXPECT_EQ(score.predicted, 4);
  EXPECT_EQ(score.hits, 3);
  EXPECT_EQ(score.Dice(), 6 / 8.);
  EXPECT_EQ(score.Iou(), 3 / 5.);
  EXPECT_EQ(score.Precision(), 3 / 4.);
  EXPECT_EQ(score.Recall(), 3 / 4.);
  EXPECT_EQ(score.Prevalence(), 4 / 8.);

  const PointScore none = Evaluate(prob, truth, {}, 0.95f).lesions[0].at_threshold;
  EXPECT_FALSE(none.Precision().has_value());
  EXPECT_EQ(none.Recall(), 0);
  EXPECT_EQ(none.Dice(), 0);
  EXPECT_EQ(Evaluate(prob, truth, {}, 0).lesions[0].at_threshold.predicted, 8);
}

// Two images pooled are one image of their pixels, and the mean leaves out lesions that are absent
// from all images, but not those absent from one.
TEST(Metrics, PoolsPixelsOverImages) {
  const int64_t half = 12, pixels = 24;
  PrEvaluator evaluator({.lesions = {"EX", "HE"}, .protocols = kAll, .thresholds = {0.5f, 0.3f}});
  for (int pass = 0; pass < 2; ++pass) {
    for (int64_t from : {int64_t{0}, half}) {
      Values prob(kProb.begin() + from, kProb.begin() + from + half);
      prob.insert(prob.end(), kProb.begin() + from, kProb.begin() + from + half);
      Truth truth(kTruth.begin() + from, kTruth.begin() + from + half);
      truth.resize(2 * half, 0);  // no HE anywhere
      if (pass == 0) {
        evaluator.Add("a", prob.data(), truth.data(), 3, 4);
      } else {
        evaluator.AddSecondPass(prob.data(), truth.data(), 3, 4);
      }
    }
  }
  const Report pooled = evaluator.Pooled();
  EXPECT_EQ(pooled.lesions[0].at_threshold.pixels, pixels);
  EXPECT_EQ(pooled.lesions[0].at_threshold.predicted, 12);  // at 0.5
  EXPECT_EQ(pooled.lesions[1].at_threshold.predicted, 16);  // at 0.3
  for (Protocol protocol : kProtocols) {
    EXPECT_NEAR(pooled.lesions[0].curves.at(protocol).aupr.value(),
                ByDefinition(kProb, kTruth, protocol), kTolerance);
    EXPECT_EQ(pooled.MeanAupr(protocol), pooled.lesions[0].curves.at(protocol).aupr);
  }
}

std::string Message(const Values& prob, int64_t height, int64_t width) {
  const Truth truth(prob.size(), 0);
  PrEvaluator evaluator({.lesions = {"EX", "HE"}});
  try {
    evaluator.Add("x.prob.npy", prob.data(), truth.data(), height, width);
  } catch (const Error& error) {
    EXPECT_EQ(evaluator.Pooled().lesions[0].at_threshold.pixels, 0);
    return error.what();
  }
  return "";
}

TEST(Metrics, RefusesWhatIsNoProbability) {
  Values prob(2 * 2 * 3, 0.5f);
  EXPECT_EQ(Message(prob, 2, 3), "");
  prob[6 + 5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(Message(prob, 2, 3), HasSubstr("x.prob.npy: HE at x 2, y 1 is nan"));
  prob[6 + 5] = 0, prob[4] = 1.5f;
  EXPECT_THAT(Message(prob, 2, 3), HasSubstr("EX at x 1, y 1 is 1.5"));
  prob[4] = -1e-9f;
  EXPECT_THAT(Message(prob, 2, 3), HasSubstr("EX at x 1, y 1 is -1e-09"));
  prob[4] = -0.0f;
  EXPECT_EQ(Message(prob, 2, 3), "");
}

TEST(Metrics, RefusesWrongUse) {
  EXPECT_THROW(PrEvaluator({.lesions = {}}), Error);
  EXPECT_THROW(PrEvaluator({.thresholds = {0.5f, 0.5f}}), Error);
  EXPECT_THROW(PrEvaluator({.thresholds = {1.5f}}), Error);

  PrEvaluator evaluator({.lesions = {"MA"}, .protocols = {Protocol::kExact}});
  const Truth truth = {1, 0};
  const Values prob = {0.5f, 0.25f};
  ASSERT_TRUE(evaluator.NeedsSecondPass());
  evaluator.Add("a", prob.data(), truth.data(), 1, 2);
  EXPECT_THROW(evaluator.Pooled(), Error);
  evaluator.AddSecondPass(prob.data(), truth.data(), 1, 2);
  EXPECT_EQ(evaluator.Pooled().MeanAupr(Protocol::kExact), 1);
  EXPECT_THROW(evaluator.Add("b", prob.data(), truth.data(), 1, 2), Error);
}

}  // namespace
}  // namespace lseg
