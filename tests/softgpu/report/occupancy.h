// How many warps of a kernel a multiprocessor holds at once, by the rules of CUDA's occupancy
// calculator; and the registers of kernels, from ptxas.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace softgpu {

struct Occupancy {
  uint32_t blocks = 0;  // a multiprocessor; 0: a block does not fit
  uint32_t warps = 0;
  double share = 0;               // of the warps that fit at most
  const char* limit = "nothing";  // "threads", "blocks", "registers", "shared memory"
};
// arch 80 or 90; shared_bytes static and dynamic.
Occupancy OccupancyOf(int arch, uint32_t threads, uint32_t registers, uint32_t shared_bytes);

// Registers a thread by kernel (mangled), as `ptxas -v` says for this target ("sm_80"). Empty where
// there is no ptxas on the path or it refuses the text.
std::map<std::string, uint32_t> RegistersOf(const std::string& ptx_text, const std::string& target);
// The same from ptxas's words.
std::map<std::string, uint32_t> ParsePtxas(const std::string& output);

}  // namespace softgpu
