// Engine "cudnn": cuDNN's convolutions, as its heuristics choose among the algorithms that repeat
// bit for bit and sum the products as they are (no Winograd, no FFT), like the own engines.
//
// cuDNN wants one layout and one type on both sides, weights and their gradient included. Sides
// that differ are brought there through the workspace; d_weight is so rounded to a narrow type
// once.
#include <limits>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cuda/conv_bias.h"
#include "kernels/cudnn/cudnn_case.h"
#include "kernels/cudnn/engines.h"
#include "kernels/reorder.h"

namespace lseg::cudnn {
namespace {

class CudnnPlan : public ConvPlan {
 public:
  CudnnPlan(const Context& context, const ConvParams& params, ConvDirection direction,
            ConvFormats formats)
      : p_(params),
        dst_shape_(params.Dst()),
        direction_(direction),
        formats_(formats),
        plane_(formats),
        case_(HandleFor(context), params, direction, plane_),
        bias_gradient_(context, dst_shape_, formats.dst, formats.dst_dtype),
        moves_src_(plane_.Differs(formats.src, formats.src_dtype)),
        moves_dst_(plane_.Differs(formats.dst, formats.dst_dtype)),
        moves_weight_(plane_.Differs(Format::kNCHW, DType::kF32)) {
    LSEG_CHECK(case_.usable(), "cuDNN has no algorithm for this case: " << case_.why());
    const int64_t size = SizeOf(plane_.dtype);
    library_at_ = parts_.Add(case_.workspace());
    if (moves_src_) src_at_ = parts_.Add(p_.src.Count() * size);
    if (moves_dst_) dst_at_ = parts_.Add(dst_shape_.Count() * size);
    if (direction == ConvDirection::kForward) {
      fused_ =
          p_.bias && (p_.relu || case_.forward == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM);
      bias_at_ = parts_.Add(p_.out_channels * size);
    } else if (direction == ConvDirection::kBackwardWeights) {
      if (moves_weight_) weight_at_ = parts_.Add(p_.Weight().Count() * size);
      if (p_.bias) bias_at_ = parts_.Add(bias_gradient_.WorkspaceBytes());
    }
  }

  int64_t WorkspaceBytes(GradMode) const override { return parts_.Bytes(); }
  int64_t PackedWeightBytes() const override {
    const bool packs = moves_weight_ && direction_ != ConvDirection::kBackwardWeights;
    return packs ? p_.Weight().Count() * SizeOf(plane_.dtype) : 0;
  }
  void PackWeights(Context& context, const float* weight, void* packed) const override {
    Reorder(context, p_.Weight(), Format::kNCHW, weight, plane_.layout, packed, GradMode::kWrite,
            DType::kF32, plane_.dtype);
  }

  void Run(Context& context, const ConvArgs& args) const override {
    if (direction_ == ConvDirection::kBackwardData && args.d_src_mode == GradMode::kSkip) return;
    if (direction_ == ConvDirection::kBackwardWeights && args.d_weight_mode == GradMode::kSkip) {
      return;
    }
    CheckConvArgs(p_, direction_, args);
    char* workspace = WorkspaceParts::Start(args.workspace);
    switch (direction_) {
      case ConvDirection::kForward:
        return Forward(context, args, workspace);
      case ConvDirection::kBackwardData:
        return Data(context, args, workspace);
      case ConvDirection::kBackwardWeights:
        return Weights(context, args, workspace);
    }
  }

 private:
  // An input where cuDNN can read it.
  const void* ReadSrc(Context& context, const void* src, char* workspace) const {
    if (!moves_src_) return src;
    Reorder(context, p_.src, formats_.src, src, plane_.layout, workspace + src_at_,
            GradMode::kWrite, formats_.src_dtype, plane_.dtype);
    return workspace + src_at_;
  }
  const void* ReadDst(Context& context, const void* d_dst, char* workspace) const {
    if (!moves_dst_) return d_dst;
    Reorder(context, dst_shape_, formats_.dst, d_dst, plane_.layout, workspace + dst_at_,
            GradMode::kWrite, formats_.dst_dtype, plane_.dtype);
    return workspace + dst_at_;
  }

  void Forward(Context& context, const ConvArgs& args, char* workspace) const {
    const void* src = ReadSrc(context, args.src, workspace);
    void* dst = moves_dst_ ? workspace + dst_at_ : args.dst;
    const bool done = fused_ && Fused(context, args, src, dst, workspace);
    if (!done) {
      const float one = 1, zero = 0;
      LSEG_CUDNN_CHECK(cudnnConvolutionForward(
          HandleFor(context), &one, case_.src, src, case_.weight, args.weight, case_.convolution,
          case_.forward, workspace + library_at_, static_cast<size_t>(case_.workspace()), &zero,
          case_.dst, dst));
    }
    if (moves_dst_) {
      Reorder(context, dst_shape_, plane_.layout, dst, formats_.dst, args.dst, GradMode::kWrite,
              plane_.dtype, formats_.dst_dtype);
    }
    if (!done && (p_.bias || p_.relu)) {
      cuda::AddBiasRelu(context, dst_shape_, formats_.dst, formats_.dst_dtype, args.dst,
                        p_.bias ? args.bias : nullptr, p_.relu);
    }
  }

