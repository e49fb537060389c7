// The counts that statistics are made of, against answers by hand and plain loops; intervals of
// two images, whose resamples can be listed.
#include "lseg/eval_statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "lseg/evaluate.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

TEST(FineClass, AscendsAndItsThresholdIsItsSmallest) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> exponent(-26, 0);
  std::vector<float> values = {0, 1, 0.5f, std::nextafter(0.5f, 0.0f), std::nextafter(1.0f, 0.0f)};
  for (int i = 0; i < 20000; ++i) {
    const float small = std::min(1.0f, std::exp2(exponent(random)));
    values.insert(values.end(), {small, 1 - small});
  }
  std::sort(values.begin(), values.end());
  int last = 0;
  for (float value : values) {
    const int at = FineClass(value);
    ASSERT_GE(at, last) << value;
    ASSERT_LT(at, kFineClasses) << value;
    ASSERT_LE(FineThreshold(at), value);
    ASSERT_EQ(FineClass(FineThreshold(at)), at) << value;
    if (at > 0) {
      ASSERT_LT(FineClass(std::nextafter(FineThreshold(at), 0.0f)), at) << value;
    }
    last = at;
  }
  EXPECT_EQ(FineClass(0), 0);
  EXPECT_EQ(FineClass(1), kFineClasses - 1);
}

// EX of tests/lseg/metrics_test.cc; average precision by scikit-learn, whose 24 probabilities fall
// into classes of their own but where they are equal.
const std::vector<float> kProb = {0.81f, 0.81f, 0.52f, 0.29f, 0.05f, 0.38f, 0.41f, 0.0f,
                                  0.05f, 1.0f,  0.65f, 0.23f, 0.43f, 0.97f, 0.9f,  0.84f,
                                  0.39f, 0.5f,  0.68f, 0.0f,  0.56f, 0.27f, 0.88f, 0.06f};
const std::vector<uint8_t> kTruth = {0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0,
                                     0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0};

FineHistogram Histogram() {
  FineHistogram histogram;
  histogram.Count(kProb.data(), kTruth.data(), 24);
  return histogram;
}

TEST(FineHistogram, AveragePrecisionIsScikitLearns) {
  EXPECT_NEAR(*Histogram().AveragePrecision(), 0.7558922558922558, 1e-12);  // sums in double
  FineHistogram thrice;
  thrice.Add(Histogram(), 3);  // counts alike of all pixels change no ratio
  EXPECT_NEAR(*thrice.AveragePrecision(), 0.7558922558922558, 1e-12);
  EXPECT_FALSE(FineHistogram().AveragePrecision());
}

// From the top: 1+ .97+ .9+ .88+ .84 .81 .81 .68+ .65+ .56 .52+ .5 .43 .41 .39 .38+ ...; 9 true.
// Dice 2 hits / (9 + predicted): 8/13 at .88, 10/17 at .68, 12/18 at .65, 14/20 at .52, 16/25 at
// .38.
TEST(FineHistogram, ThresholdsByHand) {
  const FineHistogram histogram = Histogram();
  const PointScore best = histogram.At(*histogram.OfLargestDice());
  EXPECT_EQ(best.hits, 7);
  EXPECT_EQ(best.predicted, 11);
  EXPECT_EQ(best.pixels, 24);
  EXPECT_LE(FineThreshold(*histogram.OfLargestDice()), 0.52f);
  EXPECT_GT(FineThreshold(*histogram.OfLargestDice()), 0.5f);
  EXPECT_EQ(histogram.At(*histogram.OfRecall(4 / 9.)).predicted, 4);
  EXPECT_EQ(histogram.At(*histogram.OfRecall(0.5)).predicted, 8);
  EXPECT_FALSE(histogram.OfRecall(0.95));  // one is at 0: below every threshold
  EXPECT_EQ(histogram.At(*histogram.OfPrecision(1)).predicted, 4);
  EXPECT_EQ(histogram.At(*histogram.OfPrecision(0.6)).predicted, 11);  // 7 / 11, after 6 / 10
  EXPECT_FALSE(FineHistogram().OfLargestDice());
}

TEST(FineHistogram, PrecisionThatIsReachedNowhere) {
  FineHistogram histogram;
  const std::vector<float> prob = {0.9f, 0.5f};
  const std::vector<uint8_t> truth = {0, 1};
  histogram.Count(prob.data(), truth.data(), 2);
  EXPECT_FALSE(histogram.OfPrecision(0.75));
}

