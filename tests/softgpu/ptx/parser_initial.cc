// Initial values of variables: constants, addresses of symbols, and addresses given byte by byte.
#include <bit>
#include <cstring>
#include <limits>

#include "tests/softgpu/ptx/expression.h"
#include "tests/softgpu/ptx/parser.h"

namespace softgpu::ptx {

// One value, or nested lists. A list that is too short leaves zeros, as in C.
void Parser::ParseInitial(Declared& declared) {
  Variable& variable = declared.variable;
  if (declared.vector > 1) declared.dimensions.push_back(declared.vector);
  const bool unsized = !declared.dimensions.empty() && declared.dimensions[0] == 0;
  const uint64_t element = static_cast<uint64_t>(declared.type.bits) / 8;
  if (!unsized) {
    Charge(variable.bytes);
    variable.initial.assign(variable.bytes, 0);
  }
  std::vector<MaskedByte> masked;
  if (lexer_.Peek().IsPunct("{")) {
    const uint64_t capacity =
        unsized ? std::numeric_limits<uint64_t>::max() : variable.bytes / element;
    const uint64_t count = ParseInitialBlock(declared, 0, 0, capacity, masked);
    if (unsized) {
      uint64_t row = element;
      for (size_t i = 1; i < declared.dimensions.size(); ++i) row *= declared.dimensions[i];
      variable.bytes = (count * element + row - 1) / row * row;
      if (variable.bytes > variable.initial.size()) {
        Charge(variable.bytes - variable.initial.size());
        variable.initial.resize(variable.bytes);
      }
    }
  } else if (!declared.dimensions.empty()) {
    lexer_.FailExpected("'{' of an array's initial value");
  } else {
    ParseInitialElement(declared, 0, masked);
  }
  JoinMaskedBytes(variable, masked);
}

// {a, {b, c}, ...} from element `begin` on; returns the elements that were given.
uint64_t Parser::ParseInitialBlock(Declared& declared, size_t level, uint64_t begin,
                                   uint64_t capacity, std::vector<MaskedByte>& masked) {
  const uint64_t element = static_cast<uint64_t>(declared.type.bits) / 8;
  const int line = lexer_.line();
  lexer_.Take();
  uint64_t stride = 1;  // elements of a list one level down
  for (size_t i = level + 1; i < declared.dimensions.size(); ++i) stride *= declared.dimensions[i];
  uint64_t count = 0;
  if (lexer_.TakePunct("}")) return count;
  do {
    if (lexer_.Peek().IsPunct("{")) {
      if (level + 1 >= declared.dimensions.size() || stride == 0 || count % stride != 0) {
        Fail(lexer_.line(), "a list of initial values stands where none fits");
      }
      if (capacity - count < stride) Fail(line, "more initial values than the variable holds");
      ParseInitialBlock(declared, level + 1, begin + count, stride, masked);
      count += stride;
      if (count > kLargestVariable) Fail(line, "a variable is larger than 1 TiB");
    } else {
      if (count == capacity) Fail(line, "more initial values than the variable holds");
      ParseInitialElement(declared, (begin + count) * element, masked);
      ++count;
    }
  } while (lexer_.TakePunct(","));
  lexer_.ExpectPunct("}", "after initial values");
  return count;
}

void Parser::ParseInitialElement(Declared& declared, uint64_t offset,
                                 std::vector<MaskedByte>& masked) {
  const int line = lexer_.line();
  const int bytes = declared.type.bits / 8;
  Variable& variable = declared.variable;
  if (lexer_.Peek().kind == Token::Kind::kName && lexer_.Peek().text != "WARP_SZ") {
    if (bytes != 8) Fail(line, "an address does not fit the variable's type");
    variable.relocations.push_back(ParseSymbolAddress(offset, bytes));
    StoreInitial(variable, offset, bytes, 0);
    return;
  }
  const Value value = ParseExpression(lexer_);
  if (lexer_.TakePunct("(")) {
    if (bytes != 1 || value.IsFloat()) Fail(line, "a masked address needs elements of one byte");
    masked.push_back({offset, value.bits, ParseSymbolAddress(offset, 1), line});
    lexer_.ExpectPunct(")", "after a masked address");
    StoreInitial(variable, offset, bytes, 0);
    return;
  }
  uint64_t bits = value.bits;
  if (declared.type.is_float && bytes == 4) {
    bits = value.kind == Value::Kind::kSingle
               ? value.bits
               : std::bit_cast<uint32_t>(static_cast<float>(value.AsDouble()));
  } else if (declared.type.is_float) {
    bits =
        value.kind == Value::Kind::kDouble ? value.bits : std::bit_cast<uint64_t>(value.AsDouble());
  } else if (value.IsFloat() && bytes != (value.kind == Value::Kind::kSingle ? 4 : 8)) {
    Fail(line, "a floating-point value initialises an integer");
  }
  if (bytes > 8) Fail(line, "initial values of 128 bits are not covered");
  StoreInitial(variable, offset, bytes, bits);
}

// symbol, symbol+offset, generic(symbol), generic(symbol)+offset
Relocation Parser::ParseSymbolAddress(uint64_t offset, int bytes) {
  Charge(sizeof(Relocation) + 64);
  Relocation relocation{offset, bytes, "", 0, false};
  std::string_view name = TakeIdentifier("a symbol");
  if (name == "generic" && lexer_.TakePunct("(")) {
    relocation.generic = true;
    name = TakeIdentifier("a symbol");
    ParseOffset(&relocation.addend);
    lexer_.ExpectPunct(")", "after generic(");
  }
  if (lexer_.Peek().IsPunct("+") || lexer_.Peek().IsPunct("-")) {
    int64_t more = 0;
    ParseOffset(&more);
    relocation.addend = static_cast<int64_t>(static_cast<uint64_t>(relocation.addend) +
                                             static_cast<uint64_t>(more));
  }
  Charge(name.size());
  relocation.symbol = name;
  return relocation;
}

void Parser::StoreInitial(Variable& variable, uint64_t offset, int bytes, uint64_t value) {
  const uint64_t end = offset + static_cast<uint64_t>(bytes);
  if (end > variable.initial.size()) {  // of an array without a size
    Charge(2 * (end - variable.initial.size()));
    variable.initial.resize(end);
  }
  for (int i = 0; i < bytes; ++i) {
    variable.initial[offset + static_cast<uint64_t>(i)] = static_cast<uint8_t>(value >> (8 * i));
  }
}

// 0xFF(s), 0xFF00(s), ...: consecutive bytes of one address, from its lowest on.
void Parser::JoinMaskedBytes(Variable& variable, const std::vector<MaskedByte>& masked) {
  for (const MaskedByte& byte : masked) {
    if (byte.mask == 0xff) {
      variable.relocations.push_back(byte.relocation);
      continue;
    }
    Relocation* last = variable.relocations.empty() ? nullptr : &variable.relocations.back();
    const bool joins = last != nullptr && last->bytes < 8 &&
                       byte.offset == last->offset + static_cast<uint64_t>(last->bytes) &&
                       byte.mask == uint64_t{0xff} << (8 * last->bytes) &&
                       byte.relocation.symbol == last->symbol &&
                       byte.relocation.addend == last->addend &&
                       byte.relocation.generic == last->generic;
    if (!joins) Fail(byte.line, "a masked address does not continue the one before it");
    ++last->bytes;
  }
}

}  // namespace softgpu::ptx
