// Bound by memory: forward reads the source once and writes a quarter as much (2x2), and the
// positions of the maxima where they are wanted; backward the reverse. A thread takes one window of
// kWidth channels, 16 bytes of NHWC.
#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 128;  // of a block, at most
// Blocks that must fit a multiprocessor, of kernels for any window: told nothing, the compiler
// makes room for more of them and spills registers for it.
constexpr int kBlocks = 8;

struct Axis {
  int in, out, kernel, stride, pad;

  // What the average divides by: the window cut to the padded source.
  __device__ int Divisor(int at) const {
    const int begin = at * stride - pad;
    return min(begin + kernel, in + pad) - begin;
  }
  // The windows that hold a source element are [FirstOutput, LastOutput].
  __device__ int FirstOutput(int at) const {
    const int first = at + pad - kernel + 1;
    return first <= 0 ? 0 : (first + stride - 1) / stride;
  }
  __device__ int LastOutput(int at) const { return min((at + pad) / stride, out - 1); }
};

// A plane is h x w pixels of `lanes` channels next to one another: all of NHWC, one of NCHW.
struct Geometry {
  Axis rows, columns;
  int64_t planes;
  int lanes;

  __device__ int64_t SrcAt(int64_t plane, int y, int x, int lane) const {
    return ((plane * rows.in + y) * columns.in + x) * lanes + lane;
  }
  __device__ int64_t DstAt(int64_t plane, int y, int x, int lane) const {
    return ((plane * rows.out + y) * columns.out + x) * lanes + lane;
  }
};

// Calls f(plane, y, x, lane) for the rows x columns pixels of every plane, kWidth lanes at a time.
template <int kWidth, class F>
__device__ void ForPixels(const Geometry& g, int rows, int columns, F f) {
  const int vectors = g.lanes / kWidth;  // of a pixel
  for (int64_t plane = blockIdx.z; plane < g.planes; plane += gridDim.z) {
    for (int y = blockIdx.y; y < rows; y += gridDim.y) {
      for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < columns * vectors;
           i += gridDim.x * blockDim.x) {
        f(plane, y, i / vectors, i % vectors * kWidth);
      }
    }
  }
}

// kWindow: the kernel's size where it is known and square, else 0. Position: the type of argmax.
template <class T, int kWidth, int kWindow, bool kMax, class Position>
__global__ void __launch_bounds__(kThreads, kBlocks)
    PoolForwardKernel(Geometry g, const T* src, T* dst, Position* argmax) {
  const int kernel_h = kWindow > 0 ? kWindow : g.rows.kernel;
  const int kernel_w = kWindow > 0 ? kWindow : g.columns.kernel;
  ForPixels<kWidth>(g, g.rows.out, g.columns.out, [&](int64_t plane, int y, int x, int lane) {
    float result[kWidth] = {};
    Vector<Position, kWidth> best_at;
    bool is_first = true;
#pragma unroll
    for (int r = 0; r < kernel_h; ++r) {
#pragma unroll
      for (int s = 0; s < kernel_w; ++s) {
        const int from_y = y * g.rows.stride - g.rows.pad + r;
        const int from_x = x * g.columns.stride - g.columns.pad + s;
        if (from_y < 0 || from_y >= g.rows.in || from_x < 0 || from_x >= g.columns.in) continue;
        const auto v = Load<kWidth>(src + g.SrcAt(plane, from_y, from_x, lane));
        for (int i = 0; i < kWidth; ++i) {
          const float value = ToFloat(v.at[i]);
          if constexpr (kMax) {
            // The first maximum stays; a NaN counts as larger than any number.
            if (is_first || value > result[i] || value != value) {
              result[i] = value;
              best_at.at[i] = static_cast<Position>(r * kernel_w + s);
            }
          } else {
            result[i] += value;
          }
        }
        is_first = false;
      }
    }
    const float divisor = kMax ? 1 : g.rows.Divisor(y) * g.columns.Divisor(x);
    Vector<T, kWidth> rounded;
    for (int i = 0; i < kWidth; ++i) {
      rounded.at[i] = FromFloat<T>(kMax ? result[i] : result[i] / divisor);
    }
    const int64_t to = g.DstAt(plane, y, x, lane);
    Store(dst + to, rounded);
    if (kMax && argmax != nullptr) Store(argmax + to, best_at);
  });
}

// Where the gradients go. relu_dst: see PoolBackward, may be null.
template <class T>
struct Target {
  T* d_src;
  const T* relu_dst;
  bool add;

  template <int kWidth>
  __device__ void Store(const float (&sum)[kWidth], int64_t at) const {
    Vector<T, kWidth> v, kept;
    if (add) v = Load<kWidth>(d_src + at);
    if (relu_dst != nullptr) kept = Load<kWidth>(relu_dst + at);
    for (int i = 0; i < kWidth; ++i) {
      float value = add ? ToFloat(v.at[i]) + sum[i] : sum[i];
      if (relu_dst != nullptr && !(ToFloat(kept.at[i]) > 0)) value = 0;
      v.at[i] = FromFloat<T>(value);
    }
    cuda::Store(d_src + at, v);
  }
};

