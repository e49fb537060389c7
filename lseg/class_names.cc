#include "lseg/class_names.h"

#include <set>
#include <sstream>

#include "kernels/runtime/check.h"

namespace lseg {

std::vector<std::string> ParseClasses(const std::string& text, const std::string& what) {
  constexpr size_t kMost = 255;  // of a class map
  std::vector<std::string> names;
  std::istringstream stream(text);
  for (std::string name; std::getline(stream, name, ',');) names.push_back(name);
  if (text.empty() || text.back() == ',') names.emplace_back();
  std::set<std::string> seen = {"", "mean", "size"};
  for (const std::string& name : names) {
    LSEG_CHECK(seen.insert(name).second && name.find('/') == std::string::npos,
               what << " '" << text << "': '" << name
                    << "' is empty, given twice, or no name for a lesion");
  }
  LSEG_CHECK(names.size() <= kMost, what << ": a class map has room for " << kMost << " lesions");
  return names;
}

}  // namespace lseg
