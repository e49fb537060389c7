// Backward weights of a 3x3 convolution on Hopper's tensor cores (wgmma, sm_90a): the walk down
// strips of the image, the copies and the parts in the workspace are those of conv_weights.cuh. The
// products are turned round: their rows are input channels, their columns output channels.
//
// A block has 64 x 64 channels and all taps, by three warpgroups, of which each has one column of
// taps. A row of src, shifted by its column, is read into registers once and multiplied with the
// three rows of d_dst that see it through the column's taps, which the tensor cores read from
// shared memory themselves. Where a tap sees past a segment's end, its row of d_dst is zeros.
//
// Shared memory a row of 32 pixels and a warpgroup: 4 KB for the registers and 12 KB for the
// products, of which the tensor cores, alone, take 192 cycles; 128 bytes a cycle make this 128.
#include "kernels/cuda/conv_weights_copy.cuh"
#include "kernels/cuda/conv_weights_kernel.h"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/ptx_sm90a.cuh"
#include "kernels/cuda/wgmma.cuh"
#include "kernels/runtime/check.h"

namespace lseg::cuda {
namespace {

constexpr int kChannels = 64;  // of src and of d_dst, that a block has
constexpr int kColumns = 3;    // of taps; warpgroups
constexpr int kThreads = 128 * kColumns;
constexpr int kSteps = kWeightsPixels / 16;  // of a product's depth, in a row
constexpr int kAhead = 3;                    // rows on their way
// Rows of src in the ring: besides those the one that is read. Of d_dst: three that are read, and
// one that products of the row before may still be reading.
constexpr int kSourceRows = kAhead + 1, kGradientRows = kAhead + 4;
constexpr int kSourceBytes = (kWeightsPixels + 2) * kChannels * 2;
constexpr int kGradientBytes = kWeightsPixels * kChannels * 2;
constexpr int kSourcesAt = kGradientRows * kGradientBytes;
constexpr int kSharedBytes = kSourcesAt + kSourceRows * kSourceBytes;
constexpr int kBiasGroups = 8;  // of pixels, that are added up apart
static_assert(kGradientBytes % 1024 == 0, "for the swizzle");
static_assert(kSharedBytes >= kBiasGroups * kChannels * 4, "for the bias' sums");

template <class T>
class RowRing {
 public:
  __device__ RowRing(const ConvWeightsArgs& args, uint32_t shared)
      : cursor_(args),
        gradient_copy_(args.d_dst, static_cast<int>(blockIdx.x) / args.input_tiles * kChannels,
                       args.outputs),
        source_copy_(args.src, static_cast<int>(blockIdx.x) % args.input_tiles * kChannels,
                     args.inputs),
        shared_(shared) {}

  // Queues the rows of the cursor, if any, as one group; behind a segment's last row of d_dst come
  // two of zeros.
  __device__ void Next(const ConvWeightsArgs& args) {
    if (!cursor_.Done(args)) {
      if (cursor_.row == 0) {
        gradient_copy_.Start(cursor_.image, args.out_height, args.out_width, cursor_.y, cursor_.x);
        source_copy_.Start(cursor_.image, args.in_height, args.in_width, cursor_.y - args.pad_y,
                           cursor_.x - args.pad_x);
      }
      source_copy_.Next(shared_ + kSourcesAt + source_ * kSourceBytes);
      gradient_copy_.Next(shared_ + gradient_ * kGradientBytes, cursor_.row + 2 >= cursor_.rows);
      source_ = source_ + 1 == kSourceRows ? 0 : source_ + 1;
      gradient_ = gradient_ + 1 == kGradientRows ? 0 : gradient_ + 1;
      ++queued_;
      cursor_.Next(args);
    }
    CommitGroup();
  }
  // Rows so far.
  __device__ int queued() const { return queued_; }

 private:
  WeightsCursor cursor_;
  RowCopy<T, kChannels, kWeightsPixels, kThreads> gradient_copy_;
  RowCopy<T, kChannels, kWeightsPixels + 2, kThreads> source_copy_;
  uint32_t shared_;
  int source_ = 0, gradient_ = 0, queued_ = 0;
};

// Sums of d_dst over pixels: a thread has two outputs and every kBiasGroups-th pixel, of the first
// 8 warps.
template <class T>
class BiasSums {
 public:
  __device__ void Add(const uint8_t* row) {
    if (threadIdx.x >= kBiasGroups * 32) return;
    const int pair = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kWeightsPixels / kBiasGroups; ++i) {
      const int pixel = i * kBiasGroups + threadIdx.x / 32;
      const T* two = reinterpret_cast<const T*>(row + Row::At(pixel, pair / 4) + pair % 4 * 4);
      sums_[0] += ToFloat(two[0]);
      sums_[1] += ToFloat(two[1]);
    }
  }

  // Through shared memory that nobody uses any more.
  __device__ void Store(const ConvWeightsArgs& args, uint8_t* shared) const {
    float* groups = reinterpret_cast<float*>(shared);
    if (threadIdx.x < kBiasGroups * 32) {
      *reinterpret_cast<float2*>(groups + threadIdx.x * 2) = make_float2(sums_[0], sums_[1]);
    }
    __syncthreads();
    const int output =
        static_cast<int>(blockIdx.x) / args.input_tiles * kChannels + static_cast<int>(threadIdx.x);
    if (threadIdx.x >= kChannels || output >= args.outputs) return;
    float sum = 0;
    for (int group = 0; group < kBiasGroups; ++group)
      sum += groups[group * kChannels + threadIdx.x];
    args.partials[blockIdx.y * args.part_elements +
                  int64_t{kWeightsTaps} * args.outputs * args.inputs + output] = sum;
  }

