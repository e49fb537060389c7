// What the loops of the CPU ops share: how an innermost loop is compiled for several vector
// extensions, and how an array is cut for threads.
//
// The library is built for the baseline of its architecture, so that one package runs everywhere.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>  // defines __GLIBC__

#include "kernels/runtime/context.h"
#include "kernels/runtime/integers.h"

// LSEG_MULTIVERSION before a function: it is compiled for the baseline, for AVX2 with FMA and for
// AVX-512, and the loader picks the best that the machine has. For functions that hold an op's
// innermost loops, no templates; the parallel loop stays outside, because OpenMP moves its body
// into a function of its own, which is compiled for the baseline only.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if __GNUC__ >= 12
#define LSEG_MULTIVERSION \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define LSEG_MULTIVERSION __attribute__((target_clones("default", "avx2", "avx512f")))
#endif
#else
#define LSEG_MULTIVERSION
#endif

// For what such a function calls: it takes part in the versions only if it is inlined.
#define LSEG_INLINE inline __attribute__((always_inline))

namespace lseg {

// Loops over fewer elements than this run on the calling thread: waking the others costs more.
constexpr int64_t kParallelFrom = 16384;

// Calls body(begin, count) for consecutive chunks of [0, count), in parallel.
template <class Body>
void ForChunks(const Context& context, int64_t count, const Body& body) {
  const int64_t chunks = CeilDiv(count, kParallelFrom);
#pragma omp parallel for schedule(static) num_threads(context.threads()) if (chunks > 1)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = chunk * kParallelFrom;
    body(begin, std::min(kParallelFrom, count - begin));
  }
}

// Sums that must not depend on the number of threads are taken over this many stripes, each by one
// thread, and the stripes' sums are added in their order. It bounds the threads that help.
constexpr int kStripes = 64;

// The part of [0, count) that belongs to a stripe; whole cache lines, possibly none.
struct Stripe {
  int64_t begin, count;
};
inline Stripe StripeOf(int64_t count, int stripe) {
  const int64_t lines = (count + 15) / 16;
  const int64_t begin = std::min(count, lines * stripe / kStripes * 16);
  const int64_t end = std::min(count, lines * (stripe + 1) / kStripes * 16);
  return {begin, end - begin};
}

}  // namespace lseg
