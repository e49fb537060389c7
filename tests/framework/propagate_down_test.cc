// propagate_down: false, by Caffe's rule: no gradient goes from that layer to that bottom; what
// else reads the bottom sends its own.
#include <gtest/gtest.h>

#include "tests/device.h"
#include "tests/error_of.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

class PropagateDown : public testing::TestWithParam<Device> {};
LSEG_ON_ALL_DEVICES(PropagateDown);

std::string Inputs() {
  return InputText("data", "dim: 2 dim: 3 dim: 11 dim: 13") +
         InputText("label1", "dim: 2 dim: 3 dim: 11 dim: 13") +
         InputText("label2", "dim: 2 dim: 3 dim: 6 dim: 7");
}

std::string Trunk() { return Conv3x3Text("a", "data") + ReluText("a"); }

// Directly behind the trunk; and behind a pooling, a convolution and its ReLU.
std::string Head1(const std::string& more) {
  return ConvText("score1", "a", "num_output: 3 kernel_size: 1", more) +
         LossText("loss1", "score1", "label1");
}
std::string Head2(const std::string& more) {
  return LayerText("pool", "Pooling", "a", "pooling_param { kernel_size: 2 stride: 2 } " + more) +
         Conv3x3Text("b", "pool") + ReluText("b") +
         ConvText("score2", "b", "num_output: 3 kernel_size: 1") +
         LossText("loss2", "score2", "label2");
}

constexpr char kNot[] = "propagate_down: false";

// The trunk's gradient is that of the other path alone, and the heads' own are those of the net
// without the field: bit for bit, but where a pass of the GPU's (fuse_stage_gradients) finds its
// pattern in one of the nets only and sums some 300 products in another order, each sum being off
// by some sqrt(300) 2^-24 = 1e-6 of its terms, which cancel in part.
TEST_P(PropagateDown, LeavesTheGradientsOfOtherPaths) {
  LSEG_SKIP_WITHOUT(GetParam());
  const auto train = [&](const std::string& layers, const std::set<std::string>& without) {
    return TrainOnce(Inputs() + layers, GetParam(), Precision::kF32, without).gradients;
  };
  const double rounding = GetParam() == Device::kCpu ? 0 : 1e-5;
  for (const std::set<std::string>& without :
       std::vector<std::set<std::string>>{{}, {"assign_formats"}}) {
    const auto whole = train(Trunk() + Head1("") + Head2(""), without);
    const auto only1 = train(Trunk() + Head1(""), without);
    const auto only2 = train(Trunk() + Head2(""), without);
    const auto stopped1 = train(Trunk() + Head1(kNot) + Head2(""), without);
    const auto stopped2 = train(Trunk() + Head1("") + Head2(kNot), without);
    EXPECT_LE(Distance(only2.at("a.weight"), stopped1.at("a.weight")), rounding);
    EXPECT_LE(Distance(only1.at("a.weight"), stopped2.at("a.weight")), rounding);
    EXPECT_GT(Distance(whole.at("a.weight"), stopped1.at("a.weight")), 0.1);
    for (const char* key : {"score1.weight", "score1.bias", "b.weight", "score2.bias"}) {
      EXPECT_LE(Distance(whole.at(key), stopped1.at(key)), rounding) << key;
      EXPECT_LE(Distance(whole.at(key), stopped2.at(key)), rounding) << key;
    }
  }
}

// A trunk that is read through such bottoms only does not move; the heads do.
TEST_P(PropagateDown, FreezesWhatLiesBehind) {
  LSEG_SKIP_WITHOUT(GetParam());
  const auto ops = [&](const std::string& down) {
    Context context(GetParam(), 2);
    caffe::SolverParameter solver;
    solver.set_type("SGD");
    NetOptions options;
    options.phase = caffe::TRAIN;
    options.solver = &solver;
    auto parameters = std::make_shared<ParameterSet>(GetParam());
    Net net(NetDefinition::FromText(Inputs() + Trunk() + Head1(down) + Head2(down), "test"),
            BuiltinLayers(), context, parameters, options);
    const auto values = [&](const char* key) {
      const Tensor& tensor = *parameters->Find(key);
      std::vector<float> read(tensor.desc().shape.Count());
      tensor.CopyTo(read.data());
      return read;
    };
    const auto trunk = values("a.weight"), head1 = values("score1.bias"), head2 = values("b.bias");
    std::fill_n(net.InputF32("data"), net.Desc("data").shape.Count(), 1.0f);
    net.Forward();
    net.Backward();
    net.Update(0.1f, 0);
    EXPECT_GT(net.GradientNorm(), 0);
    EXPECT_EQ(values("a.weight") == trunk, !down.empty());
    EXPECT_NE(values("score1.bias"), head1);
    EXPECT_NE(values("b.bias"), head2);
    return net.graph().nodes.size();
  };
  // Nor does it cost anything: nodes of the backward pass are left out, none is added.
  EXPECT_LT(ops(kNot), ops("") - 2);
}

TEST(PropagateDownField, IsGivenForEveryBottomOrForNone) {
  const auto error = [](const std::string& fields) {
    return ErrorOf([&] {
      TrainOnce(Inputs() + "layer { name: 'c' type: 'Concat' bottom: 'data' bottom: 'data'\n" +
                    fields + " top: 'c' }\n" + Conv3x3Text("d", "c"),
                Device::kCpu, Precision::kF32, {});
    });
  };
  EXPECT_EQ(error("propagate_down: false"),
            "test.prototxt:5: layer 'c' (Concat): propagate_down is given 1 times for 2 bottom(s): "
            "give it once for each, or not at all");
  EXPECT_EQ(error("propagate_down: true propagate_down: false").find("propagate_down"),
            std::string::npos);
}

}  // namespace
}  // namespace lseg
