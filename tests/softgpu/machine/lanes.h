// How ops read and write slots. An op computes all 32 lanes into a local array, a loop that
// compilers vectorise, and Put stores the lanes that take part; lanes outside may hold anything, so
// ops must not fault on any bits.
#pragma once

#include <bit>
#include <cstring>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "tests/softgpu/machine/warp.h"

namespace softgpu {

inline uint8_t* Slot(const Warp& w, Ref r) { return w.bases[r >> 31] + (r & ~kConstantBit); }
template <class T>
inline const T* Get(const Warp& w, Ref r) {
  return reinterpret_cast<const T*>(Slot(w, r));
}
// The shadow bytes of a slot of this width (bytes a lane).
inline uint8_t* Shadow(const Warp& w, Ref r, int slot_bytes) {
  return Slot(w, r) + kLanes * slot_bytes;
}

inline uint32_t PredicateValue(const Warp& w, Ref r) { return Get<uint32_t>(w, r)[0]; }
inline uint32_t PredicateShadow(const Warp& w, Ref r) { return Get<uint32_t>(w, r)[1]; }
inline void PutPredicate(Warp& w, Ref r, uint32_t value, uint32_t shadow) {
  uint32_t* p = reinterpret_cast<uint32_t*>(Slot(w, r));
  p[0] = (p[0] & ~w.exec) | (value & w.exec);
  p[1] = (p[1] & ~w.exec) | (shadow & w.exec);
}

// 0xff where the lane is in mask, else 0.
inline void ByteMask(uint32_t mask, uint8_t* bytes) {
#ifdef __AVX2__
  const __m256i which =
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(mask)), which);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes),
                      _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit));
#else
  for (int l = 0; l < kLanes; ++l) bytes[l] = (mask >> l) & 1 ? 0xff : 0;
#endif
}
// The lanes whose byte has its top bit set.
inline uint32_t LanesOf(const uint8_t* bytes) {
#ifdef __AVX2__
  const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
  return static_cast<uint32_t>(_mm256_movemask_epi8(v));
#else
  uint32_t lanes = 0;
  for (int l = 0; l < kLanes; ++l) lanes |= static_cast<uint32_t>(bytes[l] >> 7) << l;
  return lanes;
#endif
}

#ifdef __AVX2__
// All ones in the elements (of so many bytes) of a vector whose lanes are in mask, from bit 0 on.
template <size_t bytes>
inline __m256i ElementMask(uint32_t mask) {
  const int m = static_cast<int>(mask);
  if constexpr (bytes == 2) {
    const __m256i bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096,
                                          8192, 16384, static_cast<int16_t>(0x8000));
    const __m256i all = _mm256_set1_epi16(static_cast<int16_t>(m));
    return _mm256_cmpeq_epi16(_mm256_and_si256(all, bit), bit);
  } else if constexpr (bytes == 4) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(m), bit), bit);
  } else {
    const __m256i bit = _mm256_setr_epi64x(1, 2, 4, 8);
    return _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(m), bit), bit);
  }
}
#endif

// Stores the lanes of exec.
template <class T>
inline void StoreLanes(uint32_t exec, T* dst, const T* value) {
  if (exec == kAllLanes) {
    std::memcpy(dst, value, kLanes * sizeof(T));
    return;
  }
#ifdef __AVX2__
  if constexpr (sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8) {
    constexpr int kElements = 32 / sizeof(T);
    for (int l = 0; l < kLanes; l += kElements) {
      auto* d = reinterpret_cast<__m256i*>(dst + l);
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(value + l));
      const __m256i take = ElementMask<sizeof(T)>(exec >> l);
      _mm256_storeu_si256(d, _mm256_blendv_epi8(_mm256_loadu_si256(d), v, take));
    }
    return;
  }
