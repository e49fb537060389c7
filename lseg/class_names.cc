#include "lseg/class_names.h"

#include <set>

#include "framework/text.h"

namespace lseg {

void CheckClasses(const std::vector<std::string>& names, const std::string& what) {
  constexpr size_t kMost = 255;  // of a class map
  std::set<std::string> seen = {"", "mean", "size"};
  for (const std::string& name : names) {
    LSEG_CHECK(seen.insert(name).second && name.find_first_of("/,") == std::string::npos,
               what << ": '" << name << "' is empty, given twice, or no name for a lesion");
  }
  LSEG_CHECK(names.size() <= kMost, what << ": a class map has room for " << kMost << " lesions");
}

std::vector<std::string> ParseClasses(const std::string& text, const std::string& what) {
  std::vector<std::string> names = SplitAtCommas(text);
  CheckClasses(names, what + " '" + text + "'");
  return names;
}

}  // namespace lseg
