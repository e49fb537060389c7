// 1x1 convolutions between few planes, at most 8 to at most 8 channels in NCHW f32: what fuses
// L-Seg's side maps. Bound by memory: each plane is read and written once, and every sum of a pixel
// lies in registers. Backward weights: each block sums over pixels of its own, in an order that the
// shape and the GPU settle, and leaves its sums; a second kernel adds them up in their order.
#include <type_traits>
#include <utility>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cuda/conv_engines.h"
#include "kernels/cuda/conv_partials.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/reduce.cuh"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 256, kBlocks = 4;  // a multiprocessor; more would take registers away
constexpr int kMostPlanes = 8;

struct PlanesArgs {
  int64_t pixels, plane;  // of all images, of one
  int in, out;
};

struct Weights {  // by value in a kernel's registers: [out][in]
  const float* weight;
  const float* bias;  // may be null
};

// Where a pixel's first plane lies in a tensor of `channels` planes an image.
__device__ int64_t FirstPlane(const PlanesArgs& args, int64_t pixel, int channels) {
  return pixel / args.plane * channels * args.plane + pixel % args.plane;
}

// dst[o] = bias[o] + sum over i of weight[o][i] src[i]; transposed: weight[i][o], as backward data
// wants it. mask: laid out as dst, may be null: where it is not above 0, dst becomes 0.
template <int kIn, bool kTransposed>
__global__ void __launch_bounds__(kThreads, kBlocks)
    PlanesProduct(PlanesArgs args, Weights weights, const float* __restrict__ src,
                  float* __restrict__ dst, bool relu, bool add, const float* __restrict__ mask) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t pixel = int64_t{blockIdx.x} * kThreads + threadIdx.x; pixel < args.pixels;
       pixel += step) {
    const float* from = src + FirstPlane(args, pixel, args.in);
    const int64_t first = FirstPlane(args, pixel, args.out);
    float* to = dst + first;
    float values[kIn];
#pragma unroll
    for (int i = 0; i < kIn; ++i) values[i] = i < args.in ? from[i * args.plane] : 0;
    for (int o = 0; o < args.out; ++o) {
      float sum = weights.bias == nullptr ? 0 : weights.bias[o];
#pragma unroll
      for (int i = 0; i < kIn; ++i) {
        if (i >= args.in) break;
        sum += values[i] * weights.weight[kTransposed ? i * args.out + o : o * args.in + i];
      }
      if (relu) sum = MaxNan(sum, 0);
      if (add) sum += to[o * args.plane];
      if (mask != nullptr && !(mask[first + o * args.plane] > 0)) sum = 0;
      to[o * args.plane] = sum;
    }
  }
}

// partials[block]: [out][in], then [out] of the bias. One output at a time, so that the sums of a
// thread are few; d_dst is read once, src once an output, from the L2 cache but for the first.
template <int kIn>
__global__ void __launch_bounds__(kThreads, kBlocks)
    PlanesWeights(PlanesArgs args, const float* __restrict__ src, const float* __restrict__ d_dst,
                  float* __restrict__ partials) {
  float* to = partials + int64_t{blockIdx.x} * args.out * (args.in + 1);
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int o = 0; o < args.out; ++o) {
    float sums[kIn] = {}, bias = 0;
    for (int64_t pixel = int64_t{blockIdx.x} * kThreads + threadIdx.x; pixel < args.pixels;
         pixel += step) {
      const float* from = src + FirstPlane(args, pixel, args.in);
      const float gradient = d_dst[FirstPlane(args, pixel, args.out) + o * args.plane];
      bias += gradient;
#pragma unroll
      for (int i = 0; i < kIn; ++i) {
        if (i < args.in) sums[i] += gradient * from[i * args.plane];
      }
    }
#pragma unroll
    for (int i = 0; i < kIn; ++i) {
      if (i >= args.in) break;
      const float sum = BlockSum<kThreads>(sums[i]);
      if (threadIdx.x == 0) to[o * args.in + i] = sum;
    }
    bias = BlockSum<kThreads>(bias);
    if (threadIdx.x == 0) to[args.out * args.in + o] = bias;
  }
}

