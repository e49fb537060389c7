#include "lseg/training_data.h"

namespace lseg {

void TrainingData::Fill(int64_t iteration, std::span<void* const> blobs) {
  const std::vector<TensorDesc> descs = Blobs();
  const TrainingDataOptions& options = crops_.options();
  float* data = static_cast<float*>(blobs[0]);
  uint8_t* label = static_cast<uint8_t*>(blobs[1]);
  for (int64_t b = 0; b < options.batch_size; ++b) {
    const int64_t sample = iteration * options.batch_size + b;
    const int64_t index = crops_.ImageOf(sample);
    std::optional<TrainingImage> read;
    if (!kept_[index]) {
      read = crops_.Read(index);
      if (bytes_kept_ + read->Bytes() <= memory_limit_) {
        bytes_kept_ += read->Bytes();
        kept_[index].swap(read);
      }
    }
    const TrainingImage& image = kept_[index] ? *kept_[index] : *read;
    Augment(image, crops_.Draw(sample, image), options.mean_bgr, data, label);
    data += descs[0].shape.Count() / options.batch_size;
    label += descs[1].shape.Count() / options.batch_size;
  }
}

}  // namespace lseg
