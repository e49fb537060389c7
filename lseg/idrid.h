// IDRiD's segmentation part as its publishers lay it out (datasets/README.md): photographs, and one
// TIFF a lesion where the image has that lesion.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace lseg {

struct IdridImage {
  std::string stem;                  // "IDRiD_01"
  std::string photo;                 // path
  std::array<std::string, 4> masks;  // EX HE MA SE; empty: there is no such file, no such lesion
  bool testing = false;
};

// The images below root, training then testing, by name. root holds "A. Segmentation", or is that
// folder. Either part may be absent. A missing mask is an empty one, so what could make it look
// missing is an Error that names the folder or file: a folder of masks that is not there, a mask
// whose photograph is not, two photographs of one stem, no photograph at all.
std::vector<IdridImage> FindIdrid(const std::string& root);

}  // namespace lseg