 private:
  using Row = PixelRow<T, kChannels>;
  float sums_[2] = {};
};

// To the block's part of the workspace: [tap][output][input]. Eight lanes fill 32 bytes.
__device__ void StoreProducts(const ConvWeightsArgs& args,
                              const float (&sums)[3][kChannels / 8][4]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, column = threadIdx.x / 128;
  const int output = static_cast<int>(blockIdx.x) / args.input_tiles * kChannels + lane % 4 * 2;
  const int input =
      static_cast<int>(blockIdx.x) % args.input_tiles * kChannels + warp * 16 + lane / 4;
  const int64_t tap = int64_t{args.outputs} * args.inputs;
  float* to = args.partials + blockIdx.y * args.part_elements + column * tap +
              int64_t{output} * args.inputs + input;
#pragma unroll
  for (int n = 0; n < kChannels / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (output + n * 8 + i >= args.outputs) return;
#pragma unroll
      for (int row = 0; row < 3; ++row) {
        if (input < args.inputs) to[row * kColumns * tap] = sums[row][n][i];
        if (input + 8 < args.inputs) to[row * kColumns * tap + 8] = sums[row][n][i + 2];
      }
      to += args.inputs;
    }
    to += 6 * args.inputs;
  }
}

// Block (tile of outputs and inputs, part of the pixels).
template <class T>
__global__ void __launch_bounds__(kThreads, 1) ConvWeightsWgmma(const ConvWeightsArgs args) {
  using Row = PixelRow<T, kChannels>;
  extern __shared__ __align__(1024) uint8_t shared[];
  const uint32_t begin = SharedAddress(shared);
  // The rows of d_dst before the first one, which the ring has for its last two.
  for (int i = threadIdx.x; i < 2 * kGradientBytes / 16; i += kThreads) {
    reinterpret_cast<uint4*>(shared + kSourcesAt)[-1 - i] = make_uint4(0, 0, 0, 0);
  }
  RowRing<T> ring(args, begin);
  for (int i = 0; i < kAhead; ++i) ring.Next(args);
  const bool wants_bias = args.bias && blockIdx.x % args.input_tiles == 0;
  BiasSums<T> bias;
  float sums[3][kChannels / 8][4] = {};
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, column = threadIdx.x / 128;
  // Matrices of ldmatrix: channels 0-7 and 8-15 of pixels 0-7, and the same of pixels 8-15.
  const uint32_t pixels = Row::At(lane % 8 + lane / 16 * 8 + column, warp * 2 + lane / 8 % 2);
  uint32_t source = begin + kSourcesAt, gradient = begin;  // the rows that are new
  uint32_t before[2] = {begin + (kGradientRows - 1) * kGradientBytes,
                        begin + (kGradientRows - 2) * kGradientBytes};
  uint32_t a[kSteps][4];
  int row = 0;
  do {  // a block has a row at least
    WaitGroup<kAhead - 1>();
    FenceForProducts();
    __syncthreads();  // the rows are there, and everybody is done with those the copies go to
    ring.Next(args);
    LdmatrixX4Trans(a[0], source + pixels);
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      const uint32_t at = k * 16 * Row::kPixelBytes;
      WarpgroupFence();
      ProductTurned<T>(sums[0], a[k], SwizzledRows(gradient + at));
      ProductTurned<T>(sums[1], a[k], SwizzledRows(before[0] + at));
      ProductTurned<T>(sums[2], a[k], SwizzledRows(before[1] + at));
      CommitProducts();
      WaitProducts<1>();  // those of the step before are done with their pixels
      if (k + 1 < kSteps) LdmatrixX4Trans(a[k + 1], source + pixels + at + 16 * Row::kPixelBytes);
    }
    if (wants_bias) bias.Add(shared + (gradient - begin));
    before[1] = before[0];
    before[0] = gradient;
    gradient += kGradientBytes;
    if (gradient == begin + kSourcesAt) gradient = begin;
    source += kSourceBytes;
    if (source == begin + kSharedBytes) source = begin + kSourcesAt;
  } while (++row < ring.queued());
  WaitProducts<0>();
#pragma unroll
  for (int tap = 0; tap < 3; ++tap) PinSums(sums[tap]);
  WaitGroup<0>();
  StoreProducts(args, sums);
  if (!wants_bias) return;
  __syncthreads();  // shared memory is free
  bias.Store(args, shared);
}

template <class T>
ConvWeightsKernel KernelOf() {
  return {.run = ConvWeightsWgmma<T>,
          .outputs = kChannels,
          .inputs = kChannels,
          .threads = kThreads,
          .blocks = 1,
          .shared_bytes = kSharedBytes};
}

}  // namespace

ConvWeightsKernel ConvWeightsKernelWgmma(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return KernelOf<__nv_bfloat16>();
    case DType::kF16:
      return KernelOf<__half>();
    default:
      LSEG_FAIL("backward weights with wgmma take bf16 and f16, not " << ToString(dtype));
  }
}

}  // namespace lseg::cuda
