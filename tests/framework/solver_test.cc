// The Solver's loss scale: that it changes no number but those that f16 would lose, is halved where
// a gradient overflows and doubled where none does, and survives a checkpoint.
#include "framework/solver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "tests/device.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

using testing::HasSubstr;

// Both losses, a hidden layer, and batches of 2.
std::string NetText(const std::string& bin_weight, const std::string& sigmoid_weight) {
  return R"(
  layer { name: "data" type: "Input" top: "data"
          input_param { shape { dim: 2 dim: 3 dim: 9 dim: 7 } } }
  layer { name: "label" type: "Input" top: "label"
          input_param { shape { dim: 2 dim: 4 dim: 9 dim: 7 } } }
  layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
          convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
  layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
  layer { name: "score" type: "Convolution" bottom: "conv" top: "score"
          convolution_param { num_output: 4 kernel_size: 1
                              weight_filler { type: "gaussian" std: 0.1 } } }
  layer { name: "bin" type: "MultiChannelBinSigmoidCrossEntropyLoss" bottom: "score"
          bottom: "label" top: "bin" loss_weight: )" +
         bin_weight + R"( mcbsce_loss_param { num_label: 4 } }
  layer { name: "sigmoid" type: "SigmoidCrossEntropyLoss" bottom: "score" bottom: "label"
          top: "sigmoid" loss_weight: )" +
         sigmoid_weight + "}";
}

class Batches : public DataSource {
 public:
  std::vector<TensorDesc> Blobs() const override { return {{{2, 3, 9, 7}}, {{2, 4, 9, 7}}}; }
  void Fill(int64_t iteration, std::span<void* const> blobs) override {
    Random random(5, static_cast<uint64_t>(iteration));
    auto *data = static_cast<float*>(blobs[0]), *label = static_cast<float*>(blobs[1]);
    for (int64_t i = 0; i < 2 * 3 * 9 * 7; ++i) data[i] = random.Uniform(-2, 2);
    for (int64_t i = 0; i < 2 * 4 * 9 * 7; ++i) label[i] = random.Below(6) == 0 ? 1.0f : 0.0f;
  }
};

struct Training {
  Training(Device device, Precision precision, const std::string& text, bool scale_losses = true)
      : context(device), parameters(std::make_shared<ParameterSet>(device)) {
    param.set_type("SGD");
    param.set_base_lr(0.01f);
    param.set_lr_policy("fixed");
    param.set_momentum(0.9f);
    param.set_clip_gradients(1);
    NetOptions options;
    options.phase = caffe::TRAIN;
    options.solver = &param;
    options.precision = precision;
    options.scale_losses = scale_losses;
    net = std::make_unique<Net>(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(),
                                context, parameters, options);
    net->AttachSource(&source, {"data", "label"});
    if (net->Learns()) solver = std::make_unique<Solver>(*net, param);
  }
  WeightsFile Checkpoint() {
    WeightsFile file;
    parameters->Store(file);
    solver->Store(file);
    return file;
  }
  void Resume(const WeightsFile& file) {
    parameters->Load(file);
    net->ParametersChanged();
    solver->Load(file);
  }
  std::string Weights() const {
    WeightsFile file;
    parameters->Store(file);
    return file.Serialize();
  }

  Context context;
  caffe::SolverParameter param;
  std::shared_ptr<ParameterSet> parameters;
  Batches source;
  std::unique_ptr<Net> net;
  std::unique_ptr<Solver> solver;
};

class SolverTest : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override { LSEG_SKIP_WITHOUT(GetParam()); }
};
LSEG_ON_ALL_DEVICES(SolverTest);

