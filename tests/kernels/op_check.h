// What the tests of the ops share: seeded data, and comparisons that name the element.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/runtime/random.h"

namespace lseg {

inline std::vector<float> Draw(uint64_t stream, int64_t count, float low = -1, float high = 1) {
  Random random(20190419, stream);
  std::vector<float> values(count);
  for (float& value : values) value = random.Uniform(low, high);
  return values;
}

// |actual - expected| <= tolerance * (scale[i] + floor) for every element; `what` names the case.
inline void ExpectNear(const std::vector<float>& actual, const std::vector<double>& expected,
                       const std::vector<double>& scale, double tolerance, double floor,
                       const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], tolerance * (scale[i] + floor))
        << what << ", element " << i;
  }
}

// The same with the elements' own size as scale.
inline void ExpectNear(const std::vector<float>& actual, const std::vector<double>& expected,
                       double tolerance, double floor, const std::string& what) {
  std::vector<double> scale;
  for (const double value : expected) scale.push_back(std::fabs(value));
  ExpectNear(actual, expected, scale, tolerance, floor, what);
}

// What a gradient buffer holds before an op: numbers to add to, else NaN, which must vanish.
inline std::vector<float> Before(bool add, uint64_t stream, int64_t count) {
  return add ? Draw(stream, count) : std::vector<float>(count, NAN);
}

inline std::vector<double> Add(std::vector<double> values, const std::vector<float>& more) {
  for (size_t i = 0; i < values.size(); ++i) values[i] += more[i];
  return values;
}

}  // namespace lseg
