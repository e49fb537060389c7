// See conv_pointwise.h. All loops are bound by memory bandwidth: every byte of the source is
// touched once (or, for a second pass, while it is in the L2 cache), and the few outputs stay in
// registers.
#include <algorithm>
#include <type_traits>

#include "kernels/cpu/conv_pointwise.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv_pointwise_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/bfloat16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Where channel `c` of pixel 0 lies.
inline int64_t ChannelAt(const PointwiseRange& r, int64_t c) {
  return c / r.block * r.block_stride + c % r.block;
}

// Planes of d_dst by output; outputs that exist as padding only read another's plane, for weights
// that are zero.
template <int kRows>
struct Planes {
  Planes(const PointwiseRange& r, const float* base) {
    for (int o = 0; o < kRows; ++o) at[o] = base + std::min<int64_t>(o, r.outputs - 1) * r.pixels;
  }
  const float* at[kRows];
};

// ---- Channels together: elements of type T ----

template <int kRows, int kPixels, class D, class T>
void ForwardPixels(D d, const PointwiseRange& r, const T* src, const float* weight,
                   const float* bias, bool relu, int64_t pixel, float* dst) {
  using V = hn::Vec<D>;
  const int64_t lanes = hn::Lanes(d), whole = r.weight_stride / lanes * lanes;
  V sum[kPixels][kRows];
  for (int p = 0; p < kPixels; ++p) {
    for (int o = 0; o < kRows; ++o) sum[p][o] = hn::Zero(d);
  }
  const T* at = src + pixel * r.block;
  for (int64_t first = 0; first < whole; first += r.block, at += r.block_stride) {
    const int64_t count = std::min(r.block, whole - first);
    for (int64_t k = 0; k < count; k += lanes) {
      V s[kPixels];
      for (int p = 0; p < kPixels; ++p) s[p] = LoadFloats(d, at + p * r.block + k);
      for (int o = 0; o < kRows; ++o) {
        const V w = hn::LoadU(d, weight + o * r.weight_stride + first + k);
        for (int p = 0; p < kPixels; ++p) sum[p][o] = hn::MulAdd(s[p], w, sum[p][o]);
      }
    }
  }
  for (int64_t o = 0; o < std::min<int64_t>(kRows, r.outputs); ++o) {
    for (int p = 0; p < kPixels; ++p) {
      float value = hn::GetLane(hn::SumOfLanes(d, sum[p][o])) + (bias ? bias[o] : 0.0f);
      for (int64_t c = whole; c < r.channels; ++c) {  // NHWC: channels beyond the last vector
        value += ToFloat(src[(pixel + p) * r.block + c]) * weight[o * r.weight_stride + c];
      }
      dst[o * r.pixels + pixel + p] = relu ? std::max(value, 0.0f) : value;
    }
  }
}

template <int kRows, class D, class T>
void BackwardDataRows(D d, const PointwiseRange& r, const float* d_dst, const float* weight,
                      bool add, T* d_src) {
  const int64_t lanes = hn::Lanes(d), whole = r.weight_stride / lanes * lanes;
  const Planes<kRows> planes(r, d_dst);
  for (int64_t pixel = r.begin; pixel < r.end; ++pixel) {
    hn::Vec<D> g[kRows];
    for (int o = 0; o < kRows; ++o) g[o] = hn::Set(d, planes.at[o][pixel]);
    T* at = d_src + pixel * r.block;
    for (int64_t first = 0; first < whole; first += r.block, at += r.block_stride) {
      const int64_t count = std::min(r.block, whole - first);
      for (int64_t k = 0; k < count; k += lanes) {
        hn::Vec<D> sum = add ? LoadFloats(d, at + k) : hn::Zero(d);
        for (int o = 0; o < kRows; ++o) {
          sum = hn::MulAdd(g[o], hn::LoadU(d, weight + o * r.weight_stride + first + k), sum);
        }
        StoreFloats(sum, d, at + k);
      }
    }
    for (int64_t c = whole; c < r.channels; ++c) {
      T& value = d_src[pixel * r.block + c];
      float sum = add ? ToFloat(value) : 0.0f;
      for (int o = 0; o < r.outputs; ++o) {
        sum += planes.at[o][pixel] * weight[o * r.weight_stride + c];
      }
      value = FromFloat<T>(sum);
    }
  }
}

