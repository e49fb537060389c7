// A model of one 1x1 convolution whose answers can be worked out by hand: each pixel by itself,
// logits EX = 0.1 (R - 100), HE = 0.1 (G - 50), MA = 0.1 (B - 150), SE = -1.
#pragma once

#include <cmath>
#include <string>

#include "framework/weights.h"

namespace lseg {

inline constexpr char kTinyNet[] = R"(
  layer { name: "data" type: "Input" top: "data"
          input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
  layer { name: "score" type: "Convolution" bottom: "data" top: "score"
          convolution_param { num_output: 4 kernel_size: 1 } }
  layer { name: "answer" type: "Sigmoid" bottom: "score" top: "probability" })";

inline WeightsFile TinyModel() {
  WeightsFile file;
  // Channels of the input are B G R.
  file.Add({"score.weight", {4, 3, 1, 1}, {0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0}});
  file.Add({"score.bias", {4}, {0, 0, 0, -1}});
  file.metadata = {{"lseg.net", kTinyNet}, {"lseg.classes", "EX,HE,MA,SE"}, {"lseg.width", "8"},
                   {"lseg.height", "6"},   {"lseg.mean", "150,50,100"},     {"lseg.scale", "0.1"}};
  return file;
}

inline double Sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

}  // namespace lseg
