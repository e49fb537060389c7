// lseg_train as a user runs it, on a net and images of toy size: that it learns, repeats byte for
// byte, and goes on after an interruption as if there had been none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <map>

#include "framework/weights.h"
#include "lseg/model.h"
#include "tests/lseg/tiny_dataset.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr char kFastSolver[] =
    "type: \"Adam\" momentum: 0.9 base_lr: 0.01 lr_policy: \"cosine\" max_iter: 100 "
    "warmup_iter: 10 display: 50 random_seed: 3";

class LsegTrain : public testing::Test {
 protected:
  LsegTrain() {
    WriteTinyDataset(folder_, "train", 4, 64, 48);
    WriteTinyDataset(folder_, "val", 2, 64, 48);
    folder_.Write("net.prototxt", kTinyTrainNet);
    folder_.Write("solver.prototxt", kFastSolver);
  }

  std::vector<std::string> Arguments(const std::string& out,
                                     const std::vector<std::string>& more) const {
    std::vector<std::string> all = {LSEG_TRAIN, "--out", folder_.Path(out)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  // Trains the toy net.
  std::vector<std::string> Toy(const std::string& out, std::vector<std::string> more = {}) const {
    const std::vector<std::string> toy = {"--net",     folder_.Path("net.prototxt"),
                                          "--solver",  folder_.Path("solver.prototxt"),
                                          "--data",    folder_.Path("train.txt"),
                                          "--crop",    "40x32",
                                          "--threads", "2"};
    more.insert(more.begin(), toy.begin(), toy.end());
    return Arguments(out, more);
  }
  ProgramResult Run(const std::vector<std::string>& arguments) const {
    return RunProgram(arguments, folder_.Path("run"));
  }
  std::string Bytes(const std::string& name) const { return ReadFile(folder_.Path(name)); }
  std::vector<std::string> Lines(const std::string& name) const {
    std::istringstream stream(Bytes(name));
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }

  // Starts a training, sends it a signal once it has done some steps, returns its exit code.
  int Interrupt(const std::vector<std::string>& arguments, const std::string& out, int number,
                size_t steps) const {
    const std::string log = folder_.Path(out + "/log.csv");
    return InterruptProgram(arguments, folder_.Path("run"), number,
                            [&] {
                              return std::filesystem::exists(log) &&
                                     Lines(out + "/log.csv").size() > steps;
                            })
        .code;
  }

  TempFolder folder_;
};

TEST_F(LsegTrain, LearnsAndWritesItsFolder) {
  const ProgramResult result =
      Run(Toy("a", {"--val", folder_.Path("val.txt"), "--val-every", "60"}));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("iteration 100/100"), HasSubstr("validation at 60"),
                                HasSubstr("done: ")));
  const std::vector<std::string> log = Lines("a/log.csv");
  ASSERT_EQ(log.size(), 101u);
  EXPECT_EQ(log[0], "iteration,loss,lr,images_per_second,loss_top");
  EXPECT_EQ(log[1].substr(0, 2), "1,");
  // The rate is the third column: the first of ten steps of warm-up to 0.01, rounded to float.
  const size_t rate = log[1].find(',', 2) + 1;
  EXPECT_NEAR(std::stod(log[1].substr(rate)), 0.001, 1e-9);
  EXPECT_EQ(log[100].substr(0, 4), "100,");

  const std::vector<std::string> val = Lines("a/val.csv");
  ASSERT_EQ(val.size(), 3u);
  EXPECT_EQ(val[0], "iteration,EX,HE,MA,SE,mean");
  EXPECT_EQ(val[1].substr(0, 3), "60,");
  EXPECT_EQ(val[2].substr(0, 4), "100,");
  // The lesions are 3 per cent of the pixels and differ from all else by colour.
  EXPECT_GT(std::stod(val[2].substr(val[2].rfind(',') + 1)), 0.5);

  const WeightsFile weights = WeightsFile::Read(folder_.Path("a/final.safetensors"));
  const ModelInfo model = FromMetadata(weights.metadata, "final");
  EXPECT_EQ(model.net_text, kTinyTrainNet);
  EXPECT_EQ(model.width, 64);
  EXPECT_EQ(model.height, 48);
  EXPECT_EQ(model.mean_bgr, ModelInfo().mean_bgr);
  EXPECT_NE(weights.Find("score.bias"), nullptr);
  EXPECT_THAT(Bytes("a/curves.svg"), HasSubstr("AUPR"));
  EXPECT_TRUE(std::filesystem::exists(folder_.Path("a/best.safetensors")));
}

