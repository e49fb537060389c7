// TrainingData: the built-in way to feed a training, varied crops of a list's images.
//
// Photographs are decoded when they are first wanted and kept as 8-bit samples beside the pixels of
// their lesions (4.2 MB at 1440x960, and 4 bytes a lesion pixel), up to a limit; what does not fit
// is decoded again each time, which costs time only. What a batch holds is a pure function of the
// seed and the iteration.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/data_source.h"
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
  int64_t memory_limit = int64_t{1} << 30;  // bytes of decoded images to keep
};

// Blobs: data (N,3,H,W) f32, B G R less the mean; label (N,classes,H,W) u8, 0 or 1, of the crop's
// size. Truth is read by ReadTruth (lseg/dataset.h): the masks beside the label map where there are
// any, so that lesions may overlap.
class TrainingData : public DataSource {
 public:
  // Throws Error where the list cannot be read, or its first image. Later images are read by Fill.
  TrainingData(const std::string& list, const TrainingDataOptions& options);

  std::vector<TensorDesc> Blobs() const override;
  // An Error names the image or mask that cannot be read, or whose sizes differ.
  void Fill(int64_t iteration, std::span<void* const> blobs) override;

  int64_t images() const { return static_cast<int64_t>(entries_.size()); }
  // Of the first image: the size that the model is trained for.
  int width() const { return width_; }
  int height() const { return height_; }
  int64_t bytes_kept() const { return bytes_kept_; }

 private:
  TrainingImage Read(const ListEntry& entry) const;

  TrainingDataOptions options_;
  std::vector<ListEntry> entries_;
  SampleOrder order_;
  std::vector<std::optional<TrainingImage>> kept_;  // one an entry
  int64_t bytes_kept_ = 0;
  int width_ = 0, height_ = 0;
};

}  // namespace lseg
