// Engine "cublas". The pixels of a map and its channels are a matrix: row by row in NHWC, column by
// column in NCHW; there image by image, for the images are not one matrix.
#include <cublas_v2.h>

#include <limits>

#include "kernels/cpu/conv_engines.h"
#include "kernels/cuda/conv_bias.h"
#include "kernels/cuda/launch.h"
#include "kernels/cudnn/engines.h"
#include "kernels/reorder.h"

namespace lseg::cudnn {
namespace {

#define LSEG_CUBLAS_CHECK(call)                                                  \
  do {                                                                           \
    const cublasStatus_t lseg_status = (call);                                   \
    LSEG_CHECK(lseg_status == CUBLAS_STATUS_SUCCESS,                             \
               "cuBLAS: " #call ": " << cublasGetStatusName(lseg_status) << ": " \
                                     << cublasGetStatusString(lseg_status));     \
  } while (false)

// What cuBLAS recommends for a GPU of compute capability 9. Given explicitly, since what cuBLAS
// takes for itself depends on what ran before, and could not be recorded in a graph.
constexpr int64_t kGemmWorkspace = int64_t{32} << 20;

class Handle {
 public:
  Handle() { LSEG_CUBLAS_CHECK(cublasCreate(&handle_)); }
  ~Handle() { cublasDestroy(handle_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  cublasHandle_t For(const Context& context, void* workspace) {
    LSEG_CUBLAS_CHECK(cublasSetStream(handle_, cuda::StreamOf(context)));
    LSEG_CUBLAS_CHECK(cublasSetWorkspace(handle_, workspace, kGemmWorkspace));
    LSEG_CUBLAS_CHECK(cublasSetMathMode(
        handle_, static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH |
                                           CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)));
    return handle_;
  }

 private:
  cublasHandle_t handle_ = nullptr;
};

// One a thread: a handle is set up by each run.
Handle& ThreadHandle() {
  thread_local Handle handle;
  return handle;
}

cudaDataType_t TypeOf(DType dtype) {
  return dtype == DType::kF32 ? CUDA_R_32F : dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_16F;
}

// A matrix in memory: rows lie next to each other (row_major) or columns do, `stride` apart.
struct Matrix {
  const void* data;
  DType dtype;
  bool row_major;
  int64_t stride;
  int64_t image = 0;  // elements from one image's to the next's

  Matrix Transposed() const { return {data, dtype, !row_major, stride, image}; }
};

// out = a b + beta out for each of `images`; out is rows x columns, a sum has `terms`.
void Gemm(cublasHandle_t handle, cublasComputeType_t compute, int64_t rows, int64_t columns,
          int64_t terms, Matrix a, Matrix b, const Matrix& out, float beta, int64_t images) {
  // cuBLAS writes columns: a result in rows is the transposed product, b' a'.
  if (out.row_major) {
    std::swap(rows, columns);
    std::swap(a, b);
    a = a.Transposed();
    b = b.Transposed();
  }
  const auto operation = [](const Matrix& m) { return m.row_major ? CUBLAS_OP_T : CUBLAS_OP_N; };
  const float one = 1;
  LSEG_CUBLAS_CHECK(cublasGemmStridedBatchedEx(
      handle, operation(a), operation(b), static_cast<int>(rows), static_cast<int>(columns),
      static_cast<int>(terms), &one, a.data, TypeOf(a.dtype), static_cast<int>(a.stride), a.image,
      b.data, TypeOf(b.dtype), static_cast<int>(b.stride), b.image, &beta,
      const_cast<void*>(out.data), TypeOf(out.dtype), static_cast<int>(out.stride), out.image,
      static_cast<int>(images), compute, CUBLAS_GEMM_DEFAULT));
}

class CublasPlan : public ConvPlan {
 public:
  CublasPlan(const Context& context, const ConvParams& params, ConvDirection direction,
             ConvFormats formats)
      : p_(params),
        dst_(params.Dst()),
        direction_(direction),
        formats_(formats),
        bias_gradient_(context, dst_, formats.dst, formats.dst_dtype),
        weight_dtype_(direction == ConvDirection::kForward ? formats.src_dtype : formats.dst_dtype),
        compute_(params.allow_tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F) {
    if (weight_dtype_ != DType::kF32) compute_ = CUBLAS_COMPUTE_32F;
    const bool whole = formats.src == Format::kNHWC && formats.dst == Format::kNHWC;
    images_ = whole ? 1 : dst_.n;
    pixels_ = dst_.n * dst_.h * dst_.w / images_;
    gemm_at_ = parts_.Add(kGemmWorkspace);
    if (direction == ConvDirection::kBackwardWeights && p_.bias) {
      bias_at_ = parts_.Add(bias_gradient_.WorkspaceBytes());
    }
    ThreadHandle();  // its memory, before anything is recorded
  }

