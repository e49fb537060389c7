// lseg_train with a definition that brings its own data: what it and its solver say is done, and no
// more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/solver.h"
#include "framework/solver_definition.h"
#include "framework/weights.h"
#include "lseg/layers.h"
#include "lseg/model.h"
#include "tests/lseg/tiny_dataset.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kNet[] = R"(
  layer { name: "data" type: "ImageLabelmapData" top: "data" top: "label"
          include { phase: TRAIN }
          transform_param { mean_value: 16 mean_value: 56 mean_value: 116 scale: 0.5 mirror: true }
          image_data_param { source: "train.txt" batch_size: 2 shuffle: true } }
  layer { name: "data" type: "ImageLabelmapData" top: "data" top: "label"
          include { phase: TEST }
          transform_param { mean_value: 16 mean_value: 56 mean_value: 116 scale: 0.5 }
          image_data_param { source: "val.txt" } }
  layer { name: "score" type: "Convolution" bottom: "data" top: "score"
          convolution_param { num_output: 4 kernel_size: 3 pad: 1
                              weight_filler { type: "gaussian" std: 0.01 } } }
  layer { type: "MultiChannelBinSigmoidCrossEntropyLoss" bottom: "score" bottom: "label"
          top: "bin_loss" mcbsce_loss_param { num_label: 4 } })";

constexpr char kSolver[] = R"(
  net: "net.prototxt" test_iter: 2 test_interval: 5 base_lr: 1e-5 momentum: 0.9
  lr_policy: "fixed" max_iter: 10 iter_size: 2 snapshot: 5 snapshot_prefix: "models/toy"
  random_seed: 11 solver_mode: GPU)";

class LsegTrainDefinitions : public testing::Test {
 protected:
  LsegTrainDefinitions() {
    WriteTinyDataset(folder_, "train", 3, 40, 30);
    WriteTinyDataset(folder_, "val", 2, 40, 30);
    folder_.Write("net.prototxt", kNet);
    folder_.Write("solver.prototxt", kSolver);
  }
  ProgramResult Train(const std::string& out, std::vector<std::string> more) const {
    const std::vector<std::string> start = {LSEG_TRAIN, "--threads", "2", "--out",
                                            folder_.Path(out)};
    more.insert(more.begin(), start.begin(), start.end());
    return RunProgram(more, folder_.Path("run"));
  }

  TempFolder folder_;
};

TEST_F(LsegTrainDefinitions, DoesWhatTheDefinitionSaysAndNoMore) {
  const ProgramResult result = Train("a", {"--solver", folder_.Path("solver.prototxt")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("solver_mode is ignored"), HasSubstr("validation at 5"),
                                HasSubstr("validation at 10")));

  // The same by hand: the framework's net and solver on the same definition.
  Context context(Device::kCpu, 2);
  const SolverDefinition solver = SolverDefinition::FromFile(folder_.Path("solver.prototxt"));
  LayerRegistry registry = BuiltinLayers();
  AddLayers(registry);
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver.solver();
  options.seed = 11;
  auto parameters = std::make_shared<ParameterSet>();
  Net net(*solver.TrainNet(), registry, context, parameters, options);
  Solver by_hand(net, solver.solver());
  for (int i = 0; i < 10; ++i) {
    by_hand.Run();
    if (i != 4) continue;
    const WeightsFile snapshot = WeightsFile::Read(folder_.Path("a/toy_iter_5.safetensors"));
    const Tensor& weight = *parameters->Find("score.weight");
    EXPECT_EQ(snapshot.Find("score.weight")->data,
              std::vector<float>(weight.f32(), weight.f32() + weight.desc().shape.Count()));
  }
  const WeightsFile weights = WeightsFile::Read(folder_.Path("a/final.safetensors"));
  const Tensor& weight = *parameters->Find("score.weight");
  EXPECT_EQ(weights.Find("score.weight")->data,
            std::vector<float>(weight.f32(), weight.f32() + weight.desc().shape.Count()));

  const ModelInfo model = FromMetadata(weights.metadata, "final");
  EXPECT_EQ(model.net_text, kNet);
  EXPECT_EQ(model.mean_bgr, (std::array<float, 3>{16, 56, 116}));
  EXPECT_EQ(model.scale, 0.5f);
  EXPECT_EQ(model.width, 40);
}

TEST_F(LsegTrainDefinitions, DataReplacesTheSourceAndTheLogSaysSo) {
  WriteTinyDataset(folder_, "other", 2, 40, 30);
  ASSERT_EQ(Train("a", {"--solver", folder_.Path("solver.prototxt")}).code, 0);
  const ProgramResult result = Train(
      "b", {"--solver", folder_.Path("solver.prototxt"), "--data", folder_.Path("other.txt")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("net.prototxt:5: layer 'data' (ImageLabelmapData): --data "),
                    HasSubstr("replaces source 'train.txt'")));
  EXPECT_NE(ReadFile(folder_.Path("a/final.safetensors")),
            ReadFile(folder_.Path("b/final.safetensors")));
}

