// Maxima of vectors that keep NaNs, which Highway leaves to the processor. Included once per
// instruction set, by the sources that use Highway.

#if defined(LSEG_KERNELS_CPU_MAXIMA_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LSEG_KERNELS_CPU_MAXIMA_INL_H_
#undef LSEG_KERNELS_CPU_MAXIMA_INL_H_
#else
#define LSEG_KERNELS_CPU_MAXIMA_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// max(value, 0); a NaN stays one.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Rectified(D d, V value) {
  return hn::IfThenZeroElse(hn::Lt(value, hn::Zero(d)), value);
}

// Whether `next` takes the place of the largest so far: a NaN counts as larger than any number.
template <class V>
HWY_INLINE auto IsLarger(V value, V next) {
  return hn::Or(hn::Gt(next, value), hn::IsNaN(next));
}
template <class V>
HWY_INLINE V Larger(V value, V next) {
  return hn::IfThenElse(IsLarger(value, next), next, value);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#endif
