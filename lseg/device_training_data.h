// DeviceTrainingData: what TrainingData gives, with the crops made on the device (kernels/
// crop_resample.h), so that the host has little more to do than to draw where they lie.
//
// An image is decoded ahead on a thread when it is first wanted, and then stays in the device's
// memory, 4 bytes a pixel (5.5 MB at 1440x960), up to a limit; what does not fit is decoded and
// sent again each time, which costs time only. Labels are those of TrainingData, data differs by
// 4e-7 of 255 * gain at most.
#pragma once

#include <future>
#include <map>
#include <optional>

#include "framework/data_source.h"
#include "kernels/runtime/buffer.h"
#include "lseg/training_crops.h"

namespace lseg {

class DeviceTrainingData : public DeviceSource {
 public:
  // Throws what TrainingCrops throws. options.memory_limit is of the device's memory.
  DeviceTrainingData(const std::string& list, const TrainingDataOptions& options)
      : crops_(list, options), memory_limit_(options.memory_limit), kept_(crops_.images()) {}

  std::vector<TensorDesc> Blobs() const override { return crops_.Blobs(); }
  void Queue(Context& context, int64_t iteration, std::span<void* const> blobs) override;

  double waited_seconds() const override { return waited_seconds_; }

  // Frees all memory of the device that it holds; images are brought anew as they are wanted.
  void DropImages(Context& context);

  const TrainingCrops& crops() const { return crops_; }
  int64_t bytes_kept() const { return bytes_kept_; }

 private:
  // An image whose samples lie on the device: the photograph, then the classes of its pixels.
  struct Resident {
    TrainingImage image;  // without pixels
    Buffer memory;
    const uint8_t* photo() const { return static_cast<const uint8_t*>(memory.data()); }
    const uint8_t* class_bits() const {
      return photo() + int64_t{3} * image.photo.width * image.photo.height;
    }
  };

  TrainingImage Take(int64_t index);
  const Resident& Bring(Context& context, int64_t index);
  void ReadAhead(int64_t iteration);

  TrainingCrops crops_;
  int64_t memory_limit_;
  std::vector<std::optional<Resident>> kept_;  // one an image
  std::optional<Resident> passing_;            // the latest that was not kept
  int64_t bytes_kept_ = 0;
  double waited_seconds_ = 0;
  std::map<int64_t, std::future<TrainingImage>> ahead_;  // by image: of the next iteration
};

}  // namespace lseg
