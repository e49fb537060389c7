// ParameterSet: the learned tensors of a model by key ("conv1_1.weight"), f32, dense, on the device
// of the nets that use them. Several nets (training and validation, one a size) share one set.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "framework/tensor.h"
#include "framework/weights.h"

namespace lseg {

// What became of the tensors on loading, for the log.
struct LoadReport {
  std::vector<std::string> loaded;   // keys found in both
  std::vector<std::string> skipped;  // in the file, not in the set
  std::vector<std::string> missing;  // in the set, not in the file: left as filled
  std::string Summary() const;       // a few lines
};

class ParameterSet {
 public:
  explicit ParameterSet(Device device = Device::kCpu) : device_(device) {}
  Device device() const { return device_; }

  // Null where the key is unknown.
  Tensor* Find(const std::string& key);
  const Tensor* Find(const std::string& key) const;
  // Added uninitialised; the key is new.
  Tensor& Add(const std::string& key, const Shape& shape);

  // The layers that add parameters need not fill those that the file has (Gaussian numbers for
  // VGG16's 15 million take a second of a processor's time): Load of the same file is to follow.
  void Await(const WeightsFile& file);
  bool Awaits(const std::string& key) const { return awaited_.count(key) > 0; }

  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  int64_t Bytes() const;  // of all of them

  // Gives the memory of a tensor back, whose values nobody reads any more. The set is of no use
  // then but to the net that it was made for.
  void Release(const std::string& key);
  bool HasReleased() const;

  // Copies what the file has for these keys; none may be released. A value that is not finite is an
  // Error, and so is a shape that differs, which names both; a file tensor of the same count whose
  // leading dimensions are 1 (a bias stored as 1x1x1xN) fits.
  LoadReport Load(const WeightsFile& file);
  // All tensors into a file, biases as one dimension. Metadata is left to the caller. Not where
  // some are released.
  void Store(WeightsFile& file) const;

 private:
  Device device_;
  std::map<std::string, Tensor> tensors_;
  std::set<std::string> awaited_;
};

}  // namespace lseg
