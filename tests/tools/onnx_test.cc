// lseg_convert W.safetensors W.onnx: ONNX Runtime's answers are the net's, at odd sizes, for every
// layer type and way of pooling; and what the file says of itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>

#include "framework/file.h"
#include "framework/net.h"
#include "framework/proto/onnx.pb.h"
#include "lseg/model.h"
#include "lseg/npy.h"
#include "tests/lseg/published_nets.h"
#include "tests/lseg/temp_folder.h"
#include "tests/lseg/tiny_model.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Size {
  int width, height;
};

// Odd ones, and all residues of strides up to 5.
const std::vector<Size> kSizes = {{17, 23}, {18, 22}, {19, 26}, {20, 25}, {21, 24}};

class Onnx : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_.Path(name); }

  ProgramResult Convert(const std::string& in, const std::string& out) const {
    return RunProgram({LSEG_CONVERT, Path(in), Path(out)}, Path("convert"));
  }
  onnx::ModelProto Model() const {
    onnx::ModelProto model;
    EXPECT_TRUE(model.ParseFromString(ReadFile(Path("a.onnx"))));
    return model;
  }

  // Writes a.safetensors with drawn weights, and for each size a drawn input and the net's answer
  // to it, two images a batch. `size` stands in the metadata.
  void DrawModel(const std::string& definition, const std::string& classes,
                 const std::vector<Size>& sizes, Size size = {40, 30}) {
    const InferenceNet inference = MakeInferenceNet(NetDefinition::FromText(definition, "net"));
    auto parameters = std::make_shared<ParameterSet>();
    Random random(7, 0);
    for (size_t i = 0; i < sizes.size(); ++i) {
      NetOptions options;
      options.inputs[inference.input] = TensorDesc{Shape{2, 3, sizes[i].height, sizes[i].width}};
      Net net(inference.definition, BuiltinLayers(), context_, parameters, options);
      if (i == 0) DrawBiases(net, *parameters, random);
      const int64_t count = 2 * 3 * int64_t{sizes[i].height} * sizes[i].width;
      float* input = net.InputF32(inference.input);
      for (int64_t k = 0; k < count; ++k) input[k] = random.Normal();
      const std::string n = std::to_string(i);
      WriteNpy(Path("in" + n + ".npy"), {2, 3, sizes[i].height, sizes[i].width}, input);
      net.Forward();
      const Shape& shape = net.Desc(inference.answer).shape;
      WriteNpy(Path("out" + n + ".npy"), {shape.n, shape.c, shape.h, shape.w},
               net.Output(inference.answer));
    }
    WeightsFile file;
    parameters->Store(file);
    file.metadata = {{"lseg.net", definition}, {"lseg.classes", classes}};
    file.metadata["lseg.width"] = std::to_string(size.width);
    file.metadata["lseg.height"] = std::to_string(size.height);
    file.Write(Path("a.safetensors"));
  }
  // Fillers leave biases at 0: a bias that is lost would not show.
  static void DrawBiases(Net& net, ParameterSet& parameters, Random& random) {
    for (const NetParam& param : net.params()) {
      if (!param.key.ends_with(".bias")) continue;
      Tensor& tensor = *parameters.Find(param.key);
      for (int64_t i = 0; i < tensor.desc().shape.Count(); ++i) {
        tensor.f32()[i] = 0.3f * random.Normal();
      }
    }
    net.ParametersChanged();
  }

  // Converts, and holds ONNX Runtime's answers against the net's.
  void ExpectSameAnswers(const std::vector<Size>& sizes) {
    const ProgramResult converted = Convert("a.safetensors", "a.onnx");
    ASSERT_EQ(converted.code, 0) << converted.err;
    EXPECT_EQ(converted.err, "");
    const char* chosen = std::getenv("LSEG_ONNX_PYTHON");
    std::vector<std::string> arguments = {"/usr/bin/env", chosen ? chosen : LSEG_ONNX_PYTHON,
                                          LSEG_SOURCE_DIR "/tests/tools/onnx_run.py",
                                          Path("a.onnx")};
    for (size_t i = 0; i < sizes.size(); ++i) {
      arguments.push_back(Path("in" + std::to_string(i) + ".npy"));
      arguments.push_back(Path("out" + std::to_string(i) + ".npy"));
    }
    const ProgramResult result = RunProgram(arguments, Path("python"));
    if (result.code == 77 || result.code == 127) {
      GTEST_SKIP() << "no ONNX Runtime (LSEG_ONNX_PYTHON names a Python that has it): "
                   << (result.code == 77 ? result.out : result.err);
    }
    ASSERT_EQ(result.code, 0) << result.err << result.out;
    std::istringstream lines(result.out);
    size_t count = 0;
    for (double difference; lines >> difference; ++count) {
      // Of probabilities; both sum in f32, in another order.
      EXPECT_LT(difference, 1e-4) << sizes[count].width << "x" << sizes[count].height;
    }
    EXPECT_EQ(count, sizes.size()) << result.out;
  }

  TempFolder folder_;
  Context context_;
};

