// Error and LSEG_CHECK: the one way in which anything in this project fails.
//
// A failed check throws Error with one line that a user can act on: what, where, the values, and the
// rule. Libraries never print and never exit; tools catch Error in main.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace lseg {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace lseg

// LSEG_FAIL("kernel " << k << " is larger than the padded input " << n);
#define LSEG_FAIL(message)                     \
  do {                                         \
    std::ostringstream lseg_check_stream;      \
    lseg_check_stream << message;              \
    throw ::lseg::Error(lseg_check_stream.str()); \
  } while (false)

// LSEG_CHECK(stride > 0, "stride " << stride << " must be positive");
#define LSEG_CHECK(condition, message) \
  do {                                 \
    if (!(condition)) LSEG_FAIL(message); \
  } while (false)
