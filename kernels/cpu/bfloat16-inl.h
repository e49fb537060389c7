// Vectors of f32 from and to memory of either element type (kernels/runtime/bfloat16.h). Included
// once per instruction set, by the sources that use Highway. (Its own DemoteTo cuts bits off.)

#if defined(LSEG_KERNELS_CPU_BFLOAT16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSEG_KERNELS_CPU_BFLOAT16_INL_H_
#undef LSEG_KERNELS_CPU_BFLOAT16_INL_H_
#else
#define LSEG_KERNELS_CPU_BFLOAT16_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/runtime/bfloat16.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The bits of bf16.
template <class D>
using Halves = hn::Rebind<uint16_t, D>;

template <class D>
HWY_INLINE hn::Vec<D> Widened(D d, hn::Vec<Halves<D>> bits) {
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(hn::RebindToUnsigned<D>(), bits)));
}
// As FromFloat<BFloat16>.
template <class D>
HWY_INLINE hn::Vec<Halves<D>> Rounded(D, hn::Vec<D> value) {
  const hn::RebindToUnsigned<D> wide;
  const auto bits = hn::BitCast(wide, value), upper = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(upper, hn::Set(wide, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(wide, 0x7fff))));
  const auto quiet = hn::Or(upper, hn::Set(wide, 0x40));
  const auto half = hn::IfThenElse(hn::RebindMask(wide, hn::IsNaN(value)), quiet, rounded);
  return hn::DemoteTo(Halves<D>(), hn::BitCast(hn::RebindToSigned<D>(), half));
}

template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const BFloat16* from) {
  return Widened(d, hn::LoadU(Halves<D>(), reinterpret_cast<const uint16_t*>(from)));
}

template <class D>
HWY_INLINE void StoreFloats(hn::Vec<D> value, D d, float* to) {
  hn::StoreU(value, d, to);
}
template <class D>
HWY_INLINE void StoreFloats(hn::Vec<D> value, D d, BFloat16* to) {
  hn::StoreU(Rounded(d, value), Halves<D>(), reinterpret_cast<uint16_t*>(to));
}

// Twice as many elements: lane i of `even` is element 2i, of `odd` 2i + 1.
template <class D>
HWY_INLINE void LoadPairs(D d, const float* from, hn::Vec<D>& even, hn::Vec<D>& odd) {
  hn::LoadInterleaved2(d, from, even, odd);
}
template <class D>
HWY_INLINE void LoadPairs(D d, const BFloat16* from, hn::Vec<D>& even, hn::Vec<D>& odd) {
  hn::Vec<Halves<D>> even_bits, odd_bits;
  hn::LoadInterleaved2(Halves<D>(), reinterpret_cast<const uint16_t*>(from), even_bits, odd_bits);
  even = Widened(d, even_bits);
  odd = Widened(d, odd_bits);
}

template <class D>
HWY_INLINE void StorePairs(hn::Vec<D> even, hn::Vec<D> odd, D d, float* to) {
  hn::StoreInterleaved2(even, odd, d, to);
}
template <class D>
HWY_INLINE void StorePairs(hn::Vec<D> even, hn::Vec<D> odd, D d, BFloat16* to) {
  hn::StoreInterleaved2(Rounded(d, even), Rounded(d, odd), Halves<D>(),
                        reinterpret_cast<uint16_t*>(to));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#endif  // per target