TEST_F(Onnx, TheBuiltinNet) {
  const std::vector<Size> sizes = {{45, 37}, {64, 48}, {33, 71}};
  DrawModel(BuiltinNetText(), "EX,HE,MA,SE", sizes);
  ExpectSameAnswers(sizes);
}

TEST_F(Onnx, HedFcnAndRcf) {
  const std::vector<Size> sizes = {{45, 37}, {33, 64}};
  for (const std::string& net : {HedNet(16), RcfNet(16)}) {
    DrawModel(net, "edge", sizes);
    ExpectSameAnswers(sizes);
    if (IsSkipped()) return;
  }
  for (int stride : {32, 16, 8}) {
    // Classes 1 to 3 beside the background.
    DrawModel(FcnNet(16, stride, 4, 1, false), "a,b,c", sizes);
    ExpectSameAnswers(sizes);
  }
}

// The answer is what the pooling gives, in its size.
std::string PoolNet(const std::string& pooling) {
  return R"(
    layer { name: "data" type: "Input" top: "data"
            input_param { shape { dim: 1 dim: 3 dim: 30 dim: 40 } } }
    layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { )" +
         pooling + R"( } }
    layer { name: "answer" type: "Sigmoid" bottom: "pool" top: "probability" })";
}

// Every rule of rounding, padding and of the last window: kernel, stride, pad; up and down.
TEST_F(Onnx, Poolings) {
  const std::vector<std::string> cases = {
      "kernel_size: 2 stride: 2",
      "kernel_size: 3 stride: 2 pad: 1",
      "kernel_size: 2 stride: 2 pad: 1",  // windows dropped
      "kernel_size: 3 stride: 3 pad: 1",
      "kernel_size: 2 stride: 3",  // gaps between windows
      "kernel_size: 5 stride: 2 pad: 2",
      "kernel_size: 3 stride: 1 pad: 1",
      "kernel_size: 4 stride: 3 round_mode: FLOOR",
      "kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR",
      "kernel_h: 3 kernel_w: 2 stride_h: 3 stride_w: 2 pad_h: 2 pad_w: 1",
      "global_pooling: true"};
  for (const char* method : {"MAX", "AVE"}) {
    for (const std::string& rule : cases) {
      SCOPED_TRACE(std::string(method) + " " + rule);
      DrawModel(PoolNet("pool: " + std::string(method) + " " + rule), "a,b,c", kSizes);
      ExpectSameAnswers(kSizes);
      if (IsSkipped()) return;
    }
  }
}

