// AMX's instructions on tiles by name, in the assembler's words: compilers disagree on how theirs
// are spelt, and some of those that this project is built with have none. Included once per
// instruction set, by the sources that use Highway.
//
// A tile is up to 16 rows of 64 bytes, of which a processor has eight, 0 to 7. A thread says how
// large they are before it uses them, and releases them afterwards.

#if defined(LSEG_KERNELS_CPU_AMX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSEG_KERNELS_CPU_AMX_INL_H_
#undef LSEG_KERNELS_CPU_AMX_INL_H_
#else
#define LSEG_KERNELS_CPU_AMX_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kTileRowBytes = 64, kTileBytes = 16 * kTileRowBytes;

// Rows of each tile; all of them are 64 bytes wide.
class TileRows {
 public:
  explicit TileRows(const uint8_t (&rows)[8]) {
    alignas(64) struct {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } config;
    for (int tile = 0; tile < 8; ++tile) {
      config.row_bytes[tile] = 64;
      config.rows[tile] = rows[tile];
    }
    asm volatile("ldtilecfg %0" : : "m"(config));
  }
  ~TileRows() { asm volatile("tilerelease"); }
  TileRows(const TileRows&) = delete;
  TileRows& operator=(const TileRows&) = delete;
};

// Rows are `stride` bytes apart in memory.
template <int kTile>
HWY_INLINE void TileLoad(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
HWY_INLINE void TileStore(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
HWY_INLINE void TileZero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

// sum[m][n] += a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1] over 16 k, a and b in bf16, sum in
// f32.
template <int kSum, int kA, int kB>
HWY_INLINE void TileMulAdd() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
}

// Two vectors of f32, rounded to nearest, ties to even, into one: `low` in its lower half. What is
// too small for a normal number becomes 0.
HWY_INLINE hn::Vec<hn::ScalableTag<uint16_t>> Cvtne2Ps2Bf16(hn::Vec<hn::ScalableTag<float>> high,
                                                            hn::Vec<hn::ScalableTag<float>> low) {
  hn::Vec<hn::ScalableTag<uint16_t>> halves;
  asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(halves.raw) : "v"(high.raw), "v"(low.raw));
  return halves;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#endif  // per target
