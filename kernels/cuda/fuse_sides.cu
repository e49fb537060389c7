// Bound by memory: every map is read once, all sums of a pixel lie in registers. Weights'
// gradients: a block sums over pixels of its own and leaves its sums, which a second kernel adds up
// in order.
#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

constexpr int kMost = FuseSidesParams::kMost;
constexpr int kThreads = 256, kBlocks = 4;  // a multiprocessor

struct Maps {
  int64_t images, classes, plane;
  int sides;
};

// Calls f(at) for the block's share of the planes of class blockIdx.y, kWidth elements at a time.
template <int kWidth, class F>
__device__ void ForElements(const Maps& maps, F f) {
  const int64_t step = int64_t{gridDim.x} * kThreads, vectors = maps.plane / kWidth;
  for (int64_t n = 0; n < maps.images; ++n) {
    const int64_t first = (n * maps.classes + blockIdx.y) * maps.plane;
    for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < vectors; i += step) {
      f(first + i * kWidth);
    }
  }
}

// A class' weights, zeros beyond the last side.
__device__ void LoadWeights(const Maps& maps, const FuseSidesArgs& args, float (&weights)[kMost]) {
#pragma unroll
  for (int s = 0; s < kMost; ++s) {
    weights[s] = s < maps.sides ? __ldg(args.weight[blockIdx.y] + s) : 0;
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocks)
    FuseSides(const Maps maps, const __grid_constant__ FuseSidesArgs args, float* dst) {
  float weights[kMost];
  LoadWeights(maps, args, weights);
  const float* bias = args.bias[blockIdx.y];
  const float offset = bias == nullptr ? 0 : *bias;
  ForElements<kWidth>(maps, [&](int64_t at) {
    Vector<float, kWidth> sum;
    for (float& value : sum.at) value = offset;
#pragma unroll
    for (int s = 0; s < kMost; ++s) {
      if (s >= maps.sides) break;
      const auto side = Load<kWidth>(args.side[s] + at);
      for (int i = 0; i < kWidth; ++i) sum.at[i] += weights[s] * side.at[i];
    }
    Store(dst + at, sum);
  });
}

// partials: [block of the class][class][sums of the weights, of the bias].
template <int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocks)
    FuseSidesGradient(const Maps maps, const __grid_constant__ FuseSidesArgs args,
                      const float* __restrict__ d_dst,
                      const __grid_constant__ FuseSidesGradients gradients, float* partials) {
  float weights[kMost], sums[kMost] = {}, bias = 0;
  LoadWeights(maps, args, weights);
  ForElements<kWidth>(maps, [&](int64_t at) {
    const auto gradient = Load<kWidth>(d_dst + at);
    for (const float value : gradient.at) bias += value;
#pragma unroll
    for (int s = 0; s < kMost; ++s) {
      if (s >= maps.sides) break;
      const auto side = Load<kWidth>(args.side[s] + at);
      Vector<float, kWidth> to;
      if (gradients.d_side_mode[s] == GradMode::kAdd) to = Load<kWidth>(gradients.d_side[s] + at);
      for (int i = 0; i < kWidth; ++i) {
        sums[s] += gradient.at[i] * side.at[i];
        const float share = weights[s] * gradient.at[i];
        to.at[i] = gradients.d_side_mode[s] == GradMode::kAdd ? to.at[i] + share : share;
      }
      if (gradients.d_side_mode[s] != GradMode::kSkip) Store(gradients.d_side[s] + at, to);
    }
  });
  float* mine = partials + (blockIdx.x * maps.classes + blockIdx.y) * (maps.sides + 1);
#pragma unroll
  for (int s = 0; s < kMost; ++s) {
    if (s >= maps.sides) break;
    const float sum = BlockSum<kThreads>(sums[s]);
    if (threadIdx.x == 0) mine[s] = sum;
  }
  bias = BlockSum<kThreads>(bias);
  if (threadIdx.x == 0) mine[maps.sides] = bias;
}