TEST(Reliability, ByHand) {
  // Bin 0: 0 and 0.05, none true; bin 7, [7/15, 8/15): 0.5, 0.5, one true; bin 14: 1, true, and
  // 0.95, not.
  const std::vector<float> prob = {0, 0.05f, 0.5f, 0.5f, 1, 0.95f};
  const std::vector<uint8_t> truth = {0, 0, 0, 255, 1, 0};
  Reliability counts;
  counts.Count(prob.data(), truth.data(), 6);
  EXPECT_EQ(counts.bins[0].pixels, 2);
  EXPECT_EQ(counts.bins[7].positives, 1);
  EXPECT_EQ(counts.bins[14].pixels, 2);
  const double error = (0.05 + 0 + 0.95) / 6;
  EXPECT_NEAR(*counts.ExpectedCalibrationError(), error, 1e-8);  // 0.05f is not 0.05
  Reliability twice;
  twice.Add(counts, 2);
  EXPECT_NEAR(*twice.ExpectedCalibrationError(), error, 1e-8);
  EXPECT_EQ(twice.bins[14].pixels, 4);
  EXPECT_FALSE(Reliability().ExpectedCalibrationError());
}

// Two true lesions (one joined by a corner), and what is predicted: at 0.3 one part over the first
// and two beside; at 0.6 one beside is gone; at 0.9 nothing is left of the first.
TEST(Detections, ByHand) {
  const std::vector<uint8_t> truth = {1, 0, 0, 0, 0, 0, 0,  //
                                      0, 1, 0, 0, 0, 0, 1,  //
                                      0, 0, 0, 0, 0, 0, 1};
  const std::vector<float> prob = {0, 0,    0,    0, .7f, 0,   0,  //
                                   0, .65f, .65f, 0, 0,   0,   0,  //
                                   0, 0,    0,    0, .4f, .0f, .2f};
  const Detections counts =
      CountDetections({0.1f, 0.3f, 0.6f, 0.9f}, prob.data(), truth.data(), 3, 7);
  EXPECT_EQ(counts.lesions, 2);
  EXPECT_EQ(counts.images, 1);
  EXPECT_EQ(counts.found, (std::vector<int64_t>{2, 1, 1, 0}));
  EXPECT_EQ(counts.false_positives, (std::vector<int64_t>{2, 2, 1, 0}));
  EXPECT_EQ(counts.SensitivityWithin(0.5), 0);
  EXPECT_EQ(counts.SensitivityWithin(1), 0.5);
  EXPECT_EQ(counts.SensitivityWithin(2), 1);
  EXPECT_NEAR(*counts.Score(), (0 + 0 + 0 + 0.5 + 1 + 1 + 1) / 7, 1e-15);
  Detections sum;
  sum.Add(counts, 2);
  sum.Add(CountDetections(counts.thresholds, prob.data(), std::vector<uint8_t>(21).data(), 3, 7));
  EXPECT_EQ(sum.images, 3);
  EXPECT_EQ(sum.lesions, 4);
  EXPECT_EQ(*sum.FalsePositives(0), (2 * 2 + 4) / 3.);
  EXPECT_FALSE(Detections().Score());
}

TEST(Bootstrap, DrawsAddUpAndRepeat) {
  std::vector<int64_t> drawn(5, 0);
  for (uint64_t r = 0; r < 4000; ++r) {
    const std::vector<int> times = DrawImages(7, r, 5);
    EXPECT_EQ(std::accumulate(times.begin(), times.end(), 0), 5);
    EXPECT_EQ(times, DrawImages(7, r, 5));
    for (int i = 0; i < 5; ++i) drawn[i] += times[i];
  }
  // 20000 draws of chance 1/5: mean 4000, standard deviation 57; five of them.
  for (int64_t count : drawn) EXPECT_NEAR(static_cast<double>(count), 4000, 285);
  EXPECT_NE(DrawImages(7, 0, 50), DrawImages(8, 0, 50));
}

TEST(Bootstrap, PercentilesAreNumpys) {
  // numpy.percentile([0..10] ** 2, [2.5, 97.5]): ranks 0.25 and 9.75.
  std::vector<double> values;
  for (int i = 10; i >= 0; --i) values.push_back(i * i);
  const Interval interval = *PercentileInterval(values);
  EXPECT_NEAR(interval.low, 0.25, 1e-12);
  EXPECT_NEAR(interval.high, 81 + 0.75 * 19, 1e-12);
  EXPECT_EQ(interval.resamples, 11);
  EXPECT_FALSE(PercentileInterval({1}));
}

TEST(Bootstrap, TwoSidedP) {
  EXPECT_EQ(*TwoSidedP(std::vector<double>(99, 0.5)), 2 / 100.);
  EXPECT_EQ(*TwoSidedP({-1, 2, 3}), 1);
  std::vector<double> some(200, -1);
  some[0] = 1, some[1] = 0;  // 0 is on both sides
  EXPECT_EQ(*TwoSidedP(some), 2 * 3 / 201.);
  EXPECT_EQ(*TwoSidedP({0, 0, 0}), 1);
  EXPECT_FALSE(TwoSidedP({}));
}

