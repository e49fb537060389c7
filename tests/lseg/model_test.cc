// The built-in definition, what a weights file says of its model, and nets cut down to inference.
#include "lseg/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/lr_policy.h"
#include "framework/net.h"
#include "framework/solver_definition.h"
#include "kernels/runtime/check.h"
#include "lseg/layers.h"
#include "tests/lseg/temp_folder.h"

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

NetDefinition Builtin() { return NetDefinition::FromText(BuiltinNetText(), "built-in"); }

int CountType(const NetDefinition& net, const std::string& type) {
  int count = 0;
  for (const caffe::LayerParameter& layer : net.net().layer()) count += layer.type() == type;
  return count;
}

std::string ErrorOf(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(BuiltinNet, HasThePublishedLayers) {
  const NetDefinition train = Builtin().Filtered(caffe::TRAIN);
  EXPECT_EQ(CountType(train, "Convolution"), 13 + 5 + 4);
  EXPECT_EQ(CountType(train, "ReLU"), 13);
  EXPECT_EQ(CountType(train, "Pooling"), 4);
  EXPECT_EQ(CountType(train, "Deconvolution"), 4);
  EXPECT_EQ(CountType(train, "Crop"), 5);
  EXPECT_EQ(CountType(train, "Slice"), 5);
  EXPECT_EQ(CountType(train, "Concat"), 5);
  EXPECT_EQ(CountType(train, "MultiChannelBinSigmoidCrossEntropyLoss"), 6);
  EXPECT_EQ(CountType(train, "Sigmoid"), 0);
  const NetDefinition test = Builtin().Filtered(caffe::TEST);
  EXPECT_EQ(CountType(test, "Sigmoid"), 6);
  EXPECT_EQ(CountType(test, "MultiChannelBinSigmoidCrossEntropyLoss"), 0);
}

TEST(BuiltinNet, LearnsAtTheRatesThatItSays) {
  const NetDefinition net = Builtin();
  for (const caffe::LayerParameter& layer : net.net().layer()) {
    if (layer.param_size() == 0) continue;
    const bool trunk = layer.name().rfind("conv", 0) == 0;
    const float rate = layer.type() == "Deconvolution" ? 0 : trunk ? 1 : 10;
    ASSERT_EQ(layer.param_size(), 2) << layer.name();
    EXPECT_EQ(layer.param(0).lr_mult(), rate) << layer.name();
    EXPECT_EQ(layer.param(1).lr_mult(), rate) << layer.name();
  }
}

// An odd size, where no stage divides evenly, and a batch.
TEST(BuiltinNet, BuildsAtAnySize) {
  Context context;
  auto parameters = std::make_shared<ParameterSet>();
  const SolverDefinition solver = SolverDefinition::FromText(BuiltinSolverText(), "built-in");
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver.solver();
  options.inputs["data"] = {{2, 3, 37, 51}};
  options.inputs["label"] = {{2, 4, 37, 51}, DType::kU8};
  Net net(Builtin(), BuiltinLayers(), context, parameters, options);
  EXPECT_EQ(net.losses().size(), 6u);
  EXPECT_EQ(net.Desc("concat_fusion").shape, (Shape{2, 4, 37, 51}));
  EXPECT_EQ(parameters->Find("fusion_channel3.weight")->f32()[4], 0.2f);
}

TEST(BuiltinSolver, FollowsACosineAfterAWarmUp) {
  const SolverDefinition solver = SolverDefinition::FromText(BuiltinSolverText(), "built-in");
  EXPECT_THAT(solver.notes(), IsEmpty());
  EXPECT_EQ(solver.solver().type(), "Adam");
  // Half of the way 1.5e-4 / 2; the arithmetic is in double and ends in a float.
  EXPECT_NEAR(LearningRate(solver.solver(), 1000), 0.75e-4, 1e-10);
  EXPECT_NEAR(LearningRate(solver.solver(), 9), 0.1 * 1.5e-4, 1e-8);
}

TEST(ModelInfo, ComesBackFromMetadata) {
  ModelInfo info;
  info.net_text = "name: \"x\"";
  info.classes = {"A", "B"};
  info.width = 12;
  info.height = 7;
  info.mean_bgr = {0.1f, 1e-30f, 16777217.0f};
  info.scale = 1.0f / 255;
  const ModelInfo read = FromMetadata(ToMetadata(info), "w");
  EXPECT_EQ(read.net_text, info.net_text);
  EXPECT_EQ(read.classes, info.classes);
  EXPECT_EQ(read.width, 12);
  EXPECT_EQ(read.height, 7);
  EXPECT_EQ(read.mean_bgr, info.mean_bgr);
  EXPECT_EQ(read.scale, info.scale);
}

TEST(ModelInfo, WithoutMetadataIsTheBuiltinModel) {
  const ModelInfo info = FromMetadata({{"something", "else"}}, "w");
  EXPECT_EQ(info.net_text, BuiltinNetText());
  EXPECT_THAT(info.classes, ElementsAre("EX", "HE", "MA", "SE"));
  EXPECT_THAT(info.mean_bgr, ElementsAre(16.3090f, 56.4373f, 116.5132f));
  EXPECT_EQ(ToMetadata(info).at("lseg.mean"), "16.309,56.4373,116.5132");
}

// As Caffe has it: mean_value once for all channels or once a channel, a mean_file, or none, 0.
// Without a data layer nothing is said of it.
TEST(ModelInfo, TakesMeanAndScaleFromTheDataLayer) {
  const auto info = [](const std::string& layer, bool with_mean = true) {
    const std::string text =
        layer + "\nlayer { name: 's' type: 'Sigmoid' bottom: 'data' top: 's' }";
    return FromDefinition(NetDefinition::FromText(text, "net"), {}, with_mean);
  };
  const auto data = [](const std::string& transform, const std::string& type = kImageLabelmapData) {
    return "layer { name: 'data' type: '" + type + "' top: 'data' top: 'label'\n" + transform +
           " }";
  };
  EXPECT_THAT(info(data("transform_param { mean_value: 1 mean_value: 2 mean_value: 3 }")).mean_bgr,
              ElementsAre(1, 2, 3));
  const ModelInfo once = info(data("transform_param { mean_value: 9 scale: 0.5 }"));
  EXPECT_THAT(once.mean_bgr, ElementsAre(9, 9, 9));
  EXPECT_EQ(once.scale, 0.5f);
  EXPECT_THAT(info(data("")).mean_bgr, ElementsAre(0, 0, 0));
  EXPECT_THAT(info(data("transform_param { mirror: true }", "Data")).mean_bgr,
              ElementsAre(0, 0, 0));
  EXPECT_THAT(info("layer { name: 'data' type: 'Input' top: 'data' }").mean_bgr,
              ElementsAre(16.3090f, 56.4373f, 116.5132f));

  const TempFolder folder;
  caffe::BlobProto mean;
  for (const int dim : {3, 1, 2}) mean.mutable_shape()->add_dim(dim);
  for (int i = 0; i < 6; ++i) mean.add_data(static_cast<float>(10 * i));
  const std::string path = folder.Write("mean.binaryproto", mean.SerializeAsString());
  EXPECT_THAT(info(data("transform_param { mean_file: '" + path + "' }")).mean_bgr,
              ElementsAre(5, 25, 45));
  const std::string missing = data("transform_param { mean_file: 'none' scale: 2 }");
  EXPECT_THAT(ErrorOf([&] { info(missing); }),
              HasSubstr("net:2: layer 'data' (ImageLabelmapData): none"));
  // Where the caller knows the mean, the file need not be there.
  EXPECT_EQ(info(missing, false).scale, 2);
}

TEST(ModelInfo, RefusesWhatItCannotRead) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"lseg.width", "12x"},
      {"lseg.width", "0"},
      {"lseg.height", ""},
      {"lseg.mean", "1,2"},
      {"lseg.mean", "1,2,z"},
      {"lseg.scale", "."},
      {"lseg.classes", "A,,B"},
      {"lseg.mean", "1,2,3,"},
      {"lseg.mean", "1,2,inf"},
      {"lseg.scale", "nan"},
      {"lseg.thresholds", "0.5,0.5,0.5,0.5,"}};
  for (const auto& [key, value] : cases) {
    EXPECT_THAT(ErrorOf([&] {
                  FromMetadata({{key, value}}, "w.safetensors");
                }),
                testing::AllOf(HasSubstr("w.safetensors"), HasSubstr("'" + key + "'"),
                               HasSubstr("'" + value + "'")));
  }
}

