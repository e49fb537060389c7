// ReLU and sigmoid. Bound by memory: forward moves 2 elements' bytes an element (read, written),
// backward 3, or 4 where it adds.
#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/math.cuh"
#include "kernels/cuda/ops.h"

namespace lseg::cuda {
namespace {

template <class T>
struct ReluForwardOp {
  const T* src;
  T* dst;
  float slope;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    Vector<T, kWidth> v = Load<kWidth>(src + at);
    for (T& value : v.at) {
      const float x = ToFloat(value);
      // At slope 0 minus infinity becomes 0, not 0 * infinity; a NaN stays one.
      const float below = slope == 0 ? (x < 0 ? 0.0f : x) : slope * x;
      value = FromFloat<T>(x > 0 ? x : below);
    }
    Store(dst + at, v);
  }
};

template <class T, bool kAdd>
struct ReluBackwardOp {
  const T *dst, *d_dst;
  T* d_src;
  float slope;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    const Vector<T, kWidth> y = Load<kWidth>(dst + at);
    Vector<T, kWidth> v = Load<kWidth>(d_dst + at), before;
    if constexpr (kAdd) before = Load<kWidth>(d_src + at);
    for (int i = 0; i < kWidth; ++i) {
      float gradient = ToFloat(v.at[i]) * (ToFloat(y.at[i]) > 0 ? 1.0f : slope);
      if constexpr (kAdd) gradient += ToFloat(before.at[i]);
      v.at[i] = FromFloat<T>(gradient);
    }
    Store(d_src + at, v);
  }
};

struct SigmoidForwardOp {
  const float* src;
  float* dst;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    Vector<float, kWidth> v = Load<kWidth>(src + at);
    for (float& value : v.at) value = Sigmoid(value);
    Store(dst + at, v);
  }
};

template <bool kAdd>
struct SigmoidBackwardOp {
  const float *dst, *d_dst;
  float* d_src;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    const Vector<float, kWidth> y = Load<kWidth>(dst + at);
    Vector<float, kWidth> v = Load<kWidth>(d_dst + at), before;
    if constexpr (kAdd) before = Load<kWidth>(d_src + at);
    for (int i = 0; i < kWidth; ++i) {
      v.at[i] *= y.at[i] * (1.0f - y.at[i]);
      if constexpr (kAdd) v.at[i] += before.at[i];
    }
    Store(d_src + at, v);
  }
};

struct Terms {
  SumTerm at[kMostSumTerms];
  int count;
};

template <class T, bool kAdd>
struct WeightedSumOp {
  Terms terms;
  T* dst;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    float sum[kWidth] = {};
#pragma unroll
    for (int t = 0; t < kMostSumTerms; ++t) {  // unrolled: the terms stay out of local memory
      if (t >= terms.count) break;
      const auto v = Load<kWidth>(static_cast<const T*>(terms.at[t].src) + at);
      for (int i = 0; i < kWidth; ++i) sum[i] += terms.at[t].coefficient * ToFloat(v.at[i]);
    }
    Vector<T, kWidth> result;
    if constexpr (kAdd) result = Load<kWidth>(dst + at);
    for (int i = 0; i < kWidth; ++i) {
      result.at[i] = FromFloat<T>(kAdd ? sum[i] + ToFloat(result.at[i]) : sum[i]);
    }
    Store(dst + at, result);
  }
};

}  // namespace

void ReluForward(Context& context, int64_t count, float slope, const void* src, void* dst,
                 DType dtype) {
  WithElementType(dtype, [&](auto element) {
    using T = decltype(element);
    RunElementwise<kVectorWidth<T>>(
        context, "relu forward", count, IsAligned(src, 16) && IsAligned(dst, 16),
        ReluForwardOp<T>{static_cast<const T*>(src), static_cast<T*>(dst), slope});
  });
}

void ReluBackward(Context& context, int64_t count, float slope, const void* dst, const void* d_dst,
                  void* d_src, GradMode d_src_mode, DType dtype) {
  const bool aligned = IsAligned(dst, 16) && IsAligned(d_dst, 16) && IsAligned(d_src, 16);
  WithElementType(dtype, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](const auto& op) {
      RunElementwise<kVectorWidth<T>>(context, "relu backward", count, aligned, op);
    };
    const auto *y = static_cast<const T*>(dst), *from = static_cast<const T*>(d_dst);
    auto* to = static_cast<T*>(d_src);
    if (d_src_mode == GradMode::kAdd) {
      run(ReluBackwardOp<T, true>{y, from, to, slope});
    } else {
      run(ReluBackwardOp<T, false>{y, from, to, slope});
    }
  });
}

void SigmoidForward(Context& context, int64_t count, const float* src, float* dst) {
  RunElementwise<4>(context, "sigmoid forward", count, IsAligned(src, 16) && IsAligned(dst, 16),
                    SigmoidForwardOp{src, dst});
}

void SigmoidBackward(Context& context, int64_t count, const float* dst, const float* d_dst,
                     float* d_src, GradMode d_src_mode) {
  const bool aligned = IsAligned(dst, 16) && IsAligned(d_dst, 16) && IsAligned(d_src, 16);
  if (d_src_mode == GradMode::kAdd) {
    RunElementwise<4>(context, "sigmoid backward", count, aligned,
                      SigmoidBackwardOp<true>{dst, d_dst, d_src});
  } else {
    RunElementwise<4>(context, "sigmoid backward", count, aligned,
                      SigmoidBackwardOp<false>{dst, d_dst, d_src});
  }
}

void WeightedSum(Context& context, int64_t count, std::span<const SumTerm> terms, void* dst,
                 GradMode dst_mode, DType dtype) {
  Terms list{{}, static_cast<int>(terms.size())};
  bool aligned = IsAligned(dst, 16);
  for (size_t t = 0; t < terms.size(); ++t) {
    list.at[t] = terms[t];
    aligned = aligned && IsAligned(terms[t].src, 16);
  }
  WithElementType(dtype, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](const auto& op) {
      RunElementwise<kVectorWidth<T>>(context, "weighted sum", count, aligned, op);
    };
    if (dst_mode == GradMode::kAdd) {
      run(WeightedSumOp<T, true>{list, static_cast<T*>(dst)});
    } else {
      run(WeightedSumOp<T, false>{list, static_cast<T*>(dst)});
    }
  });
}

}  // namespace lseg::cuda
