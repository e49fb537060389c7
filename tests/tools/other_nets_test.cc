// Nets that others have published, of this library's layers, through the programs: trained, used,
// scored.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/net.h"
#include "framework/weights.h"
#include "lseg/model.h"
#include "tests/error_of.h"
#include "tests/lseg/published_nets.h"
#include "tests/lseg/tiny_dataset.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr char kSolver[] = R"(
  type: "Adam" base_lr: 2e-3 momentum: 0.9 lr_policy: "cosine" max_iter: 200 display: 100 test_interval: 200
  random_seed: 3)";

class OtherNets : public testing::Test {
 protected:
  OtherNets() {
    WriteTinyDataset(folder_, "train", 3, 64, 48);
    folder_.Write("solver.prototxt", kSolver);
  }
  std::string Path(const std::string& name) const { return folder_.Path(name); }
  ProgramResult Run(std::vector<std::string> arguments) const {
    return RunProgram(arguments, Path("run"));
  }

  // Trains, segments what it was trained on and scores that: the AUPR of each class.
  json TrainUseAndScore(const std::string& net, const std::vector<std::string>& more,
                        const std::string& classes) {
    folder_.Write("net.prototxt", net);
    std::vector<std::string> train = {LSEG_TRAIN,
                                      "--net",
                                      Path("net.prototxt"),
                                      "--solver",
                                      Path("solver.prototxt"),
                                      "--data",
                                      Path("train.txt"),
                                      "--val",
                                      Path("train.txt"),
                                      "--val-every",
                                      "30",
                                      "--crop",
                                      "32x32",
                                      "--out",
                                      Path("run1"),
                                      "--threads",
                                      "2"};
    train.insert(train.end(), more.begin(), more.end());
    ProgramResult result = Run(train);
    EXPECT_EQ(result.code, 0) << result.err;
    result = Run({LSEG_INFER, "--weights", Path("run1/final.safetensors"), "--input",
                  Path("train.txt"), "--out", Path("maps"), "--prob", "npy", "--native"});
    EXPECT_EQ(result.code, 0) << result.err;
    result = Run({LSEG_EVAL, "--truth", Path("train.txt"), "--prob", Path("maps"), "--classes",
                  classes, "--protocol", "exact", "--json", Path("scores.json")});
    EXPECT_EQ(result.code, 0) << result.err;
    if (result.code != 0) return {};
    return json::parse(std::ifstream(Path("scores.json")))["protocols"]["exact"];
  }

  TempFolder folder_;
};

// The blots of the tiny set cover 2 % of it and are brighter than all else: a net that learned
// anything has several times that.
TEST_F(OtherNets, HedLearnsOneLesionThatAFlagNames) {
  const json scores = TrainUseAndScore(HedNet(8), {"--classes", "HE"}, "HE");
  EXPECT_GT(scores["HE"]["aupr"].get<double>(), 0.3) << scores;
  EXPECT_EQ(WeightsFile::Read(Path("run1/final.safetensors")).metadata.at("lseg.classes"), "HE");
}

TEST_F(OtherNets, RcfLearnsOneLesionThatTheDefinitionNames) {
  const json scores = TrainUseAndScore("class_name: 'MA'\n" + RcfNet(8), {}, "MA");
  EXPECT_GT(scores["MA"]["aupr"].get<double>(), 0.3) << scores;
}

// Four lesions and the background; the label is a plane a lesion, as the program gives it.
TEST_F(OtherNets, FcnLearnsFourLesionsAndABackground) {
  // By chance: 0.03.
  const json scores = TrainUseAndScore(FcnNet(16, 8, 5, 4), {}, "EX,HE,MA,SE");
  EXPECT_GT(scores["mean"]["aupr"].get<double>(), 0.12) << scores;
}

// Blots of 8x6 are below the grids of these: they have to run, and to answer for every lesion.
TEST_F(OtherNets, CoarserFcnsRun) {
  for (const int stride : {32, 16}) {
    std::filesystem::remove_all(Path("run1"));
    const json scores =
        TrainUseAndScore(FcnNet(32, stride, 5, 4), {"--iterations", "3"}, "EX,HE,MA,SE");
    for (const char* lesion : {"EX", "HE", "MA", "SE"}) {
      EXPECT_GT(scores[lesion]["aupr"].get<double>(), 0) << scores;
    }
  }
}

