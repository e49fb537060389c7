// The two ends of the implicit GEMM's sums: they start from the bias, and go out through shared
// memory, since a lane of mma holds two channels where a store should be 16 bytes.
#pragma once

#include "kernels/cuda/conv_gemm_copy.cuh"
#include "kernels/cuda/conv_gemm_kernel.h"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {

// First of the 8 channels of the warp's fragment n.
template <class Tile>
__device__ int FirstOutput(const ConvGemmPlace& place, int n) {
  const int warp = threadIdx.x / 32 % Tile::kWarpsN;
  return place.output_tile * Tile::kOutputs + (warp * Tile::kFragmentsN + n) * 8;
}

template <class Tile>
__device__ void StartFromBias(const ConvGemmArgs& args, const ConvGemmPlace& place,
                              float (&sums)[Tile::kFragmentsM][Tile::kFragmentsN][4]) {
#pragma unroll
  for (int n = 0; n < Tile::kFragmentsN; ++n) {
    const int output = FirstOutput<Tile>(place, n) + threadIdx.x % 4 * 2;
    const bool has_bias = args.bias != nullptr && output < args.out_channels;
    const float bias0 = has_bias ? args.bias[output] : 0,
                bias1 = has_bias ? args.bias[output + 1] : 0;
#pragma unroll
    for (int m = 0; m < Tile::kFragmentsM; ++m) {
      sums[m][n][0] = sums[m][n][2] = bias0;
      sums[m][n][1] = sums[m][n][3] = bias1;
    }
  }
}

// Of a row of 32 floats in shared memory, where the 16-byte segment s stands. A half of a warp that
// writes pairs of 4 rows, and a quarter that reads every other segment of 2 rows, touch no bank
// twice.
__device__ inline int StagedSegment(int row, int segment) {
  return row * 8 + (segment ^ ((row & 3) << 1 | (row & 1)));
}

// Stages two channels of the warp's fragment n, of the four that 32 channels make.
__device__ inline void StagePair(float4* rows, int row, int n, float first, float second) {
  const int lane = threadIdx.x % 32;
  const int at = StagedSegment(row, n * 2 + lane % 4 / 2) * 2 + lane % 2;
  reinterpret_cast<float2*>(rows)[at] = make_float2(first, second);
}

// Channels 32 * part to 32 * part + 31 of the warp's sums, to rows of 32 floats in its own part of
// shared memory.
template <class Tile>
__device__ void Stage(const float (&sums)[Tile::kFragmentsM][Tile::kFragmentsN][4], int part,
                      float4* rows) {
  const int row = threadIdx.x % 32 / 4;
#pragma unroll
  for (int m = 0; m < Tile::kFragmentsM; ++m) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const float(&sum)[4] = sums[m][part * 4 + n];
      StagePair(rows, m * 16 + row, n, sum[0], sum[1]);
      StagePair(rows, m * 16 + 8 + row, n, sum[2], sum[3]);
    }
  }
}

// A lane stores 16 bytes; the lanes that 32 channels take of a row.
template <class T>
inline constexpr int kLanesARow = 32 / kVectorWidth<T>;

// The channels of a row that lane `part` of it stores: a segment of floats, or two that become one
// of a narrower type.
template <class T>
__device__ void ReadStaged(const float4* rows, int row, int part,
                           float (&values)[kVectorWidth<T>]) {
  if constexpr (kVectorWidth<T> == 4) {
    const float4 all = rows[StagedSegment(row, part)];
    values[0] = all.x, values[1] = all.y, values[2] = all.z, values[3] = all.w;
  } else {
    const float4 low = rows[StagedSegment(row, part * 2)];
    const float4 high = rows[StagedSegment(row, part * 2 + 1)];
    values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
    values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
  }
}

template <class T>
__device__ void StoreVector(T* to, const float (&values)[kVectorWidth<T>], bool relu, bool add,
                            const T* mask = nullptr) {
  Vector<T, kVectorWidth<T>> out, kept;
  if (add) out = Load<kVectorWidth<T>>(to);
  if (mask != nullptr) kept = Load<kVectorWidth<T>>(mask);
#pragma unroll
  for (int i = 0; i < kVectorWidth<T>; ++i) {
    float value = values[i];
    if (add) value += ToFloat(out.at[i]);
    if (relu) value = MaxNan(value, 0);
    if (mask != nullptr && !(ToFloat(kept.at[i]) > 0)) value = 0;
    out.at[i] = FromFloat<T>(value);
  }
  Store(to, out);
}

// Writes or adds the block's sums, after the ReLU where wanted, and where the mask lets them
// through; rounded once.
template <class Tile, class T>
__device__ void StoreSums(const ConvGemmArgs& args, const ConvGemmPlace& place, uint8_t* shared,
                          const float (&sums)[Tile::kFragmentsM][Tile::kFragmentsN][4]) {
  constexpr int kRows = Tile::kFragmentsM * 16, kLanes = kLanesARow<T>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float4* rows = reinterpret_cast<float4*>(shared) + warp * kRows * 8;
  const int first_y = place.y + warp / Tile::kWarpsN * Tile::kFragmentsM;
#pragma unroll
  for (int part = 0; part < Tile::kFragmentsN / 4; ++part) {
    __syncwarp();
    Stage<Tile>(sums, part, rows);
    __syncwarp();
    const int output = FirstOutput<Tile>(place, part * 4) + lane % kLanes * kVectorWidth<T>;
#pragma unroll 4
    for (int row = lane / kLanes; row < kRows; row += 32 / kLanes) {
      const int y = first_y + row / 16, x = place.x + row % 16;
      if (y >= args.out_height || x >= args.out_width || output >= args.out_channels) continue;
      float values[kVectorWidth<T>];
      ReadStaged<T>(rows, row, lane % kLanes, values);
      const int64_t at =
          ((int64_t{place.image} * args.out_height + y) * args.out_width + x) * args.out_channels +
          output;
      const T* mask = args.mask == nullptr ? nullptr : static_cast<const T*>(args.mask) + at;
      StoreVector(static_cast<T*>(args.out) + at, values, args.relu, args.add, mask);
    }
  }
}

}  // namespace lseg::cuda
