// Probabilities as NumPy's .npy.
#include "lseg/npy.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lseg;
  fuzz::Accepts([&] {
    const NpyArray array = ReadNpy(fuzz::PathOf(data, size));
    int64_t count = 1;
    for (const int64_t axis : array.shape) count *= axis;
    fuzz::Require(count == static_cast<int64_t>(array.values.size()), "values fill the shape");
  });
  return 0;
}
