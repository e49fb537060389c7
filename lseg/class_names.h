// Names of what a net tells apart, as flags, definitions and metadata give them.
#pragma once

#include <string>
#include <vector>

namespace lseg {

// An Error, which begins with `what`, where a name is empty, given twice, no name for files or
// lists, or "mean" or "size" (which mean something in lseg_eval's JSON), or there are more than a
// class map can hold.
void CheckClasses(const std::vector<std::string>& names, const std::string& what);

// "EX,HE,MA,SE" -> its parts, checked.
std::vector<std::string> ParseClasses(const std::string& text, const std::string& what);

}  // namespace lseg
