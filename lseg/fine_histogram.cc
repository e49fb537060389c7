#include "lseg/fine_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/runtime/check.h"

namespace lseg {
namespace {

// Of float32's 23 bits of mantissa the upper 6 are kept.
constexpr int kShift = 17;
constexpr uint32_t kSmallest = std::bit_cast<uint32_t>(0x1p-24f);
// Classes below 0.5: that of what is smaller than 2^-24, then 23 octaves.
constexpr int kLower = 1 + (23 << (23 - kShift));
static_assert(kFineClasses == 2 * kLower + 1);

// Places on the grid of [2^-24, 0.5], from 0; 0.5 itself has the last.
int PlaceOf(float value) {
  return static_cast<int>((std::bit_cast<uint32_t>(value) - kSmallest) >> kShift);
}
float ValueAt(int place) {
  return std::bit_cast<float>(kSmallest + (static_cast<uint32_t>(place) << kShift));
}

}  // namespace

int FineClass(float probability) {
  if (probability < 0x1p-24f) return 0;
  if (probability < 0.5f) return 1 + PlaceOf(probability);
  const float rest = 1 - probability;  // exact, a multiple of 2^-24
  return rest == 0 ? kFineClasses - 1 : kFineClasses - 2 - PlaceOf(rest);
}

float FineThreshold(int fine_class) {
  if (fine_class == 0) return 0;
  if (fine_class < kLower) return ValueAt(fine_class - 1);
  if (fine_class == kFineClasses - 1) return 1;
  const int place = kFineClasses - 2 - fine_class;
  if (place == kLower - 1) return 0.5f;
  // The largest multiple of 2^-24 below the next place's value is the largest rest here.
  return static_cast<float>(1 - (std::ceil(double{ValueAt(place + 1)} * 0x1p24) - 1) * 0x1p-24);
}

void FineHistogram::Count(const float* prob, const uint8_t* truth, int64_t pixels) {
  for (auto& counts : counts_) counts.resize(kFineClasses, 0);
  for (int64_t i = 0; i < pixels; ++i) ++counts_[truth[i] != 0][FineClass(prob[i])];
}

void FineHistogram::Add(const FineHistogram& other, int64_t times) {
  for (int t = 0; t < 2; ++t) {
    if (other.counts_[t].empty()) continue;
    counts_[t].resize(kFineClasses, 0);
    for (int i = 0; i < kFineClasses; ++i) counts_[t][i] += times * other.counts_[t][i];
  }
}

template <typename Visit>
void FineHistogram::Descend(Visit visit) const {
  if (counts_[0].empty()) return;
  PointScore score;
  for (int t = 0; t < 2; ++t) {
    for (int64_t count : counts_[t]) score.pixels += count, score.positives += t * count;
  }
  if (score.positives == 0) return;
  for (int at = kFineClasses - 1; at > 0; --at) {
    if (counts_[0][at] + counts_[1][at] == 0) continue;
    score.hits += counts_[1][at];
    score.predicted += counts_[0][at] + counts_[1][at];
    visit(at, score);
  }
}

std::optional<double> FineHistogram::AveragePrecision() const {
  double area = 0;
  PointScore last;
  Descend([&](int, const PointScore& score) {
    area += static_cast<double>(score.hits - last.hits) * *score.Precision();
    last = score;
  });
  const PointScore all = At(0);
  if (all.positives == 0) return std::nullopt;
  area += static_cast<double>(all.positives - last.hits) * *all.Precision();
  return area / static_cast<double>(all.positives);
}

PointScore FineHistogram::At(int fine_class) const {
  PointScore score;
  for (int t = 0; t < 2; ++t) {
    for (size_t i = 0; i < counts_[t].size(); ++i) {
      const int64_t count = counts_[t][i];
      const bool found = static_cast<int>(i) >= fine_class;
      score.pixels += count;
      score.positives += t * count;
      score.predicted += found * count;
      score.hits += found * t * count;
    }
  }
  return score;
}

std::optional<int> FineHistogram::OfLargestDice() const {
  std::optional<int> best;
  double dice = -1;
  Descend([&](int at, const PointScore& score) {
    if (*score.Dice() > dice) best = at, dice = *score.Dice();
  });
  return best;
}

std::optional<int> FineHistogram::OfRecall(double recall) const {
  std::optional<int> best;
  Descend([&](int at, const PointScore& score) {
    if (!best && *score.Recall() >= recall) best = at;
  });
  return best;
}

std::optional<int> FineHistogram::OfPrecision(double precision) const {
  std::optional<int> best;
  Descend([&](int at, const PointScore& score) {
    if (*score.Precision() >= precision) best = at;
  });
  return best;
}

}  // namespace lseg
