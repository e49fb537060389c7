// The passes fold_copies and fuse_sides: what copies are left of side maps, and that every number
// stays as it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "framework/net.h"
#include "kernels/runtime/random.h"
#include "tests/device.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

using testing::ElementsAre;

std::string Conv(const std::string& name, const std::string& bottom, const std::string& more) {
  return JoinedText(name, "Convolution", {bottom}, {name},
                    "convolution_param { weight_filler { type: 'msra' } " + more + " }");
}

// Two stages of odd size, each with a side map of two classes, sliced and joined by class.
// side_losses: whether losses read the side maps, too.
std::string SideMaps(bool side_losses) {
  std::string text =
      JoinedText("data", "Input", {}, {"data"},
                 "input_param { shape { dim: 2 dim: 3 dim: 11 dim: 13 } }") +
      JoinedText("label", "Input", {}, {"label"},
                 "input_param { shape { dim: 2 dim: 2 dim: 11 dim: 13 } }") +
      Conv("a", "data", "num_output: 8 kernel_size: 3 pad: 1") +
      JoinedText("pool", "Pooling", {"a"}, {"pool"}, "pooling_param { kernel_size: 2 stride: 2 }") +
      Conv("b", "pool", "num_output: 8 kernel_size: 3 pad: 1") +
      Conv("score1", "a", "num_output: 2 kernel_size: 1") +
      Conv("score2", "b", "num_output: 2 kernel_size: 1") +
      JoinedText("up", "Deconvolution", {"score2"}, {"up"},
                 "param { lr_mult: 0 } param { lr_mult: 0 } convolution_param { num_output: 2 "
                 "kernel_size: 4 stride: 2 }") +
      JoinedText("crop", "Crop", {"score1", "data"}, {"side1"}) +
      JoinedText("crop", "Crop", {"up", "data"}, {"side2"});
  const std::string axis = "concat_param { axis: 1 }";
  for (const std::string i : {"1", "2"}) {
    text += JoinedText("slice" + i, "Slice", {"side" + i}, {"x" + i, "y" + i});
  }
  for (const std::string c : {"x", "y"}) {
    text += JoinedText("maps_" + c, "Concat", {c + "1", c + "2"}, {"maps_" + c}, axis) +
            Conv("fused_" + c, "maps_" + c, "num_output: 1 kernel_size: 1");
  }
  text += JoinedText("fused", "Concat", {"fused_x", "fused_y"}, {"fused"}, axis);
  std::vector<std::string> read = {"fused"};
  if (side_losses) read.insert(read.end(), {"side1", "side2"});
  for (const std::string& blob : read) {
    text +=
        JoinedText("loss_" + blob, "SigmoidCrossEntropyLoss", {blob, "label"}, {"loss_" + blob});
  }
  return text;
}

struct Outcome {
  std::map<std::string, std::vector<float>> numbers;
  std::vector<std::string> copies;  // names of the nodes, in order
};

Outcome Train(const std::string& text, Device device, const std::set<std::string>& without,
              const std::vector<std::string>& keep = {}) {
  Context context(device);
  caffe::SolverParameter solver;
  solver.set_type("SGD");
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver;
  options.without_passes = without;
  options.keep = keep;
  Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
          std::make_shared<ParameterSet>(device), options);
  Random random(5, 0);
  for (const char* blob : {"data", "label"}) {
    float* values = net.InputF32(blob);
    for (int64_t i = 0; i < net.Desc(blob).shape.Count(); ++i) {
      values[i] = blob[0] == 'd' ? random.Uniform(-1, 1) : static_cast<float>(random.Below(2));
    }
  }
  net.Forward();
  net.Backward();
  Outcome outcome;
  for (size_t i = 0; i < net.losses().size(); ++i) {
    outcome.numbers[net.losses()[i].name] = {net.LossValue(static_cast<int>(i))};
  }
  for (const NetParam& param : net.params()) {
    if (param.lr_mult != 0) outcome.numbers[param.key] = net.Gradient(param.key);
  }
  for (const std::string& blob : keep) outcome.numbers[blob] = net.Read(blob);
  for (const Node& node : net.graph().nodes) {
    if (node.op->AsBoxCopies() != nullptr) outcome.copies.push_back(node.op->Name());
  }
  return outcome;
}

class FoldCopies : public testing::TestWithParam<Device> {};
LSEG_ON_ALL_DEVICES(FoldCopies);

// Bit for bit: a copy changes nothing, and a part of an output is summed as the whole is.
TEST_P(FoldCopies, LeavesTheNumbersAsTheyAre) {
  LSEG_SKIP_WITHOUT(GetParam());
  for (const bool side_losses : {false, true}) {
    const Outcome all = Train(SideMaps(side_losses), GetParam(), {"fold_copies"});
    const Outcome folded = Train(SideMaps(side_losses), GetParam(), {"fuse_sides"});
    EXPECT_EQ(all.numbers, folded.numbers);
    EXPECT_EQ(all.copies.size(), 2u * 7);
    EXPECT_THAT(folded.copies, ElementsAre("concat", "concat", "concat", "concat_backward",
                                           "concat_backward", "concat_backward"));
  }
}

