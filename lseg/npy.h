// NumPy's .npy files of float32, so that probability maps go to and come from Python without glue.
//
// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Versions 1 and 2,
// dtype '<f4', C order. Anything else is an Error that says what to convert, since a file that is
// read wrongly still looks like probabilities.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lseg {

struct NpyArray {
  std::vector<int64_t> shape;  // empty for a scalar
  std::vector<float> values;   // C order, as many as the product of shape
};

// An Error names the file and what is wrong with it: missing, not npy, another version, dtype or
// order, a damaged header, fewer or more bytes than the shape asks for.
NpyArray ReadNpy(const std::string& path);

// Writes version 1 under a temporary name and renames it. values: the product of shape.
void WriteNpy(const std::string& path, const std::vector<int64_t>& shape, const float* values);

}  // namespace lseg
