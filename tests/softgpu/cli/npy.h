// NumPy's .npy files, read and written as bytes with a shape: kernels know nothing of dtypes.
// Source: "NEP 1 -- A Simple File Format for NumPy Arrays", versions 1 to 3.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace softgpu {

struct Array {
  std::string dtype;  // NumPy's description: "<f4", "|i1", "<M8[ns]"
  std::vector<uint64_t> shape;
  std::vector<uint8_t> bytes;  // C order

  uint64_t elements() const;
};

// Throws std::runtime_error with the path: no such file, not .npy, Fortran order (of more than one
// dimension), a dtype with fields or of Python objects, fewer bytes than the shape needs.
Array ReadNpy(const std::string& path);
// As version 1. Throws std::runtime_error with the path.
void WriteNpy(const std::string& path, const Array& array);

}  // namespace softgpu
