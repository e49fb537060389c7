// The parser on functions: instructions, operands, scopes, labels, calls. Expected structures are
// written out by hand from the manual's grammar.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/softgpu/tests/parser_test_support.h"

namespace softgpu::ptx {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Kind = Operand::Kind;

std::string NameOf(const Function& f, const Operand& operand) {
  if (operand.kind != Kind::kRegister) return "no register";
  return f.registers.at(static_cast<size_t>(operand.index)).name;
}

TEST(ParserTest, HeaderFilesAndTarget) {
  const Module m = Parse(
      ".version 8.7\n.target sm_90a, debug\n.address_size 64\n"
      ".file 1 \"/src/a b.cu\", 1700000000, 1234\n.file\t2 \"b.cuh\"\n");
  EXPECT_EQ(m.version_major, 8);
  EXPECT_EQ(m.version_minor, 7);
  EXPECT_EQ(m.target, "sm_90a");
  EXPECT_THAT(m.files, ElementsAre(std::pair(1, "/src/a b.cu"), std::pair(2, "b.cuh")));
}

TEST(ParserTest, ZerosAtTheEndOfAFatBinarysTextAreNoPartOfIt) {
  EXPECT_EQ(Parse(WithHeader("") + std::string(7, '\0')).target, "sm_80");
  EXPECT_THAT(ErrorOf(WithHeader("") + std::string(1, '\0') + ".func f;"), StartsWith("line 4:"));
}

TEST(ParserTest, OpcodeWordsKeepColonsAndMayStandApart) {
  const Function f = ParseKernel(
      "ld.global.L1::no_allocate.L2::128B.v4.f32 {%f1,%f2,_,%f4}, [%rd1];\n"
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], "
      "[%rd2, {%r2, %r3}], [%r4];\n"
      "add .s32 %r1, %r2, %r3;\n");
  EXPECT_THAT(f.instructions[0].words,
              ElementsAre("ld", "global", "L1::no_allocate", "L2::128B", "v4", "f32"));
  EXPECT_THAT(f.instructions[1].words,
              ElementsAre("cp", "async", "bulk", "tensor", "2d", "shared::cluster", "global",
                          "mbarrier::complete_tx::bytes"));
  EXPECT_THAT(f.instructions[2].words, ElementsAre("add", "s32"));
  EXPECT_THAT(f.instructions[0].operands, SizeIs(2));
  const Operand& vector = f.instructions[0].operands[0];
  ASSERT_EQ(vector.kind, Kind::kVector);
  ASSERT_THAT(vector.elements, SizeIs(4));
  EXPECT_EQ(NameOf(f, vector.elements[1]), "%f2");
  EXPECT_EQ(vector.elements[2].kind, Kind::kSink);
  const Operand& tensor = f.instructions[1].operands[1];
  ASSERT_EQ(tensor.kind, Kind::kAddress);
  ASSERT_THAT(tensor.elements, SizeIs(2));
  EXPECT_EQ(NameOf(f, tensor.elements[0]), "%rd2");
  ASSERT_EQ(tensor.elements[1].kind, Kind::kVector);
  EXPECT_EQ(NameOf(f, tensor.elements[1].elements[1]), "%r3");
}

