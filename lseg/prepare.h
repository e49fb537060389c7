// From a published dataset to what training, inference and evaluation read: photographs and truth
// at one size (lseg/fit.h), lists, and a manifest.
//
//   images/<stem>.png                    RGB
//   labels/<stem>.png                    class map, indexed: 0 background, 1 EX, 2 HE, 3 MA, 4 SE
//   masks/<stem>_{EX,HE,MA,SE}.png       0 or 255; overlaps are kept here
//   train.txt, val.txt, test.txt         lines "images/<stem>.png labels/<stem>.png"; a list
//                                        without a line is not written
// An image that is not annotated for a lesion has neither its mask nor a class map, which could not
// say so: its line names its masks, and - in the place of the others (lseg/dataset.h).
//   manifest.json                        size and SHA-256 of every file, and what they came from
//
// The same input gives the same bytes; the manifest holds no time and no path of the machine.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lseg/set_image.h"

namespace lseg {

struct PrepareOptions {
  std::string out;
  int width = 1440, height = 960;
  // Stems of the training part, or patients with all their images, that go to val.txt.
  std::vector<std::string> validation;
  std::string split = "the split";  // what messages call the file that names them
  int64_t max_pixels = kMaxPixels;  // larger images are refused
  int threads = 2;                  // each needs about 15 bytes a source pixel
};

struct PrepareReport {
  int train = 0, val = 0, test = 0;  // lines written to each list
  // Share of lesion pixels in the masks as written, EX HE MA SE, of all images that are annotated
  // for it; nothing where there are none.
  std::array<std::optional<double>, 4> prevalence = {};
  std::vector<std::string> failed;  // one line an image that could not be prepared
};

// Stems of a split file: one a line, # begins a comment. An Error where it names none.
std::vector<std::string> ReadSplit(const std::string& path);

// Prepares all images. One that cannot be read is reported and left out, the others are done.
// `out` changes only at the end and as a whole (lseg/staged_folder.h); files that the manifest of
// an earlier run names and this one does not make are then removed. Throws Error, and leaves `out`
// as it was, where a name of `validation` is no training image or patient, a patient's images would
// stand in two lists, no image at all can be read, or a file cannot be written. `progress` is
// called from the threads, one at a time, after each image.
PrepareReport Prepare(const std::vector<SetImage>& images, const PrepareOptions& options,
                      const std::function<void(const std::string& stem)>& progress);

}  // namespace lseg
