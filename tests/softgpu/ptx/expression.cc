// Precedence climbing. Signed arithmetic wraps as two's complement, so it is done on uint64_t.
#include "tests/softgpu/ptx/expression.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>

namespace softgpu::ptx {
namespace {

using Kind = Value::Kind;

constexpr int kDeepest = 64;

Value FromSigned(int64_t v) { return {Kind::kSigned, static_cast<uint64_t>(v)}; }
Value FromUnsigned(uint64_t v) { return {Kind::kUnsigned, v}; }
Value FromDouble(double v) { return {Kind::kDouble, std::bit_cast<uint64_t>(v)}; }
Value FromBool(bool v) { return FromSigned(v ? 1 : 0); }
int64_t Signed(const Value& v) { return static_cast<int64_t>(v.bits); }

// Digits of a base into 64 bits; false where one is no digit or the value is too large.
bool ParseDigits(std::string_view digits, int base, uint64_t* value) {
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, *value, base);
  return !digits.empty() && result.ec == std::errc() && result.ptr == end;
}

Value ParseNumber(const Token& token) {
  std::string_view text = token.text;
  const auto fail = [&](const std::string& why) {
    throw Error(token.line, "the number " + Quote(token.text) + " " + why);
  };
  const char second = text.size() > 1 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
  uint64_t value = 0;
  if (second == 'f' || second == 'd') {
    const size_t digits = second == 'f' ? 8 : 16;
    if (text.size() != digits + 2 || !ParseDigits(text.substr(2), 16, &value)) {
      fail("must have " + std::to_string(digits) + " hexadecimal digits");
    }
    return {second == 'f' ? Kind::kSingle : Kind::kDouble, value};
  }
  if (second != 'x' && text.find_first_of(".eE") != std::string_view::npos) {
    double d = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), d);
    if (result.ptr != text.data() + text.size()) fail("is not written as PTX writes them");
    if (result.ec != std::errc()) fail("is outside f64");
    return FromDouble(d);
  }
  bool is_unsigned = false;
  if (text.back() == 'U' || text.back() == 'u') {
    is_unsigned = true;
    text.remove_suffix(1);
  }
  int base = 10;
  if (second == 'x' || second == 'b') {
    base = second == 'x' ? 16 : 2;
    text.remove_prefix(std::min<size_t>(2, text.size()));
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
  }
  if (!ParseDigits(text, base, &value)) fail("is not written as PTX writes them, or over 64 bits");
  is_unsigned |= value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  return is_unsigned ? FromUnsigned(value) : FromSigned(static_cast<int64_t>(value));
}

struct Operator {
  std::string_view text;
  int precedence;  // higher binds tighter
};
constexpr Operator kBinary[] = {{"||", 1}, {"&&", 2}, {"|", 3}, {"^", 4},  {"&", 5},  {"==", 6},
                                {"!=", 6}, {"<", 7},  {">", 7}, {"<=", 7}, {">=", 7}, {"<<", 8},
                                {">>", 8}, {"+", 9},  {"-", 9}, {"*", 10}, {"/", 10}, {"%", 10}};

const Operator* FindBinary(const Token& token) {
  if (token.kind != Token::Kind::kPunct) return nullptr;
  for (const Operator& op : kBinary) {
    if (op.text == token.text) return &op;
  }
  return nullptr;
}

// <, >, <=, >=, ==, != of any arithmetic type.
template <class T>
bool Compare(std::string_view op, T a, T b) {
  if (op == "<") return a < b;
  if (op == ">") return a > b;
  if (op == "<=") return a <= b;
  if (op == ">=") return a >= b;
  return (op == "==") == (a == b);
}

bool IsComparison(std::string_view op) {
  return op == "==" || op == "!=" || op == "<" || op == ">" || op == "<=" || op == ">=";
}

Value ApplyFloat(const Token& op, double a, double b) {
  if (IsComparison(op.text)) return FromBool(Compare(op.text, a, b));
  if (op.text == "+") return FromDouble(a + b);
  if (op.text == "-") return FromDouble(a - b);
  if (op.text == "*") return FromDouble(a * b);
  if (op.text == "/") return FromDouble(b == 0 ? std::copysign(a == 0 ? NAN : INFINITY, a) : a / b);
  throw Error(op.line, "the operator " + Quote(op.text) + " takes no floating-point value");
}

Value Shift(bool left, const Value& a, const Value& b) {
  const bool too_far = b.bits > 63;  // a negative amount, too
  if (left) return {a.kind, too_far ? 0 : a.bits << b.bits};
  if (a.kind == Kind::kUnsigned) return FromUnsigned(too_far ? 0 : a.bits >> b.bits);
  return FromSigned(Signed(a) >> (too_far ? 63 : b.bits));
}

Value Divide(const Token& op, const Value& a, const Value& b, Kind kind) {
  if (b.bits == 0) throw Error(op.line, "a constant expression divides by zero");
  const bool remainder = op.text == "%";
  if (kind == Kind::kUnsigned) {
    return FromUnsigned(remainder ? a.bits % b.bits : a.bits / b.bits);
  }
  if (Signed(b) == -1) return {kind, remainder ? 0 : 0 - a.bits};  // the lowest value wraps
  return FromSigned(remainder ? Signed(a) % Signed(b) : Signed(a) / Signed(b));
}

