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
// folder. The testing part may be absent. Throws Error saying which folder is missing, or that
// there is no photograph.
std::vector<IdridImage> FindIdrid(const std::string& root);

}  // namespace lseg
