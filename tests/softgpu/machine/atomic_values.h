// The arithmetic of atom and red: new = Do(old, b), by storage type, so that one compare-exchange
// loop serves all of them. Sums of floats round once to nearest even; NaN results are canonical.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace softgpu::atomic {

using Bits128 = unsigned __int128;

// Integers of T, the signed or unsigned type, stored as S.
template <class T>
struct Add {
  using Storage = std::make_unsigned_t<T>;
  static Storage Do(Storage old, Storage b) { return static_cast<Storage>(old + b); }
};
template <class T>
struct Min {
  using Storage = std::make_unsigned_t<T>;
  static Storage Do(Storage old, Storage b) {
    return static_cast<Storage>(std::min(static_cast<T>(old), static_cast<T>(b)));
  }
};
template <class T>
struct Max {
  using Storage = std::make_unsigned_t<T>;
  static Storage Do(Storage old, Storage b) {
    return static_cast<Storage>(std::max(static_cast<T>(old), static_cast<T>(b)));
  }
};
struct Inc {
  using Storage = uint32_t;
  static uint32_t Do(uint32_t old, uint32_t b) { return old >= b ? 0 : old + 1; }
};
struct Dec {
  using Storage = uint32_t;
  static uint32_t Do(uint32_t old, uint32_t b) { return old == 0 || old > b ? b : old - 1; }
};
template <class S>
struct And {
  using Storage = S;
  static S Do(S old, S b) { return old & b; }
};
template <class S>
struct Or {
  using Storage = S;
  static S Do(S old, S b) { return old | b; }
};
template <class S>
struct Xor {
  using Storage = S;
  static S Do(S old, S b) { return old ^ b; }
};
template <class S>
struct Exchange {
  using Storage = S;
  static S Do(S, S b) { return b; }
};

inline uint32_t FloatBits(float value) {
  return std::isnan(value) ? 0x7fffffffu : std::bit_cast<uint32_t>(value);
}
inline float Flushed(float value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value;
}

// On global memory subnormal inputs and results are flushed to zero, in shared memory they are not
// (the manual, at atom).
template <bool kFlush>
struct AddFloat {
  using Storage = uint32_t;
  static uint32_t Do(uint32_t old, uint32_t b) {
    const float x = std::bit_cast<float>(old), y = std::bit_cast<float>(b);
    return FloatBits(kFlush ? Flushed(Flushed(x) + Flushed(y)) : x + y);
  }
};
struct AddDouble {
  using Storage = uint64_t;
  static uint64_t Do(uint64_t old, uint64_t b) {
    const double sum = std::bit_cast<double>(old) + std::bit_cast<double>(b);
    return std::isnan(sum) ? 0x7fffffffffffffffull : std::bit_cast<uint64_t>(sum);
  }
};
// An f32 has more than twice the digits of an f16 or bf16, so rounding twice is rounding once.
struct AddF16 {
  using Storage = uint16_t;
  static uint16_t Do(uint16_t old, uint16_t b) {
    const float sum = static_cast<float>(std::bit_cast<_Float16>(old)) +
                      static_cast<float>(std::bit_cast<_Float16>(b));
    return std::isnan(sum) ? 0x7fff : std::bit_cast<uint16_t>(static_cast<_Float16>(sum));
  }
};
struct AddBF16 {
  using Storage = uint16_t;
  static uint16_t Do(uint16_t old, uint16_t b) {
    const float sum = std::bit_cast<float>(static_cast<uint32_t>(old) << 16) +
                      std::bit_cast<float>(static_cast<uint32_t>(b) << 16);
    const uint32_t bits = std::bit_cast<uint32_t>(sum);
    if (std::isnan(sum)) return 0x7fff;
    return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
};
// Both halves of a word. The manual promises atomicity for each half only; a word at a time is
// stronger.
template <class Half>
struct Pair {
  using Storage = uint32_t;
  static uint32_t Do(uint32_t old, uint32_t b) {
    const uint32_t low = Half::Do(static_cast<uint16_t>(old), static_cast<uint16_t>(b));
    const uint32_t high =
        Half::Do(static_cast<uint16_t>(old >> 16), static_cast<uint16_t>(b >> 16));
    return low | high << 16;
  }
};

// Sets *p from old to desired if it still is old; returns what it was.
template <class S>
inline S CompareExchange(S* p, S old, S desired) {
  __atomic_compare_exchange_n(p, &old, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return old;
}
#if defined(__x86_64__)
__attribute__((target("cx16")))
#endif
inline Bits128
CompareExchange(Bits128* p, Bits128 old, Bits128 desired) {
  return __sync_val_compare_and_swap(p, old, desired);
}

template <class S>
inline S Load(S* p) {
  return __atomic_load_n(p, __ATOMIC_RELAXED);
}
inline Bits128 Load(Bits128* p) { return CompareExchange(p, Bits128{0}, Bits128{0}); }

// *p = Do(*p, b) at once; returns the old value. `shared`: only this thread sees the memory.
template <class Op>
inline typename Op::Storage Update(void* memory, typename Op::Storage b, bool shared) {
  using S = typename Op::Storage;
  S* p = static_cast<S*>(memory);
  if (shared) {
    const S old = *p;
    *p = Op::Do(old, b);
    return old;
  }
  for (S old = Load(p);;) {
    const S seen = CompareExchange(p, old, Op::Do(old, b));
    if (seen == old) return old;
    old = seen;
  }
}

}  // namespace softgpu::atomic
