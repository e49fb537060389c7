// The parser on data and on text that is no PTX: variables, initial values, constant expressions,
// errors with their lines, and limits that hostile text runs into.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/softgpu/tests/parser_test_support.h"

namespace softgpu::ptx {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

Variable ParseVariable(const std::string& declaration) {
  return ParseModule(declaration).variables.back();
}

template <class T>
std::vector<T> InitialOf(const Variable& v) {
  std::vector<T> values(v.initial.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), v.initial.data(), values.size() * sizeof(T));
  return values;
}

int64_t Evaluate(const std::string& expression) {
  return InitialOf<int64_t>(ParseVariable(".global .s64 x = " + expression + ";")).at(0);
}

TEST(ParserDataTest, SizesAndAlignments) {
  const Module m = ParseModule(
      ".global .b32 a, b[3], c[2][5];\n.const .align 64 .b8 d[100];\n.global .v4 .f32 e[2];\n"
      ".extern .shared .align 16 .b8 f[];\n.shared .f64 g;\n.visible .global .align 1 .u64 h;\n"
      ".extern .global .u32 i;\n.common .global .s16 j;\n.global .attribute(.managed) .b32 l;\n"
      ".global .texref t;");
  std::map<std::string, std::tuple<uint64_t, uint32_t, bool>> layout;
  for (const Variable& v : m.variables) layout[v.name] = {v.bytes, v.align, v.is_extern};
  const decltype(layout) want = {
      {"a", {4, 4, false}},   {"b", {12, 4, false}}, {"c", {40, 4, false}}, {"d", {100, 64, false}},
      {"e", {32, 16, false}}, {"f", {0, 16, true}},  {"g", {8, 8, false}},  {"h", {8, 1, false}},
      {"i", {4, 4, true}},    {"j", {2, 2, false}},  {"l", {4, 4, false}},  {"t", {8, 8, false}}};
  EXPECT_EQ(layout, want);
  EXPECT_EQ(m.FindVariable("d")->space, Space::kConst);
  EXPECT_EQ(m.FindVariable("f")->space, Space::kShared);
  EXPECT_THAT(m.FindVariable("a")->initial, IsEmpty());
}

TEST(ParserDataTest, ADefinitionReplacesItsExternDeclaration) {
  const Module m = ParseModule(
      ".extern .global .u32 x;\n.global .u32 x = 5;\n.extern .global .u32 x;\n"
      ".extern .shared .b8 s[]; .extern .shared .b8 s[];");
  ASSERT_THAT(m.variables, SizeIs(2));
  EXPECT_FALSE(m.FindVariable("x")->is_extern);
  EXPECT_THAT(InitialOf<uint32_t>(*m.FindVariable("x")), ElementsAre(5u));
}