// Dilation, groups, strides and pads that differ by axis, slopes, coefficients, layers in place, a
// blob that several layers read, explicit offsets, concatenation along channels and rows, softmax.
constexpr char kMixed[] = R"(
  name: "mixed"
  layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 30 dim: 40 } } }
  layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 6
          kernel_h: 3 kernel_w: 5 pad_h: 2 pad_w: 4 dilation: 2 weight_filler { type: "xavier" } } }
  layer { name: "slope" type: "ReLU" bottom: "a" top: "a" relu_param { negative_slope: 0.2 } }
  layer { name: "b" type: "Convolution" bottom: "a" top: "b" convolution_param { num_output: 4
          kernel_size: 3 pad: 1 stride: 2 group: 2 bias_term: false weight_filler { type: "xavier" } } }
  layer { name: "relu" type: "ReLU" bottom: "b" top: "b" }
  layer { name: "drop" type: "Dropout" bottom: "b" top: "b" }
  layer { name: "up" type: "Deconvolution" bottom: "b" top: "up" convolution_param { num_output: 6
          kernel_size: 5 stride: 2 pad: 1 group: 2 dilation: 1 weight_filler { type: "xavier" } } }
  layer { type: "Crop" bottom: "up" bottom: "data" top: "cropped" crop_param { offset: 1 offset: 0 } }
  layer { name: "sum" type: "Eltwise" bottom: "cropped" bottom: "a" bottom: "a" top: "sum"
          eltwise_param { coeff: 0.5 coeff: 1 coeff: -0.25 } }
  layer { name: "cut" type: "Slice" bottom: "sum" top: "one" top: "two" slice_param { slice_point: 2 } }
  layer { name: "thrice" type: "Convolution" bottom: "two" top: "three" convolution_param {
          num_output: 2 kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }
  layer { name: "both" type: "Concat" bottom: "three" bottom: "one" top: "both" }
  layer { name: "tall" type: "Concat" bottom: "both" bottom: "both" top: "tall" concat_param { axis: 2 } }
  layer { name: "halves" type: "Crop" bottom: "tall" bottom: "data" top: "half"
          crop_param { axis: 2 offset: 3 offset: 0 } }
  layer { name: "prob" type: "Softmax" bottom: "half" top: "prob" })";

TEST_F(Onnx, EveryLayer) {
  DrawModel(kMixed, "x,y,z", kSizes);
  ExpectSameAnswers(kSizes);
}

// A net whose answer is the blob that a layer in place, or one that does nothing, gives.
TEST_F(Onnx, AnswersInPlace) {
  const std::string net = R"(
      layer { name: "data" type: "Input" top: "data"
              input_param { shape { dim: 1 dim: 3 dim: 30 dim: 40 } } }
      layer { name: "score" type: "Convolution" bottom: "data" top: "probability"
              convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "xavier" } } }
      layer { name: "answer" type: "Sigmoid" bottom: "probability" top: "probability" }
      layer { name: "drop" type: "Dropout" bottom: "probability" top: "probability" })";
  DrawModel(net, "a,b", kSizes);
  ExpectSameAnswers(kSizes);
  EXPECT_EQ(Model().graph().output(0).name(), "probability");
}

TEST_F(Onnx, SaysWhatItIs) {
  WeightsFile file = TinyModel();
  file.metadata["license"] = "CC BY 4.0";
  file.metadata["lseg.thresholds"] = "0.5,0.4,0.3,0.5";
  file.Write(Path("a.safetensors"));
  ASSERT_EQ(Convert("a.safetensors", "a.onnx").code, 0);
  const onnx::ModelProto model = Model();
  EXPECT_EQ(model.opset_import(0).version(), 17);
  EXPECT_EQ(model.producer_name(), "L-Seg");
  std::map<std::string, std::string> metadata;
  for (const auto& entry : model.metadata_props()) metadata[entry.key()] = entry.value();
  EXPECT_EQ(metadata, file.metadata);
  ASSERT_EQ(model.graph().input_size(), 1);
  ASSERT_EQ(model.graph().output_size(), 1);
  const onnx::ValueInfoProto &input = model.graph().input(0), &output = model.graph().output(0);
  EXPECT_EQ(input.name(), "data");
  EXPECT_EQ(input.doc_string(),
            "(batch, 3, height, width): B, G, R of 0 to 255, less 150,50,100, times 0.1; made for "
            "8x6");
  EXPECT_EQ(output.name(), "probability");
  EXPECT_EQ(output.doc_string(), "probabilities of EX,HE,MA,SE");
  for (const auto& [value, channels] : {std::pair{&input, 3}, {&output, 4}}) {
    const onnx::TensorShapeProto& shape = value->type().tensor_type().shape();
    ASSERT_EQ(shape.dim_size(), 4);
    EXPECT_EQ(shape.dim(0).dim_param(), "batch");
    EXPECT_EQ(shape.dim(1).dim_value(), channels);
    EXPECT_EQ(shape.dim(2).dim_param(), "height");
    EXPECT_EQ(shape.dim(3).dim_param(), "width");
  }
  const std::string bytes = ReadFile(Path("a.onnx"));
  ASSERT_EQ(Convert("a.safetensors", "a.onnx").code, 0);
  EXPECT_EQ(ReadFile(Path("a.onnx")), bytes);
}

