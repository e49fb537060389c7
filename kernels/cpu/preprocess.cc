// Row by row; bound by memory, 15 bytes a pixel.
#include "kernels/preprocess.h"

#include <algorithm>

#include "kernels/cpu/loops.h"
#include "kernels/runtime/dispatch.h"

namespace lseg {
namespace {

// One channel of a row: `from` is its first byte, `step` 3 or, mirrored, -3.
LSEG_MULTIVERSION void Channel(int64_t count, const uint8_t* from, int64_t step, float mean,
                               float scale, float* to) {
#pragma omp simd
  for (int64_t x = 0; x < count; ++x) {
    to[x] = (static_cast<float>(from[x * step]) - mean) * scale;
  }
}

LSEG_MULTIVERSION void ChannelWithMeans(int64_t count, const uint8_t* from, int64_t step,
                                        const float* means, float scale, float* to) {
  const int64_t mean_step = step < 0 ? -1 : 1;
#pragma omp simd
  for (int64_t x = 0; x < count; ++x) {
    to[x] = (static_cast<float>(from[x * step]) - means[x * mean_step]) * scale;
  }
}

}  // namespace

void PreprocessParams::Validate() const {
  LSEG_CHECK(batch > 0 && height > 0 && width > 0, "preprocessing: " << batch << " images of "
                                                                     << height << "x" << width
                                                                     << ": there must be some");
  LSEG_CHECK(top >= 0 && left >= 0 && top + height <= src_height && left + width <= src_width,
             "preprocessing: rows " << top << ".." << top + height << ", columns " << left << ".."
                                    << left + width << " do not lie in an image of " << src_height
                                    << "x" << src_width);
  for (const int channel : order) {
    LSEG_CHECK(channel >= 0 && channel < kChannels,
               "preprocessing: channel " << channel << " of an image that has " << kChannels);
  }
}

void Preprocess(Context& context, const PreprocessParams& params, const uint8_t* src,
                const float* mean_image, float* dst) {
  params.Validate();
  LSEG_ON_CUDA(context, Preprocess(context, params, src, mean_image, dst));
  const PreprocessParams& p = params;
  const int64_t first = p.left + (p.mirror ? p.width - 1 : 0), step = p.mirror ? -3 : 3;
#pragma omp parallel for collapse(2) schedule(static) num_threads(context.threads())
  for (int64_t n = 0; n < p.batch; ++n) {
    for (int64_t y = 0; y < p.height; ++y) {
      const int64_t row = p.top + y;
      const uint8_t* from = src + ((n * p.src_height + row) * p.src_width + first) * 3;
      for (int c = 0; c < PreprocessParams::kChannels; ++c) {
        float* to = dst + ((n * 3 + c) * p.height + y) * p.width;
        if (mean_image == nullptr) {
          Channel(p.width, from + p.order[c], step, p.mean[c], p.scale, to);
        } else {
          ChannelWithMeans(p.width, from + p.order[c], step,
                           mean_image + (c * p.src_height + row) * p.src_width + first, p.scale,
                           to);
        }
      }
    }
  }
}

}  // namespace lseg
