// Bound by memory: the score maps are read (the largest once, the others from cache: a map of
// stride s counts 1/s^2), four bytes are written for every output wanted. A block makes a tile of
// one plane. The scores that its pixels are blended from lie in shared memory, partial sums added
// up; a thread goes down its columns and blends a row of scores once for all its pixels that need
// it. Some 90 instructions a pixel of L-Seg's 5 levels, which take about as long as its 8 bytes.
#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/math.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/fuse_head.h"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kRows = 8;  // of a thread; a warp makes so many rows of 32 kWidth pixels
constexpr int kTileRows = kThreads / 32 * kRows;
constexpr int kMostExtent = 1 << 25;  // of an upsampled map
static_assert(FuseHeadParams::kMaxStride * kMostExtent <= int64_t{1} << 32);

// The quotient of a number by one that the host knows: exact for numbers up to 2^32 / value.
struct Divisor {
  int value = 2;  // above 1
  uint32_t reciprocal = 1u << 31;

  Divisor() = default;
  explicit Divisor(int64_t number)
      : value(static_cast<int>(number)),
        reciprocal(static_cast<uint32_t>((int64_t{1} << 32) / number + 1)) {}
  __device__ int Quotient(int number) const {
    return static_cast<int>(__umulhi(static_cast<uint32_t>(number), reciprocal));
  }
};

// The part of a score map that a tile is blended from: it begins one before the row and the column
// of the tile's first pixel.
struct Patch {
  int at = 0;  // of its first score among the block's
  int rows = 0;
  Divisor columns, stride;
  float step = 0;  // 1 / stride
};

struct Head {
  FuseHeadParams params;
  FuseHeadArgs args;
  Patch patch[FuseHeadParams::kMaxLevels];  // of levels with a stride above 1
};

// What a thread makes: kRows x kWidth pixels of one plane.
template <int kWidth>
struct Tile {
  int plane, channel, y, x;
  float fused[kRows][kWidth];
};

// The weight of the later of two neighbours for the phase-th of the pixels between them.
__device__ float Share(int phase, float step) { return (static_cast<float>(phase) + 0.5f) * step; }

// One channel of one image in one level.
struct ScorePlane {
  const float* score;
  int64_t partial_step;
  int height, width, partials;
  float bias;

  __device__ ScorePlane(const Head& head, int l, int plane, int channel)
      : height(static_cast<int>(head.params.level[l].height)),
        width(static_cast<int>(head.params.level[l].width)),
        partials(static_cast<int>(head.params.level[l].partials)) {
    const int size = height * width;
    const float* biases = head.args.level[l].score_bias;
    score = head.args.level[l].score + int64_t{plane} * size;
    partial_step = head.params.dst.n * head.params.dst.c * size;
    bias = biases == nullptr ? 0.0f : biases[channel];
  }

  // One that exists, at = row * width + column.
  __device__ float At(int at) const {
    const float* from = score + at;
    float sum = *from;
#pragma unroll 4
    for (int p = 1; p < partials; ++p) {
      from += partial_step;
      sum += *from;
    }
    return sum + bias;
  }
  __device__ bool HasVectors(int column) const {
    return (reinterpret_cast<uintptr_t>(score) & 15) == 0 && column % 4 == 0 && width % 4 == 0 &&
           (partials == 1 || partial_step % 4 == 0);
  }
};

// The patches of the tile at (top, left), zeros where a map has no score.
__device__ void LoadPatches(const Head& head, int plane, int channel, int top, int left,
                            float* patches) {
#pragma unroll 1
  for (int l = 0; l < head.params.levels; ++l) {
    const FuseHeadParams::Level& level = head.params.level[l];
    const Patch& patch = head.patch[l];
    if (level.stride == 1) continue;
    const ScorePlane scores(head, l, plane, channel);
    const int first_row = patch.stride.Quotient(top + static_cast<int>(level.offset_h)) - 1;
    const int first_column = patch.stride.Quotient(left + static_cast<int>(level.offset_w)) - 1;
    const int count = patch.rows * patch.columns.value;
#pragma unroll 1
    for (int i = threadIdx.x; i < count; i += kThreads) {
      const int r = patch.columns.Quotient(i);
      const int row = first_row + r, column = first_column + i - r * patch.columns.value;
      float score = 0;
      // Negative numbers are large ones without a sign.
      if (static_cast<uint32_t>(row) < static_cast<uint32_t>(scores.height) &&
          static_cast<uint32_t>(column) < static_cast<uint32_t>(scores.width)) {
        score = scores.At(row * scores.width + column);
      }
      patches[patch.at + i] = score;
    }
  }
}

