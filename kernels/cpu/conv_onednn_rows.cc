// The "onednn_rows" engine: 3x3 convolutions in bf16, NHWC, forward, in blocks of rows that are
// always the same, whichever rows are asked for, by one oneDNN primitive: so the bits of a row do
// not depend on that. (Of two primitives that differ in height the library promises no such thing,
// and gives them other layouts of weights.) The primitive knows no padding above and below: a block
// at an image's border is copied between rows of zeros, and what is computed behind its end is left
// out.
//
// At a stage's end a block goes into the workspace, and what is made of it is made at once.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv_3x3.h"
#include "kernels/cpu/conv_engines.h"
#include "kernels/cpu/conv_onednn.h"
#include "kernels/cpu/conv_pointwise.h"
#include "kernels/cpu/pool_rows.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

constexpr ConvFormats kFormats = {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16};

// Rows that the primitive computes.
int64_t BlockRows(const ConvParams& p) { return std::min(ConvOnednnRowGrid(p), p.src.h); }

dnnl::convolution_forward::primitive_desc Describe(const dnnl::engine& engine,
                                                   const ConvParams& p) {
  ConvParams block = p;
  block.src.n = 1;
  block.src.h = BlockRows(p) + 2;
  block.pad_h = 0;
  return onednn::Forward(engine, onednn::MakeCase(block, ConvDirection::kForward, kFormats,
                                                  dnnl::algorithm::convolution_direct));
}

class OnednnRows : public onednn::OnednnConv {
 public:
  OnednnRows(const Context& context, const ConvParams& params)
      : OnednnConv(params, ConvDirection::kForward),
        threads_(context.threads()),
        rows_(BlockRows(params)) {
    const auto pd = Describe(engine_, p_);
    weight_ = pd.weights_desc();
    src_at_ = RoundUp(pd.scratchpad_desc().get_size(), 64);
    dst_at_ = src_at_ + RoundUp((rows_ + 2) * SrcRow() * 2, 64);
    score_weight_at_ = dst_at_ + RoundUp(rows_ * DstRow() * 2, 64);
    conv_ = onednn::Bound(engine_, dnnl::convolution_forward(pd),
                          {{DNNL_ARG_SRC, pd.src_desc()},
                           {DNNL_ARG_WEIGHTS, weight_},
                           {DNNL_ARG_BIAS, pd.bias_desc()},
                           {DNNL_ARG_DST, pd.dst_desc()},
                           {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}});
  }

  int64_t WorkspaceBytes(GradMode) const override {
    return score_weight_at_ + PointwiseRows(p_.score_channels) * p_.out_channels * 4;
  }
  int64_t ScorePartials() const override { return p_.score_channels > 0 ? 1 : 0; }

  void Run(Context&, const ConvArgs& args) const override {
    CheckConvArgs(p_, direction_, args);
    const RowRange all = {0, p_.src.h}, map = {0, p_.pooled ? p_.Pooled().h : p_.src.h};
    const int64_t grid = ConvOnednnRowGrid(p_);
    ConvRows rows = args.rows != nullptr ? *args.rows : ConvRows{all, all, map};
    rows.dst = ConvRowsOnGrid(p_, grid, args);
    if (p_.score_channels > 0) PadScoreWeights(args);
    conv_.Set(DNNL_ARG_WEIGHTS, args.weight);
    conv_.Set(DNNL_ARG_BIAS, args.bias);
    conv_.Set(DNNL_ARG_SCRATCHPAD, args.workspace);
    for (int64_t n = 0; n < p_.src.n; ++n) {
      for (int64_t y = rows.dst.begin; y < rows.dst.end; y += grid) RunBlock(args, rows, n, y);
    }
  }

 private:
  int64_t SrcRow() const { return p_.src.w * p_.src.c; }
  int64_t DstRow() const { return p_.src.w * p_.out_channels; }

  template <class T>
  static T* In(const ConvArgs& args, int64_t at) {
    return reinterpret_cast<T*>(static_cast<char*>(args.workspace) + at);
  }

  // Rows of zeros up to a number that there is code for.
  void PadScoreWeights(const ConvArgs& args) const {
    auto* to = In<float>(args, score_weight_at_);
    std::fill_n(to, PointwiseRows(p_.score_channels) * p_.out_channels, 0.0f);
    std::copy_n(args.score_weight, p_.score_channels * p_.out_channels, to);
  }

