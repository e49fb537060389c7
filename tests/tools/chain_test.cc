// The whole chain through the real programs, on a tiny synthetic set: prepare, train, segment,
// evaluate; and lseg_prep's own answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/file.h"
#include "lseg/dataset.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Chain : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = testing::TempDir() + "/" + info->test_suite_name() + "." + info->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ProgramResult Run(const std::vector<std::string>& arguments) {
    return RunProgram(arguments, folder_ + "/program");
  }
  // Runs what must succeed.
  void Do(const std::vector<std::string>& arguments) {
    const ProgramResult result = Run(arguments);
    ASSERT_EQ(result.code, 0) << arguments[0] << ": " << result.err;
  }
  void MakeData() {
    Do({LSEG_PREP, "synth", "--out", folder_ + "/made", "--images", "6", "--seed", "3", "--width",
        "192", "--height", "128"});
    WriteFile(folder_ + "/split.txt", "# one of four\nIDRiD_02\n");
    Do({LSEG_PREP, "build", "--from", "synth", "--root", folder_ + "/made", "--out",
        folder_ + "/data", "--width", "96", "--height", "64", "--split", folder_ + "/split.txt"});
  }

  std::string folder_;
};

TEST_F(Chain, FromNothingToFigures) {
  MakeData();
  ASSERT_EQ(ReadList(folder_ + "/data/train.txt").size(), 3u);
  ASSERT_EQ(ReadList(folder_ + "/data/val.txt").size(), 1u);
  ASSERT_EQ(ReadList(folder_ + "/data/test.txt").size(), 2u);
  Do({LSEG_TRAIN, "--data", folder_ + "/data/train.txt", "--val", folder_ + "/data/val.txt",
      "--out", folder_ + "/run", "--iterations", "2", "--crop", "64x48", "--val-every", "2"});
  for (const char* name :
       {"final.safetensors", "best.safetensors", "log.csv", "val.csv", "curves.svg"}) {
    EXPECT_TRUE(fs::exists(folder_ + "/run/" + name)) << name;
  }
  EXPECT_THAT(ReadFile(folder_ + "/run/log.csv"),
              testing::StartsWith("iteration,loss,lr,images_per_second,"));
  Do({LSEG_INFER, "--weights", folder_ + "/run/final.safetensors", "--input",
      folder_ + "/data/test.txt", "--out", folder_ + "/maps", "--prob", "npy,png"});
  for (const char* stem : {"IDRiD_05", "IDRiD_06"}) {
    for (const char* end :
         {".label.png", ".overlay.png", ".prob.npy", ".EX.prob.png", ".SE.prob.png"}) {
      EXPECT_TRUE(fs::exists(folder_ + "/maps/" + stem + end)) << stem << end;
    }
  }
  Do({LSEG_EVAL, "--truth", folder_ + "/data/test.txt", "--prob", folder_ + "/maps", "--protocol",
      "all", "--json", folder_ + "/scores.json", "--csv", folder_ + "/scores.csv"});
  const auto scores = nlohmann::json::parse(ReadFile(folder_ + "/scores.json"));
  EXPECT_EQ(scores["images"], 2);
  for (const char* protocol : {"idrid33", "mmseg11", "exact"}) {
    const auto& mean = scores["protocols"][protocol]["mean"]["aupr"];
    ASSERT_TRUE(mean.is_number()) << protocol;
    EXPECT_GT(mean, 0) << protocol;
    EXPECT_LE(mean, 1) << protocol;
  }
}

TEST_F(Chain, TruthScoresAsPerfect) {
  MakeData();
  fs::create_directories(folder_ + "/maps");
  for (const ListEntry& entry : ReadList(folder_ + "/data/test.txt")) {
    const std::string stem = Stem(entry.image);
    for (const char* lesion : {"EX", "HE", "MA", "SE"}) {
      fs::copy_file(folder_ + "/data/masks/" + stem + "_" + lesion + ".png",
                    folder_ + "/maps/" + stem + "." + lesion + ".prob.png");
    }
  }
  Do({LSEG_EVAL, "--truth", folder_ + "/data/test.txt", "--prob", folder_ + "/maps", "--json",
      folder_ + "/scores.json"});
  const auto scores = nlohmann::json::parse(ReadFile(folder_ + "/scores.json"));
  EXPECT_DOUBLE_EQ(scores["protocols"]["idrid33"]["mean"]["aupr"], 1.0);
  EXPECT_DOUBLE_EQ(scores["protocols"]["idrid33"]["mean"]["dice"], 1.0);
}

TEST_F(Chain, PrepRepeatsAndExplains) {
  MakeData();
  const std::string manifest = ReadFile(folder_ + "/data/manifest.json");
  MakeData();
  EXPECT_EQ(ReadFile(folder_ + "/data/manifest.json"), manifest);
  EXPECT_EQ(Run({LSEG_PREP}).code, 2);
  EXPECT_EQ(Run({LSEG_PREP, "biuld"}).code, 2);
  EXPECT_EQ(Run({LSEG_PREP, "build", "--out", "x"}).code, 2);
  const ProgramResult missing =
      Run({LSEG_PREP, "build", "--root", folder_ + "/nowhere", "--out", folder_ + "/x"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, HasSubstr("nowhere"));
  EXPECT_EQ(std::count(missing.err.begin(), missing.err.end(), '\n'), 1);
  EXPECT_THAT(Run({LSEG_PREP, "--help"}).out, HasSubstr("lseg_prep build --from idrid"));
  // A damaged photograph is named, the others are done, and the exit code says so.
  const std::string photo =
      folder_ + "/made/A. Segmentation/1. Original Images/a. Training Set/IDRiD_01.jpg";
  WriteFile(photo, ReadFile(photo).substr(0, 400));
  const ProgramResult damaged =
      Run({LSEG_PREP, "build", "--from", "synth", "--root", folder_ + "/made", "--out",
           folder_ + "/data2", "--width", "96", "--height", "64"});
  EXPECT_EQ(damaged.code, 1);
  EXPECT_THAT(damaged.err, HasSubstr("IDRiD_01.jpg"));
  EXPECT_EQ(ReadList(folder_ + "/data2/train.txt").size(), 3u);
}

}  // namespace
}  // namespace lseg
