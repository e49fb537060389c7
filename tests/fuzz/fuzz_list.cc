// Lists of photographs, with labels, masks or neither.
#include "lseg/dataset.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lseg;
  const std::string path = fuzz::PathOf(data, size);
  std::vector<ListEntry> strict, lenient;
  std::vector<std::string> problems;
  const bool read = fuzz::Accepts([&] { strict = ReadList(path); });
  fuzz::Accepts([&] { lenient = ReadList(path, &problems); });
  for (const std::string& problem : problems) fuzz::RequireOneLine(problem);
  if (read) {
    fuzz::Require(problems.empty() && lenient.size() == strict.size(), "two readings agree");
    for (const ListEntry& entry : strict) {
      fuzz::Require(!entry.image.empty() && entry.label.empty() != entry.masks.empty(),
                    "a line has an image, and a label or masks");
    }
  }
  fuzz::Accepts([&] { fuzz::Require(!ReadImageList(path).empty(), "a list has images"); });
  return 0;
}