// Images of one row and one lesion, their counts made as Evaluate makes them.
Evaluation Rows(const std::vector<std::vector<float>>& prob,
                const std::vector<std::vector<uint8_t>>& truth) {
  Evaluation evaluation;
  evaluation.options.scores = {.lesions = {"EX"}, .protocols = {Protocol::kIdrid33}};
  evaluation.options.prob_folder = "maps";
  evaluation.kind = PredictionKind::kNpy;
  PrEvaluator evaluator(evaluation.options.scores);
  for (size_t i = 0; i < prob.size(); ++i) {
    const auto width = static_cast<int>(prob[i].size());
    std::vector<PixelTally> tallies;
    const Report report =
        evaluator.Add("x", prob[i].data(), truth[i].data(), 1, width, {}, &tallies);
    LesionCounts counts;
    counts.pixels = tallies[0];
    counts.fine.Count(prob[i].data(), truth[i].data(), width);
    counts.reliability.Count(prob[i].data(), truth[i].data(), width);
    counts.detections = CountDetections({0.5f}, prob[i].data(), truth[i].data(), 1, width);
    evaluation.images.push_back({"x" + std::to_string(i), width, 1, report, {counts}});
  }
  evaluation.pooled = evaluator.Pooled();
  return evaluation;
}

// Of two images a quarter of the draws is the first twice, and a quarter the second: the interval
// goes from the worse to the better of them.
TEST(Statistics, IntervalOfTwoImages) {
  Evaluation evaluation = Rows({{1, 1, 0, 0}, {1, 0, 0, 1}}, {{1, 1, 0, 0}, {1, 1, 1, 0}});
  AddStatistics({.resamples = 200}, &evaluation);
  const Statistics& statistics = *evaluation.statistics;
  EXPECT_EQ(statistics.figures[0].at("dice"), 2 * 3 / 9.);
  EXPECT_EQ(statistics.intervals[0].at("dice").low, 2 * 1 / 5.);
  EXPECT_EQ(statistics.intervals[0].at("dice").high, 1);
  EXPECT_EQ(statistics.intervals[0].at("dice_per_image").low, 2 * 1 / 5.);
  EXPECT_EQ(statistics.intervals[0].at("idrid33.aupr").high, 1);
  EXPECT_EQ(statistics.intervals[0].at("prevalence").low, 0.5);
  EXPECT_EQ(statistics.intervals[0].at("prevalence").high, 0.75);
  EXPECT_EQ(statistics.figures[1], statistics.figures[0]);  // the mean of one lesion
}

// In a quarter of the draws the lesion is nowhere: its figures are of the others, and known.
TEST(Statistics, ResamplesWithoutTheLesionDoNotCount) {
  Evaluation evaluation = Rows({{1, 1, 0, 0}, {0, 0, 0, 0}}, {{1, 0, 1, 1}, {0, 0, 0, 0}});
  AddStatistics({.resamples = 400}, &evaluation);
  const Interval recall = evaluation.statistics->intervals[0].at("recall");
  EXPECT_EQ(recall.low, 1 / 3.);
  EXPECT_EQ(recall.high, 1 / 3.);
  // 400 draws of chance 3/4: mean 300, standard deviation 8.7; five of them.
  EXPECT_NEAR(recall.resamples, 300, 43);
  EXPECT_EQ(evaluation.statistics->intervals[0].at("prevalence").resamples, 400);
}

TEST(Statistics, OneImageHasNoInterval) {
  Evaluation evaluation = Rows({{1, 0}}, {{1, 0}});
  AddStatistics({}, &evaluation);
  EXPECT_TRUE(evaluation.statistics->intervals[0].empty());
  EXPECT_EQ(evaluation.statistics->figures[0].at("dice"), 1);
}

// Better on the first of two images, alike on the second: a quarter of the draws has no difference,
// and another that of the first alone, whatever the models' own figures do.
TEST(Statistics, ComparisonIsPaired) {
  const std::vector<std::vector<uint8_t>> truth = {{1, 1, 0, 0}, {1, 1, 1, 0}};
  Evaluation good = Rows({{1, 1, 0, 0}, {1, 0, 0, 0}}, truth);
  Evaluation bad = Rows({{1, 0, 0, 0}, {1, 0, 0, 0}}, truth);
  bad.options.prob_folder = "before";
  AddStatistics({.resamples = 400}, &good);
  AddStatistics({.resamples = 400}, &bad);
  Compare(bad, &good);
  const Difference& recall = good.comparison->figures[0].at("recall");
  EXPECT_EQ(good.comparison->folder, "before");
  EXPECT_EQ(recall.value, 3 / 5.);
  EXPECT_EQ(recall.other, 2 / 5.);
  EXPECT_EQ(recall.interval->low, 0);
  EXPECT_EQ(recall.interval->high, 0.5);
  // Twice the share of draws without a difference: mean 1/2, standard deviation 0.043; five of
  // them.
  EXPECT_NEAR(*recall.p, 0.5, 0.22);
  Evaluation wide = Rows({{1, 1, 0, 0, 0}, {1, 0, 0, 0}}, {{1, 1, 0, 0, 0}, {1, 1, 1, 0}});
  AddStatistics({}, &wide);
  EXPECT_EQ(ErrorOf([&] { Compare(wide, &good); }),
            "x0: is 4x1 here and 5x1 in maps: compare the two at one size, that of the truth");
}

}  // namespace
}  // namespace lseg
