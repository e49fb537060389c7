// lseg_train --dry-run: the net as a table and as a graph, and nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lseg/published_nets.h"
#include "tests/lseg/tiny_dataset.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using testing::HasSubstr;

class DryRun : public testing::Test {
 protected:
  DryRun() { WriteTinyDataset(folder_, "train", 2, 64, 48); }
  ProgramResult Train(std::vector<std::string> more) const {
    const std::vector<std::string> start = {LSEG_TRAIN, "--dry-run"};
    more.insert(more.begin(), start.begin(), start.end());
    return RunProgram(more, folder_.Path("run"));
  }
  // The words of the line of the output that begins with a layer's name.
  std::vector<std::string> Row(const ProgramResult& result, const std::string& name) const {
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream stream(line);
      std::vector<std::string> words;
      for (std::string word; stream >> word;) words.push_back(word);
      if (!words.empty() && words[0] == name) return words;
    }
    return {};
  }

  TempFolder folder_;
};

// Numbers of parameters and operations as they follow from the publication's table of layers.
TEST_F(DryRun, SaysLSegLayerByLayer) {
  const ProgramResult result =
      Train({"--data", folder_.Path("train.txt"), "--crop", "448x448", "--threads", "1"});
  ASSERT_EQ(result.code, 0) << result.err;
  // 3*3*3*64 + 64 numbers; 64 * 448^2 * 4 bytes; 2 * 27 * 64 * 448^2 operations.
  EXPECT_THAT(Row(result, "conv1_1"), testing::ElementsAre("conv1_1", "Convolution", "1x64x448x448",
                                                           "1", "792", "51.4", "0.69"));
  // In place: no memory.
  EXPECT_THAT(Row(result, "relu1_1"), testing::ElementsAre("relu1_1", "ReLU", "1x64x448x448"));
  // 4*4*32*32 + 4 numbers, each of the 28x28 pixels with each weight; (27 * 16 + 32)^2 pixels.
  EXPECT_THAT(Row(result, "upsample_166"),
              testing::ElementsAre("upsample_166", "Deconvolution", "1x4x464x464", "16", "388",
                                   "3.4", "0.03"));
  // The trunk's 14 714 688 parameters (VGG16's without the classifier), 4 * 1477 of the scores,
  // 21 760 + 16 of the upsampling, 4 * 6 of the fusion.
  const std::vector<std::string> total = Row(result, "total");
  ASSERT_EQ(total.size(), 6u) << result.out;
  EXPECT_EQ(total[1] + total[2] + total[3], std::to_string(14714688 + 4 * 1477 + 21776 + 24));
  // VGG16's convolutions take 15.347e9 multiply-adds at 224x224; the rest is below 1 %.
  EXPECT_NEAR(std::stod(total[5]), 2 * 15.347 * 4, 1.3);
  EXPECT_THAT(result.out, HasSubstr("memory of the training net: "));
}

TEST_F(DryRun, DrawsTheGraphAndMakesNoFolder) {
  folder_.Write("net.prototxt", "name: 'R\"CF'\nclass_name: 'EX'\n" + RcfNet(16));
  const std::string dot = folder_.Path("net.dot");
  const ProgramResult result =
      Train({"--data", folder_.Path("train.txt"), "--net", folder_.Path("net.prototxt"), "--crop",
             "32x32", "--dot", dot, "--val", folder_.Path("train.txt")});
  ASSERT_EQ(result.code, 0) << result.err;
  const std::string graph = ReadFile(dot);
  size_t edges = 0;
  for (size_t at = graph.find(" -> "); at != std::string::npos; at = graph.find(" -> ", at + 1)) {
    ++edges;
  }
  // 13 convolutions, 13 ReLUs, 4 pools; 13 downs, 5 sums of 13, 5 scores, 4 upsamplings, 5 crops of
  // two, a concat of five, a fusion, a loss of two.
  EXPECT_EQ(edges, 13 + 13 + 4 + 13 + 13 + 5 + 4 + 2 * 5 + 5 + 1 + 2);
  EXPECT_THAT(graph, HasSubstr("[label=\"dsn3\\nEltwise\\n1x1x8x8\"]"));
  EXPECT_FALSE(std::filesystem::exists(folder_.Path("run1")));
}

TEST_F(DryRun, FindsWhatATrainingWouldTripOver) {
  const std::string list = folder_.Path("train.txt");
  EXPECT_THAT(Train({"--data", list, "--dot", folder_.Path("no/where.dot")}).err,
              HasSubstr("no/where.dot"));
  EXPECT_THAT(Train({"--data", folder_.Path("none.txt")}).err, HasSubstr("none.txt"));
  EXPECT_THAT(Train({"--data", list, "--weights", list}).err, HasSubstr("train.txt"));
  EXPECT_EQ(Train({"--data", list, "--resume"}).code, 2);
  const ProgramResult result =
      RunProgram({LSEG_TRAIN, "--data", list, "--out", folder_.Path("a"), "--dot", "x.dot"},
                 folder_.Path("run"));
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("--dot needs --dry-run"));
}

}  // namespace
}  // namespace lseg
