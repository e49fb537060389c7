// WeightsFile: named float tensors and a few strings, in the safetensors format.
//
// The format: 8 bytes length of the header, little endian; the header, JSON, one object
// {"<key>": {"dtype", "shape", "data_offsets": [begin, end)}, ..., "__metadata__": {string:
// string}}; then the data, which the tensors cover without gap or overlap.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/runtime/dtype.h"

namespace lseg {

struct WeightTensor {
  std::string key;             // "conv1_1.weight"
  std::vector<int64_t> shape;  // empty: one value
  std::vector<float> data;     // dense, last dimension fastest
};

// Elements of a shape; nothing where a dimension is negative or the product too large.
std::optional<int64_t> ElementCount(const std::vector<int64_t>& shape);
// "64x3x3x3"; "scalar" of no dimensions.
std::string ShapeText(const std::vector<int64_t>& shape);

struct ValueRange {
  int64_t count = 0, nan = 0, infinite = 0;
  float min = 0, max = 0;  // of the finite ones, and their mean |x|; 0 where there are none
  double mean_abs = 0;
  int64_t Finite() const { return count - nan - infinite; }
};
ValueRange RangeOf(const std::vector<float>& values);

class WeightsFile {
 public:
  // F32, F16 and BF16 are read, all into float. The file is not trusted: lengths, offsets, shapes
  // and text are checked against each other and against the file's size before memory is taken.
  // Throws Error "path: rule, values" in one line.
  static WeightsFile Read(const std::string& path);
  // The same on bytes in memory; `name` stands for the path.
  static WeightsFile Parse(std::string_view bytes, const std::string& name);

  // The same tensors and metadata give the same bytes, in whatever order they were added: tensors
  // lie sorted by key, and nothing but them is stored. Written as WriteFile (file.h) does. dtype:
  // kF32, or kF16 or kBF16, to which values are rounded (dtype.h); throws Error where that makes a
  // finite value infinite.
  void Write(const std::string& path, DType dtype = DType::kF32) const;
  std::string Serialize(DType dtype = DType::kF32) const;

  // Throws Error where the key is there already, is reserved, or data does not fill shape.
  void Add(WeightTensor tensor);
  // Null where the key is unknown.
  const WeightTensor* Find(const std::string& key) const;
  const std::vector<WeightTensor>& tensors() const { return tensors_; }  // sorted by key

  std::map<std::string, std::string> metadata;  // UTF-8

 private:
  std::string Header(DType dtype) const;

  std::vector<WeightTensor> tensors_;
};

}  // namespace lseg
