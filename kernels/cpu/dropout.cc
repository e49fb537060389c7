#include "kernels/dropout.h"

#include "kernels/cpu/float_types.h"
#include "kernels/cpu/loops.h"
#include "kernels/runtime/dispatch.h"

namespace lseg {
namespace {

struct Mask {
  uint64_t key;
  uint32_t threshold;
  float scale;
};

template <class T>
LSEG_INLINE void Drop(int64_t begin, int64_t count, const Mask& given, const T* src, T* dst,
                      bool add) {
  const Mask mask = given;
  for (int64_t i = begin; i < begin + count; ++i) {
    const float kept = IsKept(mask.key, i, mask.threshold) ? mask.scale * ToFloat(src[i]) : 0.0f;
    dst[i] = FromFloat<T>(add ? ToFloat(dst[i]) + kept : kept);
  }
}
LSEG_MULTIVERSION void DropChunk(int64_t begin, int64_t count, const Mask& mask, const float* src,
                                 float* dst, bool add) {
  Drop(begin, count, mask, src, dst, add);
}
LSEG_MULTIVERSION void DropChunk(int64_t begin, int64_t count, const Mask& mask,
                                 const BFloat16* src, BFloat16* dst, bool add) {
  Drop(begin, count, mask, src, dst, add);
}

}  // namespace

void DropoutParams::Validate() const {
  LSEG_CHECK(count >= 0, "dropout: " << count << " elements; it must be 0 or more");
  LSEG_CHECK(ratio >= 0 && ratio < 1, "dropout_ratio " << ratio << " must be in [0, 1)");
}

void Dropout(Context& context, const DropoutParams& params, const int32_t* batch, const void* src,
             void* dst, GradMode dst_mode, DType dtype) {
  params.Validate();
  if (dst_mode == GradMode::kSkip) return;
  LSEG_ON_CUDA(context, Dropout(context, params, batch, src, dst, dst_mode, dtype));
  const Mask mask{DropoutKey(params.seed, *batch), DropoutThreshold(params),
                  1.0f / (1.0f - params.ratio)};
  WithFloatType(dtype, "dropout", [&](auto type) {
    using T = decltype(type);
    const auto* from = static_cast<const T*>(src);
    auto* to = static_cast<T*>(dst);
    ForChunks(context, params.count, [=](int64_t begin, int64_t size) {
      DropChunk(begin, size, mask, from, to, dst_mode == GradMode::kAdd);
    });
  });
}

}  // namespace lseg
