// d_src[y][x] = sum over ty, tx of row(ty) column(tx) d_dst[y s - pad + ty][x s - pad + tx]: rows
// of d_dst are added up with their taps first, in long contiguous loops, then columns. That is 2 +
// 2 / stride multiply-adds an element of d_dst for bilinear taps, where the general case takes 4 a
// pair of channels. At 720x480 the four of L-Seg took 10.5 ms by the general
// case and take 2.7, of a training step of a second (two cores with AVX-512, other work beside).
#include "kernels/cpu/deconv_separable.h"

#include <cmath>

#include "kernels/cpu/loops.h"

namespace lseg {
namespace {

constexpr int64_t kPiece = 8192;  // columns of d_dst that are added up on the stack
constexpr int64_t kMostTaps = 128;

// Of one channel: weight[y][x] = rows[y] * columns[x].
struct Taps {
  float rows[kMostTaps], columns[kMostTaps];

  // From the row and the column of the largest weight.
  Taps(const DeconvParams& p, const float* weight) {
    int64_t largest = 0;
    for (int64_t i = 1; i < p.kernel_h * p.kernel_w; ++i) {
      if (std::fabs(weight[i]) > std::fabs(weight[largest])) largest = i;
    }
    const float* row = weight + largest / p.kernel_w * p.kernel_w;
    const float* column = weight + largest % p.kernel_w;
    const double scale = weight[largest] == 0 ? 0 : 1.0 / weight[largest];
    for (int64_t x = 0; x < p.kernel_w; ++x) columns[x] = row[x];
    for (int64_t y = 0; y < p.kernel_h; ++y) {
      rows[y] = static_cast<float>(scale * column[y * p.kernel_w]);
    }
  }
};

LSEG_MULTIVERSION void AddRow(int64_t count, float tap, const float* row, float* sum) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) sum[i] += tap * row[i];
}

// Columns [begin, end) of row y of a plane.
void SumRow(const DeconvParams& p, const Shape& dst, const Taps& taps, int64_t y, int64_t begin,
            int64_t end, const float* d_dst, float* d_src, bool add) {
  const int64_t left = std::max<int64_t>(begin * p.stride_w - p.pad_w, 0);
  const int64_t right = std::min((end - 1) * p.stride_w - p.pad_w + p.kernel_w, dst.w);
  float sum[kPiece];  // from `left` on
  std::fill_n(sum, std::max<int64_t>(right - left, 0), 0.0f);
  for (int64_t t = 0; t < p.kernel_h && left < right; ++t) {
    const int64_t row = y * p.stride_h - p.pad_h + t;
    if (row < 0 || row >= dst.h) continue;
    AddRow(right - left, taps.rows[t], d_dst + row * dst.w + left, sum);
  }
  for (int64_t x = begin; x < end; ++x) {
    const int64_t at = x * p.stride_w - p.pad_w;
    float value = 0;
    for (int64_t t = std::max<int64_t>(0, -at); t < std::min(p.kernel_w, dst.w - at); ++t) {
      value += taps.columns[t] * sum[at + t - left];
    }
    float& to = d_src[y * p.src.w + x];
    to = add ? to + value : value;
  }
}

}  // namespace

bool IsSeparableDiagonal(const DeconvParams& p, const float* weight) {
  if (p.group != 1 || p.src.c != p.out_channels || p.dilation_h != 1 || p.dilation_w != 1 ||
      p.kernel_h > kMostTaps || p.kernel_w > kMostTaps || p.stride_w + p.kernel_w > kPiece) {
    return false;
  }
  const int64_t size = p.kernel_h * p.kernel_w;
  for (int64_t pair = 0; pair < p.src.c * p.out_channels; ++pair, weight += size) {
    if (pair / p.out_channels != pair % p.out_channels) {
      if (std::any_of(weight, weight + size, [](float w) { return w != 0; })) return false;
      continue;
    }
    const Taps taps(p, weight);
    for (int64_t i = 0; i < size; ++i) {
      const float product = taps.rows[i / p.kernel_w] * taps.columns[i % p.kernel_w];
      if (!(std::fabs(product - weight[i]) <= 0x1p-22f * std::fabs(weight[i]))) return false;
    }
  }
  return true;
}

void SeparableBackwardData(Context& context, const DeconvParams& p, const float* d_dst,
                           const float* weight, float* d_src, GradMode d_src_mode) {
  const Shape dst = p.Dst();
  const int64_t piece = (kPiece - p.kernel_w) / p.stride_w + 1;  // columns of d_src
  const int64_t planes = p.src.n * p.src.c, size = p.kernel_h * p.kernel_w;
#pragma omp parallel for collapse(2) schedule(static) num_threads(context.threads())
  for (int64_t plane = 0; plane < planes; ++plane) {
    for (int64_t y = 0; y < p.src.h; ++y) {
      const Taps taps(p, weight + plane % p.src.c * (p.out_channels + 1) * size);
      for (int64_t begin = 0; begin < p.src.w; begin += piece) {
        SumRow(p, dst, taps, y, begin, std::min(begin + piece, p.src.w),
               d_dst + plane * dst.h * dst.w, d_src + plane * p.src.h * p.src.w,
               d_src_mode == GradMode::kAdd);
      }
    }
  }
}

}  // namespace lseg
