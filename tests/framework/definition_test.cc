// Net definitions: what the text format allows, which layers a state selects, and that every
// refusal names file, line and layer.
#include "framework/definition.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "framework/file.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

// As some editors save it: neither an error nor a character of the first line.
TEST(Definition, MayBeginWithAByteOrderMark) {
  const NetDefinition net = NetDefinition::FromText(
      "\xef\xbb\xbf"
      "layer { name: 'a' }\nlayer { name: 'b' }",
      "net");
  EXPECT_EQ(net.layer_count(), 2);
  EXPECT_EQ(net.Where(1), "net:2: layer 'b'");
}

NetDefinition Parse(const std::string& text) {
  return NetDefinition::FromText(text, "net.prototxt");
}

std::string ParseError(const std::string& text) {
  return ErrorOf([&] { Parse(text); });
}

std::vector<std::string> Names(const NetDefinition& net) {
  std::vector<std::string> names;
  for (const auto& layer : net.net().layer()) names.push_back(layer.name());
  return names;
}
using Strings = std::vector<std::string>;

// Every way of writing that published definitions of this kind use.
constexpr char kQuirks[] = R"(name: 'L-Seg' # the name in single quotes
layer { name: "conv1_1" type: 'Convolution' bottom: "data" top: "conv1_1"# a comment, no space
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0}
  convolution_param { engine: CAFFE num_output: 64 pad: 1 kernel_size: 3 } }
layer { bottom: "conv1_1" top: "conv1_1" name: "relu1_1" type: "ReLU" }

layer { type: "Crop" name: 'crop' bottom: 'up2' bottom: 'data' top: 'side2' }
layer { type: "Crop" name: 'crop' bottom: 'up3' bottom: 'data' top: 'side3' }
layer {
  name: "cat"
  type: "Concat"
  bottom: "a" bottom: "b"
  top: "ab"
  concat_param { concat_dim: 1 }
}
layer { type: "MultiChannelBinSigmoidCrossEntropyLoss" bottom: "ab" bottom: "label" top: "loss"
  loss_weight: 1 mcbsce_loss_param { key: 10 num_label: 4 } }
layer { type: "Slice" bottom: "side2" top: "s0" top: "s1" slice_param {
  slice_dim: 1
  slice_point: [
    1,
    2 ] } }
)";

TEST(Definition, ReadsTheQuirksOfPublishedFiles) {
  const NetDefinition net = Parse(kQuirks);
  ASSERT_EQ(net.layer_count(), 7);
  EXPECT_EQ(net.net().name(), "L-Seg");
  EXPECT_EQ(net.text(), kQuirks);

  const auto& conv = net.layer(0);
  EXPECT_EQ(conv.type(), "Convolution");
  EXPECT_EQ(conv.top(0), "conv1_1");
  EXPECT_EQ(conv.convolution_param().engine(), caffe::ConvolutionParameter::CAFFE);
  EXPECT_EQ(conv.convolution_param().num_output(), 64u);
  EXPECT_EQ(conv.convolution_param().kernel_size(0), 3u);
  EXPECT_EQ(conv.param(1).lr_mult(), 2.0f);
  EXPECT_EQ(conv.param(1).decay_mult(), 0.0f);

  EXPECT_EQ(net.layer(2).name(), "crop");
  EXPECT_EQ(net.layer(3).name(), "crop");
  EXPECT_TRUE(net.layer(4).concat_param().has_concat_dim());
  EXPECT_EQ(net.layer(4).concat_param().concat_dim(), 1u);

  const auto& loss = net.layer(5);
  EXPECT_FALSE(loss.has_name());
  EXPECT_EQ(loss.mcbsce_loss_param().key(), 10u);
  EXPECT_EQ(loss.mcbsce_loss_param().num_label(), 4u);
  EXPECT_FALSE(loss.mcbsce_loss_param().published_backward());
  EXPECT_EQ(net.layer(6).slice_param().slice_point_size(), 2);
}

TEST(Definition, TakesTheLossLayerAsItsUsersKnowIt) {
  const NetDefinition net = Parse(R"(layer {
  name: "loss"
  type: "MultiChannelBinSigmoidCrossEntropyLoss"
  bottom: "pred"
  bottom: "label"
  top: "loss"
  loss_weight: 1.0
  mcbsce_loss_param { key: 10 num_label: 4 }
}
layer { type: "MultiChannelBinSigmoidCrossEntropyLoss" bottom: "p" bottom: "l" top: "loss2" }
)");
  EXPECT_EQ(net.layer(0).mcbsce_loss_param().num_label(), 4u);
  EXPECT_EQ(net.layer(0).loss_weight(0), 1.0f);
  const auto& defaults = net.layer(1).mcbsce_loss_param();
  EXPECT_EQ(defaults.num_label(), 2u);
  EXPECT_EQ(defaults.ratio(), 1.0f);
  EXPECT_EQ(defaults.key(), 10u);
}

