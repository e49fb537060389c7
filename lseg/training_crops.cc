#include "lseg/training_crops.h"

#include <algorithm>
#include <utility>

namespace lseg {

TrainingCrops::TrainingCrops(const std::string& list, const TrainingDataOptions& options)
    : options_(options), entries_(ReadList(list)), order_(options.seed, images(), true) {
  options_.augment.Validate();
  LSEG_CHECK(options_.batch_size > 0, "a batch of " << options_.batch_size << " is empty");
  const Image first = ReadPhoto(entries_[0].image, options_.max_pixels);
  width_ = first.width;
  height_ = first.height;
}

bool TrainingCrops::LeavesOut() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const ListEntry& entry) {
    return std::count(entry.masks.begin(), entry.masks.end(), "") > 0;
  });
}

std::vector<TensorDesc> TrainingCrops::Blobs() const {
  const AugmentOptions& crop = options_.augment;
  const auto classes = static_cast<int64_t>(options_.classes.size());
  return {{Shape{options_.batch_size, 3, crop.height, crop.width}},
          {Shape{options_.batch_size, classes, crop.height, crop.width}, DType::kU8}};
}

TrainingImage TrainingCrops::Read(int64_t image) const {
  const ListEntry& entry = entries_[image];
  Image photo = ReadPhoto(entry.image, options_.max_pixels);
  const std::vector<Image> masks = ReadTruth(entry, options_.classes, options_.max_pixels);
  CheckTruthFits(entry, masks, photo);
  return MakeTrainingImage(std::move(photo), masks);
}

AugmentParams TrainingCrops::Draw(int64_t sample, const TrainingImage& image) const {
  Random random(options_.seed, static_cast<uint64_t>(sample));
  return DrawAugmentation(options_.augment, image, random);
}

}  // namespace lseg
