// Bound by memory: the score maps are read (the largest once, the others from cache: a map of
// stride s counts 1/s^2), four bytes are written for every output wanted. A thread makes four
// neighbouring pixels of four rows: where a score lies is found once a level, and the scores that
// neighbours share are loaded once a row, 23 loads for the 4 outputs of L-Seg's 5 levels.
#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/math.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/fuse_head.h"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kRows = 4;

struct Head {
  FuseHeadParams params;
  FuseHeadArgs args;
};

// What a thread makes: kRows x kWidth pixels of one plane.
template <int kWidth>
struct Tile {
  int64_t plane;
  int channel, y, x;
  float fused[kRows][kWidth];
};

__device__ int Clamp(int at, int size) { return min(max(at, 0), size - 1); }

// The weight of the later of two neighbours for the phase-th of `stride` pixels between them.
__device__ float Share(int phase, int stride) {
  return (static_cast<float>(phase) + 0.5f) / static_cast<float>(stride);
}

// One channel of one image in one level.
class ScorePlane {
 public:
  __device__ ScorePlane(const Head& head, int l, int64_t plane, int channel)
      : height(static_cast<int>(head.params.level[l].height)),
        width(static_cast<int>(head.params.level[l].width)),
        partials_(static_cast<int>(head.params.level[l].partials)) {
    const int64_t size = int64_t{height} * width;
    const float* bias = head.args.level[l].score_bias;
    score_ = head.args.level[l].score + plane * size;
    partial_step_ = head.params.dst.n * head.params.dst.c * size;
    bias_ = bias == nullptr ? 0.0f : bias[channel];
  }

  // kWidth scores that exist, from `at` = row * width + column on.
  template <int kWidth>
  __device__ Vector<float, kWidth> At(int at) const {
    Vector<float, kWidth> sum = Load<kWidth>(score_ + at);
#pragma unroll 1  // mostly there is one
    for (int p = 1; p < partials_; ++p) {
      const Vector<float, kWidth> more = Load<kWidth>(score_ + at + p * partial_step_);
      for (int i = 0; i < kWidth; ++i) sum.at[i] += more.at[i];
    }
    for (float& value : sum.at) value += bias_;
    return sum;
  }

  __device__ bool HasVectors(int column) const {
    return (reinterpret_cast<uintptr_t>(score_) & 15) == 0 && column % 4 == 0 && width % 4 == 0 &&
           (partials_ == 1 || partial_step_ % 4 == 0);
  }

  const int height, width;

 private:
  const int partials_;
  const float* score_;
  int64_t partial_step_;
  float bias_;
};

// Which score columns kWidth neighbouring pixels are blended from, and how. kStride 0: any, each
// pixel with two columns of its own. Else a crop at half the stride: four pixels at a multiple of
// four begin a known number of pixels behind a score, or, from stride 8 on, lie between the same
// two.
template <int kStride, int kWidth>
struct Columns {
  static constexpr int kPhase = kStride == 2 || kStride == 4 ? kStride / 2 : 0;
  static constexpr int kCount = kStride == 0 ? 2 * kWidth : (kPhase + kWidth - 1) / kStride + 2;
  __device__ static constexpr int Left(int pixel) {
    return kStride == 0 ? 2 * pixel : (kPhase + pixel) / kStride;
  }

  int at[kCount];
  // Weights of the two columns; 0 for one beyond the border. What is read in its place is the other
  // one, so that this changes nothing for a NaN.
  float left_weight[kWidth], right_weight[kWidth];

  __device__ Columns(int u, int stride, int width) {
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      at[k] = kStride == 0 ? (u + k / 2) / stride - 1 + k % 2 : u / stride - 1 + k;
    }
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float share = Share((u + i) % stride, stride);
      left_weight[i] = at[Left(i)] >= 0 ? 1.0f - share : 0.0f;
      right_weight[i] = at[Left(i) + 1] < width ? share : 0.0f;
    }
#pragma unroll
    for (int& column : at) column = Clamp(column, width);
  }
};

// kWidth pixels from (v, u) of a map that is not upsampled.
template <int kWidth>
__device__ void CopyRow(const ScorePlane& scores, int v, int u, bool vectors,
                        float (&side)[kWidth]) {
  const int at = v * scores.width + u;
  if (kWidth > 1 && vectors) {
    const Vector<float, kWidth> row = scores.At<kWidth>(at);
    for (int i = 0; i < kWidth; ++i) side[i] = row.at[i];
  } else {
    for (int i = 0; i < kWidth; ++i) side[i] = scores.At<1>(at + i).at[0];
  }
}

// kWidth pixels of row v of the upsampled map.
template <int kStride, int kWidth>
__device__ void BlendRow(const ScorePlane& scores, const Columns<kStride, kWidth>& columns, int v,
                         int stride, float (&side)[kWidth]) {
  const int row = v / stride;
  const float share = Share(v % stride, stride);
  const float above_weight = row > 0 ? 1.0f - share : 0.0f;
  const float here_weight = row < scores.height ? share : 0.0f;
  const int above = Clamp(row - 1, scores.height) * scores.width;
  const int here = Clamp(row, scores.height) * scores.width;
  float blended[Columns<kStride, kWidth>::kCount];
#pragma unroll
  for (int k = 0; k < columns.kCount; ++k) {
    blended[k] = above_weight * scores.At<1>(above + columns.at[k]).at[0] +
                 here_weight * scores.At<1>(here + columns.at[k]).at[0];
  }
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    side[i] = columns.left_weight[i] * blended[columns.Left(i)] +
              columns.right_weight[i] * blended[columns.Left(i) + 1];
  }
}

