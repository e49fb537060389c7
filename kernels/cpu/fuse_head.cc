// Row by row, a piece of it at a time on the stack: the rows of a score map are blended first, then
// their pixels, cell by cell; a cell is the `stride` outputs between two score pixels, whose
// weights are the same in every cell.
#include "kernels/fuse_head.h"

#include "kernels/cpu/loops.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/runtime/dispatch.h"

namespace lseg {
namespace {

using Level = FuseHeadParams::Level;

constexpr int64_t kColumns = 256;  // of a piece

// One channel of one image in one level.
struct Plane {
  const float* score;
  int64_t partial_step;  // elements from one partial sum to the next
  float score_bias, side_bias;
};

// blended[i] = the score row above times (1 - share) + the row times share, for columns
// first..first + count - 1; zeros beyond the border.
LSEG_INLINE void BlendRows(const Level& level, const Plane& plane, int64_t row, float share,
                           int64_t first, int64_t count, float* __restrict blended) {
  std::fill(blended, blended + count, 0.0f);
  const int64_t begin = std::max<int64_t>(0, -first);
  const int64_t end = std::min(count, level.width - first);
  for (const int64_t from_row : {row - 1, row}) {
    const float weight = from_row == row ? share : 1.0f - share;
    if (from_row < 0 || from_row >= level.height || weight == 0.0f) continue;
    const float* from = plane.score + from_row * level.width + first;
    float sum[kColumns + 2];
    std::copy(from + begin, from + end, sum + begin);
    for (int64_t p = 1; p < level.partials; ++p) {
      from += plane.partial_step;
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) sum[i] += from[i];
    }
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) blended[i] += weight * (sum[i] + plane.score_bias);
  }
}

// to[cell * stride + i] = bias + blended[cell] (1 - share_i) + blended[cell + 1] share_i.
//
// kStride: a vector's worth of outputs or more, so that a cell is divided among lanes; or 0, any.
template <int kStride>
LSEG_INLINE void FillWideCells(int64_t stride, int64_t cells, const float* __restrict blended,
                               float bias, float* __restrict to) {
  const int64_t size = kStride > 0 ? kStride : stride;
  const float step = 1.0f / static_cast<float>(size);
  for (int64_t cell = 0; cell < cells; ++cell) {
    const float left = blended[cell], right = blended[cell + 1];
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) {
      const float share = (static_cast<float>(i) + 0.5f) * step;
      to[cell * size + i] = bias + (left * (1.0f - share) + right * share);
    }
  }
}

// kStride: a few outputs, so that each lane has a cell.
template <int kStride>
LSEG_INLINE void FillNarrowCells(int64_t cells, const float* __restrict blended, float bias,
                                 float* __restrict to) {
#pragma omp simd
  for (int64_t cell = 0; cell < cells; ++cell) {
    for (int i = 0; i < kStride; ++i) {
      const float share = (static_cast<float>(i) + 0.5f) / kStride;
      to[cell * kStride + i] = bias + (blended[cell] * (1.0f - share) + blended[cell + 1] * share);
    }
  }
}

LSEG_INLINE void FillCells(int64_t stride, int64_t cells, const float* __restrict blended,
                           float bias, float* __restrict to) {
  switch (stride) {
    case 2:
      return FillNarrowCells<2>(cells, blended, bias, to);
    case 4:
      return FillNarrowCells<4>(cells, blended, bias, to);
    case 8:
      return FillWideCells<8>(stride, cells, blended, bias, to);
    case 16:
      return FillWideCells<16>(stride, cells, blended, bias, to);
    default:
      return FillWideCells<0>(stride, cells, blended, bias, to);
  }
}

// Columns x..x + count - 1 of row y of a side map; a pointer into `memory`.
LSEG_INLINE const float* SidePiece(const Level& level, const Plane& plane, int64_t y, int64_t x,
                                   int64_t count, float* memory) {
  const int64_t v = y + level.offset_h, u = x + level.offset_w, stride = level.stride;
  float blended[kColumns + 2];
  if (stride == 1) {
    BlendRows(level, plane, v, 1.0f, u, count, memory);
    for (int64_t i = 0; i < count; ++i) memory[i] += plane.side_bias;
    return memory;
  }
  const int64_t cell = u / stride, cells = (u + count - 1) / stride - cell + 1;
  const float share = (static_cast<float>(v % stride) + 0.5f) / static_cast<float>(stride);
  BlendRows(level, plane, v / stride, share, cell - 1, cells + 1, blended);
  FillCells(stride, cells, blended, plane.side_bias, memory);
  return memory + u % stride;
}

