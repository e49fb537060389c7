// The instructions of sm_90a (Hopper) alone, each as one small function named after it: products of
// a warpgroup, four warps, that run while the warps go on (wgmma). For the sources that are
// compiled for it alone.
#pragma once

#include <cstdint>

namespace lseg::cuda {

// mbarrier: 8 bytes of shared memory that count arrivals and bytes. A phase is over when as many
// have arrived as it was made for and all bytes that they announced have come; then the next one
// begins. Phases have parities 0, 1, 0, ...
__device__ inline void InitBarrier(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Barriers that the thread has made are seen by copies that it issues afterwards.
__device__ inline void FenceForCopies() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ inline void Arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives, and announces bytes.
__device__ inline void ArriveAndExpect(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// Waits until the phase of this parity is over. What was written to shared memory by those who
// arrived, and by the copies whose bytes were announced, can be read then.
__device__ inline void WaitBarrier(uint32_t barrier, uint32_t parity) {
  uint32_t over;
  do {
    asm volatile(
        "{\n"
        ".reg .pred over;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
        "selp.b32 %0, 1, 0, over;\n"
        "}"
        : "=r"(over)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (over == 0);
}

// cp.async.bulk: a multiple of 16 bytes from global to shared memory by one thread, both aligned to
// 16; they come to the barrier.
__device__ inline void CopyBulk(uint32_t shared, const void* global, uint32_t bytes,
                                uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared),
      "l"(global), "r"(bytes), "r"(barrier)
      : "memory");
}

// What the thread has written to shared memory, by itself or by cp.async once waited for, is seen
// by products that are issued after a barrier that follows.
__device__ inline void FenceForProducts() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Before the first product, and before products that read registers that were written since the
// products before them.
__device__ inline void WarpgroupFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Products since the last CommitProducts become one group.
__device__ inline void CommitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most kPending groups, the latest ones, are unfinished: what the others read may be
// written again.
template <int kPending>
__device__ inline void WaitProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Keeps the compiler from moving reads of sums, or writes to them, across.
template <int kCount>
__device__ inline void PinSums(float (&sums)[kCount][4]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    asm volatile(""
                 : "+f"(sums[i][0]), "+f"(sums[i][1]), "+f"(sums[i][2]),
                   "+f"(sums[i][3])::"memory");
  }
}

// Rows of 128 bytes in shared memory, each an output's k values, swizzled (SwizzledByte): a matrix
// operand from `address` on, which is a multiple of 1024, or that and 32 bytes a k step. Groups of
// 8 rows are 1024 bytes apart (bits 32 to 45, in units of 16), the swizzle is that of 128 bytes (1
// in bits 62 and 63); bits 16 to 29 do not count with it.
__device__ inline uint64_t SwizzledRows(uint32_t address) {
  return (uint64_t{1} << 62) | (uint64_t{1024 >> 4} << 32) | (uint64_t{1} << 16) |
         ((address & 0x3ffff) >> 4);
}

// wgmma: sums += a b, 64 rows of which each warp holds 16 in registers, as mma.sync has them; b in
// shared memory, kCount * 8 rows of 32 bytes' k values, or, "Turned", 16 rows, one for each k, of
// as many values. sums[i] are the columns 8i to 8i+7, as mma.sync has them. All of it may be read
// or written only after WaitProducts.
#define LSEG_SUMS_4(i)                                                                          \
  "+f"(sums[i][0]), "+f"(sums[i][1]), "+f"(sums[i][2]), "+f"(sums[i][3]), "+f"(sums[i + 1][0]), \
      "+f"(sums[i + 1][1]), "+f"(sums[i + 1][2]), "+f"(sums[i + 1][3]), "+f"(sums[i + 2][0]),   \
      "+f"(sums[i + 2][1]), "+f"(sums[i + 2][2]), "+f"(sums[i + 2][3]), "+f"(sums[i + 3][0]),   \
      "+f"(sums[i + 3][1]), "+f"(sums[i + 3][2]), "+f"(sums[i + 3][3])

#define LSEG_WGMMA_N64(shape_and_types, transposed)                                   \
  asm volatile(                                                                       \
      "{\n"                                                                           \
      ".reg .pred add;\n"                                                             \
      "setp.ne.b32 add, %37, 0;\n"                                                    \
      "wgmma.mma_async.sync.aligned." shape_and_types                                 \
      " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, " \
      "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "  \
      "{%32, %33, %34, %35}, %36, add, 1, 1" transposed                               \
      ";\n"                                                                           \
      "}"                                                                             \
      : LSEG_SUMS_4(0), LSEG_SUMS_4(4)                                                \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1))

#define LSEG_WGMMA_N128(shape_and_types, transposed)                                  \
  asm volatile(                                                                       \
      "{\n"                                                                           \
      ".reg .pred add;\n"                                                             \
      "setp.ne.b32 add, %69, 0;\n"                                                    \
      "wgmma.mma_async.sync.aligned." shape_and_types                                 \
      " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, " \
      "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "   \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, "   \
      "%47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, "   \
      "%62, %63}, {%64, %65, %66, %67}, %68, add, 1, 1" transposed                    \
      ";\n"                                                                           \
      "}"                                                                             \
      : LSEG_SUMS_4(0), LSEG_SUMS_4(4), LSEG_SUMS_4(8), LSEG_SUMS_4(12)               \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1))

__device__ inline void WgmmaBf16(float (&sums)[8][4], const uint32_t (&a)[4], uint64_t b) {
  LSEG_WGMMA_N64("m64n64k16.f32.bf16.bf16", ", 0");
}
__device__ inline void WgmmaBf16(float (&sums)[16][4], const uint32_t (&a)[4], uint64_t b) {
  LSEG_WGMMA_N128("m64n128k16.f32.bf16.bf16", ", 0");
}
__device__ inline void WgmmaF16(float (&sums)[8][4], const uint32_t (&a)[4], uint64_t b) {
  LSEG_WGMMA_N64("m64n64k16.f32.f16.f16", ", 0");
}
__device__ inline void WgmmaF16(float (&sums)[16][4], const uint32_t (&a)[4], uint64_t b) {
  LSEG_WGMMA_N128("m64n128k16.f32.f16.f16", ", 0");
}
__device__ inline void WgmmaTurnedBf16(float (&sums)[8][4], const uint32_t (&a)[4], uint64_t b) {
  LSEG_WGMMA_N64("m64n64k16.f32.bf16.bf16", ", 1");
}
__device__ inline void WgmmaTurnedF16(float (&sums)[8][4], const uint32_t (&a)[4], uint64_t b) {
  LSEG_WGMMA_N64("m64n64k16.f32.f16.f16", ", 1");
}
// f32 operands of which the upper 19 bits count; k is 8.
__device__ inline void WgmmaTf32(float (&sums)[8][4], const uint32_t (&a)[4], uint64_t b) {
  LSEG_WGMMA_N64("m64n64k8.f32.tf32.tf32", "");
}
__device__ inline void WgmmaTf32(float (&sums)[16][4], const uint32_t (&a)[4], uint64_t b) {
  LSEG_WGMMA_N128("m64n128k8.f32.tf32.tf32", "");
}

#undef LSEG_WGMMA_N128
#undef LSEG_WGMMA_N64
#undef LSEG_SUMS_4

}  // namespace lseg::cuda
