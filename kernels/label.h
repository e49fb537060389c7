// What a label of masks (N,C,H,W) holds besides 0 and 1.
#pragma once

#include <cstdint>

namespace lseg {

// All of a plane: the image is not annotated for this class, which is not the same as a class that
// the image lacks. What reads a label leaves the plane out.
inline constexpr uint8_t kNotAnnotated = 255;

}  // namespace lseg