  int64_t WorkspaceBytes(GradMode) const override { return parts_.Bytes(); }
  int64_t PackedWeightBytes() const override {
    const bool packs =
        direction_ != ConvDirection::kBackwardWeights && weight_dtype_ != DType::kF32;
    return packs ? p_.Weight().Count() * SizeOf(weight_dtype_) : 0;
  }
  void PackWeights(Context& context, const float* weight, void* packed) const override {
    Reorder(context, p_.Weight(), Format::kNCHW, weight, Format::kNCHW, packed, GradMode::kWrite,
            DType::kF32, weight_dtype_);
  }

  void Run(Context& context, const ConvArgs& args) const override {
    if (direction_ == ConvDirection::kBackwardData && args.d_src_mode == GradMode::kSkip) return;
    const bool weights = direction_ == ConvDirection::kBackwardWeights;
    if (weights && args.d_weight_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, direction_, args);
    char* workspace = WorkspaceParts::Start(args.workspace);
    const cublasHandle_t handle = ThreadHandle().For(context, workspace + gemm_at_);
    const Matrix weight{args.weight, weight_dtype_, true, p_.src.c};
    if (direction_ == ConvDirection::kForward) {
      Gemm(handle, compute_, pixels_, dst_.c, p_.src.c, Src(args.src), weight.Transposed(),
           Dst(args.dst), 0, images_);
      if (p_.bias || p_.relu) {
        cuda::AddBiasRelu(context, dst_, formats_.dst, formats_.dst_dtype, args.dst,
                          p_.bias ? args.bias : nullptr, p_.relu);
      }
    } else if (!weights) {
      Gemm(handle, compute_, pixels_, p_.src.c, dst_.c, Dst(args.d_dst), weight, Src(args.d_src),
           args.d_src_mode == GradMode::kAdd ? 1 : 0, images_);
    } else {
      Weights(handle, args);
      if (p_.bias) {
        bias_gradient_.Run(context, args.d_dst, args.d_bias, args.d_weight_mode == GradMode::kAdd,
                           workspace + bias_at_);
      }
    }
  }

 private:
  // The images one after another: they share the sums.
  void Weights(cublasHandle_t handle, const ConvArgs& args) const {
    const Matrix out{args.d_weight, DType::kF32, true, p_.src.c};
    for (int64_t image = 0; image < images_; ++image) {
      Matrix src = Src(args.src), d_dst = Dst(args.d_dst).Transposed();
      src.data = static_cast<const char*>(src.data) + image * src.image * SizeOf(src.dtype);
      d_dst.data = static_cast<const char*>(d_dst.data) + image * d_dst.image * SizeOf(d_dst.dtype);
      const bool add = args.d_weight_mode == GradMode::kAdd || image > 0;
      Gemm(handle, compute_, dst_.c, p_.src.c, pixels_, d_dst, src, out, add ? 1 : 0, 1);
    }
  }

  // Pixels x channels.
  Matrix Map(const void* data, Format format, DType dtype, int64_t channels) const {
    const bool row_major = format == Format::kNHWC;
    return {data, dtype, row_major, row_major ? channels : pixels_, pixels_ * channels};
  }
  Matrix Src(const void* data) const {
    return Map(data, formats_.src, formats_.src_dtype, p_.src.c);
  }
  Matrix Dst(const void* data) const { return Map(data, formats_.dst, formats_.dst_dtype, dst_.c); }

  ConvParams p_;
  Shape dst_;
  ConvDirection direction_;
  ConvFormats formats_;
  cuda::BiasGradient bias_gradient_;
  DType weight_dtype_;
  cublasComputeType_t compute_;
  int64_t images_ = 1, pixels_ = 0;
  WorkspaceParts parts_;
  int64_t gemm_at_ = 0, bias_at_ = 0;
};

}  // namespace

// Both factors of a product have one type, the sums that or f32.
bool SupportsConvCublas(const Context&, const ConvParams& p, ConvDirection direction,
                        ConvFormats formats) {
  const auto plain = [](Format f) { return f == Format::kNCHW || f == Format::kNHWC; };
  if (!plain(formats.src) || !plain(formats.dst) || !IsFloat(formats.src_dtype) ||
      !IsFloat(formats.dst_dtype)) {
    return false;
  }
  if (p.kernel_h != 1 || p.kernel_w != 1 || p.stride_h != 1 || p.stride_w != 1 || p.pad_h != 0 ||
      p.pad_w != 0 || p.group != 1 || p.HasStageEnd() || p.relu_gradient) {
    return false;
  }
  const int64_t most = std::numeric_limits<int32_t>::max();
  if (p.src.n * p.src.h * p.src.w > most || p.src.c > most || p.out_channels > most) return false;
  const DType src = formats.src_dtype, dst = formats.dst_dtype;
  switch (direction) {
    case ConvDirection::kForward:
      return dst == src || dst == DType::kF32;
    case ConvDirection::kBackwardData:
      return src == dst || src == DType::kF32;
    case ConvDirection::kBackwardWeights:
      return src == dst;
  }
  return false;
}

std::unique_ptr<ConvPlan> MakeConvCublas(const Context& context, const ConvParams& params,
                                         ConvDirection direction, ConvFormats formats) {
  return std::make_unique<CublasPlan>(context, params, direction, formats);
}

}  // namespace lseg::cudnn
