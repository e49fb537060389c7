// The Net as its user meets it: alignment of Crop, memory, shared parameters, errors with their
// line.
#include "framework/net.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/framework/gradient_checker.h"

namespace lseg {
namespace {

std::string Input(const std::string& name, const std::string& dims) {
  return "layer { name: '" + name + "' type: 'Input' top: '" + name + "' input_param { shape { " +
         dims + " } } }\n";
}

std::string Conv(const std::string& name, const std::string& bottom, const std::string& param) {
  return "layer { name: '" + name + "' type: 'Convolution' bottom: '" + bottom + "' top: '" + name +
         "' convolution_param { " + param + " } }\n";
}

std::string Pool(const std::string& name, const std::string& bottom) {
  return "layer { name: '" + name + "' type: 'Pooling' bottom: '" + bottom + "' top: '" + name +
         "' pooling_param { pool: MAX kernel_size: 2 stride: 2 } }\n";
}

std::string Deconv(const std::string& name, const std::string& bottom, int kernel, int stride,
                   int channels = 1) {
  return "layer { name: '" + name + "' type: 'Deconvolution' bottom: '" + bottom + "' top: '" +
         name +
         "' param { lr_mult: 0 } convolution_param { num_output: " + std::to_string(channels) +
         " kernel_size: " + std::to_string(kernel) + " stride: " + std::to_string(stride) +
         " bias_term: false } }\n";
}

std::string Crop(const std::string& top, const std::string& bottom, const std::string& reference) {
  return "layer { name: 'crop' type: 'Crop' bottom: '" + bottom + "' bottom: '" + reference +
         "' top: '" + top + "' }\n";
}

NetParts Build(const std::string& text, ParameterSet& parameters) {
  Context context;
  const NetDefinition definition =
      NetDefinition::FromText(text, "test.prototxt").Filtered(caffe::TEST);
  return BuildLayers(definition, BuiltinLayers(), context, 1, parameters, {});
}

// The offsets (vertical, horizontal) of the crops of a net, in order.
std::vector<std::pair<double, double>> CropOffsets(const std::string& text) {
  ParameterSet parameters;
  const NetParts parts = Build(text, parameters);
  std::vector<std::pair<double, double>> offsets;
  for (const Node& node : parts.graph.nodes) {
    if (node.op->Name() != "crop") continue;
    offsets.emplace_back(node.op->Map(true)->shift, node.op->Map(false)->shift);
  }
  return offsets;
}

// VGG16's geometry with one channel: five stages of 3x3 convolutions and a pooling.
std::string VggStages(const std::string& first_pad, bool last_pool) {
  std::string text = Conv("conv1_1", "data", "num_output: 1 kernel_size: 3 pad: " + first_pad);
  text += Conv("conv1_2", "conv1_1", "num_output: 1 kernel_size: 3 pad: 1");
  std::string last = "conv1_2";
  for (int stage = 2; stage <= 5; ++stage) {
    const std::string s = std::to_string(stage);
    text += Pool("pool" + std::to_string(stage - 1), last);
    text +=
        Conv("conv" + s, "pool" + std::to_string(stage - 1), "num_output: 1 kernel_size: 3 pad: 1");
    last = "conv" + s;
  }
  if (last_pool) text += Pool("pool5", last);
  return text;
}

TEST(Crop, AlignsTheSideMapsOfLSeg) {
  std::string text = Input("data", "dim: 1 dim: 1 dim: 67 dim: 93") + VggStages("1", false);
  for (int stage = 2; stage <= 5; ++stage) {
    const std::string s = std::to_string(stage);
    text += Deconv("up" + s, "conv" + s, 1 << stage, 1 << (stage - 1));
    text += Crop("side" + s, "up" + s, "data");
  }
  text += Crop("side1", "conv1_2", "data");
  using P = std::pair<double, double>;
  // Facts of the mapping: 0 for stage 1 and 1, 2, 4, 8 for stages 2 to 5.
  EXPECT_THAT(CropOffsets(text), testing::ElementsAre(P(1, 1), P(2, 2), P(4, 4), P(8, 8), P(0, 0)));
}

TEST(Crop, GivesTheKnownOffsetsOfFcn) {
  const std::string trunk = Input("data", "dim: 1 dim: 1 dim: 64 dim: 80") +
                            VggStages("100", true) +
                            Conv("fc6", "pool5", "num_output: 1 kernel_size: 7") +
                            Conv("fc7", "fc6", "num_output: 1 kernel_size: 1") +
                            Conv("score", "fc7", "num_output: 1 kernel_size: 1");
  using P = std::pair<double, double>;
  EXPECT_THAT(CropOffsets(trunk + Deconv("up", "score", 64, 32) + Crop("out", "up", "data")),
              testing::ElementsAre(P(19, 19)));
  const std::string two = Deconv("up2", "score", 4, 2) + Crop("pool4c", "pool4", "up2");
  EXPECT_THAT(
      CropOffsets(trunk + two + Deconv("up16", "pool4c", 32, 16) + Crop("out", "up16", "data")),
      testing::ElementsAre(P(5, 5), P(27, 27)));
  EXPECT_THAT(
      CropOffsets(trunk + two + Deconv("up4", "pool4c", 4, 2) + Crop("pool3c", "pool3", "up4") +
                  Deconv("up8", "pool3c", 16, 8) + Crop("out", "up8", "data")),
      testing::ElementsAre(P(5, 5), P(9, 9), P(31, 31)));
}

TEST(Crop, ImpulseThroughEveryStageComesBackCentred) {
  // pool 2^s times, upsample bilinearly, crop: the answer's centre of mass is the impulse's cell's
  // centre, at any odd size. Average pooling keeps the mass; sizes leave a partial last window.
  for (int stage = 2; stage <= 5; ++stage) {
    std::string text = Input("data", "dim: 1 dim: 1 dim: 77 dim: 91");
    std::string last = "data";
    for (int i = 1; i < stage; ++i) {
      const std::string name = "pool" + std::to_string(i);
      text += Pool(name, last);
      last = name;
    }
    text += Deconv("up", last, 1 << stage, 1 << (stage - 1)) + Crop("out", "up", "data");
    Context context;
    Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
            std::make_shared<ParameterSet>(), {});
    const int cell = 1 << (stage - 1);
    const int y = 37, x = 45;
    net.InputF32("data")[y * 91 + x] = 1;
    net.Forward();
    const float* out = net.Output("out");
    double mass = 0, sum_y = 0, sum_x = 0;
    for (int i = 0; i < 77 * 91; ++i) {
      mass += out[i];
      sum_y += out[i] * (i / 91);
      sum_x += out[i] * (i % 91);
    }
    // The maximum of a cell stands for the whole cell, whose centre is half a pixel off a corner.
    EXPECT_NEAR(sum_y / mass, y / cell * cell + (cell - 1) / 2.0, 1e-4) << "stage " << stage;
    EXPECT_NEAR(sum_x / mass, x / cell * cell + (cell - 1) / 2.0, 1e-4) << "stage " << stage;
  }
}

TEST(Deconvolution, WithoutFillerAndLearningIsBilinearOnTheDiagonal) {
  ParameterSet parameters;
  const NetParts parts = Build(
      Input("data", "dim: 1 dim: 3 dim: 4 dim: 4") + Deconv("up", "data", 4, 2, 3), parameters);
  const Tensor* weight = parameters.Find("up.weight");
  ASSERT_NE(weight, nullptr);
  // The bilinear kernel of size 4 and stride 2 is (1,3,3,1)/4 along each axis.
  constexpr double kAxis[4] = {0.25, 0.75, 0.75, 0.25};
  for (int i = 0; i < 3 * 3 * 16; ++i) {
    const int in = i / 48, out = i / 16 % 3, y = i / 4 % 4, x = i % 4;
    EXPECT_FLOAT_EQ(weight->f32()[i], in == out ? kAxis[y] * kAxis[x] : 0.0) << i;
  }
  EXPECT_THAT(parts.notes,
              testing::Contains(testing::HasSubstr("bilinear, channel i to channel i")));
}

// What an erroneous text is told.
std::string Complaint(const std::string& text) {
  try {
    ParameterSet parameters;
    Build(text, parameters);
  } catch (const Error& error) {
    return error.what();
  }
  return "no complaint";
}

TEST(NetErrors, NameFileLineLayerAndRule) {
  const std::string data = Input("data", "dim: 1 dim: 3 dim: 8 dim: 8");
  using testing::AllOf;
  using testing::HasSubstr;
  EXPECT_THAT(Complaint(data + "layer { name: 'x' type: 'Conv' bottom: 'data' top: 'x' }"),
              AllOf(HasSubstr("test.prototxt:2"), HasSubstr("'x'"),
                    HasSubstr("unknown layer type 'Conv'")));
  EXPECT_THAT(Complaint(data + Conv("c", "dat", "num_output: 1 kernel_size: 1")),
              AllOf(HasSubstr("test.prototxt:2"), HasSubstr("'c'"), HasSubstr("bottom 'dat'")));
  EXPECT_THAT(Complaint(data + Conv("c", "data", "num_output: 1 kernel_size: 9")),
              AllOf(HasSubstr("test.prototxt:2"), HasSubstr("'c'"), HasSubstr("9")));
  EXPECT_THAT(Complaint(data + Input("other", "dim: 1 dim: 3 dim: 8 dim: 9") +
                        "layer { name: 'cat' type: 'Concat' bottom: 'data' bottom: 'other' top: "
                        "'cat' }"),
              AllOf(HasSubstr("test.prototxt:3"), HasSubstr("1x3x8x9"), HasSubstr("1x3x8x8")));
  EXPECT_THAT(Complaint(data + Conv("c", "data", "num_output: 2 kernel_size: 1") +
                        Conv("c", "data", "num_output: 2 kernel_size: 1")),
              HasSubstr("test.prototxt:3"));
  EXPECT_THAT(Complaint(data + "layer { name: 'r' type: 'ReLU' bottom: 'data' bottom: 'data' "
                               "top: 'r' }"),
              HasSubstr("takes 1 bottom, has 2"));
  EXPECT_THAT(Complaint(data + Conv("", "data", "num_output: 2 kernel_size: 1")),
              HasSubstr("needs a name"));
}

// A net of two stages with score maps, for what follows.
std::string SmallNet() {
  return Input("data", "dim: 2 dim: 3 dim: 13 dim: 17") +
         Input("label", "dim: 2 dim: 2 dim: 13 dim: 17") +
         Conv("a", "data", "num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: 'msra' }") +
         "layer { name: 'ra' type: 'ReLU' bottom: 'a' top: 'a' }\n" + Pool("p", "a") +
         Conv("b", "p", "num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: 'msra' }") +
         "layer { name: 'rb' type: 'ReLU' bottom: 'b' top: 'b' }\n" +
         Conv("s1", "a", "num_output: 2 kernel_size: 1 weight_filler { type: 'xavier' }") +
         Conv("s2", "b", "num_output: 2 kernel_size: 1 weight_filler { type: 'xavier' }") +
         Deconv("up", "s2", 4, 2, 2) + Crop("side1", "s1", "data") + Crop("side2", "up", "data") +
         "layer { name: 'cat' type: 'Concat' bottom: 'side1' bottom: 'side2' top: 'cat' }\n" +
         Conv("fuse", "cat", "num_output: 2 kernel_size: 1 weight_filler { value: 0.3 }") +
         "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'fuse' bottom: 'label' top: 'loss' }\n" +
         "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'side2' bottom: 'label' top: 'loss2' "
         "loss_weight: 0.5 }\n";
}

void FillInputs(Net& net) {
  Random random(7, 0);
  FillUniform(net.InputF32("data"), net.Desc("data").shape.Count(), random);
  for (int64_t i = 0; i < net.Desc("label").shape.Count(); ++i) {
    net.InputF32("label")[i] = static_cast<float>(random.Below(2));
  }
}

TEST(Gradients, OfAWholeNetAgreeWithDifferences) {
  GradientCheck check;
  check.off_the_kinks = true;
  check.tolerance = 2e-2f;  // a few maxima of the pooling change within a step
  CheckGradients(SmallNet(), check);
}

TEST(Gradients, AccumulateOverPasses) {
  Context context;
  auto parameters = std::make_shared<ParameterSet>();
  const auto net = MakeTrainableNet(SmallNet(), context, parameters);
  FillInputs(*net);
  net->Forward();
  net->Backward();
  std::map<std::string, std::vector<float>> once;
  for (const NetParam& param : net->params()) {
    if (param.lr_mult != 0) once[param.key] = net->Gradient(param.key);
  }
  net->Forward();
  net->Backward(/*accumulate=*/true);
  for (const auto& [key, gradient] : once) {
    const std::vector<float> twice = net->Gradient(key);
    for (size_t i = 0; i < gradient.size(); ++i) ASSERT_EQ(twice[i], 2 * gradient[i]) << key;
  }
}

TEST(Memory, OverlapsWhatDoesNotLiveTogetherAndRepeatsTheNumbers) {
  Context context;
  auto parameters = std::make_shared<ParameterSet>();
  const auto net = MakeTrainableNet(SmallNet(), context, parameters);
  EXPECT_LT(net->memory().arena, net->memory().without_reuse);
  FillInputs(*net);
  net->Forward();
  net->Backward();
  const double loss = net->Loss();
  const std::vector<float> gradient = net->Gradient("a.weight");
  net->Forward();
  net->Backward();
  EXPECT_EQ(loss, net->Loss());
  EXPECT_EQ(gradient, net->Gradient("a.weight"));
  // The same blobs, all kept apart, give the same numbers.
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.keep = {"a", "p", "b", "s1", "s2", "up", "side1", "side2", "cat"};
  Net apart(NetDefinition::FromText(SmallNet(), "test.prototxt"), BuiltinLayers(), context,
            parameters, options);
  FillInputs(apart);
  apart.Forward();
  EXPECT_EQ(loss, apart.Loss());
  for (const float value : apart.Read("a")) ASSERT_GE(value, 0);  // the fused ReLU's output
}

TEST(Memory, NoTwoLivingTensorsOverlap) {
  Context context;
  const auto net = MakeTrainableNet(SmallNet(), context, std::make_shared<ParameterSet>());
  const Graph& graph = net->graph();
  const int count = static_cast<int>(graph.tensors.size());
  std::vector<int> first(count, -1), last(count, -1);
  for (int place = 0; place < static_cast<int>(graph.nodes.size()); ++place) {
    for (const auto* ids : {&graph.nodes[place].inputs, &graph.nodes[place].outputs}) {
      for (TensorId id : *ids) {
        if (id == kNoTensor) continue;
        if (first[id] < 0) first[id] = place;
        last[id] = graph.tensors[id].keep ? static_cast<int>(graph.nodes.size()) : place;
      }
    }
  }
  const std::vector<int64_t>& offsets = net->memory().offsets;
  int compared = 0;
  for (int a = 0; a < count; ++a) {
    for (int b = a + 1; b < count; ++b) {
      if (offsets[a] < 0 || offsets[b] < 0) continue;
      // A tensor that dies where another is born may have handed its memory over in place.
      if (last[a] <= first[b] || last[b] <= first[a]) continue;
      const int64_t end_a = offsets[a] + graph.tensors[a].desc.Bytes();
      const int64_t end_b = offsets[b] + graph.tensors[b].desc.Bytes();
      EXPECT_TRUE(end_a <= offsets[b] || end_b <= offsets[a])
          << graph.tensors[a].name << " and " << graph.tensors[b].name;
      ++compared;
    }
  }
  EXPECT_GT(compared, 20);
}

// Loss and gradients of SmallNet with some passes left out.
std::map<std::string, std::vector<float>> NumbersWithout(const std::set<std::string>& passes) {
  Context context;
  caffe::SolverParameter solver;
  solver.set_type("SGD");
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver;
  options.without_passes = passes;
  Net net(NetDefinition::FromText(SmallNet(), "test.prototxt"), BuiltinLayers(), context,
          std::make_shared<ParameterSet>(), options);
  FillInputs(net);
  net.Forward();
  net.Backward();
  std::map<std::string, std::vector<float>> numbers;
  numbers["loss"] = {static_cast<float>(net.Loss())};
  for (const NetParam& param : net.params()) {
    if (param.lr_mult != 0) numbers[param.key] = net.Gradient(param.key);
  }
  return numbers;
}

TEST(Passes, LeaveTheNumbersAsTheyAre) {
  const auto all = NumbersWithout({});
  for (const auto& left_out : std::vector<std::set<std::string>>{
           {"fuse_conv_relu"}, {"assign_formats"}, {"fuse_conv_relu", "assign_formats"}}) {
    const auto some = NumbersWithout(left_out);
    for (const auto& [key, values] : all) {
      double norm = 0, difference = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        norm += values[i] * values[i];
        difference += (values[i] - some.at(key)[i]) * (values[i] - some.at(key)[i]);
      }
      // Other formats have other engines, whose sums of up to 16 * 9 products, and Winograd's
      // transforms, round otherwise: some 1e-6 of the values' size.
      EXPECT_LE(std::sqrt(difference), 2e-5 * std::sqrt(norm)) << key;
    }
  }
}