TEST(ParserTest, AddressesInEverySpelling) {
  const Module m = ParseModule(
      ".shared .b8 tile[64];\n.entry k(.param .u64 arg)\n{ .reg .b32 %r<2>; .reg .b64 a;\n"
      "ld.u32 %r1, [a+16]; ld.u32 %r1, [a+-4]; ld.u32 %r1, [a-4]; ld.u32 %r1, [ a + 0 ];\n"
      "ld.u32 %r1, [tile+0x10]; ld.u32 %r1, [4096]; ld.u32 %r1, [arg]; ld.u32 %r1, [a+4*3];\n"
      "ld.u32 %r1, [tile-2+1]; }");
  const Function& f = *m.FindFunction("k");
  std::vector<int64_t> offsets;
  for (const Instruction& i : f.instructions) {
    ASSERT_EQ(i.operands[1].kind, Kind::kAddress);
    offsets.push_back(i.operands[1].offset);
  }
  EXPECT_THAT(offsets, ElementsAre(16, -4, -4, 0, 16, 0, 0, 12, -1));
  EXPECT_EQ(NameOf(f, f.instructions[0].operands[1].elements[0]), "a");
  EXPECT_EQ(f.instructions[4].operands[1].elements[0].kind, Kind::kSymbol);
  EXPECT_EQ(f.instructions[4].operands[1].elements[0].name, "tile");
  EXPECT_EQ(f.instructions[5].operands[1].elements[0].kind, Kind::kInteger);
  EXPECT_EQ(f.instructions[5].operands[1].elements[0].bits, 4096u);
  EXPECT_EQ(f.instructions[6].operands[1].elements[0].name, "arg");
}

TEST(ParserTest, LiteralsKeepTheirBits) {
  const Function f = ParseKernel(
      "op -1, 0x7fffffffffffffff, 0XFFu, 0b101, 017, 18446744073709551615;\n"
      "op 0f3F800000, 0d3FF0000000000000, 1.5, -0F3F800000, 0f7FC12345, 2e3, 1.0E-2;\n");
  const auto& i = f.instructions[0].operands;
  for (const Operand& operand : i) EXPECT_EQ(operand.kind, Kind::kInteger);
  EXPECT_EQ(i[0].bits, ~uint64_t{0});
  EXPECT_EQ(i[1].bits, 0x7fffffffffffffffu);
  EXPECT_EQ(i[2].bits, 255u);
  EXPECT_EQ(i[3].bits, 5u);
  EXPECT_EQ(i[4].bits, 15u);
  EXPECT_EQ(i[5].bits, ~uint64_t{0});
  const auto& x = f.instructions[1].operands;
  EXPECT_EQ(x[0].kind, Kind::kFloat);
  EXPECT_EQ(x[0].bits, 0x3f800000u);
  EXPECT_EQ(x[1].kind, Kind::kDouble);
  EXPECT_EQ(x[1].bits, 0x3ff0000000000000u);
  EXPECT_EQ(x[2].kind, Kind::kDouble);
  EXPECT_EQ(x[2].bits, 0x3ff8000000000000u);
  EXPECT_EQ(x[3].kind, Kind::kFloat);
  EXPECT_EQ(x[3].bits, 0xbf800000u);
  EXPECT_EQ(x[4].bits, 0x7fc12345u);  // a NaN's payload
  EXPECT_EQ(x[5].bits, 0x409f400000000000u);
  EXPECT_EQ(x[6].bits, 0x3f847ae147ae147bu);
}

TEST(ParserTest, PairsPredicatesSinksAndSpecials) {
  const Function f = ParseKernel(
      "setp.lt.and.s32 %p1|_, %r1, -5, !%p2;\n"
      "shfl.sync.bfly.b32 %r3|%p3, %r1, 16, 31, 0xffffffff;\n"
      "mov.u32 %r1, %ctaid.y; mov.u32 %r2, WARP_SZ; mov.u32 %r3, %lanemask_lt;\n"
      "mov.u64 %rd1, %clock64; mov.u32 %r1, %envreg31; mov.u32 %r1, %cluster_ctaid.x;\n"
      "@!%p4 bra.uni END; @%p1 ret;\nEND:\n");
  const Instruction& setp = f.instructions[0];
  ASSERT_EQ(setp.operands[0].kind, Kind::kPair);
  EXPECT_EQ(NameOf(f, setp.operands[0].elements[0]), "%p1");
  EXPECT_EQ(setp.operands[0].elements[1].kind, Kind::kSink);
  EXPECT_EQ(static_cast<int64_t>(setp.operands[2].bits), -5);
  EXPECT_TRUE(setp.operands[3].negated);
  EXPECT_EQ(NameOf(f, setp.operands[3]), "%p2");
  EXPECT_EQ(NameOf(f, f.instructions[1].operands[0].elements[1]), "%p3");
  const char* const specials[] = {"%ctaid.y", "WARP_SZ",   "%lanemask_lt",
                                  "%clock64", "%envreg31", "%cluster_ctaid.x"};
  for (size_t i = 0; i < std::size(specials); ++i) {
    EXPECT_EQ(f.instructions[i + 2].operands[1].kind, Kind::kSpecial);
    EXPECT_EQ(f.instructions[i + 2].operands[1].name, specials[i]);
  }
  const Instruction& branch = f.instructions[8];
  EXPECT_EQ(f.registers[static_cast<size_t>(branch.guard)].name, "%p4");
  EXPECT_TRUE(branch.guard_negated);
  EXPECT_EQ(branch.operands[0].kind, Kind::kLabel);
  EXPECT_EQ(branch.operands[0].index, 10);  // one past the end
  EXPECT_FALSE(f.instructions[9].guard_negated);
}

