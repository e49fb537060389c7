// Split files: names of images, one a line.
#include "lseg/prepare.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lseg;
  fuzz::Accepts([&] {
    for (const std::string& stem : ReadSplit(fuzz::PathOf(data, size))) {
      fuzz::Require(!stem.empty() && stem.find('#') == std::string::npos, "a stem is a name");
    }
  });
  return 0;
}
