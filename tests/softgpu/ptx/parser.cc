// Statements of a module, and what all parts of the parser use.
#include "tests/softgpu/ptx/parser.h"

#include <algorithm>
#include <limits>

#include "tests/softgpu/ptx/expression.h"

namespace softgpu::ptx {
namespace {

constexpr int64_t kLargestInt = std::numeric_limits<int>::max();

}  // namespace

// A module of ordinary code takes about ten times its text; small texts may hold a few large
// tables.
Parser::Parser(std::string_view text)
    : lexer_(text), budget_((uint64_t{64} << 20) + 24 * static_cast<uint64_t>(text.size())) {}

Module Parser::Run() {
  ParseHeader();
  while (lexer_.Peek().kind != Token::Kind::kEnd) ParseModuleStatement();
  CheckRelocations();
  return std::move(module_);
}

void Parser::Fail(int line, const std::string& what) { throw Error(line, what); }

void Parser::Charge(uint64_t bytes) {
  if (bytes > budget_) {
    Fail(lexer_.line(), "the text asks for more memory than a module of its size can need");
  }
  budget_ -= bytes;
}

std::string_view Parser::TakeIdentifier(std::string_view what) {
  const Token& token = lexer_.Peek();
  if (token.kind != Token::Kind::kName ||
      token.text.find_first_of(".:") != std::string_view::npos) {
    lexer_.FailExpected(what);
  }
  return lexer_.Take().text;
}

// .version, .target and .address_size, which open every module.
void Parser::ParseHeader() {
  if (!lexer_.TakeDirective("version")) lexer_.FailExpected("'.version' at the top of a module");
  const Token version = lexer_.Take();
  const size_t dot = version.text.find('.');
  const auto digits = [](std::string_view s) {
    return !s.empty() && s.size() <= 3 && s.find_first_not_of("0123456789") == s.npos;
  };
  if (version.kind != Token::Kind::kNumber || dot == version.text.npos ||
      !digits(version.text.substr(0, dot)) || !digits(version.text.substr(dot + 1))) {
    Fail(version.line, "'.version' takes a number such as 9.0");
  }
  module_.version_major = std::stoi(std::string(version.text.substr(0, dot)));
  module_.version_minor = std::stoi(std::string(version.text.substr(dot + 1)));
  if (!lexer_.TakeDirective("target")) lexer_.FailExpected("'.target' after '.version'");
  module_.target = TakeIdentifier("a target such as sm_80");
  while (lexer_.TakePunct(",")) TakeIdentifier("a target's option");
  if (lexer_.TakeDirective("address_size")) {
    const int line = lexer_.line();
    if (ParseInteger(lexer_, 0, kLargestInt, "'.address_size'") != 64) {
      Fail(line, "only 64-bit addresses are covered");
    }
  }
}

void Parser::ParseModuleStatement() {
  if (lexer_.TakePunct(";")) return;
  if (lexer_.Peek().kind != Token::Kind::kDirective) lexer_.FailExpected("a directive");
  Linkage linkage;
  bool linked = false;
  for (;; linked = true) {
    if (lexer_.TakeDirective("extern")) {
      linkage.is_extern = true;
    } else if (!lexer_.TakeDirective("visible") && !lexer_.TakeDirective("weak") &&
               !lexer_.TakeDirective("common")) {
      break;
    }
  }
  const std::string_view word =
      lexer_.Peek().kind == Token::Kind::kDirective ? lexer_.Peek().text : std::string_view();
  Space space;
  if (word == "entry" || word == "func") {
    lexer_.Take();
    ParseFunction(word == "entry");
  } else if (FindSpace(word, &space)) {
    if (space == Space::kParam || space == Space::kLocal) {
      Fail(lexer_.line(), "a variable of space ." + std::string(word) + " outside any function");
    }
    lexer_.Take();
    ParseVariables(space, linkage, nullptr);
  } else if (linked) {
    lexer_.FailExpected("a variable or a function");
  } else if (word == "file") {
    ParseFile();
  } else if (word == "loc") {
    ParseLoc();
  } else if (word == "section") {
    ParseSection();
  } else if (word == "alias") {
    ParseAlias();
  } else if (lexer_.TakeDirective("pragma")) {
    if (lexer_.Take().kind != Token::Kind::kString) Fail(lexer_.line(), "'.pragma' takes a string");
    lexer_.ExpectPunct(";", "after '.pragma'");
  } else {
    lexer_.FailExpected("a directive of module scope");
  }
}

// .file N "name" [, timestamp, size]
void Parser::ParseFile() {
  lexer_.Take();
  const int64_t index = ParseInteger(lexer_, 0, kLargestInt, "a file's number");
  if (lexer_.Peek().kind != Token::Kind::kString) lexer_.FailExpected("a file's name");
  const std::string_view name = lexer_.Take().text;
  Charge(128 + name.size());
  module_.files[static_cast<int>(index)] = name;
  while (lexer_.TakePunct(",")) {
    ParseInteger(lexer_, 0, std::numeric_limits<int64_t>::max(), "a file's time or size");
  }
}

// Debugging data: nothing in it changes what a kernel does.
void Parser::ParseSection() {
  const int line = lexer_.line();
  lexer_.Take();
  if (lexer_.Take().kind != Token::Kind::kDirective) Fail(line, "'.section' takes a name");
  lexer_.ExpectPunct("{", "after a section's name");
  for (int64_t depth = 1; depth > 0;) {
    const Token token = lexer_.Take();
    if (token.kind == Token::Kind::kEnd) Fail(line, "a section has no end");
    depth += token.IsPunct("{") ? 1 : token.IsPunct("}") ? -1 : 0;
  }
}

// .alias name, function;
void Parser::ParseAlias() {
  const int line = lexer_.line();
  lexer_.Take();
  const std::string_view alias = TakeIdentifier("a function's name");
  lexer_.ExpectPunct(",", "between the names of '.alias'");
  const std::string_view target = TakeIdentifier("a function's name");
  lexer_.ExpectPunct(";", "after '.alias'");
  const auto it = names_.find(target);
  if (it == names_.end() || it->second.kind != Named::Kind::kFunction) {
    Fail(line, "no function " + Quote(target) + " to give another name to");
  }
  const Function& original = module_.functions[it->second.index];
  if (original.is_declared_only || original.is_entry) {
    Fail(line, "'.alias' needs a function with a body");
  }
  // The copy's operands and words, roughly.
  Charge(1024 * (original.instructions.size() + 1) + 64 * original.registers.size());
  Function copy = original;
  copy.name = alias;
  copy.line = line;
  const int index = AddFunction(copy, alias);
  module_.functions[index] = std::move(copy);
}

// .loc file line column [, function_name label [+ n], inlined_at file line column]: of code that
// was inlined, the place is the innermost one, as debuggers tell it.
SourceLine Parser::ParseLoc() {
  lexer_.Take();
  SourceLine source;
  source.file = static_cast<int>(ParseInteger(lexer_, 0, kLargestInt, "a file's number"));
  source.line = static_cast<int>(ParseInteger(lexer_, 0, kLargestInt, "a line's number"));
  ParseInteger(lexer_, 0, kLargestInt, "a column's number");
  SkipLocAttributes();
  return source;
}

void Parser::SkipLocAttributes() {
  while (lexer_.TakePunct(",")) {
    const std::string_view attribute = TakeIdentifier("function_name or inlined_at");
    if (attribute == "function_name") {
      TakeIdentifier("a label");
      if (lexer_.TakePunct("+")) ParseInteger(lexer_, 0, kLargestInt, "an offset");
    } else if (attribute == "inlined_at") {
      for (int i = 0; i < 3; ++i) ParseInteger(lexer_, 0, kLargestInt, "a place inlined at");
    } else {
      Fail(lexer_.line(), "expected function_name or inlined_at, found " + Quote(attribute));
    }
  }
}

// A declaration with .extern may stand beside the definition, before or after it.
void Parser::AddModuleVariable(Variable variable, std::string_view name) {
  const int next = static_cast<int>(module_.variables.size());
  const auto [it, is_new] = names_.emplace(name, Named{Named::Kind::kVariable, next});
  if (is_new) {
    module_.variables.push_back(std::move(variable));
    return;
  }
  const bool is_variable = it->second.kind == Named::Kind::kVariable;
  Variable* old = is_variable ? &module_.variables[it->second.index] : nullptr;
  if (old == nullptr || old->space != variable.space || !(old->is_extern || variable.is_extern)) {
    Fail(variable.line, Quote(variable.name) + " is declared twice");
  }
  if (old->is_extern) *old = std::move(variable);
}

void Parser::CheckRelocations() const {
  for (const Variable& v : module_.variables) {
    for (const Relocation& r : v.relocations) {
      if (!names_.contains(r.symbol)) {
        Fail(v.line, "the initial value of " + Quote(v.name) + " names " + Quote(r.symbol) +
                         ", which is declared nowhere");
      }
    }
  }
}

}  // namespace softgpu::ptx
