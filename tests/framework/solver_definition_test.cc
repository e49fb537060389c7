// Solver definitions: every field is used, refused with its line, or noted as ignored.
#include "framework/solver_definition.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "framework/file.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

// What every solver needs, on line 1.
constexpr char kBase[] = "base_lr: 0.5 lr_policy: 'fixed' max_iter: 100\n";

SolverDefinition Parse(const std::string& text) {
  return SolverDefinition::FromText(text, "solver.prototxt");
}
SolverDefinition ParseBase(const std::string& text) { return Parse(kBase + text); }
std::string BaseError(const std::string& text) {
  return ErrorOf([&] { ParseBase(text); });
}
std::string ParseError(const std::string& text) {
  return ErrorOf([&] { Parse(text); });
}

TEST(SolverDefinition, ReadsASolverAsPeopleWriteThem) {
  const SolverDefinition solver = Parse(R"(net: "train_val.prototxt"
test_iter: 0
# make test_interval big so that it is seldom reached
test_interval: 1000000
# lr for fine-tuning should be lower than when starting from scratch
base_lr: 0.000001
lr_policy: "step"
gamma: 0.1
iter_size: 10
# stepsize should also be lower, as we're closer to being done
stepsize: 10000
display: 20
average_loss: 50
max_iter: 30001
momentum: 0.9
weight_decay: 0.0002
snapshot: 1000
snapshot_prefix: "hed"
random_seed: 1701
# the mode
solver_mode: GPU
)");
  EXPECT_EQ(solver.solver().type(), "SGD");
  EXPECT_EQ(solver.solver().iter_size(), 10);
  EXPECT_FLOAT_EQ(solver.solver().base_lr(), 1e-6f);
  EXPECT_EQ(solver.solver().random_seed(), 1701);
  EXPECT_EQ(solver.LineOf("momentum"), 15);
  EXPECT_EQ(solver.Where("stepsize"), "solver.prototxt:11");
  EXPECT_EQ(solver.notes(),
            (std::vector<std::string>{
                "solver.prototxt:21: solver_mode is ignored: the device is chosen by --device"}));
}

TEST(SolverDefinition, TakesBothSpellingsOfTheType) {
  EXPECT_EQ(ParseBase("type: 'Adam'").solver().type(), "Adam");
  const SolverDefinition old = ParseBase("solver_type: ADAM");
  EXPECT_EQ(old.solver().type(), "Adam");
  EXPECT_FALSE(old.solver().has_solver_type());
  EXPECT_EQ(ParseBase("solver_type: SGD").solver().type(), "SGD");
  EXPECT_EQ(BaseError("type: 'SGD'\nsolver_type: SGD"),
            "solver.prototxt:3: type and solver_type (its old spelling): give one");
  EXPECT_EQ(BaseError("\ntype: 'RMSProp'"),
            "solver.prototxt:3: solver type 'RMSProp' is not supported: \"SGD\" and \"Adam\" are");
  EXPECT_EQ(BaseError("solver_type: NESTEROV"),
            "solver.prototxt:2: solver type 'NESTEROV' is not supported: \"SGD\" and \"Adam\" are");
  EXPECT_EQ(BaseError("type: 'adam'"),
            "solver.prototxt:2: solver type 'adam' is not supported: \"SGD\" and \"Adam\" are");
}

TEST(SolverDefinition, RefusesUnknownFieldsAndSyntax) {
  EXPECT_EQ(BaseError("gama: 0.1"), "solver.prototxt:2: unknown field 'gama' in SolverParameter");
  EXPECT_EQ(BaseError("momentum: fast"), "solver.prototxt:2: Expected double, got: fast");
  EXPECT_EQ(ErrorOf([] { SolverDefinition::FromFile("none.prototxt"); }),
            "none.prototxt: cannot be read: No such file or directory");
}

