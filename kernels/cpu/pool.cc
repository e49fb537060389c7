// Pooling: parameters, and the walk over planes and rows (pool_rows.h).
#include "kernels/pool.h"

#include "kernels/cpu/float_types.h"
#include "kernels/cpu/loops.h"
#include "kernels/cpu/pool_rows.h"
#include "kernels/runtime/dispatch.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

PoolAxis Rows(const PoolParams& p, int64_t out) {
  return {p.src.h, out, p.kernel_h, p.stride_h, p.pad_h};
}
PoolAxis Columns(const PoolParams& p, int64_t out) {
  return {p.src.w, out, p.kernel_w, p.stride_w, p.pad_w};
}

struct Layout {
  PoolGeometry geometry;
  int64_t planes, src_plane, dst_plane;  // plane sizes in elements
  int64_t argmax_plane;                  // in bytes
};

Layout LayoutOf(const PoolParams& params) {
  params.Validate();
  const Shape dst = params.Dst();
  const int64_t lanes = ChannelBlock(params.format, dst.c);
  const DType argmax = params.ArgmaxDType();
  return {{Rows(params, dst.h), Columns(params, dst.w), lanes, argmax},
          dst.n * CeilDiv(dst.c, lanes),
          params.src.h * params.src.w * lanes,
          dst.h * dst.w * lanes,
          dst.h * dst.w * lanes * SizeOf(argmax)};
}

void CheckAxis(const char* name, const PoolAxis& axis) {
  LSEG_CHECK(axis.kernel > 0 && axis.stride > 0, "pooling: kernel " << axis.kernel << " and stride "
                                                                    << axis.stride << " of the "
                                                                    << name << " must be positive");
  LSEG_CHECK(axis.pad >= 0 && axis.pad < axis.kernel,
             "pooling: pad " << axis.pad << " of the " << name << " must be in 0.."
                             << axis.kernel - 1 << ", below the kernel " << axis.kernel);
}

}  // namespace

void PoolParams::Validate() const {
  LSEG_CHECK(src.n > 0 && src.c > 0 && src.h > 0 && src.w > 0,
             "pooling: the input " << ToString(src) << " is empty");
  LSEG_CHECK(format != Format::kOpaque, "pooling: the format must be known, not opaque");
  CheckAxis("height", Rows(*this, 0));
  CheckAxis("width", Columns(*this, 0));
  LSEG_CHECK(kernel_h <= INT32_MAX / kernel_w,
             "pooling: kernel " << kernel_h << "x" << kernel_w << " is too large: positions in it "
                                << "are 32-bit integers");
  const Shape dst = Dst();
  LSEG_CHECK(dst.h > 0 && dst.w > 0, "pooling: kernel "
                                         << kernel_h << "x" << kernel_w << ", stride " << stride_h
                                         << "x" << stride_w << " and pad " << pad_h << "x" << pad_w
                                         << " leave nothing of the input " << ToString(src)
                                         << ": use a smaller kernel or a larger input");
}

Shape PoolParams::Dst() const {
  return {src.n, src.c, Rows(*this, 0).OutputSize(round_up),
          Columns(*this, 0).OutputSize(round_up)};
}

DType PoolParams::ArgmaxDType() const {
  return kernel_h * kernel_w <= 256 ? DType::kU8 : DType::kI32;
}

void PoolForward(Context& context, const PoolParams& params, const void* src, void* dst,
                 void* argmax) {
  const Layout layout = LayoutOf(params);
  LSEG_ON_CUDA(context, PoolForward(context, params, src, dst, argmax));
  const bool max = params.method == PoolParams::Method::kMax;
  auto* positions = static_cast<char*>(argmax);
  WithFloatType(params.dtype, "pooling", [&](auto type) {
    using T = decltype(type);
#pragma omp parallel for collapse(2) schedule(static) \
    num_threads(context.threads()) if (layout.planes * layout.src_plane > kParallelFrom)
    for (int64_t plane = 0; plane < layout.planes; ++plane) {
      for (int64_t row = 0; row < layout.geometry.rows.out; ++row) {
        PoolForwardRow(layout.geometry, max, row,
                       static_cast<const T*>(src) + plane * layout.src_plane,
                       static_cast<T*>(dst) + plane * layout.dst_plane,
                       positions == nullptr ? nullptr : positions + plane * layout.argmax_plane);
      }
    }
  });
}

void PoolBackward(Context& context, const PoolParams& params, const void* d_dst, const void* argmax,
                  void* d_src, GradMode d_src_mode, const void* relu_dst) {
  const Layout layout = LayoutOf(params);
  if (d_src_mode == GradMode::kSkip) return;
  const bool max = params.method == PoolParams::Method::kMax, add = d_src_mode == GradMode::kAdd;
  LSEG_CHECK(!max || argmax != nullptr,
             "pooling: the gradient of the maximum needs the positions that forward found");
  LSEG_ON_CUDA(context, PoolBackward(context, params, d_dst, argmax, d_src, d_src_mode, relu_dst));
  const auto* positions = static_cast<const char*>(argmax);
  WithFloatType(params.dtype, "pooling", [&](auto type) {
    using T = decltype(type);
    const auto* mask = static_cast<const T*>(relu_dst);
#pragma omp parallel for collapse(2) schedule(static) \
    num_threads(context.threads()) if (layout.planes * layout.src_plane > kParallelFrom)
    for (int64_t plane = 0; plane < layout.planes; ++plane) {
      for (int64_t row = 0; row < layout.geometry.rows.in; ++row) {
        PoolBackwardRow(layout.geometry, max, row,
                        static_cast<const T*>(d_dst) + plane * layout.dst_plane,
                        max ? positions + plane * layout.argmax_plane : nullptr,
                        static_cast<T*>(d_src) + plane * layout.src_plane, add,
                        mask == nullptr ? nullptr : mask + plane * layout.src_plane);
      }
    }
  });
}

}  // namespace lseg