TEST(ParserDataTest, InitialValues) {
  EXPECT_THAT(InitialOf<uint8_t>(ParseVariable(".global .b8 s[6] = {72, 0x69, -1, 300};")),
              ElementsAre(72, 0x69, 255, 44, 0, 0));
  EXPECT_THAT(InitialOf<float>(
                  ParseVariable(".global .f32 x[] = {0f3F800000, 2.5, -3, 0d3FE0000000000000};")),
              ElementsAre(1.0f, 2.5f, -3.0f, 0.5f));
  EXPECT_THAT(InitialOf<double>(ParseVariable(".const .f64 x[2] = {0fBF800000, 1e300};")),
              ElementsAre(-1.0, 1e300));
  EXPECT_THAT(InitialOf<int16_t>(ParseVariable(".global .s16 x[3][2] = {{1}, {2, 3}, {-4, 5}};")),
              ElementsAre(1, 0, 2, 3, -4, 5));
  EXPECT_THAT(InitialOf<int32_t>(ParseVariable(".global .s32 x[2][2] = {1, 2, 3};")),
              ElementsAre(1, 2, 3, 0));
  EXPECT_THAT(InitialOf<int32_t>(ParseVariable(".global .s32 x[][2] = {{1}, {2, 3}, 4};")),
              ElementsAre(1, 0, 2, 3, 4, 0));
  EXPECT_THAT(InitialOf<int32_t>(ParseVariable(".global .v2 .s32 x[2] = {{1, 2}, {3, 4}};")),
              ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(InitialOf<uint32_t>(ParseVariable(".global .b32 x = 0f3F800000;")),
              ElementsAre(0x3f800000u));
}

TEST(ParserDataTest, AddressesInInitialValues) {
  const Variable v = ParseModule(
                         ".global .b32 a[4]; .func f();\n"
                         ".global .u64 t[6] = {a, a+8, generic(a), generic(a)-4, f, 7};")
                         .variables[1];
  EXPECT_THAT(InitialOf<uint64_t>(v), ElementsAre(0, 0, 0, 0, 0, 7));
  ASSERT_THAT(v.relocations, SizeIs(5));
  EXPECT_EQ(v.relocations[1].offset, 8u);
  EXPECT_EQ(v.relocations[1].symbol, "a");
  EXPECT_EQ(v.relocations[1].addend, 8);
  EXPECT_FALSE(v.relocations[1].generic);
  EXPECT_EQ(v.relocations[3].addend, -4);
  EXPECT_TRUE(v.relocations[3].generic);
  EXPECT_EQ(v.relocations[4].symbol, "f");
}

TEST(ParserDataTest, AddressesByteByByte) {
  const std::string masks =
      "0xFF(generic(a)+4), 0xFF00(generic(a)+4), 0xFF0000(generic(a)+4), 0xFF000000(generic(a)+4), "
      "0xFF00000000(generic(a)+4), 0xFF0000000000(generic(a)+4), 0xFF000000000000(generic(a)+4), "
      "0xFF00000000000000(generic(a)+4)";
  const Variable v = ParseModule(".global .b32 a[4];\n.global .b8 t[18] = {1, " + masks +
                                 ", 2, 0xff(a), 0xff00(a)};")
                         .variables[1];
  ASSERT_THAT(v.relocations, SizeIs(2));
  EXPECT_EQ(v.relocations[0].offset, 1u);
  EXPECT_EQ(v.relocations[0].bytes, 8);
  EXPECT_EQ(v.relocations[0].addend, 4);
  EXPECT_TRUE(v.relocations[0].generic);
  EXPECT_EQ(v.relocations[1].offset, 10u);
  EXPECT_EQ(v.relocations[1].bytes, 2);
  EXPECT_EQ(v.initial[9], 2);
  EXPECT_THAT(ErrorOf(WithHeader(".global .b32 a;\n.global .b8 t[2] = {0xff(a), 0xff0000(a)};")),
              StartsWith("line 5: a masked address"));
}

TEST(ParserDataTest, ConstantExpressions) {
  EXPECT_EQ(Evaluate("1+2*3"), 7);
  EXPECT_EQ(Evaluate("(1+2)*3 - -4"), 13);
  EXPECT_EQ(Evaluate("-7/2"), -3);
  EXPECT_EQ(Evaluate("-7 % 3"), -1);
  EXPECT_EQ(Evaluate("-8 >> 1"), -4);
  EXPECT_EQ(Evaluate("0xFFFFFFFFFFFFFFF8 >> 1"), 0x7ffffffffffffffc);
  EXPECT_EQ(Evaluate("1 << 3 | 1"), 9);
  EXPECT_EQ(Evaluate("1 << 64"), 0);
  EXPECT_EQ(Evaluate("-1 >> 99"), -1);
  EXPECT_EQ(Evaluate("6 & 3 ^ 8"), 10);
  EXPECT_EQ(Evaluate("~0"), -1);
  EXPECT_EQ(Evaluate("!5 + !0"), 1);
  EXPECT_EQ(Evaluate("3 > 2 ? 10 : 20"), 10);
  EXPECT_EQ(Evaluate("3 == 2 ? 10 : 0 ? 30 : 20"), 20);
  EXPECT_EQ(Evaluate("1 && 0 || 4 != 4"), 0);
  EXPECT_EQ(Evaluate("-1 < 1"), 1);
  EXPECT_EQ(Evaluate("-1 < 1U"), 0);  // unsigned where one side is
  EXPECT_EQ(Evaluate("(.s64)18446744073709551615 < 1"), 1);
  EXPECT_EQ(Evaluate("WARP_SZ * 2"), 64);
  EXPECT_EQ(Evaluate("0x8000000000000000 / (.s64)-1"), 0);
  EXPECT_EQ(Evaluate("(-9223372036854775807 - 1) / -1"), INT64_MIN);
  EXPECT_EQ(Evaluate("(-9223372036854775807 - 1) % -1"), 0);
  EXPECT_EQ(Evaluate("1.5 < 2"), 1);
  EXPECT_THAT(InitialOf<double>(ParseVariable(".global .f64 x = 1.5 * 4 - 1/2;")),
              ElementsAre(6.0));
}

// Each text, and how its message begins.
TEST(ParserDataTest, ErrorsNameTheLine) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "line 1: expected '.version'"},
      {".version 9\n.target sm_80", "line 1: '.version'"},
      {".version 9.0\n", "line 2: expected '.target'"},
      {".version 9.0\n.target sm_80\n.address_size 32", "line 3: only 64-bit"},
      {WithHeader(".entry k()"), "line 4: expected ';' or '{'"},
      {WithHeader(".entry k() {"), "line 4: the body of 'k' has no end"},
      {WithHeader("\n\n.bogus"), "line 6: expected a directive of module scope, found '.bogus'"},
      {WithHeader(".global .b32 x;\n.global .b32 x;"), "line 5: 'x' is declared twice"},
      {WithHeader(".func f() {}\n.func f() {}"), "line 5: 'f' is declared twice"},
      {WithHeader(".global .b32 f;\n.func f() {}"), "line 5: 'f' is declared twice"},
      {WithHeader(".global .u64 x = y;"), "line 4: the initial value of 'x' names 'y'"},
      {WithHeader(".global .b32 x[2] = {1,2,3};"), "line 4: more initial values"},
      {WithHeader(".global .b32 x[2] = 1;"), "line 4: expected '{'"},
      {WithHeader(".global .b32 x = 1/0;"), "line 4: a constant expression divides by zero"},
      {WithHeader(".global .b32 x = 0f123;"), "line 4: the number '0f123'"},
      {WithHeader(".global .b32 x = 099;"), "line 4: the number '099'"},
      {WithHeader(".global .b32 x = 18446744073709551616;"), "line 4: the number '1844"},
      {WithHeader(".global .b32 x = 12ab;"), "line 4: the number '12ab'"},
      {WithHeader(".global .align 3 .b32 x;"), "line 4: an alignment"},
      {WithHeader(".global .b32 x[];"), "line 4: the array 'x' has no size"},
      {WithHeader(".shared .b32 x = 1;"), "line 4: a variable of this kind"},
      {WithHeader(".func f(.reg .b32 a) {}"), "line 4: parameters in registers"},
      {WithHeader(".section .x {"), "line 4: a section has no end"},
      {WithHeader("/* never closed"), "line 4: a /* comment"},
      {WithHeader(".file 1 \"x\n"), "line 4: a string has no end"},
      {WithKernel("mov.u32 %r1, 1"), "line 11: expected ';' after an instruction, found '}'"},
      {WithKernel("mov.u32 %r99, 1;"), "line 10: '%r99' is no register"},
      {WithKernel("mov.u32 %r01, 1;"), "line 10: '%r01' is no register"},
      {WithKernel("\nbra NOWHERE;\n"), "line 11: 'NOWHERE' is declared nowhere"},
      {WithKernel("L: ret;\nL: ret;"), "line 11: 'L' is declared twice"},
      {WithKernel("@%r1 ret;"), "line 10: the guard '%r1' is no predicate"},
      {WithKernel("add.s32 %r1, -%r2, 1;"), "line 10: expected a constant, found '%r2'"},
      {WithKernel("add.s32 %r1, {{%r2}}, 1;"), "line 10: expected a register or a constant"},
      {WithKernel("add.s32 %r1|5, %r2, 1;"), "line 10: expected a register after '|'"},
      {WithKernel("T: .branchtargets X;\nbrx.idx %r1, T;"), "line 10: the branch target 'X'"},
      {WithKernel(".global .b32 x;"), "line 10: expected a variable that functions can hold"},
      {WithKernel(".reg .v4 .f32 x;"), "line 10: expected a type, found '.v4'"},
      {WithKernel(".reg .b32 %r<3>;"), "line 10: registers '%r'<...> are declared twice"},
      {WithKernel("ret;\x01"), "line 10: a character that PTX has no use for"},
      {WithKernel("ret;") + "}", "line 12: expected a directive"},
  };
  for (const auto& [text, message] : cases) EXPECT_THAT(ErrorOf(text), StartsWith(message));
}

