// What the parser's tests share: PTX around the lines that a test is about.
#pragma once

#include <string>

#include "tests/softgpu/ptx/module.h"

namespace softgpu::ptx {

inline std::string WithHeader(const std::string& statements) {
  return ".version 9.0\n.target sm_80\n.address_size 64\n" + statements;
}

inline Module ParseModule(const std::string& statements) { return Parse(WithHeader(statements)); }

// A kernel of these lines; predicates %p, 32-bit %r, 64-bit %rd and f32 %f are declared, and so is
// the parameter `arg`. The first line of `lines` is line 10.
inline std::string WithKernel(const std::string& lines) {
  return WithHeader(
      ".visible .entry k(\n.param .u64 arg\n)\n{\n"
      ".reg .pred %p<9>; .reg .b32 %r<99>;\n.reg .b64 %rd<99>; .reg .f32 %f<99>;\n" +
      lines + "\n}\n");
}

inline Function ParseKernel(const std::string& lines) {
  return *Parse(WithKernel(lines)).FindFunction("k");
}

// The message of the error, or "parsed".
inline std::string ErrorOf(const std::string& text) {
  try {
    Parse(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "parsed";
}

}  // namespace softgpu::ptx
