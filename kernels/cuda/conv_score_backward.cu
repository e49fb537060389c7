// Engine "score", both gradients: bound by writing d_src and by reading src, which happens once, 16
// bytes a thread. A thread keeps the channels of its 16 bytes, their weights or the weights'
// gradients in registers, and walks over pixels: plain FMAs in f32 are fewer than the memory leaves
// time for. Gradients of weights: blocks leave their sums in the workspace, see conv_partials.cuh.
// Counted on softgpu: sectors of src and d_src whole; a block's last sums, once, with bank
// conflicts.
#include "kernels/cuda/conv_partials.cuh"
#include "kernels/cuda/conv_score.h"
#include "kernels/cuda/conv_score_sums.cuh"

namespace lseg::cuda {
namespace {

constexpr int kPixels = 4;  // that a thread has under way

template <class T>
using Layout = ScoreLayout<kScoreThreads, kVectorWidth<T>>;

// Groups of pixels that a block takes one after the other.
template <class T>
int64_t Groups(const ScoreArgs& args) {
  return CeilDiv(args.pixels, Layout<T>(args.channels).slots * kPixels);
}

// d_dst of all outputs at a pixel; zeros past the last ones.
template <int kOutputs>
__device__ void LoadGradients(const ScoreArgs& args, const float* d_dst, int pixel,
                              float (&gradients)[kOutputs]) {
  const int image = pixel / args.image_pixels;
  const float* from = d_dst + static_cast<int64_t>(image) * args.image_pixels * args.outputs +
                      (pixel - image * args.image_pixels);
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const bool valid = pixel < args.pixels && o < args.outputs;
    gradients[o] = valid ? __ldg(from + static_cast<int64_t>(o) * args.image_pixels) : 0.0f;
  }
}

template <class T, int kOutputs>
__global__ void __launch_bounds__(kScoreThreads)
    ScoreBackwardData(const ScoreArgs args, const Layout<T> layout, const float* __restrict__ d_dst,
                      const float* __restrict__ weight, T* __restrict__ d_src, bool add,
                      const T* __restrict__ mask) {
  constexpr int kWidth = kVectorWidth<T>;
  const int slot = threadIdx.x / layout.segments;
  const int channel = threadIdx.x % layout.segments * kWidth;
  if (slot >= layout.slots) return;
  float w[kOutputs][kWidth];
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
#pragma unroll
    for (int i = 0; i < kWidth; i += 4) {
      Vector<float, 4> values = {};
      if (o < args.outputs) values = Load<4>(weight + o * args.channels + channel + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) w[o][i + j] = values.at[j];
    }
  }
  const int stride = gridDim.x * layout.slots * kPixels;
  for (int first = blockIdx.x * layout.slots * kPixels + slot; first < args.pixels;
       first += stride) {
    float gradients[kPixels][kOutputs];
#pragma unroll
    for (int p = 0; p < kPixels; ++p) {
      LoadGradients(args, d_dst, first + p * layout.slots, gradients[p]);
    }
#pragma unroll
    for (int p = 0; p < kPixels; ++p) {
      const int pixel = first + p * layout.slots;
      if (pixel >= args.pixels) break;
      const int64_t at = static_cast<int64_t>(pixel) * args.channels + channel;
      Vector<T, kWidth> values, kept;
      if (add) values = Load<kWidth>(d_src + at);
      if (mask != nullptr) kept = Load<kWidth>(mask + at);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        float sum = 0;
#pragma unroll
        for (int o = 0; o < kOutputs; ++o) sum = fmaf(w[o][i], gradients[p][o], sum);
        if (add) sum += ToFloat(values.at[i]);
        if (mask != nullptr && !(ToFloat(kept.at[i]) > 0)) sum = 0;
        values.at[i] = FromFloat<T>(sum);
      }
      Store(d_src + at, values);
    }
  }
}

