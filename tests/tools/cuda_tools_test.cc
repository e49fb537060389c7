// lseg_train and lseg_infer as a user runs them with --device cuda, on images of toy size, beside
// the same with --device cpu. Under ctest the GPU is softgpu: what it finds, it says on stderr, and
// the programs then fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "framework/weights.h"
#include "lseg/npy.h"
#include "tests/lseg/tiny_dataset.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using testing::HasSubstr;

// Plain gradient descent: what the weights have become depends on the gradients without the
// division by their own size that makes Adam's first steps follow the sign of a rounding error.
constexpr char kSolver[] =
    "type: \"SGD\" base_lr: 0.1 momentum: 0.9 lr_policy: \"fixed\" random_seed: 3 max_iter: 2 "
    "clip_gradients: 1";

class CudaTools : public testing::Test {
 protected:
  CudaTools() {
    WriteTinyDataset(folder_, "train", 2, 44, 37);
    WriteTinyDataset(folder_, "val", 1, 44, 37);
    folder_.Write("solver.prototxt", kSolver);
    setenv("LSEG_ENGINE_CACHE", folder_.Path("engines.json").c_str(), 1);
  }
  ~CudaTools() override { unsetenv("LSEG_ENGINE_CACHE"); }

  ProgramResult Run(const std::vector<std::string>& arguments) const {
    return RunProgram(arguments, folder_.Path("program"));
  }
  // Runs what must succeed without a word on stderr.
  std::string Do(const std::vector<std::string>& arguments) const {
    const ProgramResult result = Run(arguments);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(WithoutDoubts(result.err), "");
    return result.out;
  }
  std::vector<std::string> TrainArguments(const std::string& out,
                                          const std::vector<std::string>& more) const {
    std::vector<std::string> all = {LSEG_TRAIN,
                                    "--out",
                                    folder_.Path(out),
                                    "--data",
                                    folder_.Path("train.txt"),
                                    "--net",
                                    std::string(LSEG_SOURCE_DIR) + "/lseg/demo_net.prototxt",
                                    "--crop",
                                    "33x24",
                                    "--solver",
                                    folder_.Path("solver.prototxt")};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string Train(const std::string& out, const std::vector<std::string>& more) const {
    return Do(TrainArguments(out, more));
  }
  std::vector<std::string> InferArguments(const std::string& out,
                                          const std::vector<std::string>& more) const {
    std::vector<std::string> all = {LSEG_INFER,
                                    "--weights",
                                    folder_.Path("cpu/final.safetensors"),
                                    "--input",
                                    folder_.Path("val.txt"),
                                    "--out",
                                    folder_.Path(out),
                                    "--prob",
                                    "npy"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string Infer(const std::string& out, const std::vector<std::string>& more) const {
    return Do(InferArguments(out, more));
  }
  // Rows of log.csv, its columns but for the speed.
  std::vector<std::vector<double>> Losses(const std::string& out) const {
    std::vector<std::vector<double>> rows = Rows(out + "/log.csv");
    for (std::vector<double>& row : rows) row.erase(row.begin() + 3);
    return rows;
  }
  std::vector<std::vector<double>> Rows(const std::string& csv) const {
    std::istringstream lines(ReadFile(folder_.Path(csv)));
    std::vector<std::vector<double>> rows;
    std::string line, cell;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
      std::vector<double>& row = rows.emplace_back();
      std::istringstream cells(line);
      while (std::getline(cells, cell, ',')) row.push_back(std::stod(cell));
    }
    return rows;
  }
  WeightsFile Final(const std::string& out) const {
    return WeightsFile::Read(folder_.Path(out + "/final.safetensors"));
  }
  std::vector<float> Probabilities(const std::string& out) const {
    return ReadNpy(folder_.Path(out + "/val0.prob.npy")).values;
  }

  TempFolder folder_;
};

// Behind `text` in what a program said.
double NumberBehind(const std::string& said, const std::string& text) {
  const size_t at = said.find(text);
  EXPECT_NE(at, std::string::npos) << "no '" << text << "' in " << said;
  return at == std::string::npos ? 0 : std::atof(said.c_str() + at + text.size());
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - b[i], 2);
  return std::sqrt(sum);
}

// Both devices compute in f32 and sum in their own orders: 6e-8 an operation, a hundred-fold of it
// after the sums of some twenty layers. Where rounding decides a ReLU or a maximum otherwise, one
// of some thousand gradients of a map goes elsewhere: 1e-3 of what the weights have moved by.
TEST_F(CudaTools, TwoStepsOfTrainingGiveTheCpusLossesWeightsAndScores) {
  folder_.Write("solver.prototxt",
                "type: \"SGD\" base_lr: 0 lr_policy: \"fixed\" random_seed: 3 max_iter: 1");
  Train("still", {});
  folder_.Write("solver.prototxt", kSolver);
  const auto train = [&](const std::string& device) {
    return Train(device, {"--device", device, "--tune", "off", "--val", folder_.Path("val.txt"),
                          "--val-every", "1"});
  };
  train("cpu");
  const std::string said = train("cuda");
  EXPECT_THAT(said, HasSubstr("compute capability"));

  const auto want = Losses("cpu"), got = Losses("cuda");
  ASSERT_EQ(want.size(), 2u);
  ASSERT_EQ(got.size(), 2u);
  for (size_t row = 0; row < 2; ++row) {
    ASSERT_EQ(want[row].size(), 9u);  // iteration, loss, rate, six losses
    for (size_t i = 0; i < 9; ++i) {
      EXPECT_GT(want[row][i], 0) << row << " " << i;  // no crop without lesions
      EXPECT_NEAR(got[row][i], want[row][i], 1e-5 * want[row][i]) << row << " " << i;
    }
  }

  // Probabilities are rounded to 8 bits, which may move a pixel of a lesion, one of some hundred,
  // over a threshold.
  const auto scores = Rows("cpu/val.csv"), got_scores = Rows("cuda/val.csv");
  ASSERT_EQ(scores.size(), 2u);
  ASSERT_EQ(got_scores.size(), 2u);
  for (size_t row = 0; row < 2; ++row) {
    ASSERT_EQ(scores[row].size(), 6u);  // iteration, four lesions, mean
    for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(got_scores[row][i], scores[row][i], 1e-2);
  }

  const WeightsFile still = Final("still"), cpu = Final("cpu"), cuda = Final("cuda");
  EXPECT_EQ(cpu.metadata, cuda.metadata);
  int learned = 0;
  for (const WeightTensor& tensor : cpu.tensors()) {
    const double moved = Distance(tensor.data, still.Find(tensor.key)->data);
    ASSERT_NE(cuda.Find(tensor.key), nullptr) << tensor.key;
    EXPECT_LE(Distance(tensor.data, cuda.Find(tensor.key)->data), 1e-3 * moved) << tensor.key;
    learned += moved > 0;
  }
  EXPECT_EQ(learned, 44);  // weight and bias of 13 + 5 + 4 layers
}

TEST_F(CudaTools, InferenceGivesTheCpusProbabilities) {
  Train("cpu", {"--device", "cpu"});
  Infer("cpu_maps", {"--device", "cpu"});
  // As a user runs it first: the engines are timed, and the choice is kept.
  Infer("tuned", {"--device", "cuda"});
  EXPECT_THAT(ReadFile(folder_.Path("engines.json")), HasSubstr("forward 1x"));
  Infer("bf16", {"--device", "cuda", "--precision", "bf16", "--tune", "off"});

  const std::vector<float> want = Probabilities("cpu_maps");
  ASSERT_EQ(want.size(), 4u * 44 * 37);
  // Logits differ by 1e-5 of the largest, which is below 10 here; a probability by a quarter. bf16
  // rounds to 2^-9 at each of the layers: 2e-2 of logits of size one.
  for (const auto& [out, tolerance] : {std::pair{"tuned", 2.5e-5}, {"bf16", 2e-2}}) {
    const std::vector<float> got = Probabilities(out);
    ASSERT_EQ(got.size(), want.size());
    double largest = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      largest = std::max(largest, std::abs(double{got[i]} - want[i]));
    }
    EXPECT_LT(largest, tolerance) << out;
  }
}

