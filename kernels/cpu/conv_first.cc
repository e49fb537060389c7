// The "first_layer" engine: 3x3 convolution of an image's few planes to a blocked format, forward.
// Row by row: a row's sources are copied between zeros, so that the loop over pixels knows no
// borders.
#include "kernels/cpu/conv_first.h"

#include <omp.h>

#include <algorithm>

#include "kernels/cpu/conv_engines.h"

namespace lseg {
namespace {

class FirstLayerConv : public ConvPlan {
 public:
  FirstLayerConv(const Context& context, const ConvParams& params, ConvFormats formats)
      : p_(params), threads_(context.threads()) {
    shape_ = {.channels = p_.src.c,
              .width = p_.src.w,
              .out = p_.out_channels,
              .block = ChannelBlock(formats.dst, p_.out_channels),
              .dst_block = 0};
  }

  int64_t PackedWeightBytes() const override { return FirstLayerPackedCount(shape_) * 4; }
  void PackWeights(Context&, const float* weight, void* packed) const override {
    FirstLayerPack(shape_, weight, static_cast<float*>(packed));
  }
  int64_t WorkspaceBytes(GradMode) const override { return threads_ * LinesCount() * 4; }

  void Run(Context&, const ConvArgs& args) const override {
    CheckConvArgs(p_, ConvDirection::kForward, args);
    const RowRange all = {0, p_.src.h};
    const ConvRows rows = args.rows != nullptr ? *args.rows : ConvRows{all, all, all};
    const int64_t dst_rows = rows.dst_held.end - rows.dst_held.begin;
    const int64_t row = p_.src.w * shape_.block, image = p_.out_channels * dst_rows * p_.src.w;
    FirstLayerShape shape = shape_;
    shape.dst_block = dst_rows * row;
    auto* workspace = static_cast<float*>(args.workspace);
#pragma omp parallel for collapse(2) num_threads(threads_)
    for (int64_t n = 0; n < p_.src.n; ++n) {
      for (int64_t y = rows.dst.begin; y < rows.dst.end; ++y) {
        float* lines = workspace + omp_get_thread_num() * LinesCount();
        CopyLines(args.f32_src(), rows.src_held, n, y, lines);
        FirstLayerRow(shape, lines, static_cast<const float*>(args.weight),
                      p_.bias ? args.bias : nullptr, p_.relu,
                      args.f32_dst() + n * image + (y - rows.dst_held.begin) * row);
      }
    }
  }

 private:
  // Whole cache lines, so that threads do not write into each other's.
  int64_t LinesCount() const {
    return (3 * shape_.channels * FirstLayerLine(shape_) + 15) / 16 * 16;
  }

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
  int threads_;
  FirstLayerShape shape_;
};

}  // namespace

bool SupportsConvFirstLayer(const Context&, const ConvParams& p, ConvDirection direction,
                            ConvFormats formats) {
  const bool blocked = formats.dst == Format::kNChw8c || formats.dst == Format::kNChw16c;
  return direction == ConvDirection::kForward && p.src.c <= 4 && p.kernel_h == 3 &&
         p.kernel_w == 3 && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 1 && p.pad_w == 1 &&
         p.dilation_h == 1 && p.dilation_w == 1 && p.group == 1 && formats.AllF32() &&
         formats.src == Format::kNCHW && blocked &&
         p.out_channels % ChannelBlock(formats.dst, p.out_channels) == 0;
}

std::unique_ptr<ConvPlan> MakeConvFirstLayer(const Context& context, const ConvParams& params,
                                             ConvDirection, ConvFormats formats) {
  return std::make_unique<FirstLayerConv>(context, params, formats);
}

}  // namespace lseg
