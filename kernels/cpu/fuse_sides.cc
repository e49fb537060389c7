// In pieces of a plane that stay in the L1 cache, so that dst and d_dst come from memory once.
#include "kernels/fuse_sides.h"

#include "kernels/cpu/loops.h"
#include "kernels/runtime/dispatch.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

constexpr int64_t kPiece = 2048;  // floats

LSEG_MULTIVERSION void AddWeighted(int64_t count, float weight, const float* __restrict src,
                                   float* __restrict dst) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) dst[i] += weight * src[i];
}

LSEG_MULTIVERSION void Fill(int64_t count, float value, float* dst) {
  std::fill_n(dst, count, value);
}

struct Sums {
  double product, gradient;
};

// Eight at a time: the order of the additions is the same for every vector length.
LSEG_MULTIVERSION Sums SumPiece(int64_t count, const float* __restrict side,
                                const float* __restrict d_dst) {
  constexpr int kLanes = 8;
  float products[kLanes] = {}, gradients[kLanes] = {};
  const int64_t whole = count / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
#pragma omp simd
    for (int lane = 0; lane < kLanes; ++lane) {
      products[lane] += side[i + lane] * d_dst[i + lane];
      gradients[lane] += d_dst[i + lane];
    }
  }
  Sums sums{0, 0};
  for (int64_t i = whole; i < count; ++i) {
    sums.product += double{side[i]} * d_dst[i];
    sums.gradient += d_dst[i];
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    sums.product += products[lane];
    sums.gradient += gradients[lane];
  }
  return sums;
}

// Calls f(class, offset, count) for the pieces of all planes, in parallel.
template <typename F>
void ForPieces(const Context& context, const Shape& dst, F f) {
  const int64_t plane = dst.h * dst.w, pieces = CeilDiv(plane, kPiece);
#pragma omp parallel for collapse(2) schedule(static) \
    num_threads(context.threads()) if (dst.Count() > kParallelFrom)
  for (int64_t p = 0; p < dst.n * dst.c; ++p) {
    for (int64_t piece = 0; piece < pieces; ++piece) {
      f(static_cast<int>(p % dst.c), p * plane + piece * kPiece,
        std::min(kPiece, plane - piece * kPiece));
    }
  }
}

void Store(double sum, GradMode mode, float* to) {
  if (mode == GradMode::kSkip) return;
  *to = static_cast<float>(mode == GradMode::kAdd ? *to + sum : sum);
}

// The gradients of one class' weight of a side and, with side 0, of its bias.
void BackwardWeight(const FuseSidesParams& params, const FuseSidesArgs& args, const float* d_dst,
                    int c, int s, const FuseSidesGradients& gradients) {
  const Shape& dst = params.dst;
  const int64_t plane = dst.h * dst.w;
  Sums total{0, 0};
  for (int64_t n = 0; n < dst.n; ++n) {
    for (int64_t first = 0; first < plane; first += kPiece) {
      const int64_t at = (n * dst.c + c) * plane + first;
      const Sums sums = SumPiece(std::min(kPiece, plane - first), args.side[s] + at, d_dst + at);
      total.product += sums.product;
      total.gradient += sums.gradient;
    }
  }
  Store(total.product, gradients.d_weight_mode[c], gradients.d_weight[c] + s);
  if (s == 0) Store(total.gradient, gradients.d_bias_mode[c], gradients.d_bias[c]);
}

}  // namespace

void FuseSidesParams::Validate() const {
  LSEG_CHECK(dst.n > 0 && dst.c > 0 && dst.h > 0 && dst.w > 0,
             "fusion of side maps: " << ToString(dst) << " is empty");
  LSEG_CHECK(sides > 0 && sides <= kMost && dst.c <= kMost,
             "fusion of " << sides << " side maps of " << dst.c << " classes: 1 to " << kMost
                          << " of each");
}

void FuseSidesForward(Context& context, const FuseSidesParams& params, const FuseSidesArgs& args,
                      float* dst) {
  params.Validate();
  LSEG_ON_CUDA(context, FuseSidesForward(context, params, args, dst));
  ForPieces(context, params.dst, [&](int c, int64_t at, int64_t count) {
    Fill(count, args.bias[c] == nullptr ? 0 : *args.bias[c], dst + at);
    for (int s = 0; s < params.sides; ++s) {
      AddWeighted(count, args.weight[c][s], args.side[s] + at, dst + at);
    }
  });
}

void FuseSidesBackward(Context& context, const FuseSidesParams& params, const FuseSidesArgs& args,
                       const float* d_dst, const FuseSidesGradients& gradients) {
  params.Validate();
  LSEG_ON_CUDA(context, FuseSidesBackward(context, params, args, d_dst, gradients));
  ForPieces(context, params.dst, [&](int c, int64_t at, int64_t count) {
    for (int s = 0; s < params.sides; ++s) {
      if (gradients.d_side_mode[s] == GradMode::kSkip) continue;
      float* to = gradients.d_side[s] + at;
      if (gradients.d_side_mode[s] == GradMode::kWrite) Fill(count, 0, to);
      AddWeighted(count, args.weight[c][s], d_dst + at, to);
    }
  });
  const int64_t tasks = params.dst.c * params.sides;
#pragma omp parallel for schedule(dynamic) \
    num_threads(context.threads()) if (params.dst.Count() > kParallelFrom)
  for (int64_t task = 0; task < tasks; ++task) {
    BackwardWeight(params, args, d_dst, static_cast<int>(task / params.sides),
                   static_cast<int>(task % params.sides), gradients);
  }
}

}  // namespace lseg
