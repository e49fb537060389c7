// Augmentation of training crops: parameters drawn from counter-based random numbers, and a pure
// function that applies them. What a run saw can so be made again from its seed, for any iteration.
//
// A crop is a window of the scaled photograph, mirrored and turned, with its colours shifted.
// Colours are moved together more than apart: their ratio tells haemorrhages from vessels.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/crop_resample.h"
#include "kernels/runtime/random.h"
#include "lseg/image.h"

namespace lseg {

// A photograph and where its lesions are, as training keeps them.
struct TrainingImage {
  Image photo;  // RGB
  // For each class (at most 8) the pixels y * width + x that belong to it, ascending. Classes may
  // overlap.
  std::vector<std::vector<uint32_t>> lesions;
  uint8_t left_out = 0;  // bit c: the photograph is not annotated for class c

  int64_t Bytes() const;
};

// From one mask a class, photo-sized, 0 elsewhere than in the lesion; one without pixels: the class
// is left out.
TrainingImage MakeTrainingImage(Image photo, const std::vector<Image>& masks);

struct AugmentOptions {
  int width = 448, height = 448;  // of the crop
  // Share of crops that are placed so that a lesion pixel is inside: a random one of a random
  // class, among the classes that the photograph has. The others lie anywhere.
  float lesion_share = 0.6f;
  std::vector<float> scales = {0.8f, 1.0f, 1.25f};  // each as likely
  bool flip = true;            // left-right and up-down, each for half of the crops
  bool turn = true;            // by 90 degrees, half of the crops
  float gain = 0.15f;          // factor on all channels, in 1 -+ gain
  float channel_gain = 0.07f;  // and on each, in 1 -+ channel_gain
  float offset = 4;            // added to each channel of 0..255, in -+ offset

  void Validate() const;
};

// One crop. The default is the photograph itself, `width` and `height` aside.
struct AugmentParams {
  int width = 0, height = 0;  // of the crop
  // The photograph is scaled to round(width * scale) x round(height * scale): bilinear where it
  // grows, by area where it shrinks. Masks follow with the same weights; a pixel belongs to a
  // lesion where the weights of lesion pixels reach 0.5.
  float scale = 1;
  // Corner of the window in the scaled photograph. The window is width x height, or height x width
  // with a turn. Outside of the photograph is black (0 before gain and offset), without lesions.
  int left = 0, top = 0;
  // In this order: mirror the window left-right, up-down, turn it clockwise by 90 degrees.
  bool flip_x = false, flip_y = false, turn = false;
  // On each channel (R, G, B) of 0..255: value * gain + offset. Not clipped.
  std::array<float, 3> gain = {1, 1, 1}, offset = {0, 0, 0};
};

// Draws a crop. The window lies within the scaled photograph; along an axis where that is smaller
// than the window, the whole photograph lies within the window, anywhere.
AugmentParams DrawAugmentation(const AugmentOptions& options, const TrainingImage& image,
                               Random& random);

// The classes of each pixel, a bit each, and the same crop, for kernels/crop_resample.h.
std::vector<uint8_t> ClassBits(const TrainingImage& image);
CropResampleParams ToCropResample(const TrainingImage& image, const AugmentParams& params,
                                  const std::array<float, 3>& mean_bgr);

// data: (3, height, width), B G R, value minus mean_bgr. label: (classes, height, width), 0 or 1;
// kNotAnnotated (kernels/label.h) for a class that is left out.
// Both are overwritten.
void Augment(const TrainingImage& image, const AugmentParams& params,
             const std::array<float, 3>& mean_bgr, float* data, uint8_t* label);

}  // namespace lseg