// In f32 a power of two loses nothing: gradients, norm and weights are the same bits.
TEST_P(SolverTest, AScaleChangesNoBitWhereNothingOverflows) {
  const std::string text = NetText("0.5", "2");
  Training plain(GetParam(), Precision::kF32, text, false);
  Training scaled(GetParam(), Precision::kF32, text);
  ASSERT_FALSE(plain.net->ScalesLosses());
  for (int i = 0; i < 3; ++i) {
    const Solver::Step want = plain.solver->Run(), got = scaled.solver->Run();
    EXPECT_EQ(want.loss_scale, 1);
    EXPECT_EQ(got.loss_scale, LossScale::kFirst);
    EXPECT_FALSE(got.skipped);
    EXPECT_EQ(got.losses, want.losses);
    EXPECT_EQ(got.gradient_norm, want.gradient_norm);
    EXPECT_GT(want.gradient_norm, 1);  // is clipped
    for (const NetParam& param : plain.net->params()) {
      EXPECT_EQ(scaled.net->Gradient(param.key), plain.net->Gradient(param.key)) << param.key;
    }
    EXPECT_EQ(scaled.Weights(), plain.Weights());
  }
}

struct Overflow {
  Device device;
  Precision precision;
  const char* loss_weight;
};

class OverflowTest : public testing::TestWithParam<Overflow> {
 protected:
  void SetUp() override { LSEG_SKIP_WITHOUT(GetParam().device); }
  Training Make() const {
    return {GetParam().device, GetParam().precision,
            NetText(GetParam().loss_weight, GetParam().loss_weight)};
  }
};
// In f16 the gradient of 4 score maps overflows 65504 at the first scale, 65536; in f32 3e38 does.
INSTANTIATE_TEST_SUITE_P(In, OverflowTest,
                         testing::Values(Overflow{Device::kCpu, Precision::kF32, "1e34"},
                                         Overflow{Device::kCuda, Precision::kF32, "1e34"},
                                         Overflow{Device::kCuda, Precision::kF16, "100"}),
                         [](const auto& info) {
                           return ToString(info.param.device) + "_" +
                                  ToString(info.param.precision);
                         });

TEST_P(OverflowTest, HalvesTheScaleAndSkipsTheStep) {
  Training training = Make();
  int64_t scale = LossScale::kFirst;
  int skipped = 0;
  for (int64_t i = 0; i < 12; ++i) {
    const std::string before = training.Weights();
    const auto memory = training.net->SolverState();
    const Solver::Step step = training.solver->Run();
    EXPECT_EQ(step.iteration, i);
    EXPECT_EQ(training.solver->iteration(), i + 1);
    EXPECT_EQ(step.loss_scale, scale);
    EXPECT_TRUE(std::isfinite(step.loss));
    EXPECT_EQ(std::isfinite(step.gradient_norm), !step.skipped);
    const std::string after = training.Weights();
    EXPECT_EQ(after == before, step.skipped);
    if (!step.skipped) continue;
    EXPECT_EQ(training.net->SolverState(), memory);
    scale /= 2;
    ++skipped;
  }
  EXPECT_GE(skipped, 2);
  EXPECT_LE(skipped, 11);
}

TEST_P(OverflowTest, AResumedRunRepeatsTheUnbrokenOne) {
  Training unbroken = Make(), first = Make(), second = Make();
  for (int i = 0; i < 12; ++i) unbroken.solver->Run();
  ASSERT_TRUE(first.solver->Run().skipped);
  const std::string bytes = first.Checkpoint().Serialize();
  second.Resume(WeightsFile::Parse(bytes, "checkpoint"));
  EXPECT_EQ(second.Checkpoint().Serialize(), bytes);
  for (int i = 1; i < 12; ++i) second.solver->Run();
  EXPECT_EQ(second.Checkpoint().Serialize(), unbroken.Checkpoint().Serialize());
}

