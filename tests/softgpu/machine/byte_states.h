// Questions about the states of many bytes at once; the answer is mostly "all written".
#pragma once

#include <cstdint>
#include <cstring>

#include "tests/softgpu/machine/memory.h"

namespace softgpu {

constexpr uint64_t kAllWritten = 0x0202020202020202;
static_assert(kWritten == 2 && kUnwritten == 1 && kNoMemory == 0);

// Least of n state bytes, n a multiple of 32: 0 is no memory, 1 unwritten, 2 written.
inline uint8_t LeastState(const uint8_t* state, uint32_t n) {
  uint64_t other = 0;
  for (uint32_t at = 0; at < n; at += 8) {
    uint64_t word;
    std::memcpy(&word, state + at, 8);
    other |= word ^ kAllWritten;
  }
  if (other == 0) return kWritten;
  return std::memchr(state, kNoMemory, n) ? kNoMemory : kUnwritten;
}
inline uint8_t LeastStateOfLane(const uint8_t* state, uint32_t bytes) {
  uint8_t least = state[0];
  for (uint32_t k = 1; k < bytes; ++k) least = state[k] < least ? state[k] : least;
  return least;
}
// States of a lane's bytes as one value.
using States16 = uint64_t __attribute__((vector_size(16)));
template <class Word>
inline Word AllWritten() {
  return static_cast<Word>(kAllWritten);
}
template <>
inline States16 AllWritten<States16>() {
  return States16{kAllWritten, kAllWritten};
}
template <class Word>
inline bool IsZero(Word word) {
  return word == 0;
}
inline bool IsZero(States16 word) { return (word[0] | word[1]) == 0; }

}  // namespace softgpu