template <int kWidth>
__device__ void StorePixels(float* to, int64_t at, const float (&values)[kWidth], bool sigmoid) {
  if (to == nullptr) return;
  Vector<float, kWidth> v;
  for (int i = 0; i < kWidth; ++i) v.at[i] = sigmoid ? SigmoidBothWays(values[i]).p : values[i];
  Store(to + at, v);
}

// A level that is not upsampled, but for its bias. The loads of all rows are under way at once;
// rows below the image are read from its last one.
template <int kWidth, int kVector>
__device__ void AddMap(const Head& head, const ScorePlane& scores, int l, float weight,
                       Tile<kWidth>& tile) {
  const FuseHeadParams::Level& level = head.params.level[l];
  const int last = static_cast<int>(head.params.dst.h) - 1;
  const float* from = scores.score + tile.x + level.offset_w;
#pragma unroll 1
  for (int p = 0; p < scores.partials; ++p, from += scores.partial_step) {
    Vector<float, kWidth> rows[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int v = min(tile.y + r, last) + static_cast<int>(level.offset_h);
#pragma unroll
      for (int i = 0; i < kWidth; i += kVector) {
        const Vector<float, kVector> some = Load<kVector>(from + v * scores.width + i);
        for (int k = 0; k < kVector; ++k) rows[r].at[i + k] = some.at[k];
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < kWidth; ++i) tile.fused[r][i] += weight * rows[r].at[i];
    }
  }
}

// A level that is, from its patch. Each pixel lies between two columns and two rows.
template <int kWidth>
__device__ void AddUpsampled(const Head& head, int l, float weight, int top, int left,
                             const float* patches, Tile<kWidth>& tile) {
  const FuseHeadParams::Level& level = head.params.level[l];
  const Patch& patch = head.patch[l];
  const int stride = patch.stride.value;
  const int offset_h = static_cast<int>(level.offset_h),
            offset_w = static_cast<int>(level.offset_w);

  int column[kWidth];  // of the patch, the left one
  float share[kWidth];
  const int u = tile.x + offset_w, v = tile.y + offset_h;
  int at = patch.stride.Quotient(u), phase = u - at * stride;
  at -= patch.stride.Quotient(left + offset_w);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    column[i] = at;
    share[i] = Share(phase, patch.step);
    const bool next = ++phase == stride;
    at += next;
    phase = next ? 0 : phase;
  }
  const auto blend = [&](const float* row, float(&blended)[kWidth]) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      blended[i] = (1.0f - share[i]) * row[column[i]] + share[i] * row[column[i] + 1];
    }
  };

  const int from = patch.stride.Quotient(v);
  phase = v - from * stride;
  const float* row =
      patches + patch.at + (from - patch.stride.Quotient(top + offset_h)) * patch.columns.value;
  float above[kWidth], here[kWidth];
  blend(row, above);
  blend(row + patch.columns.value, here);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float share_here = Share(phase, patch.step), share_above = 1.0f - share_here;
    const float weight_above = weight * share_above, weight_here = weight * share_here;
    for (int i = 0; i < kWidth; ++i) {
      tile.fused[r][i] += weight_above * above[i];
      tile.fused[r][i] += weight_here * here[i];
    }
    if (r + 1 == kRows || ++phase < stride) continue;
    phase = 0;
    row += patch.columns.value;
    for (int i = 0; i < kWidth; ++i) above[i] = here[i];
    blend(row + patch.columns.value, here);
  }
}

// The biases of a channel, each as often as a pixel has it; scores' biases, where they are
// upsampled, are in the patches.
__device__ float OffsetOf(const Head& head, int channel) {
  const FuseHeadArgs& args = head.args;
  float offset = args.bias == nullptr ? 0.0f : args.bias[channel];
#pragma unroll 1
  for (int l = 0; l < head.params.levels; ++l) {
    const FuseHeadArgs::Level& level = args.level[l];
    float bias = level.side_bias == nullptr ? 0.0f : level.side_bias[channel];
    if (head.params.level[l].stride == 1 && level.score_bias != nullptr) {
      bias += level.score_bias[channel];
    }
    offset += args.weight[channel * head.params.levels + l] * bias;
  }
  return offset;
}

