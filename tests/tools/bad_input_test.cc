// Every kind of file that a program reads, missing, empty, cut short, of another kind, hostile or
// wrong in itself: one line that names it, exit code 1, and nothing that was there is damaged.
#include "tests/tools/bad_input.h"

#include <cmath>
#include <limits>

#include "framework/proto/caffe.pb.h"
#include "lseg/npy.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

std::string LittleEndian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}
std::string BigEndian(uint32_t value) {
  std::string text = LittleEndian(value, 4);
  std::reverse(text.begin(), text.end());
  return text;
}

class BadFiles : public BadInput {
 protected:
  // Replaces `file` by all that it could wrongly be, one after another, for each command. The line
  // names the file. `cuts`: where a whole file is cut.
  void TryAll(const std::string& file, const std::vector<Arguments>& commands,
              const std::vector<size_t>& cuts, const std::string& may_change = "") {
    const std::string path = Path(file), whole = ReadFile(path);
    const std::string name = fs::path(file).filename().string();
    const auto try_commands = [&](const std::string& what) {
      SCOPED_TRACE(file + " " + what);
      for (const Arguments& command : commands) ExpectOneLine(command, 1, {name}, may_change);
    };
    fs::remove(path);
    try_commands("missing");
    fs::create_directory(path);
    try_commands("a folder");
    fs::remove(path);
    WriteFile(path, "");
    try_commands("empty");
    WriteFile(path, "this is something else\nentirely, and long enough for a header or two.\n");
    try_commands("text");
    for (const size_t cut : cuts) {
      ASSERT_LT(cut, whole.size());
      WriteFile(path, whole.substr(0, cut));
      try_commands("cut to " + std::to_string(cut));
    }
    WriteFile(path, whole);
  }
  // The file with bytes of it replaced.
  void TryBytes(const std::string& file, const std::string& bytes, const Arguments& command,
                const std::vector<std::string>& texts, const std::string& may_change = "") {
    const std::string whole = ReadFile(Path(file));
    WriteFile(Path(file), bytes);
    ExpectOneLine(command, 1, texts, may_change);
    WriteFile(Path(file), whole);
  }
};

TEST_F(BadFiles, Safetensors) {
  const std::string bytes = ReadFile(Path("w.safetensors"));
  const size_t header = 8 + static_cast<uint8_t>(bytes[0]) + 256 * static_cast<uint8_t>(bytes[1]);
  TryAll("w.safetensors",
         {Infer(), Train({{"--weights", Path("w.safetensors")}}), Convert(Path("w.safetensors")),
          Convert(Path("w.safetensors"), Path("w.caffemodel"))},
         {4, 8, 8 + 20, header - 1, header, header + 5, bytes.size() - 1});
  const std::string rest = bytes.substr(8);
  for (const uint64_t length : {uint64_t{0}, uint64_t{1} << 40, ~uint64_t{0}}) {
    TryBytes("w.safetensors", LittleEndian(length, 8) + rest, Infer(), {"w.safetensors"});
  }
  const auto with = [](std::string header) {
    return LittleEndian(header.size(), 8) + header + std::string(64, '\0');
  };
  for (const char* tensor :
       {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,64]}})",
        R"({"a":{"dtype":"F32","shape":[-4,-4],"data_offsets":[0,64]}})",
        R"({"a":{"dtype":"F32","shape":[16],"data_offsets":[64,0]}})",
        R"({"a":{"dtype":"F32","shape":[17],"data_offsets":[0,68]}})",
        R"({"a":{"dtype":"I4","shape":[16],"data_offsets":[0,64]}})", R"([1, 2])", R"({"a":3})"}) {
    TryBytes("w.safetensors", with(tensor), Convert(Path("w.safetensors")), {"w.safetensors"});
  }
}

