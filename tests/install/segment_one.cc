// segment_one WEIGHTS PHOTO OUT.png: the class map of one photograph, at its own size.
#include <iostream>

#include "lseg/fit.h"
#include "lseg/image.h"
#include "lseg/probabilities.h"
#include "lseg/segment.h"

int main(int argc, char** argv) try {
  if (argc != 4) throw lseg::Error("segment_one WEIGHTS PHOTO OUT.png");
  lseg::Context context;
  lseg::Segmenter segmenter(argv[1], context);
  const lseg::ModelInfo& model = segmenter.model();
  const lseg::Image photo = lseg::ReadPhoto(argv[2]);
  lseg::Probabilities p = segmenter.Run(lseg::FitPhoto(photo, model.width, model.height));
  lseg::CropProbabilities(&p, lseg::FitInto(photo.width, photo.height, p.width, p.height));
  std::vector<float> thresholds = model.thresholds;  // where the weights say them
  if (thresholds.empty()) thresholds.assign(model.classes.size(), 0.5f);
  lseg::WriteIndexedPng(argv[3], lseg::ResizedClassMap(p, photo.width, photo.height, thresholds));
  for (const std::string& name : model.classes) std::cout << name << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