TEST(ParserTest, RegistersHaveSizesAndExistOnceUsed) {
  const Function f = ParseKernel(
      ".reg .b16 h<3>, single; .reg .f64 d1; .reg .b128 q; .reg .f16x2 x; .reg .b32 %r1<5>;\n"
      "op h2, single, d1, q, x, %r14, %r4, %p0;\n");
  std::map<std::string, int> bits;
  for (const Operand& operand : f.instructions[0].operands) {
    bits[NameOf(f, operand)] = f.registers[static_cast<size_t>(operand.index)].bits;
  }
  const std::map<std::string, int> want = {{"h2", 16}, {"single", 16}, {"d1", 64},  {"q", 128},
                                           {"x", 32},  {"%r14", 32},   {"%r4", 32}, {"%p0", 1}};
  EXPECT_EQ(bits, want);
}

TEST(ParserTest, ScopesHideRegistersLabelsAndVariables) {
  const Function f = ParseKernel(
      ".reg .b32 t; .shared .b32 v;\n"
      "mov.b32 t, v;\n"
      "{ .reg .b64 t; .shared .b32 v; mov.b64 t, v; bra L; L: ret; }\n"
      "{ .reg .b16 t; .shared .b32 v; mov.b16 t, v; bra L; L: ret; }\n"
      "mov.b32 t, v; bra L;\nL: ret;");
  const auto bits = [&](size_t i) {
    return f.registers[static_cast<size_t>(f.instructions[i].operands[0].index)].bits;
  };
  EXPECT_EQ(bits(0), 32);
  EXPECT_EQ(bits(1), 64);
  EXPECT_EQ(bits(4), 16);
  EXPECT_EQ(bits(7), 32);
  EXPECT_EQ(f.instructions[0].operands[0].index, f.instructions[7].operands[0].index);
  EXPECT_EQ(f.instructions[2].operands[0].index, 3);
  EXPECT_EQ(f.instructions[5].operands[0].index, 6);
  EXPECT_EQ(f.instructions[8].operands[0].index, 9);
  // Three variables of one name: each instruction names its own.
  ASSERT_THAT(f.variables, SizeIs(3));
  EXPECT_EQ(f.instructions[0].operands[1].name, f.variables[0].name);
  EXPECT_EQ(f.instructions[1].operands[1].name, f.variables[1].name);
  EXPECT_EQ(f.instructions[4].operands[1].name, f.variables[2].name);
  EXPECT_EQ(f.instructions[7].operands[1].name, f.variables[0].name);
  EXPECT_NE(f.variables[0].name, f.variables[1].name);
  EXPECT_NE(f.variables[1].name, f.variables[2].name);
}

TEST(ParserTest, AVariableOfABodyIsNoVariableOfTheModule) {
  const Module m = ParseModule(
      ".global .b32 v;\n.entry k() { .reg .b64 a; mov.b64 a, v; { .shared .b32 v; mov.b64 a, v; } "
      "mov.b64 a, v; }");
  const Function& f = m.functions[0];
  EXPECT_EQ(f.instructions[0].operands[1].name, "v");
  EXPECT_EQ(f.instructions[1].operands[1].name, f.variables[0].name);
  EXPECT_EQ(f.instructions[2].operands[1].name, "v");
  EXPECT_NE(f.variables[0].name, "v");
}

