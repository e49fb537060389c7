#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/ops.h"

namespace lseg::cuda {
namespace {

template <class T, bool kAdd>
struct DropoutOp {
  const int32_t* batch;
  const T* src;
  T* dst;
  uint64_t seed;
  uint32_t threshold;
  float scale;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    const uint64_t key = DropoutKey(seed, *batch);
    const auto v = Load<kWidth>(src + at);
    Vector<T, kWidth> result;
    if constexpr (kAdd) result = Load<kWidth>(dst + at);
    for (int i = 0; i < kWidth; ++i) {
      const float kept = IsKept(key, at + i, threshold) ? scale * ToFloat(v.at[i]) : 0.0f;
      result.at[i] = FromFloat<T>(kAdd ? ToFloat(result.at[i]) + kept : kept);
    }
    Store(dst + at, result);
  }
};

}  // namespace

void Dropout(Context& context, const DropoutParams& params, const int32_t* batch, const void* src,
             void* dst, GradMode dst_mode, DType dtype) {
  const bool aligned = IsAligned(src, 16) && IsAligned(dst, 16);
  const uint32_t threshold = DropoutThreshold(params);
  const float scale = 1.0f / (1.0f - params.ratio);
  WithElementType(dtype, [&](auto element) {
    using T = decltype(element);
    constexpr int kWidth = kVectorWidth<T>;
    const auto run = [&](const auto& op) {
      RunElementwise<kWidth>(context, "dropout", params.count, aligned, op);
    };
    const auto* from = static_cast<const T*>(src);
    auto* to = static_cast<T*>(dst);
    if (dst_mode == GradMode::kAdd) {
      run(DropoutOp<T, true>{batch, from, to, params.seed, threshold, scale});
    } else {
      run(DropoutOp<T, false>{batch, from, to, params.seed, threshold, scale});
    }
  });
}

}  // namespace lseg::cuda