  // The block of image n that begins with row y.
  void RunBlock(const ConvArgs& args, const ConvRows& rows, int64_t n, int64_t y) const {
    const int64_t count = std::min(rows_, p_.src.h - y);
    conv_.Set(DNNL_ARG_SRC, BlockSrc(args, rows, n, y));
    BFloat16* dst = nullptr;  // of the block; not there at a stage's end
    if (!p_.HasStageEnd()) {
      const int64_t held = rows.dst_held.end - rows.dst_held.begin;
      dst = static_cast<BFloat16*>(args.dst) + (n * held + y - rows.dst_held.begin) * DstRow();
    }
    BFloat16* computed = dst != nullptr && count == rows_ ? dst : In<BFloat16>(args, dst_at_);
    conv_.Set(DNNL_ARG_DST, computed);
    conv_.Execute(stream_);
    if (p_.HasStageEnd()) return EndStage(args, rows, n, y, count);
    if (computed == dst) return;
#pragma omp parallel for num_threads(threads_)
    for (int64_t row = 0; row < count; ++row) {
      std::memcpy(dst + row * DstRow(), computed + row * DstRow(), DstRow() * 2);
    }
  }

  // The rows that a block reads, zeros above and below the image.
  const BFloat16* BlockSrc(const ConvArgs& args, const ConvRows& rows, int64_t n, int64_t y) const {
    const int64_t held = rows.src_held.end - rows.src_held.begin, first = y - 1;
    const auto at = [&](int64_t row) {
      return static_cast<const BFloat16*>(args.src) +
             (n * held + row - rows.src_held.begin) * SrcRow();
    };
    if (first >= 0 && first + rows_ + 2 <= p_.src.h) return at(first);
    auto* to = In<BFloat16>(args, src_at_);
#pragma omp parallel for num_threads(threads_)
    for (int64_t row = 0; row < rows_ + 2; ++row) {
      if (first + row >= 0 && first + row < p_.src.h) {
        std::memcpy(to + row * SrcRow(), at(first + row), SrcRow() * 2);
      } else {
        std::memset(to + row * SrcRow(), 0, SrcRow() * 2);
      }
    }
    return to;
  }

  // Of `count` rows from row y on, two at a time: a row of the pooled map.
  void EndStage(const ConvArgs& args, const ConvRows& rows, int64_t n, int64_t y,
                int64_t count) const {
    const int64_t pairs = (count + 1) / 2, width = p_.src.w, pixels = p_.src.h * width;
    const PoolGeometry pooling = {
        {count, pairs, 2, 2, 0}, {width, (width + 1) / 2, 2, 2, 0}, p_.out_channels};
    const int64_t held = rows.dst_held.end - rows.dst_held.begin;
    BFloat16* pooled = nullptr;
    if (p_.pooled) {
      const int64_t row = n * held + y / 2 - rows.dst_held.begin;
      pooled = static_cast<BFloat16*>(args.pooled) + row * pooling.columns.out * p_.out_channels;
    }
    const auto* map = In<const BFloat16>(args, dst_at_);
    float* scores = args.score_partials + n * p_.score_channels * pixels + y * width;
#pragma omp parallel for num_threads(threads_)
    for (int64_t pair = 0; pair < pairs; ++pair) {
      if (p_.pooled) PoolForwardRow(pooling, /*max=*/true, pair, map, pooled, nullptr);
      if (p_.score_channels == 0) continue;
      const PointwiseRange range = {.channels = p_.out_channels,
                                    .block = p_.out_channels,
                                    .block_stride = 0,
                                    .outputs = p_.score_channels,
                                    .pixels = pixels,
                                    .begin = 2 * pair * width,
                                    .end = std::min(2 * pair + 2, count) * width,
                                    .weight_stride = p_.out_channels};
      PointwiseForward(range, map, In<const float>(args, score_weight_at_), /*bias=*/nullptr,
                       /*relu=*/false, scores);
    }
  }

  int threads_;
  int64_t rows_;  // of a block
  mutable onednn::Bound conv_;
  // In the workspace, behind the scratchpad: a block's source, its map, padded score weights.
  int64_t src_at_, dst_at_, score_weight_at_;
};

}  // namespace

// L-Seg's stages halve the width and double the channels: few rows of many channels cost what many
// rows of few do. 32 rows of 64 channels are work for as many threads.
int64_t ConvOnednnRowGrid(const ConvParams& params) {
  return RoundUp(std::clamp<int64_t>(2048 / params.out_channels, 8, 32), 4);
}

bool SupportsConvOnednnRows(const Context&, const ConvParams& p, ConvDirection direction,
                            ConvFormats formats) {
  const bool fits = formats.src == kFormats.src && formats.dst == kFormats.dst &&
                    formats.src_dtype == kFormats.src_dtype &&
                    formats.dst_dtype == kFormats.dst_dtype;
  return direction == ConvDirection::kForward && fits && IsConv3x3(p) &&
         onednn::IsUsable(Describe(onednn::MakeEngine(), p));
}

std::unique_ptr<ConvPlan> MakeConvOnednnRows(const Context& context, const ConvParams& params,
                                             ConvDirection, ConvFormats) {
  return std::make_unique<OnednnRows>(context, params);
}

}  // namespace lseg
