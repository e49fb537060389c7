// 2-d convolution (cross-correlation, as everywhere in deep learning), all three directions.
//
//   dst[n,o,y,x] = bias[o] + sum over i,r,s of weight[o,i,r,s] * src[n, g(o)+i, y*stride_h - pad_h
//   +
//                  r*dilation_h, x*stride_w - pad_w + s*dilation_w], zero outside src
//
// A ConvPlan is made once per shape, direction and memory formats by the first engine of the table
// that supports the case (or by the one named), and then run as often as wanted.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/shape.h"

namespace lseg {

// Outputs, at most, of a score layer: a 1x1 convolution with engines of its own, which the end of a
// stage may hold.
constexpr int64_t kMostScores = 8;

struct ConvParams {
  Shape src;
  int64_t out_channels = 0;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_h = 0, pad_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;  // 1: dense
  int64_t group = 1;
  bool bias = true;
  // Forward only: dst = max(dst, 0). A NaN stays one, but in engines "onednn...", which may make it
  // 0.
  bool relu = false;
  // Backward data only: src came out of a ReLU, whose gradient is taken at once: d_src, what was
  // there before included, becomes 0 wherever src is not above 0.
  bool relu_gradient = false;
  bool allow_tf32 = false;  // products of f32 tensors may be taken in tf32 (10 bits of mantissa)
  // The end of a stage in inference, forward only: where one of the two is set, the map itself
  // (dst) is not wanted and not written, but what is made of it, ReLU included.
  bool pooled = false;         // its maxima over windows of 2x2 with stride 2, sizes rounded up
  int64_t score_channels = 0;  // at most kMostScores: its score layer's outputs

  // Throws Error with the rule that broke.
  void Validate() const;
  bool HasStageEnd() const { return pooled || score_channels > 0; }
  Shape Pooled() const;
  // Output size: floor((in + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1.
  Shape Dst() const;
  // (out_channels, src.c / group, kernel_h, kernel_w), always stored densely in this order (OIHW).
  Shape Weight() const;
  // Multiply-adds of one pass in any direction.
  int64_t MultiplyAdds() const;
  // Source rows that dst rows [begin, end) read, cut to the image.
  RowRange SrcRows(RowRange dst_rows) const;
};

enum class ConvDirection { kForward, kBackwardData, kBackwardWeights };
std::string ToString(ConvDirection direction);

// Formats and element types of src (and d_src) and of dst (and d_dst) in memory. Sums are taken in
// f32 or wider whatever the types.
struct ConvFormats {
  Format src = Format::kNCHW, dst = Format::kNCHW;
  DType src_dtype = DType::kF32, dst_dtype = DType::kF32;

  bool AllF32() const { return src_dtype == DType::kF32 && dst_dtype == DType::kF32; }
};

// A part of a forward run's rows, for engines that can (ConvEngine::row_grid). The parts of an
// image give the bits that one run of the whole gives.
struct ConvRows {
  RowRange dst;       // to compute: from a multiple of the grid to one, or to dst's end
  RowRange src_held;  // rows of src that lie in memory, which is as large as they are
  RowRange dst_held;  // the same of dst, or of the pooled map; scores lie there whole
};

// Pointers of one run, on the context's device. Those a direction does not name stay null. src,
// dst and their gradients have the types of ConvFormats; weight, bias and their gradients are f32.
//   forward:          src, weight, bias -> dst (written)
//   backward data:    d_dst, weight, src where relu_gradient -> d_src by d_src_mode
//   backward weights: src, d_dst -> d_weight, d_bias, both by d_weight_mode
// weight is plain OIHW, or what PackWeights wrote where PackedWeightBytes() > 0. d_weight is plain.
struct ConvArgs {
  const void* src = nullptr;
  const void* weight = nullptr;
  const float* bias = nullptr;
  void* dst = nullptr;
  const void* d_dst = nullptr;
  void* d_src = nullptr;
  float* d_weight = nullptr;
  float* d_bias = nullptr;
  GradMode d_src_mode = GradMode::kSkip, d_weight_mode = GradMode::kSkip;
  void* workspace = nullptr;  // WorkspaceBytes(), 64-byte aligned
  // The end of a stage. pooled: ConvParams::Pooled(), in dst's format and type. score_weight:
  // (score_channels, out_channels). score_partials: ScorePartials() tensors (n, score_channels, h,
  // w) of dst's n, h, w in NCHW, each the sums over some channels; added up in this order they are
  // the scores, without a bias: of dst in f32, or (onednn_rows, implicit_gemm_amx) as it was
  // rounded to its type.
  void* pooled = nullptr;
  const float* score_weight = nullptr;
  float* score_partials = nullptr;
  const ConvRows* rows = nullptr;  // null: all of them

