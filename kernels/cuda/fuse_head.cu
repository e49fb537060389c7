// Bound by memory: the score maps are read (the largest once, the others from cache: a map of
// stride s counts 1/s^2), four bytes are written for every output wanted. A thread makes four
// neighbouring pixels of a few rows, so that the score pixels they share are loaded once: about 23
// loads for 4 outputs of 5 levels.
#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/math.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/fuse_head.h"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kRows = 4;  // of a thread, one after the other: their score rows are in the L1 cache

struct Head {
  FuseHeadParams params;
  FuseHeadArgs args;
};

__device__ int Clamp(int at, int size) { return min(max(at, 0), size - 1); }

__device__ float Blend(float before, float after, float share) {
  return before * (1.0f - share) + after * share;
}

// The weight of the later of two neighbours for the phase-th of `stride` pixels between them.
__device__ float Share(int phase, int stride) {
  return (static_cast<float>(phase) + 0.5f) / static_cast<float>(stride);
}

// One channel of one image in one level.
class ScorePlane {
 public:
  __device__ ScorePlane(const Head& head, int l, int64_t plane)
      : level_(head.params.level[l]), score_bias_(head.args.level[l].score_bias) {
    const Shape& dst = head.params.dst;
    const int64_t size = level_.height * level_.width;
    score_ = head.args.level[l].score + plane * size;
    partial_step_ = dst.n * dst.c * size;
    bias_ = score_bias_ == nullptr ? 0.0f : score_bias_[plane % dst.c];
  }

  // kWidth scores of a row that exist.
  template <int kWidth>
  __device__ Vector<float, kWidth> At(int row, int column) const {
    const float* from = score_ + row * level_.width + column;
    Vector<float, kWidth> sum = Load<kWidth>(from);
    for (int p = 1; p < level_.partials; ++p) {
      const Vector<float, kWidth> more = Load<kWidth>(from + p * partial_step_);
      for (int i = 0; i < kWidth; ++i) sum.at[i] += more.at[i];
    }
    for (float& value : sum.at) value += bias_;
    return sum;
  }

  // Rows row - 1 and row, blended, in one column; zeros beyond the border. What is read in their
  // place is one of the scores that are read anyway, so that this changes nothing for a NaN.
  __device__ float Blended(int row, float share, int column) const {
    const int height = static_cast<int>(level_.height), width = static_cast<int>(level_.width);
    const float above = row > 0 ? 1.0f - share : 0.0f, here = row < height ? share : 0.0f;
    const int x = Clamp(column, width);
    const float sum =
        above * At<1>(Clamp(row - 1, height), x).at[0] + here * At<1>(Clamp(row, height), x).at[0];
    return x == column ? sum : 0.0f;
  }

  __device__ bool HasVectors(int column) const {
    return (reinterpret_cast<uintptr_t>(score_) & 15) == 0 && column % 4 == 0 &&
           level_.width % 4 == 0 && (level_.partials == 1 || partial_step_ % 4 == 0);
  }

 private:
  const FuseHeadParams::Level& level_;
  const float* score_bias_;
  const float* score_;
  int64_t partial_step_;
  float bias_;
};

// Pixels of a side map from (v, u) of the upsampled map on, each by itself.
template <int kWidth>
__device__ void UpsampleEach(const ScorePlane& plane, int stride, int v, int u,
                             float (&side)[kWidth]) {
#pragma unroll  // so that `side` stays in registers
  for (int i = 0; i < kWidth; ++i) {
    const int row = v / stride, column = (u + i) / stride;
    const float share = Share(v % stride, stride);
    side[i] = Blend(plane.Blended(row, share, column - 1), plane.Blended(row, share, column),
                    Share((u + i) % stride, stride));
  }
}

// Where four pixels begin in a cell, the `stride` pixels between two score pixels, when the crop's
// offset is half the stride: known for short strides; for others a multiple of four.
__device__ constexpr int PhaseOf(int stride) { return stride <= 4 ? stride / 2 : 0; }

