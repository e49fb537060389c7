// Engines "implicit_gemm_weights" and "wgmma_weights": which cases their kernels take, how the
// pixels are shared among blocks, and the sum of what these leave.
#include <algorithm>
#include <limits>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cuda/conv_engines.h"
#include "kernels/cuda/conv_weights.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

constexpr int kPairs = 32;  // of an output and an input channel, that a block of SumWeights adds up
constexpr int kSumThreads = kPairs * kWeightsTaps;

// Adds up the parts in order, a thread an element. Parts are [tap][output][input], OIHW's rows are
// the taps: they change places in shared memory. The last blocks add up the bias.
__global__ void __launch_bounds__(kSumThreads)
    SumWeights(const ConvWeightsArgs args, int parts, int pair_blocks, float* __restrict__ d_weight,
               float* __restrict__ d_bias, bool add) {
  __shared__ float sums[kSumThreads];
  const int block = blockIdx.x;
  const int64_t pairs = static_cast<int64_t>(args.outputs) * args.inputs;
  const bool is_bias = block >= pair_blocks;
  const int pair = threadIdx.x % kPairs, tap = threadIdx.x / kPairs;
  const int64_t first = static_cast<int64_t>(block) * kPairs;
  int64_t from = tap * pairs + first + pair;
  bool valid = first + pair < pairs;
  const int64_t output = static_cast<int64_t>(block - pair_blocks) * kSumThreads + threadIdx.x;
  if (is_bias) {
    from = kWeightsTaps * pairs + output;
    valid = output < args.outputs;
  }
  float sum = 0;
  if (valid) {
#pragma unroll 8
    for (int part = 0; part < parts; ++part) sum += args.partials[part * args.part_elements + from];
  }
  if (is_bias) {
    if (valid) d_bias[output] = add ? d_bias[output] + sum : sum;
    return;
  }
  sums[pair * kWeightsTaps + tap] = sum;
  __syncthreads();
  const int64_t to = first * kWeightsTaps + threadIdx.x;
  if (to >= pairs * kWeightsTaps) return;
  sum = sums[threadIdx.x];
  d_weight[to] = add ? d_weight[to] + sum : sum;
}

// How blocks share the pixels: the segments that a part gets at most should be few and short. A
// segment costs about one row more than it has.
void Share(int images, int height, int parts, ConvWeightsArgs& args) {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int wanted = 1; wanted <= std::max(height / 8, 1); ++wanted) {
    const int rows = static_cast<int>(CeilDiv(height, wanted));
    const int segments_y = static_cast<int>(CeilDiv(height, rows));
    const int64_t segments = int64_t{images} * args.strips * segments_y;
    const int64_t cost = CeilDiv(segments, parts) * (rows + 1);
    if (cost >= least) continue;
    least = cost;
    args.segments_y = segments_y;
    args.segment_rows = rows;
    args.segments = static_cast<int>(segments);
  }
}

