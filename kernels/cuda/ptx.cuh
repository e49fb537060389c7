// The instructions that CUDA C++ has no name for, each as one small function named after it. All
// inline PTX of the kernels stands here. Everything needs sm_80 and runs on all later GPUs.
#pragma once

#include <cstdint>

namespace lseg::cuda {

// The address that the instructions below take for a pointer into shared memory.
__device__ inline uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// max.NaN: the larger of two numbers, a NaN where one of them is. (fmaxf gives the other one then.)
__device__ inline float MaxNan(float a, float b) {
  float larger;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
  return larger;
}

// cp.async: 16 bytes from global to shared memory, past the registers and the L1 cache, both
// aligned to 16 bytes. The bytes are there for the thread itself after WaitGroup, for others after
// a barrier that follows it. Where `wanted` is false nothing happens, and no branch is taken.
__device__ inline void CpAsync16(uint32_t shared, const void* global, bool wanted) {
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.b32 wanted, %2, 0;\n"
      "@wanted cp.async.cg.shared.global [%0], [%1], 16;\n"
      "}" ::"r"(shared),
      "l"(global), "r"(static_cast<int>(wanted))
      : "memory");
}

// The same; where `valid` is false zeros are written and nothing is read.
__device__ inline void CpAsync16OrZeros(uint32_t shared, const void* global, bool valid,
                                        bool wanted) {
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.b32 wanted, %3, 0;\n"
      "@wanted cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
      "}" ::"r"(shared),
      "l"(global), "r"(valid ? 16 : 0), "r"(static_cast<int>(wanted))
      : "memory");
}

// Copies since the last CommitGroup become one group, possibly an empty one.
__device__ inline void CommitGroup() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kPending of the thread's groups, the latest ones, are unfinished.
template <int kPending>
__device__ inline void WaitGroup() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// ldmatrix: four matrices of 8 rows of 16 bytes. Lanes 8i to 8i+7 hold the addresses of the rows of
// matrix i; lane l gets from each matrix the 4 bytes l % 4 of row l / 4.
__device__ inline void LdmatrixX4(uint32_t (&to)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}

// The same of matrices of 8x8 elements of 2 bytes, each transposed on the way.
__device__ inline void LdmatrixX4Trans(uint32_t (&to)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}

// mma.sync: d += a b for a of 16 rows and b of 8 columns, sums in f32. With g = lane / 4 and
// t = lane % 4, d holds rows g (d[0], d[1]) and g + 8 (d[2], d[3]), columns 2t and 2t+1. a holds
// 4 bytes of rows g, g + 8, g, g + 8, at byte 4t of the first 16 bytes of the row (a[0], a[1]) and
// of the second (a[2], a[3]); b0 and b1 the same of column g.
__device__ inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline void MmaF16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// f32 operands of which the upper 19 bits count; k is 8.
__device__ inline void MmaTf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The nearest f32 whose lower 13 bits are zero; ties away from zero.
__device__ inline float RoundToTf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return __uint_as_float(bits);
}

}  // namespace lseg::cuda
