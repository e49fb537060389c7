// A thread a pixel of the crop. It reads and writes about 4 + 12 + classes bytes a pixel; weights
// in double, as the CPU has them, make it bound by arithmetic: some microseconds a crop.
#include <algorithm>

#include "kernels/crop_resample.h"
#include "kernels/crop_taps.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 128;

// The parameters in plain arrays: a kernel cannot call std::array.
struct Colours {
  float gain[CropResampleParams::kChannels], offset[CropResampleParams::kChannels];
};

__global__ void __launch_bounds__(kThreads)
    ResamplePixels(const __grid_constant__ CropResampleParams params,
                   const __grid_constant__ Colours colours, const uint8_t* src,
                   const uint8_t* class_bits, float* data, uint8_t* label) {
  const int64_t x = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (x >= params.width) return;
  for (int64_t y = blockIdx.y; y < params.height; y += gridDim.y) {
    WriteCropPixel(params, colours.gain, colours.offset, src, class_bits, y, x, data, label);
  }
}

}  // namespace

void CropResample(Context& context, const CropResampleParams& params, const uint8_t* src,
                  const uint8_t* class_bits, float* data, uint8_t* label) {
  Colours colours;
  for (int c = 0; c < CropResampleParams::kChannels; ++c) {
    colours.gain[c] = params.gain[c];
    colours.offset[c] = params.offset[c] - params.mean[2 - c];
  }
  const dim3 grid(static_cast<unsigned>(CeilDiv(params.width, kThreads)),
                  static_cast<unsigned>(std::min<int64_t>(params.height, 65535)));
  ResamplePixels<<<grid, kThreads, 0, StreamOf(context)>>>(params, colours, src, class_bits, data,
                                                           label);
  CheckLaunch("crop");
}

}  // namespace lseg::cuda