TEST_F(BadFiles, WeightsThatFitNoNet) {
  const auto try_model = [&](const WeightsFile& model, const std::vector<std::string>& texts) {
    model.Write(Path("w.safetensors"));
    ExpectOneLine(Infer(), 1, texts, "maps/");
  };
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), INFINITY, -INFINITY}) {
    WeightsFile broken;
    const WeightsFile whole = TinyModel();
    for (WeightTensor tensor : whole.tensors()) {
      if (tensor.key == "score.weight") tensor.data[2] = value;
      broken.Add(tensor);
    }
    broken.metadata = TinyModel().metadata;
    broken.Write(Path("w.safetensors"));
    // Listed, with a line; not segmented with.
    ExpectOneLine(Convert(Path("w.safetensors")), 0, {"w.safetensors", "score.weight"});
    ExpectOneLine(Infer(), 1, {"w.safetensors", "score.weight", "element 2"}, "maps/");
  }
  WeightsFile other = WeightsFile();
  other.metadata = TinyModel().metadata;
  other.Add({"score.weight", {5, 3, 1, 1}, std::vector<float>(15)});
  other.Add({"score.bias", {4}, std::vector<float>(4)});
  try_model(other, {"w.safetensors", "score.weight", "5x3x1x1"});
  WeightsFile lacking;
  lacking.metadata = TinyModel().metadata;
  lacking.Add({"score.bias", {4}, std::vector<float>(4)});
  try_model(lacking, {"w.safetensors", "score.weight"});
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{
           {"lseg.net", "layer {"},
           {"lseg.net", "layer { name: 'x' type: 'NoSuchLayer' top: 'x' }"},
           {"lseg.width", "0"},
           {"lseg.width", "wide"},
           {"lseg.mean", "1,2"},
           {"lseg.classes", "EX,,HE"},
           {"lseg.scale", "nan"}}) {
    WeightsFile model = TinyModel();
    model.metadata[key] = value;
    SCOPED_TRACE(key + " " + value);
    try_model(model, {"w.safetensors"});
  }
}

TEST_F(BadFiles, CaffeModel) {
  const std::string bytes = ReadFile(Path("w.caffemodel"));
  TryAll("w.caffemodel",
         {Convert(Path("w.caffemodel")), Convert(Path("w.caffemodel"), Path("w.safetensors")),
          Train({{"--weights", Path("w.caffemodel")}})},
         {1, 2, bytes.size() / 2, bytes.size() - 1});
}

TEST_F(BadFiles, Photographs) {
  const std::string photo = "images/train0.png";
  const std::string png = ReadFile(Path(photo));
  TryAll(photo,
         {Infer({{"--input", Path(photo)}}), Train(), Eval({{"--baseline", "colour"}}),
          Check(Path("train.txt"))},
         {7, 8, 20, 33, 45, png.size() - 13, png.size() - 1}, "maps/");
  const auto png_of = [&](uint32_t width, uint32_t height) {
    return png.substr(0, 16) + BigEndian(width) + BigEndian(height) + png.substr(24);
  };
  TryBytes(photo, png_of(100000, 100000), Infer(), {"train0.png"});
  // With its check sum right, it is the size that is refused.
  WritePng(Path("big.png"), Image(40, 30, 3));
  for (const Arguments& command :
       {Infer({{"--input", Path("big.png")}, {"--max-pixels", "1199"}}),
        Train({{"--max-pixels", "700"}}), Eval({{"--max-pixels", "700"}})}) {
    ExpectOneLine(command, 1, {"pixels large: more than the limit of ", "(--max-pixels)", ".png"});
  }
  fs::create_directories(Path("idrid2"));
  ExpectOneLine(Build({{"--max-pixels", "5000"}, {"--out", Path("data2")}}), 1,
                {"none of the 3 images", "96x64", "--max-pixels"});
  Write("one.txt", "images/train0.png labels/train0.png\n");
  Arguments check = Check(Path("one.txt"));
  check.insert(check.end(), {"--max-pixels", "700"});
  const ProgramResult result = RunProgram(check, folder_.Path("log"));
  EXPECT_EQ(result.code, 1);
  // The photograph and its five files of truth, each a line.
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 6) << result.err;
}

