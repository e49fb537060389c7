// Values are drawn one by one in order of memory: the stream of random numbers is the contract.
#include "framework/filler.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/runtime/check.h"

namespace lseg {
namespace {

double VarianceCount(const caffe::FillerParameter& filler, const Shape& shape) {
  const double fan_in = static_cast<double>(shape.Count()) / shape.n;
  const double fan_out = static_cast<double>(shape.Count()) / shape.c;
  switch (filler.variance_norm()) {
    case caffe::FillerParameter::FAN_IN:
      return fan_in;
    case caffe::FillerParameter::FAN_OUT:
      return fan_out;
    case caffe::FillerParameter::AVERAGE:
      return (fan_in + fan_out) / 2;
  }
  LSEG_FAIL("unknown variance_norm " << filler.variance_norm());
}

double BilinearTap(int64_t position, int64_t kernel) {
  const double factor = static_cast<double>((kernel + 1) / 2);
  return 1 -
         std::fabs(static_cast<double>(position) - 0.5 * static_cast<double>(kernel - 1)) / factor;
}

void FillKernel(int64_t kernel, float* data) {
  for (int64_t y = 0; y < kernel; ++y) {
    for (int64_t x = 0; x < kernel; ++x) {
      data[y * kernel + x] = static_cast<float>(BilinearTap(x, kernel) * BilinearTap(y, kernel));
    }
  }
}

void CheckSquare(const Shape& shape) {
  LSEG_CHECK(shape.h == shape.w,
             "the bilinear filler needs a square kernel, not " << shape.h << "x" << shape.w);
}

}  // namespace

void Fill(const caffe::FillerParameter& filler, const Shape& shape, float* data, Random& random) {
  const std::string& type = filler.type();
  const auto uniform = [&](float low, float high) {
    std::generate(data, data + shape.Count(), [&] { return random.Uniform(low, high); });
  };
  const auto normal = [&](float mean, float std) {
    std::generate(data, data + shape.Count(), [&] { return mean + std * random.Normal(); });
  };
  if (shape.Count() == 0) return;
  if (type == "constant") {
    std::fill(data, data + shape.Count(), filler.value());
  } else if (type == "uniform") {
    uniform(filler.min(), filler.max());
  } else if (type == "gaussian") {
    LSEG_CHECK(filler.sparse() < 0, "the gaussian filler's sparse is not supported: leave it out");
    normal(filler.mean(), filler.std());
  } else if (type == "xavier") {
    const float scale = static_cast<float>(std::sqrt(3.0 / VarianceCount(filler, shape)));
    uniform(-scale, scale);
  } else if (type == "msra") {
    normal(0, static_cast<float>(std::sqrt(2.0 / VarianceCount(filler, shape))));
  } else if (type == "bilinear") {
    FillBilinear(shape, data);
  } else {
    LSEG_FAIL("filler type '" << type << "' is unknown: bilinear, constant, gaussian, msra, "
                              << "uniform and xavier are known");
  }
}

void FillBilinear(const Shape& shape, float* data) {
  CheckSquare(shape);
  for (int64_t pair = 0; pair < shape.n * shape.c; ++pair) {
    FillKernel(shape.h, data + pair * shape.h * shape.w);
  }
}

void FillBilinearDiagonal(const Shape& shape, float* data) {
  CheckSquare(shape);
  LSEG_CHECK(
      shape.n == shape.c || shape.c == 1,
      "bilinear weights on the diagonal need as many outputs as inputs, not " << ToString(shape));
  std::fill(data, data + shape.Count(), 0.0f);
  for (int64_t i = 0; i < shape.n; ++i) {
    const int64_t pair = i * shape.c + (shape.c == 1 ? 0 : i);
    FillKernel(shape.h, data + pair * shape.h * shape.w);
  }
}

}  // namespace lseg
