#include "kernels/cpu/conv_3x3.h"

#include <algorithm>

#include "kernels/cpu/loops.h"
#include "kernels/runtime/bfloat16.h"
#include "kernels/runtime/check.h"

namespace lseg {

bool IsConv3x3(const ConvParams& p) {
  return p.kernel_h == 3 && p.kernel_w == 3 && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 1 &&
         p.pad_w == 1 && p.dilation_h == 1 && p.dilation_w == 1 && p.group == 1;
}

RowRange ConvRowsOnGrid(const ConvParams& p, int64_t grid, const ConvArgs& args) {
  if (args.rows == nullptr) return {0, p.src.h};
  const RowRange rows = args.rows->dst;
  LSEG_CHECK(rows.begin % grid == 0 && (rows.end % grid == 0 || rows.end == p.src.h),
             "convolution of rows " << rows.begin << " to " << rows.end << " of " << p.src.h
                                    << ": not on the grid of " << grid);
  return rows;
}

int64_t GradientStripes(int64_t gradient_bytes, int64_t parts) {
  constexpr int64_t kMost = 16, kLeast = 4, kBytes = int64_t{5} << 20;
  const int64_t most = std::min(kBytes / gradient_bytes, parts);
  int64_t stripes = kMost;  // a power of two: as many for each thread, mostly
  while (stripes > most) stripes /= 2;
  return stripes < kLeast ? 1 : stripes;
}

LSEG_MULTIVERSION void AddStripes(const float* sums, int64_t stripes, int64_t pitch, int64_t count,
                                  bool add, float* to) {
  constexpr int64_t kPiece = 256;
  for (int64_t first = 0; first < count; first += kPiece) {
    const int64_t size = std::min(kPiece, count - first);
    float sum[kPiece];
    std::copy_n(sums + first, size, sum);
    for (int64_t stripe = 1; stripe < stripes; ++stripe) {
      const float* from = sums + stripe * pitch + first;
#pragma omp simd
      for (int64_t i = 0; i < size; ++i) sum[i] += from[i];
    }
    for (int64_t i = 0; i < size; ++i) to[first + i] = add ? to[first + i] + sum[i] : sum[i];
  }
}

template <class Element, class Value>
Conv3x3Args<Element, Value> Conv3x3ArgsOf(const ConvParams& p, ConvDirection direction,
                                          const ConvArgs& args) {
  const auto constant = [](const void* map) { return static_cast<const Element*>(map); };
  const auto written = [](void* map) { return static_cast<Element*>(map); };
  Conv3x3Args<Element, Value> a = {};
  a.packed = static_cast<const Value*>(args.weight);
  a.src_held = a.dst_held = {0, p.src.h};
  if (direction == ConvDirection::kBackwardData) {
    a.src = constant(args.d_dst);
    a.dst = written(args.d_src);
    a.add = args.d_src_mode == GradMode::kAdd;
    a.mask = p.relu_gradient ? constant(args.src) : nullptr;
    return a;
  }
  a.src = constant(args.src);
  a.bias = p.bias ? args.bias : nullptr;
  a.relu = p.relu;
  if (p.HasStageEnd()) {
    a.pooled = p.pooled ? written(args.pooled) : nullptr;
    a.score_channels = p.score_channels;
    a.score_weight = args.score_weight;
    a.score_partials = args.score_partials;
    a.dst_held = {0, p.Pooled().h};
  } else {
    a.dst = written(args.dst);
  }
  if (args.rows != nullptr) {
    a.src_held = args.rows->src_held;
    a.dst_held = args.rows->dst_held;
  }
  return a;
}

template Conv3x3Args<float> Conv3x3ArgsOf(const ConvParams&, ConvDirection, const ConvArgs&);
template Conv3x3Args<BFloat16> Conv3x3ArgsOf(const ConvParams&, ConvDirection, const ConvArgs&);
template Conv3x3Args<BFloat16, float> Conv3x3ArgsOf(const ConvParams&, ConvDirection,
                                                    const ConvArgs&);

}  // namespace lseg
