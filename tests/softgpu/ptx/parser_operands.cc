// Operands: every one parses by its own look, whatever the instruction; only call gives round
// brackets a second meaning.
#include <limits>

#include "tests/softgpu/ptx/expression.h"
#include "tests/softgpu/ptx/parser.h"

namespace softgpu::ptx {
namespace {

bool HasDimensions(std::string_view base) {
  return base == "%tid" || base == "%ntid" || base == "%ctaid" || base == "%nctaid" ||
         base == "%clusterid" || base == "%nclusterid" || base == "%cluster_ctaid" ||
         base == "%cluster_nctaid";
}

// %pm0, %envreg31, ...
bool IsNumbered(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  return !name.empty() && name.size() <= 2 && name.find_first_not_of("0123456789") == name.npos;
}

bool IsSpecial(std::string_view name) {
  constexpr std::string_view kNames[] = {"WARP_SZ",
                                         "%laneid",
                                         "%warpid",
                                         "%nwarpid",
                                         "%smid",
                                         "%nsmid",
                                         "%gridid",
                                         "%is_explicit_cluster",
                                         "%cluster_ctarank",
                                         "%cluster_nctarank",
                                         "%lanemask_eq",
                                         "%lanemask_le",
                                         "%lanemask_lt",
                                         "%lanemask_ge",
                                         "%lanemask_gt",
                                         "%clock",
                                         "%clock_hi",
                                         "%clock64",
                                         "%globaltimer",
                                         "%globaltimer_lo",
                                         "%globaltimer_hi",
                                         "%reserved_smem_offset_begin",
                                         "%reserved_smem_offset_end",
                                         "%reserved_smem_offset_cap",
                                         "%reserved_smem_offset_0",
                                         "%reserved_smem_offset_1",
                                         "%total_smem_size",
                                         "%aggr_smem_size",
                                         "%dynamic_smem_size",
                                         "%current_graph_exec"};
  for (std::string_view special : kNames) {
    if (name == special) return true;
  }
  if (IsNumbered(name, "%pm") || IsNumbered(name, "%envreg")) return true;
  if (name.ends_with("_64") && IsNumbered(name.substr(0, name.size() - 3), "%pm")) return true;
  if (HasDimensions(name)) return true;
  if (name.size() < 3 || name[name.size() - 2] != '.') return false;
  const char c = name.back();
  return (c == 'x' || c == 'y' || c == 'z' || c == 'w') &&
         HasDimensions(name.substr(0, name.size() - 2));
}

bool HasUnbound(const Operand& operand) {
  if (operand.kind == Operand::Kind::kSymbol && operand.index == kUnbound) return true;
  for (const Operand& element : operand.elements) {
    if (HasUnbound(element)) return true;
  }
  return false;
}

}  // namespace

void Parser::ParseOperands(Body& body, Instruction& instruction) {
  if (lexer_.Peek().IsPunct(";")) return;
  bool unbound = false;
  do {
    instruction.operands.push_back(ParseOperand(body, instruction));
    unbound |= HasUnbound(instruction.operands.back());
  } while (lexer_.TakePunct(","));
  // This instruction is the next one of the function.
  if (unbound) {
    body.scopes.back().pending.push_back(static_cast<int>(body.function.instructions.size()));
  }
}

Operand Parser::ParseOperand(Body& body, const Instruction& instruction) {
  Charge(sizeof(Operand) + 32);
  const Token& token = lexer_.Peek();
  if (token.IsPunct("{")) return ParseList(body, instruction, "}");
  if (token.IsPunct("(") && instruction.words[0] == "call")
    return ParseList(body, instruction, ")");
  if (token.IsPunct("[")) return ParseAddress(body, instruction);
  if (token.IsPunct("!") && lexer_.PeekSecond().kind == Token::Kind::kName) {
    lexer_.Take();
    Operand operand = BindName(body, instruction, lexer_.Take());
    if (operand.kind != Operand::Kind::kRegister) {
      Fail(token.line, "'!' stands before something that is no register");
    }
    operand.negated = true;
    return operand;
  }
  if (token.kind == Token::Kind::kName) return ParseNamed(body, instruction);
  if (token.IsPunct("!") || StartsExpression(lexer_)) return ParseConstant();
  lexer_.FailExpected("an operand");
}

// name, name+offset, p|q
Operand Parser::ParseNamed(Body& body, const Instruction& instruction) {
  const int line = lexer_.line();
  Operand operand = BindName(body, instruction, lexer_.Take());
  if (operand.kind == Operand::Kind::kSymbol) {
    ParseOffset(&operand.offset);
  } else if (lexer_.TakePunct("|")) {
    if (lexer_.Peek().kind != Token::Kind::kName) lexer_.FailExpected("a register after '|'");
    Charge(2 * sizeof(Operand));
    Operand pair;
    pair.kind = Operand::Kind::kPair;
    pair.elements.push_back(std::move(operand));
    pair.elements.push_back(BindName(body, instruction, lexer_.Take()));
    for (const Operand& element : pair.elements) {
      if (element.kind != Operand::Kind::kRegister && element.kind != Operand::Kind::kSink) {
        Fail(line, "'|' joins two registers");
      }
    }
    return pair;
  }
  return operand;
}

Operand Parser::ParseConstant() {
  const Value value = ParseExpression(lexer_);
  Operand operand;
  operand.kind = value.kind == Value::Kind::kSingle   ? Operand::Kind::kFloat
                 : value.kind == Value::Kind::kDouble ? Operand::Kind::kDouble
                                                      : Operand::Kind::kInteger;
  operand.bits = value.bits;
  return operand;
}

// {a, b}, and (a, b) of a call; elements are plain.
Operand Parser::ParseList(Body& body, const Instruction& instruction, std::string_view close) {
  lexer_.Take();
  Operand list;
  list.kind = Operand::Kind::kVector;
  if (lexer_.TakePunct(close)) return list;
  do {
    if (lexer_.Peek().IsPunct("{") || lexer_.Peek().IsPunct("(") || lexer_.Peek().IsPunct("[")) {
      lexer_.FailExpected("a register or a constant in a list");
    }
    list.elements.push_back(ParseOperand(body, instruction));
  } while (lexer_.TakePunct(","));
  lexer_.ExpectPunct(close, "after a list");
  return list;
}

// [base], [base+offset], [base, further, {x, y}]
Operand Parser::ParseAddress(Body& body, const Instruction& instruction) {
  lexer_.Take();
  Charge(sizeof(Operand));
  Operand address;
  address.kind = Operand::Kind::kAddress;
  const Token base = lexer_.Peek();
  if (base.kind == Token::Kind::kName) {
    lexer_.Take();
    address.elements.push_back(BindName(body, instruction, base));
    const Operand::Kind kind = address.elements[0].kind;
    if (kind != Operand::Kind::kRegister && kind != Operand::Kind::kSymbol) {
      Fail(base.line, Quote(base.text) + " is no base of an address");
    }
    ParseOffset(&address.offset);
  } else {
    address.elements.push_back(ParseConstant());
    if (address.elements[0].kind != Operand::Kind::kInteger) {
      Fail(base.line, "an address must be an integer");
    }
  }
  while (lexer_.TakePunct(",")) {
    if (lexer_.Peek().IsPunct("[")) lexer_.FailExpected("an address's further operand");
    address.elements.push_back(ParseOperand(body, instruction));
  }
  lexer_.ExpectPunct("]", "after an address");
  return address;
}

// +4, -4, +-4, or nothing.
void Parser::ParseOffset(int64_t* offset) {
  if (!lexer_.Peek().IsPunct("-") && !lexer_.TakePunct("+")) return;
  *offset = ParseInteger(lexer_, std::numeric_limits<int64_t>::min(),
                         std::numeric_limits<int64_t>::max(), "an offset");
}

Operand Parser::BindName(Body& body, const Instruction& instruction, const Token& token) {
  Operand operand;
  if (token.text == "_") return operand;
  std::string_view name = token.text;
  // vadd's and its kin's part of a register: %r1.b0, %r1.h1.
  std::string_view part;
  if (const size_t dot = name.find('.'); dot != name.npos && instruction.words[0][0] == 'v') {
    part = name.substr(dot + 1);
    name = name.substr(0, dot);
  }
  const Named* named = part.empty() && name.find('.') != name.npos ? nullptr : Find(body, name);
  if (named != nullptr && named->kind == Named::Kind::kRegister) {
    operand.kind = Operand::Kind::kRegister;
    operand.index = named->index;
    operand.name = part;
    return operand;
  }
  if (named == nullptr && IsSpecial(token.text)) {
    operand.kind = Operand::Kind::kSpecial;
    operand.name = token.text;
    return operand;
  }
  if (token.text.find_first_of(".:") != token.text.npos || (named == nullptr && name[0] == '%')) {
    Fail(token.line, Quote(token.text) + " is no register that is declared or known");
  }
  Charge(name.size());
  operand.kind = Operand::Kind::kSymbol;
  operand.name = name;
  if (named == nullptr) {
    operand.index = kUnbound;
  } else if (named->kind == Named::Kind::kVariable) {
    if (named->index >= 0) operand.name = body.function.variables[named->index].name;
  } else if (named->kind == Named::Kind::kLabel) {
    operand.kind = Operand::Kind::kLabel;
    operand.index = named->index;
    operand.name.clear();
  } else if (named->kind == Named::Kind::kTable) {
    operand.name = body.tables[named->index];
  }
  return operand;
}

}  // namespace softgpu::ptx
