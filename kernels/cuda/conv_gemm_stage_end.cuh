// What the implicit GEMM stores at the end of a stage in place of its output: the map of half the
// size that max pooling makes of it, and its part of the sums of a 1x1 convolution. Both come out
// of the registers that hold the sums: a warp's patch is rows of 16 pixels, an even number of them,
// so a window of the pooling lies in two lanes.
#pragma once

#include "kernels/cuda/conv_gemm_store.cuh"

namespace lseg::cuda {

// ReLU where wanted; what lies outside the image takes no part in maxima.
template <class Tile>
__device__ void Activate(const ConvGemmArgs& args, const ConvGemmPlace& place, int first_y,
                         float (&sums)[Tile::kFragmentsM][Tile::kFragmentsN][4]) {
#pragma unroll
  for (int m = 0; m < Tile::kFragmentsM; ++m) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int x = place.x + threadIdx.x % 32 / 4 + i / 2 * 8;
      const bool inside = first_y + m < args.out_height && x < args.out_width;
#pragma unroll
      for (int n = 0; n < Tile::kFragmentsN; ++n) {
        const float value = args.relu ? MaxNan(sums[m][n][i], 0) : sums[m][n][i];
        sums[m][n][i] = inside ? value : -INFINITY;
      }
    }
  }
}

// The warp's channels' part of the scores: each group of warps that shares pixels writes planes of
// its own, so that the reader's sum has one order.
template <class Tile>
__device__ void StoreScores(const ConvGemmArgs& args, const ConvGemmPlace& place, int first_y,
                            const float (&sums)[Tile::kFragmentsM][Tile::kFragmentsN][4]) {
  const int lane = threadIdx.x % 32;
  const int partial = place.output_tile * Tile::kWarpsN + threadIdx.x / 32 % Tile::kWarpsN;
  const int64_t plane = int64_t{args.out_height} * args.out_width;
  float* to = args.score_partials +
              (int64_t{partial} * args.images + place.image) * args.score_channels * plane;
  for (int score = 0; score < args.score_channels; ++score, to += plane) {
    float weight[Tile::kFragmentsN][2];
#pragma unroll
    for (int n = 0; n < Tile::kFragmentsN; ++n) {
      const int output = FirstOutput<Tile>(place, n) + lane % 4 * 2;
      const float* from = args.score_weight + int64_t{score} * args.out_channels + output;
      const bool valid = output < args.out_channels;
      weight[n][0] = valid ? from[0] : 0;
      weight[n][1] = valid ? from[1] : 0;
    }
#pragma unroll
    for (int row = 0; row < Tile::kFragmentsM * 2; ++row) {
      const int m = row / 2, i = row % 2 * 2;
      float sum = 0;
#pragma unroll
      for (int n = 0; n < Tile::kFragmentsN; ++n) {
        sum += sums[m][n][i] * weight[n][0];
        sum += sums[m][n][i + 1] * weight[n][1];
      }
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      const int y = first_y + m, x = place.x + lane / 4 + row % 2 * 8;
      if (lane % 4 == row % 4 && y < args.out_height && x < args.out_width) {
        to[int64_t{y} * args.out_width + x] = sum;
      }
    }
  }
}

// Of a lane's pixels x and x + 8 in two rows and the same of its neighbour at x ^ 1: an even lane
// gets the maximum of the window at x, an odd lane that of the window at x + 7.
__device__ inline float WindowMaximum(const float (&upper)[4], const float (&lower)[4],
                                      int channel) {
  const float left = MaxNan(upper[channel], lower[channel]);
  const float right = MaxNan(upper[channel + 2], lower[channel + 2]);
  const bool odd = threadIdx.x / 4 % 2 != 0;
  const float others = __shfl_xor_sync(~0u, odd ? left : right, 4);
  return MaxNan(odd ? right : left, others);
}

template <class Tile, class T>
__device__ void StorePooled(const ConvGemmArgs& args, const ConvGemmPlace& place, int first_y,
                            float4* rows,
                            const float (&sums)[Tile::kFragmentsM][Tile::kFragmentsN][4]) {
  static_assert(Tile::kFragmentsM % 2 == 0);
  constexpr int kRows = Tile::kFragmentsM * 4, kLanes = kLanesARow<T>;
  const int lane = threadIdx.x % 32;
  const int height = (args.out_height + 1) / 2, width = (args.out_width + 1) / 2;
#pragma unroll
  for (int part = 0; part < Tile::kFragmentsN / 4; ++part) {
    __syncwarp();
#pragma unroll
    for (int m = 0; m < Tile::kFragmentsM / 2; ++m) {
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const float(&upper)[4] = sums[m * 2][part * 4 + n];
        const float(&lower)[4] = sums[m * 2 + 1][part * 4 + n];
        StagePair(rows, m * 8 + lane / 4, n, WindowMaximum(upper, lower, 0),
                  WindowMaximum(upper, lower, 1));
      }
    }
    __syncwarp();
    const int output = FirstOutput<Tile>(place, part * 4) + lane % kLanes * kVectorWidth<T>;
#pragma unroll
    for (int row = lane / kLanes; row < kRows; row += 32 / kLanes) {
      // As WindowMaximum deals them out.
      const int y = first_y / 2 + row / 8, x = place.x / 2 + row % 2 * 4 + row % 8 / 2;
      if (y >= height || x >= width || output >= args.out_channels) continue;
      float values[kVectorWidth<T>];
      ReadStaged<T>(rows, row, lane % kLanes, values);
      T* to = static_cast<T*>(args.pooled) +
              ((int64_t{place.image} * height + y) * width + x) * args.out_channels + output;
      StoreVector(to, values, false, false);
    }
  }
}

template <class Tile, class T>
__device__ void StoreStageEnd(const ConvGemmArgs& args, const ConvGemmPlace& place, uint8_t* shared,
                              float (&sums)[Tile::kFragmentsM][Tile::kFragmentsN][4]) {
  const int warp = threadIdx.x / 32;
  const int first_y = place.y + warp / Tile::kWarpsN * Tile::kFragmentsM;
  float4* rows = reinterpret_cast<float4*>(shared) + warp * Tile::kFragmentsM * 4 * 8;
  Activate<Tile>(args, place, first_y, sums);
  StoreScores<Tile>(args, place, first_y, sums);
  if (args.pooled != nullptr) StorePooled<Tile, T>(args, place, first_y, rows, sums);
}

}  // namespace lseg::cuda
