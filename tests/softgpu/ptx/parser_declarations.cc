// Variables and their types, functions and what stands between their parameters and their bodies.
#include <algorithm>
#include <bit>
#include <limits>

#include "tests/softgpu/ptx/expression.h"
#include "tests/softgpu/ptx/parser.h"

namespace softgpu::ptx {
namespace {

constexpr int64_t kLargestInt = std::numeric_limits<int>::max();

}  // namespace

bool Parser::FindSpace(std::string_view directive, Space* space) {
  constexpr std::pair<std::string_view, Space> kSpaces[] = {{"global", Space::kGlobal},
                                                            {"shared", Space::kShared},
                                                            {"local", Space::kLocal},
                                                            {"const", Space::kConst},
                                                            {"param", Space::kParam}};
  for (const auto& [name, value] : kSpaces) {
    if (directive == name) {
      *space = value;
      return true;
    }
  }
  return false;
}

Parser::Type Parser::ParseType() {
  struct Known {
    std::string_view name;
    Type type;
  };
  // References to textures, samplers and surfaces are handles of 8 bytes.
  static constexpr Known kTypes[] = {
      {"pred", {1, false}},    {"b8", {8, false}},          {"u8", {8, false}},
      {"s8", {8, false}},      {"b16", {16, false}},        {"u16", {16, false}},
      {"s16", {16, false}},    {"b32", {32, false}},        {"u32", {32, false}},
      {"s32", {32, false}},    {"b64", {64, false}},        {"u64", {64, false}},
      {"s64", {64, false}},    {"b128", {128, false}},      {"f16", {16, false}},
      {"f16x2", {32, false}},  {"bf16", {16, false}},       {"bf16x2", {32, false}},
      {"f32", {32, true}},     {"f64", {64, true}},         {"f32x2", {64, false}},
      {"e4m3x2", {16, false}}, {"e5m2x2", {16, false}},     {"tf32", {32, false}},
      {"texref", {64, false}}, {"samplerref", {64, false}}, {"surfref", {64, false}}};
  if (lexer_.Peek().kind == Token::Kind::kDirective) {
    for (const Known& known : kTypes) {
      if (lexer_.TakeDirective(known.name)) return known.type;
    }
  }
  lexer_.FailExpected("a type");
}

// .attribute(.managed), .attribute(.unified(a, b)): where the host sees a variable is not said
// here.
void Parser::ParseAttribute() {
  const int line = lexer_.line();
  lexer_.ExpectPunct("(", "after '.attribute'");
  for (int depth = 1; depth > 0;) {
    const Token token = lexer_.Take();
    if (token.kind == Token::Kind::kEnd || token.IsPunct(";"))
      Fail(line, "'.attribute' has no end");
    depth += token.IsPunct("(") ? 1 : token.IsPunct(")") ? -1 : 0;
  }
}

Parser::Declared Parser::ParseDeclaredHead(Space space) {
  Declared declared;
  declared.variable.space = space;
  uint32_t align = 0;
  bool has_type = false;
  for (;;) {
    if (lexer_.TakeDirective("attribute")) {
      ParseAttribute();
    } else if (lexer_.TakeDirective("align")) {
      const int line = lexer_.line();
      align = static_cast<uint32_t>(ParseInteger(lexer_, 1, 1 << 20, "an alignment"));
      if (!std::has_single_bit(align)) Fail(line, "an alignment must be a power of two");
    } else if (lexer_.TakeDirective("v2")) {
      declared.vector = 2;
    } else if (lexer_.TakeDirective("v4")) {
      declared.vector = 4;
    } else if (lexer_.TakeDirective("ptr")) {
      // What a parameter points to is a hint: its space, then the alignment of what is there.
      Space pointee;
      if (FindSpace(lexer_.Peek().text, &pointee)) lexer_.Take();
      if (lexer_.TakeDirective("align")) ParseInteger(lexer_, 1, 1 << 20, "an alignment");
    } else if (!has_type) {
      const int line = lexer_.line();
      declared.type = ParseType();
      if (declared.type.bits == 1) Fail(line, "predicates live in registers only");
      has_type = true;
    } else {
      break;
    }
  }
  const uint32_t natural = static_cast<uint32_t>(declared.type.bits) / 8 * declared.vector;
  declared.variable.align = align != 0 ? align : natural;
  declared.variable.bytes = natural;
  return declared;
}

// [3][4]; the first may be [] or [0].
void Parser::ParseDimensions(Declared& declared) {
  uint64_t row = declared.variable.bytes;  // of all but the first dimension
  while (lexer_.TakePunct("[")) {
    const int line = lexer_.line();
    const bool is_first = declared.dimensions.empty();
    uint64_t dimension = 0;
    if (!is_first || !lexer_.Peek().IsPunct("]")) {
      dimension = static_cast<uint64_t>(ParseInteger(
          lexer_, is_first ? 0 : 1, static_cast<int64_t>(kLargestVariable), "a dimension"));
    }
    lexer_.ExpectPunct("]", "after a dimension");
    Charge(32);
    declared.dimensions.push_back(dimension);
    if (declared.dimensions.size() > 32) Fail(line, "an array has more than 32 dimensions");
    if (row > kLargestVariable / std::max<uint64_t>(dimension, 1)) {
      Fail(line, "a variable is larger than 1 TiB");
    }
    row *= is_first ? 1 : dimension;
    if (row > kLargestVariable / std::max<uint64_t>(declared.dimensions[0], 1)) {
      Fail(line, "a variable is larger than 1 TiB");
    }
    declared.variable.bytes = row * declared.dimensions[0];
  }
}

// .space [.align N] .type name[n] = value, ...; in a body where one is given.
void Parser::ParseVariables(Space space, Linkage linkage, Body* body) {
  const Declared head = ParseDeclaredHead(space);
  do {
    Charge(256);
    Declared declared = head;
    declared.variable.line = lexer_.line();
    declared.variable.is_extern = linkage.is_extern;
    const std::string_view name = TakeIdentifier("a variable's name");
    declared.variable.name = name;
    ParseDimensions(declared);
    if (lexer_.TakePunct("=")) {
      if (linkage.is_extern || (space != Space::kGlobal && space != Space::kConst)) {
        Fail(declared.variable.line, "a variable of this kind takes no initial value");
      }
      ParseInitial(declared);
    }
    const bool sized = declared.dimensions.empty() || declared.dimensions[0] != 0;
    if (!sized && declared.variable.bytes == 0 && !linkage.is_extern) {
      Fail(declared.variable.line, "the array " + Quote(name) + " has no size");
    }
    if (body != nullptr) {
      AddBodyVariable(*body, std::move(declared.variable), name);
    } else {
      AddModuleVariable(std::move(declared.variable), name);
    }
  } while (lexer_.TakePunct(","));
  lexer_.ExpectPunct(";", "after a variable");
}

// (.param .type name, ...); the last of a function's may be name[], which holds variadic arguments.
std::vector<Variable> Parser::ParseParameters(bool unnamed) {
  std::vector<Variable> parameters;
  if (!lexer_.TakePunct("(")) return parameters;
  if (lexer_.TakePunct(")")) return parameters;
  do {
    Charge(256);
    if (lexer_.Peek().IsDirective("reg")) {
      Fail(lexer_.line(), "parameters in registers are not covered");
    }
    if (!lexer_.TakeDirective("param")) lexer_.FailExpected("'.param'");
    Declared declared = ParseDeclaredHead(Space::kParam);
    declared.variable.line = lexer_.line();
    const std::string_view name = TakeIdentifier("a parameter's name");
    if (name == "_" && !unnamed) Fail(declared.variable.line, "a parameter has no name");
    declared.variable.name = name;
    ParseDimensions(declared);
    parameters.push_back(std::move(declared.variable));
  } while (lexer_.TakePunct(","));
  lexer_.ExpectPunct(")", "after parameters");
  return parameters;
}

// .entry name (params) attributes {body}; .func (results) name (params) attributes, ';' or {body}
void Parser::ParseFunction(bool is_entry) {
  Body body;
  Function& function = body.function;
  if (lexer_.TakeDirective("attribute")) ParseAttribute();
  function.is_entry = is_entry;
  if (!is_entry) function.results = ParseParameters(false);
  function.line = lexer_.line();
  const std::string_view name = TakeIdentifier("a function's name");
  Charge(sizeof(Function) + 512 + name.size());
  function.name = name;
  function.params = ParseParameters(false);
  ParseFunctionAttributes(function);
  function.is_declared_only = !lexer_.Peek().IsPunct("{");
  if (function.is_declared_only) lexer_.ExpectPunct(";", "or '{' after a function's head");
  const int index = AddFunction(function, name);
  if (function.is_declared_only) return;
  lexer_.Take();
  ParseBody(body);
  module_.functions[index] = std::move(function);
}

// The place of the function in the module; a definition takes that of its declaration.
int Parser::AddFunction(const Function& function, std::string_view name) {
  const int next = static_cast<int>(module_.functions.size());
  const auto [it, is_new] = names_.emplace(name, Named{Named::Kind::kFunction, next});
  if (is_new) {
    Function declaration = function;
    declaration.instructions.clear();
    declaration.is_declared_only = true;
    module_.functions.push_back(std::move(declaration));
    return next;
  }
  const bool fits =
      it->second.kind == Named::Kind::kFunction &&
      (function.is_declared_only || module_.functions[it->second.index].is_declared_only);
  if (!fits) Fail(function.line, Quote(name) + " is declared twice");
  return it->second.index;
}

void Parser::ParseFunctionAttributes(Function& function) {
  // Limits on registers, blocks and clusters are hints to the compiler or checked at launch.
  constexpr std::string_view kNumbers[] = {
      "minnctapersm", "maxnctapersm",        "maxnreg", "maxclusterrank", "reqnctapercluster",
      "abi_preserve", "abi_preserve_control"};
  constexpr std::string_view kPlain[] = {"noreturn", "explicitcluster", "blocksareclusters"};
  while (lexer_.Peek().kind == Token::Kind::kDirective) {
    const Token directive = lexer_.Take();
    if (directive.text == "maxntid") {
      ParseThreads(function.max_threads, directive.text);
    } else if (directive.text == "reqntid") {
      ParseThreads(function.required_threads, directive.text);
    } else if (directive.text == "pragma") {
      if (lexer_.Take().kind != Token::Kind::kString) {
        Fail(directive.line, "'.pragma' takes a string");
      }
      lexer_.TakePunct(";");
    } else if (std::ranges::find(kNumbers, directive.text) != std::end(kNumbers)) {
      do {
        ParseInteger(lexer_, 0, kLargestInt, "a limit");
      } while (lexer_.TakePunct(","));
    } else if (std::ranges::find(kPlain, directive.text) == std::end(kPlain)) {
      Fail(directive.line,
           "'." + std::string(directive.text.substr(0, 64)) + "' is no directive of a function");
    }
  }
}

void Parser::ParseThreads(uint32_t (&threads)[3], std::string_view directive) {
  std::fill(std::begin(threads), std::end(threads), 1);
  int count = 0;
  do {
    if (count == 3)
      lexer_.FailExpected("at most three numbers after '." + std::string(directive) + "'");
    threads[count++] =
        static_cast<uint32_t>(ParseInteger(lexer_, 1, kLargestInt, "a thread count"));
  } while (lexer_.TakePunct(","));
}

// .callprototype (results) _ (params) [.noreturn] ...; a call is checked against the function that
// it reaches, so that nothing of a prototype is kept.
void Parser::ParsePrototype() {
  ParseParameters(true);
  TakeIdentifier("'_' in a prototype");
  ParseParameters(true);
  Function ignored;
  ParseFunctionAttributes(ignored);
  lexer_.ExpectPunct(";", "after a prototype");
}

}  // namespace softgpu::ptx