// Paths of another list have nothing to do with it.
TEST_F(LsegTrainDefinitions, DataReplacesTheRootFolderToo) {
  std::string net = kNet;
  net.insert(net.find("batch_size: 2"), "root_folder: 'nowhere/' ");
  folder_.Write("net.prototxt", net);
  const ProgramResult result = Train(
      "a", {"--solver", folder_.Path("solver.prototxt"), "--data", folder_.Path("train.txt")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("replaces source 'train.txt' and root_folder 'nowhere/'"));
}

TEST_F(LsegTrainDefinitions, SaysWhatReplacesTheSolversFields) {
  const ProgramResult result =
      Train("a", {"--solver", folder_.Path("solver.prototxt"), "--iterations", "3", "--seed", "5"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("--iterations 3 replaces max_iter 10"),
                                HasSubstr("--seed 5 replaces random_seed 11")));
}

TEST_F(LsegTrainDefinitions, AFlagWithoutEffectIsRefused) {
  const ProgramResult result =
      Train("a", {"--solver", folder_.Path("solver.prototxt"), "--crop", "16x16"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("--crop has no effect"));
}

TEST_F(LsegTrainDefinitions, ErrorsNameTheLineOfTheDefinition) {
  folder_.Write("net.prototxt", std::string(kNet) + "\nlayer { name: \"x\" type: \"Nothing\" }\n");
  const ProgramResult result = Train("a", {"--solver", folder_.Path("solver.prototxt")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("net.prototxt:15: layer 'x' (Nothing)"),
                                HasSubstr("unknown layer type")));
}

// Spellings of other times and of other layers: each refused with its line, and what to write.
TEST_F(LsegTrainDefinitions, WhatIsNotReadIsRefusedWithItsLine) {
  const auto refusal = [&](const std::string& net) {
    folder_.Write("net.prototxt", net);
    const ProgramResult result = Train("a", {"--solver", folder_.Path("solver.prototxt")});
    EXPECT_EQ(result.code, 1) << net;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    return result.err;
  };
  EXPECT_THAT(refusal("name: 'old'\nlayers { name: 'c' type: CONVOLUTION }"),
              AllOf(HasSubstr("net.prototxt:2: "), HasSubstr("write 'layer { }'")));
  std::string shared = kNet;
  shared.replace(shared.find("convolution_param"), 0, "\nparam { name: 'shared' }\n");
  EXPECT_THAT(refusal(shared),
              AllOf(HasSubstr("net.prototxt:12: layer 'score'"), HasSubstr("'shared'")));
  std::string product = kNet;
  product +=
      "\nlayer { name: 'p' type: 'Eltwise' bottom: 'score' bottom: 'score' top: 'p'\n"
      "eltwise_param { operation: PROD } }";
  EXPECT_THAT(refusal(product), AllOf(HasSubstr("net.prototxt:16: layer 'p' (Eltwise)"),
                                      HasSubstr("PROD is not supported: SUM is")));
}

// Whoever says what the list is: a resumed run would not repeat the unbroken one.
TEST_F(LsegTrainDefinitions, AChangedSourceIsNoticedAtResume) {
  const std::string solver = folder_.Path("solver.prototxt");
  ASSERT_EQ(Train("a", {"--solver", solver, "--iterations", "5"}).code, 0);
  EXPECT_EQ(Train("a", {"--resume"}).code, 0);
  const std::string list = ReadFile(folder_.Path("train.txt"));
  folder_.Write("train.txt", list.substr(list.find('\n') + 1));
  const ProgramResult result = Train("a", {"--resume"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("train.txt: has changed since the training was started"));
}

// Layers are selected by the states that the solver says, and lseg_infer selects the same.
TEST_F(LsegTrainDefinitions, StagesOfTheSolverSelectLayers) {
  std::string net = kNet;
  net.replace(net.find("phase: TRAIN"), 12, "phase: TRAIN stage: 'full'");
  net.replace(net.find("phase: TEST"), 11, "phase: TEST stage: 'full'");
  // Read where no stage is asked for.
  net =
      "layer { name: 'data' type: 'ImageLabelmapData' top: 'data' top: 'label'\n"
      "  include { phase: TEST not_stage: 'full' } image_data_param { source: 'none.txt' } }\n" +
      net +
      "layer { name: 'a' type: 'Sigmoid' bottom: 'score' top: 'probability'\n"
      "  include { phase: TEST stage: 'full' min_level: 3 } }\n";
  folder_.Write("net.prototxt", net);
  folder_.Write("solver.prototxt", std::string(kSolver) +
                                       " train_state { stage: 'full' }"
                                       "test_state { phase: TEST stage: 'full' level: 3 }");
  const ProgramResult result = Train("a", {"--solver", folder_.Path("solver.prototxt")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("validation at 10"));
  const ModelInfo model =
      FromMetadata(WeightsFile::Read(folder_.Path("a/final.safetensors")).metadata, "final");
  const auto layers = [](const std::string& text) {
    return NetDefinition::FromText(text, "net").Filtered(caffe::TEST).layer_count();
  };
  EXPECT_EQ(layers(model.net_text), 4);
  EXPECT_EQ(layers(net), 3);
  // Beside a state of the net's own.
  folder_.Write("net.prototxt", net + " state { stage: 'other' }");
  ASSERT_EQ(Train("b", {"--solver", folder_.Path("solver.prototxt")}).code, 0);
  const ModelInfo both =
      FromMetadata(WeightsFile::Read(folder_.Path("b/final.safetensors")).metadata, "final");
  EXPECT_EQ(layers(both.net_text), 4);
}

// Caffe's tests need a net to test; what they read is said, above all where it is what is trained
// on.
TEST_F(LsegTrainDefinitions, SaysWhatValidationReads) {
  const auto train = [&](const std::string& out, const std::string& net, std::string solver,
                         const std::vector<std::string>& more = {}) {
    folder_.Write("net.prototxt", net);
    std::vector<std::string> flags = {"--solver", folder_.Write("s.prototxt", solver)};
    flags.insert(flags.end(), more.begin(), more.end());
    return Train(out, flags);
  };
  EXPECT_THAT(train("a", kNet, kSolver).out,
              AllOf(HasSubstr("net.prototxt:9: layer 'data' (ImageLabelmapData): validation reads "
                              "'val.txt'\n"),
                    Not(HasSubstr("trained on"))));
  std::string both = kNet;  // one data layer, of both phases
  both.erase(both.find("include { phase: TRAIN }"), 24);
  both.erase(both.find("layer { name: \"data\"", 100),
             both.find("layer { name: \"score\"") - both.find("layer { name: \"data\"", 100));
  EXPECT_THAT(train("b", both, kSolver).out,
              HasSubstr("validation reads 'train.txt', the list that is trained on"));
  std::string only = kNet;  // none in phase TEST
  only.replace(only.find("phase: TEST"), 11, "phase: TEST stage: 'never'");
  const ProgramResult none = train("c", only, kSolver);
  EXPECT_EQ(none.code, 0) << none.err;
  EXPECT_THAT(none.out, AllOf(HasSubstr("s.prototxt:2: test_iter is ignored: the net has no "
                                        "ImageLabelmapData in phase TEST"),
                              HasSubstr("s.prototxt:2: test_interval is ignored: the net has no")));
  const std::vector<std::string> val = {"--val", folder_.Path("val.txt")};
  const ProgramResult listed = train("d", kNet, kSolver, val);
  EXPECT_THAT(listed.out,
              AllOf(HasSubstr("test_iter is ignored: all of --val"),
                    Not(HasSubstr("test_interval is ignored")), HasSubstr("validation at 5")));
  std::string train_net = kSolver;
  train_net.replace(train_net.find("net:"), 4, "train_net:");
  const ProgramResult refused = train("e", kNet, train_net);
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("s.prototxt:2: test_iter, but no net to test"));
  EXPECT_EQ(train("f", kNet, train_net, val).code, 0);
}

// The mean of each channel goes into the weights, by which lseg_infer prepares photographs.
TEST_F(LsegTrainDefinitions, AMeanFileIsReadAndKept) {
  caffe::BlobProto mean;
  for (const int dim : {1, 3, 30, 40}) mean.mutable_shape()->add_dim(dim);
  for (int i = 0; i < 3 * 30 * 40; ++i) mean.add_data(static_cast<float>(20 + 40 * (i / 1200)));
  folder_.Write("mean.binaryproto", mean.SerializeAsString());
  std::string net = kNet;
  const std::string values = "mean_value: 16 mean_value: 56 mean_value: 116";
  for (size_t at = net.find(values); at != std::string::npos; at = net.find(values)) {
    net.replace(at, values.size(), "mean_file: 'mean.binaryproto'");
  }
  folder_.Write("net.prototxt", net);
  const ProgramResult result = Train("a", {"--solver", folder_.Path("solver.prototxt")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(WeightsFile::Read(folder_.Path("a/final.safetensors")).metadata.at("lseg.mean"),
            "20,60,100");
  folder_.Write("mean.binaryproto", mean.SerializeAsString().substr(0, 1000));
  const ProgramResult cut = Train("b", {"--solver", folder_.Path("solver.prototxt")});
  EXPECT_EQ(cut.code, 1);
  EXPECT_THAT(cut.err, HasSubstr("mean.binaryproto"));
}

}  // namespace
}  // namespace lseg
