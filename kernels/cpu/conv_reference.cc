// Convolution by its definition: the engine of last resort, for cases that no other engine takes.
// All three directions are gathers with sums in double, one fixed order an element.
#include <algorithm>

#include "kernels/cpu/conv_engines.h"
#include "kernels/elementwise.h"
#include "kernels/runtime/integers.h"

namespace lseg {

void CheckConvArgs(const ConvParams& params, ConvDirection direction, const ConvArgs& args) {
  const auto need = [&](const void* pointer, const char* name) {
    LSEG_CHECK(pointer != nullptr,
               "convolution, " << ToString(direction) << ": " << name << " is null but needed");
  };
  if (direction == ConvDirection::kForward) {
    need(args.src, "src");
    need(args.weight, "weight");
    if (params.bias) need(args.bias, "bias");
    if (params.pooled) need(args.pooled, "pooled");
    if (params.score_channels > 0) {
      need(args.score_weight, "score_weight");
      need(args.score_partials, "score_partials");
    }
    if (!params.HasStageEnd()) need(args.dst, "dst");
  } else if (direction == ConvDirection::kBackwardData) {
    need(args.d_dst, "d_dst");
    need(args.weight, "weight");
    need(args.d_src, "d_src");
    if (params.relu_gradient) need(args.src, "src");
  } else {
    need(args.src, "src");
    need(args.d_dst, "d_dst");
    need(args.d_weight, "d_weight");
    if (params.bias) need(args.d_bias, "d_bias");
  }
}

void TakeReluGradient(Context& context, const ConvParams& params, ConvFormats formats,
                      const ConvArgs& args) {
  if (!params.relu_gradient) return;
  ReluBackward(context, StorageCount(params.src, formats.src), 0, args.src, args.d_src, args.d_src,
               GradMode::kWrite, formats.src_dtype);
}

namespace {

void Store(float* at, double value, GradMode mode) {
  *at = static_cast<float>(mode == GradMode::kAdd ? *at + value : value);
}

class ReferenceConv : public ConvPlan {
 public:
  ReferenceConv(const Context& context, const ConvParams& params, ConvDirection direction,
                ConvFormats formats)
      : p_(params),
        direction_(direction),
        formats_(formats),
        threads_(context.threads()),
        dst_(params.Dst()) {}

  void Run(Context& context, const ConvArgs& args) const override {
    switch (direction_) {
      case ConvDirection::kForward:
        CheckConvArgs(p_, direction_, args);
        return Forward(args);
      case ConvDirection::kBackwardData:
        if (args.d_src_mode == GradMode::kSkip) return;
        CheckConvArgs(p_, direction_, args);
        BackwardData(args);
        return TakeReluGradient(context, p_, formats_, args);
      case ConvDirection::kBackwardWeights:
        if (args.d_weight_mode == GradMode::kSkip) return;
        CheckConvArgs(p_, direction_, args);
        return BackwardWeights(args);
    }
  }

 private:
  int64_t SrcAt(int64_t n, int64_t c, int64_t y, int64_t x) const {
    return Offset(p_.src, formats_.src, n, c, y, x);
  }
  int64_t DstAt(int64_t n, int64_t c, int64_t y, int64_t x) const {
    return Offset(dst_, formats_.dst, n, c, y, x);
  }
  int64_t WeightAt(int64_t o, int64_t i, int64_t r, int64_t s) const {
    return Offset(p_.Weight(), Format::kNCHW, o, i, r, s);
  }
  // Channels in memory, padding included.
  static int64_t StoredChannels(const Shape& shape, Format format) {
    const int64_t block = ChannelBlock(format, shape.c);
    return RoundUp(shape.c, block);
  }

  void Forward(const ConvArgs& args) const {
    const auto* weight = static_cast<const float*>(args.weight);
    const int64_t stored = StoredChannels(dst_, formats_.dst);
#pragma omp parallel for num_threads(threads_) collapse(3)
    for (int64_t n = 0; n < dst_.n; ++n) {
      for (int64_t o = 0; o < stored; ++o) {
        for (int64_t y = 0; y < dst_.h; ++y) {
          for (int64_t x = 0; x < dst_.w; ++x) {
            double sum = 0;
            if (o < dst_.c) sum = ForwardSum(args.f32_src(), weight, n, o, y, x);
            if (o < dst_.c && p_.bias) sum += args.bias[o];
            if (p_.relu) sum = std::max(sum, 0.0);
            args.f32_dst()[DstAt(n, o, y, x)] = static_cast<float>(sum);
          }
        }
      }
    }
  }

  double ForwardSum(const float* src, const float* weight, int64_t n, int64_t o, int64_t y,
                    int64_t x) const {
    const int64_t in_group = p_.src.c / p_.group;
    const int64_t first = o / (p_.out_channels / p_.group) * in_group;
    double sum = 0;
    for (int64_t i = 0; i < in_group; ++i) {
      for (int64_t r = 0; r < p_.kernel_h; ++r) {
        const int64_t sy = y * p_.stride_h - p_.pad_h + r * p_.dilation_h;
        if (sy < 0 || sy >= p_.src.h) continue;
        for (int64_t s = 0; s < p_.kernel_w; ++s) {
          const int64_t sx = x * p_.stride_w - p_.pad_w + s * p_.dilation_w;
          if (sx < 0 || sx >= p_.src.w) continue;
          sum +=
              static_cast<double>(weight[WeightAt(o, i, r, s)]) * src[SrcAt(n, first + i, sy, sx)];
        }
      }
    }
    return sum;
  }

