// See winograd_weights.h.
#include <algorithm>

#include "kernels/cpu/simd_targets.h"
#include "kernels/cpu/winograd_weights.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd_weights_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/winograd_tile-inl.h"

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

// out = A in, 4 to 6: the adjoint of TransformOutput.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void TransformGradient(D d, const V* in, V* out, int stride) {
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

// out = G^T in, 6 to 3: the adjoint of TransformWeight.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void TransformTaps(D d, const V* in, V* out, int stride) {
  const auto set = [&](double value) { return hn::Set(d, static_cast<float>(value)); };
  const V even_p = hn::Add(in[1], in[2]), odd_p = hn::Sub(in[1], in[2]);
  const V even_q = hn::Add(in[3], in[4]), odd_q = hn::Sub(in[3], in[4]);
  out[0 * stride] = hn::MulAdd(set(kNormP), even_p,
                               hn::MulAdd(set(kNormQ), even_q, hn::Mul(set(kNormZero), in[0])));
  out[1 * stride] = hn::MulAdd(set(kNormP * kP), odd_p, hn::Mul(set(kNormQ * kQ), odd_q));
  out[2 * stride] =
      hn::MulAdd(set(kNormP * kP2), even_p, hn::MulAdd(set(kNormQ * kQ2), even_q, in[5]));
}

// ---- Gradient of the destination ----

// Adds the 16 gradients to `sum`.
template <int kBlock>
void TransformDDstTile(const float* rows, int64_t row_stride, float* out, int64_t plane,
                       float* sums) {
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  for (int64_t k = 0; k < kBlock; k += hn::MaxLanes(d)) {
    V half[24], sum = hn::LoadU(d, sums + k);
    for (int j = 0; j < 4; ++j) {
      V column[4];
      for (int i = 0; i < 4; ++i) {
        column[i] = hn::LoadU(d, rows + i * row_stride + j * kBlock + k);
      }
      sum = hn::Add(sum, hn::Add(hn::Add(column[0], column[1]), hn::Add(column[2], column[3])));
      TransformGradient(d, column, half + j, 4);
    }
    hn::StoreU(sum, d, sums + k);
    for (int i = 0; i < 6; ++i) {
      V row[6];
      TransformGradient(d, half + i * 4, row, 1);
      for (int j = 0; j < 6; ++j) hn::StoreU(row[j], d, out + (i * 6 + j) * plane + k);
    }
  }
}

template <int kBlock>
void TransformDDstBlock(const WinogradShape& s, const float* d_dst, const WinogradRun& run,
                        float* sums) {
  HWY_ALIGN float patch[16 * kBlock];
  std::fill_n(sums, kBlock, 0.0f);
  float* out = run.out;
  for (int64_t t = run.tile; t < run.tile + run.tiles; ++t, out += kBlock) {
    const TileAt at(s, t);
    const float* image = d_dst + (at.n * s.OutBlocks() + run.block) * s.height * s.width * kBlock;
    if (at.y + 4 <= s.height && at.x + 4 <= s.width) {
      TransformDDstTile<kBlock>(image + (at.y * s.width + at.x) * kBlock, s.width * kBlock, out,
                                run.plane, sums);
    } else {
      CopyPatch<kBlock, 4>(s, image, s.width * kBlock, kBlock, at.y, at.x, patch);
      TransformDDstTile<kBlock>(patch, 4 * kBlock, out, run.plane, sums);
    }
  }
}

// ---- Products ----

