// What this processor can do at most: multiply-adds in f32 and bf16 from registers, and bytes to
// and from memory, on all threads. bench_cpu.py states each layer's share of it. One line of JSON.
#include <omp.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/runtime/context.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lseg {
namespace {

constexpr int kRepeats = 7;  // the fastest counts: what disturbs can only slow down
constexpr int64_t kRounds = 4'000'000;

// Seconds of the fastest of some runs of `work` on all threads at once.
double Fastest(int threads, const std::function<void()>& work) {
  double fastest = 1e30;
  for (int i = 0; i < kRepeats; ++i) {
    double begin = 0, end = 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp barrier
#pragma omp master
      begin = omp_get_wtime();
      work();
#pragma omp barrier
#pragma omp master
      end = omp_get_wtime();
    }
    fastest = std::min(fastest, end - begin);
  }
  return fastest;
}

// An unused result would let the compiler drop the work.
template <class T>
void Keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

struct Peak {
  std::string by;
  double operations = 0;  // a thread and call of `work`
  std::function<void()> work;
};

#if defined(__x86_64__)

// Independent sums, which hide the latency of the instruction: of 16 and of 32 registers.
constexpr int kSumsAvx2 = 12, kSumsAvx512 = 20;

__attribute__((target("avx512f"))) void MultiplyAddAvx512() {
  __m512 sum[kSumsAvx512];
  for (__m512& s : sum) s = _mm512_setzero_ps();
  const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 20
    for (int k = 0; k < kSumsAvx512; ++k) sum[k] = _mm512_fmadd_ps(sum[k], a, b);
  }
  Keep(sum);
}

__attribute__((target("avx2,fma"))) void MultiplyAddAvx2() {
  __m256 sum[kSumsAvx2];
  for (__m256& s : sum) s = _mm256_setzero_ps();
  const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kSumsAvx2; ++k) sum[k] = _mm256_fmadd_ps(sum[k], a, b);
  }
  Keep(sum);
}

__attribute__((target("avx512f,avx512bf16"))) void DotBf16() {
  __m512 sum[kSumsAvx512];
  for (__m512& s : sum) s = _mm512_setzero_ps();
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f));
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 20
    for (int k = 0; k < kSumsAvx512; ++k) sum[k] = _mm512_dpbf16_ps(sum[k], a, a);
  }
  Keep(sum);
}

// Products of 16x32 and 32x16 matrices; of eight tiles four are sums.
constexpr int64_t kTileRounds = kRounds / 16;
__attribute__((target("amx-tile,amx-bf16"))) void DotAmx() {
  // Static: GCC 12 says of ldtilecfg that it reads eight bytes, and leaves out what fills the others.
  static const struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes_a_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config{};
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t i = 0; i < kTileRounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

// Whether the system lets this process use the tiles' registers (Linux 5.16).
bool AmxAllowed() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;  // leaf 7: bit 22 AMX-BF16, 24 AMX-TILE
  asm volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
  return (d >> 22 & 1) != 0 && (d >> 24 & 1) != 0 &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool HasAvx512Bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  asm volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(1));
  return __builtin_cpu_supports("avx512f") && (a >> 5 & 1) != 0;
}

Peak F32() {
  if (__builtin_cpu_supports("avx512f"))
    return {"AVX-512", 2.0 * 16 * kSumsAvx512 * kRounds, MultiplyAddAvx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {"AVX2", 2.0 * 8 * kSumsAvx2 * kRounds, MultiplyAddAvx2};
  }
  return {};
}

Peak Bf16() {
  if (AmxAllowed()) return {"AMX", 4 * 2.0 * 16 * 16 * 32 * kTileRounds, DotAmx};
  if (HasAvx512Bf16()) return {"AVX512_BF16", 2.0 * 32 * kSumsAvx512 * kRounds, DotBf16};
  return {};
}

#else

Peak F32() { return {}; }
Peak Bf16() { return {}; }

#endif

// Operations a second of all threads; 0 where there are no such instructions.
double OperationsPerSecond(int threads, const Peak& peak) {
  return peak.work ? peak.operations * threads / Fastest(threads, peak.work) : 0;
}

// Larger than any cache.
constexpr int64_t kFloats = int64_t{1} << 26;

struct Bandwidth {
  double read, triad;  // bytes a second
};
Bandwidth MeasureMemory(int threads) {
  std::vector<float> a(kFloats, 1), b(kFloats, 2), c(kFloats, 3);
  std::vector<float> sums(threads * 16);
  const auto part = [&](auto&& body) {
    const int thread = omp_get_thread_num();
    body(thread, kFloats * thread / threads, kFloats * (thread + 1) / threads);
  };
  const double read = Fastest(threads, [&] {
    part([&](int thread, int64_t begin, int64_t end) {
      float sum[64] = {};  // sums of their own: additions must not wait for one another
      for (int64_t i = begin; i + 64 <= end; i += 64) {
        for (int k = 0; k < 64; ++k) sum[k] += a[i + k];
      }
      sums[thread * 16] = sum[0];
      Keep(sum);
    });
  });
  const double triad = Fastest(threads, [&] {
    part([&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) a[i] = b[i] + 0.5f * c[i];
      Keep(a);
    });
  });
  return {4.0 * kFloats / read, 3 * 4.0 * kFloats / triad};
}

}  // namespace
}  // namespace lseg

int main() {
  const lseg::Context context;
  const int threads = context.threads();
  const lseg::Peak f32 = lseg::F32(), bf16 = lseg::Bf16();
  const lseg::Bandwidth memory = lseg::MeasureMemory(threads);
  const nlohmann::ordered_json report{
      {"context", context.Describe()},
      {"f32_by", f32.by},
      {"f32_operations_per_second", lseg::OperationsPerSecond(threads, f32)},
      {"bf16_by", bf16.by},
      {"bf16_operations_per_second", lseg::OperationsPerSecond(threads, bf16)},
      {"read_bytes_per_second", memory.read},
      {"triad_bytes_per_second", memory.triad}};
  std::cout << report.dump() << "\n";
}
