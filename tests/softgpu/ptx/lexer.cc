// The lexer: one pass over the text, no copies; two tokens of look-ahead tell a label from an
// opcode.
#include "tests/softgpu/ptx/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace softgpu::ptx {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsNameStart(char c) { return IsLetter(c) || c == '_' || c == '$' || c == '%'; }
bool IsNameChar(char c) { return IsLetter(c) || IsDigit(c) || c == '_' || c == '$'; }

constexpr std::array<std::string_view, 8> kTwoCharacters = {
    "<<", ">>", "<=", ">=", "==", "!=", "&&", "||"};
constexpr std::string_view kOneCharacter = "{}()[],;:+-*/%<>&|^~!?@=";

}  // namespace

std::string Quote(std::string_view text) {
  constexpr size_t kLongest = 60;
  std::string out = "'";
  for (char c : text.substr(0, kLongest)) {
    out += std::isprint(static_cast<unsigned char>(c)) ? c : '?';
  }
  return out + (text.size() > kLongest ? "...'" : "'");
}

Lexer::Lexer(std::string_view text) : text_(text) {
  tokens_[0] = Scan();
  tokens_[1] = Scan();
}

Token Lexer::Take() {
  const Token token = tokens_[0];
  tokens_[0] = tokens_[1];
  if (tokens_[0].kind != Token::Kind::kEnd) tokens_[1] = Scan();
  return token;
}

bool Lexer::TakePunct(std::string_view punct) {
  if (!Peek().IsPunct(punct)) return false;
  Take();
  return true;
}

bool Lexer::TakeDirective(std::string_view directive) {
  if (!Peek().IsDirective(directive)) return false;
  Take();
  return true;
}

void Lexer::ExpectPunct(std::string_view punct, std::string_view where) {
  if (!TakePunct(punct)) FailExpected(Quote(punct) + " " + std::string(where));
}

void Lexer::FailExpected(std::string_view what) const {
  const Token& token = Peek();
  const std::string found = token.kind == Token::Kind::kEnd ? "the end of the text"
                            : token.kind == Token::Kind::kDirective
                                ? Quote("." + std::string(token.text.substr(0, 64)))
                                : Quote(token.text);
  throw Error(token.line, "expected " + std::string(what) + ", found " + found);
}

void Lexer::SkipSpace() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '\n') {
      ++line_;
      ++at_;
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
      ++at_;
    } else if (c == '/' && At(at_ + 1) == '/') {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (c == '/' && At(at_ + 1) == '*') {
      const size_t end = text_.find("*/", at_ + 2);
      if (end == std::string_view::npos) throw Error(line_, "a /* comment has no end");
      line_ += static_cast<int>(std::count(text_.begin() + at_, text_.begin() + end, '\n'));
      at_ = end + 2;
    } else {
      return;
    }
  }
}

Token Lexer::Finish(Token::Kind kind, size_t begin, size_t end) const {
  return Token{kind, text_.substr(begin, end - begin), line_};
}

Token Lexer::Scan() {
  SkipSpace();
  const size_t begin = at_;
  if (begin == text_.size()) return Finish(Token::Kind::kEnd, begin, begin);
  const char c = text_[begin];
  if (IsDigit(c)) {
    ScanNumber();
    return Finish(Token::Kind::kNumber, begin, at_);
  }
  // A % that no name follows is the remainder operator of constant expressions.
  if (IsNameStart(c) && (c != '%' || IsNameChar(At(begin + 1)))) {
    ++at_;
    ScanWord();
    while (At(at_) == '.' && IsNameChar(At(at_ + 1))) {
      ++at_;
      ScanWord();
    }
    return Finish(Token::Kind::kName, begin, at_);
  }
  if (c == '.' && IsNameChar(At(begin + 1))) {
    ++at_;
    ScanWord();
    return Finish(Token::Kind::kDirective, begin + 1, at_);
  }
  if (c == '"') return ScanString();
  for (std::string_view two : kTwoCharacters) {
    if (text_.substr(begin, 2) == two) {
      at_ += 2;
      return Finish(Token::Kind::kPunct, begin, at_);
    }
  }
  if (kOneCharacter.find(c) == std::string_view::npos) {
    throw Error(line_, "a character that PTX has no use for: " + Quote(text_.substr(begin, 1)));
  }
  ++at_;
  return Finish(Token::Kind::kPunct, begin, at_);
}

// Letters and digits, "::" between them included ("mbarrier::complete_tx::bytes").
void Lexer::ScanWord() {
  for (;;) {
    while (IsNameChar(At(at_))) ++at_;
    if (At(at_) != ':' || At(at_ + 1) != ':' || !IsNameChar(At(at_ + 2))) return;
    at_ += 2;
  }
}

void Lexer::ScanNumber() {
  const bool prefixed =
      At(at_) == '0' && IsLetter(At(at_ + 1)) && At(at_ + 1) != 'e' && At(at_ + 1) != 'E';
  while (IsNameChar(At(at_))) {
    const bool exponent = !prefixed && (At(at_) == 'e' || At(at_) == 'E');
    ++at_;
    if (exponent && (At(at_) == '+' || At(at_) == '-')) ++at_;
    if (!prefixed && At(at_) == '.' && IsDigit(At(at_ + 1))) ++at_;
  }
}

Token Lexer::ScanString() {
  const int line = line_;
  const size_t begin = ++at_;
  for (; At(at_) != '"'; ++at_) {
    if (at_ >= text_.size() || text_[at_] == '\n') throw Error(line, "a string has no end");
    if (text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] != '\n') ++at_;
  }
  ++at_;
  return Finish(Token::Kind::kString, begin, at_ - 1);
}

}  // namespace softgpu::ptx
