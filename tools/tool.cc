#include "tools/tool.h"

#include <omp.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/runtime/cpus.h"

namespace lseg {
namespace {

constexpr char kExitCodes[] =
    "\nExit codes: 0 all done, 1 an error or some inputs failed (each is named on stderr),\n"
    "2 the command line is wrong.\n";

// One write a line, so that lines of several threads do not mix.
void PrintLine(std::FILE* file, std::string line) {
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), file);
  std::fflush(file);
}

// cxxopts quotes with typographic marks, which a terminal in the C locale cannot show.
std::string PlainQuotes(std::string text) {
  for (const char* mark : {"\u2018", "\u2019"}) {
    for (size_t at; (at = text.find(mark)) != std::string::npos;) {
      text.replace(at, std::strlen(mark), "'");
    }
  }
  return text;
}

[[noreturn]] void FailUsage(const std::string& message) { throw UsageError(message); }

template <typename T>
T NumberOf(const cxxopts::ParseResult& flags, const std::string& name, T min, T max,
           const char* kind) {
  const std::string text = RequiredFlag(flags, name);
  T value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  // Written so that a NaN is refused too.
  if (error != std::errc() || stop != end || !(value >= min && value <= max)) {
    std::ostringstream message;
    message << "--" << name << " '" << text << "' is not " << kind << " from " << min << " to "
            << max;
    FailUsage(message.str());
  }
  return value;
}

}  // namespace

void SpinBriefly(char** argv) {
  constexpr char kSpinCount[] = "GOMP_SPINCOUNT";
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv(kSpinCount) != nullptr) return;
  char path[PATH_MAX];  // of the program, by which the system calls the process
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
  if (length <= 0) return;
  path[length] = '\0';
  // Under another name it may be a loader or an emulator that runs this program.
  const char* name = std::strrchr(path, '/');
  if (name == nullptr || std::strcmp(name + 1, program_invocation_short_name) != 0) return;
  setenv(kSpinCount, "5000", 1);
  execv(path, argv);
}

int RunTool(int argc, char** argv, int (*body)(int argc, char** argv)) {
  try {
    const int code = body(argc, argv);
    // A full disk or a closed pipe shows only when the last line is flushed.
    LSEG_CHECK(std::fflush(stdout) == 0 && !std::ferror(stdout),
               "cannot write to the standard output: " << std::strerror(errno));
    return code;
  } catch (const UsageError& error) {
    Complain(std::string(error.what()) + " (see --help)");
    return kExitUsage;
  } catch (const std::bad_alloc&) {
    Complain("out of memory");
  } catch (const std::exception& error) {
    Complain(error.what());
  }
  return kExitFailed;
}

std::string Version() { return LSEG_VERSION; }

std::optional<cxxopts::ParseResult> ParseFlags(cxxopts::Options& options, int argc,
                                               const char* const* argv, const std::string& help_end,
                                               std::vector<std::string>* operands) {
  options.set_width(100);
  options.add_options()("h,help", "print this and exit")("version", "print the version and exit");
  try {
    cxxopts::ParseResult flags = options.parse(argc, argv);
    if (flags.count("help")) {
      std::printf("%s\n%s%s", options.help().c_str(), help_end.c_str(), kExitCodes);
      return std::nullopt;
    }
    if (flags.count("version")) {
      std::printf("%s %s\n", options.program().c_str(), Version().c_str());
      return std::nullopt;
    }
    for (const cxxopts::KeyValue& flag : flags.arguments()) {
      if (flags.count(flag.key()) > 1) FailUsage("--" + flag.key() + " is given twice");
      // cxxopts takes whatever follows as the value, a forgotten value's next flag too.
      if (flag.value().rfind("--", 0) == 0) FailUsage("--" + flag.key() + " needs a value");
    }
    if (operands) {
      *operands = flags.unmatched();
    } else if (!flags.unmatched().empty()) {
      FailUsage("stray argument '" + flags.unmatched().front() + "'");
    }
    return flags;
  } catch (const cxxopts::exceptions::parsing& error) {
    FailUsage(PlainQuotes(error.what()));
  }
}

std::string RequiredFlag(const cxxopts::ParseResult& flags, const std::string& name) {
  // A default counts as given; a flag with neither value nor default does not.
  std::string text;
  try {
    text = flags[name].as<std::string>();
  } catch (const cxxopts::exceptions::exception&) {
    FailUsage("--" + name + " is missing");
  }
  if (text.empty()) FailUsage("--" + name + " is empty");
  return text;
}