TEST(SolverDefinition, ChecksThePolicy) {
  EXPECT_EQ(ParseError("lr_policy: 'fixed'"), "solver.prototxt: base_lr is missing");
  EXPECT_EQ(ParseError("base_lr: 1"),
            "solver.prototxt: lr_policy is missing, \"fixed\" for instance");
  EXPECT_EQ(ParseError("base_lr: 1\nlr_policy: 'linear'"),
            "solver.prototxt:2: lr_policy 'linear' is unknown: cosine, exp, fixed, inv, multistep, "
            "poly, sigmoid, step are known");
  EXPECT_EQ(ParseError("base_lr: 1\nlr_policy: 'step' gamma: 0.1"),
            "solver.prototxt:2: lr_policy 'step' needs stepsize");
  EXPECT_EQ(ParseError("base_lr: 1\nlr_policy: 'multistep' gamma: 0.1"),
            "solver.prototxt:2: lr_policy 'multistep' needs stepvalue");
  EXPECT_EQ(ParseError("base_lr: 1 lr_policy: 'step' gamma: 0.1\nstepsize: 0"),
            "solver.prototxt:2: stepsize 0 must be positive");
  EXPECT_EQ(ParseError("base_lr: 1 lr_policy: 'multistep' gamma: 0.1\nstepvalue: 5\nstepvalue: 5"),
            "solver.prototxt:3: stepvalue 5 must be larger than the one before, 5");
  EXPECT_EQ(ParseError("base_lr: 1 lr_policy: 'cosine' max_iter: 9\nmin_lr: 2"),
            "solver.prototxt:2: min_lr 2 is above base_lr 1");
}

TEST(SolverDefinition, ChecksNumbers) {
  EXPECT_EQ(ParseError("base_lr: -1 lr_policy: 'fixed'"),
            "solver.prototxt:1: base_lr -1 must be a number from 0");
  EXPECT_EQ(ParseError("base_lr: nan lr_policy: 'fixed'"),
            "solver.prototxt:1: base_lr nan must be a number from 0");
  EXPECT_EQ(ParseError("base_lr: inf lr_policy: 'fixed'"),
            "solver.prototxt:1: base_lr inf must be a number from 0");
  EXPECT_EQ(BaseError("momentum: 1"), "solver.prototxt:2: momentum 1 must be in [0, 1)");
  EXPECT_EQ(BaseError("iter_size: 0"), "solver.prototxt:2: iter_size 0 must be 1 or more");
  EXPECT_EQ(BaseError("snapshot: -1"), "solver.prototxt:2: snapshot -1 must be 0 or more");
  EXPECT_EQ(BaseError("type: 'Adam' delta: 0"), "solver.prototxt:2: delta 0 must be positive");
  EXPECT_EQ(BaseError("regularization_type: 'L3'"),
            "solver.prototxt:2: regularization_type 'L3' is unknown: \"L2\" and \"L1\" are known");
  EXPECT_EQ(ParseBase("clip_gradients: -1").notes().size(), 0u);
}

// A text for each field of the message that passes the checks, so that each must meet one of the
// three fates; a field that is added later shows up here.
TEST(SolverDefinition, DropsNoFieldInSilence) {
  const auto* type = caffe::SolverParameter::descriptor();
  int used = 0, noted = 0, refused = 0;
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* field = type->field(i);
    const std::string& name = field->name();
    if (name == "base_lr" || name == "lr_policy" || name == "max_iter") continue;
    std::string value = ": 1";
    if (field->cpp_type() == field->CPPTYPE_STRING) value = ": 'x'";
    if (field->cpp_type() == field->CPPTYPE_BOOL) value = ": true";
    if (field->cpp_type() == field->CPPTYPE_FLOAT) value = ": 0.5";
    if (field->cpp_type() == field->CPPTYPE_MESSAGE) value = " { }";
    if (field->cpp_type() == field->CPPTYPE_ENUM)
      value = ": " + field->enum_type()->value(0)->name();
    if (name == "type") value = ": 'SGD'";
    if (name == "regularization_type") value = ": 'L1'";
    std::vector<std::string> notes;
    const std::string error = ErrorOf([&] { notes = ParseBase(name + value).notes(); });
    if (!error.empty()) {
      EXPECT_EQ(error.rfind("solver.prototxt:2: " + name, 0), 0u) << error;
      ++refused;
    } else if (!notes.empty()) {
      EXPECT_EQ(notes[0].rfind("solver.prototxt:2: " + name + " is ignored: ", 0), 0u) << notes[0];
      ++noted;
    } else {
      ++used;
    }
  }
  EXPECT_EQ(refused, 1);  // weights
  // 10 that nothing reads, gamma power stepsize stepvalue min_lr (policy fixed), momentum2 delta
  // (SGD), warmup_factor (no warm-up).
  EXPECT_EQ(noted, 18);
  EXPECT_EQ(used + noted + refused + 3, type->field_count());
}

