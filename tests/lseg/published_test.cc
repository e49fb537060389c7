// The published definition with every quirk of its file: it parses, is the same net as the built-in
// one, and trains.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "framework/solver.h"
#include "framework/solver_definition.h"
#include "lseg/layers.h"
#include "lseg/model.h"
#include "tests/lseg/tiny_dataset.h"

namespace lseg {
namespace {

constexpr int kWidth = 45, kHeight = 37;  // no stage divides evenly

// The solver of the net's ancestor, but one batch a step.
constexpr char kSolver[] =
    "type: 'SGD' base_lr: 1e-6 momentum: 0.9 weight_decay: 2e-4 lr_policy: 'step' gamma: 0.1 "
    "stepsize: 10000 max_iter: 30000";

class Published : public testing::Test {
 protected:
  Published() : solver_(SolverDefinition::FromText(kSolver, "solver")) {
    WriteTinyDataset(folder_, "train", 2, kWidth, kHeight);
    folder_.Write("published.prototxt", ReadFile(LSEG_SOURCE_DIR "/tests/lseg/published.prototxt"));
  }

  NetDefinition Definition() const {
    return NetDefinition::FromFile(folder_.Path("published.prototxt"));
  }

  std::unique_ptr<Net> Make(std::shared_ptr<ParameterSet> parameters) {
    LayerRegistry registry = BuiltinLayers();
    AddLayers(registry);
    NetOptions options;
    options.phase = caffe::TRAIN;
    options.solver = &solver_.solver();
    options.keep = {"concat_fusion", "data"};
    return std::make_unique<Net>(Definition(), registry, context_, std::move(parameters), options);
  }

  TempFolder folder_;
  Context context_;
  SolverDefinition solver_;
};

TEST_F(Published, IsTheSameNetAsTheBuiltinOne) {
  auto parameters = std::make_shared<ParameterSet>();
  NetOptions options;
  options.inputs["data"] = {{1, 3, kHeight, kWidth}};
  const InferenceNet inference =
      MakeInferenceNet(NetDefinition::FromText(BuiltinNetText(), "built-in"));
  Net builtin(inference.definition, BuiltinLayers(), context_, parameters, options);
  const size_t tensors = parameters->tensors().size();

  const std::unique_ptr<Net> published = Make(parameters);
  EXPECT_EQ(parameters->tensors().size(), tensors);  // every name and shape is the same
  published->Fetch(0);
  published->Forward();
  const std::vector<float> data = published->Read("data");
  std::copy(data.begin(), data.end(), builtin.InputF32("data"));
  builtin.Forward();
  const std::vector<float> logits = published->Read("concat_fusion");
  const std::vector<float> answer = builtin.Read("probability");
  double spread = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    // One sigmoid in float beside one in double: a few units in the last place of 1.
    EXPECT_NEAR(answer[i], 1 / (1 + std::exp(-double{logits[i]})), 1e-6) << i;
    spread = std::max(spread, std::abs(double{logits[i]} - logits[0]));
  }
  EXPECT_GT(spread, 1e-3);  // the maps are not flat, so the comparison says something
}

TEST_F(Published, TrainsAStep) {
  auto parameters = std::make_shared<ParameterSet>();
  const std::unique_ptr<Net> net = Make(parameters);
  ASSERT_EQ(net->losses().size(), 6u);
  EXPECT_EQ(net->losses()[0].name, "dsn1_loss");
  EXPECT_EQ(net->losses()[5].name, "fuse_loss");
  int upsamplings = 0;
  for (const std::string& note : net->notes()) {
    upsamplings += note.find("filled bilinear, channel i to channel i") != std::string::npos;
  }
  EXPECT_EQ(upsamplings, 4);

  // Weights without a filler are zeros, as in Caffe: give the trunk something to work with.
  Random random(1, 1);
  for (const auto& [key, tensor] : parameters->tensors()) {
    if (key.rfind("conv", 0) != 0) continue;
    const float scale = std::sqrt(2.0f / (9.0f * static_cast<float>(tensor.desc().shape.c)));
    for (int64_t i = 0; i < tensor.desc().shape.Count(); ++i) {
      tensor.f32()[i] = random.Uniform(-scale, scale);
    }
  }
  net->ParametersChanged();
  const auto copy = [&](const char* key) {
    const Tensor& tensor = *parameters->Find(key);
    return std::vector<float>(tensor.f32(), tensor.f32() + tensor.desc().shape.Count());
  };
  const std::vector<float> upsampling = copy("upsample_88.weight");
  const std::vector<float> score = copy("new-score-dsn3.weight"),
                           fusion = copy("fusion_channel2.bias");

  Solver solver(*net, solver_.solver());
  const Solver::Step first = solver.Run();
  const Solver::Step second = solver.Run();
  EXPECT_TRUE(std::isfinite(first.loss) && first.loss > 0);
  EXPECT_LT(second.loss, first.loss);
  EXPECT_EQ(copy("upsample_88.weight"), upsampling);
  EXPECT_NE(copy("new-score-dsn3.weight"), score);
  EXPECT_NE(copy("fusion_channel2.bias"), fusion);
}

TEST_F(Published, InfersWithoutItsDataLayerAndLosses) {
  const InferenceNet net = MakeInferenceNet(Definition());
  EXPECT_EQ(net.input, "data");
  EXPECT_EQ(net.answer, "probability");
  for (const caffe::LayerParameter& layer : net.definition.net().layer()) {
    EXPECT_NE(layer.type(), "MultiChannelBinSigmoidCrossEntropyLoss");
    EXPECT_NE(layer.type(), kImageLabelmapData);
  }
}

}  // namespace
}  // namespace lseg
