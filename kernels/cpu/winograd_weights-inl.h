// What winograd_weights.h does, for a struct Maps and a struct Products
// (winograd_tile-inl.h).
// Included once per instruction set, by the sources that use Highway.

#if defined(LSEG_KERNELS_CPU_WINOGRAD_WEIGHTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSEG_KERNELS_CPU_WINOGRAD_WEIGHTS_INL_H_
#undef LSEG_KERNELS_CPU_WINOGRAD_WEIGHTS_INL_H_
#else
#define LSEG_KERNELS_CPU_WINOGRAD_WEIGHTS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/winograd_tile-inl.h"
#include "kernels/cpu/winograd_weights.h"
#include "kernels/runtime/integers.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Input channels by two vectors of outputs: 4 rows fill 16 registers well enough, 8 fill 32.
#if HWY_TARGET == HWY_AVX3 || HWY_ARCH_ARM
constexpr int kRows = 8;
#else
constexpr int kRows = 4;
#endif
constexpr int64_t kDepth = 96;  // tiles a pass: both operands stay in L1

// out = A in, kTile to kTile + 2: the adjoint of TransformOutput.
template <int kTile, class D, class V = hn::Vec<D>>
HWY_INLINE void TransformGradient(D d, const V* in, V* out, int stride) {
  if constexpr (kTile == 2) {
    out[0 * stride] = in[0];
    out[1 * stride] = hn::Add(in[0], in[1]);
    out[2 * stride] = hn::Sub(in[0], in[1]);
    out[3 * stride] = in[1];
    return;
  }
  const V p = hn::Set(d, kP), q = hn::Set(d, kQ), p2 = hn::Set(d, kP2), q2 = hn::Set(d, kQ2);
  const V even_p = hn::MulAdd(p2, in[2], in[0]), odd_p = hn::MulAdd(p2, in[3], in[1]);
  const V even_q = hn::MulAdd(q2, in[2], in[0]), odd_q = hn::MulAdd(q2, in[3], in[1]);
  out[0 * stride] = in[0];
  out[1 * stride] = hn::MulAdd(p, odd_p, even_p);
  out[2 * stride] = hn::NegMulAdd(p, odd_p, even_p);
  out[3 * stride] = hn::MulAdd(q, odd_q, even_q);
  out[4 * stride] = hn::NegMulAdd(q, odd_q, even_q);
  out[5 * stride] = in[3];
}

// out = G^T in, kTile + 2 to 3: the adjoint of TransformWeight.
template <int kTile, class D, class V = hn::Vec<D>>
HWY_INLINE void TransformTaps(D d, const V* in, V* out, int stride) {
  if constexpr (kTile == 2) {
    const V half = hn::Set(d, 0.5f), sum = hn::Mul(half, hn::Add(in[1], in[2]));
    out[0 * stride] = hn::Add(in[0], sum);
    out[1 * stride] = hn::Mul(half, hn::Sub(in[1], in[2]));
    out[2 * stride] = hn::Add(sum, in[3]);
    return;
  }
  const auto set = [&](double value) { return hn::Set(d, static_cast<float>(value)); };
  const V even_p = hn::Add(in[1], in[2]), odd_p = hn::Sub(in[1], in[2]);
  const V even_q = hn::Add(in[3], in[4]), odd_q = hn::Sub(in[3], in[4]);
  out[0 * stride] = hn::MulAdd(set(kNormP), even_p,
                               hn::MulAdd(set(kNormQ), even_q, hn::Mul(set(kNormZero), in[0])));
  out[1 * stride] = hn::MulAdd(set(kNormP * kP), odd_p, hn::Mul(set(kNormQ * kQ), odd_q));
  out[2 * stride] =
      hn::MulAdd(set(kNormP * kP2), even_p, hn::MulAdd(set(kNormQ * kQ2), even_q, in[5]));
}

// Elements of a block of channels of `tiles` tiles, in whole groups.
template <class Products, int kBlock>
int64_t GroupedTiles(int64_t tiles) {
  return RoundUp(tiles, Products::kTogether) * kBlock;
}

