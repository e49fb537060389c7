// Every format is (N, channel blocks, pixels, lanes): NCHW has one lane, NHWC one block. Three
// kernels serve all pairs: interleaving planes, the reverse, and moving runs of channels that lie
// next to one another on both sides.
#include "kernels/reorder.h"

#include <cmath>

#include "kernels/cpu/float_types.h"
#include "kernels/cpu/loops.h"
#include "kernels/runtime/dispatch.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

// Pixels of a task: few enough that 16 planes' worth stays in the first-level cache.
constexpr int64_t kTile = 256;

template <bool kAdd, class S, class D>
LSEG_INLINE void Put(D* dst, S value) {
  *dst = FromFloat<D>(kAdd ? ToFloat(*dst) + ToFloat(value) : ToFloat(value));
}

template <int kLanes, bool kAdd, class S, class D>
LSEG_INLINE void InterleaveLanes(int64_t pixels, int64_t plane, const S* __restrict src,
                                 D* __restrict dst) {
#pragma omp simd
  for (int64_t p = 0; p < pixels; ++p) {
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; ++lane) {
      Put<kAdd>(dst + p * kLanes + lane, src[lane * plane + p]);
    }
  }
}

template <bool kAdd, class S, class D>
LSEG_INLINE void Interleave(int64_t pixels, int64_t plane, int64_t lanes, int64_t used,
                            const S* __restrict src, D* __restrict dst) {
  if (lanes == 8 && used == 8) return InterleaveLanes<8, kAdd>(pixels, plane, src, dst);
  if (lanes == 16 && used == 16) return InterleaveLanes<16, kAdd>(pixels, plane, src, dst);
  for (int64_t p = 0; p < pixels; ++p) {
    for (int64_t lane = 0; lane < used; ++lane) {
      Put<kAdd>(dst + p * lanes + lane, src[lane * plane + p]);
    }
    for (int64_t lane = used; lane < lanes; ++lane) dst[p * lanes + lane] = D();
  }
}

template <int kLanes, bool kAdd, class S, class D>
LSEG_INLINE void DeinterleaveLanes(int64_t pixels, int64_t plane, const S* __restrict src,
                                   D* __restrict dst) {
#pragma omp simd
  for (int64_t p = 0; p < pixels; ++p) {
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; ++lane) {
      Put<kAdd>(dst + lane * plane + p, src[p * kLanes + lane]);
    }
  }
}

template <bool kAdd, class S, class D>
LSEG_INLINE void Deinterleave(int64_t pixels, int64_t plane, int64_t lanes, int64_t used,
                              const S* __restrict src, D* __restrict dst) {
  if (lanes == 8 && used == 8) return DeinterleaveLanes<8, kAdd>(pixels, plane, src, dst);
  if (lanes == 16 && used == 16) return DeinterleaveLanes<16, kAdd>(pixels, plane, src, dst);
  for (int64_t lane = 0; lane < used; ++lane) {
    for (int64_t p = 0; p < pixels; ++p) Put<kAdd>(dst + lane * plane + p, src[p * lanes + lane]);
  }
}

// used channels of every pixel, then zeros up to `lanes` of dst.
template <bool kAdd, class S, class D>
LSEG_INLINE void MoveRuns(int64_t pixels, int64_t src_lanes, int64_t dst_lanes, int64_t used,
                          int64_t padded, const S* __restrict src, D* __restrict dst) {
  for (int64_t p = 0; p < pixels; ++p) {
    for (int64_t lane = 0; lane < used; ++lane) {
      Put<kAdd>(dst + p * dst_lanes + lane, src[p * src_lanes + lane]);
    }
    for (int64_t lane = used; lane < padded; ++lane) dst[p * dst_lanes + lane] = D();
  }
}

template <bool kAdd, class S, class D>
LSEG_INLINE void MoveAll(int64_t count, const S* __restrict src, D* __restrict dst) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) Put<kAdd>(dst + i, src[i]);
}

// What one tile does: `used` channels starting where src and dst point to.
struct Tile {
  int64_t pixels, plane;  // plane: pixels of an image
  int64_t src_lanes, dst_lanes;
  int64_t used;    // channels that exist
  int64_t padded;  // channels that dst has room for, in this tile
};

template <bool kAdd, class S, class D>
LSEG_INLINE void MoveTile(const Tile& t, const S* src, D* dst) {
  if (t.src_lanes == t.dst_lanes) {
    MoveAll<kAdd>(t.pixels * t.src_lanes, src, dst);
  } else if (t.src_lanes == 1) {
    Interleave<kAdd>(t.pixels, t.plane, t.dst_lanes, t.used, src, dst);
  } else if (t.dst_lanes == 1) {
    Deinterleave<kAdd>(t.pixels, t.plane, t.src_lanes, t.used, src, dst);
  } else {
    MoveRuns<kAdd>(t.pixels, t.src_lanes, t.dst_lanes, t.used, t.padded, src, dst);
  }
}

template <class S, class D>
LSEG_INLINE void MoveTile(const Tile& t, const S* src, D* dst, bool add) {
  add ? MoveTile<true>(t, src, dst) : MoveTile<false>(t, src, dst);
}
LSEG_MULTIVERSION void RunTile(const Tile& tile, const float* src, float* dst, bool add) {
  MoveTile(tile, src, dst, add);
}
LSEG_MULTIVERSION void RunTile(const Tile& tile, const float* src, BFloat16* dst, bool add) {
  MoveTile(tile, src, dst, add);
}
LSEG_MULTIVERSION void RunTile(const Tile& tile, const BFloat16* src, float* dst, bool add) {
  MoveTile(tile, src, dst, add);
}
LSEG_MULTIVERSION void RunTile(const Tile& tile, const BFloat16* src, BFloat16* dst, bool add) {
  MoveTile(tile, src, dst, add);
}

