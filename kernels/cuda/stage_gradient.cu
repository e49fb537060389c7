// Bound by memory: 4 bytes a channel and pixel in 16 bits (the map read, its gradient written), and
// a half for what comes from the pooling. A thread keeps the weights of the channels of its 16
// bytes and the sums of their gradients in registers, and walks over windows of 2x2 pixels, all of
// whose loads are under way at once. Gradients of weights: see conv_partials.cuh.
#include "kernels/cuda/conv_partials.cuh"
#include "kernels/cuda/conv_score_sums.cuh"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/stage_gradient.h"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kBlocks = 3;  // a multiprocessor; what the registers of 4 scores allow

template <class T>
using Layout = ScoreLayout<kThreads, kVectorWidth<T>>;

static_assert(StageGradientParams::kMostChannels / kVectorWidth<float> <= kThreads);

struct Geometry {
  int height, width, channels, scores;
  int rows, columns;  // of windows
  int windows;        // of all images
  bool relu;
};

// Windows `step` apart, in their order, without a division each.
struct Walk {
  int at, image, row, column;
  int step, step_rows, step_columns;

  __device__ Walk(const Geometry& g, int first, int step)
      : at(first), step(step), step_rows(step / g.columns), step_columns(step % g.columns) {
    column = at % g.columns;
    row = at / g.columns % g.rows;
    image = at / g.columns / g.rows;
  }
  __device__ void Next(const Geometry& g) {
    at += step;
    column += step_columns;
    row += step_rows;
    if (column >= g.columns) column -= g.columns, ++row;
    while (row >= g.rows) row -= g.rows, ++image;
  }
};

// A window's place. At an odd border its missing pixels are read from those that there are.
struct Window {
  int image, first;         // the upper left pixel, within its image
  int down = 0, right = 0;  // pixels to the lower, and to the right ones; 0: there are none

  __device__ Window(const Geometry& g, const Walk& walk) : image(walk.image) {
    const int y = walk.row * 2, x = walk.column * 2;
    first = y * g.width + x;
    if (y + 1 < g.height) down = g.width;
    if (x + 1 < g.width) right = 1;
  }
  __device__ bool Has(int pixel) const {
    return (pixel / 2 == 0 || down > 0) && (pixel % 2 == 0 || right > 0);
  }
  // The pixel's place within its image.
  __device__ int Pixel(int pixel) const {
    return first + (pixel / 2 == 0 ? 0 : down) + (pixel % 2 == 0 ? 0 : right);
  }
};

// d_score of all outputs at the window's pixels, zeros where there is none; beyond the last output
// that one's again, which nobody needs. kPairs: the two of a row lie at a multiple of 8 bytes.
template <int kScores, bool kPairs>
__device__ void LoadScores(const Geometry& g, const Window& window, const float* d_score,
                           float (&gradients)[4][kScores]) {
  const int plane = g.height * g.width;
  const float* from = d_score + int64_t{window.image} * g.scores * plane;
#pragma unroll
  for (int k = 0; k < kScores; ++k) {
    const int begin = min(k, g.scores - 1) * plane;
#pragma unroll
    for (int pixel = 0; pixel < 4; pixel += 2) {
      if constexpr (kPairs) {
        const Vector<float, 2> pair = Load<2>(from + begin + window.Pixel(pixel));
        gradients[pixel][k] = pair.at[0];
        gradients[pixel + 1][k] = pair.at[1];
      } else {
        gradients[pixel][k] = from[begin + window.Pixel(pixel)];
        gradients[pixel + 1][k] = from[begin + window.Pixel(pixel + 1)];
      }
    }
  }
  if (window.down > 0 && window.right > 0) return;
#pragma unroll
  for (int pixel = 1; pixel < 4; ++pixel) {
#pragma unroll
    for (int k = 0; k < kScores; ++k) {
      if (!window.Has(pixel)) gradients[pixel][k] = 0;
    }
  }
}

template <class T>
struct Maps {
  const T* map;
  const T* d_pooled;
  const uint8_t* argmax;
  T* d_map;
};