LSEG_INLINE void WriteSigmoid(int64_t count, const float* __restrict logits,
                              float* __restrict probability) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) probability[i] = Sigmoid(logits[i]);
}

LSEG_INLINE Plane PlaneOf(const FuseHeadParams& p, const FuseHeadArgs& args, int l, int64_t n,
                          int64_t c) {
  const Level& level = p.level[l];
  const FuseHeadArgs::Level& a = args.level[l];
  const int64_t size = level.height * level.width;
  return {a.score + (n * p.dst.c + c) * size, p.dst.n * p.dst.c * size,
          a.score_bias == nullptr ? 0.0f : a.score_bias[c],
          a.side_bias == nullptr ? 0.0f : a.side_bias[c]};
}

// Row y of channel c of image n.
LSEG_MULTIVERSION void FuseRow(const FuseHeadParams& p, const FuseHeadArgs& args, int64_t n,
                               int64_t c, int64_t y) {
  for (int64_t x = 0; x < p.dst.w; x += kColumns) {
    const int64_t count = std::min(kColumns, p.dst.w - x);
    const int64_t at = ((n * p.dst.c + c) * p.dst.h + y) * p.dst.w + x;
    float fused[kColumns], memory[kColumns + 2 * FuseHeadParams::kMaxStride];
    std::fill(fused, fused + kColumns, args.bias == nullptr ? 0.0f : args.bias[c]);
    for (int l = 0; l < p.levels; ++l) {
      const float* side = SidePiece(p.level[l], PlaneOf(p, args, l, n, c), y, x, count, memory);
      const float weight = args.weight[c * p.levels + l];
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) fused[i] += weight * side[i];
    }
    if (args.fused != nullptr) std::copy(fused, fused + count, args.fused + at);
    if (args.probability != nullptr) WriteSigmoid(count, fused, args.probability + at);
  }
}

void CheckLevel(const FuseHeadParams& p, int l) {
  const Level& level = p.level[l];
  LSEG_CHECK(level.height > 0 && level.width > 0 && level.partials > 0,
             "fused head: level " << l << " has a score map of " << level.height << "x"
                                  << level.width << " in " << level.partials
                                  << " partial sums; each must be 1 or more");
  LSEG_CHECK(level.stride >= 1 && level.stride <= FuseHeadParams::kMaxStride,
             "fused head: level " << l << " has stride " << level.stride << ", known are 1 to "
                                  << FuseHeadParams::kMaxStride);
  const int64_t height = level.Upsampled(level.height), width = level.Upsampled(level.width);
  LSEG_CHECK(level.offset_h >= 0 && level.offset_w >= 0 && level.offset_h + p.dst.h <= height &&
                 level.offset_w + p.dst.w <= width,
             "fused head: level " << l << " is " << height << "x" << width
                                  << " after upsampling, which does not hold " << p.dst.h << "x"
                                  << p.dst.w << " at " << level.offset_h << "," << level.offset_w);
}

}  // namespace

void FuseHeadParams::Validate() const {
  LSEG_CHECK(dst.n > 0 && dst.c > 0 && dst.h > 0 && dst.w > 0,
             "fused head: the output " << ToString(dst) << " is empty");
  LSEG_CHECK(levels >= 1 && levels <= kMaxLevels,
             "fused head: " << levels << " score maps, known are 1 to " << kMaxLevels);
  for (int l = 0; l < levels; ++l) CheckLevel(*this, l);
}

void FuseHead(Context& context, const FuseHeadParams& params, const FuseHeadArgs& args) {
  params.Validate();
  LSEG_CHECK(args.weight != nullptr, "fused head: the weights of the fusion are missing");
  for (int l = 0; l < params.levels; ++l) {
    LSEG_CHECK(args.level[l].score != nullptr,
               "fused head: the score map of level " << l << " is missing");
  }
  LSEG_ON_CUDA(context, FuseHead(context, params, args));
  const Shape& dst = params.dst;
#pragma omp parallel for collapse(3) schedule(static) num_threads(context.threads())
  for (int64_t n = 0; n < dst.n; ++n) {
    for (int64_t c = 0; c < dst.c; ++c) {
      for (int64_t y = 0; y < dst.h; ++y) FuseRow(params, args, n, c, y);
    }
  }
}

}  // namespace lseg
