// Pixel by pixel, plainly: on the CPU crops are made by lseg/augment.h, which goes by rows.
#include "kernels/crop_resample.h"

#include "kernels/crop_taps.h"
#include "kernels/runtime/dispatch.h"

namespace lseg {

void CropResampleParams::Validate() const {
  LSEG_CHECK(src_height > 0 && src_width > 0 && scaled_height > 0 && scaled_width > 0,
             "crop: a photograph of " << src_height << "x" << src_width << ", scaled to "
                                      << scaled_height << "x" << scaled_width << ", is empty");
  LSEG_CHECK(height > 0 && width > 0, "crop: " << height << "x" << width << " is empty");
  LSEG_CHECK(classes >= 0 && classes <= kMaxClasses,
             "crop: " << classes << " classes, at most " << kMaxClasses);
}

void CropResample(Context& context, const CropResampleParams& params, const uint8_t* src,
                  const uint8_t* class_bits, float* data, uint8_t* label) {
  params.Validate();
  LSEG_ON_CUDA(context, CropResample(context, params, src, class_bits, data, label));
  float offset[CropResampleParams::kChannels];  // less the mean
  for (int c = 0; c < 3; ++c) offset[c] = params.offset[c] - params.mean[2 - c];
#pragma omp parallel for schedule(static) num_threads(context.threads())
  for (int64_t y = 0; y < params.height; ++y) {
    for (int64_t x = 0; x < params.width; ++x) {
      WriteCropPixel(params, params.gain.data(), offset, src, class_bits, y, x, data, label);
    }
  }
}

}  // namespace lseg
