// Base64 (RFC 4648, section 4), for data: URLs: what a page needs to read from a picture's pixels
// has to be part of a script where the page comes from file://.
#pragma once

#include <string>
#include <string_view>

namespace lseg {

std::string Base64(std::string_view bytes);

}  // namespace lseg
