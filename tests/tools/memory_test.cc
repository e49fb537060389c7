// The memory that lseg_infer says it needs, against what it took; and --memory, which changes
// neither bits nor maps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "framework/net.h"
#include "kernels/runtime/random.h"
#include "lseg/image.h"
#include "lseg/model.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr int kWidth = 1090, kHeight = 830, kPhotos = 3;

class MemoryTest : public testing::Test {
 protected:
  // One folder for all tests of a process: the weights are L-Seg's own, which take a moment.
  static void SetUpTestSuite() {
    folder_ = fs::path(testing::TempDir()) / ("lseg memory " + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "in");
    Context context;
    ParameterSet parameters;
    const InferenceNet inference = MakeInferenceNet(
        NetDefinition::FromFile(std::string(LSEG_SOURCE_DIR) + "/lseg/lseg_net.prototxt"));
    BuildLayers(inference.definition, BuiltinLayers(), context, /*seed=*/1, parameters,
                {{inference.input, TensorDesc{{1, 3, 64, 64}}}});
    WeightsFile file;
    parameters.Store(file);
    file.Write(Path("weights.safetensors"));
    Random random(3, 1);
    for (int i = 0; i < kPhotos; ++i) {
      Image photo(kWidth, kHeight, 3);
      for (uint8_t& value : photo.pixels) value = static_cast<uint8_t>(random.Uniform(0, 255));
      WritePng(Path("in/" + std::to_string(i) + ".png"), photo);
    }
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }

  static std::string Path(const std::string& name) { return (folder_ / name).string(); }