TEST_F(LsegTrain, RepeatsByteForByteAndTheSeedMatters) {
  for (const char* out : {"a", "b"}) {
    ASSERT_EQ(Run(Toy(out, {"--val", folder_.Path("val.txt"), "--iterations", "20"})).code, 0);
  }
  ASSERT_EQ(Run(Toy("c", {"--seed", "4", "--iterations", "20"})).code, 0);
  EXPECT_EQ(Bytes("a/final.safetensors"), Bytes("b/final.safetensors"));
  EXPECT_EQ(Bytes("a/best.safetensors"), Bytes("b/best.safetensors"));
  EXPECT_NE(Bytes("a/final.safetensors"), Bytes("c/final.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(folder_.Path("c/val.csv")));
}

struct Ending {
  int signal, code;
};

TEST_F(LsegTrain, ResumesAfterASignalAsIfThereHadBeenNone) {
  const std::vector<std::string> long_run = {"--iterations",          "150",         "--val",
                                             folder_.Path("val.txt"), "--val-every", "60",
                                             "--checkpoint-every",    "20"};
  ASSERT_EQ(Run(Toy("whole", long_run)).code, 0);
  // A killed process leaves the checkpoint of some steps ago and rows of log.csv beyond it.
  for (const Ending& ending : {Ending{SIGINT, 130}, Ending{SIGTERM, 143}, Ending{SIGKILL, 137}}) {
    const std::string out = "stopped" + std::to_string(ending.signal);
    ASSERT_EQ(Interrupt(Toy(out, long_run), out, ending.signal, 25), ending.code);
    const std::vector<std::string> before = Lines(out + "/log.csv");
    EXPECT_LT(before.size(), 151u);
    const ProgramResult resumed = Run(Arguments(out, {"--resume"}));
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_EQ(Bytes(out + "/final.safetensors"), Bytes("whole/final.safetensors"));
    EXPECT_EQ(Bytes(out + "/best.safetensors"), Bytes("whole/best.safetensors"));
    EXPECT_EQ(Bytes(out + "/val.csv"), Bytes("whole/val.csv"));
    const std::vector<std::string> rows = Lines(out + "/log.csv");
    ASSERT_EQ(rows.size(), 151u);
    for (size_t i = 1; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i].substr(0, rows[i].find(',')), std::to_string(i));
    }
  }
}

TEST_F(LsegTrain, ResumesWithWhatItWasStartedWith) {
  ASSERT_EQ(Run(Toy("a", {"--iterations", "5"})).code, 0);
  const std::string final_weights = Bytes("a/final.safetensors");
  // A finished training has nothing left to do.
  EXPECT_EQ(Run(Arguments("a", {"--resume", "--iterations", "5"})).code, 0);
  EXPECT_EQ(Bytes("a/final.safetensors"), final_weights);

  EXPECT_THAT(Run(Arguments("a", {"--resume", "--iterations", "6"})).err,
              AllOf(HasSubstr("--iterations 6"), HasSubstr("started with 5")));
  EXPECT_THAT(Run(Arguments("a", {"--resume", "--crop", "32x32"})).err, HasSubstr("40x32"));
  EXPECT_THAT(Run(Arguments("a", {"--resume", "--net", folder_.Path("solver.prototxt")})).err,
              HasSubstr("not the definition"));
  folder_.Write("train.txt", "images/train0.png labels/train0.png\n");
  EXPECT_THAT(Run(Arguments("a", {"--resume"})).err, HasSubstr("has changed"));
  EXPECT_THAT(Run(Arguments("nothing", {"--resume"})).err, HasSubstr("checkpoint.safetensors"));
}

// As from a GPU of another kind.
TEST_F(LsegTrain, ResumesWithoutTheEnginesThatItWasStartedWith) {
  ASSERT_EQ(Run(Toy("a", {"--iterations", "5"})).code, 0);
  const std::string path = folder_.Path("a/checkpoint.safetensors");
  const std::string final_weights = Bytes("a/final.safetensors");
  WeightsFile checkpoint = WeightsFile::Read(path);
  std::string& engines = checkpoint.metadata.at("lseg.engines");
  const std::string started = engines, before = "\"conv forward\":\"";
  const size_t name = engines.find(before) + before.size();
  ASSERT_LT(name, engines.size()) << engines;
  engines.replace(name, engines.find('"', name) - name, "implicit_gemm_256x64");
  checkpoint.Write(path);
  const ProgramResult resumed = Run(Arguments("a", {"--resume"}));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.out, AllOf(HasSubstr("(conv forward: implicit_gemm_256x64)"),
                                 HasSubstr("will differ in their last bits")));
  EXPECT_EQ(Bytes("a/final.safetensors"), final_weights);
  EXPECT_EQ(WeightsFile::Read(path).metadata.at("lseg.engines"), started);
}

