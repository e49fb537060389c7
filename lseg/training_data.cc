#include "lseg/training_data.h"

namespace lseg {

TrainingData::TrainingData(const std::string& list, const TrainingDataOptions& options)
    : options_(options),
      entries_(ReadList(list)),
      order_(options.seed, images(), true),
      kept_(entries_.size()) {
  options_.augment.Validate();
  LSEG_CHECK(options_.batch_size > 0, "a batch of " << options_.batch_size << " is empty");
  const Image first = ReadPhoto(entries_[0].image);
  width_ = first.width;
  height_ = first.height;
}

std::vector<TensorDesc> TrainingData::Blobs() const {
  const AugmentOptions& crop = options_.augment;
  const auto classes = static_cast<int64_t>(options_.classes.size());
  return {{Shape{options_.batch_size, 3, crop.height, crop.width}},
          {Shape{options_.batch_size, classes, crop.height, crop.width}, DType::kU8}};
}

TrainingImage TrainingData::Read(const ListEntry& entry) const {
  Image photo = ReadPhoto(entry.image);
  const std::vector<Image> masks = ReadTruth(entry, options_.classes);
  LSEG_CHECK(masks[0].width == photo.width && masks[0].height == photo.height,
             entry.image << " is " << photo.width << "x" << photo.height << ", its label "
                         << entry.label << " " << masks[0].width << "x" << masks[0].height);
  return MakeTrainingImage(std::move(photo), masks);
}

void TrainingData::Fill(int64_t iteration, std::span<void* const> blobs) {
  const std::vector<TensorDesc> descs = Blobs();
  float* data = static_cast<float*>(blobs[0]);
  uint8_t* label = static_cast<uint8_t*>(blobs[1]);
  for (int64_t b = 0; b < options_.batch_size; ++b) {
    const int64_t sample = iteration * options_.batch_size + b;
    const int64_t index = order_.ImageOf(sample);
    std::optional<TrainingImage> read;
    if (!kept_[index]) {
      read = Read(entries_[index]);
      if (bytes_kept_ + read->Bytes() <= options_.memory_limit) {
        bytes_kept_ += read->Bytes();
        kept_[index].swap(read);
      }
    }
    const TrainingImage& image = kept_[index] ? *kept_[index] : *read;
    Random random(options_.seed, static_cast<uint64_t>(sample));
    const AugmentParams params = DrawAugmentation(options_.augment, image, random);
    Augment(image, params, options_.mean_bgr, data, label);
    data += descs[0].shape.Count() / options_.batch_size;
    label += descs[1].shape.Count() / options_.batch_size;
  }
}

}  // namespace lseg
