// Lists of names as texts, and whose error it is.
#pragma once

#include <string>
#include <vector>

#include "kernels/runtime/check.h"

namespace lseg {

// {"a", "b"} -> "a, b"
inline std::string Join(const std::vector<std::string>& names,
                        const std::string& separator = ", ") {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : separator) + name;
  return text;
}

// "a,,b," -> "a", "", "b", ""; always at least one.
inline std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// Takes off the mark that some editors put at the beginning of a text in UTF-8.
inline void DropByteOrderMark(std::string* text) {
  if (text->starts_with("\xef\xbb\xbf")) text->erase(0, 3);
}

// What work() returns; an Error of it, which knows nothing of the file, gets its path in front.
template <typename Work>
auto NamingFile(const std::string& path, Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const Error& error) {
    throw Error(path + ": " + error.what());
  }
}

}  // namespace lseg