TEST_F(BadFiles, TheOtherPhotographsAreDone) {
  const Image photo = ReadPhoto(Path("images/train0.png"));
  fs::create_directories(Path("photos"));
  WriteJpeg(Path("photos/a.jpg"), photo, 90);
  WritePng(Path("photos/z.png"), photo);
  const std::string jpeg = ReadFile(Path("photos/a.jpg"));
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"b.jpg", ""},
      {"c.jpg", jpeg.substr(0, jpeg.size() / 2)},
      {"d.tif", "II*" + std::string(1, '\0') + LittleEndian(0xfffffff0, 4)},
      {"e.bmp", "BM" + std::string(12, '\0') + LittleEndian(40, 4) + LittleEndian(70000, 4) +
                    LittleEndian(70000, 4) + std::string(28, '\0')},
      {"f.png", std::string(128, '\0') + "DICM"},
      {"g.jpg", "%PDF-1.4"}};
  for (const auto& [name, bytes] : bad) Write("photos/" + name, bytes);
  const ProgramResult result =
      RunProgram(Infer({{"--input", Path("photos")}, {"--out", Path("out")}}), folder_.Path("log"));
  EXPECT_EQ(result.code, 1);
  const std::string err = WithoutDoubts(result.err);
  EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 6) << err;
  for (const auto& [name, bytes] : bad) EXPECT_THAT(result.err, testing::HasSubstr(name));
  for (const char* map : {"a.label.png", "z.label.png"})
    EXPECT_TRUE(fs::exists(Path("out/") + map));
  EXPECT_FALSE(fs::exists(Path("out/b.label.png")));
}

TEST_F(BadFiles, AFolderOfWhatIsNotRead) {
  Write("scans/a.dcm", "x");
  Write("scans/b.HEIC", "x");
  ExpectOneLine(Infer({{"--input", Path("scans")}}), 1,
                {"no photograph in ", "a.dcm: a DICOM file, which is not read: export it as PNG"});
  WritePng(Path("scans/c.png"), ReadPhoto(Path("images/train0.png")));
  const ProgramResult result =
      RunProgram(Infer({{"--input", Path("scans")}, {"--out", Path("out")}}), folder_.Path("log"));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, testing::HasSubstr("b.HEIC: a HEIC file, which is not read"));
}

TEST_F(BadFiles, Truth) {
  fs::remove_all(Path("masks"));
  const std::string png = ReadFile(Path("labels/train0.png"));
  TryAll("labels/train0.png", {Train(), Eval(), Check(Path("train.txt"))},
         {8, 33, png.size() / 2, png.size() - 1});
  WriteIndexedPng(Path("labels/train0.png"), Image(31, 24, 1));
  ExpectOneLine(Train(), 1, {"labels/train0.png", "31x24"});
  ExpectOneLine(Check(Path("train.txt")), 1, {"labels/train0.png", "31x24"});
  WritePng(Path("labels/train0.png"), Image(32, 24, 1, 7));
  for (const Arguments& command : {Train(), Eval(), Check(Path("train.txt"))}) {
    ExpectOneLine(command, 1, {"labels/train0.png", "class"});
  }
}

TEST_F(BadFiles, PublishedMasks) {
  const std::string mask =
      "idrid/A. Segmentation/2. All Segmentation Groundtruths/a. Training Set/3. Hard "
      "Exudates/IDRiD_01_EX.tif";
  const std::string tiff = ReadFile(Path(mask));
  for (const size_t cut : {size_t{0}, size_t{4}, size_t{8}, tiff.size() / 2}) {
    WriteFile(Path(mask), tiff.substr(0, cut));
    // The other images are prepared.
    ExpectOneLine(Build({{"--out", Path("data2")}}), 1, {"IDRiD_01_EX.tif", "left out"});
    EXPECT_EQ(ReadList(Path("data2/train.txt")).size(), 1u);
    ExpectOneLine(Check(Path("idrid")), 1, {"IDRiD_01_EX.tif"});
  }
}