TEST(SolverDefinition, NotesFieldsByWhetherTheyAreRead) {
  const std::string adam = "type: 'Adam' momentum2: 0.99 delta: 1e-7";
  EXPECT_TRUE(ParseBase(adam).notes().empty());
  EXPECT_TRUE(ParseBase("warmup_iter: 10 warmup_factor: 0.1").notes().empty());
  EXPECT_EQ(ParseBase("gamma: 0.1").notes()[0],
            "solver.prototxt:2: gamma is ignored: lr_policy \"fixed\" does not read it");
  EXPECT_TRUE(Parse("base_lr: 1 lr_policy: 'inv' gamma: 0.1 power: 0.75").notes().empty());
}

TEST(SolverDefinition, RefusesTwoNets) {
  EXPECT_EQ(BaseError("net: 'a'\ntrain_net: 'b'"),
            "solver.prototxt:3: net and train_net both say which net to train: give one");
  EXPECT_EQ(BaseError("test_net: 'a'\ntest_net: 'b'"),
            "solver.prototxt:3: one test net is supported");
  EXPECT_EQ(BaseError("test_net: 'a'\ntest_net_param { }"),
            "solver.prototxt:3: one test net is supported");
  EXPECT_EQ(BaseError("test_iter: 1\ntest_iter: 2"),
            "solver.prototxt:3: test_iter is given for more than one test net: one is supported");
  EXPECT_EQ(BaseError("test_iter: -1"), "solver.prototxt:2: test_iter -1 must be 0 or more");
  EXPECT_EQ(BaseError("train_state {\n phase: TEST }"),
            "solver.prototxt:3: the phase of train_state must be TRAIN");
}

TEST(SolverDefinition, GivesTheNetsWithinItTheirLines) {
  const SolverDefinition solver = ParseBase(
      "train_net_param {\n  layer { name: 'a' }\n  layer { name: 'b' }\n}\n"
      "test_net_param { layer { name: 't' } }\n"
      "train_state { stage: 's' level: 3 } test_state { level: 4 }");
  const auto train = solver.TrainNet();
  ASSERT_TRUE(train.has_value());
  EXPECT_EQ(train->Where(1), "solver.prototxt:4: layer 'b'");
  EXPECT_EQ(solver.TestNet()->Where(0), "solver.prototxt:6: layer 't'");
  EXPECT_EQ(solver.TrainState().phase(), caffe::TRAIN);
  EXPECT_EQ(solver.TrainState().stage(0), "s");
  EXPECT_EQ(solver.TrainState().level(), 3);
  EXPECT_EQ(solver.TestState().phase(), caffe::TEST);
  EXPECT_EQ(solver.TestState().level(), 4);
  EXPECT_EQ(ErrorOf([] {
              ParseBase("net_param {\n layers { name: 'x' } }").TrainNet();
            }).rfind("solver.prototxt:3: 'layers { }'", 0),
            0u);
}

TEST(SolverDefinition, FindsNetsBesideItselfFirst) {
  const std::string folder = testing::TempDir() + "/solver_definition_test";
  mkdir(folder.c_str(), 0777);
  WriteFile(folder + "/net.prototxt", "layer { name: 'a' }");
  WriteFile(folder + "/solver.prototxt", std::string(kBase) + "net: 'net.prototxt'");
  const auto solver = SolverDefinition::FromFile(folder + "/solver.prototxt");
  EXPECT_EQ(solver.TrainNet()->Where(0), folder + "/net.prototxt:1: layer 'a'");
  EXPECT_EQ(solver.TestNet()->name(), folder + "/net.prototxt");

  // An absolute path, and a text that has no file, find it as well.
  const auto elsewhere = ParseBase("train_net: '" + folder + "/net.prototxt'");
  EXPECT_EQ(elsewhere.TrainNet()->layer(0).name(), "a");
  EXPECT_FALSE(elsewhere.TestNet().has_value());
  EXPECT_EQ(ErrorOf([] { ParseBase("\nnet: 'gone.prototxt'").TrainNet(); }),
            "solver.prototxt:3: net 'gone.prototxt' is neither in the folder of the solver nor in "
            "the working directory");
  EXPECT_FALSE(ParseBase("").TrainNet().has_value());
}

}  // namespace
}  // namespace lseg