TEST_F(LsegTrain, ErrorsAreOneLineThatSaysWhat) {
  const auto fails = [&](const std::vector<std::string>& arguments, int code,
                         const std::string& what) {
    const ProgramResult result = Run(arguments);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_THAT(result.err, AllOf(testing::StartsWith("lseg_train: "), HasSubstr(what)));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  };
  fails({LSEG_TRAIN}, 2, "--out");
  fails(Arguments("x", {"--device", "abacus"}), 2, "abacus");
  fails(Arguments("x", {"--iterations", "0"}), 2, "--iterations");
  fails(Arguments("x", {}), 2, "--data is missing");
  fails(Arguments("x", {"--data", folder_.Path("none.txt")}), 1, "none.txt");
  fails(Toy("x", {"--val-every", "5"}), 2, "--val");
  folder_.Write("weights", "no weights");
  fails(Toy("x", {"--weights", folder_.Path("weights")}), 1, "weights");
  folder_.Write("images/train2.png", "no photograph");
  fails(Toy("y", {"--iterations", "9"}), 1, "train2.png");
  folder_.Write("z/checkpoint.safetensors", "");
  fails(Toy("z"), 1, "--resume");
}

TEST_F(LsegTrain, AValueThatIsNotFiniteStopsWithLayerAndIteration) {
  folder_.Write("solver.prototxt", "base_lr: 1e30 lr_policy: \"fixed\" max_iter: 9");
  const ProgramResult result = Run(Toy("a", {"--checkpoint-every", "1"}));
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, testing::ContainsRegex("iteration [0-9]+: layer '(conv|score|loss)'"));
  const size_t failed = Lines("a/log.csv").size();  // the first without a row
  EXPECT_THAT(result.err, HasSubstr("iteration " + std::to_string(failed) + ": "));
}

// The same masks beside the class map or named by the line: the same training to the byte, so that
// overlap is kept alike. Then lesions that nobody has looked for.
TEST_F(LsegTrain, ListsMayNameMasks) {
  const auto list = [&](const std::string& stem, int count, const std::vector<bool>& annotated) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      const std::string name = stem + std::to_string(i);
      text += "images/" + name + ".png";
      for (int c = 0; c < 4; ++c) {
        text += annotated[c] ? "\tmasks/" + name + "_" + TinyClasses()[c] + ".png" : "\t-";
      }
      text += "\n";
    }
    return folder_.Write(stem + "_masks.txt", text);
  };
  const std::vector<std::string> more = {"--iterations", "20", "--val-every", "20"};
  const auto with = [&](const std::string& train, const std::string& val) {
    std::vector<std::string> all = {"--net",     folder_.Path("net.prototxt"),
                                    "--solver",  folder_.Path("solver.prototxt"),
                                    "--data",    train,
                                    "--val",     val,
                                    "--crop",    "40x32",
                                    "--threads", "2"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  ASSERT_EQ(Run(Arguments("a", with(folder_.Path("train.txt"), folder_.Path("val.txt")))).code, 0);
  const std::vector<bool> all(4, true);
  const ProgramResult named = Run(Arguments("b", with(list("train", 4, all), list("val", 2, all))));
  ASSERT_EQ(named.code, 0) << named.err;
  EXPECT_EQ(Bytes("a/final.safetensors"), Bytes("b/final.safetensors"));
  EXPECT_EQ(Bytes("a/val.csv"), Bytes("b/val.csv"));

  // MA is annotated nowhere: its scores' weights stay what they were filled with.
  const std::vector<bool> three = {true, true, false, true};
  const std::string without_ma = list("train", 4, three);
  const ProgramResult left_out = Run(Arguments("c", with(without_ma, list("val", 2, three))));
  ASSERT_EQ(left_out.code, 0) << left_out.err;
  EXPECT_NE(Bytes("c/final.safetensors"), Bytes("b/final.safetensors"));
  const auto bias = [&](const std::string& run) {
    return WeightsFile::Read(folder_.Path(run + "/final.safetensors")).Find("score.bias")->data;
  };
  EXPECT_EQ(bias("c")[2], 0);
  for (int c : {0, 1, 3}) EXPECT_NE(bias("c")[c], 0) << c;
  EXPECT_NE(bias("b")[2], 0);

  // Another loss would take the mark for a value.
  std::string net = kTinyTrainNet;
  const std::string loss = "MultiChannelBinSigmoidCrossEntropyLoss";
  net.replace(net.find(loss), loss.size(), "SigmoidCrossEntropyLoss");
  net.replace(net.find("mcbsce_loss_param { num_label: 4 }"), 34, "");
  folder_.Write("net.prototxt", net);
  const ProgramResult refused = Run(Arguments("d", with(without_ma, folder_.Path("val.txt"))));
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("not annotated for a lesion"));
  EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
}

}  // namespace
}  // namespace lseg
