// Plans of the implicit GEMM: which cases it takes, how weights are packed, and its launches.
#include <limits>

#include "kernels/cuda/conv_gemm.h"
#include "kernels/cuda/conv_gemm_kernel.h"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

constexpr const char* kTileNames[kConvGemmTiles] = {"implicit_gemm_128x128",
                                                    "implicit_gemm_256x128", "implicit_gemm_256x64",
                                                    "implicit_gemm_128x64", "implicit_gemm_64x64"};

ConvGemmKernel KernelFor(DType dtype, int tile) {
  switch (dtype) {
    case DType::kBF16:
      return ConvGemmKernelBf16(tile);
    case DType::kF16:
      return ConvGemmKernelF16(tile);
    case DType::kF32:
      return ConvGemmKernelTf32(tile);
    default:
      LSEG_FAIL("the implicit GEMM takes bf16, f16 and f32, not " << ToString(dtype));
  }
}

// The convolution as the kernel sees it: in -> out, whichever direction.
struct Sides {
  Shape in, out;
  int64_t pad_h, pad_w;
};

Sides SidesOf(const ConvParams& p, ConvDirection direction) {
  if (direction == ConvDirection::kForward) return {p.src, p.Dst(), p.pad_h, p.pad_w};
  return {p.Dst(), p.src, 2 - p.pad_h, 2 - p.pad_w};
}

int64_t Chunks(const Sides& sides, DType dtype) {
  return CeilDiv(sides.in.c * SizeOf(dtype), kRowBytes);
}

struct PackArgs {
  int in_channels, out_channels, padded_outputs;
  bool turned;    // weight is [in][out][tap]; taps in reverse
  int64_t count;  // threads: chunks * padded_outputs * 8
};

// One thread a 16-byte segment of an output's packed weights, for all taps: they lie side by side
// in `weight`.
template <class T>
__global__ void PackConvGemmWeights(const PackArgs args, const float* weight, T* packed) {
  constexpr int kWidth = kVectorWidth<T>, kChunk = kRowBytes / sizeof(T);
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= args.count) return;
  const int segment = static_cast<int>(index % 8);
  const int output = static_cast<int>(index / 8 % args.padded_outputs);
  const int64_t chunk = index / 8 / args.padded_outputs;
  const int64_t input = chunk * kChunk + segment * kWidth;
  for (int tap = 0; tap < kConvTaps; ++tap) {
    Vector<T, kWidth> values;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      float value = 0;
      if (output < args.out_channels && input + i < args.in_channels) {
        value = args.turned
                    ? weight[((input + i) * args.out_channels + output) * kConvTaps + kConvTaps -
                             1 - tap]
                    : weight[(int64_t{output} * args.in_channels + input + i) * kConvTaps + tap];
      }
      if constexpr (sizeof(T) == 4) value = RoundToTf32(value);
      values.at[i] = FromFloat<T>(value);
    }
    T* row = packed + ((chunk * kConvTaps + tap) * args.padded_outputs + output) * kChunk;
    Store(row + SwizzledByte(output, segment * 16) / sizeof(T), values);
  }
}

