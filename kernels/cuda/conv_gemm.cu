// Plans of the implicit GEMM: which cases it takes, and its launches.
#include <iterator>
#include <limits>
#include <utility>

#include "kernels/cuda/conv_gemm.h"
#include "kernels/cuda/conv_gemm_kernel.h"
#include "kernels/cuda/conv_gemm_pack.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

enum class Kind { kMma, kWgmma, kSimt };

struct Variant {
  const char* name;
  Kind kind;
  int tile;  // of its kind
};

// In order of preference where nobody has measured. First the tile that nobody is far behind with:
// of the others 128x128 gains 4 % where there are 128 outputs or more, and takes twice the time for
// 64.
constexpr Variant kVariants[] = {
    {"implicit_gemm_256x64", Kind::kMma, 2},  {"implicit_gemm_128x128", Kind::kMma, 0},
    {"implicit_gemm_256x128", Kind::kMma, 1}, {"implicit_gemm_128x64", Kind::kMma, 3},
    {"implicit_gemm_64x64", Kind::kMma, 4},   {"wgmma_gemm_256x128", Kind::kWgmma, 0},
    {"wgmma_gemm_128x128", Kind::kWgmma, 1},  {"wgmma_gemm_256x64", Kind::kWgmma, 2},
    {"simt_gemm_128x128", Kind::kSimt, 0},    {"simt_gemm_128x64", Kind::kSimt, 1}};
constexpr size_t kVariantCount = std::size(kVariants);
static_assert(kVariantCount == kConvGemmTiles + kConvWgmmaTiles + kConvGemmSimtTiles);

ConvGemmKernel KernelFor(DType dtype, const Variant& variant, bool stage_end) {
  if (variant.kind == Kind::kSimt) return ConvGemmKernelSimt(variant.tile);
  if (variant.kind == Kind::kWgmma) return ConvGemmKernelWgmma(dtype, variant.tile, stage_end);
  switch (dtype) {
    case DType::kBF16:
      return ConvGemmKernelBf16(variant.tile, stage_end);
    case DType::kF16:
      return ConvGemmKernelF16(variant.tile, stage_end);
    case DType::kF32:
      return ConvGemmKernelTf32(variant.tile, stage_end);
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

int64_t Blocks(const Shape& out, const ConvGemmKernel& kernel) {
  return out.n * CeilDiv(out.h, kernel.patch_height) * CeilDiv(out.w, kPatchWidth) *
         CeilDiv(out.c, kernel.outputs);
}

int64_t Chunks(const Sides& sides, DType dtype) {
  return CeilDiv(sides.in.c * SizeOf(dtype), kRowBytes);
}

class ConvGemmPlan : public ConvPlan {
 public:
  ConvGemmPlan(const ConvParams& params, ConvDirection direction, DType dtype,
               const Variant& variant)
      : params_(params),
        direction_(direction),
        name_(variant.name),
        kernel_(KernelFor(dtype, variant, params.HasStageEnd())),
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
    packing_ = {.in_channels = args_.in_channels,
                .out_channels = args_.out_channels,
                .chunks = args_.chunks,
                .output_tiles = args_.output_tiles,
                .tile_outputs = kernel_.outputs,
                .turned = direction == ConvDirection::kBackwardData,
                .simt = variant.kind == Kind::kSimt,
                .dtype = dtype};
    LSEG_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel_.run),
                                         cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         kernel_.shared_bytes(2)));
  }

  int64_t PackedWeightBytes() const override {
    return int64_t{args_.chunks} * kConvTaps * args_.output_tiles * kernel_.outputs * kRowBytes;
  }

  int64_t ScorePartials() const override {
    if (params_.score_channels == 0) return 0;
    return int64_t{args_.output_tiles} * kernel_.score_partials;
  }

  void PackWeights(Context& context, const float* weight, void* packed) const override {
    const ConvPack pack = {this, weight, packed};
    cuda::PackConvWeights(context, {&pack, 1});
  }
  const ConvGemmPacking* GemmPacking() const override { return &packing_; }

  void Run(Context& context, const ConvArgs& run) const override {
    ConvGemmArgs args = args_;
    args.weight = run.weight;
    if (direction_ == ConvDirection::kForward) {
      args.in = run.src;
      args.out = run.dst;
      args.bias = params_.bias ? run.bias : nullptr;
      args.relu = params_.relu;
      if (params_.pooled) args.pooled = run.pooled;
      args.score_channels = static_cast<int>(params_.score_channels);
      args.score_weight = run.score_weight;
      args.score_partials = run.score_partials;
    } else {
      if (run.d_src_mode == GradMode::kSkip) return;
      args.in = run.d_dst;
      args.out = run.d_src;
      args.add = run.d_src_mode == GradMode::kAdd;
      if (params_.relu_gradient) args.mask = run.src;
    }
    LSEG_CHECK((args.pooled != nullptr || !params_.pooled) &&
                   (params_.score_channels == 0 ||
                    (args.score_weight != nullptr && args.score_partials != nullptr)),
               name_ << ": the end of a stage needs memory for what it makes");
    LSEG_CHECK(IsAligned(args.in, 16) && IsAligned(args.out, 16) && IsAligned(args.weight, 16) &&
                   IsAligned(args.pooled, 16) && IsAligned(args.mask, 16),
               name_ << ": tensors must be aligned to 16 bytes");
    const unsigned blocks = static_cast<unsigned>(Blocks(sides_.out, kernel_));
    kernel_.run<<<blocks, kernel_.threads, kernel_.shared_bytes(args.chunks), StreamOf(context)>>>(
        args);
    CheckLaunch(name_);
  }

 private:
  ConvParams params_;
  ConvDirection direction_;
  const char* name_;
  ConvGemmKernel kernel_;
  Sides sides_;
  ConvGemmArgs args_ = {};
  ConvGemmPacking packing_;
};