#endif
  uint8_t take[kLanes];
  ByteMask(exec, take);
  for (int l = 0; l < kLanes; ++l) {
    const T old = dst[l], fresh = value[l];  // both are read, so that this vectorises
    dst[l] = take[l] ? fresh : old;
  }
}
template <class T>
inline void Put(Warp& w, Ref r, const T* value) {
  StoreLanes(w.exec, reinterpret_cast<T*>(Slot(w, r)), value);
}
inline void PutShadow(Warp& w, Ref r, int slot_bytes, const uint8_t* value) {
  StoreLanes(w.exec, Shadow(w, r, slot_bytes), value);
}
inline void ClearShadow(Warp& w, Ref r, int slot_bytes) {
  const uint8_t zero[kLanes] = {};
  PutShadow(w, r, slot_bytes, zero);
}

// The shadow of a value of `bytes` bytes that nothing is known of.
constexpr uint8_t ShadowAll(int bytes) {
  return bytes >= 8 ? 0xff : static_cast<uint8_t>((1 << bytes) - 1);
}

// Shadow of arithmetic: a result is wholly unwritten where any byte of any source is.
inline void Mix(const uint8_t* a, uint8_t* mixed) {
  for (int l = 0; l < kLanes; ++l) mixed[l] |= a[l];
}
inline void Spread(uint8_t* shadow, uint8_t all) {
  for (int l = 0; l < kLanes; ++l) shadow[l] = shadow[l] ? all : 0;
}

// Both at once: one pass over registers, where a copy and a Mix would go through memory.
template <class... Source>
inline void MixAndSpread(uint8_t all, uint8_t* mixed, const Source*... sources) {
  for (int l = 0; l < kLanes; ++l) mixed[l] = (sources[l] | ...) ? all : uint8_t{0};
}
// The same as Spread for a pair of 16-bit values, each on its own.
inline void SpreadHalves(uint8_t* shadow) {
  for (int l = 0; l < kLanes; ++l) {
    shadow[l] = static_cast<uint8_t>((shadow[l] & 3 ? 3 : 0) | (shadow[l] & 12 ? 12 : 0));
  }
}

// Lanes whose shadow is not 0.
inline uint32_t AnyShadow(const uint8_t* shadow) {
  uint8_t any[kLanes];
  for (int l = 0; l < kLanes; ++l) any[l] = shadow[l] ? 0xff : 0;
  return LanesOf(any);
}

// d = f(a), with the shadow rule of arithmetic. D and A are the slots' value types.
template <class D, class A, class F>
inline void Apply1(Warp& w, const Inst& i, F f) {
  const A* a = Get<A>(w, i.r[1]);
  D d[kLanes];
  for (int l = 0; l < kLanes; ++l) d[l] = f(a[l]);
  uint8_t s[kLanes];
  MixAndSpread(ShadowAll(sizeof(D)), s, Shadow(w, i.r[1], sizeof(A)));
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], sizeof(D), s);
}
template <class D, class A, class B, class F>
inline void Apply2(Warp& w, const Inst& i, F f) {
  const A* a = Get<A>(w, i.r[1]);
  const B* b = Get<B>(w, i.r[2]);
  D d[kLanes];
  for (int l = 0; l < kLanes; ++l) d[l] = f(a[l], b[l]);
  uint8_t s[kLanes];
  MixAndSpread(ShadowAll(sizeof(D)), s, Shadow(w, i.r[1], sizeof(A)), Shadow(w, i.r[2], sizeof(B)));
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], sizeof(D), s);
}
template <class D, class A, class B, class C, class F>
inline void Apply3(Warp& w, const Inst& i, F f) {
  const A* a = Get<A>(w, i.r[1]);
  const B* b = Get<B>(w, i.r[2]);
  const C* c = Get<C>(w, i.r[3]);
  D d[kLanes];
  for (int l = 0; l < kLanes; ++l) d[l] = f(a[l], b[l], c[l]);
  uint8_t s[kLanes];
  MixAndSpread(ShadowAll(sizeof(D)), s, Shadow(w, i.r[1], sizeof(A)), Shadow(w, i.r[2], sizeof(B)),
               Shadow(w, i.r[3], sizeof(C)));
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], sizeof(D), s);
}

// Lanes of exec from low to high.
template <class F>
inline void ForLanes(uint32_t mask, F f) {
  for (; mask; mask &= mask - 1) f(std::countr_zero(mask));
}

}  // namespace softgpu