TEST(Formats, NoReorderBetweenConvolutions) {
  Context context;
  const auto net = MakeTrainableNet(SmallNet(), context, std::make_shared<ParameterSet>());
  for (const Node& node : net->graph().nodes) {
    EXPECT_NE(node.op->Name(), "reorder") << node.layer;
    EXPECT_NE(node.op->Name(), "relu_forward") << node.layer;
  }
}

TEST(Parameters, AreSharedBetweenNetsAndFilledByKey) {
  Context context;
  auto parameters = std::make_shared<ParameterSet>();
  const auto train = MakeTrainableNet(SmallNet(), context, parameters);
  const std::vector<float> before(parameters->Find("b.weight")->f32(),
                                  parameters->Find("b.weight")->f32() + 16 * 16 * 9);
  Net test(NetDefinition::FromText(SmallNet(), "test.prototxt"), BuiltinLayers(), context,
           parameters, {});
  FillInputs(test);
  test.Forward();
  const double loss = test.Loss();
  parameters->Find("b.weight")->f32()[0] += 1;
  test.ParametersChanged();
  test.Forward();
  EXPECT_NE(loss, test.Loss());
  // A set of its own is filled with the same numbers, whatever else the net has.
  auto others = std::make_shared<ParameterSet>();
  Net small(NetDefinition::FromText(Input("p", "dim: 1 dim: 16 dim: 4 dim: 4") +
                                        Conv("b", "p",
                                             "num_output: 16 kernel_size: 3 pad: 1 "
                                             "weight_filler { type: 'msra' }"),
                                    "small.prototxt"),
            BuiltinLayers(), context, others, {});
  EXPECT_EQ(before, std::vector<float>(others->Find("b.weight")->f32(),
                                       others->Find("b.weight")->f32() + 16 * 16 * 9));
}

TEST(NonFinite, IsFoundInItsLayer) {
  Context context;
  auto parameters = std::make_shared<ParameterSet>();
  const auto net = MakeTrainableNet(SmallNet(), context, parameters);
  FillInputs(*net);
  EXPECT_EQ(net->FindNonFinite(), "");
  parameters->Find("s2.bias")->f32()[1] = NAN;
  EXPECT_EQ(net->FindNonFinite(), "layer 's2' (conv_forward)");
}

}  // namespace
}  // namespace lseg
