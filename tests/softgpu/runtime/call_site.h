// Where in the program a call of the runtime came from: for findings of the host.
#pragma once

#include <array>
#include <string>

namespace softgpu {

struct CallSite {
  const char* call = "";  // "cudaMemcpyAsync"
  // Addresses in the callers, the nearest first: the nearest may be one of CUDA's inline functions.
  std::array<const void*, 4> callers = {};

  // The callers of the function of this library that calls it.
  static CallSite Here(const char* call);
  // "cudaMemcpyAsync at train.cu:12" where the program has debug information (-g) and addr2line is
  // at hand, else "cudaMemcpyAsync at train+0x1234". Slow: for findings only.
  std::string Describe() const;
  // "train.cu:12" of an instruction of the program; empty: unknown.
  static std::string Line(const void* instruction);
};

}  // namespace softgpu
