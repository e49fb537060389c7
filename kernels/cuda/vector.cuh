// What one load or store of a thread moves: kWidth elements, 16 bytes of them where the memory's
// alignment allows.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cuda/element.cuh"

namespace lseg::cuda {

template <class T, int kWidth>
struct alignas(sizeof(T) * kWidth < 16 ? sizeof(T) * kWidth : 16) Vector {
  T at[kWidth];
};

// Elements of a vector of 16 bytes.
template <class T>
inline constexpr int kVectorWidth = 16 / static_cast<int>(sizeof(T));

// The word of so many bytes that one instruction moves. Words of more than one element are loaded
// and stored by CUDA's functions for that, since a plain copy of a struct is at times made element
// by element.
template <int kBytes>
struct Word;
template <>
struct Word<1> {
  using Type = uint8_t;
};
template <>
struct Word<2> {
  using Type = uint16_t;
};
template <>
struct Word<4> {
  using Type = uint32_t;
};
template <>
struct Word<8> {
  using Type = uint2;
};
template <>
struct Word<16> {
  using Type = uint4;
};

template <int kWidth, class T>
__device__ Vector<T, kWidth> Load(const T* from) {
  Vector<T, kWidth> values;
  if constexpr (kWidth == 1) {
    values.at[0] = *from;
  } else {
    constexpr int kBytes = sizeof(values) < 16 ? sizeof(values) : 16;
    using Raw = typename Word<kBytes>::Type;
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(values)) / kBytes; ++i) {
      const Raw raw = __ldca(reinterpret_cast<const Raw*>(from) + i);
      memcpy(reinterpret_cast<char*>(values.at) + i * kBytes, &raw, kBytes);
    }
  }
  return values;
}

template <class T, int kWidth>
__device__ void Store(T* to, const Vector<T, kWidth>& values) {
  if constexpr (kWidth == 1) {
    *to = values.at[0];
  } else {
    constexpr int kBytes = sizeof(values) < 16 ? sizeof(values) : 16;
    using Raw = typename Word<kBytes>::Type;
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(values)) / kBytes; ++i) {
      Raw raw;
      memcpy(&raw, reinterpret_cast<const char*>(values.at) + i * kBytes, kBytes);
      __stwb(reinterpret_cast<Raw*>(to) + i, raw);
    }
  }
}

inline bool IsAligned(const void* pointer, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % static_cast<uintptr_t>(bytes) == 0;
}

}  // namespace lseg::cuda
