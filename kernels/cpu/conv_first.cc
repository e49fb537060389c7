// The "first_layer" engine: 3x3 convolution of an image's few planes to blocks of channels (or
// NHWC), forward and backward weights. Row by row: a row's sources are copied between zeros, so
// that the loop over pixels knows no borders.
#include "kernels/cpu/conv_first.h"

#include <omp.h>

#include <algorithm>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cpu/float_types.h"

namespace lseg {
namespace {

// Maps of so many bytes or more are out of the caches before anybody reads them.
constexpr int64_t kStreamedBytes = int64_t{32} << 20;

// Whole cache lines, so that threads do not write into each other's.
int64_t WholeLines(int64_t floats) { return (floats + 15) / 16 * 16; }

// What both directions share.
class FirstLayerConv : public ConvPlan {
 public:
  FirstLayerConv(const Context& context, const ConvParams& params, ConvFormats formats)
      : p_(params), formats_(formats), threads_(context.threads()) {
    shape_ = {.channels = p_.src.c,
              .width = p_.src.w,
              .out = p_.out_channels,
              .block = ChannelBlock(formats.dst, p_.out_channels),
              .dst_block = 0};
  }

 protected:
  int64_t LinesCount() const { return WholeLines(3 * shape_.channels * FirstLayerLine(shape_)); }

  // The source lines of an output row, from memory that holds the rows `held`.
  void CopyLines(const float* src, RowRange held, int64_t n, int64_t y, float* line) const {
    const int64_t length = FirstLayerLine(shape_), width = p_.src.w;
    for (int64_t c = 0; c < p_.src.c; ++c) {
      for (int64_t v = y - 1; v <= y + 1; ++v, line += length) {
        std::fill_n(line, length, 0.0f);
        if (v < 0 || v >= p_.src.h) continue;
        const int64_t at = (n * p_.src.c + c) * (held.end - held.begin) + v - held.begin;
        std::copy_n(src + at * width, width, line + 1);
      }
    }
  }

  ConvParams p_;
  ConvFormats formats_;
  int threads_;
  FirstLayerShape shape_;
};

class FirstLayerForward : public FirstLayerConv {
 public:
  using FirstLayerConv::FirstLayerConv;

  int64_t PackedWeightBytes() const override { return FirstLayerPackedCount(shape_) * 4; }
  void PackWeights(Context&, const float* weight, void* packed) const override {
    FirstLayerPack(shape_, weight, static_cast<float*>(packed));
  }
  int64_t WorkspaceBytes(GradMode) const override { return threads_ * LinesCount() * 4; }

  void Run(Context&, const ConvArgs& args) const override {
    CheckConvArgs(p_, ConvDirection::kForward, args);
    WithFloatType(formats_.dst_dtype, "convolution",
                  [&](auto type) { RunRows(args, static_cast<decltype(type)*>(args.dst)); });
  }

 private:
  template <class T>
  void RunRows(const ConvArgs& args, T* dst) const {
    const RowRange all = {0, p_.src.h};
    const ConvRows rows = args.rows != nullptr ? *args.rows : ConvRows{all, all, all};
    const int64_t dst_rows = rows.dst_held.end - rows.dst_held.begin;
    const int64_t row = p_.src.w * shape_.block, image = p_.out_channels * dst_rows * p_.src.w;
    FirstLayerShape shape = shape_;
    shape.dst_block = dst_rows * row;
    const bool stream = p_.src.n * image * static_cast<int64_t>(sizeof(T)) >= kStreamedBytes;
    auto* workspace = static_cast<float*>(args.workspace);
#pragma omp parallel for collapse(2) num_threads(threads_)
    for (int64_t n = 0; n < p_.src.n; ++n) {
      for (int64_t y = rows.dst.begin; y < rows.dst.end; ++y) {
        float* lines = workspace + omp_get_thread_num() * LinesCount();
        CopyLines(args.f32_src(), rows.src_held, n, y, lines);
        FirstLayerRow(shape, lines, static_cast<const float*>(args.weight),
                      p_.bias ? args.bias : nullptr, p_.relu, stream,
                      dst + n * image + (y - rows.dst_held.begin) * row);
      }
    }
  }
};

// The rows are divided among a fixed number of partial sums, which are added in order, so that the
// result does not depend on the number of threads.
class FirstLayerBackwardWeights : public FirstLayerConv {
 public:
  FirstLayerBackwardWeights(const Context& context, const ConvParams& params, ConvFormats formats)
      : FirstLayerConv(context, params, formats),
        partials_(std::min(kMostPartials, p_.src.n * p_.src.h)) {
    shape_.dst_block = p_.src.h * p_.src.w * shape_.block;
  }

