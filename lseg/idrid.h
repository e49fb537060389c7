// IDRiD's segmentation part as its publishers lay it out (datasets/README.md): photographs, and one
// TIFF a lesion where the image has that lesion.
#pragma once

#include <string>
#include <vector>

#include "lseg/set_image.h"

namespace lseg {

// Whether the folder is one that FindIdrid reads.
bool IsIdrid(const std::string& root);

// The images below root, training then testing, by name. root holds "A. Segmentation", or is that
// folder. Either part may be absent. A missing mask is an empty one, so what could make it look
// missing is an Error that names the folder or file: a folder of masks that is not there, a mask
// whose photograph is not, two photographs of one stem, no photograph at all.
std::vector<SetImage> FindIdrid(const std::string& root);

}  // namespace lseg
