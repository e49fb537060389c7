// winograd_weights.h with products in f32, for every instruction set.
#include "kernels/cpu/simd_targets.h"
#include "kernels/cpu/winograd_weights.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd_weights_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/winograd_weights-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {

void TransformSrc(const WinogradShape& s, const float* src, const WinogradRun<float>& run) {
  if (s.block == 8) return TransformSrcRun<BlockedF32, ProductsF32, 8, 4>(s, src, run);
  TransformSrcRun<BlockedF32, ProductsF32, 16, 4>(s, src, run);
}

void TransformDDst(const WinogradShape& s, const float* d_dst, const WinogradRun<float>& run,
                   float* sums) {
  if (s.block == 8) return TransformDDstRun<BlockedF32, ProductsF32, 8, 4>(s, d_dst, run, sums);
  TransformDDstRun<BlockedF32, ProductsF32, 16, 4>(s, d_dst, run, sums);
}

void TransformSrcBf16(const WinogradShape& s, const BFloat16* src, const WinogradRun<float>& run) {
  TransformSrcRun<NhwcBF16, ProductsF32, 16, 4>(s, src, run);
}

void TransformDDstBf16(const WinogradShape& s, const BFloat16* d_dst, const WinogradRun<float>& run,
                       float* sums) {
  TransformDDstRun<NhwcBF16, ProductsF32, 16, 4>(s, d_dst, run, sums);
}

void Weights(const WinogradShape& s, const WinogradWeightsJob<float>& job, float* d_weight) {
  if (s.block == 8) return WeightsOf<ProductsF32, 8, 4>(s, job, d_weight);
  WeightsOf<ProductsF32, 16, 4>(s, job, d_weight);
}

int64_t ScratchCount(const WinogradShape& s, int64_t in_blocks, int64_t outs) {
  return s.Positions() * in_blocks * s.block *
         (s.block == 8 ? PaddedOuts<8>(outs) : PaddedOuts<16>(outs));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lseg {

HWY_EXPORT(TransformSrc);
HWY_EXPORT(TransformDDst);
HWY_EXPORT(TransformSrcBf16);
HWY_EXPORT(TransformDDstBf16);
HWY_EXPORT(Weights);
HWY_EXPORT(ScratchCount);

void WinogradTransformSrc(const WinogradShape& shape, const float* src,
                          const WinogradRun<float>& run) {
  HWY_DYNAMIC_DISPATCH(TransformSrc)(shape, src, run);
}

void WinogradTransformDDst(const WinogradShape& shape, const float* d_dst,
                           const WinogradRun<float>& run, float* sums) {
  HWY_DYNAMIC_DISPATCH(TransformDDst)(shape, d_dst, run, sums);
}

void WinogradTransformSrc(const WinogradShape& shape, const BFloat16* src,
                          const WinogradRun<float>& run) {
  HWY_DYNAMIC_DISPATCH(TransformSrcBf16)(shape, src, run);
}

void WinogradTransformDDst(const WinogradShape& shape, const BFloat16* d_dst,
                           const WinogradRun<float>& run, float* sums) {
  HWY_DYNAMIC_DISPATCH(TransformDDstBf16)(shape, d_dst, run, sums);
}

int64_t WinogradWeightsScratchCount(const WinogradShape& shape, int64_t in_blocks, int64_t outs) {
  return HWY_DYNAMIC_DISPATCH(ScratchCount)(shape, in_blocks, outs);
}

void WinogradWeights(const WinogradShape& shape, const WinogradWeightsJob<float>& job,
                     float* d_weight) {
  HWY_DYNAMIC_DISPATCH(Weights)(shape, job, d_weight);
}

}  // namespace lseg
#endif
