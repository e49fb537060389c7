// Tokens of PTX text. An opcode with its dotted words is one token ("ld.global.v4.f32", "%tid.x"),
// because words such as ".2d" or ".16x64b" would be no names by themselves.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/softgpu/ptx/module.h"

namespace softgpu::ptx {

struct Token {
  enum class Kind : uint8_t {
    kEnd,
    kName,       // identifier, with the dotted words that follow it without a space
    kDirective,  // text without its dot: "reg", "shared::cta"
    kNumber,     // as written
    kString,     // text without its quotes, escapes as written
    kPunct,      // one character, or one of << >> <= >= == != && ||
  };
  Kind kind = Kind::kEnd;
  std::string_view text;  // into the text that was given to the lexer
  int line = 1;

  bool IsPunct(std::string_view p) const { return kind == Kind::kPunct && text == p; }
  bool IsDirective(std::string_view d) const { return kind == Kind::kDirective && text == d; }
};

// Throws Error. The text must outlive the lexer and its tokens.
class Lexer {
 public:
  explicit Lexer(std::string_view text);

  const Token& Peek() const { return tokens_[0]; }
  const Token& PeekSecond() const { return tokens_[1]; }
  int line() const { return tokens_[0].line; }
  Token Take();
  bool TakePunct(std::string_view punct);          // if it is the next one
  bool TakeDirective(std::string_view directive);  // if it is the next one
  void ExpectPunct(std::string_view punct, std::string_view where);
  // Throws "expected WHAT, found TOKEN".
  [[noreturn]] void FailExpected(std::string_view what) const;

 private:
  Token Scan();
  Token Finish(Token::Kind kind, size_t begin, size_t end) const;
  void SkipSpace();
  void ScanWord();
  void ScanNumber();
  Token ScanString();
  char At(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  Token tokens_[2];
};

// For messages: in quotes, cut where it is long.
std::string Quote(std::string_view text);

}  // namespace softgpu::ptx
