// DDR's lesion segmentation part as its publishers lay it out (datasets/README.md): photographs,
// and one TIFF a lesion, in the official parts train, valid and test.
#pragma once

#include <string>
#include <vector>

#include "lseg/set_image.h"

namespace lseg {

// Whether the folder is one that FindDdr reads.
bool IsDdr(const std::string& root);

// The images below root, by part and name. root holds "lesion_segmentation", also within
// "DDR-dataset", or is that folder. A part may be absent. A missing mask is an empty one, so what
// could make it look missing is an Error that names the folder or file: a folder of masks that is
// not there, or is not spelled as published, a mask whose photograph is not there, two photographs
// of one stem, no photograph at all.
std::vector<SetImage> FindDdr(const std::string& root);

}  // namespace lseg
