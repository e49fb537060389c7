// softgpu: runs a kernel of a PTX file on arrays, with every check on. Flags and messages only; the
// work is in run_kernel.
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cxxopts.hpp>
#include <exception>
#include <stdexcept>

#include "tests/softgpu/cli/run_kernel.h"

namespace {

// It would take the text for code.
// clang-format off
constexpr char kHelp[] = R"help(softgpu: a GPU in software. Runs PTX on the CPU and tells what is wrong with it.

  softgpu run --ptx F --kernel NAME --grid X,Y,Z --block X,Y,Z [--shared N] ARG...

Examples, with a kernel saxpy(int n, float a, const float* x, float* y) in saxpy.cu:
  nvcc -ptx -lineinfo -arch=compute_80 saxpy.cu      (write extern "C", or see the name in the .ptx)
  python3 -c "import numpy; numpy.save('x.npy', numpy.ones(1000, 'f4'))"
  softgpu run --ptx saxpy.ptx --kernel saxpy --grid 4 --block 256 i32:1000 f32:2 x.npy x.npy:y.npy

An ARG, one for each parameter of the kernel in their order, is
  in.npy           a pointer to a copy of this array (any dtype; bf16 is kept as uint16)
  in.npy:out.npy   the same, and the array is written to out.npy after the run
  i32:5            a value; also i8 i16 i64 u8 u16 u32 u64 f32 f64 (a null pointer: u64:0)
  bytes:in.npy     a structure passed by value, as its bytes

Flags of run:
  --ptx F          the PTX text
  --kernel NAME    as the PTX has it, mangled (a wrong name lists those there are)
  --grid X,Y,Z     blocks; Y and Z are 1 where they are left out
  --block X,Y,Z    threads of a block
  --shared N       bytes of dynamic shared memory, default 0

Environment: SOFTGPU_SEED (order of warps and blocks), SOFTGPU_THREADS (1 repeats a seed's run
exactly), SOFTGPU_OFF (checks to leave out: race-global,uninitialised,...), SOFTGPU_ARCH (80 or 90;
else what the PTX was made for), SOFTGPU_MEMORY, SOFTGPU_MAX_INSTRUCTIONS.

Exit codes: 0 the run went through and nothing was found, 1 a finding, a launch that failed, or a
file that can't be used, 2 wrong flags.
)help";
// clang-format on

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// "4", "4,2" or "4,2,1".
void ParseDimensions(const std::string& flag, const std::string& text, uint32_t (&dimensions)[3]) {
  const char* at = text.data();
  const char* end = at + text.size();
  for (int i = 0; i < 3; ++i) {
    const auto result = std::from_chars(at, end, dimensions[i]);
    if (result.ec != std::errc() || dimensions[i] == 0) break;
    if (result.ptr == end) return;
    if (*result.ptr != ',') break;
    at = result.ptr + 1;
  }
  throw UsageError("--" + flag + " '" + text + "': must be X, X,Y or X,Y,Z, each at least 1");
}

std::string Required(const cxxopts::ParseResult& flags, const std::string& name) {
  if (flags.count(name) == 0) throw UsageError("--" + name + " is missing");
  return flags[name].as<std::string>();
}

softgpu::KernelRun ParseRun(int argc, char** argv) {
  cxxopts::Options options("softgpu run");
  const auto text = cxxopts::value<std::string>();
  options.add_options()("ptx", "", text)("kernel", "", text)("grid", "", text)("block", "", text)(
      "shared", "", cxxopts::value<uint32_t>());
  const cxxopts::ParseResult flags = options.parse(argc, argv);
  softgpu::KernelRun run;
  run.ptx_file = Required(flags, "ptx");
  run.kernel = Required(flags, "kernel");
  ParseDimensions("grid", Required(flags, "grid"), run.grid);
  ParseDimensions("block", Required(flags, "block"), run.block);
  if (flags.count("shared")) run.dynamic_shared = flags["shared"].as<uint32_t>();
  for (const std::string& argument : flags.unmatched()) {
    run.arguments.push_back(softgpu::ParseArgument(argument));
  }
  return run;
}

int Run(int argc, char** argv) {
  const softgpu::KernelRun run = ParseRun(argc, argv);
  softgpu::Options options = softgpu::Options::FromEnvironment();
  if (std::getenv("SOFTGPU_ARCH") == nullptr) options.arch = softgpu::kArchOfPtx;
  const softgpu::KernelOutcome outcome = softgpu::RunKernel(run, options);
  std::fflush(stdout);
  if (outcome.launch.error != 0 && !outcome.launch.message.empty()) {
    std::fprintf(stderr, "softgpu: %s\n", outcome.launch.message.c_str());
  }
  const softgpu::Counters& c = outcome.launch.counters;
  std::fprintf(stderr, "softgpu: %s: %llu blocks, %llu warps, %llu warp instructions; %zu found\n",
               run.kernel.c_str(), static_cast<unsigned long long>(c.blocks),
               static_cast<unsigned long long>(c.warps),
               static_cast<unsigned long long>(c.warp_insts), outcome.findings);
  return outcome.launch.error != 0 || outcome.findings > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int kUsage = 2;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string flag = argv[i];
      if (flag == "--help" || flag == "-h") {
        std::fputs(kHelp, stdout);
        return 0;
      }
    }
    if (argc < 2 || std::string(argv[1]) != "run") {
      throw UsageError(argc < 2 ? "what to do is missing: run"
                                : "'" + std::string(argv[1]) + "' is nothing it does: run");
    }
    return Run(argc - 1, argv + 1);
  } catch (const UsageError& error) {
    std::fprintf(stderr, "softgpu: %s (softgpu --help explains)\n", error.what());
  } catch (const cxxopts::exceptions::exception& error) {
    std::fprintf(stderr, "softgpu: %s (softgpu --help explains)\n", error.what());
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "softgpu: %s (softgpu --help explains)\n", error.what());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "softgpu: %s\n", error.what());
    return 1;
  }
  return kUsage;
}