// Four pixels whose phase is PhaseOf: the score pixels they share are read once.
template <int kStride>
__device__ void Upsample4(const ScorePlane& plane, int v, int u, float (&side)[4]) {
  constexpr int kColumns = (PhaseOf(kStride) + 3) / kStride + 2;
  const int row = v / kStride, column = u / kStride;
  float blended[kColumns];
  for (int k = 0; k < kColumns; ++k) {
    blended[k] = plane.Blended(row, Share(v % kStride, kStride), column - 1 + k);
  }
  const int phase = kStride <= 4 ? PhaseOf(kStride) : u % kStride;
  for (int i = 0; i < 4; ++i) {
    const int cell = (PhaseOf(kStride) + i) / kStride;
    side[i] = Blend(blended[cell], blended[cell + 1], Share(phase + i - cell * kStride, kStride));
  }
}

template <int kWidth>
__device__ void SidePixels(const Head& head, int l, int64_t plane, int y, int x,
                           float (&side)[kWidth]) {
  const FuseHeadParams::Level& level = head.params.level[l];
  const ScorePlane scores(head, l, plane);
  const int stride = static_cast<int>(level.stride);
  const int v = y + static_cast<int>(level.offset_h), u = x + static_cast<int>(level.offset_w);
  if constexpr (kWidth == 4) {
    if (stride == 1 && scores.HasVectors(u)) {
      const Vector<float, 4> row = scores.At<4>(v, u);
      for (int i = 0; i < 4; ++i) side[i] = row.at[i];
      return;
    }
    if (u % min(stride, 4) == PhaseOf(stride)) {
      if (stride == 2) return Upsample4<2>(scores, v, u, side);
      if (stride == 4) return Upsample4<4>(scores, v, u, side);
      if (stride == 8) return Upsample4<8>(scores, v, u, side);
      if (stride == 16) return Upsample4<16>(scores, v, u, side);
    }
  }
  if (stride == 1) {
    for (int i = 0; i < kWidth; ++i) side[i] = scores.At<1>(v, u + i).at[0];
  } else {
    UpsampleEach(scores, stride, v, u, side);
  }
}

template <int kWidth>
__device__ void StorePixels(float* to, int64_t at, const float (&values)[kWidth], bool sigmoid) {
  if (to == nullptr) return;
  Vector<float, kWidth> v;
  for (int i = 0; i < kWidth; ++i) v.at[i] = sigmoid ? Sigmoid(values[i]) : values[i];
  Store(to + at, v);
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads) Fuse(const __grid_constant__ Head head) {
  const FuseHeadParams& p = head.params;
  const FuseHeadArgs& args = head.args;
  const Shape& dst = p.dst;
  const int x = (blockIdx.x * kThreads + threadIdx.x) * kWidth;
  if (x >= dst.w) return;
  for (int64_t plane = blockIdx.z; plane < dst.n * dst.c; plane += gridDim.z) {
    const int64_t c = plane % dst.c;
    for (int y = blockIdx.y * kRows; y < min((blockIdx.y + 1) * int64_t{kRows}, dst.h); ++y) {
      const int64_t at = (plane * dst.h + y) * dst.w + x;
      float fused[kWidth];
      for (float& value : fused) value = args.bias == nullptr ? 0.0f : args.bias[c];
      for (int l = 0; l < p.levels; ++l) {
        float side[kWidth];
        SidePixels(head, l, plane, y, x, side);
        const float* bias = args.level[l].side_bias;
        const float weight = args.weight[c * p.levels + l];
        for (int i = 0; i < kWidth; ++i) {
          if (bias != nullptr) side[i] += bias[c];
          fused[i] += weight * side[i];
        }
        StorePixels(args.level[l].side, at, side, false);
        StorePixels(args.level[l].side_probability, at, side, true);
      }
      StorePixels(args.fused, at, fused, false);
      StorePixels(args.probability, at, fused, true);
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
    largest = std::max({largest, level.Upsampled(level.height), level.Upsampled(level.width)});
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
