// One kernel of a PTX file on given arrays: what `softgpu run` does, and how tests run kernels of
// other compilers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/softgpu/cli/npy.h"
#include "tests/softgpu/machine/launch.h"

namespace softgpu {

// "in.npy": a buffer; "in.npy:out.npy": a buffer written to a file after the run; "i32:5" and so
// on: a value; "bytes:in.npy": a structure passed by value.
struct Argument {
  std::string text;
  std::string in, out;         // in empty: a value
  std::vector<uint8_t> value;  // little-endian
};
// Throws std::invalid_argument with the argument and the forms there are.
Argument ParseArgument(const std::string& text);

struct KernelRun {
  std::string ptx_file, kernel;
  uint32_t grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
  uint32_t dynamic_shared = 0;
  std::vector<Argument> arguments;
};

struct KernelOutcome {
  LaunchResult launch;
  size_t findings = 0;
  std::vector<Array> arrays;  // one an argument, after the run; of a value: empty
};

// As options.arch: 90 where the PTX is for sm_90 or later, else 80.
inline constexpr int kArchOfPtx = 0;

// Files of `out` are written where the launch itself went through, findings or not. Throws
// std::runtime_error: files, PTX, a kernel that isn't there (with those that are), arguments that
// are not what the kernel takes.
KernelOutcome RunKernel(const KernelRun& run, Options options);

// The .param list's bytes. Throws std::runtime_error where counts or sizes differ.
std::vector<uint8_t> PackParameters(const ptx::Function& entry,
                                    const std::vector<std::vector<uint8_t>>& values);

}  // namespace softgpu
