// The folded head against the same net op by op, on both devices, and the weights that forbid it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "framework/net.h"
#include "kernels/runtime/random.h"
#include "lseg/model.h"
#include "tests/device.h"

namespace lseg {
namespace {

constexpr int64_t kHeight = 37, kWidth = 50;  // no multiples of anything

class FoldHeadTest : public testing::TestWithParam<Device> {};
LSEG_ON_ALL_DEVICES(FoldHeadTest);

struct Case {
  explicit Case(Device device)
      : context(device),
        parameters(std::make_shared<ParameterSet>(device)),
        inference(MakeInferenceNet(
            NetDefinition::FromFile(std::string(LSEG_SOURCE_DIR) + "/lseg/demo_net.prototxt"))) {}

  std::unique_ptr<Net> Make(bool fold, Precision precision = Precision::kF32) {
    NetOptions options;
    options.precision = precision;
    options.keep = {"conv1_1"};
    if (!fold) options.keep.push_back("concat_fusion");
    options.inputs[inference.input] = TensorDesc{{1, 3, kHeight, kWidth}};
    if (!fold) options.without_passes = {"fold_head"};
    return std::make_unique<Net>(inference.definition, BuiltinLayers(), context, parameters,
                                 options);
  }

  // Changes the parameters of score and fusion layers, value by value.
  template <typename Change>
  void ChangeHead(Change change) {
    for (const auto& [key, tensor] : parameters->tensors()) {
      if (key.rfind("new-score", 0) != 0 && key.rfind("fusion", 0) != 0) continue;
      std::vector<float> values(tensor.desc().shape.Count());
      tensor.CopyTo(values.data());
      for (float& value : values) value = change(value);
      parameters->Find(key)->CopyFrom(values.data());
    }
  }
  // Scores of some size, and fusions that tell classes and sides apart.
  void DrawParameters() {
    Random random(5, 1);
    ChangeHead([&](float) { return random.Uniform(-0.1f, 0.1f); });
  }
  void MakeHeadAbsolute() {
    ChangeHead([](float value) { return std::abs(value); });
  }

  std::vector<float> Run(Net& net) {
    Random random(7, 1);
    float* data = net.InputF32(inference.input);
    for (int64_t i = 0; i < 3 * kHeight * kWidth; ++i) data[i] = random.Uniform(-100, 100);
    net.ParametersChanged();
    net.Forward();
    return net.Read(inference.answer);
  }

  Context context;
  std::shared_ptr<ParameterSet> parameters;
  InferenceNet inference;
};

bool HasOp(const Net& net, const std::string& name) {
  for (const Node& node : net.graph().nodes) {
    if (node.op->Name() == name) return true;
  }
  return false;
}

TEST_P(FoldHeadTest, GivesWhatTheOpsGive) {
  LSEG_SKIP_WITHOUT(GetParam());
  Case c(GetParam());
  const auto plain = c.Make(false);
  c.DrawParameters();
  const auto folded = c.Make(true);
  EXPECT_TRUE(HasOp(*folded, "fuse_head"));
  EXPECT_FALSE(HasOp(*folded, "deconv_forward"));
  EXPECT_TRUE(HasOp(*plain, "deconv_forward"));
  const std::vector<float> want = c.Run(*plain), got = c.Run(*folded);
  ASSERT_EQ(got.size(), want.size());
  float lowest = 1, highest = 0, largest_logit = 1;
  for (const float p : want) {
    lowest = std::min(lowest, p);
    highest = std::max(highest, p);
    const float q = std::min(p, 1 - p);
    if (q > 1e-6f) largest_logit = std::max(largest_logit, std::log((1 - q) / q));
  }
  ASSERT_LT(lowest, 0.3f) << "the case tells nothing apart";
  ASSERT_GT(highest, 0.7f) << "the case tells nothing apart";
  // Logits within 1e-5 of the largest; the sigmoid's slope is 1/4 at most, its own error 2 ulp.
  const float tolerance = 0.25e-5f * largest_logit + 2.4e-7f;
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << i;
}

// With stage ends scores are sums over a map in f32 (of oneDNN's engines over the same map),
// without them over one rounded to bf16, whose elements are off by 2^-9 each: logits differ by 2^-9
// of the sum of the absolute values of what makes them up, which the same net with absolute weights
// in its head gives (the maps are not negative), and 2^-20 of it for sums in another order. The
// sigmoid's slope is 1/4 at most.
TEST_P(FoldHeadTest, StageEndsGiveWhatTheOpsGive) {
  LSEG_SKIP_WITHOUT(GetParam());
  Case c(GetParam());
  const auto plain = c.Make(false, Precision::kBF16);
  c.DrawParameters();
  const auto folded = c.Make(true, Precision::kBF16);
  EXPECT_TRUE(HasOp(*folded, "conv_stage_end"));
  EXPECT_FALSE(HasOp(*folded, "pool_forward"));
  const std::vector<float> want = c.Run(*plain), got = c.Run(*folded);
  c.MakeHeadAbsolute();
  c.Run(*plain);
  const std::vector<float> scale = plain->Read("concat_fusion");
  ASSERT_EQ(got.size(), want.size());
  ASSERT_EQ(got.size(), scale.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], scale[i] * (0x1p-9f + 0x1p-20f) / 4 + 2.4e-7f) << i;
  }
}

