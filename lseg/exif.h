// The one thing that is read of a JPEG's EXIF block: which way up the photograph is. Cameras store
// the sensor's rows and say how to turn them; a reader that ignores it shows eyes lying on their
// side.
#pragma once

#include <string_view>

#include "lseg/image.h"

namespace lseg {

// 1..8 as EXIF (CIPA DC-008, tag 0x0112) numbers them; 1 where the JPEG states none or the block is
// damaged, since the pixels are good then all the same.
int ExifOrientation(std::string_view jpeg);

// The image as it is to be looked at. 1 as stored, 2 mirrored left-right, 3 turned by 180 degrees,
// 4 mirrored up-down, 5 transposed, 6 turned clockwise by 90 degrees, 7 transposed along the other
// diagonal, 8 turned counter-clockwise by 90 degrees. Others count as 1.
Image Orient(Image image, int orientation);

}  // namespace lseg
