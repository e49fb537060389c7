// One pass over memory each; limited by its bandwidth.
#include "kernels/elementwise.h"

#include "kernels/cpu/float_types.h"
#include "kernels/cpu/loops.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/runtime/dispatch.h"

namespace lseg {
namespace {

template <class T>
LSEG_INLINE void Relu(int64_t count, float slope, const T* src, T* dst) {
  if (slope == 0) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      dst[i] = 0.0f > ToFloat(src[i]) ? T() : src[i];  // keeps a NaN
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float value = ToFloat(src[i]), scaled = slope * value;
      dst[i] = FromFloat<T>(value > 0 ? value : scaled);
    }
  }
}
LSEG_MULTIVERSION void ReluChunk(int64_t count, float slope, const float* src, float* dst) {
  Relu(count, slope, src, dst);
}
LSEG_MULTIVERSION void ReluChunk(int64_t count, float slope, const BFloat16* src, BFloat16* dst) {
  Relu(count, slope, src, dst);
}

template <class T>
LSEG_INLINE void ReluGradient(int64_t count, float slope, const T* dst, const T* d_dst, T* d_src,
                              bool add) {
  if (add) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float factor = ToFloat(dst[i]) > 0 ? 1.0f : slope;
      d_src[i] = FromFloat<T>(ToFloat(d_src[i]) + ToFloat(d_dst[i]) * factor);
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float factor = ToFloat(dst[i]) > 0 ? 1.0f : slope;
      d_src[i] = FromFloat<T>(ToFloat(d_dst[i]) * factor);
    }
  }
}
LSEG_MULTIVERSION void ReluGradientChunk(int64_t count, float slope, const float* dst,
                                         const float* d_dst, float* d_src, bool add) {
  ReluGradient(count, slope, dst, d_dst, d_src, add);
}
LSEG_MULTIVERSION void ReluGradientChunk(int64_t count, float slope, const BFloat16* dst,
                                         const BFloat16* d_dst, BFloat16* d_src, bool add) {
  ReluGradient(count, slope, dst, d_dst, d_src, add);
}

LSEG_MULTIVERSION void SigmoidChunk(int64_t count, const float* src, float* dst) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) dst[i] = Sigmoid(src[i]);
}

LSEG_MULTIVERSION void SigmoidGradientChunk(int64_t count, const float* dst, const float* d_dst,
                                            float* d_src, bool add) {
  if (add) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) d_src[i] += d_dst[i] * (dst[i] * (1.0f - dst[i]));
  } else {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) d_src[i] = d_dst[i] * (dst[i] * (1.0f - dst[i]));
  }
}

// Adds coefficient * src to sum, or writes it.
template <class T>
LSEG_INLINE void AddTerm(int64_t count, float coefficient, const T* src, float* sum, bool first) {
  if (first) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) sum[i] = coefficient * ToFloat(src[i]);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) sum[i] += coefficient * ToFloat(src[i]);
  }
}

// Of a chunk that stays in the first-level cache.
constexpr int64_t kSumChunk = 1024;
template <class T>
LSEG_INLINE void Sum(int64_t count, std::span<const SumTerm> terms, int64_t begin, T* dst,
                     bool add) {
  float sum[kSumChunk];
  for (size_t t = 0; t < terms.size(); ++t) {
    AddTerm(count, terms[t].coefficient, static_cast<const T*>(terms[t].src) + begin, sum, t == 0);
  }
  if (add) AddTerm(count, 1.0f, dst, sum, false);
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) dst[i] = FromFloat<T>(sum[i]);
}
LSEG_MULTIVERSION void SumChunk(int64_t count, std::span<const SumTerm> terms, int64_t begin,
                                float* dst, bool add) {
  Sum(count, terms, begin, dst, add);
}
LSEG_MULTIVERSION void SumChunk(int64_t count, std::span<const SumTerm> terms, int64_t begin,
                                BFloat16* dst, bool add) {
  Sum(count, terms, begin, dst, add);
}