template <int kWidth>
__device__ void StorePixels(float* to, int64_t at, const float (&values)[kWidth], bool sigmoid) {
  if (to == nullptr) return;
  Vector<float, kWidth> v;
  for (int i = 0; i < kWidth; ++i) v.at[i] = sigmoid ? SigmoidBothWays(values[i]).p : values[i];
  Store(to + at, v);
}

// Adds a level to the tile, and stores its side map where that is wanted. kStride: 1, or as for
// Columns.
template <int kStride, int kWidth>
__device__ void AddLevelOf(const Head& head, int l, Tile<kWidth>& tile) {
  const FuseHeadParams::Level& level = head.params.level[l];
  const FuseHeadArgs::Level& args = head.args.level[l];
  const Shape& dst = head.params.dst;
  const int stride = kStride == 0 ? static_cast<int>(level.stride) : kStride;
  const int u = tile.x + static_cast<int>(level.offset_w);
  const ScorePlane scores(head, l, tile.plane, tile.channel);
  const Columns<kStride, kWidth> columns(u, stride, scores.width);
  const bool vectors = kStride == 1 && scores.HasVectors(u);
  const float weight = head.args.weight[tile.channel * head.params.levels + l];
  const float bias = args.side_bias == nullptr ? 0.0f : args.side_bias[tile.channel];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int y = tile.y + r;
    if (y >= dst.h) break;
    const int v = y + static_cast<int>(level.offset_h);
    float side[kWidth];
    if constexpr (kStride == 1) {
      CopyRow(scores, v, u, vectors, side);
    } else {
      BlendRow(scores, columns, v, stride, side);
    }
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      side[i] += bias;
      tile.fused[r][i] += weight * side[i];
    }
    const int64_t at = (tile.plane * dst.h + y) * dst.w + tile.x;
    StorePixels(args.side, at, side, false);
    StorePixels(args.side_probability, at, side, true);
  }
}

template <int kWidth>
__device__ void AddLevel(const Head& head, int l, Tile<kWidth>& tile) {
  const int64_t stride = head.params.level[l].stride;
  if (stride == 1) return AddLevelOf<1>(head, l, tile);
  if constexpr (kWidth == 4) {
    if (head.params.level[l].offset_w * 2 == stride) {
      if (stride == 2) return AddLevelOf<2>(head, l, tile);
      if (stride == 4) return AddLevelOf<4>(head, l, tile);
      if (stride == 8) return AddLevelOf<8>(head, l, tile);
      if (stride == 16) return AddLevelOf<16>(head, l, tile);
    }
  }
  AddLevelOf<0>(head, l, tile);
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads) Fuse(const __grid_constant__ Head head) {
  const FuseHeadArgs& args = head.args;
  const Shape& dst = head.params.dst;
  Tile<kWidth> tile;
  tile.x = (blockIdx.x * kThreads + threadIdx.x) * kWidth;
  tile.y = blockIdx.y * kRows;
  if (tile.x >= dst.w) return;
  for (tile.plane = blockIdx.z; tile.plane < dst.n * dst.c; tile.plane += gridDim.z) {
    tile.channel = static_cast<int>(tile.plane % dst.c);
    const float bias = args.bias == nullptr ? 0.0f : args.bias[tile.channel];
    for (auto& row : tile.fused) {
      for (float& value : row) value = bias;
    }
    for (int l = 0; l < head.params.levels; ++l) AddLevel(head, l, tile);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (tile.y + r >= dst.h) break;
      const int64_t at = (tile.plane * dst.h + tile.y + r) * dst.w + tile.x;
      StorePixels(args.fused, at, tile.fused[r], false);
      StorePixels(args.probability, at, tile.fused[r], true);
    }
  }
}

bool OutputsAreAligned(const FuseHeadParams& params, const FuseHeadArgs& args) {
  bool aligned = IsAligned(args.fused, 16) && IsAligned(args.probability, 16);
  for (int l = 0; l < params.levels; ++l) {
    const FuseHeadArgs::Level& level = args.level[l];
    aligned = aligned && IsAligned(level.side, 16) && IsAligned(level.side_probability, 16);
  }
  return aligned;
}

void CheckSize(const FuseHeadParams& params) {
  int64_t largest = params.dst.w;
  for (int l = 0; l < params.levels; ++l) {
    const FuseHeadParams::Level& level = params.level[l];
    largest = std::max({largest, level.Upsampled(level.height), level.Upsampled(level.width),
                        level.height * level.width});
  }
  LSEG_CHECK(largest < INT32_MAX / 2 && CeilDiv(params.dst.h, kRows) <= 65535,
             "fused head on a GPU: an image of " << params.dst.h << "x" << params.dst.w
                                                 << " is too large");
}

}  // namespace

void FuseHead(Context& context, const FuseHeadParams& params, const FuseHeadArgs& args) {
  CheckSize(params);
  const Shape& dst = params.dst;
  const bool vectors = dst.w % 4 == 0 && OutputsAreAligned(params, args);
  const dim3 grid(static_cast<unsigned>(CeilDiv(dst.w, kThreads * (vectors ? 4 : 1))),
                  static_cast<unsigned>(CeilDiv(dst.h, kRows)),
                  static_cast<unsigned>(std::min<int64_t>(dst.n * dst.c, 65535)));
  const auto launch = [&](auto kernel) {
    kernel<<<grid, kThreads, 0, StreamOf(context)>>>(Head{params, args});
  };
  vectors ? launch(Fuse<4>) : launch(Fuse<1>);
  CheckLaunch("fused head");
}

}  // namespace lseg::cuda
