// Which layers of a definition a state selects (Caffe's include and exclude), and that the field
// numbers of caffe.proto are Caffe's.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "framework/definition.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

NetDefinition Parse(const std::string& text) {
  return NetDefinition::FromText(text, "net.prototxt");
}

using Strings = std::vector<std::string>;

Strings Names(const NetDefinition& net) {
  Strings names;
  for (const auto& layer : net.net().layer()) names.push_back(layer.name());
  return names;
}

Strings Selected(const std::string& text, caffe::Phase phase, int level = 0,
                 const Strings& stages = {}) {
  return Names(Parse(text).Filtered(phase, level, stages));
}

TEST(Filtered, SelectsByPhase) {
  const std::string text =
      "layer { name: 'train' include { phase: TRAIN } }\n"
      "layer { name: 'test' include { phase: TEST } }\n"
      "layer { name: 'both' }\n"
      "layer { name: 'not_test' exclude { phase: TEST } }\n"
      "layer { name: 'either' include { phase: TRAIN } include { phase: TEST } }\n";
  EXPECT_EQ(Selected(text, caffe::TRAIN), (Strings{"train", "both", "not_test", "either"}));
  EXPECT_EQ(Selected(text, caffe::TEST), (Strings{"test", "both", "either"}));
}

TEST(Filtered, SelectsByLevel) {
  const std::string text =
      "layer { name: 'from1' include { min_level: 1 } }\n"
      "layer { name: 'to1' include { max_level: 1 } }\n"
      "layer { name: 'only2' include { min_level: 2 max_level: 2 } }\n"
      "layer { name: 'not2' exclude { min_level: 2 max_level: 2 } }\n";
  EXPECT_EQ(Selected(text, caffe::TEST, 0), (Strings{"to1", "not2"}));
  EXPECT_EQ(Selected(text, caffe::TEST, 1), (Strings{"from1", "to1", "not2"}));
  EXPECT_EQ(Selected(text, caffe::TEST, 2), (Strings{"from1", "only2"}));
  EXPECT_EQ(Selected(text, caffe::TEST, -3), (Strings{"to1", "not2"}));
}

TEST(Filtered, SelectsByStage) {
  const std::string text =
      "layer { name: 'a_and_b' include { stage: 'a' stage: 'b' } }\n"
      "layer { name: 'a_or_b' include { stage: 'a' } include { stage: 'b' } }\n"
      "layer { name: 'a_not_b' include { stage: 'a' not_stage: 'b' } }\n"
      "layer { name: 'no_a' exclude { stage: 'a' } }\n"
      "layer { name: 'train_a' include { phase: TRAIN stage: 'a' } }\n";
  EXPECT_EQ(Selected(text, caffe::TEST), (Strings{"no_a"}));
  EXPECT_EQ(Selected(text, caffe::TEST, 0, {"a"}), (Strings{"a_or_b", "a_not_b"}));
  EXPECT_EQ(Selected(text, caffe::TEST, 0, {"b"}), (Strings{"a_or_b", "no_a"}));
  EXPECT_EQ(Selected(text, caffe::TEST, 0, {"b", "a"}), (Strings{"a_and_b", "a_or_b"}));
  EXPECT_EQ(Selected(text, caffe::TRAIN, 0, {"a"}), (Strings{"a_or_b", "a_not_b", "train_a"}));
}

TEST(Filtered, KeepsLinesAndPassesThePhaseOn) {
  const NetDefinition net = Parse(
      "layer { name: 'a' include { phase: TRAIN } }\n"
      "layer {\n name: 'b'\n type: 'ReLU' }\n");
  EXPECT_FALSE(net.layer(1).has_phase());
  const NetDefinition test = net.Filtered(caffe::TEST);
  ASSERT_EQ(test.layer_count(), 1);
  EXPECT_EQ(test.Where(0), "net.prototxt:2: layer 'b' (ReLU)");
  EXPECT_EQ(test.LineOf(0, "type"), 4);
  EXPECT_EQ(test.layer(0).phase(), caffe::TEST);
  EXPECT_EQ(net.Filtered(caffe::TRAIN).layer(1).phase(), caffe::TRAIN);
  EXPECT_EQ(Names(test.Filtered(caffe::TEST)), (Strings{"b"}));
}

TEST(Filtered, AddsTheStateOfTheNetItself) {
  const std::string text =
      "state { level: 2 stage: 'own' }\n"
      "layer { name: 'own' include { stage: 'own' } }\n"
      "layer { name: 'both' include { stage: 'own' stage: 'given' } }\n"
      "layer { name: 'level2' include { min_level: 2 } }\n";
  EXPECT_EQ(Selected(text, caffe::TEST), (Strings{"own", "level2"}));
  EXPECT_EQ(Selected(text, caffe::TEST, 1, {"given"}), (Strings{"own", "both"}));
  EXPECT_EQ(
      ErrorOf([] { Parse("layer { name: 'a' }\nstate { phase: TEST }").Filtered(caffe::TRAIN); }),
      "net.prototxt:2: the net is for phase TEST and cannot be used for phase TRAIN");
}