TEST_F(BadFiles, Lists) {
  const std::vector<Arguments> commands = {Train(), Eval(), Infer({{"--input", Path("train.txt")}}),
                                           Train({{"--val", Path("train.txt")}}),
                                           Check(Path("train.txt"))};
  fs::remove(Path("train.txt"));
  for (const Arguments& command : commands) ExpectOneLine(command, 1, {"train.txt"});
  const auto try_list = [&](const std::string& bytes, const std::string& text,
                            const std::vector<Arguments>& readers) {
    WriteFile(Path("train.txt"), bytes);
    for (const Arguments& command : readers) ExpectOneLine(command, 1, {text}, "maps/");
  };
  try_list("", "train.txt", commands);
  try_list("# nothing\n\n", "train.txt", commands);
  try_list(std::string(3, '\0'), "train.txt: is no text file", commands);
  // To lseg_infer, which needs no labels, these are images.
  const std::vector<Arguments> with_labels = {Train(), Eval(), Check(Path("train.txt"))};
  try_list("one\n", "train.txt:1: ", with_labels);
  try_list("one\n", "w/one: cannot be read: no such file", {commands[2]});
  try_list(std::string(300, '\xff') + "\n", "train.txt:1: ", with_labels);
  try_list(std::string(300, '\xff') + "\n", "skipped", {commands[2]});
  try_list("images/no.png labels/train0.png\n", "no.png",
           {Train(), commands[2], Check(Path("train.txt")),
            Eval({{"--prob", "absent"}, {"--baseline", "colour"}})});
  try_list("images/train0.png labels/no.png\n", "no.png", {Check(Path("train.txt"))});
  try_list("images/train0.png\tmasks/train0_EX.png\t-\n", "2 masks",
           {Train(), Eval(), Check(Path("train.txt"))});
  try_list("images/train0.png\t-\t-\t-\t-\n", "train0.png: its line", {Train(), Eval()});
  try_list("images/train0.png labels/train0.png\nimages/train0.png labels/train0.png\n", "twice",
           {Eval(), Check(Path("train.txt"))});
}

TEST_F(BadFiles, Definitions) {
  const std::string net = ReadFile(Path("net.prototxt"));
  TryAll("net.prototxt", {Train()}, {5, 40, net.size() / 2, net.size() - 2});
  const std::string solver = ReadFile(Path("solver.prototxt"));
  TryAll("solver.prototxt", {Train()}, {3, 12, 25});
  Write("answer.prototxt", kTinyNet);
  const size_t size = ReadFile(Path("answer.prototxt")).size();
  TryAll("answer.prototxt", {Infer({{"--net", Path("answer.prototxt")}})}, {5, 60, size - 2});
}

// Of a net that feeds itself: the mean image, and the list.
TEST_F(BadFiles, WhatADataLayerReads) {
  std::string net = kTinyTrainNet;
  const size_t begin = net.find("layer { name: \"data\""), end = net.find("layer { name: \"conv\"");
  net.replace(begin, end - begin,
              "layer { name: \"d\" type: \"ImageLabelmapData\" top: \"data\" top: \"label\"\n"
              "  transform_param { mean_file: \"mean.binaryproto\" crop_size: 8 }\n"
              "  image_data_param { source: \"maps.txt\" batch_size: 1 } }\n");
  Write("self.prototxt", net);
  Write("maps.txt", ReadFile(Path("train.txt")));
  caffe::BlobProto mean;
  for (const int dim : {1, 3, 24, 32}) mean.mutable_shape()->add_dim(dim);
  for (int i = 0; i < 3 * 24 * 32; ++i) mean.add_data(100);
  Write("mean.binaryproto", mean.SerializeAsString());
  const Arguments train =
      Train({{"--net", Path("self.prototxt")}, {"--data", "absent"}, {"--crop", "absent"}});
  ASSERT_EQ(RunProgram(train, folder_.Path("log")).code, 0) << ReadFile(folder_.Path("log.err"));
  fs::remove_all(Path("new"));
  const size_t bytes = mean.SerializeAsString().size();
  TryAll("mean.binaryproto", {train}, {1, bytes / 2, bytes - 1});
  TryAll("maps.txt", {train}, {10});
}

