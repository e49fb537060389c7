// What the fuzz targets share. A target reads bytes as a file of its kind; what it cannot read must
// be an Error that a user can act on. Anything else (another exception, a sanitiser's report,
// memory or time without end) is a finding, and so is a promise of the reader's header that does
// not hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/runtime/check.h"

// libFuzzer's entry points: https://llvm.org/docs/LibFuzzer.html
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed);

namespace lseg::fuzz {

// Small, so that a hostile size is refused or cheap.
inline constexpr int64_t kMaxPixels = 1 << 18;

inline std::string_view Bytes(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Ends the program with `promise`, which libFuzzer reports with the input.
void Require(bool holds, const char* promise);

// Of a message: one line, not empty, without control characters, no longer than can be read.
void RequireOneLine(const std::string& message);

// Whether `call` accepts its input: false where it throws Error.
template <typename Call>
bool Accepts(const Call& call) {
  try {
    call();
    return true;
  } catch (const Error& error) {
    RequireOneLine(error.what());
    return false;
  }
}

// A path under which the input is a regular file: in memory, for readers that take paths only. Good
// until the next call.
std::string PathOf(const uint8_t* data, size_t size);

}  // namespace lseg::fuzz
