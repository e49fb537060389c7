// One training pass in each precision of a GPU beside f32: whatever learns has a gradient, which
// points where f32's does.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "framework/net.h"
#include "framework/solver_definition.h"
#include "kernels/runtime/random.h"

namespace lseg {
namespace {

constexpr int64_t kSize = 16;

struct Training {
  explicit Training(Precision precision)
      : context(Device::kCuda),
        solver(SolverDefinition::FromFile(std::string(LSEG_SOURCE_DIR) +
                                          "/lseg/demo_solver.prototxt")),
        parameters(std::make_shared<ParameterSet>(Device::kCuda)) {
    NetOptions options;
    options.phase = caffe::TRAIN;
    options.solver = &solver.solver();
    options.precision = precision;
    options.inputs = {{"data", {{1, 3, kSize, kSize}}},
                      {"label", {{1, 4, kSize, kSize}, DType::kU8}}};
    net = std::make_unique<Net>(
        NetDefinition::FromFile(std::string(LSEG_SOURCE_DIR) + "/lseg/demo_net.prototxt"),
        BuiltinLayers(), context, parameters, options);
    Random random(11, 1);
    float* data = net->InputF32("data");
    for (int64_t i = 0; i < 3 * kSize * kSize; ++i) data[i] = random.Uniform(-50, 50);
    auto* label = static_cast<uint8_t*>(net->Input("label"));
    for (int64_t i = 0; i < 4 * kSize * kSize; ++i) label[i] = random.Below(8) == 0;
    net->Forward();
    net->Backward();
  }

  Context context;
  SolverDefinition solver;
  std::shared_ptr<ParameterSet> parameters;
  std::unique_ptr<Net> net;
};

class PrecisionTest : public testing::TestWithParam<Precision> {};
INSTANTIATE_TEST_SUITE_P(In, PrecisionTest,
                         testing::Values(Precision::kTf32, Precision::kBF16, Precision::kF16),
                         [](const auto& info) { return ToString(info.param); });

// Activations and gradients are rounded some thirty times on the way, to 2^-11 (tf32, f16) or 2^-9
// (bf16), and a ReLU of the last stage, whose map is one pixel here, decides a hundredth of it: the
// angle between the gradients stays below 0.2 (cosine .98), in bf16 below 0.64 (cosine .8). Wrong
// taps or gradients of another layer leave a random angle, a cosine of 0.1 and less.
TEST_P(PrecisionTest, GradientsPointWhereF32sDo) {
  Training exact(Precision::kF32), rounded(GetParam());
  EXPECT_NEAR(rounded.net->Loss(), exact.net->Loss(), 0.02 * exact.net->Loss());
  const double cosine = GetParam() == Precision::kBF16 ? 0.8 : 0.98;
  const double length = GetParam() == Precision::kBF16 ? 0.3 : 0.1;
  int learned = 0;
  for (const NetParam& param : exact.net->params()) {
    if (param.lr_mult == 0) continue;
    ++learned;
    const std::vector<float> want = exact.net->Gradient(param.key);
    const std::vector<float> got = rounded.net->Gradient(param.key);
    ASSERT_EQ(want.size(), got.size()) << param.key;
    double product = 0, of_want = 0, of_got = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      product += double{want[i]} * got[i];
      of_want += double{want[i]} * want[i];
      of_got += double{got[i]} * got[i];
    }
    ASSERT_GT(of_want, 0) << param.key;
    EXPECT_GT(product / std::sqrt(of_want * of_got), cosine) << param.key;
    EXPECT_NEAR(std::sqrt(of_got / of_want), 1, length) << param.key;
  }
  EXPECT_EQ(learned, 44);  // weight and bias of 13 + 5 + 4 layers
}

}  // namespace
}  // namespace lseg