// Channels [c, c + kVectors * lanes) of d_weight.
template <int kRows, int kVectors, class D, class T>
void BackwardWeightsVectors(D d, const PointwiseRange& r, const T* src, const Planes<kRows>& planes,
                            int64_t c, float* d_weight) {
  using V = hn::Vec<D>;
  const int64_t lanes = hn::Lanes(d);
  V sum[kVectors][kRows];
  const T* from[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    from[v] = src + ChannelAt(r, c + v * lanes);
    for (int o = 0; o < kRows; ++o) sum[v][o] = hn::Zero(d);
  }
  for (int64_t pixel = r.begin; pixel < r.end; ++pixel) {
    V s[kVectors];
    for (int v = 0; v < kVectors; ++v) s[v] = LoadFloats(d, from[v] + pixel * r.block);
    for (int o = 0; o < kRows; ++o) {
      const V g = hn::Set(d, planes.at[o][pixel]);
      for (int v = 0; v < kVectors; ++v) sum[v][o] = hn::MulAdd(s[v], g, sum[v][o]);
    }
  }
  for (int64_t o = 0; o < std::min<int64_t>(kRows, r.outputs); ++o) {
    for (int v = 0; v < kVectors; ++v) {
      float* at = d_weight + o * r.weight_stride + c + v * lanes;
      hn::StoreU(hn::Add(hn::LoadU(d, at), sum[v][o]), d, at);
    }
  }
}

template <int kRows, class D, class T>
void BackwardWeightsRows(D d, const PointwiseRange& r, const T* src, const float* d_dst,
                         float* d_weight) {
  const int64_t lanes = hn::Lanes(d), whole = r.weight_stride / lanes * lanes;
  const Planes<kRows> planes(r, d_dst);
  int64_t c = 0;
  for (; c + 2 * lanes <= whole; c += 2 * lanes) {
    BackwardWeightsVectors<kRows, 2>(d, r, src, planes, c, d_weight);
  }
  for (; c < whole; c += lanes) {
    BackwardWeightsVectors<kRows, 1>(d, r, src, planes, c, d_weight);
  }
  for (; c < r.channels; ++c) {
    for (int64_t o = 0; o < r.outputs; ++o) {
      float sum = 0;
      for (int64_t pixel = r.begin; pixel < r.end; ++pixel) {
        sum += ToFloat(src[pixel * r.block + c]) * planes.at[o][pixel];
      }
      d_weight[o * r.weight_stride + c] += sum;
    }
  }
}

// ---- Channels in planes: f32 only ----

template <class D>
float Dot(D d, const float* a, const float* b, int64_t count) {
  hn::Vec<D> sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    for (int k = 0; k < 4; ++k) {
      sum[k] = hn::MulAdd(hn::LoadU(d, a + i + k * lanes), hn::LoadU(d, b + i + k * lanes), sum[k]);
    }
  }
  float total =
      hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]))));
  for (; i < count; ++i) total += a[i] * b[i];
  return total;
}

// out[i] += sum over kTerms planes of factor * plane[i]
template <int kTerms, class D>
void AddPlanes(D d, const float* planes, int64_t plane_stride, const float* factors,
               int64_t factor_stride, int64_t count, float* out) {
  hn::Vec<D> f[kTerms];
  for (int k = 0; k < kTerms; ++k) f[k] = hn::Set(d, factors[k * factor_stride]);
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hn::Vec<D> sum = hn::LoadU(d, out + i);
    for (int k = 0; k < kTerms; ++k) {
      sum = hn::MulAdd(f[k], hn::LoadU(d, planes + k * plane_stride + i), sum);
    }
    hn::StoreU(sum, d, out + i);
  }
  for (; i < count; ++i) {
    for (int k = 0; k < kTerms; ++k) {
      out[i] += factors[k * factor_stride] * planes[k * plane_stride + i];
    }
  }
}

template <class D>
void AddAllPlanes(D d, const float* planes, int64_t plane_stride, const float* factors,
                  int64_t factor_stride, int64_t terms, int64_t count, float* out) {
  int64_t k = 0;
  for (; k + 4 <= terms; k += 4) {
    AddPlanes<4>(d, planes + k * plane_stride, plane_stride, factors + k * factor_stride,
                 factor_stride, count, out);
  }
  for (; k < terms; ++k) {
    AddPlanes<1>(d, planes + k * plane_stride, plane_stride, factors + k * factor_stride,
                 factor_stride, count, out);
  }
}

