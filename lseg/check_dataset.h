// The dataset doctor: what is wrong with photographs and truth, found before a training is spent on
// them. Every file is read to its end, as the programs read it.
//
// Errors, which the programs refuse or which make a result worthless:
//   a line that cannot be read, or names a file that is not there
//   an image listed twice, or in two splits; two images with the same pixels
//   a file that cannot be read; masks for some of the classes only, in a list
//   a class map or mask of another size than its photograph
//   values that are no classes; a mask that is not of two values, or has colours or alpha
//   a lesion on more than kLargestShare of an image (an inverted mask, or one of the eye)
// Notes, which real sets have (IDRiD has all but the last):
//   images without any lesion; lesions that overlap; masks that a published set lacks, which stand
//   for no such lesion, or has in colour; images without masks beside others that have them
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lseg/image.h"

namespace lseg {

inline constexpr double kLargestShare = 0.3;

// One line that begins with the file, or the split, and says what to do about it.
struct Finding {
  bool error = false;
  std::string text;
};

// Of the images whose photograph and truth could be read and fit, once each.
struct SplitSummary {
  std::string name;  // the list's path, or the folder's and the part's: "IDRiD, training part"
  int listed = 0;    // images, those at fault too
  int images = 0;
  std::array<int64_t, 4> pixels = {};         // of the images that are annotated for the lesion
  std::array<int64_t, 4> lesion_pixels = {};  // EX HE MA SE
  std::array<int, 4> with_lesion = {};        // images
};

struct CheckReport {
  std::vector<SplitSummary> splits;
  int64_t errors = 0, notes = 0;
  Image sheet;  // lseg/contact_sheet.h, where it was asked for and an image could be read
};

// inputs: lists (lseg/dataset.h), folders with train.txt, val.txt or test.txt, and folders of
// IDRiD, DDR and e-ophtha as published (lseg/idrid.h, ddr.h, eophtha.h). Each list or part is a
// split. What is wrong with an input is a finding, too: nothing is thrown. on_finding is called as
// they are found. One image with its truth is in memory at a time, up to 12 bytes a pixel.
CheckReport CheckDataset(const std::vector<std::string>& inputs, bool sheet, int64_t max_pixels,
                         const std::function<void(const Finding&)>& on_finding);

}  // namespace lseg