TEST(ParserTest, ALabelOfTheScopeAroundIsSeenForwards) {
  const Function f = ParseKernel("{ { @%p1 bra OUT; } bra MID; MID: ret; }\nOUT: ret;");
  EXPECT_EQ(f.instructions[0].operands[0].index, 3);
  EXPECT_EQ(f.instructions[1].operands[0].index, 2);
  EXPECT_THAT(ErrorOf(WithKernel("{ IN: ret; }\nbra IN;")), StartsWith("line 11: 'IN'"));
}

TEST(ParserTest, BranchTargets) {
  const Function f = ParseKernel(
      "T: .branchtargets A, B, A, C;\nbrx.idx %r1, T;\nA: ret;\n"
      "{ T: .branchtargets D, C; brx.idx %r1, T; D: ret; }\nB: C: ret;");
  ASSERT_THAT(f.branch_targets, SizeIs(2));
  EXPECT_EQ(f.instructions[0].operands[1].kind, Kind::kSymbol);
  EXPECT_THAT(f.branch_targets.at(f.instructions[0].operands[1].name), ElementsAre(1, 4, 1, 4));
  EXPECT_THAT(f.branch_targets.at(f.instructions[2].operands[1].name), ElementsAre(3, 4));
}

TEST(ParserTest, CallsInEverySpelling) {
  const Module m = ParseModule(
      ".extern .func (.param .b32 r) f (.param .b64 a, .param .align 8 .b8 b[16]);\n"
      ".func nothing;\n.func none();\n"
      ".entry k() { .reg .b32 %r<4>; .reg .b64 %rd1;\n"
      "{ .param .b64 p0; .param .align 8 .b8 p1[16]; .param .b32 ret0;\n"
      "call.uni (ret0), \n f, \n(\np0, \np1\n);\n}\n"
      "call nothing; call none, (); call nothing, (%r1, 5);\n"
      "P: .callprototype (.param .b32 _) _ (.param .b64 _, .param .b8 _[4]) .noreturn;\n"
      "call (%r1), %rd1, (%r2), P; Q: .calltargets f, none; call %rd1, (%r2), Q; }");
  const Function& k = *m.FindFunction("k");
  const auto& full = k.instructions[0].operands;
  ASSERT_THAT(full, SizeIs(3));
  EXPECT_EQ(full[0].elements[0].name, "ret0");
  EXPECT_EQ(full[1].name, "f");
  ASSERT_THAT(full[2].elements, SizeIs(2));
  EXPECT_EQ(full[2].elements[1].name, "p1");
  EXPECT_THAT(k.instructions[1].operands, SizeIs(1));
  EXPECT_THAT(k.instructions[2].operands[1].elements, IsEmpty());
  EXPECT_EQ(k.instructions[3].operands[1].elements[1].bits, 5u);
  const auto& indirect = k.instructions[4].operands;
  ASSERT_THAT(indirect, SizeIs(4));
  EXPECT_EQ(NameOf(k, indirect[1]), "%rd1");
  EXPECT_EQ(indirect[3].name, "P");
  const Function& f = *m.FindFunction("f");
  EXPECT_TRUE(f.is_declared_only);
  EXPECT_EQ(f.params[1].bytes, 16u);
  EXPECT_EQ(f.params[1].align, 8u);
  EXPECT_EQ(f.results[0].bytes, 4u);
}

