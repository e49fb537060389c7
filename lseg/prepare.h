// From a published dataset to what training, inference and evaluation read: photographs and truth
// at one size, lists, and a manifest.
//
//   images/<stem>.png                    RGB
//   labels/<stem>.png                    class map, indexed: 0 background, 1 EX, 2 HE, 3 MA, 4 SE
//   masks/<stem>_{EX,HE,MA,SE}.png       0 or 255; overlaps are kept here
//   train.txt, val.txt, test.txt         lines "images/<stem>.png labels/<stem>.png"
//   manifest.json                        size and SHA-256 of every file, and what they came from
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lseg/idrid.h"

namespace lseg {

struct PrepareOptions {
  std::string out;
  int width = 1440, height = 960;
  std::vector<std::string> validation;  // stems of the training part that go to val.txt
  int threads = 2;
};

struct PrepareReport {
  int train = 0, val = 0, test = 0;     // lines written to each list
  double prevalence[4] = {0, 0, 0, 0};  // share of lesion pixels, all images: EX HE MA SE
  std::vector<std::string> failed;      // one line an image that could not be prepared
};

// Stems of a split file: one a line, # begins a comment.
std::vector<std::string> ReadSplit(const std::string& path);

// Prepares all images. One that cannot be read is reported and left out of the lists, the others
// are done. A stem of `validation` that is no training image is an Error before anything is
// written. `progress` is called from the threads, one at a time, after each image.
PrepareReport Prepare(const std::vector<IdridImage>& images, const PrepareOptions& options,
                      const std::function<void(const std::string& stem)>& progress);

}  // namespace lseg