// A source element's gradient: what the windows that hold it give, in their order.
template <class T, int kWidth, bool kMax, class Position>
__global__ void __launch_bounds__(kThreads, kBlocks)
    PoolBackwardKernel(Geometry g, const T* d_dst, const Position* argmax, Target<T> target) {
  ForPixels<kWidth>(g, g.rows.in, g.columns.in, [&](int64_t plane, int y, int x, int lane) {
    float sum[kWidth] = {};
    for (int out_y = g.rows.FirstOutput(y); out_y <= g.rows.LastOutput(y); ++out_y) {
      for (int out_x = g.columns.FirstOutput(x); out_x <= g.columns.LastOutput(x); ++out_x) {
        const int64_t from = g.DstAt(plane, out_y, out_x, lane);
        const auto gradient = Load<kWidth>(d_dst + from);
        if constexpr (kMax) {
          const int position = (y - out_y * g.rows.stride + g.rows.pad) * g.columns.kernel + x -
                               out_x * g.columns.stride + g.columns.pad;
          const auto best = Load<kWidth>(argmax + from);
          for (int i = 0; i < kWidth; ++i) {
            if (best.at[i] == position) sum[i] += ToFloat(gradient.at[i]);
          }
        } else {
          const float divisor = g.rows.Divisor(out_y) * g.columns.Divisor(out_x);
          for (int i = 0; i < kWidth; ++i) sum[i] += ToFloat(gradient.at[i]) / divisor;
        }
      }
    }
    target.Store(sum, g.SrcAt(plane, y, x, lane));
  });
}

// Maxima of 2x2 windows that tile the source: a thread takes a window, so that its gradient and
// position are read once rather than by each of its four elements.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    MaxPool2x2BackwardKernel(Geometry g, const T* d_dst, const uint8_t* argmax, Target<T> target) {
  const int rows = (g.rows.in + 1) / 2, columns = (g.columns.in + 1) / 2;
  ForPixels<kWidth>(g, rows, columns, [&](int64_t plane, int y, int x, int lane) {
    Vector<uint8_t, kWidth> best = {};
    float gradient[kWidth] = {};
    if (y < g.rows.out && x < g.columns.out) {  // else a rest that no window holds
      const int64_t from = g.DstAt(plane, y, x, lane);
      best = Load<kWidth>(argmax + from);
      const auto v = Load<kWidth>(d_dst + from);
      for (int i = 0; i < kWidth; ++i) gradient[i] = ToFloat(v.at[i]);
    }
#pragma unroll
    for (int position = 0; position < 4; ++position) {
      const int to_y = 2 * y + position / 2, to_x = 2 * x + position % 2;
      if (to_y >= g.rows.in || to_x >= g.columns.in) continue;
      float share[kWidth];
      for (int i = 0; i < kWidth; ++i) share[i] = best.at[i] == position ? gradient[i] : 0.0f;
      target.Store(share, g.SrcAt(plane, to_y, to_x, lane));
    }
  });
}

int ToInt(int64_t value) {
  LSEG_CHECK(value <= INT32_MAX / 4, "pooling on a GPU: an extent of " << value << " is too large");
  return static_cast<int>(value);
}

Geometry GeometryOf(const PoolParams& p) {
  LSEG_CHECK(p.format == Format::kNCHW || p.format == Format::kNHWC,
             "pooling on a GPU knows " << ToString(Format::kNCHW) << " and "
                                       << ToString(Format::kNHWC) << ", not "
                                       << ToString(p.format));
  const Shape dst = p.Dst();
  const bool nhwc = p.format == Format::kNHWC;
  Geometry g;
  g.rows = {ToInt(p.src.h), ToInt(dst.h), ToInt(p.kernel_h), ToInt(p.stride_h), ToInt(p.pad_h)};
  g.columns = {ToInt(p.src.w), ToInt(dst.w), ToInt(p.kernel_w), ToInt(p.stride_w), ToInt(p.pad_w)};
  g.planes = nhwc ? dst.n : dst.n * dst.c;
  g.lanes = nhwc ? ToInt(dst.c) : 1;
  ToInt(p.src.w * g.lanes);  // elements of a row are counted in 32 bits
  return g;
}

bool Is2x2(const Geometry& g) {
  const Axis &r = g.rows, &c = g.columns;
  return r.kernel == 2 && c.kernel == 2 && r.stride == 2 && c.stride == 2 && r.pad + c.pad == 0;
}

struct Launch {
  dim3 grid;
  unsigned threads;
};

