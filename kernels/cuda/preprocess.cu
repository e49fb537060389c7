// Bound by memory: 3 bytes read and 12 written a pixel. A thread takes four pixels, three words of
// the image, where rows allow.
#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/preprocess.h"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kBytes = PreprocessParams::kChannels;  // of a pixel

// The parameters in plain arrays: a kernel cannot call std::array.
struct Channels {
  int order[kBytes];
  float mean[kBytes];
};

// kWidth neighbouring pixels, as words where there are four.
template <int kWidth>
struct Pixels {
  uint8_t bytes[kWidth * kBytes];

  __device__ explicit Pixels(const uint8_t* from) {
    constexpr int kWord = kWidth == 4 ? 4 : 1;
    for (int i = 0; i < kWidth * kBytes; i += kWord) {
      const Vector<uint8_t, kWord> word = Load<kWord>(from + i);
      for (int k = 0; k < kWord; ++k) bytes[i + k] = word.at[k];
    }
  }
};

template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    PreprocessPixels(const __grid_constant__ PreprocessParams p,
                     const __grid_constant__ Channels channels, const uint8_t* src,
                     const float* mean_image, float* dst) {
  const int64_t x = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWidth;
  if (x >= p.width) return;
  const int64_t column = p.left + (p.mirror ? p.width - 1 - x : x);
  const int64_t src_plane = p.src_height * p.src_width;
  for (int64_t n = blockIdx.z; n < p.batch; n += gridDim.z) {
    for (int64_t y = blockIdx.y; y < p.height; y += gridDim.y) {
      const int64_t at = (p.top + y) * p.src_width + column;
      const Pixels<kWidth> pixels(src + (n * src_plane + at) * kBytes);
      for (int c = 0; c < kBytes; ++c) {
        Vector<float, kWidth> v;
        for (int i = 0; i < kWidth; ++i) {
          const float mean =
              mean_image == nullptr ? channels.mean[c] : mean_image[c * src_plane + at + i];
          // A choice, not an index: registers have none.
          const uint8_t* b = pixels.bytes + i * kBytes;
          const uint8_t value = channels.order[c] == 0   ? b[0]
                                : channels.order[c] == 1 ? b[1]
                                                         : b[2];
          v.at[i] = (static_cast<float>(value) - mean) * p.scale;
        }
        Store(dst + ((n * kBytes + c) * p.height + y) * p.width + x, v);
      }
    }
  }
}

}  // namespace

void Preprocess(Context& context, const PreprocessParams& params, const uint8_t* src,
                const float* mean_image, float* dst) {
  const PreprocessParams& p = params;
  const bool vectors = !p.mirror && p.width % 4 == 0 && p.src_width % 4 == 0 && p.left % 4 == 0 &&
                       IsAligned(src, 4) && IsAligned(dst, 16);
  Channels channels;
  std::copy(p.order.begin(), p.order.end(), channels.order);
  std::copy(p.mean.begin(), p.mean.end(), channels.mean);
  const dim3 grid(static_cast<unsigned>(CeilDiv(p.width, kThreads * (vectors ? 4 : 1))),
                  static_cast<unsigned>(std::min<int64_t>(p.height, 65535)),
                  static_cast<unsigned>(std::min<int64_t>(p.batch, 65535)));
  const auto launch = [&](auto kernel) {
    kernel<<<grid, kThreads, 0, StreamOf(context)>>>(p, channels, src, mean_image, dst);
  };
  vectors ? launch(PreprocessPixels<4>) : launch(PreprocessPixels<1>);
  CheckLaunch("preprocess");
}

}  // namespace lseg::cuda