TEST(InferenceNet, OfTheBuiltinNetIsItsTrunkAndFusion) {
  const InferenceNet net = MakeInferenceNet(Builtin());
  EXPECT_EQ(net.input, "data");
  EXPECT_EQ(net.answer, "probability");
  EXPECT_EQ(CountType(net.definition, "Sigmoid"), 1);  // those of the side maps are not needed
  EXPECT_EQ(CountType(net.definition, "Convolution"), 22);
  Context context;
  NetOptions options;
  options.inputs["data"] = {{1, 3, 20, 24}};
  Net runnable(net.definition, BuiltinLayers(), context, std::make_shared<ParameterSet>(), options);
  EXPECT_THAT(runnable.outputs(), ElementsAre("probability"));
}

TEST(InferenceNet, OfANetForTrainingGetsASigmoidOfItsLastLogits) {
  const InferenceNet net = MakeInferenceNet(NetDefinition::FromText(R"(
    layer { name: "d" type: "ImageLabelmapData" top: "image" top: "truth" include { phase: TRAIN }
            image_data_param { source: "x" } }
    layer { name: "c" type: "Convolution" bottom: "image" top: "c"
            convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
    layer { name: "side" type: "Convolution" bottom: "c" top: "side"
            convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "last" type: "Convolution" bottom: "c" top: "z"
            convolution_param { num_output: 4 kernel_size: 1 } }
    layer { type: "SigmoidCrossEntropyLoss" bottom: "side" bottom: "truth" top: "l1" }
    layer { type: "SigmoidCrossEntropyLoss" bottom: "z" bottom: "truth" top: "l2" }
  )",
                                                                    "net"));
  EXPECT_EQ(net.input, "image");
  std::vector<std::string> names;
  for (const auto& layer : net.definition.net().layer()) names.push_back(layer.name());
  EXPECT_THAT(names, ElementsAre("image", "c", "r", "last", "probability"));
}