void ForwardPlanar(const PointwiseRange& r, const float* src, const float* weight,
                   const float* bias, bool relu, float* dst) {
  const hn::ScalableTag<float> d;
  const int64_t count = r.end - r.begin;
  for (int64_t o = 0; o < r.outputs; ++o) {
    float* out = dst + o * r.pixels + r.begin;
    std::fill_n(out, count, bias ? bias[o] : 0.0f);
    AddAllPlanes(d, src + r.begin, r.block_stride, weight + o * r.weight_stride, 1, r.channels,
                 count, out);
    for (int64_t i = 0; relu && i < count; ++i) out[i] = std::max(out[i], 0.0f);
  }
}

void BackwardDataPlanar(const PointwiseRange& r, const float* d_dst, const float* weight, bool add,
                        float* d_src) {
  const hn::ScalableTag<float> d;
  const int64_t count = r.end - r.begin;
  for (int64_t c = 0; c < r.channels; ++c) {
    float* out = d_src + c * r.block_stride + r.begin;
    if (!add) std::fill_n(out, count, 0.0f);
    AddAllPlanes(d, d_dst + r.begin, r.pixels, weight + c, r.weight_stride, r.outputs, count, out);
  }
}

void BackwardWeightsPlanar(const PointwiseRange& r, const float* src, const float* d_dst,
                           float* d_weight) {
  const hn::ScalableTag<float> d;
  for (int64_t c = 0; c < r.channels; ++c) {
    for (int64_t o = 0; o < r.outputs; ++o) {
      d_weight[o * r.weight_stride + c] += Dot(d, src + c * r.block_stride + r.begin,
                                               d_dst + o * r.pixels + r.begin, r.end - r.begin);
    }
  }
}

// ---- Entry points: the number of rows and the width of the vectors become constants ----

template <class Work>
void WithRows(int64_t outputs, Work work) {
  switch (PointwiseRows(outputs)) {
    case 1:
      return work(std::integral_constant<int, 1>());
    case 2:
      return work(std::integral_constant<int, 2>());
    case 4:
      return work(std::integral_constant<int, 4>());
    default:
      return work(std::integral_constant<int, 8>());
  }
}

// Calls work(vector tag) with vectors no longer than a block.
template <class Work>
void WithVector(int64_t block, Work work) {
  if (block == 8) return work(hn::CappedTag<float, 8>());
  work(hn::CappedTag<float, 16>());
}

template <class T>
void ForwardTogether(const PointwiseRange& r, const T* src, const float* weight, const float* bias,
                     bool relu, float* dst) {
  WithVector(r.block, [&](auto d) {
    WithRows(r.outputs, [&](auto rows) {
      constexpr int kRows = decltype(rows)::value, kPixels = kRows == 1 ? 4 : 8 / kRows;
      int64_t pixel = r.begin;
      for (; pixel + kPixels <= r.end; pixel += kPixels) {
        ForwardPixels<kRows, kPixels>(d, r, src, weight, bias, relu, pixel, dst);
      }
      for (; pixel < r.end; ++pixel) {
        ForwardPixels<kRows, 1>(d, r, src, weight, bias, relu, pixel, dst);
      }
    });
  });
}

void Forward(const PointwiseRange& r, const float* src, const float* weight, const float* bias,
             bool relu, float* dst) {
  if (r.block == 1) return ForwardPlanar(r, src, weight, bias, relu, dst);
  ForwardTogether(r, src, weight, bias, relu, dst);
}
void ForwardBFloat16(const PointwiseRange& r, const BFloat16* src, const float* weight,
                     const float* bias, bool relu, float* dst) {
  ForwardTogether(r, src, weight, bias, relu, dst);
}

template <class T>
void BackwardDataTogether(const PointwiseRange& r, const float* d_dst, const float* weight,
                          bool add, T* d_src) {
  WithVector(r.block, [&](auto d) {
    WithRows(r.outputs, [&](auto rows) {
      BackwardDataRows<decltype(rows)::value>(d, r, d_dst, weight, add, d_src);
    });
  });
}

