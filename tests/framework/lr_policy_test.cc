// Learning-rate policies against numbers worked out by hand from their definitions.
#include "framework/lr_policy.h"

#include <gtest/gtest.h>

#include <string>

#include "framework/solver_definition.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

caffe::SolverParameter Solver(const std::string& text) {
  return SolverDefinition::FromText(text, "solver.prototxt").solver();
}

// The rate is worked out in double and rounded once: EXPECT_FLOAT_EQ (4 ulp) leaves room for fields
// such as 0.1 that are floats themselves.
TEST(LearningRate, Fixed) {
  const auto solver = Solver("base_lr: 0.25 lr_policy: 'fixed'");
  EXPECT_EQ(LearningRate(solver, 0), 0.25f);
  EXPECT_EQ(LearningRate(solver, 1000000), 0.25f);
}

TEST(LearningRate, Step) {
  const auto solver = Solver("base_lr: 1 lr_policy: 'step' gamma: 0.1 stepsize: 10");
  EXPECT_EQ(LearningRate(solver, 0), 1.0f);
  EXPECT_EQ(LearningRate(solver, 9), 1.0f);
  EXPECT_FLOAT_EQ(LearningRate(solver, 10), 0.1f);
  EXPECT_FLOAT_EQ(LearningRate(solver, 25), 0.01f);
}

TEST(LearningRate, MultiStep) {
  const auto solver =
      Solver("base_lr: 8 lr_policy: 'multistep' gamma: 0.5 stepvalue: 3 stepvalue: 10");
  EXPECT_EQ(LearningRate(solver, 2), 8.0f);
  EXPECT_EQ(LearningRate(solver, 3), 4.0f);
  EXPECT_EQ(LearningRate(solver, 9), 4.0f);
  EXPECT_EQ(LearningRate(solver, 10), 2.0f);
  EXPECT_EQ(LearningRate(solver, 99), 2.0f);
}

TEST(LearningRate, Exp) {
  const auto solver = Solver("base_lr: 2 lr_policy: 'exp' gamma: 0.5");
  EXPECT_EQ(LearningRate(solver, 0), 2.0f);
  EXPECT_EQ(LearningRate(solver, 3), 0.25f);
}

TEST(LearningRate, Inv) {
  const auto solver = Solver("base_lr: 1 lr_policy: 'inv' gamma: 0.5 power: 2");
  EXPECT_EQ(LearningRate(solver, 0), 1.0f);
  EXPECT_EQ(LearningRate(solver, 2), 0.25f);    // (1 + 1) ^ -2
  EXPECT_EQ(LearningRate(solver, 6), 0.0625f);  // (1 + 3) ^ -2
}

TEST(LearningRate, Poly) {
  const auto solver = Solver("base_lr: 1 lr_policy: 'poly' power: 2 max_iter: 100");
  EXPECT_EQ(LearningRate(solver, 0), 1.0f);
  EXPECT_EQ(LearningRate(solver, 50), 0.25f);
  EXPECT_FLOAT_EQ(LearningRate(solver, 90), 0.01f);
  EXPECT_EQ(LearningRate(solver, 100), 0.0f);
  EXPECT_EQ(LearningRate(solver, 101), 0.0f);
}

TEST(LearningRate, Sigmoid) {
  // Caffe's sign: with a negative gamma the rate falls, half of base_lr at stepsize.
  const auto rising = Solver("base_lr: 2 lr_policy: 'sigmoid' gamma: 0.5 stepsize: 10");
  EXPECT_EQ(LearningRate(rising, 10), 1.0f);
  EXPECT_FLOAT_EQ(LearningRate(rising, 12), 1.4621172f);  // 2 / (1 + 1/e)
}

TEST(LearningRate, Cosine) {
  const auto solver = Solver("base_lr: 1 lr_policy: 'cosine' max_iter: 600 min_lr: 0.2");
  EXPECT_EQ(LearningRate(solver, 0), 1.0f);
  EXPECT_FLOAT_EQ(LearningRate(solver, 200), 0.8f);  // cos 60 degrees: 0.2 + 0.8 * 0.75
  EXPECT_FLOAT_EQ(LearningRate(solver, 300), 0.6f);
  EXPECT_FLOAT_EQ(LearningRate(solver, 400), 0.4f);
  EXPECT_FLOAT_EQ(LearningRate(solver, 600), 0.2f);
  EXPECT_FLOAT_EQ(LearningRate(solver, 900), 0.2f);
}

TEST(LearningRate, WarmUpRisesToThePolicysRate) {
  const auto plain = Solver("base_lr: 1 lr_policy: 'fixed' warmup_iter: 4");
  EXPECT_EQ(LearningRate(plain, 0), 0.25f);
  EXPECT_EQ(LearningRate(plain, 1), 0.5f);
  EXPECT_EQ(LearningRate(plain, 3), 1.0f);
  EXPECT_EQ(LearningRate(plain, 4), 1.0f);

  const auto from_half = Solver("base_lr: 1 lr_policy: 'fixed' warmup_iter: 4 warmup_factor: 0.5");
  EXPECT_EQ(LearningRate(from_half, 0), 0.625f);
  EXPECT_EQ(LearningRate(from_half, 3), 1.0f);

  // The policy counts from iteration 0 all the same.
  const auto step = Solver("base_lr: 1 lr_policy: 'step' gamma: 0.5 stepsize: 2 warmup_iter: 4");
  EXPECT_EQ(LearningRate(step, 2), 0.375f);  // 0.5 * 3/4
}

TEST(LearningRate, PoliciesOverTheWholeRunNeedItsLength) {
  EXPECT_EQ(ErrorOf([] { LearningRate(Solver("base_lr: 1 lr_policy: 'cosine'"), 0); }),
            "lr_policy 'cosine' needs max_iter");
  EXPECT_EQ(ErrorOf([] { LearningRate(Solver("base_lr: 1 lr_policy: 'poly' power: 1"), 0); }),
            "lr_policy 'poly' needs max_iter");
}

}  // namespace
}  // namespace lseg
