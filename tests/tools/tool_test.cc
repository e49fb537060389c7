// Command lines as users type and mistype them.
#include "tools/tool.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <vector>

#include "kernels/runtime/cpus.h"

namespace lseg {
namespace {

using testing::HasSubstr;

struct Answer {
  int code;
  std::string out, err;
};

Answer RunDemo(std::vector<std::string> arguments, int (*body)(int, char**)) {
  arguments.insert(arguments.begin(), "lseg_demo");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Answer answer;
  answer.code = RunTool(static_cast<int>(arguments.size()), argv.data(), body);
  answer.out = testing::internal::GetCapturedStdout();
  answer.err = testing::internal::GetCapturedStderr();
  return answer;
}

int Demo(int argc, char** argv) {
  cxxopts::Options options("lseg_demo", "Shows flags.");
  options.add_options()("out", "where to", cxxopts::value<std::string>(), "DIR")(
      "steps", "how many", cxxopts::value<std::string>()->default_value("3"), "N")(
      "rate", "how fast", cxxopts::value<std::string>()->default_value("0.5"), "R")(
      "crop", "how large", cxxopts::value<std::string>()->default_value("448x320"), "WxH")(
      "native", "as it is");
  const auto flags = ParseFlags(options, argc, argv, "Example:\n  lseg_demo --out here\n");
  if (!flags) return kExitOk;
  const FlagSize crop = SizeFlag(*flags, "crop", 16, 4096);
  std::ostringstream line;
  line << RequiredFlag(*flags, "out") << " " << IntegerFlag(*flags, "steps", 1, 10) << " "
       << NumberFlag(*flags, "rate", 0, 1) << " " << crop.width << " by " << crop.height << " "
       << flags->count("native");
  Say(line.str());
  return kExitOk;
}

TEST(Tool, FlagsAndDefaultsAreRead) {
  Answer answer = RunDemo({"--out", "a b"}, Demo);
  EXPECT_EQ(answer.code, 0);
  EXPECT_EQ(answer.out, "a b 3 0.5 448 by 320 0\n");
  EXPECT_EQ(answer.err, "");
  answer =
      RunDemo({"--native", "--out=d", "--steps", "10", "--rate=1e-3", "--crop", "16x4096"}, Demo);
  EXPECT_EQ(answer.out, "d 10 0.001 16 by 4096 1\n");
}

TEST(Tool, HelpEndsWithExampleAndExitCodes) {
  const Answer answer = RunDemo({"--help"}, Demo);
  EXPECT_EQ(answer.code, 0);
  EXPECT_THAT(answer.out, HasSubstr("--out DIR"));
  EXPECT_THAT(answer.out, HasSubstr("Example:\n  lseg_demo --out here\n\nExit codes: 0 "));
  EXPECT_EQ(answer.err, "");
}

TEST(Tool, VersionIsTheProgramsNameAndThreeNumbers) {
  const Answer answer = RunDemo({"--version"}, Demo);
  EXPECT_EQ(answer.code, 0);
  EXPECT_THAT(answer.out, testing::MatchesRegex("lseg_demo [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(Tool, WrongCommandLinesAreOneLineAndCodeTwo) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "--out is missing"},
      {{"--out", ""}, "--out is empty"},
      {{"--out"}, "'out'"},
      {{"--out", "--native"}, "--out needs a value"},
      {{"--out", "a", "--out", "b"}, "--out is given twice"},
      {{"--out", "a", "b"}, "stray argument 'b'"},
      {{"--out", "a", "--speed", "9"}, "'speed'"},
      {{"--out", "a", "--steps", "11"}, "--steps '11' is not a whole number from 1 to 10"},
      {{"--out", "a", "--steps", "2.5"}, "--steps '2.5'"},
      {{"--out", "a", "--steps", "9999999999999999999999"}, "--steps '9999999999999999999999'"},
      {{"--out", "a", "--rate", "nan"}, "--rate 'nan' is not a number from 0 to 1"},
      {{"--out", "a", "--rate", "fast"}, "--rate 'fast'"},
      {{"--out", "a", "--crop", "448"}, "--crop '448' is not WIDTHxHEIGHT"},
      {{"--out", "a", "--crop", "448x"}, "--crop '448x'"},
      {{"--out", "a", "--crop", "448x15"}, "each from 16 to 4096"},
      {{"--out", "a", "--crop", "448x320x3"}, "--crop '448x320x3'"},
  };
  for (const auto& [arguments, message] : cases) {
    const Answer answer = RunDemo(arguments, Demo);
    EXPECT_EQ(answer.code, 2) << message;
    EXPECT_EQ(answer.out, "") << message;
    EXPECT_THAT(answer.err, HasSubstr(message));
    EXPECT_THAT(answer.err, testing::EndsWith(" (see --help)\n"));
    EXPECT_EQ(std::count(answer.err.begin(), answer.err.end(), '\n'), 1) << answer.err;
  }
}

// What OpenMP's loops of the program get, too.
int CountThreads(int argc, char** argv) {
  cxxopts::Options options("lseg_demo", "Counts threads.");
  options.add_options()("threads", "how many", cxxopts::value<std::string>(), "N");
  const auto flags = ParseFlags(options, argc, argv, "");
  if (!flags) return kExitOk;
  const int threads = ThreadsFlag(*flags);
  int there = 0;
#pragma omp parallel reduction(+ : there)
  there += 1;
  Say(std::to_string(threads) + " " + std::to_string(there));
  return kExitOk;
}

TEST(Tool, ThreadsAreThoseOfTheFlagOrOfTheMachine) {
  EXPECT_EQ(RunDemo({"--threads", "3"}, CountThreads).out, "3 3\n");
  const std::string all = std::to_string(DefaultThreads());
  EXPECT_EQ(RunDemo({}, CountThreads).out, all + " " + all + "\n");
  for (const char* wrong : {"0", "1025", "two"}) {
    const Answer answer = RunDemo({"--threads", wrong}, CountThreads);
    EXPECT_EQ(answer.code, 2);
    EXPECT_THAT(answer.err, HasSubstr("--threads '" + std::string(wrong) + "'"));
  }
}

TEST(Tool, ErrorsAreOneLineAndCodeOne) {
  Answer answer = RunDemo({}, [](int, char**) -> int { LSEG_FAIL("a.jpg: is\ntruncated"); });
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(answer.err, testing::EndsWith(": a.jpg: is truncated\n"));
  answer = RunDemo({}, [](int, char**) -> int { throw std::bad_alloc(); });
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(answer.err, testing::EndsWith(": out of memory\n"));
}

TEST(Tool, TheBodysExitCodeIsPassedOn) {
  EXPECT_EQ(RunDemo({}, [](int, char**) -> int { return kExitFailed; }).code, 1);
}

}  // namespace
}  // namespace lseg