// partials: [block][scores * channels, then scores].
template <class T, int kScores, bool kPooled, bool kPairs>
__global__ void __launch_bounds__(kThreads, kScores == 4 ? kBlocks : 2)
    StageGradients(const Geometry g, const Layout<T> layout, const Maps<T> maps,
                   const float* __restrict__ d_score, const float* __restrict__ weight,
                   float* __restrict__ partials) {
  constexpr int kWidth = kVectorWidth<T>;
  const int slot = threadIdx.x / layout.segments;
  const int channel = threadIdx.x % layout.segments * kWidth;
  float w[kScores][kWidth], sums[kScores][kWidth] = {}, bias[kScores] = {};
#pragma unroll
  for (int k = 0; k < kScores; ++k) {
#pragma unroll
    for (int i = 0; i < kWidth; i += 4) {
      Vector<float, 4> some = {};
      if (slot < layout.slots && k < g.scores) {
        some = Load<4>(weight + k * g.channels + channel + i);
      }
      for (int j = 0; j < 4; ++j) w[k][i + j] = some.at[j];
    }
  }
  Walk walk(g, blockIdx.x * layout.slots + slot, gridDim.x * layout.slots);
#pragma unroll 1
  for (; slot < layout.slots && walk.at < g.windows; walk.Next(g)) {
    const Window window(g, walk);
    const int64_t image = int64_t{window.image} * g.height * g.width * g.channels + channel;
    float gradients[4][kScores];
    Vector<T, kWidth> map[4], d_pooled = {};
    Vector<uint8_t, kWidth> argmax = {};
    LoadScores<kScores, kPairs>(g, window, d_score, gradients);
#pragma unroll
    for (int pixel = 0; pixel < 4; ++pixel) {
      map[pixel] = Load<kWidth>(maps.map + image + int64_t{window.Pixel(pixel)} * g.channels);
    }
    if constexpr (kPooled) {
      d_pooled = Load<kWidth>(maps.d_pooled + int64_t{walk.at} * g.channels + channel);
      argmax = Load<kWidth>(maps.argmax + int64_t{walk.at} * g.channels + channel);
    }
#pragma unroll
    for (int pixel = 0; pixel < 4; ++pixel) {
      Vector<T, kWidth> d_map;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        const float value = ToFloat(map[pixel].at[i]);
        float sum = kPooled && argmax.at[i] == pixel ? ToFloat(d_pooled.at[i]) : 0.0f;
#pragma unroll
        for (int k = 0; k < kScores; ++k) {
          sum = fmaf(w[k][i], gradients[pixel][k], sum);
          sums[k][i] = fmaf(gradients[pixel][k], value, sums[k][i]);
        }
        const bool alive = !g.relu | (value > 0);  // no branch for it
        d_map.at[i] = FromFloat<T>(alive ? sum : 0.0f);
      }
#pragma unroll
      for (int k = 0; k < kScores; ++k) bias[k] += gradients[pixel][k];
      if (window.Has(pixel)) {
        Store(maps.d_map + image + int64_t{window.Pixel(pixel)} * g.channels, d_map);
      }
    }
  }
  WriteScoreSums(layout, g.channels, g.scores, sums, bias,
                 partials + static_cast<int64_t>(blockIdx.x) * g.scores * (g.channels + 1));
}

Geometry GeometryOf(const StageGradientParams& p) {
  const Shape pooled = p.Pooled();
  LSEG_CHECK(p.map.n * p.map.h * p.map.w <= INT32_MAX / 4,
             "a stage's gradient on a GPU: a map of " << ToString(p.map) << " is too large");
  return {static_cast<int>(p.map.h),
          static_cast<int>(p.map.w),
          static_cast<int>(p.map.c),
          static_cast<int>(p.scores),
          static_cast<int>(pooled.h),
          static_cast<int>(pooled.w),
          static_cast<int>(p.map.n * pooled.h * pooled.w),
          p.relu};
}

template <class T>
unsigned GridOf(const Context& context, const Geometry& g) {
  constexpr int kWindows = 8;  // of a slot, at least, if there are as many: a block's end costs so
  return GridFor(context, CeilDiv(g.windows, Layout<T>(g.channels).slots), kWindows, kBlocks);
}

template <class T, int kScores>
void Launch(Context& context, const Geometry& g, bool pooled, const StageGradientArgs& args) {
  const Maps<T> maps = {static_cast<const T*>(args.map), static_cast<const T*>(args.d_pooled),
                        args.argmax, static_cast<T*>(args.d_map)};
  const unsigned grid = GridOf<T>(context, g);
  auto* partials = static_cast<float*>(args.workspace);
  const auto launch = [&](auto kernel) {
    kernel<<<grid, kThreads, 0, StreamOf(context)>>>(g, Layout<T>(g.channels), maps, args.d_score,
                                                     args.weight, partials);
  };
  if (g.width % 2 == 0 && IsAligned(args.d_score, 8)) {
    pooled ? launch(StageGradients<T, kScores, true, true>)
           : launch(StageGradients<T, kScores, false, true>);
  } else {
    pooled ? launch(StageGradients<T, kScores, true, false>)
           : launch(StageGradients<T, kScores, false, false>);
  }
  CheckLaunch("StageGradients");
  const WeightsThenBias target = {int64_t{g.scores} * g.channels, args.d_weight, args.d_bias};
  RunSumPartials(context, partials, static_cast<int>(grid), int64_t{g.scores} * (g.channels + 1),
                 target, args.d_weight_mode == GradMode::kAdd);
}

}  // namespace

int64_t StageGradientWorkspace(const Context& context, const StageGradientParams& params) {
  const Geometry g = GeometryOf(params);
  int64_t blocks = 0;
  WithElementType(params.dtype,
                  [&](auto element) { blocks = GridOf<decltype(element)>(context, g); });
  return blocks * g.scores * (g.channels + 1) * static_cast<int64_t>(sizeof(float));
}

void StageGradient(Context& context, const StageGradientParams& params,
                   const StageGradientArgs& args) {
  const Geometry g = GeometryOf(params);
  for (const void* vectors :
       {args.map, static_cast<const void*>(args.d_map), args.d_pooled,
        static_cast<const void*>(args.argmax), static_cast<const void*>(args.weight)}) {
    LSEG_CHECK(IsAligned(vectors, 16),
               "a stage's gradient on a GPU takes 16 bytes at a time: maps "
               "and weights must be aligned to that");
  }
  WithElementType(params.dtype, [&](auto element) {
    using T = decltype(element);
    if (g.scores <= 4) {
      Launch<T, 4>(context, g, params.pooled, args);
    } else {
      Launch<T, kMostScores>(context, g, params.pooled, args);
    }
  });
}

}  // namespace lseg::cuda
