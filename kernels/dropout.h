// Dropout (Srivastava et al., JMLR 2014) as Caffe has it: in training each element is kept with
// probability 1 - ratio and divided by it, else 0; whole expectations stay as they are. Backward is
// the same op on the gradient: which elements are kept is a function of the numbers below, so no
// mask is stored, and a resumed training drops what the unbroken one would have. (Elements count as
// they lie in memory: where a machine keeps a map in another format, others are dropped.)
#pragma once

#include <cstdint>

#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/host_device.h"

namespace lseg {

struct DropoutParams {
  int64_t count = 0;   // elements of storage
  float ratio = 0.5f;  // share that is dropped, in [0, 1)
  uint64_t seed = 0;   // of the training and the layer

  void Validate() const;
};

// The mixing function of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
// generators", OOPSLA 2014), whose counter-based form this is.
LSEG_HOST_DEVICE inline uint64_t Mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
constexpr uint64_t kGoldenGamma = 0x9e3779b97f4a7c15u;

// Where the sequence of one batch begins.
LSEG_HOST_DEVICE inline uint64_t DropoutKey(uint64_t seed, int32_t batch) {
  return Mix64(seed + static_cast<uint64_t>(batch + 1) * kGoldenGamma);
}
inline uint32_t DropoutThreshold(const DropoutParams& params) {
  return static_cast<uint32_t>(static_cast<double>(params.ratio) * 0x1p32);
}
// Whether element i is kept.
LSEG_HOST_DEVICE inline bool IsKept(uint64_t key, int64_t i, uint32_t threshold) {
  return static_cast<uint32_t>(Mix64(key + static_cast<uint64_t>(i) * kGoldenGamma) >> 32) >=
         threshold;
}

// batch[0] (memory of the device) tells batches of a training apart. dst (written or added to) may
// be src where it is written. Bound by memory on a GPU; by the mixing, some 10 integer operations
// an element, on a CPU.
void Dropout(Context& context, const DropoutParams& params, const int32_t* batch, const void* src,
             void* dst, GradMode dst_mode, DType dtype = DType::kF32);

}  // namespace lseg
