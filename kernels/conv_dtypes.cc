#include "kernels/conv_dtypes.h"

#include "kernels/cpu/onednn.h"

namespace lseg {

std::string MissingForConvs(const Context& context, DType dtype) {
  if (context.device() == Device::kCuda || dtype == DType::kF32) return "";
  if (dtype != DType::kBF16) return "a GPU";
  return onednn::HasBf16() ? "" : "a processor with AVX512-BF16, or a GPU";
}

Format FormatOfConvs(const Context& context, DType dtype) {
  const bool f32 = dtype == DType::kF32;
  return f32 || context.device() == Device::kCuda ? context.blocked_format() : Format::kNHWC;
}

}  // namespace lseg