// f(how many planes the kernel unrolls): 1, 4, 5 (L-Seg's sides) or 8.
template <class F>
void WithPlanes(int planes, F f) {
  if (planes == 1) return f(std::integral_constant<int, 1>{});
  if (planes <= 4) return f(std::integral_constant<int, 4>{});
  if (planes == 5) return f(std::integral_constant<int, 5>{});
  f(std::integral_constant<int, kMostPlanes>{});
}

class PlanesConv : public ConvPlan {
 public:
  PlanesConv(const Context& context, const ConvParams& params, ConvDirection direction)
      : p_(params), direction_(direction) {
    const Shape& src = params.src;
    args_ = {src.n * src.h * src.w, src.h * src.w, static_cast<int>(src.c),
             static_cast<int>(params.out_channels)};
    grid_ = GridFor(context, args_.pixels, kThreads * 4, kBlocks);
  }
  int64_t WorkspaceBytes(GradMode) const override {
    if (direction_ != ConvDirection::kBackwardWeights) return 0;
    return grid_ * PartialElements() * static_cast<int64_t>(sizeof(float));
  }
  void Run(Context& context, const ConvArgs& args) const override {
    CheckConvArgs(p_, direction_, args);
    switch (direction_) {
      case ConvDirection::kForward:
        return Product<false>(
            context, args_, {static_cast<const float*>(args.weight), p_.bias ? args.bias : nullptr},
            args.f32_src(), args.f32_dst(), p_.relu, false, nullptr);
      case ConvDirection::kBackwardData: {
        if (args.d_src_mode == GradMode::kSkip) return;
        PlanesArgs turned = args_;
        std::swap(turned.in, turned.out);
        return Product<true>(context, turned, {static_cast<const float*>(args.weight), nullptr},
                             args.f32_d_dst(), args.f32_d_src(), false,
                             args.d_src_mode == GradMode::kAdd,
                             p_.relu_gradient ? args.f32_src() : nullptr);
      }
      case ConvDirection::kBackwardWeights:
        if (args.d_weight_mode == GradMode::kSkip) return;
        return RunWeights(context, args);
    }
  }

 private:
  int64_t PartialElements() const { return int64_t{args_.out} * (args_.in + 1); }

  template <bool kTransposed>
  void Product(Context& context, const PlanesArgs& args, const Weights& weights, const float* src,
               float* dst, bool relu, bool add, const float* mask) const {
    WithPlanes(args.in, [&](auto in) {
      PlanesProduct<in.value, kTransposed>
          <<<grid_, kThreads, 0, StreamOf(context)>>>(args, weights, src, dst, relu, add, mask);
    });
    CheckLaunch("PlanesProduct");
  }

  void RunWeights(Context& context, const ConvArgs& args) const {
    float* partials = static_cast<float*>(args.workspace);
    WithPlanes(args_.in, [&](auto in) {
      PlanesWeights<in.value><<<grid_, kThreads, 0, StreamOf(context)>>>(
          args_, args.f32_src(), args.f32_d_dst(), partials);
    });
    CheckLaunch("PlanesWeights");
    const WeightsThenBias target = {int64_t{args_.out} * args_.in, args.d_weight,
                                    p_.bias ? args.d_bias : nullptr};
    RunSumPartials(context, partials, static_cast<int>(grid_), PartialElements(), target,
                   args.d_weight_mode == GradMode::kAdd);
  }

  ConvParams p_;
  ConvDirection direction_;
  PlanesArgs args_;
  unsigned grid_;
};

}  // namespace

bool SupportsConvPlanes(const Context&, const ConvParams& p, ConvDirection, ConvFormats formats) {
  return formats.src == Format::kNCHW && formats.dst == Format::kNCHW && formats.AllF32() &&
         p.kernel_h == 1 && p.kernel_w == 1 && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 0 &&
         p.pad_w == 0 && p.group == 1 && p.src.c <= kMostPlanes && p.out_channels <= kMostPlanes;
}

std::unique_ptr<ConvPlan> MakeConvPlanes(const Context& context, const ConvParams& params,
                                         ConvDirection direction, ConvFormats) {
  return std::make_unique<PlanesConv>(context, params, direction);
}

}  // namespace lseg::cuda