__device__ void StoreSum(double sum, GradMode mode, float* to) {
  if (mode != GradMode::kSkip) *to = static_cast<float>(mode == GradMode::kAdd ? *to + sum : sum);
}

// A block a sum: blockIdx.x which of a class', blockIdx.y the class.
__global__ void __launch_bounds__(kThreads)
    FinishSides(const Maps maps, int parts, const float* partials,
                const __grid_constant__ FuseSidesGradients gradients) {
  const int at = blockIdx.x, c = blockIdx.y;
  double sum = 0;
  for (int part = threadIdx.x; part < parts; part += kThreads) {
    sum += partials[(part * maps.classes + c) * (maps.sides + 1) + at];
  }
  sum = BlockSum<kThreads>(sum);
  if (threadIdx.x != 0) return;
  if (at < maps.sides) {
    StoreSum(sum, gradients.d_weight_mode[c], gradients.d_weight[c] + at);
  } else {
    StoreSum(sum, gradients.d_bias_mode[c], gradients.d_bias[c]);
  }
}

Maps MapsOf(const FuseSidesParams& p) { return {p.dst.n, p.dst.c, p.dst.h * p.dst.w, p.sides}; }

// Vectors of 4 where planes and pointers are made of them.
bool FitsVectors(const FuseSidesParams& p, const FuseSidesArgs& args, const float* map,
                 const FuseSidesGradients& gradients) {
  bool fits = p.dst.h * p.dst.w % 4 == 0 && IsAligned(map, 16);
  for (int s = 0; s < p.sides; ++s) {
    fits = fits && IsAligned(args.side[s], 16) && IsAligned(gradients.d_side[s], 16);
  }
  return fits;
}

dim3 GridOf(const Context& context, const Maps& maps, bool vectors) {
  const int64_t threads = maps.plane / (vectors ? 4 : 1);
  const unsigned all = GridFor(context, threads * maps.classes, kThreads, kBlocks);
  const int64_t of_class = CeilDiv(all, maps.classes);
  return dim3(static_cast<unsigned>(of_class), static_cast<unsigned>(maps.classes));
}

}  // namespace

void FuseSidesForward(Context& context, const FuseSidesParams& params, const FuseSidesArgs& args,
                      float* dst) {
  const Maps maps = MapsOf(params);
  const bool vectors = FitsVectors(params, args, dst, {});
  const auto kernel = vectors ? FuseSides<4> : FuseSides<1>;
  kernel<<<GridOf(context, maps, vectors), kThreads, 0, StreamOf(context)>>>(maps, args, dst);
  CheckLaunch("FuseSides");
}

void FuseSidesBackward(Context& context, const FuseSidesParams& params, const FuseSidesArgs& args,
                       const float* d_dst, const FuseSidesGradients& gradients) {
  const Maps maps = MapsOf(params);
  const bool vectors = FitsVectors(params, args, d_dst, gradients);
  const auto kernel = vectors ? FuseSidesGradient<4> : FuseSidesGradient<1>;
  const dim3 grid = GridOf(context, maps, vectors);
  auto* partials = static_cast<float*>(Scratch(context));
  LSEG_CHECK(int64_t{grid.x} * maps.classes * (maps.sides + 1) * 4 <= kScratchBytes,
             "fusion of side maps: partial sums of " << grid.x << " blocks are too many");
  kernel<<<grid, kThreads, 0, StreamOf(context)>>>(maps, args, d_dst, gradients, partials);
  CheckLaunch("FuseSidesGradient");
  const dim3 sums(static_cast<unsigned>(maps.sides) + 1, grid.y);
  FinishSides<<<sums, kThreads, 0, StreamOf(context)>>>(maps, static_cast<int>(grid.x), partials,
                                                        gradients);
  CheckLaunch("FinishSides");
}

}  // namespace lseg::cuda
