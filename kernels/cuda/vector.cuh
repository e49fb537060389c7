// What one load or store of a thread moves: kWidth elements, 16 bytes of them where the memory's
// alignment allows.
#pragma once

#include <cstdint>

#include "kernels/cuda/element.cuh"

namespace lseg::cuda {

template <class T, int kWidth>
struct alignas(sizeof(T) * kWidth < 16 ? sizeof(T) * kWidth : 16) Vector {
  T at[kWidth];
};

// Elements of a vector of 16 bytes.
template <class T>
inline constexpr int kVectorWidth = 16 / static_cast<int>(sizeof(T));

template <int kWidth, class T>
__device__ Vector<T, kWidth> Load(const T* from) {
  return *reinterpret_cast<const Vector<T, kWidth>*>(from);
}

template <class T, int kWidth>
__device__ void Store(T* to, const Vector<T, kWidth>& values) {
  *reinterpret_cast<Vector<T, kWidth>*>(to) = values;
}

inline bool IsAligned(const void* pointer, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % static_cast<uintptr_t>(bytes) == 0;
}

}  // namespace lseg::cuda
