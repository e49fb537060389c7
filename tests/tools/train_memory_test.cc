// The memory that lseg_train says it needs, against what it took; and --memory, which changes no
// bit of the weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/lseg/tiny_dataset.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using testing::HasSubstr;

constexpr char kSaid[] = "memory in all: at most ";

// What the plan does not count: code and tables of libraries that are touched as they are used,
// what malloc keeps, the stacks of threads: 32 MB, or 5 % of much.
double Tolerance(double predicted) { return std::max(32e6, 0.05 * predicted); }

// The number behind `text`, in megabytes, of what a program said; in bytes.
double BytesBehind(const std::string& said, const std::string& text) {
  const size_t at = said.find(text);
  EXPECT_NE(at, std::string::npos) << "no '" << text << "' in " << said;
  return at == std::string::npos ? 0 : std::atof(said.c_str() + at + text.size()) * 1e6;
}

// In a folder of its own: two steps of the built-in L-Seg, and the files that a training ends with.
class TrainMemoryTest : public testing::Test {
 protected:
  TrainMemoryTest() {
    WriteTinyDataset(folder_, "train", 3, 480, 400);
    WriteTinyDataset(folder_, "val", 1, 480, 400);
  }
  ProgramResult Train(const std::string& out, const std::string& precision, const std::string& crop,
                      const std::vector<std::string>& more) {
    std::vector<std::string> all = {LSEG_TRAIN,
                                    "--out",
                                    folder_.Path(out),
                                    "--data",
                                    folder_.Path("train.txt"),
                                    "--crop",
                                    crop,
                                    "--precision",
                                    precision,
                                    "--threads",
                                    "2",
                                    "--iterations",
                                    "2"};
    all.insert(all.end(), more.begin(), more.end());
    return RunProgram(all, folder_.Path("run"));
  }
  std::string Bytes(const std::string& name) const { return ReadFile(folder_.Path(name)); }

  TempFolder folder_;
};
class TrainMemoryOf : public TrainMemoryTest,
                      public testing::WithParamInterface<std::tuple<const char*, const char*>> {};
INSTANTIATE_TEST_SUITE_P(In, TrainMemoryOf,
                         testing::Combine(testing::Values("f32", "bf16"),
                                          testing::Values("96x80", "448x352")),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param);
                         });

TEST_P(TrainMemoryOf, IsWhatWasSaid) {
  const auto [precision, crop] = GetParam();
  const ProgramResult result = Train("plain", precision, crop, {});
  ASSERT_EQ(result.code, 0) << result.err;
  const double predicted = BytesBehind(result.out, kSaid);
  EXPECT_NEAR(static_cast<double>(result.peak_bytes), predicted, Tolerance(predicted));
}

TEST_F(TrainMemoryTest, ValidationIsCounted) {
  const ProgramResult result =
      Train("validated", "f32", "96x80", {"--val", folder_.Path("val.txt")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(" or validation "));
  const double predicted = BytesBehind(result.out, kSaid);
  EXPECT_NEAR(static_cast<double>(result.peak_bytes), predicted, Tolerance(predicted));
}

TEST_F(TrainMemoryTest, LessGivesTheSameWeights) {
  const ProgramResult plain = Train("plain", "f32", "448x352", {});
  ASSERT_EQ(plain.code, 0) << plain.err;
  const ProgramResult none = Train("none", "f32", "448x352", {"--memory", "100M"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("100 MB may be used"));
  EXPECT_THAT(none.err, HasSubstr("--memory"));
  // What is named suffices, and is less.
  const double needed = BytesBehind(none.err, "out of memory: ");
  EXPECT_LT(needed, BytesBehind(plain.out, kSaid) - 20e6);
  const std::string limit = std::to_string(static_cast<int>(needed / 1e6) + 2) + "M";
  const ProgramResult low = Train("low", "f32", "448x352", {"--memory", limit});
  ASSERT_EQ(low.code, 0) << low.err;
  const double predicted = BytesBehind(low.out, kSaid);
  EXPECT_LE(predicted, std::atof(limit.c_str()) * 1e6);
  EXPECT_NEAR(static_cast<double>(low.peak_bytes), predicted, Tolerance(predicted));
  EXPECT_TRUE(Bytes("plain/final.safetensors") == Bytes("low/final.safetensors"))
      << "the weights differ";
}

}  // namespace
}  // namespace lseg