// Only a solver's train_state knows the stage.
TEST(InferenceNet, FindsALossThatAStageSelects) {
  const InferenceNet net = MakeInferenceNet(NetDefinition::FromText(R"(
    layer { name: "c" type: "Convolution" bottom: "image" top: "c"
            convolution_param { num_output: 4 kernel_size: 1 } }
    layer { type: "SigmoidCrossEntropyLoss" bottom: "c" bottom: "truth" top: "loss"
            include { phase: TRAIN stage: "full" } }
  )",
                                                                    "net"));
  EXPECT_EQ(net.answer, "probability");
}

TEST(InferenceNet, RefusesNetsWithoutAnAnswer) {
  EXPECT_THAT(ErrorOf([] {
                MakeInferenceNet(NetDefinition::FromText(
                    R"(layer { name: "r" type: "ReLU" bottom: "data" top: "r" })", "my.prototxt"));
              }),
              testing::AllOf(HasSubstr("my.prototxt"), HasSubstr("no answer")));
  EXPECT_THAT(ErrorOf([] {
                MakeInferenceNet(NetDefinition::FromText(
                    R"(layer { name: "c" type: "Concat" bottom: "a" bottom: "b" top: "c" }
                       layer { name: "s" type: "Sigmoid" bottom: "c" top: "s" })",
                    "my.prototxt"));
              }),
              HasSubstr("needs 'a', 'b' as inputs"));
}

}  // namespace
}  // namespace lseg
