// Engine "simt_weights": backward weights of any convolution in one group, all formats and types,
// with products and sums in f32: exact where the tensor cores would round, and for what they have
// no kernel. A GEMM whose rows are output channels, whose columns are (tap, input channel) gathered
// from src, and whose sum runs over pixels; tiles of 64 x 64, of which a thread has 4 x 4. Blocks
// that share the pixels leave their sums in the workspace: conv_partials.cuh.
// Bound by shared memory (two loads of 16 bytes for 16 FMAs) at about a third of the FMA peak,
// without bank conflicts.
#include <algorithm>
#include <limits>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cuda/conv_engines.h"
#include "kernels/cuda/conv_partials.cuh"
#include "kernels/cuda/element.cuh"

namespace lseg::cuda {
namespace {

constexpr int kTile = 64, kPixels = 16, kThreads = 256;

// Distances between neighbours along the axes of a tensor.
struct Steps {
  Steps(const Shape& shape, Format format)
      : n(shape.c * shape.h * shape.w),
        c(format == Format::kNHWC ? 1 : shape.h * shape.w),
        y(format == Format::kNHWC ? shape.w * shape.c : shape.w),
        x(format == Format::kNHWC ? shape.c : 1) {}
  int64_t n, c, y, x;
};

struct SimtArgs {
  SimtArgs(const ConvParams& p, ConvFormats formats)
      : src(p.src, formats.src),
        dst(p.Dst(), formats.dst),
        in_height(static_cast<int>(p.src.h)),
        in_width(static_cast<int>(p.src.w)),
        inputs(static_cast<int>(p.src.c)),
        out_height(static_cast<int>(p.Dst().h)),
        out_width(static_cast<int>(p.Dst().w)),
        outputs(static_cast<int>(p.out_channels)),
        kernel_w(static_cast<int>(p.kernel_w)),
        taps(static_cast<int>(p.kernel_h * p.kernel_w)),
        stride_h(static_cast<int>(p.stride_h)),
        stride_w(static_cast<int>(p.stride_w)),
        pad_h(static_cast<int>(p.pad_h)),
        pad_w(static_cast<int>(p.pad_w)),
        dilation_h(static_cast<int>(p.dilation_h)),
        dilation_w(static_cast<int>(p.dilation_w)),
        pixels(static_cast<int>(p.src.n) * out_height * out_width),
        columns(taps * inputs),
        column_tiles(static_cast<int>(CeilDiv(columns, kTile))) {}

  Steps src, dst;
  int in_height, in_width, inputs, out_height, out_width, outputs;
  int kernel_w, taps, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int pixels, columns, column_tiles;
  float* partials = nullptr;  // [block y][outputs][columns], then [outputs] of the bias
};

// Pixels of dst that a block sums up next, and where they lie.
struct Pixels {
  int64_t dst[kPixels], src[kPixels];  // offsets; of src, without y and x
  int y[kPixels], x[kPixels];          // in src, of the first tap

  __device__ void Set(const SimtArgs& args, int first) {
    if (threadIdx.x >= kPixels) return;
    const int pixel = first + threadIdx.x;
    const int at_x = pixel % args.out_width, row = pixel / args.out_width;
    const int at_y = row % args.out_height, image = row / args.out_height;
    const bool valid = pixel < args.pixels;
    dst[threadIdx.x] =
        valid ? image * args.dst.n + at_y * args.dst.y + at_x * args.dst.x : int64_t{-1};
    src[threadIdx.x] = image * args.src.n;
    y[threadIdx.x] = at_y * args.stride_h - args.pad_h;
    x[threadIdx.x] = at_x * args.stride_w - args.pad_w;
  }
};

template <class Src, class Dst>
__global__ void __launch_bounds__(kThreads)
    SimtWeights(const SimtArgs args, const Src* __restrict__ src, const Dst* __restrict__ d_dst) {
  __shared__ Pixels pixels;
  __shared__ float rows[kPixels][kTile], columns[kPixels][kTile];
  const int first_output = blockIdx.x / args.column_tiles * kTile;
  const int first_column = blockIdx.x % args.column_tiles * kTile;
  // What the thread copies: one output, one column, every fourth pixel.
  const int output = first_output + threadIdx.x % kTile;
  const int column = first_column + threadIdx.x % kTile;
  const int tap = column / args.inputs, input = column % args.inputs;
  const int tap_y = tap / args.kernel_w * args.dilation_h;
  const int tap_x = tap % args.kernel_w * args.dilation_w;
  const int row = threadIdx.x / 16 * 4, col = threadIdx.x % 16 * 4;  // of the 4 x 4 sums
  float sums[4][4] = {}, bias = 0;
  for (int first = blockIdx.y * kPixels; first < args.pixels; first += gridDim.y * kPixels) {
    __syncthreads();
    pixels.Set(args, first);
    __syncthreads();
#pragma unroll
    for (int p = threadIdx.x / kTile; p < kPixels; p += kThreads / kTile) {
      const bool valid = pixels.dst[p] >= 0;
      rows[p][threadIdx.x % kTile] =
          valid && output < args.outputs ? ToFloat(d_dst[pixels.dst[p] + output * args.dst.c]) : 0;
      const int y = pixels.y[p] + tap_y, x = pixels.x[p] + tap_x;
      const bool inside = valid && column < args.columns && y >= 0 && y < args.in_height &&
                          x >= 0 && x < args.in_width;
      columns[p][threadIdx.x % kTile] =
          inside
              ? ToFloat(src[pixels.src[p] + y * args.src.y + x * args.src.x + input * args.src.c])
              : 0;
    }
    __syncthreads();
#pragma unroll
    for (int p = 0; p < kPixels; ++p) {
      const float4 a = *reinterpret_cast<const float4*>(&rows[p][row]);
      const float4 b = *reinterpret_cast<const float4*>(&columns[p][col]);
      const float left[4] = {a.x, a.y, a.z, a.w}, right[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] = fmaf(left[i], right[j], sums[i][j]);
      }
      if (threadIdx.x < kTile) bias += rows[p][threadIdx.x];
    }
  }
  const int64_t count = static_cast<int64_t>(args.outputs) * args.columns;
  float* part = args.partials + blockIdx.y * (count + args.outputs);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int o = first_output + row + i, c = first_column + col + j;
      if (o < args.outputs && c < args.columns) {
        part[static_cast<int64_t>(o) * args.columns + c] = sums[i][j];
      }
    }
  }
  if (first_column == 0 && threadIdx.x < kTile && output < args.outputs)
    part[count + output] = bias;
}

