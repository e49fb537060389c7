// Bound by memory: 8 bytes an element written, 12 an element added to. A box is a list of runs, one
// a row, or longer where rows follow one another on both sides; threads lie along the run.
#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

constexpr unsigned kRunThreads = 64, kRowThreads = 4;  // of a block

// The rows of a box in one tensor: row (n, c, h) starts at n * image + c * plane + h * row.
struct Rows {
  int64_t image, plane, row;
};

struct Box {
  int64_t channels, height;  // rows are (n, c, h), h fastest
  int64_t rows, run;         // number of rows, elements of each
};

template <int kWidth, bool kAdd>
__global__ void CopyRows(Box box, const float* src, Rows src_rows, float* dst, Rows dst_rows) {
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < box.rows;
       row += int64_t{gridDim.y} * blockDim.y) {
    const int64_t plane = row / box.height, h = row % box.height;
    const int64_t n = plane / box.channels, c = plane % box.channels;
    const float* from = src + n * src_rows.image + c * src_rows.plane + h * src_rows.row;
    float* to = dst + n * dst_rows.image + c * dst_rows.plane + h * dst_rows.row;
#pragma unroll 4
    for (int64_t i = first; i < box.run / kWidth; i += step) {
      Vector<float, kWidth> v = Load<kWidth>(from + i * kWidth);
      if constexpr (kAdd) {
        const Vector<float, kWidth> before = Load<kWidth>(to + i * kWidth);
        for (int k = 0; k < kWidth; ++k) v.at[k] += before.at[k];
      }
      Store(to + i * kWidth, v);
    }
  }
}

// Zeroes the rows outside the box whole, and of the others what lies beside it.
__global__ void ZeroRows(Shape whole, Shape at, Shape box, float* dst) {
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  const int64_t rows = whole.n * whole.c * whole.h;
  for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows;
       row += int64_t{gridDim.y} * blockDim.y) {
    const int64_t y = row % whole.h, plane = row / whole.h;
    const int64_t c = plane % whole.c, n = plane / whole.c;
    const bool meets_box = n >= at.n && n < at.n + box.n && c >= at.c && c < at.c + box.c &&
                           y >= at.h && y < at.h + box.h;
    const int64_t begin = meets_box ? at.w : whole.w, end = meets_box ? at.w + box.w : whole.w;
    float* to = dst + row * whole.w;
    for (int64_t x = first; x < begin; x += step) to[x] = 0;
    for (int64_t x = end + first; x < whole.w; x += step) to[x] = 0;
  }
}

// Rows over y; where they are few, the run is shared out over x.
dim3 GridOfRows(const Context& context, int64_t rows, int64_t run) {
  const int64_t y = std::min<int64_t>(CeilDiv(rows, kRowThreads), 65535);
  const int64_t wanted = CeilDiv(int64_t{Multiprocessors(context)} * 8, y);
  const int64_t x = std::clamp<int64_t>(wanted, 1, CeilDiv(run, kRunThreads));
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y));
}

Rows RowsOf(const Shape& s) { return {s.c * s.h * s.w, s.h * s.w, s.w}; }

bool AllMultiplesOf4(const Rows& rows) {
  return rows.image % 4 == 0 && rows.plane % 4 == 0 && rows.row % 4 == 0;
}

}  // namespace

void BoxCopy(Context& context, const BoxCopyParams& params, const float* src, float* dst,
             GradMode mode) {
  const Shape &s = params.src, &d = params.dst, &size = params.box;
  const float* from = src + Offset(s, Format::kNCHW, params.src_at.n, params.src_at.c,
                                   params.src_at.h, params.src_at.w);
  float* to = dst + Offset(d, Format::kNCHW, params.dst_at.n, params.dst_at.c, params.dst_at.h,
                           params.dst_at.w);
  Box box{size.c, size.h, size.n * size.c * size.h, size.w};
  if (size.w == s.w && size.w == d.w) box = {size.c, 1, size.n * size.c, size.h * size.w};
  const Rows src_rows = RowsOf(s), dst_rows = RowsOf(d);
  const bool vectors = box.run % 4 == 0 && IsAligned(from, 16) && IsAligned(to, 16) &&
                       AllMultiplesOf4(src_rows) && AllMultiplesOf4(dst_rows);
  const dim3 block(kRunThreads, kRowThreads);
  const dim3 grid = GridOfRows(context, box.rows, vectors ? box.run / 4 : box.run);
  const auto launch = [&](auto kernel) {
    kernel<<<grid, block, 0, StreamOf(context)>>>(box, from, src_rows, to, dst_rows);
  };
  if (mode == GradMode::kAdd) {
    vectors ? launch(CopyRows<4, true>) : launch(CopyRows<1, true>);
  } else {
    vectors ? launch(CopyRows<4, false>) : launch(CopyRows<1, false>);
  }
  CheckLaunch("box copy");
}

void ZeroOutside(Context& context, const BoxCopyParams& params, float* dst) {
  const Shape& whole = params.dst;
  ZeroRows<<<GridOfRows(context, whole.n * whole.c * whole.h, whole.w),
             dim3(kRunThreads, kRowThreads), 0, StreamOf(context)>>>(whole, params.dst_at,
                                                                     params.box, dst);
  CheckLaunch("zero outside a box");
}

}  // namespace lseg::cuda