Value Apply(const Token& op, const Value& a, const Value& b) {
  const std::string_view o = op.text;
  if (a.IsFloat() || b.IsFloat()) return ApplyFloat(op, a.AsDouble(), b.AsDouble());
  const Kind kind =
      a.kind == Kind::kUnsigned || b.kind == Kind::kUnsigned ? Kind::kUnsigned : Kind::kSigned;
  if (IsComparison(o)) {
    return FromBool(kind == Kind::kSigned ? Compare(o, Signed(a), Signed(b))
                                          : Compare(o, a.bits, b.bits));
  }
  if (o == "||") return FromBool(a.bits != 0 || b.bits != 0);
  if (o == "&&") return FromBool(a.bits != 0 && b.bits != 0);
  if (o == "<<" || o == ">>") return Shift(o == "<<", a, b);
  if (o == "/" || o == "%") return Divide(op, a, b, kind);
  if (o == "|") return {kind, a.bits | b.bits};
  if (o == "^") return {kind, a.bits ^ b.bits};
  if (o == "&") return {kind, a.bits & b.bits};
  if (o == "+") return {kind, a.bits + b.bits};
  if (o == "-") return {kind, a.bits - b.bits};
  return {kind, a.bits * b.bits};
}

class Climber {
 public:
  explicit Climber(Lexer& lexer) : lexer_(lexer) {}

  Value Conditional() {
    const Deeper deeper(*this);
    const Value condition = Binary(1);
    if (!lexer_.TakePunct("?")) return condition;
    const Value yes = Conditional();
    lexer_.ExpectPunct(":", "of a conditional expression");
    const Value no = Conditional();
    return condition.AsDouble() != 0 ? yes : no;
  }

 private:
  struct Deeper {
    explicit Deeper(Climber& c) : climber(c) {
      if (++climber.depth_ > kDeepest) {
        throw Error(climber.lexer_.line(), "a constant expression is nested too deep");
      }
    }
    ~Deeper() { --climber.depth_; }
    Climber& climber;
  };

  Value Binary(int lowest) {
    const Deeper deeper(*this);
    Value left = Unary();
    for (;;) {
      const Operator* op = FindBinary(lexer_.Peek());
      if (op == nullptr || op->precedence < lowest) return left;
      const Token token = lexer_.Take();
      left = Apply(token, left, Binary(op->precedence + 1));
    }
  }

  Value Unary() {
    const Deeper deeper(*this);
    const int line = lexer_.line();
    if (lexer_.TakePunct("+")) return Unary();
    if (lexer_.TakePunct("-")) {
      Value v = Unary();
      const uint64_t sign = v.kind == Kind::kSingle ? uint64_t{1} << 31 : uint64_t{1} << 63;
      v.bits = v.IsFloat() ? v.bits ^ sign : 0 - v.bits;
      return v;
    }
    if (lexer_.TakePunct("!")) return FromBool(Unary().AsDouble() == 0);
    if (lexer_.TakePunct("~")) {
      const Value v = Unary();
      if (v.IsFloat()) throw Error(line, "the operator '~' takes no floating-point value");
      return {v.kind, ~v.bits};
    }
    return Primary();
  }

  Value Primary() {
    if (lexer_.TakePunct("(")) {
      if (lexer_.Peek().IsDirective("s64") || lexer_.Peek().IsDirective("u64")) return Cast();
      const Value v = Conditional();
      lexer_.ExpectPunct(")", "after a constant expression");
      return v;
    }
    const Token token = lexer_.Peek();
    if (token.kind == Token::Kind::kName && token.text == "WARP_SZ") {
      lexer_.Take();
      return FromSigned(32);
    }
    if (token.kind != Token::Kind::kNumber) lexer_.FailExpected("a constant");
    lexer_.Take();
    return ParseNumber(token);
  }

  Value Cast() {
    const Token type = lexer_.Take();
    lexer_.ExpectPunct(")", "after a cast's type");
    const Value v = Unary();
    if (v.IsFloat()) throw Error(type.line, "a floating-point constant is cast to an integer");
    return {type.text == "u64" ? Kind::kUnsigned : Kind::kSigned, v.bits};
  }

  Lexer& lexer_;
  int depth_ = 0;
};

}  // namespace

double Value::AsDouble() const {
  switch (kind) {
    case Kind::kSigned:
      return static_cast<double>(static_cast<int64_t>(bits));
    case Kind::kUnsigned:
      return static_cast<double>(bits);
    case Kind::kSingle:
      return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    case Kind::kDouble:
      break;
  }
  return std::bit_cast<double>(bits);
}

Value ParseExpression(Lexer& lexer) { return Climber(lexer).Conditional(); }

int64_t ParseInteger(Lexer& lexer, int64_t lowest, int64_t highest, std::string_view what) {
  const int line = lexer.line();
  const Value v = ParseExpression(lexer);
  const bool fits = !v.IsFloat() && (v.kind == Kind::kSigned || Signed(v) >= 0) &&
                    Signed(v) >= lowest && Signed(v) <= highest;
  if (!fits) {
    throw Error(line, std::string(what) + " must be an integer from " + std::to_string(lowest) +
                          " to " + std::to_string(highest));
  }
  return Signed(v);
}

bool StartsExpression(const Lexer& lexer) {
  const Token& token = lexer.Peek();
  if (token.kind == Token::Kind::kNumber) return true;
  return token.kind == Token::Kind::kPunct &&
         (token.text == "-" || token.text == "+" || token.text == "~" || token.text == "(");
}

}  // namespace softgpu::ptx