TEST_F(BadFiles, ProbabilityMaps) {
  const std::string npy = ReadFile(Path("maps/train0.prob.npy"));
  const auto try_bytes = [&](const std::string& bytes) {
    TryBytes("maps/train0.prob.npy", bytes, Eval(), {"train0.prob.npy"});
  };
  for (const size_t cut :
       {size_t{0}, size_t{5}, size_t{8}, size_t{60}, size_t{128}, npy.size() - 1}) {
    try_bytes(npy.substr(0, cut));
  }
  try_bytes(npy + "x");
  for (const char* shape : {"(4, 24, 32)", "(3, 24, 32)", "(768,)", "(4, 999999999, 999999999)",
                            "(4, -24, -32)", "(4, 0, 32)"}) {
    std::string bytes = npy;
    const size_t begin = bytes.find("(4,"), end = bytes.find(')');
    const bool same = std::string(shape) == "(4, 24, 32)";
    std::string header = bytes.substr(10, begin - 10) + shape + ", }";
    ASSERT_NE(begin, std::string::npos);
    ASSERT_LT(end, 128u);
    header.resize(117, ' ');
    bytes = bytes.substr(0, 10) + header + "\n" + bytes.substr(128);
    if (!same) try_bytes(bytes);
  }
  for (const float value : {NAN, INFINITY, -0.5f, 1.5f}) {
    NpyArray array = ReadNpy(Path("maps/train0.prob.npy"));
    array.values[5] = value;
    WriteNpy(Path("other.npy"), array.shape, array.values.data());
    try_bytes(ReadFile(Path("other.npy")));
  }
  fs::remove(Path("maps/train1.prob.npy"));
  ExpectOneLine(Eval(), 1, {"no prediction for 1 of 2 images", "train1"});
  fs::remove_all(Path("maps"));
  ExpectOneLine(Eval(), 1, {"no prediction for 2 of 2 images"});
  // Class maps.
  fs::create_directories(Path("labels2"));
  for (const char* name : {"train0", "train1"}) {
    fs::copy(Path("labels/") + name + ".png", Path("labels2/") + name + ".label.png");
  }
  const Arguments labels = Eval({{"--prob", "absent"}, {"--labels", Path("labels2")}});
  TryAll("labels2/train0.label.png", {labels}, {8, 33, 60});
}

TEST_F(BadFiles, Checkpoints) {
  const Arguments resume = {LSEG_TRAIN, "--out", Path("run"), "--resume"};
  ASSERT_TRUE(fs::exists(Path("run/checkpoint.safetensors")));
  const std::string bytes = ReadFile(Path("run/checkpoint.safetensors"));
  TryAll("run/checkpoint.safetensors", {resume}, {4, 8, 100, bytes.size() / 2, bytes.size() - 1});
  fs::copy(Path("w.safetensors"), Path("run/checkpoint.safetensors"),
           fs::copy_options::overwrite_existing);
  ExpectOneLine(resume, 1, {"checkpoint.safetensors"});
}

TEST_F(BadFiles, SplitFiles) {
  Write("split.txt", "IDRiD_01\n");
  TryAll("split.txt", {Build({{"--split", Path("split.txt")}})}, {});
}

}  // namespace
}  // namespace lseg