// Sum [output][tap][input] to OIHW, then the bias.
struct SimtTarget {
  __device__ float* operator()(int64_t index) const {
    const int64_t output = index / columns;
    if (output >= outputs) return d_bias == nullptr ? nullptr : d_bias + index - outputs * columns;
    const int column = static_cast<int>(index % columns);
    return d_weight + output * columns + column % inputs * taps + column / inputs;
  }
  int64_t outputs, columns;
  int inputs, taps;
  float* d_weight;
  float* d_bias;
};

class SimtWeightsPlan : public ConvPlan {
 public:
  SimtWeightsPlan(const Context& context, const ConvParams& params, ConvFormats formats)
      : p_(params), formats_(formats), args_(params, formats) {
    tiles_ = CeilDiv(params.out_channels, kTile) * args_.column_tiles;
    // Four blocks a multiprocessor; a part of fewer than 8 steps is not worth its sums.
    parts_ = std::clamp<int64_t>(4 * Multiprocessors(context) / tiles_, 1,
                                 CeilDiv(args_.pixels, 8 * kPixels));
  }

  int64_t WorkspaceBytes(GradMode) const override {
    return parts_ * PartElements() * static_cast<int64_t>(sizeof(float));
  }

  void Run(Context& context, const ConvArgs& run) const override {
    if (run.d_weight_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, ConvDirection::kBackwardWeights, run);
    SimtArgs args = args_;
    args.partials = static_cast<float*>(run.workspace);
    const dim3 grid(static_cast<unsigned>(tiles_), static_cast<unsigned>(parts_));
    WithElementType(formats_.src_dtype, [&](auto src) {
      WithElementType(formats_.dst_dtype, [&](auto dst) {
        SimtWeights<<<grid, kThreads, 0, StreamOf(context)>>>(
            args, static_cast<const decltype(src)*>(run.src),
            static_cast<const decltype(dst)*>(run.d_dst));
      });
    });
    CheckLaunch("SimtWeights");
    const SimtTarget target = {args.outputs, args.columns, args.inputs,
                               args.taps,    run.d_weight, p_.bias ? run.d_bias : nullptr};
    RunSumPartials(context, args.partials, static_cast<int>(parts_), PartElements(), target,
                   run.d_weight_mode == GradMode::kAdd);
  }

 private:
  int64_t PartElements() const { return p_.Weight().Count() + p_.out_channels; }

  ConvParams p_;
  ConvFormats formats_;
  SimtArgs args_;
  int64_t tiles_, parts_;
};

bool IsPlain(Format format) { return format == Format::kNCHW || format == Format::kNHWC; }

}  // namespace

bool SupportsConvWeightsSimt(const Context&, const ConvParams& p, ConvDirection direction,
                             ConvFormats formats) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;
  const Shape dst = p.Dst();
  return direction == ConvDirection::kBackwardWeights && p.group == 1 && IsPlain(formats.src) &&
         IsPlain(formats.dst) && IsFloat(formats.src_dtype) && IsFloat(formats.dst_dtype) &&
         dst.n * dst.h * dst.w <= kMost && p.src.h <= kMost && p.src.w <= kMost &&
         p.Weight().Count() <= kMost;
}

std::unique_ptr<ConvPlan> MakeConvWeightsSimt(const Context& context, const ConvParams& params,
                                              ConvDirection, ConvFormats formats) {
  return std::make_unique<SimtWeightsPlan>(context, params, formats);
}

}  // namespace lseg::cuda