// The first scale, 65536, does not overflow this net's gradients. Activations are rounded to 2^-11
// at each of some ten layers: 5e-3 if all erred the same way.
TEST_F(CudaTools, TrainingInF16ScalesItsLosses) {
  Train("cpu", {"--device", "cpu"});
  Train("f16", {"--device", "cuda", "--precision", "f16", "--tune", "off"});
  const auto want = Losses("cpu"), got = Losses("f16");
  ASSERT_EQ(got.size(), 2u);
  for (size_t row = 0; row < 2; ++row) {
    for (size_t i = 0; i < 9; ++i) EXPECT_NEAR(got[row][i], want[row][i], 5e-3 * want[row][i]);
  }
  const WeightsFile checkpoint = WeightsFile::Read(folder_.Path("f16/checkpoint.safetensors"));
  EXPECT_EQ(checkpoint.metadata.at("solver_loss_scale"), "65536");
  EXPECT_EQ(checkpoint.metadata.at("solver_good_steps"), "2");
}

// With the engines that were timed when it started, in f16, and with the images back on the GPU.
TEST_F(CudaTools, AResumedTrainingRepeatsTheUnbrokenOne) {
  const std::vector<std::string> flags = {"--device",           "cuda", "--precision",  "f16",
                                          "--checkpoint-every", "1",    "--iterations", "5"};
  Train("whole", flags);
  for (const int signal : {SIGTERM, SIGKILL}) {
    const std::string out = "stopped" + std::to_string(signal);
    const ProgramResult stopped = InterruptProgram(
        TrainArguments(out, flags), folder_.Path("program"), signal,
        [&] { return std::filesystem::exists(folder_.Path(out + "/checkpoint.safetensors")); });
    EXPECT_EQ(stopped.code, 128 + signal) << stopped.err;
    EXPECT_LT(Losses(out).size(), 5u);
    // The checkpoint knows the engines: nothing is timed again, so no cache is written.
    setenv("LSEG_ENGINE_CACHE", folder_.Path("other.json").c_str(), 1);
    Do({LSEG_TRAIN, "--out", folder_.Path(out), "--resume"});
    setenv("LSEG_ENGINE_CACHE", folder_.Path("engines.json").c_str(), 1);
    EXPECT_FALSE(std::filesystem::exists(folder_.Path("other.json")));
    EXPECT_EQ(ReadFile(folder_.Path(out + "/final.safetensors")),
              ReadFile(folder_.Path("whole/final.safetensors")));
    EXPECT_EQ(Losses(out), Losses("whole"));
  }
}