// The levels that are not upsampled.
template <int kWidth>
__device__ void AddMaps(const Head& head, const float* weight, Tile<kWidth>& tile) {
  if (tile.x >= head.params.dst.w) return;
#pragma unroll 1
  for (int l = 0; l < head.params.levels; ++l) {
    if (head.params.level[l].stride != 1) continue;
    const ScorePlane scores(head, l, tile.plane, tile.channel);
    if (scores.HasVectors(tile.x + static_cast<int>(head.params.level[l].offset_w))) {
      AddMap<kWidth, kWidth>(head, scores, l, weight[l], tile);
    } else {
      AddMap<kWidth, 1>(head, scores, l, weight[l], tile);
    }
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads) Fuse(const __grid_constant__ Head head) {
  extern __shared__ float patches[];
  const FuseHeadArgs& args = head.args;
  const Shape& dst = head.params.dst;
  const int levels = head.params.levels;
  const int left = blockIdx.x * 32 * kWidth, top = blockIdx.y * kTileRows;
  Tile<kWidth> tile;
  tile.x = left + threadIdx.x % 32 * kWidth;
  tile.y = top + threadIdx.x / 32 * kRows;
  const int channels = static_cast<int>(dst.c), planes = static_cast<int>(dst.n) * channels;
  for (tile.plane = blockIdx.z; tile.plane < planes; tile.plane += gridDim.z) {
    tile.channel = tile.plane % channels;
    LoadPatches(head, tile.plane, tile.channel, top, left, patches);
    const float offset = OffsetOf(head, tile.channel);
    for (auto& row : tile.fused) {
      for (float& value : row) value = offset;
    }
    const float* weight = args.weight + tile.channel * levels;
    AddMaps(head, weight, tile);
    __syncthreads();
#pragma unroll 1
    for (int l = 0; l < levels; ++l) {
      if (head.params.level[l].stride == 1) continue;
      AddUpsampled(head, l, weight[l], top, left, patches, tile);
    }
    __syncthreads();  // the patches of the next plane take this one's place
    if (tile.x >= dst.w) continue;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (tile.y + r >= dst.h) break;
      const int64_t at = (int64_t{tile.plane} * dst.h + tile.y + r) * dst.w + tile.x;
      StorePixels(args.fused, at, tile.fused[r], false);
      StorePixels(args.probability, at, tile.fused[r], true);
    }
  }
}

void CheckSize(const FuseHeadParams& params) {
  int64_t largest = std::max(params.dst.w, params.dst.h);
  bool fits = params.dst.n * params.dst.c < INT32_MAX / 2;
  for (int l = 0; l < params.levels; ++l) {
    const FuseHeadParams::Level& level = params.level[l];
    largest = std::max({largest, level.Upsampled(level.height), level.Upsampled(level.width)});
    fits = fits && level.height * level.width < INT32_MAX / 2;
  }
  LSEG_CHECK(fits && largest <= kMostExtent - 256 && CeilDiv(params.dst.h, kTileRows) <= 65535,
             "fused head on a GPU: an image of " << params.dst.h << "x" << params.dst.w
                                                 << " is too large");
}

// Floats of shared memory of a block whose tile is `width` pixels wide: 9504 at most, with 8 levels
// of stride 2, which every GPU has.
int PlacePatches(int width, Head& head) {
  const auto extent = [](int pixels, int64_t stride) { return CeilDiv(pixels - 1, stride) + 2; };
  int floats = 0;
  for (int l = 0; l < head.params.levels; ++l) {
    const int64_t stride = head.params.level[l].stride;
    if (stride == 1) continue;
    Patch& patch = head.patch[l];
    patch.at = floats;
    patch.rows = static_cast<int>(extent(kTileRows, stride));
    patch.columns = Divisor(extent(width, stride));
    patch.stride = Divisor(stride);
    patch.step = 1.0f / static_cast<float>(stride);
    floats += patch.rows * patch.columns.value;
  }
  return floats;
}

}  // namespace

void FuseHead(Context& context, const FuseHeadParams& params, const FuseHeadArgs& args) {
  CheckSize(params);
  const Shape& dst = params.dst;
  const bool vectors =
      dst.w % 4 == 0 && IsAligned(args.fused, 16) && IsAligned(args.probability, 16);
  const int width = vectors ? 128 : 32;
  Head head{params, args, {}};
  const size_t bytes = static_cast<size_t>(PlacePatches(width, head)) * sizeof(float);
  const dim3 grid(static_cast<unsigned>(CeilDiv(dst.w, width)),
                  static_cast<unsigned>(CeilDiv(dst.h, kTileRows)),
                  static_cast<unsigned>(std::min<int64_t>(dst.n * dst.c, 65535)));
  const auto kernel = vectors ? Fuse<4> : Fuse<1>;
  kernel<<<grid, kThreads, bytes, StreamOf(context)>>>(head);
  CheckLaunch("fused head");
}

}  // namespace lseg::cuda
