// Function bodies: scopes, registers, labels, instructions, and how names are bound.
#include <charconv>

#include "tests/softgpu/ptx/expression.h"
#include "tests/softgpu/ptx/parser.h"

namespace softgpu::ptx {
namespace {

constexpr size_t kDeepestScope = 64;
constexpr int64_t kMostRegisters = 4'000'000;

}  // namespace

// From after the opening brace to after the closing one.
void Parser::ParseBody(Body& body) {
  body.scopes.emplace_back();
  for (const auto* list : {&body.function.results, &body.function.params}) {
    for (const Variable& p : *list) {
      // The keys are views of the function's own strings, which stay where they are meanwhile.
      Declare(body.scopes.back(), p.name, {Named::Kind::kVariable, -1}, p.line);
      ++body.uses[p.name];
    }
  }
  while (!body.scopes.empty()) ParseStatement(body);
}

void Parser::ParseStatement(Body& body) {
  const Token& token = lexer_.Peek();
  if (token.kind == Token::Kind::kEnd) {
    Fail(token.line, "the body of " + Quote(body.function.name) + " has no end");
  }
  if (token.IsPunct("{")) {
    if (body.scopes.size() == kDeepestScope) Fail(token.line, "scopes are nested deeper than 64");
    body.scopes.emplace_back();
    lexer_.Take();
  } else if (token.IsPunct("}")) {
    CloseScope(body);
    lexer_.Take();
  } else if (token.IsPunct(";")) {
    lexer_.Take();
  } else if (token.kind == Token::Kind::kDirective) {
    ParseBodyDirective(body);
  } else if (token.kind == Token::Kind::kName && lexer_.PeekSecond().IsPunct(":")) {
    ParseLabel(body);
  } else {
    ParseInstruction(body);
  }
}

void Parser::ParseBodyDirective(Body& body) {
  const std::string_view word = lexer_.Peek().text;
  Space space;
  if (word == "loc") {
    body.source = ParseLoc();
  } else if (word == "reg") {
    lexer_.Take();
    ParseRegisters(body);
  } else if (word == "pragma") {
    lexer_.Take();
    if (lexer_.Take().kind != Token::Kind::kString) Fail(lexer_.line(), "'.pragma' takes a string");
    lexer_.ExpectPunct(";", "after '.pragma'");
  } else if (word == "file") {
    ParseFile();
  } else {
    const Linkage linkage{lexer_.TakeDirective("extern")};
    if (lexer_.Peek().kind != Token::Kind::kDirective || !FindSpace(lexer_.Peek().text, &space)) {
      lexer_.FailExpected("a directive of function scope");
    }
    if (space == Space::kGlobal || space == Space::kConst) {
      lexer_.FailExpected("a variable that functions can hold");
    }
    lexer_.Take();
    ParseVariables(space, linkage, &body);
  }
}

// .reg .type name, name<count>, ...;
void Parser::ParseRegisters(Body& body) {
  const Type type = ParseType();
  Scope& scope = body.scopes.back();
  do {
    const int line = lexer_.line();
    const std::string_view name = TakeIdentifier("a register's name");
    int64_t count = 1;
    Charge(128);
    if (lexer_.TakePunct("<")) {
      // No expression, which would take the '>' for a comparison.
      const Token number = lexer_.Take();
      const auto result = std::from_chars(number.text.begin(), number.text.end(), count);
      if (result.ec != std::errc() || result.ptr != number.text.end() || count > kMostRegisters) {
        Fail(line, "a count of registers must be a number from 0 to 4000000");
      }
      lexer_.ExpectPunct(">", "after a count of registers");
      const bool fresh = scope.ranges.emplace(name, RegisterRange{type.bits, count}).second;
      if (!fresh) Fail(line, "registers " + Quote(name) + "<...> are declared twice");
    } else {
      if (FindInRanges(body, scope, name) != nullptr) {
        Fail(line, Quote(name) + " is declared twice");
      }
      const int index = static_cast<int>(body.function.registers.size());
      body.function.registers.push_back({std::string(name), type.bits});
      Declare(scope, name, {Named::Kind::kRegister, index}, line);
    }
    body.declared_registers += count;
    if (body.declared_registers > kMostRegisters) {
      Fail(line, "a function declares more than 4000000 registers");
    }
  } while (lexer_.TakePunct(","));
  lexer_.ExpectPunct(";", "after registers");
}

// name: before an instruction, or before the table of a brx, call or prototype.
void Parser::ParseLabel(Body& body) {
  const int line = lexer_.line();
  const std::string_view name = TakeIdentifier("a label");
  lexer_.Take();
  Charge(64);
  Scope& scope = body.scopes.back();
  if (lexer_.TakeDirective("callprototype")) {
    ParsePrototype();
    DeclareTable(body, name, line);
  } else if (lexer_.TakeDirective("calltargets")) {
    do {
      TakeIdentifier("a function's name");
    } while (lexer_.TakePunct(","));
    lexer_.ExpectPunct(";", "after '.calltargets'");
    DeclareTable(body, name, line);
  } else if (lexer_.TakeDirective("branchtargets")) {
    DeclareTable(body, name, line);
    PendingTable table{body.tables.back(), line, {}, {}};
    do {
      Charge(32);
      table.labels.push_back(TakeIdentifier("a label"));
      table.targets.push_back(-1);
    } while (lexer_.TakePunct(","));
    lexer_.ExpectPunct(";", "after '.branchtargets'");
    scope.tables.push_back(std::move(table));
  } else {
    const int next = static_cast<int>(body.function.instructions.size());
    Declare(scope, name, {Named::Kind::kLabel, next}, line);
  }
}

void Parser::ParseInstruction(Body& body) {
  Instruction instruction;
  instruction.source = body.source;
  if (lexer_.Peek().IsPunct("@")) ParseGuard(body, instruction);
  instruction.line = lexer_.line();
  if (lexer_.Peek().kind != Token::Kind::kName) lexer_.FailExpected("an instruction");
  std::string_view opcode = lexer_.Take().text;
  for (size_t dot; (dot = opcode.find('.')) != opcode.npos; opcode.remove_prefix(dot + 1)) {
    instruction.words.emplace_back(opcode.substr(0, dot));
    Charge(64);
  }
  instruction.words.emplace_back(opcode);
  while (lexer_.Peek().kind == Token::Kind::kDirective) {
    instruction.words.emplace_back(lexer_.Take().text);
    Charge(64);
  }
  Charge(sizeof(Instruction) + 96);
  ParseOperands(body, instruction);
  lexer_.ExpectPunct(";", "after an instruction");
  body.function.instructions.push_back(std::move(instruction));
}

void Parser::ParseGuard(Body& body, Instruction& instruction) {
  lexer_.Take();
  instruction.guard_negated = lexer_.TakePunct("!");
  const int line = lexer_.line();
  const std::string_view name = TakeIdentifier("a predicate");
  const Named* named = Find(body, name);
  if (named == nullptr || named->kind != Named::Kind::kRegister ||
      body.function.registers[named->index].bits != 1) {
    Fail(line, "the guard " + Quote(name) + " is no predicate");
  }
  instruction.guard = named->index;
}

void Parser::AddBodyVariable(Body& body, Variable variable, std::string_view name) {
  variable.name = UniqueName(body, name);
  const int index = static_cast<int>(body.function.variables.size());
  Declare(body.scopes.back(), name, {Named::Kind::kVariable, index}, variable.line);
  body.function.variables.push_back(std::move(variable));
}

// No identifier holds an '@', so a made name can't meet a written one.
std::string Parser::UniqueName(Body& body, std::string_view name) {
  const int uses = ++body.uses[name];
  std::string unique(name);
  if (uses > 1 || names_.contains(name)) unique += "@" + std::to_string(uses);
  return unique;
}

void Parser::Declare(Scope& scope, std::string_view name, Named named, int line) {
  if (!scope.names.emplace(name, named).second) Fail(line, Quote(name) + " is declared twice");
}

const Parser::Named* Parser::Find(Body& body, std::string_view name) {
  for (auto scope = body.scopes.rbegin(); scope != body.scopes.rend(); ++scope) {
    const auto it = scope->names.find(name);
    if (it != scope->names.end()) return &it->second;
    if (const Named* named = FindInRanges(body, *scope, name)) return named;
  }
  return nullptr;
}

// A register of name<count>: made when it is first named, so that what a text declares and never
// uses costs nothing.
const Parser::Named* Parser::FindInRanges(Body& body, Scope& scope, std::string_view name) {
  constexpr size_t kMostDigits = 7, kLongestName = 256;
  if (scope.ranges.empty() || name.size() > kLongestName) return nullptr;
  int64_t number = 0, power = 1;
  for (size_t digits = 1; digits <= kMostDigits && digits < name.size(); ++digits, power *= 10) {
    const char c = name[name.size() - digits];
    if (c < '0' || c > '9') return nullptr;
    number += (c - '0') * power;
    if (c == '0' && digits > 1) continue;
    const auto it = scope.ranges.find(name.substr(0, name.size() - digits));
    if (it == scope.ranges.end() || number >= it->second.count) continue;
    Charge(128);
    const int index = static_cast<int>(body.function.registers.size());
    body.function.registers.push_back({std::string(name), it->second.bits});
    return &scope.names.emplace(name, Named{Named::Kind::kRegister, index}).first->second;
  }
  return nullptr;
}

void Parser::DeclareTable(Body& body, std::string_view name, int line) {
  const int index = static_cast<int>(body.tables.size());
  body.tables.push_back(UniqueName(body, name));
  Declare(body.scopes.back(), name, {Named::Kind::kTable, index}, line);
}

// True where names are left that no label or table of this scope explains.
bool Parser::BindLabels(const Body& body, const Scope& scope, Operand& operand) const {
  bool left = false;
  for (Operand& element : operand.elements) left |= BindLabels(body, scope, element);
  if (operand.kind != Operand::Kind::kSymbol || operand.index != kUnbound) return left;
  const auto it = scope.names.find(operand.name);
  if (it == scope.names.end()) return true;
  if (it->second.kind == Named::Kind::kLabel && operand.offset == 0) {
    operand.kind = Operand::Kind::kLabel;
    operand.index = it->second.index;
    operand.name.clear();
  } else if (it->second.kind == Named::Kind::kTable) {
    operand.index = -1;
    operand.name = body.tables[it->second.index];
  } else {
    return true;
  }
  return left;
}

void Parser::BindModuleNames(const Instruction& instruction, Operand& operand) const {
  for (Operand& element : operand.elements) BindModuleNames(instruction, element);
  if (operand.kind != Operand::Kind::kSymbol || operand.index != kUnbound) return;
  if (!names_.contains(operand.name)) {
    Fail(instruction.line, Quote(operand.name) + " is declared nowhere");
  }
  operand.index = -1;
}

void Parser::BindTable(Body& body, const Scope& scope, PendingTable& table, Scope* outer) const {
  bool left = false;
  for (size_t i = 0; i < table.labels.size(); ++i) {
    if (table.targets[i] >= 0) continue;
    const auto it = scope.names.find(table.labels[i]);
    if (it != scope.names.end() && it->second.kind == Named::Kind::kLabel) {
      table.targets[i] = it->second.index;
    } else if (outer == nullptr) {
      Fail(table.line, "the branch target " + Quote(table.labels[i]) + " is no label");
    } else {
      left = true;
    }
  }
  if (left) {
    outer->tables.push_back(std::move(table));
  } else {
    body.function.branch_targets[table.name] = std::move(table.targets);
  }
}

// Binds what this scope's labels explain and hands the rest to the scope around it.
void Parser::CloseScope(Body& body) {
  Scope scope = std::move(body.scopes.back());
  body.scopes.pop_back();
  Scope* outer = body.scopes.empty() ? nullptr : &body.scopes.back();
  for (int index : scope.pending) {
    Instruction& instruction = body.function.instructions[index];
    bool left = false;
    for (Operand& operand : instruction.operands) left |= BindLabels(body, scope, operand);
    if (!left) continue;
    if (outer != nullptr) {
      outer->pending.push_back(index);
    } else {
      for (Operand& operand : instruction.operands) BindModuleNames(instruction, operand);
    }
  }
  for (PendingTable& table : scope.tables) BindTable(body, scope, table, outer);
}

}  // namespace softgpu::ptx
