// Convolution by its definition, engine "direct": every case, for those that no other engine takes.
// A thread an output element gathers its products and sums them in f32, always in the same order;
// an element of d_weight or d_bias has a block of its own, whose threads share the pixels and add
// up in a tree of fixed shape. Bound by the latency of its scattered loads: for small or rare
// layers.
#include "kernels/cpu/conv_engines.h"
#include "kernels/cuda/conv_engines.h"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"

namespace lseg::cuda {
namespace {

constexpr int kBlock = 256;

// A tensor in memory: its extents and format, and the distance between neighbours along each axis.
struct View {
  View(const Shape& shape, Format format)
      : c(static_cast<int>(shape.c)),
        h(static_cast<int>(shape.h)),
        w(static_cast<int>(shape.w)),
        count(shape.Count()),
        channels_last(format == Format::kNHWC),
        step_n(shape.c * shape.h * shape.w),
        step_c(channels_last ? 1 : shape.h * shape.w),
        step_y(channels_last ? shape.w * shape.c : shape.w),
        step_x(channels_last ? shape.c : 1) {}

  __device__ int64_t At(int n, int ch, int y, int x) const {
    return n * step_n + ch * step_c + y * step_y + x * step_x;
  }

  int c, h, w;
  int64_t count;
  bool channels_last;
  int64_t step_n, step_c, step_y, step_x;
};

struct Position {
  int n, c, y, x;
};

// The element that lies at `index` in memory.
__device__ Position PositionAt(const View& view, int64_t index) {
  Position p;
  if (view.channels_last) {
    p.c = static_cast<int>(index % view.c);
    index /= view.c;
  }
  p.x = static_cast<int>(index % view.w);
  index /= view.w;
  p.y = static_cast<int>(index % view.h);
  index /= view.h;
  if (!view.channels_last) {
    p.c = static_cast<int>(index % view.c);
    index /= view.c;
  }
  p.n = static_cast<int>(index);
  return p;
}

struct Geometry {
  explicit Geometry(const ConvParams& p, ConvFormats formats)
      : src(p.src, formats.src),
        dst(p.Dst(), formats.dst),
        kernel_h(static_cast<int>(p.kernel_h)),
        kernel_w(static_cast<int>(p.kernel_w)),
        stride_h(static_cast<int>(p.stride_h)),
        stride_w(static_cast<int>(p.stride_w)),
        pad_h(static_cast<int>(p.pad_h)),
        pad_w(static_cast<int>(p.pad_w)),
        dilation_h(static_cast<int>(p.dilation_h)),
        dilation_w(static_cast<int>(p.dilation_w)),
        in_group(static_cast<int>(p.src.c / p.group)),
        out_group(static_cast<int>(p.out_channels / p.group)),
        relu(p.relu) {}

  __device__ int64_t WeightAt(int o, int i, int r, int s) const {
    return ((static_cast<int64_t>(o) * in_group + i) * kernel_h + r) * kernel_w + s;
  }

  View src, dst;
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int in_group, out_group;  // channels of a group
  bool relu;
};

template <typename Src, typename Dst>
__global__ void DirectForward(Geometry g, const Src* __restrict__ src,
                              const float* __restrict__ weight, const float* __restrict__ bias,
                              Dst* __restrict__ dst) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= g.dst.count) return;
  const Position p = PositionAt(g.dst, index);
  const int first = p.c / g.out_group * g.in_group;
  float sum = 0;
  for (int i = 0; i < g.in_group; ++i) {
    for (int r = 0; r < g.kernel_h; ++r) {
      const int y = p.y * g.stride_h - g.pad_h + r * g.dilation_h;
      if (y < 0 || y >= g.src.h) continue;
      for (int s = 0; s < g.kernel_w; ++s) {
        const int x = p.x * g.stride_w - g.pad_w + s * g.dilation_w;
        if (x < 0 || x >= g.src.w) continue;
        sum = fmaf(weight[g.WeightAt(p.c, i, r, s)], ToFloat(src[g.src.At(p.n, first + i, y, x)]),
                   sum);
      }
    }
  }
  if (bias != nullptr) sum += bias[p.c];
  if (g.relu) sum = sum < 0 ? 0 : sum;  // a NaN stays one
  dst[index] = FromFloat<Dst>(sum);
}

