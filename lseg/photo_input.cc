#include "lseg/photo_input.h"

#include <cstring>

namespace lseg {

PhotoInput::PhotoInput(const Context& context, const ModelInfo& model, int width, int height) {
  preprocess_.src_width = preprocess_.width = width;
  preprocess_.src_height = preprocess_.height = height;
  preprocess_.mean = model.mean_bgr;
  preprocess_.scale = model.scale;
  preprocess_.Validate();
  if (context.device() == Device::kCpu) return;
  const int64_t bytes = int64_t{3} * width * height;
  host_ = HostBuffer(context.device(), bytes);
  device_ = Buffer(context.device(), bytes);
}

void PhotoInput::Set(const Image& photo) {
  LSEG_CHECK(
      photo.channels == 3 && photo.width == preprocess_.width && photo.height == preprocess_.height,
      "a photograph of " << photo.width << "x" << photo.height << "x" << photo.channels
                         << " for an input of " << preprocess_.width << "x" << preprocess_.height
                         << "x3");
  photo_ = &photo;
}

void PhotoInput::Queue(Context& context, int64_t, std::span<void* const> blobs) {
  LSEG_CHECK(photo_ != nullptr, "no photograph was given to the net's input");
  const auto* pixels = photo_->pixels.data();
  if (context.device() != Device::kCpu) {
    context.Synchronize();  // the photograph before may still be on its way
    std::memcpy(host_.data(), pixels, host_.bytes());
    QueueCopyToDevice(context, device_.data(), host_.data(), host_.bytes());
    pixels = static_cast<const uint8_t*>(device_.data());
  }
  photo_ = nullptr;
  Preprocess(context, preprocess_, pixels, nullptr, static_cast<float*>(blobs[0]));
}

}  // namespace lseg