TEST_P(FoldCopies, LeavesWhatIsToBeRead) {
  LSEG_SKIP_WITHOUT(GetParam());
  const std::vector<std::string> keep = {"side1", "up", "y2"};
  const Outcome all = Train(SideMaps(true), GetParam(), {"fold_copies"}, keep);
  const Outcome folded = Train(SideMaps(true), GetParam(), {"fuse_sides"}, keep);
  EXPECT_EQ(all.numbers, folded.numbers);
  EXPECT_THAT(folded.copies, testing::Contains("crop").Times(2));
  EXPECT_THAT(folded.copies, testing::Contains("slice").Times(1));
}

// A part that two copies read, and a copy that reads across the parts of another.
TEST_P(FoldCopies, ChainsOfAnyKind) {
  LSEG_SKIP_WITHOUT(GetParam());
  const std::string text =
      JoinedText("data", "Input", {}, {"data"},
                 "input_param { shape { dim: 1 dim: 3 dim: 5 dim: 6 } }") +
      JoinedText("label", "Input", {}, {"label"},
                 "input_param { shape { dim: 1 dim: 5 dim: 5 dim: 6 } }") +
      Conv("a", "data", "num_output: 4 kernel_size: 3 pad: 1") +
      JoinedText("slice", "Slice", {"a"}, {"p", "q"}) +
      JoinedText("join", "Concat", {"q", "p", "q"}, {"join"}) +
      JoinedText("cut", "Slice", {"join"}, {"first", "middle", "last"},
                 "slice_param { slice_point: 1 slice_point: 4 }") +
      JoinedText("again", "Concat", {"middle", "last"}, {"again"}) +
      Conv("one", "first", "num_output: 5 kernel_size: 1") +
      JoinedText("loss1", "SigmoidCrossEntropyLoss", {"again", "label"}, {"loss1"}) +
      JoinedText("loss2", "SigmoidCrossEntropyLoss", {"one", "label"}, {"loss2"});
  const Outcome all = Train(text, GetParam(), {"fold_copies"});
  const Outcome folded = Train(text, GetParam(), {});
  EXPECT_EQ(all.numbers, folded.numbers);
  EXPECT_LT(folded.copies.size(), all.copies.size());
}

// One map joined to itself, or two crops of one, and cut again: each part brings the map a gradient
// of its own, and they overlap.
TEST_P(FoldCopies, APlaneThatComesTwiceGetsBothGradients) {
  LSEG_SKIP_WITHOUT(GetParam());
  const std::string maps = JoinedText("data", "Input", {}, {"data"},
                                      "input_param { shape { dim: 2 dim: 3 dim: 5 dim: 6 } }") +
                           JoinedText("label", "Input", {}, {"label"},
                                      "input_param { shape { dim: 2 dim: 4 dim: 5 dim: 6 } }");
  const std::string cut =
      JoinedText("cut", "Slice", {"join"}, {"first", "second"}) +
      JoinedText("loss1", "SigmoidCrossEntropyLoss", {"first", "label"}, {"loss1"}) +
      JoinedText("loss2", "SigmoidCrossEntropyLoss", {"second", "label"}, {"loss2"},
                 "loss_weight: 2");
  const std::string twice = Conv("a", "data", "num_output: 4 kernel_size: 3 pad: 1") +
                            JoinedText("join", "Concat", {"a", "a"}, {"join"});
  const std::string crops =
      Conv("a", "data", "num_output: 4 kernel_size: 3 pad: 2") +
      JoinedText("crop1", "Crop", {"a", "data"}, {"x"}, "crop_param { offset: 0 }") +
      JoinedText("crop2", "Crop", {"a", "data"}, {"y"}, "crop_param { offset: 2 }") +
      JoinedText("join", "Concat", {"x", "y"}, {"join"});
  for (const std::string& join : {twice, crops}) {
    const Outcome all = Train(maps + join + cut, GetParam(), {"fold_copies"});
    const Outcome folded = Train(maps + join + cut, GetParam(), {});
    EXPECT_EQ(all.numbers, folded.numbers);
    EXPECT_EQ(folded.copies.size(), 2u);
  }
}

class FuseSides : public testing::TestWithParam<Device> {};
LSEG_ON_ALL_DEVICES(FuseSides);

// Sums of 286 products in f32 and in another order: 1e-5 of their size is some 20 roundings of
// numbers of the largest size.
TEST_P(FuseSides, LeavesNoCopyAndTheNumbers) {
  LSEG_SKIP_WITHOUT(GetParam());
  for (const bool side_losses : {false, true}) {
    const Outcome apart = Train(SideMaps(side_losses), GetParam(), {"fuse_sides"});
    const Outcome fused = Train(SideMaps(side_losses), GetParam(), {});
    EXPECT_THAT(fused.copies, testing::IsEmpty());
    EXPECT_EQ(apart.numbers.size(), fused.numbers.size());
    for (const auto& [key, values] : apart.numbers) {
      const std::vector<float>& now = fused.numbers.at(key);
      ASSERT_EQ(values.size(), now.size());
      float largest = 0;
      for (const float value : values) largest = std::max(largest, std::fabs(value));
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_NEAR(values[i], now[i], 1e-5 * largest) << key << " " << i;
      }
    }
  }
}

// A plane that is read elsewhere, or kept, has to be made.
TEST_P(FuseSides, LeavesWhatIsRead) {
  LSEG_SKIP_WITHOUT(GetParam());
  const Outcome outcome = Train(SideMaps(true), GetParam(), {}, {"maps_x"});
  EXPECT_THAT(outcome.copies, testing::Contains("concat").Times(3));
}

}  // namespace
}  // namespace lseg
