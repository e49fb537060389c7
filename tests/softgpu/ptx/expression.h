// Constant expressions: 64-bit integers, signed or unsigned, and f64. A literal that stands alone
// keeps its bits (a NaN's payload, 0f's single precision). Source: PTX ISA manual, chapter 4.5.
#pragma once

#include <cstdint>
#include <string_view>

#include "tests/softgpu/ptx/lexer.h"

namespace softgpu::ptx {

struct Value {
  enum class Kind : uint8_t { kSigned, kUnsigned, kSingle, kDouble };
  Kind kind = Kind::kSigned;
  uint64_t bits = 0;

  bool IsFloat() const { return kind >= Kind::kSingle; }
  double AsDouble() const;  // of any kind
};

// One expression from the lexer; throws Error. Names other than WARP_SZ are no constants here.
Value ParseExpression(Lexer& lexer);
// An expression that must be an integer from lowest to highest.
int64_t ParseInteger(Lexer& lexer, int64_t lowest, int64_t highest, std::string_view what);
// Whether the next token can only open a constant expression (a name or a list can't).
bool StartsExpression(const Lexer& lexer);

}  // namespace softgpu::ptx
