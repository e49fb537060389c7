// What liblseg_cudnn.so holds: convolution by NVIDIA's libraries, beside which own kernels are
// measured. kernels/cuda/engine_library.h loads it; nothing else links with it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/conv.h"

namespace lseg::cudnn {

// cuDNN: NCHW and NHWC, types f32, bf16 and f16, f32 on one side with a narrow type on the other
// among them. Where the sides differ one goes through the workspace. Bias and d_weight are rounded
// to a narrow type, in which cuDNN takes and gives them.
bool SupportsConvCudnn(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvCudnn(const Context&, const ConvParams&, ConvDirection,
                                        ConvFormats);

// cuBLAS, where the convolution is a matrix product: 1x1, stride 1, no padding, one group.
bool SupportsConvCublas(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvCublas(const Context&, const ConvParams&, ConvDirection,
                                         ConvFormats);

// Parts of a workspace, one after another, each aligned as the libraries want it.
class WorkspaceParts {
 public:
  static constexpr int64_t kAlignment = 256;

  // Returns the part's offset.
  int64_t Add(int64_t bytes) {
    const int64_t offset = size_;
    size_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  }
  // With what the start may be off (ConvArgs promises 64 bytes).
  int64_t Bytes() const { return size_ > 0 ? size_ + kAlignment : 0; }
  static char* Start(void* workspace) {
    const auto address = reinterpret_cast<uintptr_t>(workspace);
    return reinterpret_cast<char*>((address + kAlignment - 1) / kAlignment * kAlignment);
  }

 private:
  int64_t size_ = 0;
};

}  // namespace lseg::cudnn
