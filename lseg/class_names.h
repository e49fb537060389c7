// Names of what a net tells apart, as flags, definitions and metadata give them.
#pragma once

#include <string>
#include <vector>

namespace lseg {

// "EX,HE,MA,SE" -> its parts. An Error, which begins with `what`, where one is empty, given twice,
// no name for files, or "mean" or "size" (which mean something in lseg_eval's JSON), or there are
// more than a class map can hold.
std::vector<std::string> ParseClasses(const std::string& text, const std::string& what);

}  // namespace lseg
