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
#include "tests/bf16.h"
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
  LSEG_SKIP_WITHOUT_BF16(Device::kCpu, InBf16());
  const ProgramResult result = Infer("plain", {"--precision", GetParam()});
  ASSERT_EQ(result.code, 0) << result.err;
  const double predicted = BytesBehind(result.out, kSaid);
  EXPECT_NEAR(static_cast<double>(result.peak_bytes), predicted, Tolerance(predicted));
}

TEST_P(MemoryOfPrecision, LessGivesTheSameMaps) {
  LSEG_SKIP_WITHOUT_BF16(Device::kCpu, InBf16());
  const ProgramResult plain = Infer("plain", {"--precision", GetParam()});
  ASSERT_EQ(plain.code, 0) << plain.err;
  const double before = BytesBehind(plain.out, kSaid);
  const std::string limit = std::to_string(static_cast<int>(before * 0.9 / 1e6)) + "M";
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