// partials: [block][outputs * channels, then outputs].
template <class T, int kOutputs>
__global__ void __launch_bounds__(kScoreThreads)
    ScoreBackwardWeights(const ScoreArgs args, const Layout<T> layout, const T* __restrict__ src,
                         const float* __restrict__ d_dst, float* __restrict__ partials) {
  constexpr int kWidth = kVectorWidth<T>;
  const int slot = threadIdx.x / layout.segments;
  const int channel = threadIdx.x % layout.segments * kWidth;
  float sums[kOutputs][kWidth] = {}, bias[kOutputs] = {};
  const int stride = gridDim.x * layout.slots * kPixels;
  for (int first = blockIdx.x * layout.slots * kPixels + slot;
       slot < layout.slots && first < args.pixels; first += stride) {
    Vector<T, kWidth> values[kPixels];
    float gradients[kPixels][kOutputs];
#pragma unroll
    for (int p = 0; p < kPixels; ++p) {
      const int pixel = first + p * layout.slots;
      values[p] = {};
      if (pixel < args.pixels) {
        values[p] = Load<kWidth>(src + static_cast<int64_t>(pixel) * args.channels + channel);
      }
      LoadGradients(args, d_dst, pixel, gradients[p]);
    }
#pragma unroll
    for (int p = 0; p < kPixels; ++p) {
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) {
        bias[o] += gradients[p][o];
#pragma unroll
        for (int i = 0; i < kWidth; ++i) {
          sums[o][i] = fmaf(gradients[p][o], ToFloat(values[p].at[i]), sums[o][i]);
        }
      }
    }
  }
  WriteScoreSums(layout, args.channels, args.outputs, sums, bias,
                 partials + static_cast<int64_t>(blockIdx.x) * args.outputs * (args.channels + 1));
}

template <class T>
unsigned WeightsGrid(const Context& context, const ScoreArgs& args) {
  constexpr int kGroups = 8;  // at least, if there are as many: a block's end costs as much
  return GridFor(context, Groups<T>(args), kGroups, 4);
}

int64_t PartialElements(const ScoreArgs& args) {
  return int64_t{args.outputs} * (args.channels + 1);
}

// f(kernel's kOutputs): 4 or 8.
template <class F>
void WithOutputs(int outputs, F f) {
  if (outputs <= 4) return f(std::integral_constant<int, 4>{});
  f(std::integral_constant<int, int{kMostScores}>{});
}

}  // namespace

void RunScoreData(Context& context, const ConvParams& params, DType dtype, const ConvArgs& run) {
  const ScoreArgs args = MakeScoreArgs(params);
  WithElementType(dtype, [&](auto element) {
    using T = decltype(element);
    const Layout<T> layout(args.channels);
    WithOutputs(args.outputs, [&](auto outputs) {
      ScoreBackwardData<T, outputs.value>
          <<<GridFor(context, Groups<T>(args), 1, 4), kScoreThreads, 0, StreamOf(context)>>>(
              args, layout, run.f32_d_dst(), static_cast<const float*>(run.weight),
              static_cast<T*>(run.d_src), run.d_src_mode == GradMode::kAdd,
              params.relu_gradient ? static_cast<const T*>(run.src) : nullptr);
    });
    CheckLaunch("ScoreBackwardData");
  });
}

void RunScoreWeights(Context& context, const ConvParams& params, DType dtype, const ConvArgs& run) {
  const ScoreArgs args = MakeScoreArgs(params);
  WithElementType(dtype, [&](auto element) {
    using T = decltype(element);
    const unsigned grid = WeightsGrid<T>(context, args);
    float* partials = static_cast<float*>(run.workspace);
    WithOutputs(args.outputs, [&](auto outputs) {
      ScoreBackwardWeights<T, outputs.value><<<grid, kScoreThreads, 0, StreamOf(context)>>>(
          args, Layout<T>(args.channels), static_cast<const T*>(run.src), run.f32_d_dst(),
          partials);
    });
    CheckLaunch("ScoreBackwardWeights");
    const WeightsThenBias target = {int64_t{args.outputs} * args.channels, run.d_weight,
                                    params.bias ? run.d_bias : nullptr};
    RunSumPartials(context, partials, static_cast<int>(grid), PartialElements(args), target,
                   run.d_weight_mode == GradMode::kAdd);
  });
}

int64_t ScoreWeightsWorkspace(const Context& context, const ConvParams& params, DType dtype) {
  const ScoreArgs args = MakeScoreArgs(params);
  int64_t blocks = 0;
  WithElementType(dtype,
                  [&](auto element) { blocks = WeightsGrid<decltype(element)>(context, args); });
  return blocks * PartialElements(args) * static_cast<int64_t>(sizeof(float));
}

}  // namespace lseg::cuda