class ConvGemmPlan : public ConvPlan {
 public:
  ConvGemmPlan(const ConvParams& params, ConvDirection direction, DType dtype, int tile)
      : params_(params),
        direction_(direction),
        dtype_(dtype),
        tile_(tile),
        kernel_(KernelFor(dtype, tile)),
        sides_(SidesOf(params, direction)) {
    args_.images = static_cast<int>(sides_.in.n);
    args_.in_height = static_cast<int>(sides_.in.h);
    args_.in_width = static_cast<int>(sides_.in.w);
    args_.in_channels = static_cast<int>(sides_.in.c);
    args_.out_height = static_cast<int>(sides_.out.h);
    args_.out_width = static_cast<int>(sides_.out.w);
    args_.out_channels = static_cast<int>(sides_.out.c);
    args_.pad_y = static_cast<int>(sides_.pad_h);
    args_.pad_x = static_cast<int>(sides_.pad_w);
    args_.chunks = static_cast<int>(Chunks(sides_, dtype));
    args_.patches_y = static_cast<int>(CeilDiv(sides_.out.h, kernel_.patch_height));
    args_.patches_x = static_cast<int>(CeilDiv(sides_.out.w, kPatchWidth));
    args_.output_tiles = static_cast<int>(CeilDiv(sides_.out.c, kernel_.outputs));
    LSEG_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel_.run),
                                         cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         kernel_.shared_bytes(2)));
  }

  int64_t PackedWeightBytes() const override {
    return int64_t{args_.chunks} * kConvTaps * args_.output_tiles * kernel_.outputs * kRowBytes;
  }

  void PackWeights(Context& context, const float* weight, void* packed) const override {
    const PackArgs args = {
        args_.in_channels, args_.out_channels, args_.output_tiles * kernel_.outputs,
        direction_ == ConvDirection::kBackwardData, PackedWeightBytes() / 16 / kConvTaps};
    const unsigned blocks = static_cast<unsigned>(CeilDiv(args.count, 256));
    WithElementType(dtype_, [&](auto element) {
      using T = decltype(element);
      PackConvGemmWeights<T>
          <<<blocks, 256, 0, StreamOf(context)>>>(args, weight, static_cast<T*>(packed));
    });
    CheckLaunch("PackConvGemmWeights");
  }

  void Run(Context& context, const ConvArgs& run) const override {
    ConvGemmArgs args = args_;
    args.weight = run.weight;
    if (direction_ == ConvDirection::kForward) {
      args.in = run.src;
      args.out = run.dst;
      args.bias = params_.bias ? run.bias : nullptr;
      args.relu = params_.relu;
    } else {
      if (run.d_src_mode == GradMode::kSkip) return;
      args.in = run.d_dst;
      args.out = run.d_src;
      args.add = run.d_src_mode == GradMode::kAdd;
    }
    LSEG_CHECK(IsAligned(args.in, 16) && IsAligned(args.out, 16) && IsAligned(args.weight, 16),
               kTileNames[tile_] << ": tensors must be aligned to 16 bytes");
    const unsigned blocks = static_cast<unsigned>(Blocks());
    kernel_.run<<<blocks, kernel_.threads, kernel_.shared_bytes(args.chunks), StreamOf(context)>>>(
        args);
    CheckLaunch(kTileNames[tile_]);
  }

 private:
  int64_t Blocks() const {
    return int64_t{args_.images} * args_.patches_y * args_.patches_x * args_.output_tiles;
  }

  ConvParams params_;
  ConvDirection direction_;
  DType dtype_;
  int tile_;
  ConvGemmKernel kernel_;
  Sides sides_;
  ConvGemmArgs args_ = {};
};

template <int kTile>
bool Supports(const Context&, const ConvParams& p, ConvDirection direction, ConvFormats formats) {
  const DType dtype = formats.src_dtype;
  const bool type = formats.dst_dtype == dtype && (dtype == DType::kBF16 || dtype == DType::kF16 ||
                                                   (dtype == DType::kF32 && p.allow_tf32));
  if (direction == ConvDirection::kBackwardWeights || !type || formats.src != Format::kNHWC ||
      formats.dst != Format::kNHWC || p.kernel_h != 3 || p.kernel_w != 3 || p.stride_h != 1 ||
      p.stride_w != 1 || p.dilation_h != 1 || p.dilation_w != 1 || p.group != 1 ||
      p.src.c % 8 != 0 || p.out_channels % 8 != 0) {
    return false;
  }
  // Pixels of an image, bytes of a pixel and blocks are counted in 32 bits.
  const Sides sides = SidesOf(p, direction);
  const int64_t most = std::numeric_limits<int32_t>::max() / 8;
  const ConvGemmKernel kernel = KernelFor(dtype, kTile);
  if (sides.in.h * sides.in.w > most || sides.out.h * sides.out.w > most || sides.in.c > most ||
      sides.out.c > most || sides.out.n * sides.out.h * sides.out.w > most || sides.pad_h > most ||
      sides.pad_w > most || sides.pad_h < -most || sides.pad_w < -most) {
    return false;
  }
  int shared_bytes = 0;
  LSEG_CUDA_CHECK(
      cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  return kernel.shared_bytes(2) <= shared_bytes;
}

template <int kTile>
std::unique_ptr<ConvPlan> Make(const Context&, const ConvParams& params, ConvDirection direction,
                               ConvFormats formats) {
  return std::make_unique<ConvGemmPlan>(params, direction, formats.src_dtype, kTile);
}

}  // namespace

std::vector<ConvEngine> ConvGemmEngines() {
  return {{kTileNames[0], Supports<0>, Make<0>},
          {kTileNames[1], Supports<1>, Make<1>},
          {kTileNames[2], Supports<2>, Make<2>},
          {kTileNames[3], Supports<3>, Make<3>},
          {kTileNames[4], Supports<4>, Make<4>}};
}

}  // namespace lseg::cuda