// Calls transform(at, k, put) for every tile of a run, at its place, and channel k of the block, of
// which put(position, vector) takes what it makes.
template <class Products, int kBlock, int kTile, class Transform>
HWY_INLINE void TransformRun(const WinogradShape& s,
                             const WinogradRun<typename Products::Value>& run,
                             Transform transform) {
  constexpr int kTogether = Products::kTogether, kPositions = (kTile + 2) * (kTile + 2);
  static_assert(kTogether <= 2);
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  auto* out = run.out;
  for (int64_t t = 0; t < run.tiles; t += kTogether, out += kBlock * kTogether) {
    for (int64_t k = 0; k < kBlock; k += hn::MaxLanes(d)) {
      const auto store = [&](int64_t i, const V(&together)[kTogether]) {
        Products::StoreTogether(together, d, out + i * run.plane + k * kTogether);
      };
      if constexpr (kTogether == 1) {
        transform(TileAt(s, run.tile + t), k, [&](int64_t i, V value) { store(i, {value}); });
      } else {
        V first[kPositions];
        transform(TileAt(s, run.tile + t), k, [&](int64_t i, V value) { first[i] = value; });
        const auto second = [&](int64_t i, V value) { store(i, {first[i], value}); };
        if (t + 1 < run.tiles) {
          transform(TileAt(s, run.tile + t + 1), k, second);
        } else {
          for (int64_t i = 0; i < kPositions; ++i) second(i, hn::Zero(d));
        }
      }
    }
  }
}

template <class Maps, class Products, int kBlock, int kTile>
void TransformSrcRun(const WinogradShape& s, const typename Maps::Element* src,
                     const WinogradRun<typename Products::Value>& run) {
  constexpr int kIn = kTile + 2;
  HWY_ALIGN typename Maps::Element copy[kIn * kIn * kBlock];
  const Tag<kBlock> d;
  const Steps<Maps, kBlock> steps(s.in, s.height, s.width);
  TransformRun<Products, kBlock, kTile>(s, run, [&](const TileAt& at, int64_t k, auto put) {
    const auto* image = src + at.n * steps.image + run.block * steps.block;
    const auto patch = PatchAt<kIn>(s, steps, image, at.y - 1, at.x - 1, copy);
    TransformPatch<Maps, kTile>(d, patch, k, put);
  });
}

// A d_Y A^T, and the gradients' sum.
template <class Maps, class Products, int kBlock, int kTile>
void TransformDDstRun(const WinogradShape& s, const typename Maps::Element* d_dst,
                      const WinogradRun<typename Products::Value>& run, float* sums) {
  constexpr int kIn = kTile + 2;
  HWY_ALIGN typename Maps::Element copy[kTile * kTile * kBlock];
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  const Steps<Maps, kBlock> steps(s.out, s.height, s.width);
  std::fill_n(sums, kBlock, 0.0f);
  TransformRun<Products, kBlock, kTile>(s, run, [&](const TileAt& at, int64_t k, auto put) {
    const auto* image = d_dst + at.n * steps.image + run.block * steps.block;
    const auto patch = PatchAt<kTile>(s, steps, image, at.y, at.x, copy);
    V half[kIn * kTile], sum = hn::LoadU(d, sums + k);
    for (int j = 0; j < kTile; ++j) {
      V column[kTile];
      for (int i = 0; i < kTile; ++i) {
        column[i] = Maps::Load(d, patch.at + i * patch.row + j * patch.pixel + k);
      }
      V of_column = hn::Add(column[0], column[1]);
      if constexpr (kTile == 4) of_column = hn::Add(of_column, hn::Add(column[2], column[3]));
      sum = hn::Add(sum, of_column);
      TransformGradient<kTile>(d, column, half + j, kTile);
    }
    hn::StoreU(sum, d, sums + k);
    for (int i = 0; i < kIn; ++i) {
      V line[kIn];
      TransformGradient<kTile>(d, half + i * kTile, line, 1);
      for (int j = 0; j < kIn; ++j) put(i * kIn + j, line[j]);
    }
  });
}

// ---- Products ----

// kRows input channels by two vectors of outputs: c = (or +=) sum over tiles of a^T b.
template <class Products, int kBlock, class Value>
void MultiplyTiles(const Value* a, const Value* b0, const Value* b1, int64_t tiles, bool add,
                   float* c, int64_t c_stride) {
  const Tag<kBlock> d;
  constexpr int64_t kLanes = hn::MaxLanes(Tag<kBlock>());
  hn::Vec<Tag<kBlock>> sum0[kRows], sum1[kRows];
  for (int r = 0; r < kRows; ++r) sum0[r] = sum1[r] = hn::Zero(d);
  for (int64_t t = 0; t < tiles * kBlock; t += Products::kTogether * kBlock) {
    const auto v0 = Products::LoadTogether(d, b0 + t), v1 = Products::LoadTogether(d, b1 + t);
    for (int r = 0; r < kRows; ++r) {
      const auto factor = Products::Factor(d, a + t + r * Products::kTogether);
      sum0[r] = Products::MulAdd(factor, v0, sum0[r]);
      sum1[r] = Products::MulAdd(factor, v1, sum1[r]);
    }
  }
  for (int r = 0; r < kRows; ++r, c += c_stride) {
    if (add) {
      sum0[r] = hn::Add(sum0[r], hn::LoadU(d, c));
      sum1[r] = hn::Add(sum1[r], hn::LoadU(d, c + kLanes));
    }
    hn::StoreU(sum0[r], d, c);
    hn::StoreU(sum1[r], d, c + kLanes);
  }
}

