#include "lseg/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "kernels/runtime/random.h"

namespace lseg {
namespace {

double Percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(place));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - std::floor(place));
}

}  // namespace

std::vector<int> DrawImages(uint64_t seed, uint64_t resample, size_t images) {
  Random random(seed, resample);
  std::vector<int> times(images, 0);
  for (size_t i = 0; i < images; ++i) ++times[random.Below(static_cast<uint32_t>(images))];
  return times;
}

std::optional<Interval> PercentileInterval(std::vector<double> values) {
  if (values.size() < 2) return std::nullopt;
  std::sort(values.begin(), values.end());
  return Interval{Percentile(values, 0.025), Percentile(values, 0.975),
                  static_cast<int>(values.size())};
}

std::optional<double> TwoSidedP(const std::vector<double>& differences) {
  if (differences.empty()) return std::nullopt;
  int64_t below = 0, above = 0;
  for (double difference : differences) below += difference <= 0, above += difference >= 0;
  const auto all = static_cast<double>(differences.size());
  return std::min(1.0, 2 * (static_cast<double>(std::min(below, above)) + 1) / (all + 1));
}

}  // namespace lseg