TEST_P(SolverTest, AfterManyGoodStepsTheScaleDoubles) {
  Training training(GetParam(), Precision::kF32, NetText("1", "1"));
  training.solver->Run();
  WeightsFile file = training.Checkpoint();
  EXPECT_EQ(file.metadata["solver_good_steps"], "1");
  file.metadata["solver_loss_scale"] = "1024";
  file.metadata["solver_good_steps"] = std::to_string(LossScale::kGrowAfter - 2);
  training.Resume(file);
  for (const int64_t scale : {1024, 1024, 2048, 2048}) {
    EXPECT_EQ(training.solver->Run().loss_scale, scale);
  }
  file.metadata["solver_loss_scale"] = "1000";
  EXPECT_THAT(ErrorOf([&] { training.solver->Load(file); }), HasSubstr("a power of two"));
  file.metadata.erase("solver_loss_scale");
  EXPECT_THAT(ErrorOf([&] { training.solver->Load(file); }), HasSubstr("solver_loss_scale"));
}

TEST_P(SolverTest, AtScaleOneAGradientThatIsNotFiniteIsAnError) {
  Training training(GetParam(), Precision::kF32, NetText("3e38", "1"));
  WeightsFile file = training.Checkpoint();
  file.metadata["solver_loss_scale"] = "2";
  training.Resume(file);
  EXPECT_TRUE(training.solver->Run().skipped);
  const std::string before = training.Weights();
  EXPECT_THAT(ErrorOf([&] { training.solver->Run(); }),
              testing::AllOf(HasSubstr("iteration 2: layer '"), HasSubstr("is not finite")));
  EXPECT_EQ(training.Weights(), before);
}

// The gradient is finite, as a sigmoid is at most 1, and the step that is queued behind it must not
// happen.
TEST_P(SolverTest, ALossThatIsNotFiniteLeavesTheWeights) {
  Training training(GetParam(), Precision::kF32, NetText("0", "1"), false);
  WeightsFile file = training.Checkpoint();
  WeightsFile huge;
  huge.metadata = file.metadata;
  for (WeightTensor tensor : file.tensors()) {
    // Logits of 1e37 and less: a sum of some hundred overflows.
    if (tensor.key == "score.bias") std::fill(tensor.data.begin(), tensor.data.end(), 3e37f);
    huge.Add(tensor);
  }
  training.Resume(huge);
  const std::string before = training.Weights();
  EXPECT_THAT(
      ErrorOf([&] { training.solver->Run(); }),
      testing::AllOf(HasSubstr("iteration 1: layer '"), HasSubstr("loss_forward) is not finite")));
  for (const NetParam& param : training.net->params()) {
    for (const float value : training.net->Gradient(param.key)) ASSERT_TRUE(std::isfinite(value));
  }
  EXPECT_EQ(training.Weights(), before);
}

TEST(LossScaleTest, StaysBetweenOneAndItsMost) {
  LossScale scale(LossScale::kMost, LossScale::kGrowAfter - 1);
  scale.Good();
  EXPECT_EQ(scale.value(), LossScale::kMost);
  EXPECT_EQ(scale.good_steps(), 0);
  for (int64_t value = LossScale::kMost; value > 1; value /= 2) {
    scale.Good();
    EXPECT_EQ(scale.value(), value);
    EXPECT_EQ(scale.good_steps(), 1);
    EXPECT_TRUE(scale.Overflowed());
    EXPECT_EQ(scale.good_steps(), 0);
  }
  EXPECT_FALSE(scale.Overflowed());
  EXPECT_EQ(scale.value(), 1);
}

TEST(SolverErrors, WhereNothingLearnsOrNothingIsScaled) {
  const std::string text = NetText("0", "0");
  Training still(Device::kCpu, Precision::kF32, text, false);
  EXPECT_FALSE(still.net->Learns());
  EXPECT_THAT(ErrorOf([&] { Solver(*still.net, still.param); }), HasSubstr("nothing learns"));
  EXPECT_THAT(ErrorOf([&] { still.net->SetLossScale(2); }), HasSubstr("without a scale"));
}

}  // namespace
}  // namespace lseg
