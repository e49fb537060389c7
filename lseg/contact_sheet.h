// A contact sheet: small pictures of many images with their lesions outlined and their names
// beneath, in one picture. A wrong mask is seen there at a glance.
#pragma once

#include <string>
#include <vector>

#include "lseg/image.h"

namespace lseg {

class ContactSheet {
 public:
  static constexpr int kMost = 200;  // pictures; as many take 59 MB, and Draw as much again

  // Of `images` that will be added, more than kMost, evenly spaced ones are taken.
  explicit ContactSheet(int64_t images) : images_(images) {}

  // photo: RGB. class_map: of the same size, classes as in lseg/dataset.h; null where the truth is
  // unknown. A lesion of a single pixel stays visible.
  void Add(const Image& photo, const Image* class_map, const std::string& name);

  // RGB, the pictures in the order in which they came; without pixels where there were none.
  Image Draw() const;

 private:
  int64_t images_, added_ = 0;
  std::vector<Image> tiles_;
};

}  // namespace lseg
