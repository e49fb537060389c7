// The "pointwise" engine: 1x1 convolution to a handful of channels, as score and fusion layers are.
// oneDNN's blocked layouts pad such outputs to 8 or 16 channels and want a reorder to planes; here
// they are written as planes at once, so that the pass costs one read of the source.
#include "kernels/cpu/conv_pointwise.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cpu/float_types.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

constexpr int64_t kChunk = 256;       // pixels a call: 64 channels of them are 64 KiB
constexpr int64_t kMaxPartials = 64;  // of backward weights; more threads than that do not help

class PointwiseConv : public ConvPlan {
 public:
  PointwiseConv(const Context& context, const ConvParams& params, ConvDirection direction,
                ConvFormats formats)
      : p_(params),
        direction_(direction),
        formats_(formats),
        threads_(context.threads()),
        pixels_(params.src.h * params.src.w) {
    const int64_t block = ChannelBlock(formats.src, p_.src.c);
    image_ = StorageCount({1, p_.src.c, p_.src.h, p_.src.w}, formats.src);
    range_ = {.channels = p_.src.c,
              .block = block,
              .block_stride = pixels_ * block,
              .outputs = p_.out_channels,
              .pixels = pixels_,
              .begin = 0,
              .end = 0,
              .weight_stride = image_ / pixels_};
    partials_ = std::min(kMaxPartials, CeilDiv(p_.src.n * pixels_, kChunk));
  }

  int64_t PackedWeightBytes() const override {
    if (direction_ == ConvDirection::kBackwardWeights) return 0;
    return PointwiseRows(p_.out_channels) * range_.weight_stride * 4;
  }

  // Rows padded with zeros to whole blocks, and zero rows up to a number there is a kernel for.
  void PackWeights(Context&, const float* weight, void* packed) const override {
    auto* to = static_cast<float*>(packed);
    std::memset(to, 0, PackedWeightBytes());
    for (int64_t o = 0; o < p_.out_channels; ++o) {
      std::copy_n(weight + o * p_.src.c, p_.src.c, to + o * range_.weight_stride);
    }
  }

  int64_t WorkspaceBytes(GradMode) const override {
    return direction_ == ConvDirection::kBackwardWeights ? partials_ * PartialCount() * 4 : 0;
  }

  void Run(Context& context, const ConvArgs& args) const override {
    WithFloatType(formats_.src_dtype, "convolution",
                  [&](auto type) { RunAs<decltype(type)>(context, args); });
  }

 private:
  int64_t DstImage() const { return p_.out_channels * pixels_; }
  int64_t PartialCount() const { return p_.out_channels * (range_.weight_stride + 1); }

  // T: the type of src and d_src.
  template <class T>
  void RunAs(Context& context, const ConvArgs& args) const {
    const auto* weight = static_cast<const float*>(args.weight);
    switch (direction_) {
      case ConvDirection::kForward:
        CheckConvArgs(p_, direction_, args);
        return ForEachChunk([&](const PointwiseRange& range, int64_t n) {
          PointwiseForward(range, static_cast<const T*>(args.src) + n * image_, weight,
                           p_.bias ? args.bias : nullptr, p_.relu, args.f32_dst() + n * DstImage());
        });
      case ConvDirection::kBackwardData:
        if (args.d_src_mode == GradMode::kSkip) return;
        CheckConvArgs(p_, direction_, args);
        ForEachChunk([&](const PointwiseRange& range, int64_t n) {
          PointwiseBackwardData(range, args.f32_d_dst() + n * DstImage(), weight,
                                args.d_src_mode == GradMode::kAdd,
                                static_cast<T*>(args.d_src) + n * image_);
        });
        return TakeReluGradient(context, p_, formats_, args);
      case ConvDirection::kBackwardWeights:
        if (args.d_weight_mode == GradMode::kSkip) return;
        CheckConvArgs(p_, direction_, args);
        return BackwardWeights<T>(args);
    }
  }

  template <typename Work>
  void ForEachChunk(Work work) const {
    const int64_t chunks = CeilDiv(pixels_, kChunk);
#pragma omp parallel for num_threads(threads_) collapse(2)
    for (int64_t n = 0; n < p_.src.n; ++n) {
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        PointwiseRange range = range_;
        range.begin = chunk * kChunk;
        range.end = std::min(range.begin + kChunk, pixels_);
        work(range, n);
      }
    }
  }

  // Every partial sum covers a fixed share of the pixels and they are added in order, so that the
  // result does not depend on the number of threads.
  template <class T>
  void BackwardWeights(const ConvArgs& args) const {
    auto* partials = static_cast<float*>(args.workspace);
    const int64_t total = p_.src.n * pixels_;
#pragma omp parallel for num_threads(threads_) schedule(dynamic)
    for (int64_t j = 0; j < partials_; ++j) {
      float* d_weight = partials + j * PartialCount();
      float* d_bias = d_weight + p_.out_channels * range_.weight_stride;
      std::fill_n(d_weight, PartialCount(), 0.0f);
      const int64_t last = (j + 1) * total / partials_;
      for (int64_t at = j * total / partials_; at < last;) {
        const int64_t n = at / pixels_;
        PointwiseRange range = range_;
        range.begin = at % pixels_;
        range.end = std::min({range.begin + kChunk, pixels_, range.begin + last - at});
        PointwiseBackwardWeights(range, static_cast<const T*>(args.src) + n * image_,
                                 args.f32_d_dst() + n * DstImage(), d_weight,
                                 p_.bias ? d_bias : nullptr);
        at += range.end - range.begin;
      }
    }
    const bool add = args.d_weight_mode == GradMode::kAdd;
    for (int64_t o = 0; o < p_.out_channels; ++o) {
      for (int64_t c = 0; c < p_.src.c; ++c) {
        AddPartials(partials + o * range_.weight_stride + c, add, &args.d_weight[o * p_.src.c + c]);
      }
      if (p_.bias) {
        AddPartials(partials + p_.out_channels * range_.weight_stride + o, add, &args.d_bias[o]);
      }
    }
  }

  void AddPartials(const float* first, bool add, float* to) const {
    float sum = 0;
    for (int64_t j = 0; j < partials_; ++j) sum += first[j * PartialCount()];
    *to = add ? *to + sum : sum;
  }

  ConvParams p_;
  ConvDirection direction_;
  ConvFormats formats_;
  int threads_;
  int64_t pixels_, image_ = 0, partials_ = 0;
  PointwiseRange range_;
};

}  // namespace

bool SupportsConvPointwise(const Context&, const ConvParams& p, ConvDirection,
                           ConvFormats formats) {
  const bool bf16 = formats.src_dtype == DType::kBF16 && formats.dst_dtype == DType::kF32 &&
                    formats.src != Format::kNCHW;
  return p.kernel_h == 1 && p.kernel_w == 1 && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 0 &&
         p.pad_w == 0 && p.group == 1 && p.out_channels <= kMostScores &&
         formats.dst == Format::kNCHW && (formats.AllF32() || bf16);
}

std::unique_ptr<ConvPlan> MakeConvPointwise(const Context& context, const ConvParams& params,
                                            ConvDirection direction, ConvFormats formats) {
  return std::make_unique<PointwiseConv>(context, params, direction, formats);
}

}  // namespace lseg
