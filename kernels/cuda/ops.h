// The GPU's launchers: each op of kernels/*.h once more, for memory of the GPU, queued on the
// context's stream. The contracts stand in kernels/*.h; parameters are validated by the caller, the
// op's entry point. No CUDA header is needed to include this.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/bin_loss.h"
#include "kernels/box_copy.h"
#include "kernels/crop_resample.h"
#include "kernels/deconv.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/fuse_head.h"
#include "kernels/fuse_sides.h"
#include "kernels/pool.h"
#include "kernels/preprocess.h"
#include "kernels/sigmoid_loss.h"
#include "kernels/softmax.h"
#include "kernels/stage_gradient.h"
#include "kernels/update.h"

namespace lseg::cuda {

void BinLossesForward(Context& context, const BinLossParams& params, const uint8_t* label,
                      std::span<const BinLossTask> tasks);
void BinLossesBackward(Context& context, const BinLossParams& params, const uint8_t* label,
                       std::span<const BinLossGradientTask> tasks, const float* loss_scale);

void BoxCopies(Context& context, std::span<const BoxCopyJob> jobs);
void ZeroOutside(Context& context, const BoxCopyParams& params, float* dst);

void CropResample(Context& context, const CropResampleParams& params, const uint8_t* src,
                  const uint8_t* class_bits, float* data, uint8_t* label);

void DeconvForward(Context& context, const DeconvParams& params, const float* src,
                   const float* weight, const float* bias, float* dst);
void DeconvBackwardData(Context& context, const DeconvParams& params, const float* d_dst,
                        const float* weight, float* d_src, GradMode d_src_mode);
void DeconvBackwardWeights(Context& context, const DeconvParams& params, const float* src,
                           const float* d_dst, float* d_weight, GradMode d_weight_mode,
                           float* d_bias, GradMode d_bias_mode);

void Dropout(Context& context, const DropoutParams& params, const int32_t* batch, const void* src,
             void* dst, GradMode dst_mode, DType dtype);

void FuseHead(Context& context, const FuseHeadParams& params, const FuseHeadArgs& args);

void FuseSidesForward(Context& context, const FuseSidesParams& params, const FuseSidesArgs& args,
                      float* dst);
void FuseSidesBackward(Context& context, const FuseSidesParams& params, const FuseSidesArgs& args,
                       const float* d_dst, const FuseSidesGradients& gradients);

void ReluForward(Context& context, int64_t count, float slope, const void* src, void* dst,
                 DType dtype);
void ReluBackward(Context& context, int64_t count, float slope, const void* dst, const void* d_dst,
                  void* d_src, GradMode d_src_mode, DType dtype);
void SigmoidForward(Context& context, int64_t count, const float* src, float* dst);
void SigmoidBackward(Context& context, int64_t count, const float* dst, const float* d_dst,
                     float* d_src, GradMode d_src_mode);
void WeightedSum(Context& context, int64_t count, std::span<const SumTerm> terms, void* dst,
                 GradMode dst_mode, DType dtype);

void PoolForward(Context& context, const PoolParams& params, const void* src, void* dst,
                 void* argmax);
void PoolBackward(Context& context, const PoolParams& params, const void* d_dst, const void* argmax,
                  void* d_src, GradMode d_src_mode, const void* relu_dst);

void Preprocess(Context& context, const PreprocessParams& params, const uint8_t* src,
                const float* mean_image, float* dst);

void Reorder(Context& context, const Shape& shape, Format src_format, const void* src,
             Format dst_format, void* dst, GradMode mode, DType src_dtype, DType dst_dtype);
void CastToU8(Context& context, int64_t count, const float* src, uint8_t* dst);
void CastToF32(Context& context, int64_t count, const uint8_t* src, float* dst);

void SigmoidLossForward(Context& context, const SigmoidLossParams& params, const float* logits,
                        const float* target, float* normalizer, float* loss);
void SigmoidLossBackward(Context& context, const SigmoidLossParams& params, const float* logits,
                         const float* target, const float* normalizer, float loss_weight,
                         float* d_logits, GradMode d_logits_mode, const float* loss_scale);

void SoftmaxForward(Context& context, const Shape& shape, const float* src, float* dst);
void SoftmaxBackward(Context& context, const Shape& shape, const float* dst, const float* d_dst,
                     float* d_src, GradMode d_src_mode);
void SoftmaxLossForward(Context& context, const SoftmaxLossParams& params, const float* logits,
                        const uint8_t* label, float* normalizer, float* loss);
void SoftmaxLossBackward(Context& context, const SoftmaxLossParams& params, const float* logits,
                         const uint8_t* label, const float* normalizer, float loss_weight,
                         float* d_logits, GradMode d_logits_mode, const float* loss_scale);

int64_t StageGradientWorkspace(const Context& context, const StageGradientParams& params);
void StageGradient(Context& context, const StageGradientParams& params,
                   const StageGradientArgs& args);

void GradientNorm(Context& context, const std::vector<UpdateTensor>& tensors, float* norm,
                  const float* loss_scale, const std::vector<const float*>& losses);
void Update(Context& context, const UpdateParams& params, const std::vector<UpdateTensor>& tensors,
            const StepState* step, const float* norm, const float* loss_scale);

}  // namespace lseg::cuda
