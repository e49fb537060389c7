// Files that tests of lseg_eval score: two images of 4x3 pixels, and the program run on them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/file.h"
#include "lseg/image.h"
#include "lseg/npy.h"
#include "tests/tools/run_program.h"

namespace lseg {

namespace fs = std::filesystem;
using nlohmann::json;

inline const std::vector<std::string> kLesions = {"EX", "HE", "MA", "SE"};

// EX of two images of 4x3 pixels: the arrays of tests/lseg/metrics_test.cc, where scikit-learn's
// values for all 24 pixels come from.
inline const std::vector<float> kProb = {0.81f, 0.81f, 0.52f, 0.29f, 0.05f, 0.38f, 0.41f, 0.0f,
                                         0.05f, 1.0f,  0.65f, 0.23f, 0.43f, 0.97f, 0.9f,  0.84f,
                                         0.39f, 0.5f,  0.68f, 0.0f,  0.56f, 0.27f, 0.88f, 0.06f};
inline const std::vector<int> kTruth = {0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0,
                                        0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0};
inline constexpr double kIdrid33 = 0.7450036075036075, kMmseg11 = 0.6623376623376623,
                        kExact = 0.7558922558922558;
inline constexpr double kTolerance = 1e-12;  // sums of some dozen terms in double

class LsegEval : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) / ("lseg_eval_" + std::to_string(getpid()));
    for (const char* folder : {"set/images", "set/labels", "set/masks", "maps"}) {
      fs::create_directories(root_ / folder);
    }
    WriteFile(Path("set/test.txt"), "images/a.png labels/a.png\nimages/b.png labels/b.png\n");
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string Path(const std::string& name) const { return (root_ / name).string(); }

  ProgramResult Eval(std::vector<std::string> flags, bool with_truth = true) const {
    if (with_truth) flags.insert(flags.begin(), {"--truth", Path("set/test.txt")});
    flags.insert(flags.begin(), LSEG_EVAL);
    return RunProgram(flags, Path("log"));
  }
  json Scores(std::vector<std::string> flags) const {
    flags.insert(flags.end(), {"--json", Path("scores.json")});
    const ProgramResult result = Eval(flags);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return json::parse(ReadFile(Path("scores.json")));
  }

  // One lesion's pixels of image 0 or 1; the other lesions are empty, but SE is where EX is not.
  static Image Mask(int image, const std::string& lesion) {
    Image mask(4, 3, 1);
    for (int i = 0; i < 12; ++i) {
      const bool ex = kTruth[image * 12 + i] != 0;
      mask.pixels[i] = (lesion == "EX" && ex) || (lesion == "SE" && !ex) ? 255 : 0;
    }
    return mask;
  }
  static std::vector<float> Maps(int image) {  // EX as above, HE 0.25, MA 0, SE 1 - EX
    std::vector<float> maps(4 * 12, 0.0f);
    for (int i = 0; i < 12; ++i) {
      maps[i] = kProb[image * 12 + i];
      maps[12 + i] = 0.25f;
      maps[36 + i] = 1 - maps[i];
    }
    return maps;
  }
  void WriteMasks() const {
    for (int image : {0, 1}) {
      for (const std::string& lesion : kLesions) {
        WritePng(Path("set/masks/" + Name(image) + "_" + lesion + ".png"), Mask(image, lesion));
      }
    }
  }
  void WriteLabels(const std::string& folder, const std::string& end) const {
    for (int image : {0, 1}) {
      Image classes(4, 3, 1);
      for (int i = 0; i < 12; ++i) classes.pixels[i] = kTruth[image * 12 + i] ? 1 : 4;
      WriteIndexedPng(Path(folder + "/" + Name(image) + end), classes);
    }
  }
  void WriteNpyMaps() const {
    for (int image : {0, 1}) {
      WriteNpy(Path("maps/" + Name(image) + ".prob.npy"), {4, 3, 4}, Maps(image).data());
    }
  }
  static std::string Name(int image) { return image == 0 ? "a" : "b"; }

  fs::path root_;
};

}  // namespace lseg
