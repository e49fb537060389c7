// TrainingCrops: which crop of which image a sample of a training is, by itself a pure function of
// the seed and the sample's number. What makes them stands in training_data.h (on the host) and
// device_training_data.h (on a GPU).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "framework/tensor.h"
#include "lseg/augment.h"
#include "lseg/dataset.h"
#include "lseg/sample_order.h"

namespace lseg {

struct TrainingDataOptions {
  AugmentOptions augment;
  int batch_size = 1;
  std::vector<std::string> classes = {"EX", "HE", "MA", "SE"};
  std::array<float, 3> mean_bgr = {0, 0, 0};
  uint64_t seed = 1;
  int64_t max_pixels = kMaxPixels;          // larger images are refused
  int64_t memory_limit = int64_t{1} << 30;  // bytes of decoded images to keep
};

class TrainingCrops {
 public:
  // Throws Error where the list cannot be read, or its first image. Later images are read by Read.
  TrainingCrops(const std::string& list, const TrainingDataOptions& options);

  const TrainingDataOptions& options() const { return options_; }
  // data (N,3,H,W) f32, B G R less the mean; label (N,classes,H,W) u8, 0 or 1 or
  // kNotAnnotated (kernels/label.h), of the crop's size.
  std::vector<TensorDesc> Blobs() const;

  int64_t images() const { return static_cast<int64_t>(entries_.size()); }
  // Whether an image is not annotated for a class; labels then hold kNotAnnotated.
  bool LeavesOut() const;
  // Of the first image: the size that the model is trained for.
  int width() const { return width_; }
  int height() const { return height_; }

  // The image of a sample, counted from 0.
  int64_t ImageOf(int64_t sample) { return order_.ImageOf(sample); }
  // Truth is read by ReadTruth (lseg/dataset.h): the masks beside the label map where there are
  // any, so that lesions may overlap. An Error names the image or mask that cannot be read, or
  // whose sizes differ.
  TrainingImage Read(int64_t image) const;
  AugmentParams Draw(int64_t sample, const TrainingImage& image) const;

 private:
  TrainingDataOptions options_;
  std::vector<ListEntry> entries_;
  SampleOrder order_;
  int width_ = 0, height_ = 0;
};

}  // namespace lseg
