#include "kernels/conv_dtypes.h"

namespace lseg {

std::string MissingForConvs(const Context& context, DType dtype) {
  const bool own = dtype == DType::kF32 || dtype == DType::kBF16;
  return own || context.device() == Device::kCuda ? "" : "a GPU";
}

Format FormatOfConvs(const Context& context, DType dtype) {
  const bool f32 = dtype == DType::kF32;
  return f32 || context.device() == Device::kCuda ? context.blocked_format() : Format::kNHWC;
}

}  // namespace lseg