class ConvWeightsPlan : public ConvPlan {
 public:
  ConvWeightsPlan(const Context& context, const ConvParams& params, const ConvWeightsKernel& kernel)
      : p_(params), kernel_(kernel) {
    const Shape dst = params.Dst();
    args_.in_height = static_cast<int>(params.src.h);
    args_.in_width = static_cast<int>(params.src.w);
    args_.inputs = static_cast<int>(params.src.c);
    args_.out_height = static_cast<int>(dst.h);
    args_.out_width = static_cast<int>(dst.w);
    args_.outputs = static_cast<int>(dst.c);
    args_.pad_y = static_cast<int>(params.pad_h);
    args_.pad_x = static_cast<int>(params.pad_w);
    args_.input_tiles = static_cast<int>(CeilDiv(params.src.c, kernel.inputs));
    args_.strips = static_cast<int>(CeilDiv(dst.w, kWeightsPixels));
    args_.part_elements = params.Weight().Count() + params.out_channels;
    args_.bias = params.bias;
    tiles_ = static_cast<int>(CeilDiv(params.out_channels, kernel.outputs)) * args_.input_tiles;
    // All that the GPU holds at once; a part of fewer than 8 rows is not worth its sums.
    const int64_t most = CeilDiv(dst.n * args_.strips * dst.h, 8);
    const int64_t blocks = int64_t{kernel.blocks} * Multiprocessors(context);
    parts_ = static_cast<int>(std::clamp<int64_t>(blocks / tiles_, 1, most));
    Share(static_cast<int>(dst.n), args_.out_height, parts_, args_);
    parts_ = std::min(parts_, args_.segments);
    LSEG_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel.run),
                                         cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         kernel.shared_bytes));
  }

  int64_t WorkspaceBytes(GradMode) const override {
    return parts_ * args_.part_elements * static_cast<int64_t>(sizeof(float));
  }

  void Run(Context& context, const ConvArgs& run) const override {
    if (run.d_weight_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, ConvDirection::kBackwardWeights, run);
    LSEG_CHECK(IsAligned(run.src, 16) && IsAligned(run.d_dst, 16) && IsAligned(run.workspace, 16),
               "backward weights: src, d_dst and workspace must be aligned to 16 bytes");
    ConvWeightsArgs args = args_;
    args.src = run.src;
    args.d_dst = run.d_dst;
    args.partials = static_cast<float*>(run.workspace);
    const dim3 grid(static_cast<unsigned>(tiles_), static_cast<unsigned>(parts_));
    kernel_.run<<<grid, static_cast<unsigned>(kernel_.threads),
                  static_cast<size_t>(kernel_.shared_bytes), StreamOf(context)>>>(args);
    CheckLaunch("ConvWeights");
    const int64_t pairs = p_.out_channels * p_.src.c;
    const int pair_blocks = static_cast<int>(CeilDiv(pairs, kPairs));
    const int64_t bias_blocks = p_.bias ? CeilDiv(p_.out_channels, kSumThreads) : 0;
    SumWeights<<<static_cast<unsigned>(pair_blocks + bias_blocks), kSumThreads, 0,
                 StreamOf(context)>>>(args, parts_, pair_blocks, run.d_weight, run.d_bias,
                                      run.d_weight_mode == GradMode::kAdd);
    CheckLaunch("SumWeights");
  }

 private:
  ConvParams p_;
  ConvWeightsKernel kernel_;
  ConvWeightsArgs args_ = {};
  int tiles_ = 0, parts_ = 0;
};

template <class T>
ConvWeightsKernel KernelOf() {
  return {.run = ConvWeights<T>,
          .outputs = kWeightsOutputs,
          .inputs = kWeightsInputs,
          .threads = kWeightsThreads,
          .blocks = 2,
          .shared_bytes = WeightsTile<T>::kSharedBytes};
}

ConvWeightsKernel KernelFor(DType dtype) {
  ConvWeightsKernel kernel;
  WithElementType(dtype, [&](auto element) { kernel = KernelOf<decltype(element)>(); });
  return kernel;
}

}  // namespace

bool SupportsConvWeights(const Context&, const ConvParams& p, ConvDirection direction,
                         ConvFormats formats) {
  const DType dtype = formats.src_dtype;
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;  // pixels and channels
  return direction == ConvDirection::kBackwardWeights && formats.dst_dtype == dtype &&
         IsFloat(dtype) && (dtype != DType::kF32 || p.allow_tf32) && formats.src == Format::kNHWC &&
         formats.dst == Format::kNHWC && p.kernel_h == 3 && p.kernel_w == 3 && p.stride_h == 1 &&
         p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 1 && p.group == 1 &&
         p.src.c % 8 == 0 && p.out_channels % 8 == 0 && p.src.n * p.src.h * p.src.w <= kMost &&
         p.src.c * p.out_channels <= kMost && p.Dst().n * p.Dst().h * p.Dst().w <= kMost &&
         p.src.w * p.src.c <= kMost && p.Dst().w * p.out_channels <= kMost;
}

std::unique_ptr<ConvPlan> MakeConvWeights(const Context& context, const ConvParams& params,
                                          ConvDirection, ConvFormats formats) {
  return std::make_unique<ConvWeightsPlan>(context, params, KernelFor(formats.src_dtype));
}

bool SupportsConvWeightsWgmma(const Context& context, const ConvParams& params,
                              ConvDirection direction, ConvFormats formats) {
  return SupportsConvWeights(context, params, direction, formats) &&
         formats.src_dtype != DType::kF32 && HasSm90a(context);
}

std::unique_ptr<ConvPlan> MakeConvWeightsWgmma(const Context& context, const ConvParams& params,
                                               ConvDirection, ConvFormats formats) {
  return std::make_unique<ConvWeightsPlan>(context, params,
                                           ConvWeightsKernelWgmma(formats.src_dtype));
}

}  // namespace lseg::cuda