void BackwardData(const PointwiseRange& r, const float* d_dst, const float* weight, bool add,
                  float* d_src) {
  if (r.block == 1) return BackwardDataPlanar(r, d_dst, weight, add, d_src);
  BackwardDataTogether(r, d_dst, weight, add, d_src);
}
void BackwardDataBFloat16(const PointwiseRange& r, const float* d_dst, const float* weight,
                          bool add, BFloat16* d_src) {
  BackwardDataTogether(r, d_dst, weight, add, d_src);
}

void BackwardBias(const PointwiseRange& r, const float* d_dst, float* d_bias) {
  const hn::ScalableTag<float> d;
  for (int64_t o = 0; o < r.outputs; ++o) {
    const float* at = d_dst + o * r.pixels;
    const int64_t lanes = hn::Lanes(d);
    auto sum = hn::Zero(d);
    int64_t i = r.begin;
    for (; i + lanes <= r.end; i += lanes) sum = hn::Add(sum, hn::LoadU(d, at + i));
    float total = hn::GetLane(hn::SumOfLanes(d, sum));
    for (; i < r.end; ++i) total += at[i];
    d_bias[o] += total;
  }
}

template <class T>
void BackwardWeightsTogether(const PointwiseRange& r, const T* src, const float* d_dst,
                             float* d_weight) {
  WithVector(r.block, [&](auto d) {
    WithRows(r.outputs, [&](auto rows) {
      BackwardWeightsRows<decltype(rows)::value>(d, r, src, d_dst, d_weight);
    });
  });
}

void BackwardWeights(const PointwiseRange& r, const float* src, const float* d_dst, float* d_weight,
                     float* d_bias) {
  if (d_bias != nullptr) BackwardBias(r, d_dst, d_bias);
  if (r.block == 1) return BackwardWeightsPlanar(r, src, d_dst, d_weight);
  BackwardWeightsTogether(r, src, d_dst, d_weight);
}
void BackwardWeightsBFloat16(const PointwiseRange& r, const BFloat16* src, const float* d_dst,
                             float* d_weight, float* d_bias) {
  if (d_bias != nullptr) BackwardBias(r, d_dst, d_bias);
  BackwardWeightsTogether(r, src, d_dst, d_weight);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lseg {

HWY_EXPORT(Forward);
HWY_EXPORT(ForwardBFloat16);
HWY_EXPORT(BackwardData);
HWY_EXPORT(BackwardDataBFloat16);
HWY_EXPORT(BackwardWeights);
HWY_EXPORT(BackwardWeightsBFloat16);

int64_t PointwiseRows(int64_t outputs) { return outputs > 4 ? 8 : outputs > 2 ? 4 : outputs; }

void PointwiseForward(const PointwiseRange& range, const float* src, const float* weight,
                      const float* bias, bool relu, float* dst) {
  HWY_DYNAMIC_DISPATCH(Forward)(range, src, weight, bias, relu, dst);
}
void PointwiseForward(const PointwiseRange& range, const BFloat16* src, const float* weight,
                      const float* bias, bool relu, float* dst) {
  HWY_DYNAMIC_DISPATCH(ForwardBFloat16)(range, src, weight, bias, relu, dst);
}

void PointwiseBackwardData(const PointwiseRange& range, const float* d_dst, const float* weight,
                           bool add, float* d_src) {
  HWY_DYNAMIC_DISPATCH(BackwardData)(range, d_dst, weight, add, d_src);
}
void PointwiseBackwardData(const PointwiseRange& range, const float* d_dst, const float* weight,
                           bool add, BFloat16* d_src) {
  HWY_DYNAMIC_DISPATCH(BackwardDataBFloat16)(range, d_dst, weight, add, d_src);
}

void PointwiseBackwardWeights(const PointwiseRange& range, const float* src, const float* d_dst,
                              float* d_weight, float* d_bias) {
  HWY_DYNAMIC_DISPATCH(BackwardWeights)(range, src, d_dst, d_weight, d_bias);
}
void PointwiseBackwardWeights(const PointwiseRange& range, const BFloat16* src, const float* d_dst,
                              float* d_weight, float* d_bias) {
  HWY_DYNAMIC_DISPATCH(BackwardWeightsBFloat16)(range, src, d_dst, d_weight, d_bias);
}

}  // namespace lseg
#endif
