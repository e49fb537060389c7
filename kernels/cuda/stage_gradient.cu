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
  int64_t windows;    // of all images
  bool relu;
};

// A window's place: the image's number of pixels before it, and of windows.
struct Window {
  int64_t image;
  int y, x;  // its first pixel

  __device__ Window(const Geometry& g, int64_t at)
      : image(at / (g.rows * g.columns)),
        y(static_cast<int>(at % (g.rows * g.columns)) / g.columns * 2),
        x(static_cast<int>(at % (g.rows * g.columns)) % g.columns * 2) {}
  __device__ bool Has(const Geometry& g, int pixel) const {
    return y + pixel / 2 < g.height && x + pixel % 2 < g.width;
  }
  // The pixel's place among those of all images.
  __device__ int64_t Pixel(const Geometry& g, int pixel) const {
    return (image * g.height + y + pixel / 2) * g.width + x + pixel % 2;
  }
};

// d_score of all outputs at the window's pixels; zeros where there is none.
template <int kScores>
__device__ void LoadScores(const Geometry& g, const Window& window, const float* d_score,
                           float (&gradients)[4][kScores]) {
  const int64_t plane = int64_t{g.height} * g.width;
  const float* from =
      d_score + window.image * g.scores * plane + int64_t{window.y} * g.width + window.x;
#pragma unroll
  for (int pixel = 0; pixel < 4; ++pixel) {
    const bool exists = window.Has(g, pixel);
#pragma unroll
    for (int k = 0; k < kScores; ++k) {
      const bool valid = exists && k < g.scores;
      gradients[pixel][k] =
          valid ? __ldg(from + k * plane + pixel / 2 * g.width + pixel % 2) : 0.0f;
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
template <class T, int kScores, bool kPooled>
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
    for (int i = 0; i < kWidth; ++i) {
      const bool valid = slot < layout.slots && k < g.scores;
      w[k][i] = valid ? __ldg(weight + k * g.channels + channel + i) : 0.0f;
    }
  }
  const int64_t step = int64_t{gridDim.x} * layout.slots;
#pragma unroll 1
  for (int64_t at = int64_t{blockIdx.x} * layout.slots + slot;
       slot < layout.slots && at < g.windows; at += step) {
    const Window window(g, at);
    float gradients[4][kScores];
    Vector<T, kWidth> map[4], d_pooled = {};
    Vector<uint8_t, kWidth> argmax = {};
    LoadScores(g, window, d_score, gradients);
#pragma unroll
    for (int pixel = 0; pixel < 4; ++pixel) {
      map[pixel] = {};
      if (!window.Has(g, pixel)) continue;
      map[pixel] = Load<kWidth>(maps.map + window.Pixel(g, pixel) * g.channels + channel);
    }
    if constexpr (kPooled) {
      d_pooled = Load<kWidth>(maps.d_pooled + at * g.channels + channel);
      argmax = Load<kWidth>(maps.argmax + at * g.channels + channel);
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
        d_map.at[i] = FromFloat<T>(g.relu && !(value > 0) ? 0.0f : sum);
      }
#pragma unroll
      for (int k = 0; k < kScores; ++k) bias[k] += gradients[pixel][k];
      if (window.Has(g, pixel)) {
        Store(maps.d_map + window.Pixel(g, pixel) * g.channels + channel, d_map);
      }
    }
  }
  WriteScoreSums(layout, g.channels, g.scores, sums, bias,
                 partials + static_cast<int64_t>(blockIdx.x) * g.scores * (g.channels + 1));
}

Geometry GeometryOf(const StageGradientParams& p) {
  const Shape pooled = p.Pooled();
  LSEG_CHECK(p.map.h * p.map.w <= INT32_MAX / 4,
             "a stage's gradient on a GPU: a map of " << ToString(p.map) << " is too large");
  return {static_cast<int>(p.map.h),     static_cast<int>(p.map.w),
          static_cast<int>(p.map.c),     static_cast<int>(p.scores),
          static_cast<int>(pooled.h),    static_cast<int>(pooled.w),
          p.map.n * pooled.h * pooled.w, p.relu};
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
  const auto kernel = pooled ? StageGradients<T, kScores, true> : StageGradients<T, kScores, false>;
  kernel<<<grid, kThreads, 0, StreamOf(context)>>>(g, Layout<T>(g.channels), maps, args.d_score,
                                                   args.weight, partials);
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
  WithElementType(params.dtype, [&](auto element) {
    using T = decltype(element);
    if (g.scores <= 4) {
      Launch<T, 4>(context, g, params.pooled, args);
    } else {
      Launch<T, 8>(context, g, params.pooled, args);
    }
  });
}

}  // namespace lseg::cuda