template <typename Src, typename Dst>
__global__ void DirectBackwardData(Geometry g, const Dst* __restrict__ d_dst,
                                   const float* __restrict__ weight, Src* __restrict__ d_src,
                                   bool add, const Src* __restrict__ mask) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= g.src.count) return;
  const Position p = PositionAt(g.src, index);
  const int first = p.c / g.in_group * g.out_group;
  float sum = 0;
  for (int o = first; o < first + g.out_group; ++o) {
    for (int r = 0; r < g.kernel_h; ++r) {
      const int y = p.y + g.pad_h - r * g.dilation_h;
      if (y < 0 || y % g.stride_h != 0 || y / g.stride_h >= g.dst.h) continue;
      for (int s = 0; s < g.kernel_w; ++s) {
        const int x = p.x + g.pad_w - s * g.dilation_w;
        if (x < 0 || x % g.stride_w != 0 || x / g.stride_w >= g.dst.w) continue;
        sum = fmaf(weight[g.WeightAt(o, p.c % g.in_group, r, s)],
                   ToFloat(d_dst[g.dst.At(p.n, o, y / g.stride_h, x / g.stride_w)]), sum);
      }
    }
  }
  if (add) sum += ToFloat(d_src[index]);
  if (mask != nullptr && !(ToFloat(mask[index]) > 0)) sum = 0;
  d_src[index] = FromFloat<Src>(sum);
}

// A block an element of d_weight.
template <typename Src, typename Dst>
__global__ void DirectBackwardWeights(Geometry g, const Src* __restrict__ src,
                                      const Dst* __restrict__ d_dst, float* __restrict__ d_weight,
                                      bool add) {
  int64_t index = blockIdx.x;
  const int s = static_cast<int>(index % g.kernel_w);
  index /= g.kernel_w;
  const int r = static_cast<int>(index % g.kernel_h);
  index /= g.kernel_h;
  const int i = static_cast<int>(index % g.in_group);
  const int o = static_cast<int>(index / g.in_group);
  const int c = o / g.out_group * g.in_group + i;
  float sum = 0;
  for (int64_t at = threadIdx.x; at < g.dst.count / g.dst.c; at += kBlock) {
    const int dx = static_cast<int>(at % g.dst.w);
    const int64_t row = at / g.dst.w;
    const int dy = static_cast<int>(row % g.dst.h), n = static_cast<int>(row / g.dst.h);
    const int y = dy * g.stride_h - g.pad_h + r * g.dilation_h;
    const int x = dx * g.stride_w - g.pad_w + s * g.dilation_w;
    if (y < 0 || y >= g.src.h || x < 0 || x >= g.src.w) continue;
    sum = fmaf(ToFloat(d_dst[g.dst.At(n, o, dy, dx)]), ToFloat(src[g.src.At(n, c, y, x)]), sum);
  }
  sum = BlockSum<kBlock>(sum);
  if (threadIdx.x != 0) return;
  d_weight[blockIdx.x] = add ? d_weight[blockIdx.x] + sum : sum;
}

// A block an output channel.
template <typename Dst>
__global__ void DirectBackwardBias(Geometry g, const Dst* __restrict__ d_dst,
                                   float* __restrict__ d_bias, bool add) {
  const int o = static_cast<int>(blockIdx.x);
  const int64_t pixels = static_cast<int64_t>(g.dst.h) * g.dst.w;
  float sum = 0;
  for (int64_t at = threadIdx.x; at < g.dst.count / g.dst.c; at += kBlock) {
    const int64_t pixel = at % pixels;
    sum += ToFloat(d_dst[at / pixels * g.dst.step_n + o * g.dst.step_c + pixel * g.dst.step_x]);
  }
  sum = BlockSum<kBlock>(sum);
  if (threadIdx.x != 0) return;
  d_bias[o] = add ? d_bias[o] + sum : sum;
}