// A .caffemodel says nothing of its net.
TEST_F(Onnx, OfACaffeModelByItsDefinition) {
  TinyModel().Write(Path("a.safetensors"));
  ASSERT_EQ(Convert("a.safetensors", "b.caffemodel").code, 0);
  folder_.Write("net.prototxt", std::string("class_name: 'a' class_name: 'b' class_name: 'c' "
                                            "class_name: 'd'") +
                                    kTinyNet);
  folder_.Write("more.json", R"({"lseg.mean": "1,2,3", "license": "MIT"})");
  const ProgramResult result =
      RunProgram({LSEG_CONVERT, Path("b.caffemodel"), Path("a.onnx"), "--net", Path("net.prototxt"),
                  "--metadata", Path("more.json")},
                 Path("convert"));
  ASSERT_EQ(result.code, 0) << result.err;
  const onnx::ModelProto model = Model();
  EXPECT_EQ(model.graph().output(0).doc_string(), "probabilities of a,b,c,d");
  EXPECT_THAT(model.graph().input(0).doc_string(), HasSubstr("less 1,2,3, times 1;"));
  EXPECT_EQ(model.graph().node_size(), 2);
  const ProgramResult wrong = RunProgram(
      {LSEG_CONVERT, Path("a.safetensors"), Path("c.caffemodel"), "--net", Path("net.prototxt")},
      Path("convert"));
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("--net is for an OUT in .safetensors or .onnx"));
}

TEST_F(Onnx, WhatCannotBeWrittenIsNamed) {
  const auto expect = [&](const std::string& text) {
    folder_.Write("a.onnx", "precious");
    const ProgramResult result = Convert("a.safetensors", "a.onnx");
    EXPECT_EQ(result.code, 1) << text;
    EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_EQ(ReadFile(Path("a.onnx")), "precious");
  };
  DrawModel(R"(
      layer { name: "data" type: "Input" top: "data"
              input_param { shape { dim: 1 dim: 3 dim: 30 dim: 40 } } }
      layer { name: "halves" type: "Slice" bottom: "data" top: "up" top: "down" slice_param { axis: 2 } }
      layer { name: "answer" type: "Sigmoid" bottom: "up" top: "probability" })",
            "a,b,c", {{20, 30}});
  expect("layer 'halves' (Slice) cannot be written as ONNX: it cuts along axis 2");
  WeightsFile file = TinyModel();
  file.metadata["lseg.classes"] = "EX,HE";
  file.Write(Path("a.safetensors"));
  expect("the net's answer has 4 channels, and there are 2 classes");
  WeightsFile part;
  part.metadata = TinyModel().metadata;
  part.Add({"score.bias", {4}, {0, 0, 0, -1}});
  part.Write(Path("a.safetensors"));
  expect("the net has tensors that this file lacks: score.weight");
  const ProgramResult back = Convert("a.onnx", "b.safetensors");
  EXPECT_EQ(back.code, 2);
  EXPECT_THAT(back.err, HasSubstr("a.onnx': .onnx is written only"));
}

}  // namespace
}  // namespace lseg
