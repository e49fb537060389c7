// Row by row, rows that follow one another in both tensors taken as one.
#include "kernels/box_copy.h"

#include <cstring>

#include "kernels/cpu/loops.h"
#include "kernels/runtime/dispatch.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

LSEG_MULTIVERSION void AddRun(int64_t count, const float* __restrict src, float* __restrict dst) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) dst[i] += src[i];
}

void CheckAxis(const char* which, const char* axis, int64_t at, int64_t box, int64_t size) {
  LSEG_CHECK(box > 0 && at >= 0 && at + box <= size,
             "box copy: " << axis << " " << at << ".." << at + box << " is not a part of " << which
                          << "'s " << size << ": a box must be 1 or more long and lie inside");
}

void CheckBox(const char* which, const Shape& at, const Shape& box, const Shape& whole) {
  CheckAxis(which, "N", at.n, box.n, whole.n);
  CheckAxis(which, "C", at.c, box.c, whole.c);
  CheckAxis(which, "H", at.h, box.h, whole.h);
  CheckAxis(which, "W", at.w, box.w, whole.w);
}

// Whole rows: a channel's part is one run. Cut to pieces, so that one channel too is shared out.
void Copy(const Context& context, const BoxCopyJob& job) {
  const BoxCopyParams& params = job.params;
  const Shape &box = params.box, &src_at = params.src_at, &dst_at = params.dst_at;
  const bool whole_rows = box.w == params.src.w && box.w == params.dst.w;
  const int64_t rows = whole_rows ? std::max<int64_t>(1, kParallelFrom / box.w) : 1;
  const int64_t runs = CeilDiv(box.h, rows);
#pragma omp parallel for collapse(3) schedule(static) \
    num_threads(context.threads()) if (box.Count() > kParallelFrom)
  for (int64_t n = 0; n < box.n; ++n) {
    for (int64_t c = 0; c < box.c; ++c) {
      for (int64_t run = 0; run < runs; ++run) {
        const int64_t y = run * rows, count = std::min(rows, box.h - y) * box.w;
        const float* from = job.src + Offset(params.src, Format::kNCHW, src_at.n + n, src_at.c + c,
                                             src_at.h + y, src_at.w);
        float* to = job.dst + Offset(params.dst, Format::kNCHW, dst_at.n + n, dst_at.c + c,
                                     dst_at.h + y, dst_at.w);
        if (job.mode == GradMode::kAdd) {
          AddRun(count, from, to);
        } else {
          std::memcpy(to, from, count * sizeof(float));
        }
      }
    }
  }
}

}  // namespace

void BoxCopyParams::Validate() const {
  CheckBox("src", src_at, box, src);
  CheckBox("dst", dst_at, box, dst);
}

void BoxCopy(Context& context, const BoxCopyParams& params, const float* src, float* dst,
             GradMode mode) {
  const BoxCopyJob job = {params, src, dst, mode};
  BoxCopies(context, {&job, 1});
}

void BoxCopies(Context& context, std::span<const BoxCopyJob> jobs) {
  for (const BoxCopyJob& job : jobs) job.params.Validate();
  LSEG_ON_CUDA(context, BoxCopies(context, jobs));
  for (const BoxCopyJob& job : jobs) {
    if (job.mode != GradMode::kSkip) Copy(context, job);
  }
}

void ZeroOutside(Context& context, const BoxCopyParams& params, float* dst) {
  params.Validate();
  LSEG_ON_CUDA(context, ZeroOutside(context, params, dst));
  const Shape &box = params.box, &at = params.dst_at, &whole = params.dst;
#pragma omp parallel for collapse(3) schedule(static) \
    num_threads(context.threads()) if (whole.Count() > kParallelFrom)
  for (int64_t n = 0; n < whole.n; ++n) {
    for (int64_t c = 0; c < whole.c; ++c) {
      for (int64_t y = 0; y < whole.h; ++y) {
        float* row = dst + Offset(whole, Format::kNCHW, n, c, y, 0);
        const bool meets_box = n >= at.n && n < at.n + box.n && c >= at.c && c < at.c + box.c &&
                               y >= at.h && y < at.h + box.h;
        const int64_t begin = meets_box ? at.w : whole.w;
        const int64_t end = meets_box ? at.w + box.w : whole.w;
        std::fill(row, row + begin, 0.0f);
        std::fill(row + end, row + whole.w, 0.0f);
      }
    }
  }
}

}  // namespace lseg