// Each program on a GPU of so many bytes: one line that says what is needed, what is free, and what
// helps.
TEST_F(CudaTools, MemoryThatDoesNotSufficeIsAnErrorThatSaysHowMuch) {
  Train("cpu", {"--device", "cpu"});
  const auto train = TrainArguments("run", {"--device", "cuda", "--tune", "off"});
  const auto infer = InferArguments("maps", {"--device", "cuda", "--tune", "off"});
  const auto fails = [&](const char* bytes, const std::vector<std::string>& arguments,
                         const std::string& error, const std::string& help) {
    setenv("SOFTGPU_MEMORY", bytes, 1);
    const ProgramResult result = Run(arguments);
    unsetenv("SOFTGPU_MEMORY");
    EXPECT_EQ(result.code, 1) << bytes;
    EXPECT_THAT(result.err, HasSubstr(": out of memory on the GPU: " + error)) << bytes;
    EXPECT_THAT(result.err, HasSubstr("; what helps: a smaller " + help)) << bytes;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    return result.out;
  };
  const std::string said = fails("4000000", train, "the net needs ", "--crop");
  constexpr char kSaid[] = "memory of the training net: ";
  const double megabytes = NumberBehind(said, kSaid);
  EXPECT_THAT(fails("4500000", infer, "the net needs ", "--width"),
              HasSubstr("memory of the net at 44x37: "));
  auto native = infer;
  native.push_back("--native");
  EXPECT_THAT(fails("4500000", native, "the net needs ", "--width"),
              HasSubstr("0 of 1 photographs"));
  // What training leaves of 2 MB more, 1 of which every program takes, does not suffice for
  // validation, which wants 3 beside the parameters: said before the first step.
  const auto validated = TrainArguments(
      "run", {"--device", "cuda", "--tune", "off", "--val", folder_.Path("val.txt")});
  const std::string bytes = std::to_string(static_cast<int64_t>((megabytes + 2) * 1e6));
  EXPECT_THAT(fails(bytes.c_str(), validated, "the net needs ", "--crop"),
              testing::AllOf(HasSubstr(kSaid), HasSubstr("memory of validation's net: ")));
  EXPECT_FALSE(std::filesystem::exists(folder_.Path("run/log.csv")));
  // Not even the parameters.
  fails("1200000", train, "", "--crop");
  fails("1200000", infer, "", "--width");
}

// Three photographs of 1 MB, which stay on the GPU, beside validation's 3 MB beside the parameters:
// there is memory for either, not for both.
TEST_F(CudaTools, PhotographsMakePlaceForValidation) {
  WriteTinyDataset(folder_, "train", 3, 640, 400);
  const std::vector<std::string> flags = {"--device",     "cuda", "--tune", "off",
                                          "--iterations", "6",    "--val",  folder_.Path("val.txt"),
                                          "--val-every",  "3"};
  const std::string said = Train("ample", flags);
  const double megabytes = NumberBehind(said, "memory of the training net: ") + 1 + 3 + 1.5;
  constexpr char kMakePlace[] = "they make place";
  EXPECT_THAT(said, testing::Not(HasSubstr(kMakePlace)));
  setenv("SOFTGPU_MEMORY", std::to_string(static_cast<int64_t>(megabytes * 1e6)).c_str(), 1);
  EXPECT_THAT(Train("scarce", flags), HasSubstr(kMakePlace));
  unsetenv("SOFTGPU_MEMORY");
  EXPECT_EQ(Losses("scarce"), Losses("ample"));
  EXPECT_EQ(Rows("scarce/val.csv"), Rows("ample/val.csv"));
}

TEST_F(CudaTools, AnEngineThatCannotBeHadSaysWhatIsMissing) {
  Train("cpu", {"--device", "cpu"});
  for (const char* engine : {"cudnn", "cublas"}) {
    const std::vector<std::string> flags = {"--device", "cuda", "--engine", engine};
    for (const auto& arguments : {TrainArguments("run", flags), InferArguments("maps", flags)}) {
      const ProgramResult result = Run(arguments);
      if (result.code == 0) GTEST_SKIP() << "a GPU with the libraries";
      EXPECT_EQ(result.code, 1);
      EXPECT_THAT(result.err, HasSubstr("engines cudnn and cublas: "));
      EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    }
  }
}

}  // namespace
}  // namespace lseg