bool TakesType(Kind kind, DType dtype, bool allow_tf32) {
  if (kind == Kind::kSimt) return dtype == DType::kF32;
  return dtype == DType::kBF16 || dtype == DType::kF16 || (dtype == DType::kF32 && allow_tf32);
}

template <size_t kVariant>
bool Supports(const Context& context, const ConvParams& p, ConvDirection direction,
              ConvFormats formats) {
  constexpr const Variant& variant = kVariants[kVariant];
  const DType dtype = formats.src_dtype;
  if (p.HasStageEnd() && direction != ConvDirection::kForward) return false;
  if (direction == ConvDirection::kBackwardWeights || formats.dst_dtype != dtype ||
      !TakesType(variant.kind, dtype, p.allow_tf32) || formats.src != Format::kNHWC ||
      formats.dst != Format::kNHWC || p.kernel_h != 3 || p.kernel_w != 3 || p.stride_h != 1 ||
      p.stride_w != 1 || p.dilation_h != 1 || p.dilation_w != 1 || p.group != 1 ||
      p.src.c % 8 != 0 || p.out_channels % 8 != 0) {
    return false;
  }
  // Pixels of an image, bytes of a pixel and blocks are counted in 32 bits.
  const Sides sides = SidesOf(p, direction);
  const ConvGemmKernel kernel = KernelFor(dtype, variant, p.HasStageEnd());
  const int64_t most = std::numeric_limits<int32_t>::max();
  for (const int64_t size : {sides.in.n, sides.in.h, sides.in.w, sides.in.c, sides.out.c,
                             sides.out.h, sides.out.w, p.pad_h, p.pad_w}) {
    if (size > most / 16) return false;
  }
  if (sides.in.h * sides.in.w > most || Blocks(sides.out, kernel) > most) return false;
  if (variant.kind == Kind::kWgmma && !HasSm90a(context)) return false;
  int shared_bytes = 0;
  LSEG_CUDA_CHECK(
      cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  return kernel.shared_bytes(2) <= shared_bytes;
}

template <size_t kVariant>
std::unique_ptr<ConvPlan> Make(const Context&, const ConvParams& params, ConvDirection direction,
                               ConvFormats formats) {
  return std::make_unique<ConvGemmPlan>(params, direction, formats.src_dtype, kVariants[kVariant]);
}

template <size_t kVariant>
ConvEngine Engine() {
  constexpr const Variant& variant = kVariants[kVariant];
  return {.name = variant.name,
          .supports = Supports<kVariant>,
          .make = Make<kVariant>,
          .stage_end = variant.kind != Kind::kSimt,
          .unproven = variant.kind == Kind::kWgmma};
}

}  // namespace

std::vector<ConvEngine> ConvGemmEngines() {
  return []<size_t... kEach>(std::index_sequence<kEach...>) {
    return std::vector<ConvEngine>{Engine<kEach>()...};
  }
  (std::make_index_sequence<kVariantCount>());
}

}  // namespace lseg::cuda
