// SHA-256 (FIPS 180-4), for manifests: the sum that everybody has a tool for (sha256sum). Own code,
// since a cryptography library is much to ask for sums that only tell whether files are the same.
#pragma once

#include <string>
#include <string_view>

namespace lseg {

// 64 hexadecimal digits, lower case.
std::string Sha256(std::string_view bytes);

}  // namespace lseg
