// PhotoInput: brings photographs of one size to a net's input, value minus mean times scale. A GPU
// is sent their bytes, a quarter of what the input takes, and does the rest itself.
#pragma once

#include <string>
#include <vector>

#include "framework/data_source.h"
#include "kernels/preprocess.h"
#include "kernels/runtime/buffer.h"
#include "lseg/image.h"
#include "lseg/model.h"

namespace lseg {

class PhotoInput : public DeviceSource {
 public:
  // An OutOfMemory where a GPU's memory for the bytes cannot be had.
  PhotoInput(const Context& context, const ModelInfo& model, int width, int height);

  // The photograph, RGB, that Queue brings next; it stays where it is until then.
  void Set(const Image& photo);

  std::vector<TensorDesc> Blobs() const override { return {{preprocess_.Dst()}}; }
  void Queue(Context& context, int64_t iteration, std::span<void* const> blobs) override;

 private:
  PreprocessParams preprocess_;
  const Image* photo_ = nullptr;
  HostBuffer host_;  // on a GPU: on its way, and there
  Buffer device_;
};

}  // namespace lseg