  const float* f32_src() const { return static_cast<const float*>(src); }
  float* f32_dst() const { return static_cast<float*>(dst); }
  const float* f32_d_dst() const { return static_cast<const float*>(d_dst); }
  float* f32_d_src() const { return static_cast<float*>(d_src); }
};

namespace cuda {
struct ConvGemmPacking;
}

class ConvPlan {
 public:
  virtual ~ConvPlan() = default;
  // Bytes of ConvArgs::workspace for runs whose gradient mode is `mode`; writing may need less.
  virtual int64_t WorkspaceBytes(GradMode /*mode*/) const { return 0; }
  // Enough for every mode.
  int64_t WorkspaceBytes() const { return WorkspaceBytes(GradMode::kAdd); }
  virtual int64_t PackedWeightBytes() const { return 0; }
  virtual int64_t ScorePartials() const { return 0; }
  virtual void PackWeights(Context&, const float* /*weight*/, void* /*packed*/) const {}
  // For PackConvWeights: how weights are packed for the GPU's implicit GEMM; null for others.
  virtual const cuda::ConvGemmPacking* GemmPacking() const { return nullptr; }
  // One plan is run by one thread at a time: it may hold handles that a run sets. (Those of an
  // engine that is in_a_thread hold none, and many run one at a time, each with a workspace of its
  // own.)
  virtual void Run(Context& context, const ConvArgs& args) const = 0;
};

struct ConvPack {
  const ConvPlan* plan;  // whose PackedWeightBytes() are not 0
  const float* weight;
  void* packed;
};
// PackWeights of several plans; on a GPU with fewer launches.
void PackConvWeights(Context& context, std::span<const ConvPack> packs);

struct ConvEngine {
  std::string name;  // "winograd4x3"; all of them: ConvEngines
  bool (*supports)(const Context&, const ConvParams&, ConvDirection, ConvFormats);
  std::unique_ptr<ConvPlan> (*make)(const Context&, const ConvParams&, ConvDirection, ConvFormats);
  bool stage_end = false;  // knows ConvParams::pooled and score_channels; others are not asked then
  // Of an engine that knows ConvArgs::rows, forward: the grid of a case, an even number.
  int64_t (*row_grid)(const ConvParams&) = nullptr;
  // Of such an engine: a plan made for one thread (Context::OfOneThread) runs within one of many,
  // by weights that a plan for all of them has packed.
  bool in_a_thread = false;
  // Its device's code has passed its tests on softgpu and met no GPU yet: nobody gets it unasked.
  bool unproven = false;
};

// All engines of a device in order of preference.
const std::vector<ConvEngine>& ConvEngines(Device device);

// Whether any of them supports a case, other than the CPU's "reference", which takes all.
bool HasConvEngine(const Context& context, const ConvParams& params, ConvDirection direction,
                   ConvFormats formats);

// Names of the engines that support a case, in order of preference; an Error where none does (never
// for f32 on the CPU).
std::vector<std::string> EligibleConvEngines(const Context& context, const ConvParams& params,
                                             ConvDirection direction, ConvFormats formats);

// engine "": the first eligible one. A named engine that does not support the case is an Error.
std::unique_ptr<ConvPlan> MakeConvPlan(const Context& context, const ConvParams& params,
                                       ConvDirection direction, ConvFormats formats,
                                       const std::string& engine = "");

// Times the eligible engines other than "reference" and "direct" (one warm-up run, then
// the best of three, on zeros in memory of its own) and names the fastest. One eligible: no timing.
// `unproven`: those that are, too.
std::string FastestConvEngine(Context& context, const ConvParams& params, ConvDirection direction,
                              ConvFormats formats, bool unproven = false);

}  // namespace lseg
