// Histograms at fixed thresholds, the curves made from them, and the evaluator that fills them.
#include "lseg/metrics.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/runtime/check.h"
#include "lseg/probabilities.h"

namespace lseg {
namespace {

constexpr int kMmsegThresholds = 11;
constexpr size_t kExactPoints = 1000;  // of a pooled curve: finer than a picture shows

std::optional<double> Ratio(int64_t part, int64_t whole) {
  if (whole == 0) return std::nullopt;
  return static_cast<double>(part) / static_cast<double>(whole);
}

// The number of mmseg11's thresholds that p exceeds. The thresholds are rounded to float32, since
// that is what probabilities are compared in: 0.3f does not exceed 0.3.
int ThresholdsBelow(float p) {
  static constexpr std::array<float, kMmsegThresholds> kThresholds = {
      0.0f, 0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f, 0.9f, 1.0f};
  int count = std::min(static_cast<int>(p * 10.0f), kMmsegThresholds - 1);
  while (count < kMmsegThresholds && p > kThresholds[count]) ++count;
  while (count > 0 && !(p > kThresholds[count - 1])) --count;
  return count;
}

// Adds the point at `threshold` to a curve whose thresholds come in descending order.
void AddPoint(PrCurve* curve, double threshold, int64_t hits, int64_t predicted,
              int64_t positives) {
  const double recall = static_cast<double>(hits) / static_cast<double>(positives);
  const double precision = Ratio(hits, predicted).value_or(1);
  if (curve->points.empty()) {
    curve->aupr = 0;
  } else {
    const PrPoint& last = curve->points.back();
    *curve->aupr += (recall - last.recall) * (precision + last.precision) / 2;
  }
  curve->points.push_back({threshold, recall, precision});
}

PrCurve Mmseg11Curve(const std::array<int64_t, 12>& positives,
                     const std::array<int64_t, 12>& negatives) {
  PrCurve curve;
  const int64_t all = std::accumulate(positives.begin(), positives.end(), int64_t{0});
  if (all == 0) return curve;
  int64_t hits = 0, predicted = 0;
  for (int k = kMmsegThresholds - 1; k >= 0;
       --k) {  // a pixel exceeds t_k if it exceeds k + 1 of them
    hits += positives[k + 1];
    predicted += positives[k + 1] + negatives[k + 1];
    AddPoint(&curve, k / 10.0, hits, predicted, all);
  }
  return curve;
}

bool Has(const std::vector<Protocol>& protocols, Protocol protocol) {
  return std::find(protocols.begin(), protocols.end(), protocol) != protocols.end();
}

// Mean of the values that exist, over the lesions present in the truth.
template <typename Value>
std::optional<double> MeanOver(const std::vector<LesionReport>& lesions, Value value) {
  double sum = 0;
  int count = 0;
  for (const LesionReport& lesion : lesions) {
    const std::optional<double> v = value(lesion);
    if (lesion.at_threshold.positives == 0 || !v) continue;
    sum += *v;
    ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

}  // namespace

std::string ToString(Protocol protocol) {
  switch (protocol) {
    case Protocol::kIdrid33:
      return "idrid33";
    case Protocol::kMmseg11:
      return "mmseg11";
    case Protocol::kExact:
      return "exact";
  }
  LSEG_FAIL("no such protocol: " << static_cast<int>(protocol));
}

void PointScore::Add(const PointScore& other, int64_t times) {
  pixels += times * other.pixels;
  positives += times * other.positives;
  predicted += times * other.predicted;
  hits += times * other.hits;
}

std::optional<double> PointScore::Prevalence() const { return Ratio(positives, pixels); }
std::optional<double> PointScore::Dice() const { return Ratio(2 * hits, positives + predicted); }
std::optional<double> PointScore::Iou() const { return Ratio(hits, positives + predicted - hits); }
std::optional<double> PointScore::Precision() const { return Ratio(hits, predicted); }
std::optional<double> PointScore::Recall() const { return Ratio(hits, positives); }

std::optional<double> Report::MeanAupr(Protocol protocol) const {
  return MeanOver(lesions, [&](const LesionReport& lesion) -> std::optional<double> {
    const auto found = lesion.curves.find(protocol);
    return found == lesion.curves.end() ? std::nullopt : found->second.aupr;
  });
}

std::optional<double> Report::Mean(std::optional<double> (PointScore::*ratio)() const) const {
  return MeanOver(lesions, [&](const LesionReport& l) { return (l.at_threshold.*ratio)(); });
}

PrCurve Idrid33Curve(const GrayHistogram& positives, const GrayHistogram& negatives) {
  PrCurve curve;
  const int64_t all = std::accumulate(positives.begin(), positives.end(), int64_t{0});
  if (all == 0) return curve;
  int64_t hits = 0, predicted = 0;
  int gray = 256;
  for (int threshold = 256; threshold >= 0; threshold -= 8) {
    while (gray > threshold) {
      --gray;
      hits += positives[gray];
      predicted += positives[gray] + negatives[gray];
    }
    AddPoint(&curve, threshold / 255.0, hits, predicted, all);
  }
  return curve;
}

void CheckProbabilities(const std::string& name, const std::vector<std::string>& lesions,
                        const float* prob, int64_t height, int64_t width) {
  const int64_t pixels = height * width;
  for (const std::string& lesion : lesions) {
    const float* end = prob + pixels;
    const float* bad = std::find_if_not(prob, end, [](float p) { return p >= 0.0f && p <= 1.0f; });
    LSEG_CHECK(bad == end, name << ": " << lesion << " at x " << (bad - prob) % width << ", y "
                                << (bad - prob) / width << " is " << *bad
                                << ": a probability lies from 0 to 1");
    prob = end;
  }
}

void PixelTally::Add(const PixelTally& other, int64_t times) {
  point.Add(other.point, times);
  for (int t = 0; t < 2; ++t) {
    for (size_t i = 0; i < gray[t].size(); ++i) gray[t][i] += times * other.gray[t][i];
    for (size_t i = 0; i < above[t].size(); ++i) above[t][i] += times * other.above[t][i];
  }
}

PrCurve PixelTally::Curve(Protocol protocol) const {
  LSEG_CHECK(protocol != Protocol::kExact, "average precision needs more than a tally");
  return protocol == Protocol::kIdrid33 ? Idrid33Curve(gray[1], gray[0])
                                        : Mmseg11Curve(above[1], above[0]);
}

PrEvaluator::PrEvaluator(PrOptions options) : options_(std::move(options)) {
  const size_t count = options_.lesions.size();
  LSEG_CHECK(count > 0, "evaluation needs at least one lesion");
  LSEG_CHECK(options_.thresholds.size() == 1 || options_.thresholds.size() == count,
             options_.thresholds.size()
                 << " thresholds for " << count << " lesions: give one for all or one a lesion");
  for (float threshold : options_.thresholds) {
    LSEG_CHECK(threshold >= 0 && threshold <= 1,
               "threshold " << threshold << " is not a probability: give one from 0 to 1");
  }
  options_.thresholds.resize(count, options_.thresholds.front());
  gray_ = Has(options_.protocols, Protocol::kIdrid33);
  mmseg_ = Has(options_.protocols, Protocol::kMmseg11);
  exact_ = Has(options_.protocols, Protocol::kExact);
  tallies_.resize(count);
  exacts_.resize(count);
  second_pass_pixels_.resize(count, 0);
}

PixelTally PrEvaluator::Count(const float* prob, const uint8_t* truth, int64_t pixels,
                              float threshold) const {
  PixelTally tally;
  PointScore& point = tally.point;
  point.pixels = pixels;
  for (int64_t i = 0; i < pixels; ++i) {
    const int lesion = truth[i] != 0, found = prob[i] >= threshold;
    point.positives += lesion;
    point.predicted += found;
    point.hits += lesion & found;
  }
  if (gray_) {
    for (int64_t i = 0; i < pixels; ++i) ++tally.gray[truth[i] != 0][GrayOf(prob[i])];
  }
  if (mmseg_) {
    for (int64_t i = 0; i < pixels; ++i) ++tally.above[truth[i] != 0][ThresholdsBelow(prob[i])];
  }
  return tally;
}

LesionReport PrEvaluator::ReportOf(const PixelTally& tally, const ExactAp& exact) const {
  LesionReport report{.at_threshold = tally.point, .curves = {}};
  for (Protocol protocol : options_.protocols) {
    report.curves[protocol] =
        protocol == Protocol::kExact ? exact.Curve(kExactPoints) : tally.Curve(protocol);
  }
  return report;
}

Report PrEvaluator::Add(const std::string& name, const float* prob, const uint8_t* truth,
                        int64_t height, int64_t width, const std::vector<bool>& annotated,
                        std::vector<PixelTally>* tallies) {
  LSEG_CHECK(
      std::accumulate(second_pass_pixels_.begin(), second_pass_pixels_.end(), int64_t{0}) == 0,
      name << ": images cannot be added during the second pass");
  CheckProbabilities(name, options_.lesions, prob, height, width);
  const int64_t pixels = height * width;
  const int count = static_cast<int>(options_.lesions.size());
  Report report;
  report.lesions.resize(count);
  if (tallies) tallies->resize(count);
#pragma omp parallel for schedule(dynamic)
  for (int c = 0; c < count; ++c) {
    const float* plane = prob + c * pixels;
    const uint8_t* mask = truth + c * pixels;
    const bool counts = annotated.empty() || annotated[c];
    const PixelTally tally = Count(plane, mask, counts ? pixels : 0, options_.thresholds[c]);
    tallies_[c].Add(tally);
    if (tallies) (*tallies)[c] = tally;
    ExactAp exact;
    if (exact_ && counts) {
      exacts_[c].AddPositives(plane, mask, pixels);
      exact.AddPositives(plane, mask, pixels);
      exact.AddNegatives(plane, mask, pixels);
    }
    report.lesions[c] = ReportOf(tally, exact);
    for (auto& [protocol, curve] : report.lesions[c].curves) curve.points.clear();
  }
  return report;
}

bool PrEvaluator::NeedsSecondPass() const { return exact_; }

void PrEvaluator::AddSecondPass(const float* prob, const uint8_t* truth, int64_t height,
                                int64_t width, const std::vector<bool>& annotated) {
  if (!exact_) return;
  const int64_t pixels = height * width;
  const int count = static_cast<int>(options_.lesions.size());
#pragma omp parallel for schedule(dynamic)
  for (int c = 0; c < count; ++c) {
    if (!annotated.empty() && !annotated[c]) continue;
    exacts_[c].AddNegatives(prob + c * pixels, truth + c * pixels, pixels);
    second_pass_pixels_[c] += pixels;
  }
}

Report PrEvaluator::Pooled() const {
  Report report;
  for (size_t c = 0; c < tallies_.size(); ++c) {
    LSEG_CHECK(!exact_ || second_pass_pixels_[c] == tallies_[c].point.pixels,
               "average precision wants every image shown twice: "
                   << tallies_[c].point.pixels << " pixels in the first pass, "
                   << second_pass_pixels_[c] << " in the second");
    report.lesions.push_back(ReportOf(tallies_[c], exacts_[c]));
  }
  return report;
}

}  // namespace lseg
