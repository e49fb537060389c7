// That the arithmetic's coverage table is all there is: nothing that it does not list is accepted,
// and every opcode of these families is in it.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/softgpu/machine/alu.h"
#include "tests/softgpu/tests/arithmetic_rows.h"

namespace softgpu::testing {
namespace {

// Whether the instruction in `form`'s kernel, under another name, is decoded.
bool Accepts(const Form& form, const std::string& mnemonic, int sm) {
  Form other = form;
  other.mnemonic = mnemonic;
  other.sm = sm;
  const Inputs none = {std::vector<std::vector<Word>>(form.sources.size()),
                       std::vector<std::vector<uint32_t>>(form.sources.size())};
  Options options;
  options.arch = sm;
  options.threads = 1;
  options.memory = uint64_t{1} << 20;
  static Device device(options);
  try {
    Module module(device, ptx::Parse(KernelText(KernelOf(other, none))));
    module.Decode("k");
    return true;
  } catch (const ptx::Error&) {
    return false;
  }
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ".") + word;
  return text;
}

TEST(Table, NothingElseIsAccepted) {
  std::set<std::string> listed, words;
  std::vector<Form> forms;
  for (const Row& row : ReadRows()) {
    for (const Form& form : Expand(row)) {
      listed.insert(form.mnemonic);
      words.insert(form.words.begin() + 1, form.words.end());
      forms.push_back(form);
    }
  }
  for (const char* odd : {"foo", "f32x2", "rs", "oob", "volatile", "v2", ""}) words.insert(odd);
  const std::vector<std::string> vocabulary(words.begin(), words.end());
  Numbers numbers(7);
  int refused = 0;
  for (int round = 0; round < 6000; ++round) {
    const Form& form = forms[numbers.Below(static_cast<uint32_t>(forms.size()))];
    std::vector<std::string> mutated = form.words;
    const auto at = 1 + numbers.Below(static_cast<uint32_t>(mutated.size() - 1));
    const auto place = mutated.begin() + static_cast<std::ptrdiff_t>(at);
    const std::string& word = vocabulary[numbers.Below(static_cast<uint32_t>(vocabulary.size()))];
    switch (numbers.Below(4)) {
      case 0:
        mutated.erase(place);
        break;
      case 1:
        mutated.insert(place, word);
        break;
      case 2:
        *place = word;
        break;
      default:
        std::swap(*place, mutated.back());
        break;
    }
    const std::string mnemonic = Joined(mutated);
    if (listed.count(mnemonic)) continue;
    const bool accepted = Accepts(form, mnemonic, 90);
    EXPECT_FALSE(accepted) << mnemonic << " is not in the table";
    refused += !accepted;
  }
  EXPECT_GT(refused, 4000);
}

TEST(Table, WhatNeedsALaterTargetIsRefusedBefore) {
  for (const Row& row : ReadRows()) {
    if (row.sm == 80) continue;
    for (const Form& form : Expand(row)) {
      EXPECT_FALSE(Accepts(form, form.mnemonic, 80)) << form.mnemonic;
      EXPECT_TRUE(Accepts(form, form.mnemonic, 90)) << form.mnemonic;
    }
  }
}

TEST(Table, HasEveryOpcode) {
  BuilderTable builders;
  AddIntegerOps(builders);
  AddLogicOps(builders);
  AddFloatOps(builders);
  AddConvertOps(builders);
  AddCompareOps(builders);
  std::set<std::string> listed;
  for (const Row& row : ReadRows()) {
    for (const Form& form : Expand(row)) listed.insert(form.words[0]);
  }
  std::set<std::string> built;
  for (const auto& entry : builders) built.insert(std::string(entry.first));
  EXPECT_EQ(built, listed);
}

// What the counters are told of a warp's instruction: fma counts 2, pairs twice.
TEST(Table, FlopsAreCounted) {
  struct Cost {
    const char* line;
    uint64_t f32, f64, half, special;
  };
  for (const Cost& cost :
       {Cost{"fma.rn.f32 %f1, %f2, %f2, %f2;", 64, 0, 0, 0},
        Cost{"add.f32 %f1, %f2, %f2;", 32, 0, 0, 0}, Cost{"mul.rn.f64 %e1, %e2, %e2;", 0, 32, 0, 0},
        Cost{"fma.rn.f64 %e1, %e2, %e2, %e2;", 0, 64, 0, 0},
        Cost{"add.f16 %h1, %h2, %h2;", 0, 0, 32, 0},
        Cost{"fma.rn.bf16x2 %r1, %r2, %r2, %r2;", 0, 0, 128, 0},
        Cost{"ex2.approx.f32 %f1, %f2;", 0, 0, 0, 32}, Cost{"min.f32 %f1, %f2, %f2;", 0, 0, 0, 0},
        Cost{"add.u32 %r1, %r2, %r2;", 0, 0, 0, 0}}) {
    Case test;
    test.body = cost.line;
    const Outcome o = RunPtx(test);
    ASSERT_EQ(o.result.error, 0) << o.Text();
    const Counters& c = o.result.counters;
    EXPECT_EQ(c.flops_f32, cost.f32) << cost.line;
    EXPECT_EQ(c.flops_f64, cost.f64) << cost.line;
    EXPECT_EQ(c.flops_half, cost.half) << cost.line;
    EXPECT_EQ(c.special_functions, cost.special) << cost.line;
  }
}

// Operands of the wrong kind or size.
TEST(Table, WrongOperandsAreRefused) {
  for (const char* line : {"add.u32 %r1, %r2, %d3;",
                           "add.u32 %r1, %r2;",
                           "add.u32 %r1, %r2, %r3, %r4;",
                           "add.f32 %f1, %f2, 1;",
                           "mul.wide.u32 %r1, %r2, %r3;",
                           "shl.b32 %r1, %r2, %h3;",
                           "setp.eq.u32 %r1, %r2, %r3;",
                           "selp.b32 %r1, %r2, %r3, %r4;",
                           "lop3.b32 %r1, %r2, %r3, %r4, %r5;",
                           "lop3.b32 %r1, %r2, %r3, %r4, 256;",
                           "mov.b64 %d1, {%r1, %r2, %r3};",
                           "mov.b64 {%r1, %r2}, {%r3, %r4};",
                           "mov.u32 %r1, %clock64;",
                           "cvt.u32.u64 %r1, %r2;",
                           "cvt.f32.u32 %f1, %r2;",
                           "and.pred %p1, %r1, %p2;",
                           "mov.pred %r1, %p1;",
                           "setp.lt.f16 %p1|%p2, %h1, %h2;",
                           "add.u32 _, %r1, 0f3f800000;",
                           "not.pred _, %p1;"}) {
    Case test;
    test.body = line;
    EXPECT_THROW(RunPtx(test), ptx::Error) << line;
  }
}

}  // namespace
}  // namespace softgpu::testing
