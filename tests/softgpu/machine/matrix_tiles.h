// Fragments of matrix instructions as small dense matrices, and their product.
//
// In all of the layouts that mma takes, the slot of one fragment register, read as one array, is a
// row-major 8 x E block (E elements of a lane times 4): lane / 4 is its row, 4 neighbouring lanes
// hold a row. Registers of A are the blocks (r % 2, r / 2) of a 16 x 2E matrix; those of B, blocks
// of B transposed (its row is n); c0 and c1 (and c2, c3) are the even and the odd columns of 8 x 8
// accumulators. So unpacking is a conversion, and a product's inner loop runs over n = 8 with
// vectors of 8. The vector types are GCC's, which exist on every machine.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#if defined(__AVX2__) || defined(__F16C__)
#include <immintrin.h>
#endif

namespace softgpu::matrix {

using F8 = float __attribute__((vector_size(32)));
using F4 = float __attribute__((vector_size(16)));
using U8 = uint32_t __attribute__((vector_size(32)));
using U4 = uint32_t __attribute__((vector_size(16)));
using H8 = uint16_t __attribute__((vector_size(16)));

template <class V>
inline V LoadVector(const void* from) {
  V v;
  std::memcpy(&v, from, sizeof(V));
  return v;
}
template <class V>
inline void StoreVector(void* to, V v) {
  std::memcpy(to, &v, sizeof(V));
}

// 8 x 8 of 16 bits: three rounds of a perfect shuffle.
inline void Transpose8x8(H8 rows[8]) {
  for (int round = 0; round < 3; ++round) {
    H8 next[8];
    for (int r = 0; r < 4; ++r) {
      next[2 * r] = __builtin_shufflevector(rows[r], rows[r + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      next[2 * r + 1] = __builtin_shufflevector(rows[r], rows[r + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    std::memcpy(rows, next, sizeof(next));
  }
}

// Eight values of 16 bits to floats.
struct Half {
  static F8 Convert(H8 h) {
#if defined(__F16C__)
    return std::bit_cast<F8>(_mm256_cvtph_ps(std::bit_cast<__m128i>(h)));
#else
    const U8 bits = __builtin_convertvector(h, U8);
    const U8 magnitude = (bits & 0x7fffu) << 13;
    // The exponent's bias differs by 112; subnormals come right by the same product.
    const F8 scaled = std::bit_cast<F8>(magnitude) * 0x1p112f;
    const U8 special = std::bit_cast<U8>(magnitude >= 0x0f800000u) & 0x7f800000u;
    return std::bit_cast<F8>(std::bit_cast<U8>(scaled) | special | (bits & 0x8000u) << 16);
#endif
  }
};

struct BFloat {
  static F8 Convert(H8 h) {
#if defined(__AVX2__)
    const U8 wide = std::bit_cast<U8>(_mm256_cvtepu16_epi32(std::bit_cast<__m128i>(h)));
#else
    const U8 wide = __builtin_convertvector(h, U8);
#endif
    return std::bit_cast<F8>(wide << 16);
  }
};

// The row of B transposed that becomes column k; split: even columns first, as accumulators lie.
template <bool kSplit>
constexpr int RowOf(int k) {
  if (!kSplit) return k;
  return k < 4 ? 2 * k : 2 * k - 7;
}

// Elements: how a block's row, 16 bytes, becomes floats. kWidth is E.
template <class Format>
struct Element16 {
  static constexpr int kWidth = 8;
  static void Row(const uint8_t* row, float* out) {
    StoreVector(out, Format::Convert(LoadVector<H8>(row)));
  }
  static void Rows(const uint8_t* slot, float* out, int stride) {
    for (int r = 0; r < 8; ++r) Row(slot + 16 * r, out + r * stride);
  }
  template <bool kSplit = false>
  static void Columns(const uint8_t* slot, float* out) {
    H8 rows[8];
    for (int k = 0; k < 8; ++k) rows[k] = LoadVector<H8>(slot + 16 * RowOf<kSplit>(k));
    Transpose8x8(rows);
    for (int k = 0; k < 8; ++k) StoreVector(out + 8 * k, Format::Convert(rows[k]));
  }
};
using HalfElement = Element16<Half>;
using BFloatElement = Element16<BFloat>;

// tf32: the low 13 bits of the f32 don't count.
struct TensorFloatElement {
  static constexpr int kWidth = 4;
  static constexpr uint32_t kKept = 0xffffe000u;
  static void Row(const uint8_t* row, float* out) { StoreVector(out, LoadVector<U4>(row) & kKept); }
  static void Rows(const uint8_t* slot, float* out, int stride) {
    for (int r = 0; r < 8; ++r) Row(slot + 16 * r, out + r * stride);
  }
  template <bool kSplit = false>
  static void Columns(const uint8_t* slot, float* out) {
    U4 rows[8];
    for (int k = 0; k < 8; ++k) rows[k] = LoadVector<U4>(slot + 16 * RowOf<kSplit>(k));
    for (int half = 0; half < 2; ++half) {
      const U4* r = rows + 4 * half;
      const U4 a = __builtin_shufflevector(r[0], r[2], 0, 4, 1, 5);
      const U4 b = __builtin_shufflevector(r[1], r[3], 0, 4, 1, 5);
      const U4 c = __builtin_shufflevector(r[0], r[2], 2, 6, 3, 7);
      const U4 d = __builtin_shufflevector(r[1], r[3], 2, 6, 3, 7);
      const U4 columns[4] = {
          __builtin_shufflevector(a, b, 0, 4, 1, 5), __builtin_shufflevector(a, b, 2, 6, 3, 7),
          __builtin_shufflevector(c, d, 0, 4, 1, 5), __builtin_shufflevector(c, d, 2, 6, 3, 7)};
      for (int k = 0; k < 4; ++k) StoreVector(out + 8 * k + 4 * half, columns[k] & kKept);
    }
  }
};

// Bytes, T signed or not: their products and the sums of 32 of them are exact in f32.
template <class T>
struct ByteElement {
  static constexpr int kWidth = 16;
  typedef T Sixteen __attribute__((vector_size(16)));  // an alias loses the attribute here
  // 16 of them. GCC makes scalars of the loop.
  static void Convert(const uint8_t* from, float* out) {
#if defined(__AVX2__)
    for (int half = 0; half < 2; ++half) {
      const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8 * half));
      const __m256i wide = T(-1) < 0 ? _mm256_cvtepi8_epi32(eight) : _mm256_cvtepu8_epi32(eight);
      StoreVector(out + 8 * half, _mm256_cvtepi32_ps(wide));
    }
#else
    T values[kWidth];
    std::memcpy(values, from, kWidth);
    for (int e = 0; e < kWidth; ++e) out[e] = values[e];
#endif
  }
  static void Rows(const uint8_t* slot, float* out, int stride) {
    for (int r = 0; r < 8; ++r) Convert(slot + 16 * r, out + r * stride);
  }
  // 8 x 16 to 16 x 8 by three rounds of a perfect shuffle.
  static void Columns(const uint8_t* slot, float* out) {
    Sixteen rows[8];
    std::memcpy(rows, slot, sizeof(rows));
    for (int round = 0; round < 3; ++round) {
      Sixteen next[8];
      for (int r = 0; r < 4; ++r) {
        next[2 * r] = __builtin_shufflevector(rows[r], rows[r + 4], 0, 16, 1, 17, 2, 18, 3, 19, 4,
                                              20, 5, 21, 6, 22, 7, 23);
        next[2 * r + 1] = __builtin_shufflevector(rows[r], rows[r + 4], 8, 24, 9, 25, 10, 26, 11,
                                                  27, 12, 28, 13, 29, 14, 30, 15, 31);
      }
      std::memcpy(rows, next, sizeof(next));
    }
    uint8_t columns[sizeof(rows)];
    std::memcpy(columns, rows, sizeof(rows));
    for (int k = 0; k < 8; ++k) Convert(columns + 16 * k, out + 16 * k);
  }
};

// a * b + c in f32. A product of two bf16, f16 or tf32 values is exact in f32 but for its range, so
// that one rounding or two make no difference to ordinary numbers.
inline F8 FusedOrNot(float a, F8 b, F8 c) {
#if defined(__FMA__)
  return std::bit_cast<F8>(
      _mm256_fmadd_ps(_mm256_set1_ps(a), std::bit_cast<__m256>(b), std::bit_cast<__m256>(c)));
#else
  return a * b + c;
#endif
}

// c[m] += a[m][0..K) * b[0..K), for 8 rows; rows of c and b are 8 long. Each sum is rounded to f32,
// in the order of k: the manual asks for at least that precision and leaves the order open.
template <int K>
inline void MultiplyAdd(const float* a, const float* b, F8* c) {
  F8 sums[8];
  std::memcpy(sums, c, sizeof(sums));
#pragma GCC unroll 16
  for (int k = 0; k < K; ++k) {
    const F8 row = LoadVector<F8>(b + 8 * k);
    for (int m = 0; m < 8; ++m) sums[m] = FusedOrNot(a[m * K + k], row, sums[m]);
  }
  std::memcpy(c, sums, sizeof(sums));
}

// Accumulators: 8 rows of 8 columns from the slots of their even and odd columns, and back.
inline void LoadAccumulators(const uint8_t* even, const uint8_t* odd, F8* c) {
  for (int m = 0; m < 8; ++m) {
    const F4 a = LoadVector<F4>(even + 16 * m), b = LoadVector<F4>(odd + 16 * m);
    const F4 low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const F4 high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    c[m] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
  }
}
inline void StoreAccumulators(const F8* c, float* even, float* odd) {
  for (int m = 0; m < 8; ++m) {
    const F4 low = __builtin_shufflevector(c[m], c[m], 0, 1, 2, 3);
    const F4 high = __builtin_shufflevector(c[m], c[m], 4, 5, 6, 7);
    StoreVector(even + 4 * m, __builtin_shufflevector(low, high, 0, 2, 4, 6));
    StoreVector(odd + 4 * m, __builtin_shufflevector(low, high, 1, 3, 5, 7));
  }
}

// The same with the even columns first: as they lie.
inline void LoadSplit(const uint8_t* even, const uint8_t* odd, F8* c) {
  for (int m = 0; m < 8; ++m) {
    const F4 a = LoadVector<F4>(even + 16 * m), b = LoadVector<F4>(odd + 16 * m);
    c[m] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
  }
}
inline void StoreSplit(const F8* c, uint8_t* even, uint8_t* odd) {
  for (int m = 0; m < 8; ++m) {
    StoreVector(even + 16 * m, __builtin_shufflevector(c[m], c[m], 0, 1, 2, 3));
    StoreVector(odd + 16 * m, __builtin_shufflevector(c[m], c[m], 4, 5, 6, 7));
  }
}

inline void StoreHalves(const F8* c, uint16_t* out) {
#if defined(__F16C__)
  for (int m = 0; m < 8; ++m) {
    StoreVector(out + 8 * m,
                _mm256_cvtps_ph(std::bit_cast<__m256>(c[m]), _MM_FROUND_TO_NEAREST_INT));
  }
#else
  for (int e = 0; e < 64; ++e) {
    out[e] = std::bit_cast<uint16_t>(static_cast<_Float16>(c[e / 8][e % 8]));
  }
#endif
}

}  // namespace softgpu::matrix