// Blocks along a row of pixels; narrow ones where the row is short.
Launch LaunchOf(const Geometry& g, int rows, int columns, int width) {
  const int64_t vectors = int64_t{columns} * (g.lanes / width);
  const int64_t threads = std::min<int64_t>(kThreads, CeilDiv(vectors, 32) * 32);
  return {dim3(static_cast<unsigned>(CeilDiv(vectors, threads)),
               static_cast<unsigned>(std::min(rows, 65535)),
               static_cast<unsigned>(std::min<int64_t>(g.planes, 65535))),
          static_cast<unsigned>(threads)};
}

template <class T, int kWidth>
void Forward(const Context& context, const Geometry& g, const PoolParams& p, const T* src, T* dst,
             void* argmax) {
  const auto launch = [&](auto kernel, auto* positions) {
    const Launch l = LaunchOf(g, g.rows.out, g.columns.out, kWidth);
    kernel<<<l.grid, l.threads, 0, StreamOf(context)>>>(g, src, dst, positions);
  };
  auto* bytes = static_cast<uint8_t*>(argmax);
  if (p.method == PoolParams::Method::kAverage) {
    launch(PoolForwardKernel<T, kWidth, 0, false, uint8_t>, bytes);
  } else if (Is2x2(g)) {
    launch(PoolForwardKernel<T, kWidth, 2, true, uint8_t>, bytes);
  } else if (p.ArgmaxDType() == DType::kU8) {
    launch(PoolForwardKernel<T, kWidth, 0, true, uint8_t>, bytes);
  } else {
    launch(PoolForwardKernel<T, kWidth, 0, true, int32_t>, static_cast<int32_t*>(argmax));
  }
  CheckLaunch("pool forward");
}

template <class T, int kWidth>
void Backward(const Context& context, const Geometry& g, const PoolParams& p, const T* d_dst,
              const void* argmax, const Target<T>& target) {
  const auto launch = [&](auto kernel, const auto* positions, int rows, int columns) {
    const Launch l = LaunchOf(g, rows, columns, kWidth);
    kernel<<<l.grid, l.threads, 0, StreamOf(context)>>>(g, d_dst, positions, target);
  };
  const int rows = g.rows.in, columns = g.columns.in;
  const auto* bytes = static_cast<const uint8_t*>(argmax);
  if (p.method == PoolParams::Method::kAverage) {
    launch(PoolBackwardKernel<T, kWidth, false, uint8_t>, bytes, rows, columns);
  } else if (Is2x2(g)) {
    launch(MaxPool2x2BackwardKernel<T, kWidth>, bytes, (rows + 1) / 2, (columns + 1) / 2);
  } else if (p.ArgmaxDType() == DType::kU8) {
    launch(PoolBackwardKernel<T, kWidth, true, uint8_t>, bytes, rows, columns);
  } else {
    launch(PoolBackwardKernel<T, kWidth, true, int32_t>, static_cast<const int32_t*>(argmax), rows,
           columns);
  }
  CheckLaunch("pool backward");
}

// run(integral_constant) with the width that the channels and the memory's alignment allow.
// `aligned`: all but the positions are, to 16 bytes.
template <class T, class Run>
void WithWidth(const PoolParams& p, int lanes, bool aligned, const void* argmax, Run run) {
  constexpr int kWidth = kVectorWidth<T>;
  const int64_t positions = kWidth * SizeOf(p.ArgmaxDType());  // bytes of a vector of them
  if (aligned && lanes % kWidth == 0 && IsAligned(argmax, std::min<int64_t>(positions, 16))) {
    run(std::integral_constant<int, kWidth>{});
  } else {
    run(std::integral_constant<int, 1>{});
  }
}

}  // namespace

void PoolForward(Context& context, const PoolParams& params, const void* src, void* dst,
                 void* argmax) {
  const Geometry g = GeometryOf(params);
  const bool aligned = IsAligned(src, 16) && IsAligned(dst, 16);
  WithElementType(params.dtype, [&](auto element) {
    using T = decltype(element);
    WithWidth<T>(params, g.lanes, aligned, argmax, [&](auto width) {
      Forward<T, width()>(context, g, params, static_cast<const T*>(src), static_cast<T*>(dst),
                          argmax);
    });
  });
}

void PoolBackward(Context& context, const PoolParams& params, const void* d_dst, const void* argmax,
                  void* d_src, GradMode d_src_mode, const void* relu_dst) {
  const Geometry g = GeometryOf(params);
  const bool aligned = IsAligned(d_dst, 16) && IsAligned(d_src, 16) && IsAligned(relu_dst, 16);
  WithElementType(params.dtype, [&](auto element) {
    using T = decltype(element);
    WithWidth<T>(params, g.lanes, aligned, argmax, [&](auto width) {
      const Target<T> target = {static_cast<T*>(d_src), static_cast<const T*>(relu_dst),
                                d_src_mode == GradMode::kAdd};
      Backward<T, width()>(context, g, params, static_cast<const T*>(d_dst), argmax, target);
    });
  });
}

}  // namespace lseg::cuda
