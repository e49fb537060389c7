// One training pass in each precision of a device beside f32: whatever learns has a gradient, which
// points where f32's does. On the CPU, where tests take less time, some steps as well.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/net.h"
#include "framework/solver_definition.h"
#include "kernels/runtime/random.h"
#include "tests/device.h"
#include "tests/error_of.h"
#include "tests/framework/train_once.h"
#include "tests/kernels/wgmma.h"

namespace lseg {
namespace {

constexpr int64_t kSize = 16;

struct Training {
  Training(Device device, Precision precision,
           const std::map<std::string, std::string>& engines = {})
      : context(device),
        solver(SolverDefinition::FromFile(std::string(LSEG_SOURCE_DIR) +
                                          "/lseg/demo_solver.prototxt")),
        parameters(std::make_shared<ParameterSet>(device)) {
    NetOptions options;
    options.phase = caffe::TRAIN;
    options.solver = &solver.solver();
    options.precision = precision;
    options.engines = engines;
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

class PrecisionTest : public testing::TestWithParam<std::tuple<Device, Precision>> {};
INSTANTIATE_TEST_SUITE_P(Cpu, PrecisionTest,
                         testing::Values(std::tuple(Device::kCpu, Precision::kBF16)),
                         [](const auto& info) { return ToString(std::get<1>(info.param)); });
INSTANTIATE_TEST_SUITE_P(Cuda, PrecisionTest,
                         testing::Combine(testing::Values(Device::kCuda),
                                          testing::Values(Precision::kTf32, Precision::kBF16,
                                                          Precision::kF16)),
                         [](const auto& info) { return ToString(std::get<1>(info.param)); });

void ExpectGradientsPoint(const Net& exact, const Net& rounded, double cosine, double length) {
  int learned = 0;
  for (const NetParam& param : exact.params()) {
    if (param.lr_mult == 0) continue;
    ++learned;
    const std::vector<float> want = exact.Gradient(param.key);
    const std::vector<float> got = rounded.Gradient(param.key);
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

// Activations and gradients are rounded some thirty times on the way, to 2^-11 (tf32, f16) or 2^-9
// (bf16), and a ReLU of the last stage, whose map is one pixel here, decides a hundredth of it: the
// angle between the gradients stays below 0.2 (cosine .98), in bf16 below 0.64 (cosine .8). Wrong
// taps or gradients of another layer leave a random angle, a cosine of 0.1 and less.
TEST_P(PrecisionTest, GradientsPointWhereF32sDo) {
  const auto [device, precision] = GetParam();
  LSEG_SKIP_WITHOUT(device);
  Training exact(device, Precision::kF32), rounded(device, precision);
  EXPECT_NEAR(rounded.net->Loss(), exact.net->Loss(), 0.02 * exact.net->Loss());
  const double cosine = precision == Precision::kBF16 ? 0.8 : 0.98;
  const double length = precision == Precision::kBF16 ? 0.3 : 0.1;
  ExpectGradientsPoint(*exact.net, *rounded.net, cosine, length);
}

// The same net by the kernels with wgmma, which sum up in another order: now and then a value is
// rounded the other way, by 2^-8 of itself, and few of those that a gradient sums up.
TEST(CudaWgmma, GradientsAreThoseOfOtherEngines) {
  LSEG_SKIP_WITHOUT(Device::kCuda);
  LSEG_SKIP_WITHOUT_WGMMA();
  for (const Precision precision : {Precision::kBF16, Precision::kF16}) {
    SCOPED_TRACE(ToString(precision));
    Training usual(Device::kCuda, precision);
    std::map<std::string, std::string> engines = usual.net->engines();
    int gemms = 0, weights = 0;
    for (auto& [layer, engine] : engines) {
      if (engine == "implicit_gemm_weights") {
        engine = "wgmma_weights";
        ++weights;
      } else if (engine.starts_with("implicit_gemm_")) {
        constexpr const char* kTiles[] = {"256x128", "128x128", "256x64"};
        engine = std::string("wgmma_gemm_") + kTiles[gemms++ % 3];
      }
    }
    EXPECT_EQ(gemms, 24);  // forward and backward data of the trunk but for its first layer
    EXPECT_EQ(weights, 12);
    Training wgmma(Device::kCuda, precision, engines);
    EXPECT_EQ(wgmma.net->engines(), engines);
    ExpectGradientsPoint(*usual.net, *wgmma.net, 0.999, 0.01);
  }
}

// Nothing between two layers of the trunk goes through f32, and nothing is reordered.
TEST(CpuPrecision, TheWholeTrunkIsInBf16) {
  Training training(Device::kCpu, Precision::kBF16);
  const Graph& graph = training.net->graph();
  int convs = 0, pools = 0;
  for (const Node& node : graph.nodes) {
    const std::string name = node.op->Name();
    EXPECT_NE(name, "reorder") << node.layer;
    std::vector<TensorId> trunk;
    if (name == "conv_forward" && node.layer.starts_with("conv")) {
      convs += node.stage == Stage::kForward;  // the first layer's is computed again for backward
      trunk = {node.outputs[0]};
      if (node.layer != "conv1_1") trunk.push_back(node.inputs[0]);
    } else if (name == "pool_backward") {
      ++pools;
      trunk = {node.inputs[0], node.outputs[0]};
    } else if (name == "conv_backward data") {
      trunk = {node.outputs[0]};
    }
    for (const TensorId id : trunk) {
      EXPECT_EQ(ToString(graph.tensors[id].desc.dtype), "bf16") << node.layer << " " << name;
    }
  }
  EXPECT_EQ(convs, 13);
  EXPECT_EQ(pools, 4);
  for (const NetParam& param : training.net->params()) {
    EXPECT_EQ(ToString(training.parameters->Find(param.key)->desc().dtype), "f32") << param.key;
  }
}

// Score layers that no engine takes as the trunk lies in memory, of more outputs than a vector's or
// other than pixel by pixel: what they read is plain then.
TEST(CpuPrecision, OtherScoreLayersTrainInBf16) {
  const std::pair<std::string, std::string> layers[] = {
      {"num_output: 21 kernel_size: 1", "dim: 2 dim: 21 dim: 11 dim: 13"},
      {"num_output: 4 kernel_size: 1 stride: 2", "dim: 2 dim: 4 dim: 6 dim: 7"},
      {"num_output: 4 kernel_size: 1 pad: 1", "dim: 2 dim: 4 dim: 13 dim: 15"}};
  for (const auto& [layer, label] : layers) {
    SCOPED_TRACE(layer);
    const std::string text = InputText("data", "dim: 2 dim: 3 dim: 11 dim: 13") +
                             InputText("label", label) + Conv3x3Text("a", "data") + ReluText("a") +
                             ConvText("score", "a", layer) + LossText("loss", "score", "label");
    const Trained exact = TrainOnce(text, Device::kCpu, Precision::kF32, {});
    const Trained rounded = TrainOnce(text, Device::kCpu, Precision::kBF16, {});
    for (const auto& [key, gradient] : exact.gradients) {
      EXPECT_LT(Distance(gradient, rounded.gradients.at(key)), 0.01)
          << key;  // one map, rounded by 2^-9
    }
  }
}

// The last resort is a thousand times as slow as what oneDNN has for plain maps.
TEST(CpuPrecision, NoLayerOfANetIsLeftToTheReference) {
  for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
    for (const char* geometry :
         {"kernel_size: 3 pad: 2 dilation: 2", "kernel_size: 3 pad: 4 dilation: 4",
          "kernel_size: 3 pad: 2 dilation: 2 stride: 2", "kernel_size: 5 pad: 2"}) {
      const std::string text = InputText("data", "dim: 1 dim: 3 dim: 24 dim: 24") +
                               Conv3x3Text("a", "data") +
                               ConvText("b", "a", std::string("num_output: 16 ") + geometry) +
                               ConvText("score", "b", "num_output: 4 kernel_size: 1");
      NetOptions options;
      options.precision = precision;
      Context context;
      const Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
                    std::make_shared<ParameterSet>(Device::kCpu), options);
      for (const auto& [layer, engine] : net.engines()) {
        EXPECT_NE(engine, "reference") << layer << ", " << geometry << ", " << ToString(precision);
      }
    }
  }
}

// Whatever blocks the processor likes best.
TEST(CpuPrecision, WhatFillsBlocksOf8IsTakenInThem) {
  const std::string text = InputText("data", "dim: 1 dim: 3 dim: 24 dim: 24") +
                           ConvText("a", "data", "num_output: 24 kernel_size: 3 pad: 1") +
                           ConvText("b", "a", "num_output: 40 kernel_size: 3 pad: 1");
  Context context;
  const Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
                std::make_shared<ParameterSet>(Device::kCpu), NetOptions());
  EXPECT_EQ(net.engines().at("a forward"), "first_layer");
  EXPECT_EQ(net.engines().at("b forward"), "winograd4x3");
}

TEST(CpuPrecision, StepsInBf16FollowF32s) {
  Training exact(Device::kCpu, Precision::kF32), rounded(Device::kCpu, Precision::kBF16);
  const double first = exact.net->Loss();
  for (int step = 0; step < 30; ++step) {
    for (Training* training : {&exact, &rounded}) {
      training->net->Update(1e-3f, step);
      training->net->Forward();
      training->net->Backward();
    }
  }
  EXPECT_LT(exact.net->Loss(), 0.8 * first);
  // A score goes through some fifteen roundings by 2^-8 at most, of either sign, and a loss sums
  // over many: within a hundredth; and as much again for the way that the weights have gone.
  EXPECT_NEAR(rounded.net->Loss(), exact.net->Loss(), 0.02 * exact.net->Loss());
}

TEST(CpuPrecision, WhatTheCpuLacksIsSaid) {
  for (const Precision precision : {Precision::kTf32, Precision::kF16}) {
    EXPECT_EQ(ErrorOf([&] { Training made(Device::kCpu, precision); }),
              "precision " + ToString(precision) + " needs a GPU");
  }
}

}  // namespace
}  // namespace lseg
