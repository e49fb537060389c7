// A thread takes whole pixels: neighbours read neighbouring elements of a class' plane. The classes
// are read two or three times, from the caches but for the first: a warp's lines of 20 classes are
// 2.5 KB.
#include <algorithm>

#include "kernels/cuda/loss_sum.cuh"
#include "kernels/cuda/ops.h"

namespace lseg::cuda {
namespace {

// Where a pixel's classes lie.
struct Planes {
  int64_t pixels, classes, plane;

  __device__ int64_t Offset(int64_t pixel) const {
    return pixel / plane * classes * plane + pixel % plane;
  }
};

// What the pixels belong to: a class map (planes 1), or planes of 0 and 1 from class 1 on.
struct Labels {
  const uint8_t* at;
  int64_t planes, plane;
  int ignore;  // -1: none

  __device__ int Of(int64_t pixel) const {
    if (planes == 1) return at[pixel];
    const uint8_t* first = at + pixel / plane * planes * plane + pixel % plane;
    int label = 0;
    for (int64_t c = 0; c < planes; ++c) {
      if (first[c * plane] != 0) label = static_cast<int>(c) + 1;
    }
    return label;
  }
};

Labels LabelsOf(const SoftmaxLossParams& params, const uint8_t* label) {
  return {label, params.label.c, params.label.h * params.label.w,
          params.has_ignore ? params.ignore : -1};
}

Planes PlanesOf(const Shape& shape) {
  return {shape.n * shape.h * shape.w, shape.c, shape.h * shape.w};
}

struct PixelSum {
  float largest, sum;
};
__device__ PixelSum SumOf(const Planes& planes, const float* logits) {
  float largest = logits[0];
  for (int64_t c = 1; c < planes.classes; ++c) {
    const float z = logits[c * planes.plane];
    largest = z > largest ? z : largest;
  }
  float sum = 0;
  for (int64_t c = 0; c < planes.classes; ++c) sum += expf(logits[c * planes.plane] - largest);
  return {largest, sum};
}

__global__ void Softmax(Planes planes, const float* src, float* dst) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < planes.pixels; i += step) {
    const int64_t at = planes.Offset(i);
    const PixelSum pixel = SumOf(planes, src + at);
    for (int64_t c = 0; c < planes.classes; ++c) {
      const int64_t j = at + c * planes.plane;
      dst[j] = expf(src[j] - pixel.largest) / pixel.sum;
    }
  }
}

template <bool kAdd>
__global__ void SoftmaxGradient(Planes planes, const float* dst, const float* d_dst, float* d_src) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < planes.pixels; i += step) {
    const int64_t at = planes.Offset(i), end = at + planes.classes * planes.plane;
    float dot = 0;
    for (int64_t j = at; j < end; j += planes.plane) dot += d_dst[j] * dst[j];
    for (int64_t j = at; j < end; j += planes.plane) {
      const float gradient = dst[j] * (d_dst[j] - dot);
      d_src[j] = kAdd ? d_src[j] + gradient : gradient;
    }
  }
}

