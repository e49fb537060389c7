// The limits of the two devices that are imitated: A100 (8.0) and H100 (9.0). Source: CUDA
// programming guide, table of technical specifications.
#pragma once

#include <cstddef>
#include <cstdint>

namespace softgpu {

struct Limits {
  int major, minor;
  int multiprocessors;
  int threads_per_multiprocessor;
  int blocks_per_multiprocessor;
  int registers_per_multiprocessor;
  uint32_t shared_per_multiprocessor;
  uint32_t shared_per_block_opt_in;
  uint32_t shared_reserved;  // a block
  int l2_bytes;
  int clock_khz, memory_clock_khz, bus_bits;
};

inline Limits LimitsOf(int arch) {
  const Limits a100 = {8,          0,    108,      2048,    32,      65536, 164 * 1024,
                       163 * 1024, 1024, 40 << 20, 1410000, 1215000, 5120};
  const Limits h100 = {9,          0,    132,      2048,    32,      65536, 228 * 1024,
                       227 * 1024, 1024, 50 << 20, 1980000, 2619000, 5120};
  return arch >= 90 ? h100 : a100;
}

inline constexpr uint32_t kSharedWithoutOptIn = 48 * 1024;
inline constexpr uint32_t kMaxThreadsPerBlock = 1024;
inline constexpr uint32_t kMaxBlockDim[3] = {1024, 1024, 64};
inline constexpr uint32_t kMaxGridDim[3] = {0x7fffffff, 65535, 65535};

}  // namespace softgpu
