// A prepared dataset small enough for tests: photographs of noise with bright blots, which are the
// lesions, so that a few steps of training already learn something.
#pragma once

#include <string>
#include <vector>

#include "kernels/runtime/random.h"
#include "lseg/dataset.h"
#include "lseg/image.h"
#include "tests/lseg/temp_folder.h"

namespace lseg {

inline const std::vector<std::string>& TinyClasses() {
  static const auto& classes = *new std::vector<std::string>{"EX", "HE", "MA", "SE"};
  return classes;
}

struct TinyImage {
  Image photo;
  std::vector<Image> masks;  // 0 or 255, EX HE MA SE
};

// Class c has two blots of 8 x 6, brighter by 120 in channel c (the fourth: in all).
inline TinyImage MakeTinyImage(int width, int height, uint64_t seed) {
  Random random(seed, 77);
  TinyImage image{Image(width, height, 3), {}};
  for (uint8_t& sample : image.photo.pixels) sample = static_cast<uint8_t>(40 + random.Below(30));
  for (int c = 0; c < 4; ++c) {
    image.masks.emplace_back(width, height, 1);
    for (int blot = 0; blot < 2; ++blot) {
      const int left = static_cast<int>(random.Below(width - 8));
      const int top = static_cast<int>(random.Below(height - 6));
      for (int y = top; y < top + 6; ++y) {
        for (int x = left; x < left + 8; ++x) {
          image.masks[c].Row(y)[x] = 255;
          for (int k = 0; k < 3; ++k) {
            if (k == c || c == 3) image.photo.Row(y)[3 * x + k] = 190;
          }
        }
      }
    }
  }
  return image;
}

// Writes images 0..count-1 as `stem`NN and their list `stem`.txt into the folder, whose path it
// returns. Without masks only the class maps tell the truth.
inline std::string WriteTinyDataset(const TempFolder& folder, const std::string& stem, int count,
                                    int width, int height, bool masks = true) {
  std::string list;
  for (int i = 0; i < count; ++i) {
    const TinyImage image = MakeTinyImage(width, height, static_cast<uint64_t>(i) + stem.size());
    const std::string name = stem + std::to_string(i);
    for (const char* sub : {"images", "labels", "masks"}) {
      std::filesystem::create_directories(folder.Path(sub));
    }
    WritePng(folder.Path("images/" + name + ".png"), image.photo);
    WriteIndexedPng(folder.Path("labels/" + name + ".png"), ComposeClassMap(image.masks));
    for (int c = 0; c < 4 && masks; ++c) {
      WritePng(folder.Path("masks/" + name + "_" + TinyClasses()[c] + ".png"), image.masks[c]);
    }
    list += "images/" + name + ".png labels/" + name + ".png\n";
  }
  return folder.Write(stem + ".txt", list);
}

// A net that learns them: 3x3 to 8 channels, 1x1 to the classes.
inline constexpr char kTinyTrainNet[] = R"(
  name: "tiny"
  layer { name: "data" type: "Input" top: "data"
          input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
  layer { name: "label" type: "Input" top: "label" include { phase: TRAIN }
          input_param { shape { dim: 2 dim: 4 dim: 8 dim: 8 } } }
  layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
          convolution_param { num_output: 8 kernel_size: 3 pad: 1
                              weight_filler { type: "gaussian" std: 0.01 } } }
  layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
  layer { name: "score" type: "Convolution" bottom: "conv" top: "score"
          convolution_param { num_output: 4 kernel_size: 1
                              weight_filler { type: "gaussian" std: 0.1 } } }
  layer { name: "loss" type: "MultiChannelBinSigmoidCrossEntropyLoss" bottom: "score"
          bottom: "label" top: "loss" include { phase: TRAIN }
          mcbsce_loss_param { num_label: 4 } loss_param { normalization: FULL } }
  layer { name: "answer" type: "Sigmoid" bottom: "score" top: "probability"
          include { phase: TEST } })";

}  // namespace lseg
