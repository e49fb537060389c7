// Bound by memory: 8 bytes an element written, 12 an element added to. A box is a list of runs, one
// a row, or longer where rows follow one another on both sides; threads lie along the run. A launch
// takes several boxes, along the grid's z: those of a concat are small beside what a launch costs.
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
  Rows src_rows, dst_rows;
  const float* src;
  float* dst;
  bool add;
};

constexpr int kMostBoxes = 16;
struct Boxes {
  Box at[kMostBoxes];
};

// A row, kWidth elements from `first` on, every `step`.
template <int kWidth>
__device__ void CopyRow(const float* from, float* to, bool add, int64_t run, int64_t first,
                        int64_t step) {
#pragma unroll 4
  for (int64_t i = first; i < run / kWidth; i += step) {
    Vector<float, kWidth> v = Load<kWidth>(from + i * kWidth);
    if (add) {
      const Vector<float, kWidth> before = Load<kWidth>(to + i * kWidth);
      for (int k = 0; k < kWidth; ++k) v.at[k] += before.at[k];
    }
    Store(to + i * kWidth, v);
  }
}

template <int kWidth>
__global__ void CopyRows(const __grid_constant__ Boxes boxes) {
  const Box& box = boxes.at[blockIdx.z];
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < box.rows;
       row += int64_t{gridDim.y} * blockDim.y) {
    const int64_t plane = row / box.height, h = row % box.height;
    const int64_t n = plane / box.channels, c = plane % box.channels;
    const auto at = [&](const Rows& rows) {
      return n * rows.image + c * rows.plane + h * rows.row;
    };
    CopyRow<kWidth>(box.src + at(box.src_rows), box.dst + at(box.dst_rows), box.add, box.run, first,
                    step);
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

Box BoxOf(const BoxCopyJob& job) {
  const BoxCopyParams& p = job.params;
  const Shape &s = p.src, &d = p.dst, &size = p.box;
  const auto first = [](const Shape& whole, const Shape& at) {
    return Offset(whole, Format::kNCHW, at.n, at.c, at.h, at.w);
  };
  Box box = {size.c,
             size.h,
             size.n * size.c * size.h,
             size.w,
             RowsOf(s),
             RowsOf(d),
             job.src + first(s, p.src_at),
             job.dst + first(d, p.dst_at),
             job.mode == GradMode::kAdd};
  if (size.w == s.w && size.w == d.w) {
    box.height = 1;
    box.rows = size.n * size.c;
    box.run = size.h * size.w;
  }
  return box;
}

bool FitsVectors(const Box& box) {
  return box.run % 4 == 0 && IsAligned(box.src, 16) && IsAligned(box.dst, 16) &&
         AllMultiplesOf4(box.src_rows) && AllMultiplesOf4(box.dst_rows);
}

void Launch(const Context& context, const Boxes& boxes, int count) {
  const Box* end = boxes.at + count;
  const bool vectors = std::all_of(boxes.at, end, FitsVectors);
  int64_t rows = 0, run = 0;
  for (const Box* box = boxes.at; box != end; ++box) {
    rows = std::max(rows, box->rows);
    run = std::max(run, box->run);
  }
  dim3 grid = GridOfRows(context, rows, vectors ? run / 4 : run);
  grid.z = static_cast<unsigned>(count);
  const auto kernel = vectors ? CopyRows<4> : CopyRows<1>;
  kernel<<<grid, dim3(kRunThreads, kRowThreads), 0, StreamOf(context)>>>(boxes);
  CheckLaunch("box copies");
}

}  // namespace

void BoxCopies(Context& context, std::span<const BoxCopyJob> jobs) {
  Boxes boxes;
  int count = 0;
  for (const BoxCopyJob& job : jobs) {
    if (job.mode == GradMode::kSkip) continue;
    boxes.at[count++] = BoxOf(job);
    if (count < kMostBoxes) continue;
    Launch(context, boxes, count);
    count = 0;
  }
  if (count > 0) Launch(context, boxes, count);
}

void ZeroOutside(Context& context, const BoxCopyParams& params, float* dst) {
  const Shape& whole = params.dst;
  ZeroRows<<<GridOfRows(context, whole.n * whole.c * whole.h, whole.w),
             dim3(kRunThreads, kRowThreads), 0, StreamOf(context)>>>(whole, params.dst_at,
                                                                     params.box, dst);
  CheckLaunch("zero outside a box");
}

}  // namespace lseg::cuda
