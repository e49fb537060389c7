// TIFF as mask and class map.
#include "tests/fuzz/image_target.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lseg::fuzz::ReadAsTruth(lseg::fuzz::PathOf(data, size));
  return 0;
}
