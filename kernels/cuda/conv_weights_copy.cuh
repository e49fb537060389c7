// What the backward weights on the tensor cores share: rows of pixels in shared memory, where a
// block is in the image, and the copies of its rows.
#pragma once

#include "kernels/cuda/conv_weights_kernel.h"
#include "kernels/cuda/ptx.cuh"

namespace lseg::cuda {

// A row of pixels in shared memory: of each pixel kChannels channels.
template <class T, int kChannels>
struct PixelRow {
  static constexpr int kPixelBytes = kChannels * sizeof(T);
  static constexpr int kSegments = kPixelBytes / 16;

  // Where a segment of 16 bytes stands. With 2 bytes ldmatrix reads one segment of eight pixels in
  // succession; with f32 the lanes read eight neighbouring channels of four pixels. Either way no
  // bank is touched twice.
  __device__ static int At(int pixel, int segment) {
    if constexpr (sizeof(T) == 4) {
      return pixel * kPixelBytes + (segment ^ (pixel & 3) * 2) * 16;
    } else {
      constexpr int kPixels = 128 / kPixelBytes;  // of 128 bytes
      return pixel * kPixelBytes + (segment ^ (pixel / kPixels & (kSegments - 1))) * 16;
    }
  }
};

// Where a block is: a row of a segment of a strip, counted from two rows of src before the first
// row of d_dst that it takes.
struct WeightsCursor {
  __device__ WeightsCursor(const ConvWeightsArgs& args) : segment(blockIdx.y) { Start(args); }

  __device__ void Start(const ConvWeightsArgs& args) {
    row = 0;
    image = segment / args.segments_y / args.strips;
    x = segment / args.segments_y % args.strips * kWeightsPixels;
    y = segment % args.segments_y * args.segment_rows;
    rows = min(args.segment_rows, args.out_height - y) + 2;
  }
  __device__ bool Done(const ConvWeightsArgs& args) const { return segment >= args.segments; }
  __device__ void Next(const ConvWeightsArgs& args) {
    if (++row < rows) return;
    segment += gridDim.y;
    Start(args);
  }

  int segment, image, x, y, rows, row;
};

// A thread's copies of the rows of one tensor: its segment of each kStep-th of kPixels pixels.
template <class T, int kChannels, int kPixels, int kThreads>
class RowCopy {
 public:
  __device__ explicit RowCopy(const void* tensor, int first_channel, int channels)
      : tensor_(static_cast<const T*>(tensor)), channels_(channels) {
    channel_ = first_channel + threadIdx.x % Row::kSegments * (16 / static_cast<int>(sizeof(T)));
    pixel_ = threadIdx.x / Row::kSegments;
    to_ = Row::At(pixel_, threadIdx.x % Row::kSegments);
  }

  // The strip from column x on, its next row being y.
  __device__ void Start(int image, int height, int width, int y, int x) {
    y_ = y;
    height_ = height;
    pitch_ = width * channels_;
    from_ = tensor_ + (static_cast<int64_t>(image) * height + y) * pitch_ +
            static_cast<int64_t>(x + pixel_) * channels_ + channel_;
    valid_ = 0;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int at = x + pixel_ + i * kStep;
      valid_ |= (channel_ < channels_ && at >= 0 && at < width) << i;
    }
  }

  // Queues the next row's copies; zeros for what is outside the tensor, or for all of it.
  __device__ void Next(uint32_t row, bool zeros = false) {
    const bool inside = static_cast<unsigned>(y_) < static_cast<unsigned>(height_);
    const int valid = inside && !zeros ? valid_ : 0;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const bool wanted = (i + 1) * kStep <= kPixels || pixel_ + i * kStep < kPixels;
      const T* from = from_ + i * kStep * channels_;
      CpAsync16OrZeros(row + to_ + i * kStep * Row::kPixelBytes, valid >> i & 1 ? from : tensor_,
                       valid >> i & 1, wanted);
    }
    from_ += pitch_;
    ++y_;
  }

 private:
  using Row = PixelRow<T, kChannels>;
  static constexpr int kStep = kThreads / Row::kSegments;
  static constexpr int kCopies = (kPixels + kStep - 1) / kStep;
  static_assert(kStep % 8 == 0, "all copies of a thread have the same place in their pixels");

  const T* tensor_;
  const T* from_ = nullptr;
  int channels_, channel_, pixel_, to_;
  int y_ = 0, height_ = 0, pitch_ = 0, valid_ = 0;
};

}  // namespace lseg::cuda