int64_t IntegerFlag(const cxxopts::ParseResult& flags, const std::string& name, int64_t min,
                    int64_t max) {
  return NumberOf(flags, name, min, max, "a whole number");
}

double NumberFlag(const cxxopts::ParseResult& flags, const std::string& name, double min,
                  double max) {
  return NumberOf(flags, name, min, max, "a number");
}

FlagSize SizeFlag(const cxxopts::ParseResult& flags, const std::string& name, int min, int max) {
  const std::string text = RequiredFlag(flags, name);
  const char* end = text.data() + text.size();
  FlagSize size = {};
  const auto width = std::from_chars(text.data(), end, size.width);
  const bool has_x = width.ec == std::errc() && width.ptr != end && *width.ptr == 'x';
  const auto height = has_x ? std::from_chars(width.ptr + 1, end, size.height) : width;
  const auto inside = [&](int value) { return value >= min && value <= max; };
  if (!has_x || height.ec != std::errc() || height.ptr != end || !inside(size.width) ||
      !inside(size.height)) {
    FailUsage("--" + name + " '" + text + "' is not WIDTHxHEIGHT, as in 1440x960, each from " +
              std::to_string(min) + " to " + std::to_string(max));
  }
  return size;
}

Device DeviceFlag(const cxxopts::ParseResult& flags) {
  const std::string name = RequiredFlag(flags, "device");
  if (name == "cpu") return Device::kCpu;
  if (name == "cuda") return Device::kCuda;
  if (name != "auto") {
    FailUsage("--device '" + name + "' is not there: cpu, cuda and auto are");
  }
  try {
    Context(Device::kCuda);
    return Device::kCuda;
  } catch (const Error& error) {
    Say("--device auto takes the CPU: " + std::string(error.what()));
    return Device::kCpu;
  }
}

bool TuneFlag(const cxxopts::ParseResult& flags, Device device) {
  const std::string mode = RequiredFlag(flags, "tune");
  if (mode != "auto" && mode != "on" && mode != "off") {
    FailUsage("--tune '" + mode + "' is not there: auto, on and off are");
  }
  return mode == "on" || (mode == "auto" && device == Device::kCuda);
}

int ThreadsFlag(const cxxopts::ParseResult& flags) {
  const int threads = flags.count("threads") > 0
                          ? static_cast<int>(IntegerFlag(flags, "threads", 1, 1024))
                          : DefaultThreads();
  omp_set_num_threads(threads);
  return threads;
}

int64_t MaxPixelsFlag(const cxxopts::ParseResult& flags, int64_t preset, int64_t most) {
  return flags.count("max-pixels") ? IntegerFlag(flags, "max-pixels", 1, most) : preset;
}

int64_t MemoryFlag(const cxxopts::ParseResult& flags) {
  if (flags.count("memory") == 0) return 0;
  const std::string text = flags["memory"].as<std::string>();
  std::istringstream stream(text);
  double number = 0;
  char unit = 0;
  const bool whole = stream >> number >> unit && stream.peek() == EOF;
  if (!whole || !(number > 0 && number < 1e6) || (unit != 'M' && unit != 'G')) {
    FailUsage("--memory '" + text + "' is no size such as 1500M or 4G");
  }
  return static_cast<int64_t>(number * (unit == 'M' ? 1e6 : 1e9));
}

std::string EngineFlag(const cxxopts::ParseResult& flags) {
  const std::string name = RequiredFlag(flags, "engine");
  if (name != "own" && name != "cudnn" && name != "cublas") {
    FailUsage("--engine '" + name + "' is not there: own, cudnn and cublas are");
  }
  return name;
}

std::string PrecisionFlag(const cxxopts::ParseResult& flags) {
  const std::string name = RequiredFlag(flags, "precision");
  if (name != "f32" && name != "tf32" && name != "bf16" && name != "f16") {
    FailUsage("--precision '" + name + "' is not there: f32, tf32, bf16 and f16 are");
  }
  return name;
}

void Say(const std::string& line) { PrintLine(stdout, line); }

void Complain(const std::string& line) {
  PrintLine(stderr, std::string(program_invocation_short_name) + ": " + line);
}

}  // namespace lseg