std::string Repeat(const std::string& piece, size_t times) {
  std::string out;
  out.reserve(piece.size() * times);
  for (size_t i = 0; i < times; ++i) out += piece;
  return out;
}

// Each would take gigabytes, overflow the stack or run for minutes if it were taken at its word.
TEST(ParserDataTest, HostileTextIsRefused) {
  const std::pair<std::string, std::string> cases[] = {
      {WithKernel(".reg .b32 %x<4000001>;"), "line 10: a count of registers"},
      {WithKernel(".reg .b32 %x<99999999999999999999>;"), "line 10: a count of registers"},
      {WithKernel(".reg .b32 %x<3000000>, %y<3000000>;"), "line 10: a function declares more"},
      {WithKernel(Repeat("{", 100)), "line 10: scopes are nested"},
      {WithHeader(".global .b32 x = " + Repeat("(", 1 << 18)),
       "line 4: a constant expression is nested"},
      {WithHeader(".global .b32 x = " + Repeat("-", 1 << 18)),
       "line 4: a constant expression is nested"},
      {WithHeader(".global .b32 x = " + Repeat("1?", 1 << 18)),
       "line 4: a constant expression is nested"},
      {WithHeader(".global .b32 x[4] = " + Repeat("{", 1 << 18)),
       "line 4: a list of initial values"},
      {WithHeader(".global .b8 x[999999999999999] = {1};"), "line 4: a dimension"},
      {WithHeader(".global .b8 x[1099511627776] = {1};"), "line 4: the text asks for more memory"},
      {WithHeader(".global .b8 x[1048576][1048576][1048576];"), "line 4: a variable is larger"},
      {WithHeader(".global .b8 x[][1099511627776] = {{1},{1},{1}};"),
       "line 4: the text asks for more memory"},
      {WithHeader(".global .b8 x[][1073741824] = {{},{1}};"),
       "line 4: the text asks for more memory"},
      {WithKernel(Repeat("a;", 2 << 20)), "line 10: the text asks for more memory"},
      {WithKernel("a {" + Repeat("1,", 2 << 20)), "line 10: the text asks for more memory"},
      {WithKernel("a" + Repeat(".b", 1 << 20)), "line 11: expected an operand"},
      {WithHeader(".func " + std::string(1 << 20, 'f')), "line 4: expected ';' or '{'"},
  };
  for (const auto& [text, message] : cases) EXPECT_THAT(ErrorOf(text), StartsWith(message));
}

// Unused registers and empty scopes cost nothing.
TEST(ParserDataTest, LargeButHonest) {
  std::string text;
  for (int i = 0; i < 200; ++i) {
    text += ".func f" + std::to_string(i) + "() { .reg .b32 %r<4000000>; mov.b32 %r3999999, 1; }\n";
  }
  const Module m = ParseModule(text + ".entry k() {" + Repeat("{}", 1 << 18) + "}");
  EXPECT_THAT(m.functions[0].registers, SizeIs(1));
  EXPECT_THAT(m.functions, SizeIs(201));
}

TEST(ParserDataTest, EveryPrefixOfAModuleIsRefusedOrParsed) {
  const std::string text =
      WithHeader(".global .b8 s[3] = {1, 2};\n") +
      WithKernel("@%p1 bra L;\nld.global.v2.f32 {%f1, %f2}, [%rd1+8];\nL: ret;")
          .substr(WithHeader("").size());
  ASSERT_EQ(ErrorOf(text), "parsed");
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_THAT(ErrorOf(text.substr(0, size)), AnyOf(HasSubstr("line "), "parsed")) << size;
  }
}

}  // namespace
}  // namespace softgpu::ptx