// An own number of lesions, of other names, in L-Seg's own way.
TEST_F(OtherNets, LSegWithTwoLesionsOfOtherNames) {
  PublishedNet net(8, 2);
  const std::vector<std::string> ends = net.Vgg16(1, false);
  net.Conv("score", ends[0], 2, 1, 0);
  net.Add(
      "layer { name: 'loss' type: 'MultiChannelBinSigmoidCrossEntropyLoss' bottom: 'score' bottom: "
      "'label' top: 'loss' loss_param { normalization: FULL } mcbsce_loss_param { key: 10 "
      "num_label: 2 } }");
  for (const char* split : {"0", "1", "2"}) {
    for (const auto& [from, to] : {std::pair("EX", "drusen"), std::pair("HE", "vessel")}) {
      const std::string mask = Path("masks/train" + std::string(split) + "_");
      ASSERT_TRUE(std::filesystem::exists(mask + from + ".png")) << mask;
      std::filesystem::rename(mask + from + ".png", mask + to + ".png");
    }
  }
  const json scores = TrainUseAndScore("class_name: 'drusen' class_name: 'vessel'\n" + net.Text(),
                                       {}, "drusen,vessel");
  EXPECT_GT(scores["vessel"]["aupr"].get<double>(), 0.3) << scores;
  EXPECT_TRUE(std::filesystem::exists(Path("maps/train0.overlay.png")));
}

// A .caffemodel says nothing: net, classes and mean come by flags, and give the same maps.
TEST_F(OtherNets, FlagsSayWhatACaffemodelDoesNot) {
  folder_.Write("net.prototxt", HedNet(8));
  ProgramResult result =
      Run({LSEG_TRAIN, "--net", Path("net.prototxt"), "--solver", Path("solver.prototxt"), "--data",
           Path("train.txt"), "--crop", "32x32", "--out", Path("run1"), "--classes", "HE",
           "--iterations", "2"});
  ASSERT_EQ(result.code, 0) << result.err;
  result = Run({LSEG_CONVERT, Path("run1/final.safetensors"), Path("hed.caffemodel")});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto infer = [&](const std::string& weights, const std::string& out,
                         std::vector<std::string> more) {
    const std::vector<std::string> start = {
        LSEG_INFER, "--weights", Path(weights), "--input", Path("images/train0.png"),
        "--out",    Path(out),   "--prob",      "npy",     "--native"};
    more.insert(more.begin(), start.begin(), start.end());
    return Run(more);
  };
  const auto bytes = [&](const std::string& name) {
    std::ostringstream text;
    text << std::ifstream(Path(name)).rdbuf();
    return text.str();
  };
  result = infer("run1/final.safetensors", "a", {});
  ASSERT_EQ(result.code, 0) << result.err;
  result = infer("hed.caffemodel", "b", {"--net", Path("net.prototxt"), "--classes", "HE"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(bytes("a/train0.prob.npy"), bytes("b/train0.prob.npy"));
  result = infer("hed.caffemodel", "c",
                 {"--net", Path("net.prototxt"), "--classes", "HE", "--mean", "0,0,0"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(bytes("a/train0.prob.npy"), bytes("c/train0.prob.npy"));
  EXPECT_EQ(infer("hed.caffemodel", "d", {"--mean", "1,2"}).code, 2);
  EXPECT_THAT(infer("hed.caffemodel", "d", {"--mean", "1,2,3,"}).err, HasSubstr("--mean '1,2,3,'"));
  EXPECT_THAT(infer("hed.caffemodel", "d", {"--net", Path("net.prototxt")}).err,
              HasSubstr("its classes are EX, HE, MA, SE"));
  EXPECT_THAT(infer("hed.caffemodel", "d", {"--classes", "HE"}).err,
              HasSubstr("'conv1_1.bias' are 8 in the file"))
      << "it is no built-in L-Seg";
}

}  // namespace
}  // namespace lseg
