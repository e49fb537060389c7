#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace lseg::fuzz {

void Require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

void RequireOneLine(const std::string& message) {
  // A few values of at most 200 bytes each (Printable), and words between them.
  constexpr size_t kLongest = 1000;
  const bool control = std::any_of(message.begin(), message.end(),
                                   [](char c) { return static_cast<unsigned char>(c) < 32; });
  if (!message.empty() && message.size() <= kLongest && !control) return;
  std::fprintf(stderr, "message of %zu bytes: %s\n", message.size(), message.c_str());
  Require(false, "an error is one line that can be read");
}

std::string PathOf(const uint8_t* data, size_t size) {
  static const int file = memfd_create("lseg_fuzz", MFD_CLOEXEC);
  Require(file >= 0 && ftruncate(file, 0) == 0 &&
              pwrite(file, data, size, 0) == static_cast<ssize_t>(size),
          "a file in memory can be written");
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  return path;
}

}  // namespace lseg::fuzz
