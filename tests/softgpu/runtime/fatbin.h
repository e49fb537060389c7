// The container in which nvcc embeds a translation unit's device code: a header, then entries of
// PTX text or machine code. Only uncompressed PTX is of use here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace softgpu {

struct FatbinEntry {
  bool is_ptx = false;  // else machine code
  bool compressed = false;
  int arch = 0;           // 80
  bool specific = false;  // sm_90a: runs on its own arch only
  std::string_view text;  // PTX without its padding; empty where compressed or no PTX
};

// The flags that a program must be built with, as one line without a line end.
inline constexpr char kBuildFlags[] =
    "build it with: nvcc -cudart shared -gencode arch=compute_80,code=compute_80 "
    "-Xfatbin -compress=false";

// `bytes` open with the container's header and may reach past its end. Throws std::runtime_error
// where they are no container or end too early. The entries' texts point into `bytes`.
std::vector<FatbinEntry> ParseFatbin(std::string_view bytes);
// The container's length, from its header; 0: there is none.
size_t FatbinBytes(const void* header);

// The PTX for a device of this arch: the highest that it can run. nullptr: there is none.
const FatbinEntry* ChoosePtx(const std::vector<FatbinEntry>& entries, int arch);
// Why there is none, in one line.
std::string WhyNoPtx(const std::vector<FatbinEntry>& entries, int arch);

}  // namespace softgpu