  void BackwardData(const ConvArgs& args) const {
    const auto* weight = static_cast<const float*>(args.weight);
    const int64_t stored = StoredChannels(p_.src, formats_.src);
#pragma omp parallel for num_threads(threads_) collapse(3)
    for (int64_t n = 0; n < p_.src.n; ++n) {
      for (int64_t c = 0; c < stored; ++c) {
        for (int64_t y = 0; y < p_.src.h; ++y) {
          for (int64_t x = 0; x < p_.src.w; ++x) {
            const double sum =
                c < p_.src.c ? BackwardDataSum(args.f32_d_dst(), weight, n, c, y, x) : 0.0;
            Store(&args.f32_d_src()[SrcAt(n, c, y, x)], sum, args.d_src_mode);
          }
        }
      }
    }
  }

  double BackwardDataSum(const float* d_dst, const float* weight, int64_t n, int64_t c, int64_t y,
                         int64_t x) const {
    const int64_t in_group = p_.src.c / p_.group, out_group = p_.out_channels / p_.group;
    const int64_t first = c / in_group * out_group;
    double sum = 0;
    for (int64_t o = first; o < first + out_group; ++o) {
      for (int64_t r = 0; r < p_.kernel_h; ++r) {
        const int64_t dy = y + p_.pad_h - r * p_.dilation_h;
        if (dy < 0 || dy % p_.stride_h != 0 || dy / p_.stride_h >= dst_.h) continue;
        for (int64_t s = 0; s < p_.kernel_w; ++s) {
          const int64_t dx = x + p_.pad_w - s * p_.dilation_w;
          if (dx < 0 || dx % p_.stride_w != 0 || dx / p_.stride_w >= dst_.w) continue;
          sum += static_cast<double>(weight[WeightAt(o, c % in_group, r, s)]) *
                 d_dst[DstAt(n, o, dy / p_.stride_h, dx / p_.stride_w)];
        }
      }
    }
    return sum;
  }

  void BackwardWeights(const ConvArgs& args) const {
    const int64_t in_group = p_.src.c / p_.group;
#pragma omp parallel for num_threads(threads_) collapse(2)
    for (int64_t o = 0; o < p_.out_channels; ++o) {
      for (int64_t i = 0; i < in_group; ++i) {
        for (int64_t r = 0; r < p_.kernel_h; ++r) {
          for (int64_t s = 0; s < p_.kernel_w; ++s) {
            Store(&args.d_weight[WeightAt(o, i, r, s)], WeightSum(args, o, i, r, s),
                  args.d_weight_mode);
          }
        }
      }
    }
    for (int64_t o = 0; p_.bias && o < p_.out_channels; ++o) {
      double sum = 0;
      for (int64_t n = 0; n < dst_.n; ++n) {
        for (int64_t y = 0; y < dst_.h; ++y) {
          for (int64_t x = 0; x < dst_.w; ++x) sum += args.f32_d_dst()[DstAt(n, o, y, x)];
        }
      }
      Store(&args.d_bias[o], sum, args.d_weight_mode);
    }
  }

  double WeightSum(const ConvArgs& args, int64_t o, int64_t i, int64_t r, int64_t s) const {
    const int64_t c = o / (p_.out_channels / p_.group) * (p_.src.c / p_.group) + i;
    double sum = 0;
    for (int64_t n = 0; n < dst_.n; ++n) {
      for (int64_t y = 0; y < dst_.h; ++y) {
        const int64_t sy = y * p_.stride_h - p_.pad_h + r * p_.dilation_h;
        if (sy < 0 || sy >= p_.src.h) continue;
        for (int64_t x = 0; x < dst_.w; ++x) {
          const int64_t sx = x * p_.stride_w - p_.pad_w + s * p_.dilation_w;
          if (sx < 0 || sx >= p_.src.w) continue;
          sum += static_cast<double>(args.f32_d_dst()[DstAt(n, o, y, x)]) *
                 args.f32_src()[SrcAt(n, c, sy, sx)];
        }
      }
    }
    return sum;
  }

  ConvParams p_;
  ConvDirection direction_;
  ConvFormats formats_;
  int threads_;
  Shape dst_;
};

}  // namespace

bool SupportsConvReference(const Context&, const ConvParams&, ConvDirection, ConvFormats formats) {
  return formats.AllF32();
}

std::unique_ptr<ConvPlan> MakeConvReference(const Context& context, const ConvParams& params,
                                            ConvDirection direction, ConvFormats formats) {
  return std::make_unique<ReferenceConv>(context, params, direction, formats);
}

}  // namespace lseg
