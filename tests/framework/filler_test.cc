// Fillers: known values where the definition gives them, moments and ranges where it is random.
#include "framework/filler.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "framework/layer.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

caffe::FillerParameter Filler(const std::string& text) {
  caffe::FillerParameter filler;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &filler));
  return filler;
}

std::vector<float> Filled(const std::string& text, const Shape& shape, uint64_t seed = 7) {
  std::vector<float> data(static_cast<size_t>(shape.Count()), -99.0f);
  Random random(seed, 1);
  Fill(Filler(text), shape, data.data(), random);
  return data;
}

struct Moments {
  double mean = 0, std = 0;
  float min = 0, max = 0;
};

Moments MomentsOf(const std::vector<float>& data) {
  Moments m{0, 0, data[0], data[0]};
  for (const float x : data) m.mean += x / data.size();
  for (const float x : data) m.std += (x - m.mean) * (x - m.mean) / data.size();
  m.std = std::sqrt(m.std);
  m.min = *std::min_element(data.begin(), data.end());
  m.max = *std::max_element(data.begin(), data.end());
  return m;
}

// 40 000 values: the mean of a unit variance is within 0.025 (5 standard errors), its standard
// deviation within 0.018 (5 standard errors of the normal, more for the uniform).
constexpr Shape kMany{20, 10, 10, 20};
constexpr double kMean = 0.025, kStd = 0.018;

TEST(Filler, Constant) {
  EXPECT_EQ(Filled("", {2, 1, 1, 2}), (std::vector<float>{0, 0, 0, 0}));
  EXPECT_EQ(Filled("type: 'constant' value: 0.2", {1, 5, 1, 1}),
            (std::vector<float>{0.2f, 0.2f, 0.2f, 0.2f, 0.2f}));
}

TEST(Filler, UniformKeepsItsRange) {
  const Moments m = MomentsOf(Filled("type: 'uniform' min: -1 max: 3", kMany));
  EXPECT_GE(m.min, -1.0f);
  EXPECT_LT(m.max, 3.0f);
  const double std = 4 / std::sqrt(12.0);
  EXPECT_NEAR(m.mean, 1, kMean * std);
  EXPECT_NEAR(m.std, std, kStd * std);
}

TEST(Filler, GaussianHasItsMoments) {
  const Moments m = MomentsOf(Filled("type: 'gaussian' mean: 2 std: 0.01", kMany));
  EXPECT_NEAR(m.mean, 2, kMean * 0.01);
  EXPECT_NEAR(m.std, 0.01, kStd * 0.01);
  EXPECT_GT(m.max, 2.03f);  // beyond 3 standard deviations: not a uniform in disguise
}

// kMany: fan_in = count / n = 2000, fan_out = count / c = 4000, average 3000.
TEST(Filler, XavierByFan) {
  for (const auto& [norm, n] :
       {std::pair<std::string, double>{"FAN_IN", 2000}, {"FAN_OUT", 4000}, {"AVERAGE", 3000}}) {
    const Moments m = MomentsOf(Filled("type: 'xavier' variance_norm: " + norm, kMany));
    const float scale = static_cast<float>(std::sqrt(3 / n));
    EXPECT_GE(m.min, -scale) << norm;
    EXPECT_LE(m.max, scale) << norm;
    EXPECT_GT(m.max, 0.999f * scale) << norm;  // 40 000 draws come this close to the bound
    EXPECT_NEAR(m.std, std::sqrt(1 / n), kStd * std::sqrt(1 / n)) << norm;
  }
}

TEST(Filler, MsraByFan) {
  for (const auto& [norm, n] :
       {std::pair<std::string, double>{"FAN_IN", 2000}, {"FAN_OUT", 4000}, {"AVERAGE", 3000}}) {
    const Moments m = MomentsOf(Filled("type: 'msra' variance_norm: " + norm, kMany));
    const double std = std::sqrt(2 / n);
    EXPECT_NEAR(m.mean, 0, kMean * std) << norm;
    EXPECT_NEAR(m.std, std, kStd * std) << norm;
  }
}

// Caffe's fan_in of a bias is count / num = 1, its fan_out count / channels = N, for its blob has
// one axis: a uniform in +-sqrt(3), and in +-sqrt(3 / N).
TEST(Filler, XavierOfABias) {
  constexpr int kOutputs = 10000;
  const auto largest = [&](const std::string& filler) {
    Context context;
    ParameterSet parameters;
    const NetDefinition net = NetDefinition::FromText(
        "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 1 dim: 1 "
        "dim: 1 } } } layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' "
        "convolution_param { kernel_size: 1 num_output: " +
            std::to_string(kOutputs) + " bias_filler { " + filler + " } } }",
        "net");
    BuildLayers(net.Filtered(caffe::TEST), BuiltinLayers(), context, 1, parameters, {});
    const float* bias = parameters.Find("c.bias")->f32();
    return MomentsOf({bias, bias + kOutputs}).max;
  };
  // Of 10 000 draws the largest comes closer to the bound than 0.2 %, but for one in 20 000 seeds.
  EXPECT_NEAR(largest("type: 'xavier'"), std::sqrt(3.0), 0.002 * std::sqrt(3.0));
  EXPECT_NEAR(largest("type: 'xavier' variance_norm: FAN_OUT"), std::sqrt(3.0 / kOutputs),
              0.002 * std::sqrt(3.0 / kOutputs));
  EXPECT_EQ(ErrorOf([&] { largest("type: 'bilinear'"); }),
            "net:1: layer 'c' (Convolution): bias_filler bilinear: a bias has no kernel");
}

