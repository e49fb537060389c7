#include "lseg/device_training_data.h"

#include <chrono>
#include <utility>

#include "kernels/crop_resample.h"

namespace lseg {

TrainingImage DeviceTrainingData::Take(int64_t index) {
  const auto found = ahead_.find(index);
  if (found == ahead_.end()) return crops_.Read(index);
  std::future<TrainingImage> future = std::move(found->second);
  ahead_.erase(found);
  const auto start = std::chrono::steady_clock::now();
  future.wait();
  waited_seconds_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return future.get();
}

void DeviceTrainingData::DropImages(Context& context) {
  context.Synchronize();  // crops of them may be under way
  passing_.reset();
  for (std::optional<Resident>& kept : kept_) kept.reset();
  bytes_kept_ = 0;
}

const DeviceTrainingData::Resident& DeviceTrainingData::Bring(Context& context, int64_t index) {
  if (kept_[index]) return *kept_[index];
  Resident resident{Take(index), {}};
  Image& photo = resident.image.photo;
  const std::vector<uint8_t> class_bits = ClassBits(resident.image);
  const auto photo_bytes = static_cast<int64_t>(photo.pixels.size());
  const int64_t bytes = photo_bytes + static_cast<int64_t>(class_bits.size());
  // The latest that was not kept goes, once no crop of it is being made.
  context.Synchronize();
  passing_.reset();
  try {
    resident.memory = Buffer(context.device(), bytes);
  } catch (const OutOfMemory&) {
    // Training itself needs one image at a time: the others make place.
    DropImages(context);
    memory_limit_ = 0;
    resident.memory = Buffer(context.device(), bytes);
  }
  auto* memory = static_cast<uint8_t*>(resident.memory.data());
  CopyToDevice(context.device(), memory, photo.pixels.data(), photo_bytes);
  CopyToDevice(context.device(), memory + photo_bytes, class_bits.data(), bytes - photo_bytes);
  photo.pixels = {};
  std::optional<Resident>& place = bytes_kept_ + bytes <= memory_limit_ ? kept_[index] : passing_;
  if (&place != &passing_) bytes_kept_ += bytes;
  place = std::move(resident);
  return *place;
}

// Decodes what the iteration wants and the device has not.
void DeviceTrainingData::ReadAhead(int64_t iteration) {
  std::map<int64_t, std::future<TrainingImage>> wanted;
  const int64_t batch = crops_.options().batch_size;
  for (int64_t sample = iteration * batch; sample < (iteration + 1) * batch; ++sample) {
    const int64_t index = crops_.ImageOf(sample);
    if (kept_[index] || wanted.count(index) > 0) continue;
    const auto found = ahead_.find(index);
    wanted[index] =
        found != ahead_.end()
            ? std::move(found->second)
            : std::async(std::launch::async, [this, index] { return crops_.Read(index); });
  }
  ahead_ = std::move(wanted);
}

void DeviceTrainingData::Queue(Context& context, int64_t iteration, std::span<void* const> blobs) {
  const std::vector<TensorDesc> descs = Blobs();
  const TrainingDataOptions& options = crops_.options();
  auto* data = static_cast<float*>(blobs[0]);
  auto* label = static_cast<uint8_t*>(blobs[1]);
  for (int64_t b = 0; b < options.batch_size; ++b) {
    const int64_t sample = iteration * options.batch_size + b;
    const Resident& resident = Bring(context, crops_.ImageOf(sample));
    const AugmentParams params = crops_.Draw(sample, resident.image);
    CropResample(context, ToCropResample(resident.image, params, options.mean_bgr),
                 resident.photo(), resident.class_bits(), data, label);
    data += descs[0].shape.Count() / options.batch_size;
    label += descs[1].shape.Count() / options.batch_size;
  }
  ReadAhead(iteration + 1);
}

}  // namespace lseg
