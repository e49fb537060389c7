// The message of the Error that a call throws, "" where it throws none: lets a test state the whole
// line that a user sees.
#pragma once

#include <string>

#include "kernels/runtime/check.h"

namespace lseg {

template <typename Call>
std::string ErrorOf(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// What Validate says against `params` after a change of it, "" where it accepts that.
template <typename Params, typename Change>
std::string RefusalOf(Params params, const Change& change) {
  change(&params);
  return ErrorOf([&] { params.Validate(); });
}

}  // namespace lseg