// A filler that nobody knows is an error, unless a file brings what it would fill.
TEST(Filler, IsNotAskedForWhatAFileBrings) {
  WeightsFile file;
  file.Add({"c.weight", {2, 1, 1, 1}, {3, 4}});
  for (const bool awaited : {false, true}) {
    Context context;
    ParameterSet parameters;
    if (awaited) parameters.Await(file);
    const NetDefinition net = NetDefinition::FromText(
        "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 1 dim: 1 "
        "dim: 1 } } } layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' "
        "convolution_param { kernel_size: 1 num_output: 2 weight_filler { type: 'strange' } "
        "bias_filler { type: 'constant' value: 5 } } }",
        "net");
    const std::string error = ErrorOf([&] {
      BuildLayers(net.Filtered(caffe::TEST), BuiltinLayers(), context, 1, parameters, {});
    });
    EXPECT_EQ(error.empty(), awaited) << error;
    if (!awaited) continue;
    EXPECT_EQ(parameters.Find("c.bias")->f32()[1], 5);  // which the file lacks
    EXPECT_EQ(parameters.Load(file).missing, std::vector<std::string>{"c.bias"});
    EXPECT_EQ(parameters.Find("c.weight")->f32()[1], 4);
  }
}

TEST(Filler, RepeatsWithItsSeed) {
  const Shape shape{3, 2, 3, 3};
  EXPECT_EQ(Filled("type: 'msra'", shape, 5), Filled("type: 'msra'", shape, 5));
  EXPECT_NE(Filled("type: 'msra'", shape, 5), Filled("type: 'msra'", shape, 6));
}

// One row of the kernel, worked out by hand: f = ceil(k/2), c = (k-1)/(2f), 1 - |x/f - c|. The
// kernel is the outer product of the row with itself. All values are dyadic: exact.
void ExpectBilinear(const float* kernel, const std::vector<float>& row) {
  for (size_t y = 0; y < row.size(); ++y) {
    for (size_t x = 0; x < row.size(); ++x) {
      EXPECT_EQ(kernel[y * row.size() + x], row[y] * row[x]) << y << "," << x;
    }
  }
}
const std::vector<float> kRow3 = {0.5f, 1, 0.5f};               // f 2, c 1/2
const std::vector<float> kRow4 = {0.25f, 0.75f, 0.75f, 0.25f};  // f 2, c 3/4
const std::vector<float> kRow8 = {0.125f, 0.375f, 0.625f, 0.875f,
                                  0.875f, 0.625f, 0.375f, 0.125f};  // f 4, c 7/8

TEST(Filler, BilinearIsAlikeForEveryPair) {
  for (const auto& row : {kRow3, kRow4, kRow8}) {
    const auto k = static_cast<int64_t>(row.size());
    const std::vector<float> data = Filled("type: 'bilinear'", {3, 2, k, k});
    for (int pair = 0; pair < 6; ++pair) ExpectBilinear(data.data() + pair * k * k, row);
  }
}

TEST(Filler, BilinearDiagonalKeepsChannelsApart) {
  for (const auto& row : {kRow3, kRow4, kRow8}) {
    const auto k = static_cast<int64_t>(row.size());
    const std::vector<float> zero(row.size(), 0.0f);
    std::vector<float> data(static_cast<size_t>(9 * k * k), -1.0f);
    FillBilinearDiagonal({3, 3, k, k}, data.data());
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t o = 0; o < 3; ++o) {
        ExpectBilinear(data.data() + (i * 3 + o) * k * k, i == o ? row : zero);
      }
    }
    // One group a channel: each has its kernel.
    std::vector<float> grouped(static_cast<size_t>(4 * k * k), -1.0f);
    FillBilinearDiagonal({4, 1, k, k}, grouped.data());
    for (int64_t i = 0; i < 4; ++i) ExpectBilinear(grouped.data() + i * k * k, row);
  }
}

TEST(Filler, RefusesWhatItCannotDo) {
  EXPECT_EQ(ErrorOf([] {
              Filled("type: 'gaussian' sparse: 3", {1, 1, 1, 1});
            }),
            "the gaussian filler's sparse is not supported: leave it out");
  EXPECT_EQ(ErrorOf([] {
              Filled("type: 'orthogonal'", {1, 1, 1, 1});
            }),
            "filler type 'orthogonal' is unknown: bilinear, constant, gaussian, msra, uniform and "
            "xavier are known");
  EXPECT_EQ(ErrorOf([] {
              Filled("type: 'bilinear'", {1, 1, 4, 3});
            }),
            "the bilinear filler needs a square kernel, not 4x3");
  float data[8];
  EXPECT_EQ(ErrorOf([&] {
              FillBilinearDiagonal({4, 2, 1, 1}, data);
            }),
            "bilinear weights on the diagonal need as many outputs as inputs, not 4x2x1x1");
}

}  // namespace
}  // namespace lseg