// kRows input channels by two vectors of outputs: c = (or +=) sum over tiles of a^T b.
template <int kBlock>
void MultiplyTiles(const float* a, const float* b0, const float* b1, int64_t tiles, bool add,
                   float* c, int64_t c_stride) {
  const Tag<kBlock> d;
  constexpr int64_t kLanes = hn::MaxLanes(Tag<kBlock>());
  hn::Vec<Tag<kBlock>> sum0[kRows], sum1[kRows];
  for (int r = 0; r < kRows; ++r) sum0[r] = sum1[r] = hn::Zero(d);
  for (int64_t t = 0; t < tiles * kBlock; t += kBlock) {
    const auto v0 = hn::LoadU(d, b0 + t), v1 = hn::LoadU(d, b1 + t);
    for (int r = 0; r < kRows; ++r) {
      const auto factor = hn::Set(d, a[t + r]);
      sum0[r] = hn::MulAdd(factor, v0, sum0[r]);
      sum1[r] = hn::MulAdd(factor, v1, sum1[r]);
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
  return (outs + PanelSize<kBlock>() - 1) / PanelSize<kBlock>() * PanelSize<kBlock>();
}

// scratch: (position, input channel, output channel). The last panel may reach beyond the last
// block of d_dst: it then reads the block before it twice, for sums that nobody looks at.
template <int kBlock>
void MultiplyJob(const WinogradShape& s, const WinogradWeightsJob& job) {
  constexpr int64_t kPanel = PanelSize<kBlock>(), kLanes = kPanel / 2;
  const int64_t outs = PaddedOuts<kBlock>(job.out_end - job.out);
  const int64_t ins = (job.in_end - job.in_block) * kBlock;
  const int64_t src_plane = WinogradPlane(s, s.InBlocks(), job.tiles, sizeof(float));
  const int64_t d_dst_plane = WinogradPlane(s, s.OutBlocks(), job.tiles, sizeof(float));
  for (int64_t position = 0; position < 36; ++position) {
    const auto gradients = [&](int64_t channel) {
      channel = std::min(channel, s.OutBlocks() * kBlock - kLanes);
      return job.d_dst + position * d_dst_plane + channel / kBlock * job.tiles * kBlock +
             channel % kBlock;
    };
    const float* a = job.src + position * src_plane + job.in_block * job.tiles * kBlock;
    for (int64_t first = 0; first < job.tiles; first += kDepth) {
      const int64_t count = std::min(kDepth, job.tiles - first);
      for (int64_t o = 0; o < outs; o += kPanel) {
        const float* b0 = gradients(job.out + o) + first * kBlock;
        const float* b1 = gradients(job.out + o + kLanes) + first * kBlock;
        for (int64_t i = 0; i < ins; i += kRows) {
          MultiplyTiles<kBlock>(a + (i / kBlock * job.tiles + first) * kBlock + i % kBlock, b0, b1,
                                count, first > 0, job.scratch + (position * ins + i) * outs + o,
                                outs);
        }
      }
    }
  }
}

// ---- Taps ----

template <int kBlock>
void StoreTaps(const WinogradShape& s, const WinogradWeightsJob& job, float* d_weight) {
  const Tag<kBlock> d;
  using V = hn::Vec<Tag<kBlock>>;
  constexpr int64_t kLanes = hn::MaxLanes(Tag<kBlock>());
  const int64_t outs = PaddedOuts<kBlock>(job.out_end - job.out);
  const int64_t ins = (job.in_end - job.in_block) * kBlock;
  const int64_t in_count = std::min(ins, s.in - job.in_block * kBlock);
  for (int64_t i = 0; i < in_count; ++i) {
    for (int64_t o = 0; o < job.out_end - job.out; o += kLanes) {
      const float* from = job.scratch + i * outs + o;
      V half[18], taps[9];
      for (int j = 0; j < 6; ++j) {
        V column[6];
        for (int r = 0; r < 6; ++r) column[r] = hn::LoadU(d, from + (r * 6 + j) * ins * outs);
        TransformTaps(d, column, half + j, 6);
      }
      for (int r = 0; r < 3; ++r) TransformTaps(d, half + r * 6, taps + r * 3, 1);
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

void TransformSrc(const WinogradShape& s, const float* src, const WinogradRun& run) {
  if (s.block == 8) {
    return TransformSrcBlock<BlockedF32, 8, 4>(s, src, {0, s.height}, run.block, run.tile,
                                               run.tiles, run.out, run.plane);
  }
  TransformSrcBlock<BlockedF32, 16, 4>(s, src, {0, s.height}, run.block, run.tile, run.tiles,
                                       run.out, run.plane);
}

void TransformDDst(const WinogradShape& s, const float* d_dst, const WinogradRun& run,
                   float* sums) {
  if (s.block == 8) return TransformDDstBlock<8>(s, d_dst, run, sums);
  TransformDDstBlock<16>(s, d_dst, run, sums);
}

void Weights(const WinogradShape& s, const WinogradWeightsJob& job, float* d_weight) {
  if (s.block == 8) {
    MultiplyJob<8>(s, job);
    return StoreTaps<8>(s, job, d_weight);
  }
  MultiplyJob<16>(s, job);
  StoreTaps<16>(s, job, d_weight);
}

int64_t ScratchCount(const WinogradShape& s, int64_t in_blocks, int64_t outs) {
  return 36 * in_blocks * s.block * (s.block == 8 ? PaddedOuts<8>(outs) : PaddedOuts<16>(outs));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lseg {

HWY_EXPORT(TransformSrc);
HWY_EXPORT(TransformDDst);
HWY_EXPORT(Weights);
HWY_EXPORT(ScratchCount);

void WinogradTransformSrc(const WinogradShape& shape, const float* src, const WinogradRun& run) {
  HWY_DYNAMIC_DISPATCH(TransformSrc)(shape, src, run);
}

void WinogradTransformDDst(const WinogradShape& shape, const float* d_dst, const WinogradRun& run,
                           float* sums) {
  HWY_DYNAMIC_DISPATCH(TransformDDst)(shape, d_dst, run, sums);
}

int64_t WinogradWeightsScratchCount(const WinogradShape& shape, int64_t in_blocks, int64_t outs) {
  return HWY_DYNAMIC_DISPATCH(ScratchCount)(shape, in_blocks, outs);
}

void WinogradWeights(const WinogradShape& shape, const WinogradWeightsJob& job, float* d_weight) {
  HWY_DYNAMIC_DISPATCH(Weights)(shape, job, d_weight);
}

}  // namespace lseg
#endif