void CheckCount(const char* op, int64_t count) {
  LSEG_CHECK(count >= 0, op << ": " << count << " elements were asked for; it must be 0 or more");
}

void CheckSlope(float slope) {
  LSEG_CHECK(slope >= 0, "ReLU: negative_slope " << slope << " must be 0 or more: its gradient is "
                                                 << "found from its output");
}

}  // namespace

void ReluForward(Context& context, int64_t count, float slope, const void* src, void* dst,
                 DType dtype) {
  CheckCount("ReLU", count);
  CheckSlope(slope);
  LSEG_ON_CUDA(context, ReluForward(context, count, slope, src, dst, dtype));
  WithFloatType(dtype, "ReLU", [&](auto type) {
    using T = decltype(type);
    const auto* from = static_cast<const T*>(src);
    auto* to = static_cast<T*>(dst);
    ForChunks(context, count, [=](int64_t begin, int64_t size) {
      ReluChunk(size, slope, from + begin, to + begin);
    });
  });
}

void ReluBackward(Context& context, int64_t count, float slope, const void* dst, const void* d_dst,
                  void* d_src, GradMode d_src_mode, DType dtype) {
  CheckCount("ReLU", count);
  CheckSlope(slope);
  if (d_src_mode == GradMode::kSkip) return;
  LSEG_ON_CUDA(context, ReluBackward(context, count, slope, dst, d_dst, d_src, d_src_mode, dtype));
  const bool add = d_src_mode == GradMode::kAdd;
  WithFloatType(dtype, "ReLU", [&](auto type) {
    using T = decltype(type);
    const auto* y = static_cast<const T*>(dst);
    const auto* from = static_cast<const T*>(d_dst);
    auto* to = static_cast<T*>(d_src);
    ForChunks(context, count, [=](int64_t begin, int64_t size) {
      ReluGradientChunk(size, slope, y + begin, from + begin, to + begin, add);
    });
  });
}

void SigmoidForward(Context& context, int64_t count, const float* src, float* dst) {
  CheckCount("sigmoid", count);
  LSEG_ON_CUDA(context, SigmoidForward(context, count, src, dst));
  ForChunks(context, count,
            [=](int64_t begin, int64_t size) { SigmoidChunk(size, src + begin, dst + begin); });
}

void SigmoidBackward(Context& context, int64_t count, const float* dst, const float* d_dst,
                     float* d_src, GradMode d_src_mode) {
  CheckCount("sigmoid", count);
  if (d_src_mode == GradMode::kSkip) return;
  LSEG_ON_CUDA(context, SigmoidBackward(context, count, dst, d_dst, d_src, d_src_mode));
  ForChunks(context, count, [=](int64_t begin, int64_t size) {
    SigmoidGradientChunk(size, dst + begin, d_dst + begin, d_src + begin,
                         d_src_mode == GradMode::kAdd);
  });
}

void WeightedSum(Context& context, int64_t count, std::span<const SumTerm> terms, void* dst,
                 GradMode dst_mode, DType dtype) {
  CheckCount("sum", count);
  LSEG_CHECK(!terms.empty() && terms.size() <= kMostSumTerms,
             "sum: " << terms.size() << " terms; there must be from 1 to " << kMostSumTerms);
  if (dst_mode == GradMode::kSkip) return;
  LSEG_ON_CUDA(context, WeightedSum(context, count, terms, dst, dst_mode, dtype));
  WithFloatType(dtype, "sum", [&](auto type) {
    auto* to = static_cast<decltype(type)*>(dst);
    ForChunks(context, count, [=](int64_t begin, int64_t size) {
      for (int64_t at = 0; at < size; at += kSumChunk) {
        SumChunk(std::min(kSumChunk, size - at), terms, begin + at, to + begin + at,
                 dst_mode == GradMode::kAdd);
      }
    });
  });
}

}  // namespace lseg
