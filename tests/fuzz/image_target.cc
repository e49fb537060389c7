#include "tests/fuzz/image_target.h"

#include <algorithm>

#include "lseg/check_masks.h"
#include "lseg/dataset.h"

namespace lseg::fuzz {

void ReadAsTruth(const std::string& path) {
  Accepts([&] { RequireImage(ReadClassMap(path, kMaxPixels), 1); });
  Accepts([&] {
    const Image mask = ReadMask(path, kMaxPixels);
    RequireImage(mask, 1);
    Require(std::all_of(mask.pixels.begin(), mask.pixels.end(),
                        [](uint8_t value) { return value == 0 || value == 255; }),
            "a mask is 0 or 255");
  });
  Accepts([&] {
    for (const Image& mask : MasksOfClassMap(path, kLesionNames.size(), kMaxPixels)) {
      RequireImage(mask, 1);
    }
  });
  const auto message = [](const std::string& text) { RequireOneLine(text); };
  Accepts([&] { CheckMask(path, kMaxPixels, /*colours_pass=*/true, message, message); });
  Accepts([&] { CheckClassMap(path, kMaxPixels, message); });
}

}  // namespace lseg::fuzz