TEST(ParserTest, ADefinitionReplacesItsDeclaration) {
  const Module m = ParseModule(
      ".func (.param .b32 r) f (.param .b32 a);\n"
      ".visible .func (.param .b32 r) f (.param .b32 a)\n.noreturn\n{ call (r), f, (a); ret; }\n"
      ".func (.param .b32 r) f (.param .b32 a);\n.alias g, f;\n.entry k() { call g; }");
  ASSERT_THAT(m.functions, SizeIs(3));
  EXPECT_FALSE(m.FindFunction("f")->is_declared_only);
  EXPECT_THAT(m.FindFunction("f")->instructions, SizeIs(2));
  EXPECT_THAT(m.FindFunction("g")->instructions, SizeIs(2));
  EXPECT_EQ(m.FindFunction("h"), nullptr);
}

TEST(ParserTest, ParametersAndAttributesOfAKernel) {
  const Module m = ParseModule(
      ".visible .entry k(\n.param .u64 .ptr .global .align 16 a,\n.param .u64 .ptr b,\n"
      ".param .align 16 .b8 c[48],\n.param .f32 d, .param .u64 .ptr .align 4 e\n)\n"
      ".maxntid 256, 2\n.minnctapersm 2 .maxnreg 64 .explicitcluster .reqnctapercluster 2,1,1\n"
      ".pragma \"enable_smem_spilling\";\n{ .pragma \"nounroll\"; ret; }\n"
      ".weak .entry r() .reqntid 32, 4, 2 .blocksareclusters { ret; }");
  const Function& k = *m.FindFunction("k");
  EXPECT_TRUE(k.is_entry);
  EXPECT_EQ(k.max_threads[0], 256u);
  EXPECT_EQ(k.max_threads[1], 2u);
  EXPECT_EQ(k.max_threads[2], 1u);
  EXPECT_EQ(k.required_threads[0], 0u);
  std::vector<std::pair<uint64_t, uint32_t>> layout;
  for (const Variable& p : k.params) {
    EXPECT_EQ(p.space, Space::kParam);
    layout.emplace_back(p.bytes, p.align);
  }
  EXPECT_THAT(layout, ElementsAre(std::pair(8, 8), std::pair(8, 8), std::pair(48, 16),
                                  std::pair(4, 4), std::pair(8, 8)));
  EXPECT_THAT(m.FindFunction("r")->required_threads, ElementsAre(32u, 4u, 2u));
}

TEST(ParserTest, SourceLines) {
  const Function f = ParseKernel(
      "mov.u32 %r1, 1;\n.loc 1 20 3\nmov.u32 %r1, 2;\n/* two\nlines */ mov.u32 %r1, 3; // .loc\n"
      ".loc\t2 5 1, function_name $L__info_string0+12, inlined_at 1 21 7\nmov.u32 %r1, 4;");
  EXPECT_EQ(f.instructions[0].source.file, 0);
  EXPECT_EQ(f.instructions[0].line, 10);
  EXPECT_EQ(f.instructions[1].source.line, 20);
  EXPECT_EQ(f.instructions[2].source.file, 1);
  EXPECT_EQ(f.instructions[2].line, 14);
  EXPECT_EQ(f.instructions[3].source.file, 2);
  EXPECT_EQ(f.instructions[3].source.line, 5);
  EXPECT_EQ(f.instructions[3].line, 16);
}

TEST(ParserTest, SectionsOfDebuggingDataAreSkipped) {
  const Module m = ParseModule(
      ".entry k() { ret; }\n.section\t.debug_abbrev\n{\n.b8 1,2,0\n$L: .b32 .debug_str+4\n"
      ".b64 $a-$b\n{ }\n}\n.section .debug_loc { }\n.global .b32 after;");
  EXPECT_NE(m.FindVariable("after"), nullptr);
}

TEST(ParserTest, VideoInstructionsNameParts) {
  const Function f = ParseKernel("vadd.u32.u32.u32 %r1, %r2.b0, %r3.h1;");
  EXPECT_EQ(f.instructions[0].operands[1].name, "b0");
  EXPECT_EQ(NameOf(f, f.instructions[0].operands[2]), "%r3");
  EXPECT_THAT(ErrorOf(WithKernel("add.u32 %r1, %r2.b0, %r3;")), HasSubstr("'%r2.b0'"));
}

}  // namespace
}  // namespace softgpu::ptx