TEST(Filtered, RefusesALayersPhaseThatSelectsNothing) {
  const std::string text = "layer {\n name: 'a' type: 'ReLU'\n phase: TEST }\n";
  EXPECT_EQ(Selected(text, caffe::TEST), (Strings{"a"}));
  EXPECT_EQ(ErrorOf([&] { Selected(text, caffe::TRAIN); }),
            "net.prototxt:3: layer 'a' (ReLU): phase TEST in a net for phase TRAIN: to leave the "
            "layer out, write include { phase: TEST }");
  // No complaint about a layer that is left out anyway.
  EXPECT_EQ(Selected("layer { name: 'a' phase: TEST include { phase: TEST } }\nlayer { name: 'b' }",
                     caffe::TRAIN),
            (Strings{"b"}));
}

// Numbers by which Caffe's binary files name these fields.
TEST(CaffeProto, HasCaffesFieldNumbers) {
  const std::map<std::string, std::map<std::string, int>> numbers = {
      {"BlobProto", {{"shape", 7}, {"data", 5}, {"double_data", 8}, {"num", 1}, {"width", 4}}},
      {"NetParameter",
       {{"name", 1},
        {"input", 3},
        {"input_dim", 4},
        {"input_shape", 8},
        {"layer", 100},
        {"layers", 2},
        {"force_backward", 5},
        {"state", 6}}},
      {"LayerParameter",
       {{"name", 1},
        {"type", 2},
        {"bottom", 3},
        {"top", 4},
        {"loss_weight", 5},
        {"param", 6},
        {"blobs", 7},
        {"include", 8},
        {"exclude", 9},
        {"phase", 10},
        {"propagate_down", 11},
        {"transform_param", 100},
        {"loss_param", 101},
        {"concat_param", 104},
        {"convolution_param", 106},
        {"eltwise_param", 110},
        {"image_data_param", 115},
        {"pooling_param", 121},
        {"relu_param", 123},
        {"sigmoid_param", 124},
        {"slice_param", 126},
        {"input_param", 143},
        {"crop_param", 144},
        {"mcbsce_loss_param", 201}}},
      {"ConvolutionParameter",
       {{"num_output", 1},
        {"bias_term", 2},
        {"pad", 3},
        {"kernel_size", 4},
        {"group", 5},
        {"stride", 6},
        {"weight_filler", 7},
        {"bias_filler", 8},
        {"kernel_h", 11},
        {"engine", 15},
        {"dilation", 18}}},
      {"PoolingParameter",
       {{"pool", 1},
        {"kernel_size", 2},
        {"stride", 3},
        {"pad", 4},
        {"engine", 11},
        {"global_pooling", 12},
        {"round_mode", 13}}},
      {"SliceParameter", {{"slice_dim", 1}, {"slice_point", 2}, {"axis", 3}}},
      {"ConcatParameter", {{"concat_dim", 1}, {"axis", 2}}},
      {"CropParameter", {{"axis", 1}, {"offset", 2}}},
      {"MCBSCELossParameter", {{"num_label", 1}, {"ratio", 2}, {"key", 3}}},
      {"SolverParameter",
       {{"net", 24},
        {"base_lr", 5},
        {"max_iter", 7},
        {"lr_policy", 8},
        {"stepsize", 13},
        {"stepvalue", 34},
        {"iter_size", 36},
        {"momentum2", 39},
        {"type", 40},
        {"solver_type", 30},
        {"layer_wise_reduce", 41},
        {"weights", 42}}},
      {"V1LayerParameter", {{"bottom", 2}, {"type", 5}, {"blobs", 6}, {"convolution_param", 10}}}};
  const auto* file = caffe::NetParameter::descriptor()->file();
  for (const auto& [message, fields] : numbers) {
    const auto* type = file->FindMessageTypeByName(message);
    ASSERT_NE(type, nullptr) << message;
    for (const auto& [name, number] : fields) {
      const auto* field = type->FindFieldByName(name);
      ASSERT_NE(field, nullptr) << message << "." << name;
      EXPECT_EQ(field->number(), number) << message << "." << name;
    }
  }
  // Own fields stay out of the way of Caffe's later ones.
  EXPECT_EQ(caffe::MCBSCELossParameter::kPublishedBackwardFieldNumber, 1000);
  EXPECT_EQ(caffe::SolverParameter::kWarmupIterFieldNumber, 1000);
}

// A layer with a blob as a .caffemodel holds it, its bytes written by hand: field number * 8 + wire
// type, then length or value.
TEST(CaffeProto, ReadsALayerOfACaffemodel) {
  const std::string bytes(
      "\xa2\x06\x20"  // NetParameter.layer (100), 32 bytes
      "\x0a\x01"
      "c"  // name
      "\x12\x04"
      "Conv"                            // type
      "\x3a\x0f"                        // blobs (7), 15 bytes
      "\x2a\x08\0\0\x80\x3f\0\0\0\xc0"  // data (5), packed: 1, -2
      "\x3a\x03\x0a\x01\x02"            // shape (7) { dim (1), packed: 2 }
      "\xd2\x06\x03\x08\xc0\x02",       // convolution_param (106) { num_output: 320 }
      35);
  caffe::NetParameter net;
  ASSERT_TRUE(net.ParseFromString(bytes));
  ASSERT_EQ(net.layer_size(), 1);
  EXPECT_EQ(net.layer(0).name(), "c");
  EXPECT_EQ(net.layer(0).type(), "Conv");
  EXPECT_EQ(net.layer(0).blobs(0).data(1), -2.0f);
  EXPECT_EQ(net.layer(0).blobs(0).shape().dim(0), 2);
  EXPECT_EQ(net.layer(0).convolution_param().num_output(), 320u);
}

}  // namespace
}  // namespace lseg
