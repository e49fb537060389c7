// What the programs share: flags, --help and --version, exit codes, and one-line errors. A program
// is a body that throws; RunTool is its main.
//
//   int Body(int argc, char** argv) {
//     cxxopts::Options options("lseg_eval", "Scores lesion maps against the truth.");
//     options.add_options()("prob", "folder of probability maps", cxxopts::value<std::string>(),
//                           "DIR");
//     const auto flags = ParseFlags(options, argc, argv, kExamples);
//     if (!flags) return kExitOk;
//     ...
//   }
//   int main(int argc, char** argv) {
//     lseg::SpinBriefly(argv);
//     return lseg::RunTool(argc, argv, lseg::Body);
//   }
#pragma once

#include <cstdint>
#include <cxxopts.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kernels/runtime/buffer.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/context.h"

namespace lseg {

// Stated at the end of every --help (ParseFlags appends it).
enum ExitCode {
  kExitOk = 0,      // everything that was asked for is done
  kExitFailed = 1,  // an error; or some inputs failed, each named on stderr, and the rest is done
  kExitUsage = 2,   // the command line is wrong; nothing was done
};

// A command line that cannot be obeyed. RunTool adds a hint at --help and returns kExitUsage.
class UsageError : public Error {
 public:
  using Error::Error;
};

// Comes first in main. Where OMP_WAIT_POLICY and GOMP_SPINCOUNT say nothing, it sets the latter and
// starts the program anew, for libgomp reads it once, before main: its threads then wait for one
// another awake for a tenth of a millisecond only, not for several. Else they keep the processors
// from the threads that read and write, and from other programs: beside those, lseg_infer took
// twice the processor time. Where it cannot, the program goes on as it is.
void SpinBriefly(char** argv);

// Calls body(argc, argv) and returns its exit code. What it throws becomes one line on stderr that
// starts with the program's name: UsageError kExitUsage, anything else kExitFailed.
int RunTool(int argc, char** argv, int (*body)(int argc, char** argv));

// "0.1.0", of the build.
std::string Version();

// Adds --help (-h) and --version to `options` and parses. Answers these two on stdout and returns
// nothing; `help_end` (examples, notes) stands below the flags in the help. Throws UsageError for
// flags that are unknown, given twice or without their value, and for stray arguments. Arguments
// that are no flags go to `operands` where it is given, and are stray otherwise.
std::optional<cxxopts::ParseResult> ParseFlags(cxxopts::Options& options, int argc,
                                               const char* const* argv, const std::string& help_end,
                                               std::vector<std::string>* operands = nullptr);

// Values of flags declared as std::string (cxxopts' own conversion does not name the flag at fault,
// and takes neither bounds nor WxH). Throw UsageError naming flag, value and rule.
std::string RequiredFlag(const cxxopts::ParseResult& flags, const std::string& name);
int64_t IntegerFlag(const cxxopts::ParseResult& flags, const std::string& name, int64_t min,
                    int64_t max);
double NumberFlag(const cxxopts::ParseResult& flags, const std::string& name, double min,
                  double max);
struct FlagSize {
  int width, height;
};
FlagSize SizeFlag(const cxxopts::ParseResult& flags, const std::string& name, int min,
                  int max);  // "1440x960"

// --device: "cpu"; "cuda", whose Context says what is missing; or "auto": the GPU where one can be
// used, else the CPU, and a line says why.
Device DeviceFlag(const cxxopts::ParseResult& flags);
// --tune: "on"; "off"; or "auto", which is on for a GPU.
bool TuneFlag(const cxxopts::ParseResult& flags, Device device);
// --threads, 1 to 1024; where it is not given, DefaultThreads() (kernels/runtime/cpus.h). OpenMP's
// loops of the calling thread get it, too.
int ThreadsFlag(const cxxopts::ParseResult& flags);
// --max-pixels, 1 to `most`; `preset` where it is not given. And its help.
int64_t MaxPixelsFlag(const cxxopts::ParseResult& flags, int64_t preset, int64_t most);
inline constexpr char kMaxPixelsHelp[] = "refuse larger images (default 200000000)";
// --memory: bytes, "1500M" or "4G" (powers of 1000), with fractions; 0 where it is not given.
int64_t MemoryFlag(const cxxopts::ParseResult& flags);
// --engine: "own", "cudnn", "cublas": who computes the convolutions on a GPU. What a library lacks
// is said where its first plan is made.
std::string EngineFlag(const cxxopts::ParseResult& flags);
// --precision: f32, tf32, bf16, f16. What the device lacks is said where the first net is made.
std::string PrecisionFlag(const cxxopts::ParseResult& flags);

// What `work` returns; an OutOfMemory of it becomes an Error that ends in `hint`: what a user of
// this program can change.
template <typename Work>
auto HintingAtMemory(const std::string& hint, Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const OutOfMemory& error) {
    throw Error(error.what() + hint);
  }
}

// One line of progress on stdout, flushed; for problems that do not stop the work, one line on
// stderr behind the program's name. Whole lines, from any thread. Line ends within the text become
// spaces.
void Say(const std::string& line);
void Complain(const std::string& line);

}  // namespace lseg