template <class S, class D>
void CopySameFormat(Context& context, int64_t count, const S* src, D* dst, bool add) {
  ForChunks(context, count, [=](int64_t begin, int64_t size) {
    const Tile whole = {size, size, 1, 1, 1, 1};
    RunTile(whole, src + begin, dst + begin, add);
  });
}

// What one task moves: a tile of one block of channels.
template <class S, class D>
void MoveBlocks(Context& context, const Shape& shape, Format src_format, const S* src,
                Format dst_format, D* dst, bool add) {
  const int64_t src_lanes = ChannelBlock(src_format, shape.c);
  const int64_t dst_lanes = ChannelBlock(dst_format, shape.c);
  if (src_lanes == dst_lanes) {
    return CopySameFormat(context, StorageCount(shape, dst_format), src, dst, add);
  }
  const int64_t plane = shape.h * shape.w, tiles = CeilDiv(plane, kTile);
  const int64_t src_image = StorageCount({1, shape.c, shape.h, shape.w}, src_format);
  const int64_t dst_image = StorageCount({1, shape.c, shape.h, shape.w}, dst_format);
  // Channels a task: a block of the side that has blocks (the smaller, where both have).
  const int64_t step = src_lanes == 1 || dst_lanes == 1 ? std::max(src_lanes, dst_lanes)
                                                        : std::min(src_lanes, dst_lanes);
  const int64_t dst_channels = dst_image / plane;  // padding included
  const int64_t steps = CeilDiv(dst_channels, step);
#pragma omp parallel for collapse(3) schedule(static) \
    num_threads(context.threads()) if (shape.Count() > kParallelFrom)
  for (int64_t n = 0; n < shape.n; ++n) {
    for (int64_t block = 0; block < steps; ++block) {
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t channel = block * step, pixel = tile * kTile;
        const int64_t used = std::clamp<int64_t>(shape.c - channel, 0, step);
        const int64_t padded = std::min(dst_channels - channel, step);
        const int64_t src_channel = used > 0 ? channel : 0;  // nothing is read there
        const S* from = src + n * src_image + src_channel / src_lanes * src_lanes * plane +
                        pixel * src_lanes + src_channel % src_lanes;
        D* to = dst + n * dst_image + channel / dst_lanes * dst_lanes * plane + pixel * dst_lanes +
                channel % dst_lanes;
        RunTile({std::min(kTile, plane - pixel), plane, src_lanes, dst_lanes, used, padded}, from,
                to, add);
      }
    }
  }
}

LSEG_MULTIVERSION bool CastChunk(int64_t count, const float* __restrict src,
                                 uint8_t* __restrict dst) {
  int32_t bad = 0;
#pragma omp simd reduction(| : bad)
  for (int64_t i = 0; i < count; ++i) {
    const float value = src[i];
    const float safe = value >= 0.0f && value <= 255.0f ? value : 0.0f;
    const int32_t integer = static_cast<int32_t>(safe);
    bad |= static_cast<float>(integer) != value;
    dst[i] = static_cast<uint8_t>(integer);
  }
  return bad == 0;
}

}  // namespace

void Reorder(Context& context, const Shape& shape, Format src_format, const void* src,
             Format dst_format, void* dst, GradMode mode, DType src_dtype, DType dst_dtype) {
  if (mode == GradMode::kSkip || shape.Count() == 0) return;
  LSEG_ON_CUDA(context, Reorder(context, shape, src_format, src, dst_format, dst, mode, src_dtype,
                                dst_dtype));
  WithFloatType(src_dtype, "reorder", [&](auto src_type) {
    WithFloatType(dst_dtype, "reorder", [&](auto dst_type) {
      MoveBlocks(context, shape, src_format, static_cast<const decltype(src_type)*>(src),
                 dst_format, static_cast<decltype(dst_type)*>(dst), mode == GradMode::kAdd);
    });
  });
}

void CastToU8(Context& context, int64_t count, const float* src, uint8_t* dst) {
  LSEG_ON_CUDA(context, CastToU8(context, count, src, dst));
  int32_t bad = 0;
  const int64_t chunks = CeilDiv(count, kParallelFrom);
#pragma omp parallel for schedule(static) num_threads(context.threads()) \
    reduction(|                                                          \
              : bad) if (chunks > 1)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = chunk * kParallelFrom;
    bad |= !CastChunk(std::min(kParallelFrom, count - begin), src + begin, dst + begin);
  }
  if (!bad) return;
  const float* wrong = std::find_if(src, src + count, [](float value) {
    return !(value >= 0 && value <= 255 && value == std::floor(value));
  });
  LSEG_FAIL("label " << *wrong << " at element " << wrong - src
                     << " is not an integer in 0..255, as labels must be");
}

void CastToF32(Context& context, int64_t count, const uint8_t* src, float* dst) {
  LSEG_ON_CUDA(context, CastToF32(context, count, src, dst));
  ForChunks(context, count, [=](int64_t begin, int64_t size) {
    for (int64_t i = begin; i < begin + size; ++i) dst[i] = static_cast<float>(src[i]);
  });
}

}  // namespace lseg
