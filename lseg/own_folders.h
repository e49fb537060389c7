// A user's own photographs and truth: a folder of each, put together by names.
#pragma once

#include <string>
#include <vector>

#include "lseg/set_image.h"

namespace lseg {

struct OwnFolders {
  std::string images;  // photographs, not in folders below
  // One of the two. Class maps, STEM.png or .tif, one for every photograph; or masks, found below
  // the folder by the pattern.
  std::string labels, masks;
  // Path of a mask below `masks`: {stem} stands for the photograph's, {lesion} for EX, HE, MA, SE
  // in either case, * for anything but '/'.
  std::string mask_pattern = "{stem}_{lesion}.*";
};

// What FindOwn leaves aside, for the log.
struct OwnLeftAside {
  std::vector<std::string> unmatched;  // image files below `masks` that do not match
  int masks = 0;                       // in `images`, and therefore no photographs
};

// All images are for training. A lesion that has no mask of any image is not annotated; of one that
// has, a missing mask is an empty one. An Error names the file or folder: no photograph, two of one
// stem, a mask or class map whose photograph is not there, two masks of one lesion, a photograph
// without a class map, a pattern without {stem} and {lesion}, or that no file matches. Photographs
// and masks may share a folder: a file that matches the pattern is a mask.
std::vector<SetImage> FindOwn(const OwnFolders& folders, OwnLeftAside* left_aside);

}  // namespace lseg