unsigned Blocks(int64_t count) { return static_cast<unsigned>(CeilDiv(count, kBlock)); }

class DirectConv : public ConvPlan {
 public:
  DirectConv(const ConvParams& params, ConvDirection direction, ConvFormats formats)
      : p_(params), direction_(direction), formats_(formats), geometry_(params, formats) {}

  void Run(Context& context, const ConvArgs& args) const override {
    const bool skip =
        (direction_ == ConvDirection::kBackwardData && args.d_src_mode == GradMode::kSkip) ||
        (direction_ == ConvDirection::kBackwardWeights && args.d_weight_mode == GradMode::kSkip);
    if (skip) return;
    CheckConvArgs(p_, direction_, args);
    WithElementType(formats_.src_dtype, [&](auto src) {
      WithElementType(formats_.dst_dtype, [&](auto dst) {
        using Src = decltype(src);
        using Dst = decltype(dst);
        if (direction_ == ConvDirection::kForward) return Forward<Src, Dst>(context, args);
        if (direction_ == ConvDirection::kBackwardData) return Data<Src, Dst>(context, args);
        Weights<Src, Dst>(context, args);
      });
    });
  }

 private:
  template <typename Src, typename Dst>
  void Forward(const Context& context, const ConvArgs& args) const {
    DirectForward<<<Blocks(geometry_.dst.count), kBlock, 0, StreamOf(context)>>>(
        geometry_, static_cast<const Src*>(args.src), static_cast<const float*>(args.weight),
        p_.bias ? args.bias : nullptr, static_cast<Dst*>(args.dst));
    CheckLaunch("DirectForward");
  }

  template <typename Src, typename Dst>
  void Data(const Context& context, const ConvArgs& args) const {
    DirectBackwardData<<<Blocks(geometry_.src.count), kBlock, 0, StreamOf(context)>>>(
        geometry_, static_cast<const Dst*>(args.d_dst), static_cast<const float*>(args.weight),
        static_cast<Src*>(args.d_src), args.d_src_mode == GradMode::kAdd,
        p_.relu_gradient ? static_cast<const Src*>(args.src) : nullptr);
    CheckLaunch("DirectBackwardData");
  }

  template <typename Src, typename Dst>
  void Weights(const Context& context, const ConvArgs& args) const {
    const bool add = args.d_weight_mode == GradMode::kAdd;
    const auto* d_dst = static_cast<const Dst*>(args.d_dst);
    DirectBackwardWeights<<<static_cast<unsigned>(p_.Weight().Count()), kBlock, 0,
                            StreamOf(context)>>>(geometry_, static_cast<const Src*>(args.src),
                                                 d_dst, args.d_weight, add);
    CheckLaunch("DirectBackwardWeights");
    if (!p_.bias) return;
    DirectBackwardBias<<<static_cast<unsigned>(p_.out_channels), kBlock, 0, StreamOf(context)>>>(
        geometry_, d_dst, args.d_bias, add);
    CheckLaunch("DirectBackwardBias");
  }

  ConvParams p_;
  ConvDirection direction_;
  ConvFormats formats_;
  Geometry geometry_;
};

bool PlainFormat(Format format) { return format == Format::kNCHW || format == Format::kNHWC; }

}  // namespace

bool SupportsConvDirect(const Context&, const ConvParams&, ConvDirection, ConvFormats formats) {
  return PlainFormat(formats.src) && PlainFormat(formats.dst) && IsFloat(formats.src_dtype) &&
         IsFloat(formats.dst_dtype);
}

std::unique_ptr<ConvPlan> MakeConvDirect(const Context&, const ConvParams& params,
                                         ConvDirection direction, ConvFormats formats) {
  return std::make_unique<DirectConv>(params, direction, formats);
}

}  // namespace lseg::cuda
