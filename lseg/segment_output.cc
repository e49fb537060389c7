#include "lseg/segment_output.h"

#include <utility>

#include "lseg/npy.h"
#include "lseg/overlay.h"

namespace lseg {
namespace {

void WriteProbabilities(const std::string& prefix, const Probabilities& probabilities,
                        const SegmentOutputs& outputs) {
  const std::vector<std::string>& classes = probabilities.classes;
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

void WritePictures(const std::string& prefix, Image photo, const Probabilities& probabilities,
                   const SegmentOutputs& outputs, const LesionVisitor& visit) {
  const Image class_map =
      ResizedClassMap(probabilities, photo.width, photo.height, outputs.thresholds);
  if (visit) visit(photo, probabilities, class_map);
  WriteIndexedPng(prefix + ".label.png", class_map);
  WritePng(prefix + ".overlay.png",
           DrawOverlay(std::move(photo), class_map, probabilities.classes));
}

}  // namespace

void WriteSegmentation(const std::string& prefix, Image photo, const Probabilities& probabilities,
                       const SegmentOutputs& outputs, const LesionVisitor& visit) {
  for (const std::string& name : probabilities.classes) {
    LSEG_CHECK(name.find('/') == std::string::npos,
               "class '" << name << "' cannot be part of a file's name");
  }
  const int width = photo.width, height = photo.height;
  WritePictures(prefix, std::move(photo), probabilities, outputs, visit);
  if (!outputs.npy && !outputs.png) return;
  if (probabilities.width == width && probabilities.height == height) {
    WriteProbabilities(prefix, probabilities, outputs);
  } else {
    WriteProbabilities(prefix, ResizeProbabilities(probabilities, width, height), outputs);
  }
}

}  // namespace lseg
