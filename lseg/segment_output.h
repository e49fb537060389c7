// What a segmented photograph leaves on disk.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lseg/image.h"
#include "lseg/probabilities.h"

namespace lseg {

struct SegmentOutputs {
  std::vector<float> thresholds;  // one a class (ClassMap)
  bool npy = false;               // <prefix>.prob.npy: float32, (classes, height, width)
  bool png = false;               // <prefix>.<class>.prob.png: round(255 p), gray
};

// What else is done with a photograph, its probabilities and its class map; `photo` has the class
// map's size, the probabilities may have another one.
using LesionVisitor = std::function<void(const Image& photo, const Probabilities& probabilities,
                                         const Image& class_map)>;

// Writes <prefix>.label.png (class map, indexed) and <prefix>.overlay.png (DrawOverlay), and the
// probabilities as asked for, all of the size of photo, RGB: probabilities of another size are
// resampled (ResizeProbabilities). Files of these names are replaced one by one; an Error names the
// path and the cause. `visit` is called first, with what the files are made of; an Error of it
// leaves them unwritten.
void WriteSegmentation(const std::string& prefix, Image photo, const Probabilities& probabilities,
                       const SegmentOutputs& outputs, const LesionVisitor& visit = nullptr);

}  // namespace lseg
