// ParameterSet: what loading does, and tensors whose memory is given back once nets have packed
// them.
#include "framework/parameter_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "framework/net.h"
#include "tests/device.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

TEST(ParameterSet, LoadReportsAndRefuses) {
  ParameterSet set;
  set.Add("c.weight", {2, 1, 1, 1});
  set.Add("c.bias", {1, 1, 1, 2});
  WeightsFile file;
  file.Add({"c.bias", {1, 1, 1, 2}, {5, 6}});
  file.Add({"d.weight", {1}, {0}});
  const LoadReport report = set.Load(file);
  EXPECT_THAT(report.loaded, testing::ElementsAre("c.bias"));
  EXPECT_THAT(report.skipped, testing::ElementsAre("d.weight"));
  EXPECT_THAT(report.missing, testing::ElementsAre("c.weight"));
  EXPECT_EQ(set.Find("c.bias")->f32()[1], 6);
  WeightsFile wrong;
  wrong.Add({"c.weight", {3, 1, 1, 1}, {1, 2, 3}});
  EXPECT_THAT([&] { set.Load(wrong); },
              testing::ThrowsMessage<Error>(
                  testing::AllOf(testing::HasSubstr("3x1x1x1"), testing::HasSubstr("2x1x1x1"))));
  for (const float value : {NAN, -INFINITY}) {
    WeightsFile strange;
    strange.Add({"c.weight", {2, 1, 1, 1}, {1, value}});
    EXPECT_THAT([&] { set.Load(strange); },
                testing::ThrowsMessage<Error>(testing::AllOf(testing::HasSubstr("'c.weight'"),
                                                             testing::HasSubstr("element 1"))));
  }
}

TEST(ParameterSet, WhatWasReleasedIsNeitherStoredNorLoaded) {
  ParameterSet set;
  set.Add("c.weight", {2, 1, 1, 1});
  set.Add("c.bias", {1, 1, 1, 2});
  WeightsFile file;
  file.Add({"c.weight", {2, 1, 1, 1}, {1, 2}});
  file.Add({"c.bias", {2}, {5, 6}});
  set.Load(file);
  set.Release("c.weight");
  EXPECT_TRUE(set.HasReleased());
  EXPECT_EQ(set.Find("c.weight")->data(), nullptr);
  EXPECT_EQ(set.Find("c.weight")->desc().shape, (Shape{2, 1, 1, 1}));
  WeightsFile copy;
  EXPECT_THAT(ErrorOf([&] { set.Store(copy); }), testing::HasSubstr("given back"));
  EXPECT_THAT(ErrorOf([&] { set.Load(file); }), testing::HasSubstr("given back"));
}

// Two convolutions whose weights each device packs in bf16 or f32.
class ReleasePackedTest : public testing::TestWithParam<Device> {
 protected:
  std::unique_ptr<Net> MakeNet(Context& context, std::shared_ptr<ParameterSet> set, int64_t width,
                               bool release) {
    const std::string text =
        "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 } } }\n"
        "layer { name: 'a' type: 'Convolution' bottom: 'data' top: 'a' convolution_param { "
        "num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: 'msra' } "
        "bias_filler { type: 'constant' value: 0.25 } } }\n"
        "layer { name: 'b' type: 'Convolution' bottom: 'a' top: 'b' convolution_param { "
        "num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: 'msra' } } }\n";
    NetOptions options;
    options.inputs["data"] = TensorDesc{{1, 32, 6, width}};
    options.release_packed = release;
    return std::make_unique<Net>(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(),
                                 context, std::move(set), options);
  }

  static std::vector<float> Answer(Net& net) {
    const int64_t count = net.Desc("data").shape.Count();
    for (int64_t i = 0; i < count; ++i) {
      net.InputF32("data")[i] = static_cast<float>(i * 37 % 101) / 101 - 0.5f;
    }
    net.Forward();
    return net.Read("b");
  }
};
LSEG_ON_ALL_DEVICES(ReleasePackedTest);

TEST_P(ReleasePackedTest, AnswersStayForEverySize) {
  LSEG_SKIP_WITHOUT(GetParam());
  Context context(GetParam());
  auto plain = std::make_shared<ParameterSet>(GetParam());
  const auto narrow = MakeNet(context, plain, 7, false);
  const auto wide = MakeNet(context, plain, 20, false);

  auto set = std::make_shared<ParameterSet>(GetParam());
  const auto first = MakeNet(context, set, 7, true);
  EXPECT_EQ(first->memory().released, 2 * 32 * 32 * 9 * 4);
  EXPECT_EQ(first->memory().parameters, 2 * 32 * 4);
  EXPECT_TRUE(set->Find("a.weight")->IsReleased());
  EXPECT_TRUE(set->Find("b.weight")->IsReleased());
  EXPECT_FALSE(set->Find("a.bias")->IsReleased());
  EXPECT_EQ(Answer(*first), Answer(*narrow));
  const auto second = MakeNet(context, std::make_shared<ParameterSet>(GetParam()), 20, true);
  EXPECT_EQ(Answer(*second), Answer(*wide));
  EXPECT_EQ(Answer(*first), Answer(*narrow));
  EXPECT_THAT(ErrorOf([&] { MakeNet(context, set, 20, true); }), testing::HasSubstr("given"));
}

TEST_P(ReleasePackedTest, ValuesThatAreGoneCannotBePackedAgain) {
  LSEG_SKIP_WITHOUT(GetParam());
  Context context(GetParam());
  const auto net = MakeNet(context, std::make_shared<ParameterSet>(GetParam()), 7, true);
  EXPECT_THAT(ErrorOf([&] { net->ParametersChanged(); }), testing::HasSubstr("given back"));
}

}  // namespace
}  // namespace lseg
