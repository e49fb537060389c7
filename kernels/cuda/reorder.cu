// Bound by memory: an element read and one written (and one more read where it adds). NCHW and NHWC
// are each other's transposes, image by image: a tile goes through shared memory, so that both
// sides are read and written along their rows.
#include <algorithm>

#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/reorder.h"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTileElements = 2048;

template <class S, class D>
struct ConvertOp {
  const S* src;
  D* dst;
  bool add;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    const Vector<S, kWidth> from = Load<kWidth>(src + at);
    Vector<D, kWidth> to;
    if (add) to = Load<kWidth>(dst + at);
    for (int i = 0; i < kWidth; ++i) {
      const float value = ToFloat(from.at[i]);
      to.at[i] = FromFloat<D>(add ? ToFloat(to.at[i]) + value : value);
    }
    Store(dst + at, to);
  }
};

struct Plane {
  int64_t channels, pixels;  // of one image
};

// Calls f(channel, pixel, offset) for the elements of a tile, neighbours in memory by neighbouring
// threads; `offset` is the element's from the tile's first, in an image of that order.
template <int kChannels, int kPixels, bool kNhwc, class F>
__device__ void ForTile(const Plane& plane, F f) {
  constexpr int kLength = kNhwc ? kChannels : kPixels, kRows = kNhwc ? kPixels : kChannels;
  constexpr int kAlong = kLength < kThreads ? kLength : kThreads, kAcross = kThreads / kAlong;
  const int64_t row_step = kNhwc ? plane.channels : plane.pixels;
  const int first = threadIdx.x % kAlong;
  int64_t row_offset = threadIdx.x / kAlong * row_step;
#pragma unroll 4
  for (int row = threadIdx.x / kAlong; row < kRows; row += kAcross) {
    for (int at = first; at < kLength; at += kAlong) {
      kNhwc ? f(at, row, row_offset + at) : f(row, at, row_offset + at);
    }
    row_offset += kAcross * row_step;
  }
}

// kChannels: of a tile; few where the image has few. A row of the tile has so many words more than
// pixels that the 32 elements a warp takes across channels lie in 32 banks.
template <class S, class D, int kChannels, bool kToNhwc>
__global__ void __launch_bounds__(kThreads, 4)
    Transpose(int64_t images, Plane plane, bool add, const S* src, D* dst) {
  constexpr int kPixels = kTileElements / kChannels;
  __shared__ float tile[kChannels][kPixels + (32 + kChannels - 1) / kChannels];
  const int64_t channel = int64_t{blockIdx.y} * kChannels, pixel = int64_t{blockIdx.x} * kPixels;
  const int channels = static_cast<int>(min(plane.channels - channel, int64_t{kChannels}));
  const int pixels = static_cast<int>(min(plane.pixels - pixel, int64_t{kPixels}));
  const int64_t nchw = channel * plane.pixels + pixel, nhwc = pixel * plane.channels + channel;
  for (int64_t n = blockIdx.z; n < images; n += gridDim.z) {
    const int64_t image = n * plane.channels * plane.pixels;
    const S* from = src + image + (kToNhwc ? nchw : nhwc);
    ForTile<kChannels, kPixels, !kToNhwc>(plane, [&](int c, int p, int64_t offset) {
      if (c < channels && p < pixels) tile[c][p] = ToFloat(from[offset]);
    });
    __syncthreads();
    D* to = dst + image + (kToNhwc ? nhwc : nchw);
    ForTile<kChannels, kPixels, kToNhwc>(plane, [&](int c, int p, int64_t offset) {
      if (c >= channels || p >= pixels) return;
      to[offset] = FromFloat<D>(add ? ToFloat(to[offset]) + tile[c][p] : tile[c][p]);
    });
    __syncthreads();
  }
}