  // Convolution, bias (in the map's type) and activation in one call. False where cuDNN does not
  // fuse the case, or not in this workspace, which only the call itself tells; it is not asked
  // again then, and what is wrong with the case itself the convolution alone says.
  bool Fused(Context& context, const ConvArgs& args, const void* src, void* dst,
             char* workspace) const {
    const void* bias = args.bias;
    if (plane_.dtype != DType::kF32) {
      Reorder(context, {1, p_.out_channels, 1, 1}, Format::kNCHW, args.bias, Format::kNCHW,
              workspace + bias_at_, GradMode::kWrite, DType::kF32, plane_.dtype);
      bias = workspace + bias_at_;
    }
    const float one = 1, zero = 0;
    const cudnnStatus_t status = cudnnConvolutionBiasActivationForward(
        HandleFor(context), &one, case_.src, src, case_.weight, args.weight, case_.convolution,
        case_.forward, workspace + library_at_, static_cast<size_t>(case_.workspace()), &zero,
        case_.dst, dst, case_.bias, bias, case_.activation, case_.dst, dst);
    fused_ = !IsUnsupported(status) && CUDNN_STATUS_CATEGORY(status) != CUDNN_STATUS_BAD_PARAM;
    LSEG_CHECK(status == CUDNN_STATUS_SUCCESS || !fused_,
               "cuDNN: cudnnConvolutionBiasActivationForward: " << Words(status));
    return fused_;
  }

  void Data(Context& context, const ConvArgs& args, char* workspace) const {
    const void* d_dst = ReadDst(context, args.d_dst, workspace);
    void* d_src = moves_src_ ? workspace + src_at_ : args.d_src;
    const float one = 1;
    const float beta = !moves_src_ && args.d_src_mode == GradMode::kAdd ? 1 : 0;
    LSEG_CUDNN_CHECK(cudnnConvolutionBackwardData(
        HandleFor(context), &one, case_.weight, args.weight, case_.dst, d_dst, case_.convolution,
        case_.backward_data, workspace + library_at_, static_cast<size_t>(case_.workspace()), &beta,
        case_.src, d_src));
    if (!moves_src_) return;
    Reorder(context, p_.src, plane_.layout, d_src, formats_.src, args.d_src, args.d_src_mode,
            plane_.dtype, formats_.src_dtype);
  }

  void Weights(Context& context, const ConvArgs& args, char* workspace) const {
    const void* src = ReadSrc(context, args.src, workspace);
    const void* d_dst = ReadDst(context, args.d_dst, workspace);
    void* d_weight = moves_weight_ ? static_cast<void*>(workspace + weight_at_) : args.d_weight;
    const bool add = args.d_weight_mode == GradMode::kAdd;
    const float one = 1, beta = add && !moves_weight_ ? 1 : 0;
    LSEG_CUDNN_CHECK(cudnnConvolutionBackwardFilter(
        HandleFor(context), &one, case_.src, src, case_.dst, d_dst, case_.convolution,
        case_.backward_weights, workspace + library_at_, static_cast<size_t>(case_.workspace()),
        &beta, case_.weight, d_weight));
    if (moves_weight_) {
      Reorder(context, p_.Weight(), plane_.layout, d_weight, Format::kNCHW, args.d_weight,
              args.d_weight_mode, plane_.dtype, DType::kF32);
    }
    if (p_.bias) {
      bias_gradient_.Run(context, args.d_dst, args.d_bias, add, workspace + bias_at_);
    }
  }

  ConvParams p_;
  Shape dst_shape_;
  ConvDirection direction_;
  ConvFormats formats_;
  Plane plane_;
  Case case_;
  cuda::BiasGradient bias_gradient_;
  bool moves_src_, moves_dst_, moves_weight_;  // whether they go through the workspace
  mutable bool fused_ = false;
  WorkspaceParts parts_;
  int64_t library_at_ = 0, src_at_ = 0, dst_at_ = 0, weight_at_ = 0, bias_at_ = 0;
};

// Whether a case can be told to cuDNN; whether it has an algorithm, it says itself.
bool IsDescribable(const ConvParams& p, ConvFormats formats) {
  const auto plain = [](Format f) { return f == Format::kNCHW || f == Format::kNHWC; };
  if (!plain(formats.src) || !plain(formats.dst) || !IsFloat(formats.src_dtype) ||
      !IsFloat(formats.dst_dtype) || p.HasStageEnd() || p.relu_gradient) {
    return false;
  }
  const bool narrow = formats.src_dtype != DType::kF32 && formats.dst_dtype != DType::kF32;
  const int64_t most = std::numeric_limits<int32_t>::max();
  return (!narrow || formats.src_dtype == formats.dst_dtype) && p.src.Count() <= most &&
         p.Dst().Count() <= most;
}

}  // namespace

bool SupportsConvCudnn(const Context& context, const ConvParams& p, ConvDirection direction,
                       ConvFormats formats) {
  return IsDescribable(p, formats) &&
         Case(HandleFor(context), p, direction, Plane(formats)).usable();
}

std::unique_ptr<ConvPlan> MakeConvCudnn(const Context& context, const ConvParams& params,
                                        ConvDirection direction, ConvFormats formats) {
  LSEG_CHECK(IsDescribable(params, formats), "cuDNN has no words for this case");
  return std::make_unique<CudnnPlan>(context, params, direction, formats);
}

}  // namespace lseg::cudnn
