// PNG as class map and mask. A chunk's sum is made right after a mutation, since libpng refuses
// another, and nothing behind it would be reached.
#include <zlib.h>

#include "tests/fuzz/image_target.h"

namespace {

uint32_t BigEndian(const uint8_t* at) {
  return uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
}

}  // namespace

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int) {
  size = LLVMFuzzerMutate(data, size, max_size);
  constexpr size_t kSignature = 8, kFrame = 12;  // length and name before, sum behind
  for (size_t at = kSignature; at + kFrame <= size;) {
    const size_t length = BigEndian(data + at);
    if (length > size - at - kFrame) break;
    const uint32_t sum = crc32(0, data + at + 4, static_cast<uInt>(length + 4));
    for (int i = 0; i < 4; ++i)
      data[at + 8 + length + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    at += kFrame + length;
  }
  return size;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lseg::fuzz::ReadAsTruth(lseg::fuzz::PathOf(data, size));
  return 0;
}
