// lseg_convert through the real program: both formats, both ways, both of Caffe's forms.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "framework/caffemodel.h"
#include "framework/file.h"
#include "framework/proto/caffe.pb.h"
#include "tests/lseg/tiny_dataset.h"
#include "tests/lseg/tiny_model.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Shape = std::vector<int64_t>;
using Floats = std::vector<float>;

class LsegConvert : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_.Path(name); }
  ProgramResult Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), LSEG_CONVERT);
    return RunProgram(arguments, Path("program"));
  }
  // Converts by names in the folder, which must succeed in silence on stderr.
  std::string Convert(const std::string& in, const std::string& out,
                      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {Path(in), Path(out)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = Run(arguments);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    EXPECT_FALSE(fs::exists(Path(out) + ".partial"));
    return result.out;
  }
  void ExpectOneLine(const std::vector<std::string>& arguments, int code,
                     const std::string& text) const {
    const ProgramResult result = Run(arguments);
    EXPECT_EQ(result.code, code) << text;
    EXPECT_THAT(result.err, AllOf(StartsWith("lseg_convert: "), HasSubstr(text)));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
  // b.caffemodel, for other readers.
  void MakeSmallCaffeModel() const {
    WeightsFile file;
    file.Add({"conv.weight", {2, 1, 1, 2}, {1, -2, 0.5f, 4}});
    file.Add({"conv.bias", {2}, {1, 2}});
    file.Write(Path("a.safetensors"));
    Convert("a.safetensors", "b.caffemodel");
  }
  std::string Bytes(const std::string& name) const { return ReadFile(Path(name)); }

  TempFolder folder_;
};

void ExpectSame(const WeightsFile& a, const WeightsFile& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (size_t i = 0; i < a.tensors().size(); ++i) {
    const WeightTensor &x = a.tensors()[i], &y = b.tensors()[i];
    EXPECT_EQ(x.key, y.key);
    EXPECT_EQ(x.shape, y.shape) << x.key;
    ASSERT_EQ(x.data.size(), y.data.size()) << x.key;
    EXPECT_EQ(std::memcmp(x.data.data(), y.data.data(), 4 * x.data.size()), 0) << x.key;
  }
}

// Values whose bits a careless path would change: a negative zero, a subnormal, the largest.
WeightsFile OddValues() {
  WeightsFile file;
  file.Add({"conv.weight", {2, 1, 1, 2}, {-0.0f, std::ldexp(1.0f, -149), 0.1f, -3.4028235e38f}});
  file.Add({"conv.bias", {2}, {0.5f, -0.25f}});
  return file;
}

TEST_F(LsegConvert, RoundTripsBitForBit) {
  OddValues().Write(Path("a.safetensors"));
  Convert("a.safetensors", "b.caffemodel");
  EXPECT_THAT(Convert("b.caffemodel", "c.safetensors"), HasSubstr("no metadata in "));
  EXPECT_EQ(Bytes("c.safetensors"), Bytes("a.safetensors"));
  Convert("b.caffemodel", "d.caffemodel");
  EXPECT_EQ(Bytes("d.caffemodel"), Bytes("b.caffemodel"));
}

TEST_F(LsegConvert, MetadataStayWhereTheyHaveAPlace) {
  TinyModel().Write(Path("a.safetensors"));
  Convert("a.safetensors", "b.safetensors");
  EXPECT_EQ(Bytes("b.safetensors"), Bytes("a.safetensors"));
  EXPECT_THAT(Convert("a.safetensors", "c.caffemodel"),
              HasSubstr("metadata, for which .caffemodel has no place, left out: lseg.classes, "
                        "lseg.height, lseg.mean, lseg.net, lseg.scale, lseg.width\n"));
  std::vector<std::string> skipped;
  ExpectSame(ReadWeights(Path("c.caffemodel"), &skipped), TinyModel());
}

TEST_F(LsegConvert, AFileOfMetadataIsAddedToThem) {
  WeightsFile file;
  file.Add({"conv.weight", {1, 1, 1, 2}, {1, 2}});
  file.metadata = {{"lseg.classes", "EX,HE"}, {"license", "none"}};
  file.Write(Path("a.safetensors"));
  folder_.Write("more.json", R"({"license": "CC BY 4.0", "lseg.thresholds": "0.5,0.25"})");
  Convert("a.safetensors", "b.safetensors", {"--metadata", Path("more.json")});
  EXPECT_EQ(
      WeightsFile::Read(Path("b.safetensors")).metadata,
      (std::map<std::string, std::string>{
          {"lseg.classes", "EX,HE"}, {"license", "CC BY 4.0"}, {"lseg.thresholds", "0.5,0.25"}}));
  const auto refused = [&](const std::string& json, const std::string& text) {
    folder_.Write("more.json", json);
    ExpectOneLine({Path("a.safetensors"), Path("c.safetensors"), "--metadata", Path("more.json")},
                  1, text);
    EXPECT_FALSE(fs::exists(Path("c.safetensors")));
  };
  refused("{", "more.json: is no JSON object of strings");
  refused(R"({"license": 3})", "more.json: is no JSON object of strings");
  refused(R"({"lseg.thresholds": "0.5"})", "'lseg.thresholds' is '0.5', not a number above 0");
  ExpectOneLine({Path("a.safetensors"), Path("c.caffemodel"), "--metadata", Path("more.json")}, 2,
                "--metadata is for an OUT in .safetensors");
}

// What is said of the classes of IN says nothing of --net's: the file would be refused by its
// readers.
TEST_F(LsegConvert, ThresholdsOfOtherClassesAreLeftOut) {
  WeightsFile file;
  file.Add({"conv.weight", {1, 1, 1, 2}, {1, 2}});
  file.metadata = {{"lseg.classes", "EX,HE"}, {"lseg.thresholds", "0.5,0.25"}};
  file.Write(Path("a.safetensors"));
  const std::string layer = "layer { name: 's' type: 'Sigmoid' bottom: 'data' top: 's' }";
  folder_.Write("net.prototxt", "class_name: 'vessel' " + layer);
  EXPECT_THAT(Convert("a.safetensors", "b.safetensors", {"--net", Path("net.prototxt")}),
              HasSubstr("lseg.thresholds, which is of other classes than vessel, left out"));
  const auto metadata = [&] { return WeightsFile::Read(Path("b.safetensors")).metadata; };
  EXPECT_EQ(metadata().at("lseg.classes"), "vessel");
  EXPECT_EQ(metadata().count("lseg.thresholds"), 0u);
  folder_.Write("net.prototxt", layer);
  Convert("a.safetensors", "b.safetensors", {"--net", Path("net.prototxt")});
  EXPECT_EQ(metadata().at("lseg.thresholds"), "0.5,0.25");
}

TEST_F(LsegConvert, LayerTypesAreThoseOfTheNet) {
  WeightsFile file;  // without metadata: names of the built-in L-Seg
  file.Add({"conv1_1.weight", {1, 1, 1, 1}, {1}});
  file.Add({"upsample_22.weight", {1, 1, 1, 1}, {1}});
  file.Add({"elsewhere.weight", {1, 1, 1, 1}, {1}});
  file.Add({"solver/conv1_1", {1}, {1}});
  file.Write(Path("a.safetensors"));
  EXPECT_THAT(Convert("a.safetensors", "b.caffemodel"),
              HasSubstr("tensors of no layer, left out: solver/conv1_1\n"));
  caffe::NetParameter net;
  ASSERT_TRUE(net.ParseFromString(Bytes("b.caffemodel")));
  ASSERT_EQ(net.layer_size(), 3);
  EXPECT_EQ(net.layer(0).type(), "Convolution");
  EXPECT_EQ(net.layer(1).type(), "Convolution");
  EXPECT_EQ(net.layer(2).name(), "upsample_22");
  EXPECT_EQ(net.layer(2).type(), "Deconvolution");
}

void FillOld(caffe::BlobProto* blob, int num, int channels, int height, int width,
             const Floats& values) {
  blob->set_num(num);
  blob->set_channels(channels);
  blob->set_height(height);
  blob->set_width(width);
  for (const float value : values) blob->add_data(value);
}

// As VGG16's file is: V1 layers, blobs of four dimensions, InnerProducts at the end.
std::string OldFile() {
  caffe::NetParameter net;
  net.set_name("VGG");
  auto* conv = net.add_layers();
  conv->set_name("conv1_1");
  conv->set_type(caffe::V1LayerParameter::CONVOLUTION);
  FillOld(conv->add_blobs(), 2, 1, 1, 2, {1, -2, 3, -4});
  FillOld(conv->add_blobs(), 1, 1, 1, 2, {0.5f, 0.25f});
  for (const char* name : {"fc6", "fc7"}) {
    auto* fc = net.add_layers();
    fc->set_name(name);
    fc->set_type(caffe::V1LayerParameter::INNER_PRODUCT);
    FillOld(fc->add_blobs(), 1, 1, 2, 2, {1, 2, 3, 4});
  }
  auto* drop = net.add_layers();
  drop->set_name("drop6");
  drop->set_type(caffe::V1LayerParameter::DROPOUT);
  return net.SerializeAsString();
}

TEST_F(LsegConvert, TheOlderForm) {
  folder_.Write("vgg.caffemodel", OldFile());
  EXPECT_THAT(Convert("vgg.caffemodel", "a.safetensors"),
              HasSubstr("skipped: fc6 (INNER_PRODUCT), fc7 (INNER_PRODUCT)\n"));
  WeightsFile expected;
  expected.Add({"conv1_1.weight", {2, 1, 1, 2}, {1, -2, 3, -4}});
  expected.Add({"conv1_1.bias", {2}, {0.5f, 0.25f}});
  ExpectSame(WeightsFile::Read(Path("a.safetensors")), expected);

  Convert("vgg.caffemodel", "new.caffemodel");
  caffe::NetParameter net;
  ASSERT_TRUE(net.ParseFromString(Bytes("new.caffemodel")));
  EXPECT_EQ(net.layers_size(), 0);
  ASSERT_EQ(net.layer_size(), 1);
  ASSERT_EQ(net.layer(0).blobs_size(), 2);
  EXPECT_EQ(net.layer(0).blobs(0).shape().dim_size(), 4);
  EXPECT_EQ(net.layer(0).blobs(1).shape().dim_size(), 1);
  EXPECT_FALSE(net.layer(0).blobs(0).has_num());
}

TEST_F(LsegConvert, RoundsToNearestTiesToEven) {
  const auto two_to = [](int exponent) { return std::ldexp(1.0f, exponent); };
  // Of f16's 11 bits and bf16's 8: ties below and above an odd last bit, and what is beside a tie.
  const Floats f16 = {1 + two_to(-11), 1 + 3 * two_to(-11), 1 + two_to(-11) + two_to(-20),
                      65519,           two_to(-25),         -3 * two_to(-25)};
  const Floats f16_rounded = {1, 1 + two_to(-9), 1 + two_to(-10), 65504, 0, -two_to(-23)};
  const Floats bf16 = {1 + two_to(-8), 1 + 3 * two_to(-8), 1 + two_to(-8) + two_to(-20), 1e30f};
  const Floats bf16_rounded = {1, 1 + two_to(-6), 1 + two_to(-7), 0};
  WeightsFile file;
  file.Add({"a.weight", {6}, f16});
  file.Write(Path("a.safetensors"));
  Convert("a.safetensors", "a16.safetensors", {"--precision", "f16"});
  EXPECT_THAT(Bytes("a16.safetensors"), AllOf(HasSubstr("\"F16\""), Not(HasSubstr("\"F32\""))));
  EXPECT_EQ(WeightsFile::Read(Path("a16.safetensors")).Find("a.weight")->data, f16_rounded);
  // What is f16 already stays bit for bit.
  Convert("a16.safetensors", "again.safetensors", {"--precision", "f16"});
  EXPECT_EQ(Bytes("again.safetensors"), Bytes("a16.safetensors"));

  WeightsFile other;
  other.Add({"b.weight", {4}, bf16});
  other.Write(Path("b.safetensors"));
  Convert("b.safetensors", "b16.safetensors", {"--precision", "bf16"});
  EXPECT_THAT(Bytes("b16.safetensors"), HasSubstr("\"BF16\""));
  Floats read = WeightsFile::Read(Path("b16.safetensors")).Find("b.weight")->data;
  EXPECT_NEAR(read[3] / 1e30f, 1, 1.0 / 512);  // half of the last of 8 bits
  read[3] = 0;
  EXPECT_EQ(read, bf16_rounded);
}

TEST_F(LsegConvert, ValuesBeyondThePrecisionAreRefusedAndTheOldFileStays) {
  folder_.Write("out.safetensors", "precious");
  for (const auto& [precision, value] : {std::pair{"f16", 65520.0f}, {"bf16", 3.4028235e38f}}) {
    WeightsFile file;
    file.Add({"a.weight", {2}, {1, value}});
    file.Write(Path("a.safetensors"));
    ExpectOneLine(
        {Path("a.safetensors"), Path("out.safetensors"), "--precision", precision}, 1,
        Path("a.safetensors") + ": tensor 'a.weight' has values that are beyond " + precision);
    EXPECT_EQ(Bytes("out.safetensors"), "precious");
    EXPECT_FALSE(fs::exists(Path("out.safetensors.partial")));
  }
}

TEST_F(LsegConvert, ListsWhatIsInAFile) {
  folder_.Write("vgg.caffemodel", OldFile());
  const ProgramResult result = Run({Path("vgg.caffemodel")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "tensor          shape        values           min           max      mean abs\n"
            "conv1_1.bias    2                 2          0.25           0.5         0.375\n"
            "conv1_1.weight  2x1x1x2           4            -4             3           2.5\n"
            "2 tensors, 6 values\n"
            "layers of no type with weights here, skipped: fc6 (INNER_PRODUCT), fc7 "
            "(INNER_PRODUCT)\n");
}

TEST_F(LsegConvert, NamesValuesThatAreNotFinite) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  WeightsFile file;
  file.Add({"a.weight", {4}, {std::nanf(""), -1, kInf, -kInf}});
  file.Add({"b.weight", {1}, {std::nanf("")}});
  file.Write(Path("a.safetensors"));
  const ProgramResult result =
      Run({Path("a.safetensors"), Path("b.safetensors"), "--precision", "f16"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "lseg_convert: " + Path("a.safetensors") +
                            ": 'a.weight' has 1 NaN and 2 infinite among its 4 values\n"
                            "lseg_convert: " +
                            Path("a.safetensors") +
                            ": 'b.weight' has 1 NaN and 0 infinite among its 1 values\n");
  EXPECT_THAT(result.out, HasSubstr("a.weight  4               4            -1            -1"));
  EXPECT_THAT(result.out, HasSubstr("b.weight  1               1             -             -"));
  const Floats read = WeightsFile::Read(Path("b.safetensors")).Find("a.weight")->data;
  EXPECT_TRUE(std::isnan(read[0]));
  EXPECT_EQ(read[2], kInf);
}

TEST_F(LsegConvert, BadFiles) {
  const std::string old_file = OldFile();
  const std::string out = folder_.Write("out.safetensors", "precious");
  fs::create_directories(Path("folder.caffemodel"));
  ExpectOneLine({Path("none.caffemodel"), out}, 1,
                Path("none.caffemodel") + ": cannot be read: No such file or directory");
  ExpectOneLine({Path("folder.caffemodel"), out}, 1, Path("folder.caffemodel") + ": ");
  ExpectOneLine({folder_.Write("empty.caffemodel", ""), out}, 1,
                Path("empty.caffemodel") + ": not a .caffemodel: no layer in its 0 bytes");
  ExpectOneLine({folder_.Write("text.caffemodel", "layer { }"), out}, 1,
                Path("text.caffemodel") + ": not a .caffemodel");
  // Within the name, the tag, the length, the first layer, its values, the last layer.
  for (const size_t size :
       {size_t{1}, size_t{3}, size_t{6}, size_t{7}, size_t{20}, size_t{40}, old_file.size() - 1}) {
    ExpectOneLine({folder_.Write("cut.caffemodel", old_file.substr(0, size)), out}, 1,
                  Path("cut.caffemodel") + ": not a ");
  }
  TinyModel().Write(Path("tiny.safetensors"));
  ExpectOneLine({folder_.Write("other.caffemodel", Bytes("tiny.safetensors")), out}, 1,
                Path("other.caffemodel") + ": not a ");
  EXPECT_EQ(Bytes("out.safetensors"), "precious");
  ExpectOneLine({Path("tiny.safetensors"), Path("folder.caffemodel")}, 1,
                Path("folder.caffemodel") + ": cannot be written: Is a directory");
  ExpectOneLine({Path("tiny.safetensors"), Path("no/such.caffemodel")}, 1,
                Path("no/such.caffemodel") + ": cannot be written: No such file or directory");
}

// A disk that is full, in the guise of a limit on a file's size.
TEST_F(LsegConvert, AnOutputThatCannotBeFinished) {
  WeightsFile file;
  file.Add({"a.weight", {100000}, Floats(100000, 1)});
  file.Write(Path("a.safetensors"));
  for (const char* name : {"out.safetensors", "out.caffemodel"}) {
    folder_.Write(name, "precious");
    const ProgramResult result =
        RunProgram({"/bin/sh", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"", LSEG_CONVERT,
                    Path("a.safetensors"), Path(name)},
                   Path("program"));
    EXPECT_EQ(result.code, 1);
    EXPECT_EQ(result.err, "lseg_convert: " + Path(name) + ": cannot be written: File too large\n");
    EXPECT_EQ(Bytes(name), "precious");
    EXPECT_FALSE(fs::exists(Path(name) + ".partial"));
  }
}

TEST_F(LsegConvert, CommandLines) {
  TinyModel().Write(Path("a.safetensors"));
  const std::string a = Path("a.safetensors"), bytes = Bytes("a.safetensors");
  fs::create_symlink(a, Path("link.safetensors"));
  ExpectOneLine({}, 2, "IN, the file to read, is missing");
  ExpectOneLine({a, a}, 2, "IN and OUT are the same file");
  ExpectOneLine({a, Path("link.safetensors")}, 2, "IN and OUT are the same file");
  ExpectOneLine({Path("a.h5")}, 2, "a.h5' ends in neither .safetensors nor .caffemodel");
  ExpectOneLine({a, Path("b.h5")}, 2, "b.h5' ends in none of .safetensors, .caffemodel, .onnx");
  ExpectOneLine({a, Path("b.safetensors"), "c"}, 2, "stray argument 'c'");
  ExpectOneLine({a, Path("b.safetensors"), "--precision", "f8"}, 2,
                "--precision 'f8' is not there");
  ExpectOneLine({a, Path("b.caffemodel"), "--precision", "f16"}, 2,
                "--precision is for an OUT in .safetensors");
  ExpectOneLine({a, "--precision", "f16"}, 2, "--precision is for an OUT in .safetensors");
  EXPECT_FALSE(fs::exists(Path("b.safetensors")));
  EXPECT_EQ(Bytes("a.safetensors"), bytes);
  const ProgramResult help = Run({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, AllOf(HasSubstr("IN [OUT]"), HasSubstr("Exit codes"),
                              HasSubstr("lseg_convert run/best.safetensors lseg.caffemodel")));
}

TEST_F(LsegConvert, ProtocReadsWhatIsWritten) {
  if (!fs::exists(LSEG_PROTOC)) GTEST_SKIP() << LSEG_PROTOC << " is not there";
  MakeSmallCaffeModel();
  const ProgramResult result = RunProgram(
      {"/bin/sh", "-c", "exec \"$0\" --decode_raw < \"$1\"", LSEG_PROTOC, Path("b.caffemodel")},
      Path("protoc"));
  EXPECT_EQ(result.code, 0) << result.err;
  // By Caffe's numbers: layer 100, name 1, type 2, blobs 7; shape 7 of dim 1, data 5, both packed.
  EXPECT_EQ(result.out, R"(100 {
  1: "conv"
  2: "Convolution"
  7 {
    5: "\000\000\200?\000\000\000\300\000\000\000?\000\000\200@"
    7 {
      1: "\002\001\001\002"
    }
  }
  7 {
    5: "\000\000\200?\000\000\000@"
    7 {
      1: "\002"
    }
  }
}
)");
}

TEST_F(LsegConvert, PythonReadsWhatIsWritten) {
  MakeSmallCaffeModel();
  const ProgramResult result =
      RunProgram({"/usr/bin/env", "python3", LSEG_SOURCE_DIR "/tests/tools/read_caffemodel.py",
                  Path("b.caffemodel")},
                 Path("python"));
  if (result.code == 77 || result.code == 127) GTEST_SKIP() << "no protobuf for Python";
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "conv Convolution 2x1x1x2 1.0 -2.0 0.5 4.0\n"
            "conv Convolution 2 1.0 2.0\n");
}

// What every program does with --weights of this kind.
TEST_F(LsegConvert, TrainingStartsFromACaffeModel) {
  WeightsFile file;
  file.Add({"score.weight", {4, 8, 1, 1}, Floats(32, 0.5f)});
  file.Add({"score.bias", {4}, {1, 2, 3, 4}});
  file.Write(Path("a.safetensors"));
  Convert("a.safetensors", "b.caffemodel");
  caffe::NetParameter net;
  ASSERT_TRUE(net.ParseFromString(Bytes("b.caffemodel")));
  auto* fc = net.add_layer();
  fc->set_name("fc6");
  fc->set_type("InnerProduct");
  fc->add_blobs()->add_data(1);
  folder_.Write("b.caffemodel", net.SerializeAsString());
  WriteTinyDataset(folder_, "train", 1, 64, 48);
  const std::string definition = folder_.Write("net.prototxt", kTinyTrainNet);
  const ProgramResult result = RunProgram(
      {LSEG_TRAIN, "--net", definition, "--data", Path("train.txt"), "--crop", "40x32", "--threads",
       "1", "--iterations", "1", "--weights", Path("b.caffemodel"), "--out", Path("run")},
      Path("train"));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("b.caffemodel: loaded 2 tensors (score.bias .. score.weight)"));
  EXPECT_THAT(result.out, HasSubstr("skipped: fc6 (InnerProduct)"));
}

// Without metadata it is the built-in L-Seg's, of which this one lacks nearly all.
TEST_F(LsegConvert, SegmentingReadsACaffeModel) {
  folder_.Write("vgg.caffemodel", OldFile());
  WritePng(Path("photo.png"), MakeTinyImage(64, 48, 1).photo);
  const ProgramResult result =
      RunProgram({LSEG_INFER, "--weights", Path("vgg.caffemodel"), "--input", Path("photo.png"),
                  "--out", Path("maps"), "--width", "64", "--height", "48"},
                 Path("infer"));
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("weights 'conv1_1.bias' are 2 in the file and "));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
}

}  // namespace
}  // namespace lseg