TEST(Definition, KnowsTheLineOfEverything) {
  const NetDefinition net = Parse(kQuirks);
  EXPECT_EQ(net.LineOf(0), 2);
  EXPECT_EQ(net.LineOf(0, "convolution_param"), 4);
  EXPECT_EQ(net.LineOf(0, "convolution_param.kernel_size"), 4);
  EXPECT_EQ(net.LineOf(0, "param", 1), 3);
  EXPECT_EQ(net.LineOf(0, "param.lr_mult"), 3);
  EXPECT_EQ(net.LineOf(2), 7);
  EXPECT_EQ(net.LineOf(4), 9);
  EXPECT_EQ(net.LineOf(4, "type"), 11);
  EXPECT_EQ(net.LineOf(4, "bottom", 1), 12);
  EXPECT_EQ(net.LineOf(4, "concat_param.concat_dim"), 14);
  // A list in brackets is one entry: all its values stand where it starts.
  EXPECT_EQ(net.LineOf(6, "slice_param.slice_point", 0), 20);
  EXPECT_EQ(net.LineOf(6, "slice_param.slice_point", 1), 20);
  // What the text does not have stands where its layer, or the message around it, stands.
  EXPECT_EQ(net.LineOf(4, "name"), 10);
  EXPECT_EQ(net.LineOf(4, "convolution_param.stride"), 9);
  EXPECT_EQ(net.LineOf(4, "concat_param.axis"), 14);
  EXPECT_EQ(net.LineOf(5, "name"), 16);
}

TEST(Definition, DescribesLayersForMessages) {
  const NetDefinition net = Parse(kQuirks);
  EXPECT_EQ(net.Where(0), "net.prototxt:2: layer 'conv1_1' (Convolution)");
  EXPECT_EQ(net.Where(0, "convolution_param.pad"), "net.prototxt:4: layer 'conv1_1' (Convolution)");
  EXPECT_EQ(net.Where(5),
            "net.prototxt:16: layer (MultiChannelBinSigmoidCrossEntropyLoss, top 'loss')");
  EXPECT_EQ(Parse("layer { type: 'Silence' bottom: 'x' }").Describe(0),
            "layer (Silence, bottom 'x')");
  EXPECT_EQ(Parse("layer { }").Describe(0), "layer");
  EXPECT_EQ(Parse("layer { name: 'a' }").Describe(0), "layer 'a'");
}

TEST(Definition, RefusesWithFileLineAndLayer) {
  EXPECT_EQ(ParseError("name: 'n'\nlayer {\n  name: 'c' type: 'Convolution'\n"
                       "  convolution_param {\n    kernal_size: 3 } }\n"),
            "net.prototxt:5: layer 'c' (Convolution): unknown field 'kernal_size' in "
            "ConvolutionParameter");
  EXPECT_EQ(ParseError("layer { name: 'c' }\nlayers_ { }\n"),
            "net.prototxt:2: unknown field 'layers_' in NetParameter");
  EXPECT_EQ(ParseError("layer { name: 'a' }\nlayer { type: 'ReLU' top: 'b'\n botom: 'a' }"),
            "net.prototxt:3: layer (ReLU, top 'b'): unknown field 'botom' in LayerParameter");
  EXPECT_EQ(ParseError("layer { name: 'a'\n  name: 'b' }"),
            "net.prototxt:2: layer 'a': Non-repeated field \"name\" is specified multiple times");
  EXPECT_EQ(
      ParseError("layer { name: 'p' pooling_param { pool: MEDIAN } }"),
      "net.prototxt:1: layer 'p': Unknown enumeration value of \"MEDIAN\" for field \"pool\"");
  EXPECT_EQ(ParseError("layer { name: 'a' }\nlayer {\n name: 'b'\n"),
            "net.prototxt:4: layer 'b': Expected identifier, got: ");
  EXPECT_EQ(ParseError("layer { name: 'a }\n"),
            "net.prototxt:1: layer 'a }': String literals cannot cross line boundaries");
  EXPECT_EQ(ParseError("layer { name: 'c' convolution_param { num_output: -1 } }"),
            "net.prototxt:1: layer 'c': Expected integer, got: -");
  EXPECT_EQ(ParseError("# nothing\n"), "net.prototxt: the net has no layers");
  EXPECT_EQ(ParseError(""), "net.prototxt: the net has no layers");
  EXPECT_EQ(ParseError("layer { name: 'a'\n include { phase: TRAIN }\n exclude { level: 1 } }"),
            "net.prototxt:3: layer 'a': unknown field 'level' in NetStateRule");
  EXPECT_EQ(ParseError("layer { name: 'a'\n include { phase: TRAIN }\n exclude { stage: 's' } }"),
            "net.prototxt:3: layer 'a': include and exclude do not go together: give one");
}

