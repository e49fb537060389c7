#include "lseg/segment_output.h"

#include "lseg/npy.h"
#include "lseg/overlay.h"

namespace lseg {

void WriteSegmentation(const std::string& prefix, const Image& photo,
                       const Probabilities& probabilities, const SegmentOutputs& outputs) {
  const std::vector<std::string>& classes = probabilities.classes;
  for (const std::string& name : classes) {
    LSEG_CHECK(name.find('/') == std::string::npos,
               "class '" << name << "' cannot be part of a file's name");
  }
  const Image class_map = ClassMap(probabilities, outputs.thresholds);
  WriteIndexedPng(prefix + ".label.png", class_map);
  WritePng(prefix + ".overlay.png", DrawOverlay(photo, class_map, classes));
  if (outputs.npy) {
    WriteNpy(prefix + ".prob.npy",
             {static_cast<int64_t>(classes.size()), probabilities.height, probabilities.width},
             probabilities.values.data());
  }
  if (outputs.png) {
    for (size_t c = 0; c < classes.size(); ++c) {
      WritePng(prefix + "." + classes[c] + ".prob.png", ToGray(probabilities, c));
    }
  }
}

}  // namespace lseg