// Outputs of a job, rounded up to whole panels.
template <int kBlock>
int64_t PaddedOuts(int64_t outs) {
  return RoundUp(outs, PanelSize<kBlock>());
}

// scratch: (position, input channel, output channel). The last panel may reach beyond the last
// block of d_dst: it then reads the block before it twice, for sums that nobody looks at.
template <class Products, int kBlock, class Value>
void MultiplyJob(const WinogradShape& s, const WinogradWeightsJob<Value>& job) {
  constexpr int64_t kPanel = PanelSize<kBlock>(), kLanes = kPanel / 2;
  const int64_t outs = PaddedOuts<kBlock>(job.out_end - job.out);
  const int64_t ins = (job.in_end - job.in_block) * kBlock;
  const int64_t block = GroupedTiles<Products, kBlock>(job.tiles), tiles = block / kBlock;
  const int64_t src_plane = WinogradPlane(s, s.InBlocks(), tiles, sizeof(Value));
  const int64_t d_dst_plane = WinogradPlane(s, s.OutBlocks(), tiles, sizeof(Value));
  const auto in_block = [&](const Value* blocks, int64_t channel) {
    return blocks + channel / kBlock * block + channel % kBlock * Products::kTogether;
  };
  for (int64_t position = 0; position < s.Positions(); ++position) {
    const Value* gradients = job.d_dst + position * d_dst_plane;
    const Value* a = job.src + position * src_plane + job.in_block * block;
    for (int64_t first = 0; first < tiles; first += kDepth) {
      const int64_t count = std::min(kDepth, tiles - first);
      for (int64_t o = 0; o < outs; o += kPanel) {
        const auto vector = [&](int64_t channel) {
          const int64_t last = s.OutBlocks() * kBlock - kLanes;
          return in_block(gradients, std::min(job.out + channel, last)) + first * kBlock;
        };
        for (int64_t i = 0; i < ins; i += kRows) {
          MultiplyTiles<Products, kBlock>(in_block(a, i) + first * kBlock, vector(o),
                                          vector(o + kLanes), count, first > 0,
                                          job.scratch + (position * ins + i) * outs + o, outs);
        }
      }
    }
  }
}

// ---- Taps ----

template <int kBlock, int kTile, class Value>
void StoreTaps(const WinogradShape& s, const WinogradWeightsJob<Value>& job, float* d_weight) {
  constexpr int kIn = kTile + 2;
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  constexpr int64_t kLanes = hn::MaxLanes(Tag<kBlock>());
  const int64_t outs = PaddedOuts<kBlock>(job.out_end - job.out);
  const int64_t ins = (job.in_end - job.in_block) * kBlock;
  const int64_t in_count = std::min(ins, s.in - job.in_block * kBlock);
  for (int64_t i = 0; i < in_count; ++i) {
    for (int64_t o = 0; o < job.out_end - job.out; o += kLanes) {
      const float* from = job.scratch + i * outs + o;
      V half[3 * kIn], taps[9];
      for (int j = 0; j < kIn; ++j) {
        V column[kIn];
        for (int r = 0; r < kIn; ++r) column[r] = hn::LoadU(d, from + (r * kIn + j) * ins * outs);
        TransformTaps<kTile>(d, column, half + j, kIn);
      }
      for (int r = 0; r < 3; ++r) TransformTaps<kTile>(d, half + r * kIn, taps + r * 3, 1);
      HWY_ALIGN float values[9][kLanes];
      for (int tap = 0; tap < 9; ++tap) hn::Store(taps[tap], d, values[tap]);
      const int64_t count = std::min(kLanes, job.out_end - job.out - o);
      for (int64_t k = 0; k < count; ++k) {
        float* to = d_weight + ((job.out + o + k) * s.in + job.in_block * kBlock + i) * 9;
        for (int tap = 0; tap < 9; ++tap) {
          to[tap] = job.add ? to[tap] + values[tap][k] : values[tap][k];
        }
      }
    }
  }
}

template <class Products, int kBlock, int kTile>
void WeightsOf(const WinogradShape& s, const WinogradWeightsJob<typename Products::Value>& job,
               float* d_weight) {
  MultiplyJob<Products, kBlock>(s, job);
  StoreTaps<kBlock, kTile>(s, job, d_weight);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#endif