TEST(Definition, NeverCrashesOnForeignBytes) {
  // A binary file given in a text file's place is an error of its first line, not a crash.
  const std::string binary("\x0a\x05lenet\xa2\x06\x10\x0a\x04\0\xff\xfe", 20);
  EXPECT_NE(ParseError(binary).find("net.prototxt:"), std::string::npos);
  EXPECT_NE(ParseError(std::string(100000, '{')).find("net.prototxt:1: "), std::string::npos);
}

TEST(Definition, RefusesTheLanguageBefore2015) {
  const std::string rule = ParseError("name: 'old'\n\nlayers { name: 'c' type: CONVOLUTION }");
  EXPECT_EQ(rule.rfind("net.prototxt:3: 'layers { }' is Caffe's language before 2015: write", 0),
            0u)
      << rule;
  // Also where the old layer has fields that are not known here.
  const std::string odd = ParseError("layers { name: 'c'\n type: CONVOLUTION\n oddity: 1 }");
  EXPECT_EQ(odd.rfind("net.prototxt:3: 'layers { }' is Caffe's language", 0), 0u) << odd;
  const std::string second = ParseError("layers { name: 'c' }\nlayers { oddity: 1 }");
  EXPECT_EQ(second.rfind("net.prototxt:1: 'layers { }' is Caffe's language", 0), 0u) << second;
}

TEST(Definition, MakesAnInputLayerOfTheOldFields) {
  const NetDefinition net = Parse(
      "name: 'n'\ninput: 'data' input: 'label'\n"
      "input_shape { dim: 1 dim: 3 dim: 4 dim: 6 }\ninput_shape { dim: 1 dim: 1 dim: 4 dim: 6 }\n"
      "layer { name: 'r' type: 'ReLU' bottom: 'data' top: 'r' }\n");
  EXPECT_EQ(Names(net), (Strings{"input", "r"}));
  EXPECT_EQ(net.layer(0).type(), "Input");
  EXPECT_EQ(net.layer(0).top(1), "label");
  ASSERT_EQ(net.layer(0).input_param().shape_size(), 2);
  EXPECT_EQ(net.layer(0).input_param().shape(0).dim(1), 3);
  EXPECT_EQ(net.layer(0).input_param().shape(1).dim(1), 1);
  EXPECT_EQ(net.LineOf(0), 2);
  EXPECT_EQ(net.LineOf(0, "top"), 2);
  EXPECT_EQ(net.LineOf(1), 5);

  const NetDefinition dims = Parse(
      "input: 'data'\ninput_dim: 2 input_dim: 3\ninput_dim: 5 input_dim: 7\nlayer { name: 'r' }");
  const auto& shape = dims.layer(0).input_param().shape(0);
  EXPECT_EQ(std::vector<int64_t>(shape.dim().begin(), shape.dim().end()),
            (std::vector<int64_t>{2, 3, 5, 7}));
}

TEST(Definition, RefusesInputsWithoutTheirShapes) {
  const std::string count =
      ": 2 input(s) need as many input_shape, or 4 input_dim each (N C H W), but there are ";
  EXPECT_EQ(ParseError("name: 'n'\ninput: 'a' input: 'b'\n"), "net.prototxt:2" + count + "0 and 0");
  EXPECT_EQ(ParseError("input: 'a' input: 'b'\ninput_dim: 1\ninput_dim: 2\n"),
            "net.prototxt:1" + count + "0 and 2");
  EXPECT_EQ(ParseError("input: 'a' input: 'b'\ninput_shape { dim: 1 }\n"),
            "net.prototxt:1" + count + "1 and 0");
  EXPECT_EQ(ParseError("input: 'a'\ninput_shape { dim: 1 }\ninput_dim: 1"),
            "net.prototxt:1: inputs have both input_shape and input_dim: give one of them");
  EXPECT_EQ(ParseError("name: 'n'\n\ninput_dim: 1\n"),
            "net.prototxt:3: a shape of inputs, but no input");
}

TEST(Definition, FilesAreReadOrRefusedByName) {
  const std::string path = testing::TempDir() + "/definition_test.prototxt";
  WriteFile(path, "layer { name: 'a' }\nlayer { nam: 'b' }\n");
  EXPECT_EQ(ErrorOf([&] { NetDefinition::FromFile(path); }),
            path + ":2: layer: unknown field 'nam' in LayerParameter");
  EXPECT_EQ(ErrorOf([] { NetDefinition::FromFile("no/such.prototxt"); }),
            "no/such.prototxt: cannot be read: No such file or directory");
  EXPECT_EQ(ErrorOf([] { NetDefinition::FromFile("/"); }), "/: is a folder, not a file");
}

TEST(Definition, NotesFieldsOfTheNetWithoutEffect) {
  EXPECT_TRUE(Parse(kQuirks).notes().empty());
  const NetDefinition net = Parse("layer { name: 'a' }\ndebug_info: true");
  ASSERT_EQ(net.notes().size(), 1u);
  EXPECT_EQ(net.notes()[0],
            "net.prototxt:2: debug_info is ignored: a value that is not finite is always reported "
            "with its layer");
}

}  // namespace
}  // namespace lseg
