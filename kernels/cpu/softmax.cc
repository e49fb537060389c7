// Pixels go in chunks that stay in the first-level cache, and the innermost loops run over pixels:
// whatever the number of classes, they are vectorised.
#include "kernels/softmax.h"

#include <cmath>
#include <vector>

#include "kernels/cpu/loops.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/runtime/dispatch.h"

namespace lseg {
namespace {

constexpr int64_t kChunk = 256;

// Pixels of one image that lie together, at most kChunk: planes of `stride` elements a class.
struct Pixels {
  int64_t count, classes, stride;
};

// largest and the sum of exp(z - largest) of each pixel.
LSEG_INLINE void SumsOf(const Pixels& at, const float* logits, float* largest, float* sum) {
  for (int64_t i = 0; i < at.count; ++i) largest[i] = logits[i];
  for (int64_t c = 1; c < at.classes; ++c) {
    const float* z = logits + c * at.stride;
#pragma omp simd
    for (int64_t i = 0; i < at.count; ++i) largest[i] = z[i] > largest[i] ? z[i] : largest[i];
  }
  for (int64_t i = 0; i < at.count; ++i) sum[i] = 0;
  for (int64_t c = 0; c < at.classes; ++c) {
    const float* z = logits + c * at.stride;
#pragma omp simd
    for (int64_t i = 0; i < at.count; ++i) sum[i] += ExpOfMinusAbs(z[i] - largest[i]);
  }
}

LSEG_MULTIVERSION void ForwardChunk(const Pixels& pixels, const float* src, float* dst) {
  const Pixels at = pixels;
  float largest[kChunk], sum[kChunk];
  SumsOf(at, src, largest, sum);
  for (int64_t c = 0; c < at.classes; ++c) {
    const float* z = src + c * at.stride;
    float* p = dst + c * at.stride;
#pragma omp simd
    for (int64_t i = 0; i < at.count; ++i) p[i] = ExpOfMinusAbs(z[i] - largest[i]) / sum[i];
  }
}

LSEG_MULTIVERSION void BackwardChunk(const Pixels& pixels, const float* dst, const float* d_dst,
                                     float* d_src, bool add) {
  const Pixels at = pixels;
  float dot[kChunk] = {};
  for (int64_t c = 0; c < at.classes; ++c) {
    const float *p = dst + c * at.stride, *d = d_dst + c * at.stride;
#pragma omp simd
    for (int64_t i = 0; i < at.count; ++i) dot[i] += d[i] * p[i];
  }
  for (int64_t c = 0; c < at.classes; ++c) {
    const float *p = dst + c * at.stride, *d = d_dst + c * at.stride;
    float* to = d_src + c * at.stride;
#pragma omp simd
    for (int64_t i = 0; i < at.count; ++i) {
      const float gradient = p[i] * (d[i] - dot[i]);
      to[i] = add ? to[i] + gradient : gradient;
    }
  }
}

// Planes of 0 and 1, a class each from class 1 on, as a class map.
void ToClassMap(const Pixels& at, int64_t planes, const uint8_t* label, uint8_t* map) {
  std::fill_n(map, at.count, uint8_t{0});
  for (int64_t c = 0; c < planes; ++c) {
    const uint8_t* plane = label + c * at.stride;
    for (int64_t i = 0; i < at.count; ++i) {
      if (plane[i] != 0) map[i] = static_cast<uint8_t>(c + 1);
    }
  }
}

struct Gradient {
  int ignore;  // a label that is none: -1
  float factor;
};

LSEG_MULTIVERSION void GradientChunk(const Pixels& pixels, const Gradient& gradient,
                                     const float* logits, const uint8_t* label, float* d_logits,
                                     bool add) {
  const Pixels at = pixels;
  const Gradient g = gradient;
  float largest[kChunk], sum[kChunk];
  SumsOf(at, logits, largest, sum);
  for (int64_t c = 0; c < at.classes; ++c) {
    const float* z = logits + c * at.stride;
    float* to = d_logits + c * at.stride;
#pragma omp simd
    for (int64_t i = 0; i < at.count; ++i) {
      const float p = ExpOfMinusAbs(z[i] - largest[i]) / sum[i];
      const float share = (p - (label[i] == c ? 1.0f : 0.0f)) * g.factor;
      const float value = label[i] == g.ignore ? 0.0f : share;
      to[i] = add ? to[i] + value : value;
    }
  }
}

struct Sum {
  double loss = 0;
  int64_t valid = 0;
  int bad_label = -1;
};

// Only the exponentials are worth a vector; the logarithm is one a pixel.
LSEG_MULTIVERSION void SumsChunk(const Pixels& pixels, const float* logits, float* largest,
                                 float* sum) {
  SumsOf(pixels, logits, largest, sum);
}

void AddLosses(const Pixels& at, int ignore, const float* logits, const uint8_t* label, Sum* all) {
  float largest[kChunk], sum[kChunk];
  SumsChunk(at, logits, largest, sum);
  for (int64_t i = 0; i < at.count; ++i) {
    if (label[i] == ignore) continue;
    if (label[i] >= at.classes) {
      all->bad_label = label[i];
      continue;
    }
    all->loss += std::log(sum[i]) + (largest[i] - logits[label[i] * at.stride + i]);
    ++all->valid;
  }
}

// Calls body(chunk, offset of its first pixel in class 0, number of its first pixel) for the chunks
// of [begin, begin + count) of all images' pixels; none goes across an image's end.
template <class Body>
void ForPixels(const Shape& shape, int64_t begin, int64_t count, const Body& body) {
  const int64_t plane = shape.h * shape.w;
  for (int64_t at = begin; at < begin + count;) {
    const int64_t image = at / plane, in_plane = at % plane;
    const int64_t size = std::min({kChunk, begin + count - at, plane - in_plane});
    body(Pixels{size, shape.c, plane}, image * shape.c * plane + in_plane, at);
    at += size;
  }
}

template <class Body>
void ForAllPixels(Context& context, const Shape& shape, const Body& body) {
  const int64_t pixels = shape.n * shape.h * shape.w;
  // A chunk of ForChunks is one of elements elsewhere; here each is `classes` of them.
  ForChunks(context, pixels,
            [&](int64_t begin, int64_t count) { ForPixels(shape, begin, count, body); });
}

void CheckShape(const Shape& shape) {
  LSEG_CHECK(shape.Count() > 0, "softmax of an empty " << ToString(shape));
}

// The labels of a chunk as a class map: where they are one, or made in `map`.
const uint8_t* LabelOf(const SoftmaxLossParams& params, const Pixels& at, int64_t pixel,
                       const uint8_t* label, uint8_t* map) {
  if (params.label.c == 1) return label + pixel;
  const int64_t image = pixel / at.stride, in_plane = pixel % at.stride;
  ToClassMap(at, params.label.c, label + image * params.label.c * at.stride + in_plane, map);
  return map;
}

int IgnoredLabel(const SoftmaxLossParams& params) { return params.has_ignore ? params.ignore : -1; }

}  // namespace

void SoftmaxForward(Context& context, const Shape& shape, const float* src, float* dst) {
  CheckShape(shape);
  LSEG_ON_CUDA(context, SoftmaxForward(context, shape, src, dst));
  ForAllPixels(context, shape, [=](const Pixels& at, int64_t offset, int64_t) {
    ForwardChunk(at, src + offset, dst + offset);
  });
}

void SoftmaxBackward(Context& context, const Shape& shape, const float* dst, const float* d_dst,
                     float* d_src, GradMode d_src_mode) {
  CheckShape(shape);
  if (d_src_mode == GradMode::kSkip) return;
  LSEG_ON_CUDA(context, SoftmaxBackward(context, shape, dst, d_dst, d_src, d_src_mode));
  ForAllPixels(context, shape, [=](const Pixels& at, int64_t offset, int64_t) {
    BackwardChunk(at, dst + offset, d_dst + offset, d_src + offset, d_src_mode == GradMode::kAdd);
  });
}

void SoftmaxLossParams::Validate() const {
  CheckShape(logits);
  LSEG_CHECK(logits.c <= 255, "softmax loss: " << logits.c << " classes; labels tell 255 apart");
  const Shape map{logits.n, 1, logits.h, logits.w},
      planes{logits.n, logits.c - 1, logits.h, logits.w};
  LSEG_CHECK(label == map || label == planes,
             "softmax loss: logits " << ToString(logits) << " need a class map " << ToString(map)
                                     << " or a plane for each class but the first "
                                     << ToString(planes) << ", not " << ToString(label));
}

void SoftmaxLossForward(Context& context, const SoftmaxLossParams& params, const float* logits,
                        const uint8_t* label, float* normalizer, float* loss) {
  params.Validate();
  LSEG_ON_CUDA(context, SoftmaxLossForward(context, params, logits, label, normalizer, loss));
  const int ignore = IgnoredLabel(params);
  Sum sums[kStripes];
#pragma omp parallel for schedule(static) num_threads(context.threads())
  for (int s = 0; s < kStripes; ++s) {
    const Stripe stripe = StripeOf(params.Pixels(), s);
    ForPixels(params.logits, stripe.begin, stripe.count,
              [&](const Pixels& at, int64_t offset, int64_t pixel) {
                uint8_t map[kChunk];
                AddLosses(at, ignore, logits + offset, LabelOf(params, at, pixel, label, map),
                          &sums[s]);
              });
  }
  Sum all;
  for (const Sum& sum : sums) {
    all.loss += sum.loss;
    all.valid += sum.valid;
    LSEG_CHECK(sum.bad_label < 0, "softmax loss: a label is " << sum.bad_label
                                                              << ", the classes are 0 to "
                                                              << params.logits.c - 1);
  }
  const double divisor = std::max(
      1.0, NormalizerOf(params.normalization, params.Pixels(), all.valid, params.logits.n));
  *normalizer = static_cast<float>(divisor);
  *loss = static_cast<float>(all.loss / divisor);
}

void SoftmaxLossBackward(Context& context, const SoftmaxLossParams& params, const float* logits,
                         const uint8_t* label, const float* normalizer, float loss_weight,
                         float* d_logits, GradMode d_logits_mode, const float* loss_scale) {
  params.Validate();
  if (d_logits_mode == GradMode::kSkip) return;
  LSEG_ON_CUDA(context, SoftmaxLossBackward(context, params, logits, label, normalizer, loss_weight,
                                            d_logits, d_logits_mode, loss_scale));
  const float factor = loss_scale == nullptr ? loss_weight : loss_weight * *loss_scale;
  const Gradient gradient{IgnoredLabel(params), factor / *normalizer};
  ForAllPixels(context, params.logits, [=](const Pixels& at, int64_t offset, int64_t pixel) {
    uint8_t map[kChunk];
    GradientChunk(at, gradient, logits + offset, LabelOf(params, at, pixel, label, map),
                  d_logits + offset, d_logits_mode == GradMode::kAdd);
  });
}

}  // namespace lseg
