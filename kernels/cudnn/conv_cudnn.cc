// Engine "cudnn": cuDNN's convolutions, as its heuristics choose among those that repeat bit for
// bit and sum the products as they are (conv_graph.h), like the own engines.
//
// cuDNN wants one layout and one type on both sides, weights and their gradient included. Sides
// that differ are brought there through the workspace; d_weight is so rounded to a narrow type
// once. It writes only, so that a gradient to add goes through the workspace, too.
#include <limits>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cuda/conv_bias.h"
#include "kernels/cuda/launch.h"
#include "kernels/cudnn/conv_graph.h"
#include "kernels/cudnn/engines.h"
#include "kernels/reorder.h"

namespace lseg::cudnn {
namespace {

class Handle {
 public:
  Handle() { LSEG_CUDNN_CHECK(cudnnCreate(&handle_)); }
  ~Handle() { cudnnDestroy(handle_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  cudnnHandle_t get() const { return handle_; }

 private:
  cudnnHandle_t handle_ = nullptr;
};

// The calling thread's, on the context's stream: a handle is set up by each run.
cudnnHandle_t HandleFor(const Context& context) {
  thread_local Handle handle;
  LSEG_CUDNN_CHECK(cudnnSetStream(handle.get(), cuda::StreamOf(context)));
  return handle.get();
}

// With bias and ReLU in one where cuDNN has that, else without.
ConvGraph GraphFor(const Context& context, const ConvParams& p, ConvDirection direction,
                   Plane plane) {
  const Target target(HandleFor(context));
  if (direction == ConvDirection::kForward && (p.bias || p.relu)) {
    ConvGraph fused(target, p, direction, plane, true);
    if (fused.usable()) return fused;
  }
  return ConvGraph(target, p, direction, plane, false);
}

class CudnnPlan : public ConvPlan {
 public:
  CudnnPlan(const Context& context, const ConvParams& params, ConvDirection direction,
            ConvFormats formats)
      : p_(params),
        dst_shape_(params.Dst()),
        direction_(direction),
        formats_(formats),
        plane_(formats),
        graph_(GraphFor(context, params, direction, plane_)),
        bias_gradient_(context, dst_shape_, formats.dst, formats.dst_dtype),
        moves_src_(plane_.Differs(formats.src, formats.src_dtype)),
        moves_dst_(plane_.Differs(formats.dst, formats.dst_dtype)),
        moves_weight_(plane_.Differs(Format::kNCHW, DType::kF32)) {
    LSEG_CHECK(graph_.usable(), "cuDNN has no algorithm for this case: " << graph_.why());
    const int64_t size = SizeOf(plane_.dtype);
    const bool data = direction == ConvDirection::kBackwardData;
    const bool weights = direction == ConvDirection::kBackwardWeights;
    library_at_ = parts_.Add(graph_.workspace());
    if (moves_src_ && !data) src_at_ = parts_.Add(p_.src.Count() * size);
    if (moves_dst_) dst_at_ = parts_.Add(dst_shape_.Count() * size);
    if (graph_.fused() && p_.bias) bias_at_ = parts_.Add(p_.out_channels * size);
    if (weights && p_.bias) bias_at_ = parts_.Add(bias_gradient_.WorkspaceBytes());
    // Last, for it is needed in some modes only.
    without_gradient_ = parts_.Bytes();
    if (data) gradient_at_ = parts_.Add(p_.src.Count() * size);
    if (weights) gradient_at_ = parts_.Add(p_.Weight().Count() * size);
  }

  int64_t WorkspaceBytes(GradMode mode) const override {
    return MovesGradient(mode) ? parts_.Bytes() : without_gradient_;
  }
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
  // Whether d_src or d_weight, the direction's, goes through the workspace.
  bool MovesGradient(GradMode mode) const {
    if (direction_ == ConvDirection::kForward) return false;
    const bool moves = direction_ == ConvDirection::kBackwardData ? moves_src_ : moves_weight_;
    return moves || mode == GradMode::kAdd;
  }
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
    const void* bias = args.bias;
    if (graph_.fused() && p_.bias && plane_.dtype != DType::kF32) {
      Reorder(context, {1, p_.out_channels, 1, 1}, Format::kNCHW, args.bias, Format::kNCHW,
              workspace + bias_at_, GradMode::kWrite, DType::kF32, plane_.dtype);
      bias = workspace + bias_at_;
    }
    void* dst = moves_dst_ ? workspace + dst_at_ : args.dst;
    graph_.Run(HandleFor(context), {ReadSrc(context, args.src, workspace), args.weight, dst, bias},
               workspace + library_at_);
    if (moves_dst_) {
      Reorder(context, dst_shape_, plane_.layout, dst, formats_.dst, args.dst, GradMode::kWrite,
              plane_.dtype, formats_.dst_dtype);
    }
    if (!graph_.fused() && (p_.bias || p_.relu)) {
      cuda::AddBiasRelu(context, dst_shape_, formats_.dst, formats_.dst_dtype, args.dst,
                        p_.bias ? args.bias : nullptr, p_.relu);
    }
  }

  void Data(Context& context, const ConvArgs& args, char* workspace) const {
    const bool moves = MovesGradient(args.d_src_mode);
    void* d_src = moves ? workspace + gradient_at_ : args.d_src;
    graph_.Run(HandleFor(context),
               {d_src, args.weight, ReadDst(context, args.d_dst, workspace), nullptr},
               workspace + library_at_);
    if (!moves) return;
    Reorder(context, p_.src, plane_.layout, d_src, formats_.src, args.d_src, args.d_src_mode,
            plane_.dtype, formats_.src_dtype);
  }

  void Weights(Context& context, const ConvArgs& args, char* workspace) const {
    const bool moves = MovesGradient(args.d_weight_mode);
    void* d_weight = moves ? workspace + gradient_at_ : static_cast<void*>(args.d_weight);
    graph_.Run(HandleFor(context),
               {ReadSrc(context, args.src, workspace), d_weight,
                ReadDst(context, args.d_dst, workspace), nullptr},
               workspace + library_at_);
    if (moves) {
      Reorder(context, p_.Weight(), plane_.layout, d_weight, Format::kNCHW, args.d_weight,
              args.d_weight_mode, plane_.dtype, DType::kF32);
    }
    if (p_.bias) {
      bias_gradient_.Run(context, args.d_dst, args.d_bias, args.d_weight_mode == GradMode::kAdd,
                         workspace + bias_at_);
    }
  }

  ConvParams p_;
  Shape dst_shape_;
  ConvDirection direction_;
  ConvFormats formats_;
  Plane plane_;
  ConvGraph graph_;
  cuda::BiasGradient bias_gradient_;
  bool moves_src_, moves_dst_, moves_weight_;  // whether they go through the workspace
  WorkspaceParts parts_;
  int64_t library_at_ = 0, src_at_ = 0, dst_at_ = 0, bias_at_ = 0, gradient_at_ = 0;
  int64_t without_gradient_ = 0;
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
  return IsDescribable(p, formats) && GraphFor(context, p, direction, Plane(formats)).usable();
}

std::unique_ptr<ConvPlan> MakeConvCudnn(const Context& context, const ConvParams& params,
                                        ConvDirection direction, ConvFormats formats) {
  LSEG_CHECK(IsDescribable(params, formats), "cuDNN has no words for this case");
  return std::make_unique<CudnnPlan>(context, params, direction, formats);
}

}  // namespace lseg::cudnn
