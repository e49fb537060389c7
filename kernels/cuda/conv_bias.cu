// Both are bound by memory: the map is read once (and written once), along its rows. The gradient
// leaves sums of parts of the pixels, which conv_partials.cuh adds up in their order.
#include <algorithm>

#include "kernels/cuda/conv_bias.h"
#include "kernels/cuda/conv_partials.cuh"
#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/reduce.cuh"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChannels = 32, kRows = kThreads / kChannels;  // of a block of SumNhwc

template <class T>
struct BiasReluOp {
  T* map;
  const float* bias;
  int64_t channels, step;  // from a channel to the next
  bool relu;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    Vector<T, kWidth> values = Load<kWidth>(map + at);
    int64_t channel = at / step % channels, place = at % step;
    for (int i = 0; i < kWidth; ++i) {
      float value = ToFloat(values.at[i]);
      if (bias != nullptr) value += bias[channel];
      if (relu) value = value < 0 ? 0 : value;  // a NaN stays one
      values.at[i] = FromFloat<T>(value);
      if (++place < step) continue;
      place = 0;
      if (++channel == channels) channel = 0;
    }
    Store(map + at, values);
  }
};

// A block sums 32 channels over part blockIdx.y of the pixels of all images.
template <class T>
__global__ void __launch_bounds__(kThreads)
    SumNhwc(const T* __restrict__ map, int64_t pixels, int64_t channels, float* partials) {
  __shared__ float sums[kRows][kChannels];
  const int64_t channel = int64_t{blockIdx.x} * kChannels + threadIdx.x;
  const int64_t step = int64_t{gridDim.y} * kRows;
  float sum = 0;
  if (channel < channels) {
#pragma unroll 4
    for (int64_t at = int64_t{blockIdx.y} * kRows + threadIdx.y; at < pixels; at += step) {
      sum += ToFloat(map[at * channels + channel]);
    }
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || channel >= channels) return;
  for (int row = 1; row < kRows; ++row) sum += sums[row][threadIdx.x];
  partials[blockIdx.y * channels + channel] = sum;
}

// A block sums channel blockIdx.x over part blockIdx.y of the pixels of each image.
template <class T>
__global__ void __launch_bounds__(kThreads)
    SumNchw(const T* __restrict__ map, int64_t images, int64_t pixels, int64_t channels,
            float* partials) {
  const int64_t step = int64_t{gridDim.y} * kThreads;
  float sum = 0;
  for (int64_t image = 0; image < images; ++image) {
    const T* plane = map + (image * channels + blockIdx.x) * pixels;
    for (int64_t at = int64_t{blockIdx.y} * kThreads + threadIdx.x; at < pixels; at += step) {
      sum += ToFloat(plane[at]);
    }
  }
  sum = BlockSum<kThreads>(sum);
  if (threadIdx.x == 0) partials[blockIdx.y * channels + blockIdx.x] = sum;
}

struct InOrder {
  float* to;
  __device__ float* operator()(int64_t index) const { return to + index; }
};

void CheckFormat(Format format) {
  LSEG_CHECK(format == Format::kNCHW || format == Format::kNHWC,
             "bias on a GPU: the map must be NCHW or NHWC, not " << ToString(format));
}

}  // namespace

void AddBiasRelu(const Context& context, const Shape& shape, Format format, DType dtype, void* map,
                 const float* bias, bool relu) {
  CheckFormat(format);
  WithElementType(dtype, [&](auto element) {
    using T = decltype(element);
    const BiasReluOp<T> op = {static_cast<T*>(map), bias, shape.c,
                              format == Format::kNHWC ? 1 : shape.h * shape.w, relu};
    RunElementwise<kVectorWidth<T>>(context, "AddBiasRelu", shape.Count(), IsAligned(map, 16), op);
  });
}

BiasGradient::BiasGradient(const Context& context, const Shape& shape, Format format, DType dtype)
    : shape_(shape), format_(format), dtype_(dtype) {
  CheckFormat(format);
  const bool nhwc = format == Format::kNHWC;
  const int64_t blocks = nhwc ? CeilDiv(shape.c, kChannels) : shape.c;
  const int64_t pixels = shape.h * shape.w * (nhwc ? shape.n : 1);
  // Eight blocks a multiprocessor, and 16 pixels a thread to make one worth it.
  const int64_t most = CeilDiv(pixels, 16 * (nhwc ? kRows : kThreads));
  parts_ = std::clamp<int64_t>(8 * Multiprocessors(context) / blocks, 1, most);
}

void BiasGradient::Run(const Context& context, const void* d_map, float* d_bias, bool add,
                       void* workspace) const {
  float* partials = static_cast<float*>(workspace);
  const unsigned parts = static_cast<unsigned>(parts_);
  const int64_t pixels = shape_.h * shape_.w;
  WithElementType(dtype_, [&](auto element) {
    const auto* map = static_cast<const decltype(element)*>(d_map);
    if (format_ == Format::kNHWC) {
      const dim3 grid(static_cast<unsigned>(CeilDiv(shape_.c, kChannels)), parts);
      SumNhwc<<<grid, dim3(kChannels, kRows), 0, StreamOf(context)>>>(map, shape_.n * pixels,
                                                                      shape_.c, partials);
    } else {
      SumNchw<<<dim3(static_cast<unsigned>(shape_.c), parts), kThreads, 0, StreamOf(context)>>>(
          map, shape_.n, pixels, shape_.c, partials);
    }
  });
  CheckLaunch("BiasGradient");
  RunSumPartials(context, partials, static_cast<int>(parts_), shape_.c, InOrder{d_bias}, add);
}

}  // namespace lseg::cuda