  int64_t WorkspaceBytes(GradMode) const override {
    return (threads_ * LinesCount() + partials_ * PartialCount()) * 4;
  }

  void Run(Context&, const ConvArgs& args) const override {
    if (args.d_weight_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, ConvDirection::kBackwardWeights, args);
    WithFloatType(formats_.dst_dtype, "convolution", [&](auto type) {
      SumRows(args, static_cast<const decltype(type)*>(args.d_dst));
    });
    const bool add = args.d_weight_mode == GradMode::kAdd;
    const float* sums = static_cast<const float*>(args.workspace) + threads_ * LinesCount();
    const int64_t taps = p_.src.c * 9;
    for (int64_t o = 0; o < p_.out_channels; ++o) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        AddPartials(sums + tap * p_.out_channels + o, add, &args.d_weight[o * taps + tap]);
      }
      if (p_.bias) AddPartials(sums + taps * p_.out_channels + o, add, &args.d_bias[o]);
    }
  }

 private:
  static constexpr int64_t kMostPartials = 64;  // more threads than that do not help

  int64_t PartialCount() const { return WholeLines((p_.src.c * 9 + 1) * p_.out_channels); }

  template <class T>
  void SumRows(const ConvArgs& args, const T* d_dst) const {
    const int64_t row = p_.src.w * shape_.block, total = p_.src.n * p_.src.h;
    auto* workspace = static_cast<float*>(args.workspace);
#pragma omp parallel for num_threads(threads_) schedule(dynamic)
    for (int64_t j = 0; j < partials_; ++j) {
      float* lines = workspace + omp_get_thread_num() * LinesCount();
      float* sums = workspace + threads_ * LinesCount() + j * PartialCount();
      std::fill_n(sums, PartialCount(), 0.0f);
      for (int64_t at = j * total / partials_; at < (j + 1) * total / partials_; ++at) {
        const int64_t n = at / p_.src.h, y = at % p_.src.h;
        CopyLines(args.f32_src(), {0, p_.src.h}, n, y, lines);
        FirstLayerAddGradients(shape_, lines,
                               d_dst + n * p_.out_channels * p_.src.h * p_.src.w + y * row, sums);
      }
    }
  }

  void AddPartials(const float* first, bool add, float* to) const {
    float sum = 0;
    for (int64_t j = 0; j < partials_; ++j) sum += first[j * PartialCount()];
    *to = add ? *to + sum : sum;
  }

  int64_t partials_;
};

}  // namespace

bool SupportsConvFirstLayer(const Context&, const ConvParams& p, ConvDirection direction,
                            ConvFormats formats) {
  const bool dst_type = formats.dst_dtype == DType::kF32 || formats.dst_dtype == DType::kBF16;
  const int64_t block = ChannelBlock(formats.dst, p.out_channels);
  return direction != ConvDirection::kBackwardData && p.src.c <= 4 && p.kernel_h == 3 &&
         p.kernel_w == 3 && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 1 && p.pad_w == 1 &&
         p.dilation_h == 1 && p.dilation_w == 1 && p.group == 1 && formats.src == Format::kNCHW &&
         formats.src_dtype == DType::kF32 && dst_type && block % 8 == 0 &&
         p.out_channels % block == 0;
}

std::unique_ptr<ConvPlan> MakeConvFirstLayer(const Context& context, const ConvParams& params,
                                             ConvDirection direction, ConvFormats formats) {
  if (direction == ConvDirection::kForward) {
    return std::make_unique<FirstLayerForward>(context, params, formats);
  }
  return std::make_unique<FirstLayerBackwardWeights>(context, params, formats);
}

}  // namespace lseg
