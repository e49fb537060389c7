// TrainingData: the built-in way to feed a training, varied crops of a list's images, made on the
// host.
//
// Photographs are decoded when they are first wanted and kept as 8-bit samples beside the pixels of
// their lesions (4.2 MB at 1440x960, and 4 bytes a lesion pixel), up to a limit; what does not fit
// is decoded again each time, which costs time only.
#pragma once

#include <optional>

#include "framework/data_source.h"
#include "lseg/training_crops.h"

namespace lseg {

class TrainingData : public DataSource {
 public:
  // Throws what TrainingCrops throws.
  TrainingData(const std::string& list, const TrainingDataOptions& options)
      : crops_(list, options), memory_limit_(options.memory_limit), kept_(crops_.images()) {}

  std::vector<TensorDesc> Blobs() const override { return crops_.Blobs(); }
  void Fill(int64_t iteration, std::span<void* const> blobs) override;

  // Before the first Fill, instead of what the options say.
  void LimitMemory(int64_t bytes) { memory_limit_ = bytes; }

  const TrainingCrops& crops() const { return crops_; }
  int64_t bytes_kept() const { return bytes_kept_; }

 private:
  TrainingCrops crops_;
  int64_t memory_limit_;
  std::vector<std::optional<TrainingImage>> kept_;  // one an image
  int64_t bytes_kept_ = 0;
};

}  // namespace lseg