// On the CPU. The first map is f32's, rounded. Behind it some fifteen maps are
// rounded by 2^-8 at most, of either sign: logits are off by about sqrt(15) 2^-8, a sixty-sixth, of
// the sum of the absolute values of what makes them up (as above).
TEST(FoldHead, Bf16OnTheCpuGivesNearlyWhatF32Gives) {
  Case c(Device::kCpu);
  const auto plain = c.Make(false);
  c.DrawParameters();
  const auto rounded = c.Make(true, Precision::kBF16);
  EXPECT_TRUE(HasOp(*rounded, "fuse_head"));
  const std::vector<float> want = c.Run(*plain), got = c.Run(*rounded);
  const std::vector<float> map = plain->Read("conv1_1"), rounded_map = rounded->Read("conv1_1");
  EXPECT_EQ(ToString(rounded->Desc("conv1_1").dtype), "bf16");
  ASSERT_EQ(map.size(), rounded_map.size());
  for (size_t i = 0; i < map.size(); ++i) {
    ASSERT_EQ(rounded_map[i], BF16ToF32(F32ToBF16(map[i]))) << i;
  }
  c.MakeHeadAbsolute();
  c.Run(*plain);
  const std::vector<float> scale = plain->Read("concat_fusion");
  ASSERT_EQ(got.size(), want.size());
  int differ = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], scale[i] / 50 / 4) << i;
    differ += got[i] != want[i];
  }
  EXPECT_GT(differ, 0) << "nothing was rounded";
}

TEST_P(FoldHeadTest, OtherUpsamplingRunsOpByOpAndIsSaid) {
  LSEG_SKIP_WITHOUT(GetParam());
  Case c(GetParam());
  const auto plain = c.Make(false);
  c.DrawParameters();
  Tensor* weight = c.parameters->Find("upsample_44.weight");
  ASSERT_NE(weight, nullptr);
  std::vector<float> values(weight->desc().shape.Count());
  weight->CopyTo(values.data());
  values[0] += 0.125f;
  weight->CopyFrom(values.data());
  const auto net = c.Make(true);
  EXPECT_FALSE(HasOp(*net, "fuse_head"));
  EXPECT_THAT(net->notes(), testing::Contains(testing::HasSubstr("'upsample_44.weight' is not "
                                                                 "bilinear")));
  EXPECT_EQ(c.Run(*net), c.Run(*plain));
}

}  // namespace
}  // namespace lseg