template <int kChannels, class S, class D>
void LaunchTranspose(const Context& context, int64_t images, const Plane& plane, bool to_nhwc,
                     bool add, const S* src, D* dst) {
  constexpr int kPixels = kTileElements / kChannels;
  const dim3 grid(static_cast<unsigned>(CeilDiv(plane.pixels, kPixels)),
                  static_cast<unsigned>(CeilDiv(plane.channels, kChannels)),
                  static_cast<unsigned>(std::min<int64_t>(images, 65535)));
  const auto launch = [&](auto kernel) {
    kernel<<<grid, kThreads, 0, StreamOf(context)>>>(images, plane, add, src, dst);
  };
  to_nhwc ? launch(Transpose<S, D, kChannels, true>) : launch(Transpose<S, D, kChannels, false>);
  CheckLaunch("reorder");
}

template <class S, class D>
void Convert(const Context& context, int64_t count, bool add, const S* src, D* dst) {
  constexpr int kWidth = std::min(kVectorWidth<S>, kVectorWidth<D>);
  const bool aligned = IsAligned(src, kWidth * sizeof(S)) && IsAligned(dst, kWidth * sizeof(D));
  RunElementwise<kWidth>(context, "convert", count, aligned, ConvertOp<S, D>{src, dst, add});
}

void CheckFormat(Format format) {
  LSEG_CHECK(format == Format::kNCHW || format == Format::kNHWC,
             "reorder on a GPU knows " << ToString(Format::kNCHW) << " and "
                                       << ToString(Format::kNHWC) << ", not " << ToString(format));
}

struct CastToU8Op {
  const float* src;
  uint8_t* dst;
  int32_t* fault;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    const Vector<float, kWidth> from = Load<kWidth>(src + at);
    Vector<uint8_t, kWidth> to;
    bool good = true;
    for (int i = 0; i < kWidth; ++i) {
      const float value = from.at[i];
      to.at[i] = value >= 0 && value <= 255 ? static_cast<uint8_t>(value) : 0;
      good = good && static_cast<float>(to.at[i]) == value;  // a NaN equals nothing
    }
    Store(dst + at, to);
    if (!good) atomicCAS(fault, 0, static_cast<int32_t>(DeviceFault::kBadLabel));
  }
};

struct CastToF32Op {
  const uint8_t* src;
  float* dst;

  template <int kWidth>
  __device__ void Run(int64_t at) const {
    const Vector<uint8_t, kWidth> from = Load<kWidth>(src + at);
    Vector<float, kWidth> to;
    for (int i = 0; i < kWidth; ++i) to.at[i] = static_cast<float>(from.at[i]);
    Store(dst + at, to);
  }
};

}  // namespace

void Reorder(Context& context, const Shape& shape, Format src_format, const void* src,
             Format dst_format, void* dst, GradMode mode, DType src_dtype, DType dst_dtype) {
  CheckFormat(src_format);
  CheckFormat(dst_format);
  const bool add = mode == GradMode::kAdd;
  const Plane plane{shape.c, shape.h * shape.w};
  const bool same_order = src_format == dst_format || plane.channels == 1 || plane.pixels == 1;
  WithElementType(src_dtype, [&](auto src_element) {
    WithElementType(dst_dtype, [&](auto dst_element) {
      const auto* from = static_cast<const decltype(src_element)*>(src);
      auto* to = static_cast<decltype(dst_element)*>(dst);
      const bool to_nhwc = dst_format == Format::kNHWC;
      if (same_order) {
        Convert(context, shape.Count(), add, from, to);
      } else if (plane.channels <= 4) {
        LaunchTranspose<4>(context, shape.n, plane, to_nhwc, add, from, to);
      } else {
        LaunchTranspose<32>(context, shape.n, plane, to_nhwc, add, from, to);
      }
    });
  });
}

void CastToU8(Context& context, int64_t count, const float* src, uint8_t* dst) {
  RunElementwise<4>(context, "cast to u8", count, IsAligned(src, 16) && IsAligned(dst, 4),
                    CastToU8Op{src, dst, FaultWord(context)});
}

void CastToF32(Context& context, int64_t count, const uint8_t* src, float* dst) {
  RunElementwise<4>(context, "cast to f32", count, IsAligned(src, 4) && IsAligned(dst, 16),
                    CastToF32Op{src, dst});
}

}  // namespace lseg::cuda