// One part a block, of consecutive chunks of kLossThreads pixels each.
__global__ void __launch_bounds__(kLossThreads)
    SumLosses(Planes planes, int64_t rounds, const float* logits, Labels labels, LossPart* parts,
              int32_t* fault) {
  LossPart sum{};
  bool bad = false;
  for (int64_t round = 0; round < rounds; ++round) {
    const int64_t i = (int64_t{blockIdx.x} * rounds + round) * kLossThreads + threadIdx.x;
    if (i >= planes.pixels) break;
    const int truth = labels.Of(i);
    if (truth == labels.ignore) continue;
    if (truth >= planes.classes) {
      bad = true;
      continue;
    }
    const float* z = logits + planes.Offset(i);
    const PixelSum pixel = SumOf(planes, z);
    sum.loss += double{logf(pixel.sum)} + (pixel.largest - z[truth * planes.plane]);
    ++sum.valid;
  }
  if (bad) atomicCAS(fault, 0, static_cast<int32_t>(DeviceFault::kBadLabel));
  sum.loss = BlockSum<kLossThreads>(sum.loss);
  sum.valid = BlockSum<kLossThreads>(sum.valid);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

template <bool kAdd>
__global__ void LossGradient(Planes planes, const float* logits, Labels labels,
                             const float* normalizer, float loss_weight, const float* loss_scale,
                             float* d_logits) {
  const float scale = loss_scale == nullptr ? 1.0f : *loss_scale;
  const float factor = loss_weight * scale / *normalizer;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < planes.pixels; i += step) {
    const int64_t at = planes.Offset(i);
    const int truth = labels.Of(i);
    const PixelSum pixel = SumOf(planes, logits + at);
    for (int64_t c = 0; c < planes.classes; ++c) {
      const int64_t j = at + c * planes.plane;
      const float p = expf(logits[j] - pixel.largest) / pixel.sum;
      const float share = truth == labels.ignore ? 0.0f : (p - (truth == c ? 1.0f : 0.0f)) * factor;
      d_logits[j] = kAdd ? d_logits[j] + share : share;
    }
  }
}

}  // namespace

void SoftmaxForward(Context& context, const Shape& shape, const float* src, float* dst) {
  const Planes planes = PlanesOf(shape);
  Softmax<<<GridFor(context, planes.pixels, 256), 256, 0, StreamOf(context)>>>(planes, src, dst);
  CheckLaunch("softmax");
}

void SoftmaxBackward(Context& context, const Shape& shape, const float* dst, const float* d_dst,
                     float* d_src, GradMode d_src_mode) {
  const Planes planes = PlanesOf(shape);
  const auto kernel = d_src_mode == GradMode::kAdd ? SoftmaxGradient<true> : SoftmaxGradient<false>;
  kernel<<<GridFor(context, planes.pixels, 256), 256, 0, StreamOf(context)>>>(planes, dst, d_dst,
                                                                              d_src);
  CheckLaunch("softmax backward");
}

void SoftmaxLossForward(Context& context, const SoftmaxLossParams& params, const float* logits,
                        const uint8_t* label, float* normalizer, float* loss) {
  const Planes planes = PlanesOf(params.logits);
  const int64_t most_parts = kScratchBytes / static_cast<int64_t>(sizeof(LossPart));
  const int64_t rounds = CeilDiv(planes.pixels, most_parts * kLossThreads);
  const int64_t parts = CeilDiv(planes.pixels, rounds * kLossThreads);
  auto* sums = static_cast<LossPart*>(Scratch(context));
  SumLosses<<<static_cast<unsigned>(parts), kLossThreads, 0, StreamOf(context)>>>(
      planes, rounds, logits, LabelsOf(params, label), sums, FaultWord(context));
  CheckLaunch("softmax loss");
  FinishLoss<<<1, kFinishThreads, 0, StreamOf(context)>>>(
      static_cast<int>(parts), sums,
      NormalizerOf(params.normalization, planes.pixels, 0, params.logits.n), normalizer, loss);
  CheckLaunch("softmax loss' sum");
}

void SoftmaxLossBackward(Context& context, const SoftmaxLossParams& params, const float* logits,
                         const uint8_t* label, const float* normalizer, float loss_weight,
                         float* d_logits, GradMode d_logits_mode, const float* loss_scale) {
  const Planes planes = PlanesOf(params.logits);
  const auto kernel = d_logits_mode == GradMode::kAdd ? LossGradient<true> : LossGradient<false>;
  kernel<<<GridFor(context, planes.pixels, 256), 256, 0, StreamOf(context)>>>(
      planes, logits, LabelsOf(params, label), normalizer, loss_weight, loss_scale, d_logits);
  CheckLaunch("softmax loss backward");
}

}  // namespace lseg::cuda