  static ProgramResult Infer(const std::string& out, const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {LSEG_INFER, "--weights", Path("weights.safetensors"),
                                          "--input",  Path("in"),  "--out",
                                          Path(out),  "--native",  "--prob",
                                          "npy"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return RunProgram(arguments, Path("log"));
  }

  // The number behind `text`, in megabytes, of what a program said; in bytes.
  static double BytesBehind(const std::string& said, const std::string& text) {
    const size_t at = said.find(text);
    EXPECT_NE(at, std::string::npos) << "no '" << text << "' in " << said;
    return at == std::string::npos ? 0 : std::atof(said.c_str() + at + text.size()) * 1e6;
  }

  static std::string Bytes(const std::string& name) {
    std::ifstream file(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  static fs::path folder_;
};

fs::path MemoryTest::folder_;

constexpr char kSaid[] = "memory in all: at most ";
// What the plan does not count: code and tables of libraries that are touched as they are used,
// what malloc keeps, the stacks of threads: 32 MB, or 5 % of much.
double Tolerance(double predicted) { return std::max(32e6, 0.05 * predicted); }

class MemoryOfPrecision : public MemoryTest, public testing::WithParamInterface<const char*> {
 protected:
  bool InBf16() const { return GetParam() == std::string("bf16"); }
};
INSTANTIATE_TEST_SUITE_P(In, MemoryOfPrecision, testing::Values("f32", "bf16"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(MemoryOfPrecision, IsWhatWasSaid) {
  const ProgramResult result = Infer("plain", {"--precision", GetParam()});
  ASSERT_EQ(result.code, 0) << result.err;
  const double predicted = BytesBehind(result.out, kSaid);
  EXPECT_NEAR(static_cast<double>(result.peak_bytes), predicted, Tolerance(predicted));
}

TEST_P(MemoryOfPrecision, LessGivesTheSameMaps) {
  const ProgramResult plain = Infer("plain", {"--precision", GetParam()});
  ASSERT_EQ(plain.code, 0) << plain.err;
  const double before = BytesBehind(plain.out, kSaid);
  const std::string limit = std::to_string(static_cast<int>(before * 0.93 / 1e6)) + "M";
  const ProgramResult low = Infer("low", {"--precision", GetParam(), "--memory", limit});
  ASSERT_EQ(low.code, 0) << low.err;
  const double predicted = BytesBehind(low.out, kSaid);
  EXPECT_LE(predicted, std::atof(limit.c_str()) * 1e6);
  EXPECT_NEAR(static_cast<double>(low.peak_bytes), predicted, Tolerance(predicted));
  for (int i = 0; i < kPhotos; ++i) {
    const std::string maps = "/" + std::to_string(i) + ".prob.npy";
    ASSERT_GT(Bytes("plain" + maps).size(), size_t{4 * 4} * kWidth * kHeight);
    EXPECT_TRUE(Bytes("plain" + maps) == Bytes("low" + maps)) << maps << " differs";
  }
}

// Each size has a net, two of which are kept, and for each the weights are read anew.
TEST_F(MemoryTest, OfFurtherSizesIsWhatWasSaid) {
  fs::create_directories(Path("sizes"));
  for (const int width : {600, 640, 560}) {
    WriteJpeg(Path("sizes/" + std::to_string(width) + ".jpg"), Image(width, 400, 3, 100), 90);
  }
  const ProgramResult result =
      RunProgram({LSEG_INFER, "--weights", Path("weights.safetensors"), "--input", Path("sizes"),
                  "--out", Path("sizes_maps"), "--native", "--no-normalise"},
                 Path("log"));
  ASSERT_EQ(result.code, 0) << result.err;
  double predicted = 0;
  for (size_t at = result.out.find(kSaid); at != std::string::npos;
       at = result.out.find(kSaid, at + 1)) {
    predicted = std::max(predicted, BytesBehind(result.out.substr(at), kSaid));
  }
  EXPECT_NEAR(static_cast<double>(result.peak_bytes), predicted, Tolerance(predicted));
}

// The net sees fewer pixels: most is taken for photographs that are larger than the
// net's size, which is said when they come.
TEST_F(MemoryTest, OfLargePhotographsIsWhatWasSaid) {
  fs::create_directories(Path("large"));
  Random random(4, 1);
  Image photo(4000, 3000, 3);  // of noise, of which PNGs are as large as they get
  for (uint8_t& value : photo.pixels) value = static_cast<uint8_t>(random.Uniform(0, 255));
  WriteJpeg(Path("large/0.jpg"), photo, 90);
  for (const char* copy : {"large/1.jpg", "large/2.jpg"}) {
    fs::copy_file(Path("large/0.jpg"), Path(copy), fs::copy_options::overwrite_existing);
  }
  const ProgramResult result =
      RunProgram({LSEG_INFER, "--weights", Path("weights.safetensors"), "--input", Path("large"),
                  "--out", Path("large_maps"), "--width", "600", "--height", "450"},
                 Path("log"));
  ASSERT_EQ(result.code, 0) << result.err;
  const size_t last = result.out.rfind(kSaid);
  ASSERT_NE(last, std::string::npos) << result.out;
  const double predicted = BytesBehind(result.out.substr(last), kSaid);
  EXPECT_NEAR(static_cast<double>(result.peak_bytes), predicted, Tolerance(predicted));
}

// An RGB TIFF of one strip, all of one gray.
std::string Tiff(uint32_t width, uint32_t height) {
  const auto number = [](uint32_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i);
    return text;
  };
  const uint32_t size = 3 * width * height;
  std::string entries;
  int count = 0;
  const auto add = [&](uint32_t tag, uint32_t type, uint32_t values, uint32_t value) {
    entries += number(tag, 2) + number(type, 2) + number(values, 4) + number(value, 4);
    ++count;
  };
  constexpr uint32_t kShort = 3, kLong = 4, kBits = 8;  // where the bits of the samples stand
  add(256, kLong, 1, width);
  add(257, kLong, 1, height);
  add(258, kShort, 3, kBits);
  add(262, kShort, 1, 2);  // RGB
  add(273, kLong, 1, 14);  // where the pixels begin
  add(277, kShort, 1, 3);
  add(278, kLong, 1, height);
  add(279, kLong, 1, size);
  return "II" + number(42, 2) + number(14 + size, 4) + number(8, 2) + number(8, 2) + number(8, 2) +
         std::string(size, '\x50') + number(count, 2) + entries + number(0, 4);
}

// A TIFF takes most while it is decoded, which is said, and is not begun where it cannot be had.
TEST_F(MemoryTest, IsThereBeforeAPhotographIsDecoded) {
  fs::create_directories(Path("tiff"));
  fs::copy_file(Path("in/0.png"), Path("tiff/0.png"));
  std::ofstream(Path("tiff/1.tif"), std::ios::binary) << Tiff(5000, 4000);
  std::vector<std::string> arguments = {
      LSEG_INFER,        "--weights",  Path("weights.safetensors"),
      "--input",         Path("tiff"), "--out",
      Path("tiff_maps"), "--width",    "600",
      "--height",        "450"};
  const ProgramResult free = RunProgram(arguments, Path("log"));
  ASSERT_EQ(free.code, 0) << free.err;
  const double predicted = BytesBehind(free.out.substr(free.out.rfind(kSaid)), kSaid);
  EXPECT_LE(static_cast<double>(free.peak_bytes), predicted + Tolerance(predicted));
  const double limit = BytesBehind(free.out, kSaid) + 20e6;  // the first: for the small one
  arguments.insert(arguments.end(),
                   {"--memory", std::to_string(static_cast<int>(limit / 1e6)) + "M"});
  fs::remove_all(Path("tiff_maps"));
  const ProgramResult low = RunProgram(arguments, Path("log"));
  EXPECT_EQ(low.code, 1);
  EXPECT_THAT(low.err, HasSubstr("1.tif: out of memory: "));
  EXPECT_THAT(low.out, HasSubstr("1 of 2 photographs segmented"));
  EXPECT_LE(static_cast<double>(low.peak_bytes), limit + Tolerance(limit));
}

// What is said for a report is the most that its page may take.
TEST_F(MemoryTest, AReportTakesNoMoreThanIsSaid) {
  const ProgramResult plain = Infer("plain", {});
  const ProgramResult result = Infer("told", {"--report", Path("report")});
  ASSERT_EQ(result.code, 0) << result.err;
  const double predicted = BytesBehind(result.out, kSaid);
  EXPECT_GT(predicted, BytesBehind(plain.out, kSaid));
  EXPECT_LE(static_cast<double>(result.peak_bytes), predicted + Tolerance(predicted));
}

TEST_F(MemoryTest, TooLittleIsNamedWithWhatIsNeeded) {
  const ProgramResult little = Infer("little", {"--memory", "100M"});
  EXPECT_EQ(little.code, 1);
  EXPECT_THAT(little.err, HasSubstr("out of memory: "));
  EXPECT_THAT(little.err, HasSubstr(" are needed at the least"));
  EXPECT_THAT(little.err, HasSubstr("100 MB may be used"));
  EXPECT_THAT(little.err, HasSubstr("--memory"));
  // What is named suffices.
  const double needed = BytesBehind(little.err, "out of memory: ");
  const std::string enough = std::to_string(static_cast<int>(needed / 1e6) + 2) + "M";
  EXPECT_EQ(Infer("enough", {"--memory", enough}).code, 0);
}

TEST_F(MemoryTest, SizesThatAreNone) {
  for (const char* size : {"4", "4T", "G", "-1G", "4GB", ""}) {
    const ProgramResult result = Infer("none", {"--memory", size});
    EXPECT_EQ(result.code, 2) << size;
    EXPECT_THAT(result.err, HasSubstr("--memory")) << size;
  }
}

}  // namespace
}  // namespace lseg
