// winograd.h and winograd_weights.h with products in bf16, for processors with AVX512-BF16: two
// instructions do what matters, and stand here by name, for Highway 1.0 has no words for them.
#include "kernels/cpu/simd_targets.h"
#include "kernels/cpu/winograd_weights.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd_bf16_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#if HWY_TARGET == HWY_AVX3
#include <cstring>

#include "kernels/cpu/winograd_block-inl.h"
#include "kernels/cpu/winograd_weights-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {

using Floats = hn::Vec<Tag<16>>;

// To nearest, ties to even; what is too small for a normal number becomes 0.
HWY_INLINE hn::Vec<Halves<Tag<16>>> Cvtneps2Bf16(Floats value) {
  hn::Vec<Halves<Tag<16>>> half;
  asm("vcvtneps2bf16 %1, %0" : "=v"(half.raw) : "v"(value.raw));
  return half;
}

// sum + the products of a lane's two pairs of bf16.
HWY_INLINE Floats Dpbf16Ps(Floats a, Floats b, Floats sum) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
  return sum;
}

// Of pairs.
struct ProductsBF16 {
  using Value = BFloat16;
  using D = Tag<16>;
  static constexpr int kTogether = 2;

  static HWY_INLINE void Store(Floats value, D, BFloat16* to) {
    hn::StoreU(Cvtneps2Bf16(value), Halves<D>(), reinterpret_cast<uint16_t*>(to));
  }
  static HWY_INLINE void StoreTogether(const Floats (&values)[2], D d, BFloat16* to) {
    const auto wide = [](Floats value) {
      return hn::PromoteTo(hn::RebindToUnsigned<D>(), Cvtneps2Bf16(value));
    };
    const auto pairs = hn::Or(wide(values[0]), hn::ShiftLeft<16>(wide(values[1])));
    hn::StoreU(hn::BitCast(d, pairs), d, reinterpret_cast<float*>(to));
  }
  static HWY_INLINE Floats LoadTogether(D d, const BFloat16* from) {
    return hn::LoadU(d, reinterpret_cast<const float*>(from));
  }
  static HWY_INLINE Floats Factor(D d, const BFloat16* from) {
    uint32_t pair;
    std::memcpy(&pair, from, sizeof(pair));
    return hn::BitCast(d, hn::Set(hn::RebindToUnsigned<D>(), pair));
  }
  static HWY_INLINE Floats MulAdd(Floats factor, Floats values, Floats sum) {
    return Dpbf16Ps(factor, values, sum);
  }
};

struct Maps : NhwcBF16 {
  static HWY_INLINE void Store(Floats value, Tag<16> d, BFloat16* to) {
    ProductsBF16::Store(value, d, to);
  }
};

void Convolve(const WinogradShape& s, const Conv3x3Args<BFloat16>& args, const WinogradJob& job) {
  ConvolveJob<Maps, ProductsBF16, 16, 2>(s, args, job);
}

void Pack(const WinogradShape& s, const float* weight, bool transposed, int64_t panel,
          BFloat16* packed) {
  PackPanel<ProductsBF16, 16, 2>(s, weight, transposed, panel, packed);
}

void SrcRun(const WinogradShape& s, const BFloat16* src, const WinogradRun<BFloat16>& run) {
  TransformSrcRun<Maps, ProductsBF16, 16, 2>(s, src, run);
}

void DDstRun(const WinogradShape& s, const BFloat16* d_dst, const WinogradRun<BFloat16>& run,
             float* sums) {
  TransformDDstRun<Maps, ProductsBF16, 16, 2>(s, d_dst, run, sums);
}

void Weights(const WinogradShape& s, const WinogradWeightsJob<BFloat16>& job, float* d_weight) {
  WeightsOf<ProductsBF16, 16, 2>(s, job, d_weight);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();
#endif  // HWY_AVX3

#if HWY_ONCE
#if HWY_ARCH_X86
#include <cpuid.h>
#endif

#include "kernels/cpu/avx512_only.h"

namespace lseg {

#if HWY_TARGETS & HWY_AVX3
bool WinogradHasBf16() {
  return (hwy::SupportedTargets() & HWY_AVX3) != 0 && __builtin_cpu_supports("avx512bf16");
}
#else
bool WinogradHasBf16() { return false; }
#endif

bool WinogradIsFastInBf16() {
#if HWY_ARCH_X86
  constexpr unsigned kAvx512Fp16 = 1u << 23;  // of edx in leaf 7
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool fp16 = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kAvx512Fp16);
  return WinogradHasBf16() && !(__builtin_cpu_is("intel") && fp16);
#else
  return false;
#endif
}

void WinogradConvolve(const WinogradShape& shape, const Conv3x3Args<BFloat16>& args,
                      const WinogradJob& job) {
  LSEG_AVX512_ONLY(Convolve, shape, args, job);
}

void WinogradPackWeights(const WinogradShape& shape, const float* weight, bool transposed,
                         int64_t panel, BFloat16* packed) {
  LSEG_AVX512_ONLY(Pack, shape, weight, transposed, panel, packed);
}

void WinogradTransformSrc(const WinogradShape& shape, const BFloat16* src,
                          const WinogradRun<BFloat16>& run) {
  LSEG_AVX512_ONLY(SrcRun, shape, src, run);
}

void WinogradTransformDDst(const WinogradShape& shape, const BFloat16* d_dst,
                           const WinogradRun<BFloat16>& run, float* sums) {
  LSEG_AVX512_ONLY(DDstRun, shape, d_dst, run, sums);
}

void WinogradWeights(const WinogradShape& shape, const WinogradWeightsJob<BFloat16>& job,
                     float* d_weight) {
  LSEG_AVX512_ONLY(Weights, shape, job, d_weight);
}

}  // namespace lseg
#endif
