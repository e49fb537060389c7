// The program softgpu as its users run it: exit codes, messages, files. The kernel adds 1 to n
// ints.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/softgpu/cli/npy.h"

namespace softgpu {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kPtx[] = R"(.version 9.0
.target sm_80
.address_size 64
.visible .entry add_one(.param .u64 x, .param .u32 n)
{
  .reg .pred %p<2>;
  .reg .b32 %r<8>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [x];
  ld.param.u32 %r1, [n];
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mov.u32 %r4, %tid.x;
  mad.lo.s32 %r5, %r2, %r3, %r4;
  setp.ge.u32 %p1, %r5, %r1;
  @%p1 bra DONE;
  mul.wide.u32 %rd2, %r5, 4;
  add.s64 %rd3, %rd1, %rd2;
  ld.global.u32 %r6, [%rd3];
  add.s32 %r7, %r6, 1;
  st.global.u32 [%rd3], %r7;
DONE:
  ret;
}
.visible .entry refused() { frobnicate.b32; }
)";

struct Result {
  int code;
  std::string output;  // both streams
};

class CliTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::path(testing::TempDir()) /
                 (std::string("softgpu_cli_") +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory_);
    std::ofstream(directory_ / "k.ptx") << kPtx;
    Array x{"<i4", {100}, std::vector<uint8_t>(400)};
    for (int i = 0; i < 100; ++i) std::memcpy(&x.bytes[static_cast<size_t>(i) * 4], &i, 4);
    WriteNpy(Path("x.npy"), x);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Path(const std::string& name) const { return (directory_ / name).string(); }

  Result Run(const std::string& arguments) const {
    const std::string command = "cd '" + directory_.string() +
                                "' && SOFTGPU_MEMORY=67108864 '" SOFTGPU_PROGRAM "' " + arguments +
                                " 2>&1";
    Result result{-1, ""};
    FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return result;
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
      result.output.append(buffer, n);
    }
    const int status = pclose(pipe);
    if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
    return result;
  }

  std::filesystem::path directory_;
};

TEST_F(CliTest, WritesTheArrayBack) {
  const Result result =
      Run("run --ptx k.ptx --kernel add_one --grid 4 --block 32,1,1 x.npy:y.npy u32:99");
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("4 blocks, 4 warps"), HasSubstr("; 0 found")));
  const Array y = ReadNpy(Path("y.npy"));
  EXPECT_EQ(y.dtype, "<i4");
  EXPECT_EQ(y.shape, std::vector<uint64_t>{100});
  for (int i = 0; i < 100; ++i) {
    int value = -1;
    std::memcpy(&value, &y.bytes[static_cast<size_t>(i) * 4], 4);
    EXPECT_EQ(value, i < 99 ? i + 1 : i);
  }
}

TEST_F(CliTest, AFindingIsNamedAndExitsWith1) {
  const Result result = Run("run --ptx k.ptx --kernel add_one --grid 4,1 --block 32 x.npy u32:101");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.output, AllOf(HasSubstr("out-of-bounds"), HasSubstr("x.npy"),
                                   HasSubstr("block (3,0,0) thread (4,0,0), PTX line 19")));
}

TEST_F(CliTest, ALaunchOrFileThatFailsExitsWith1) {
  const std::pair<std::string, std::string> cases[] = {
      {"--ptx k.ptx --kernel add --grid 1 --block 1 x.npy u32:1", "it holds add_one, refused"},
      {"--ptx k.ptx --kernel refused --grid 1 --block 1", "line 25"},
      {"--ptx k.ptx --kernel add_one --grid 1 --block 2048 x.npy u32:1", "block 2048x1x1"},
      {"--ptx k.ptx --kernel add_one --grid 1 --block 1 x.npy", "takes 2 arguments, 1 are given"},
      {"--ptx k.ptx --kernel add_one --grid 1 --block 1 x.npy u64:1", "has 8 bytes"},
      {"--ptx k.ptx --kernel add_one --grid 1 --block 1 z.npy u32:1", "z.npy: can't be opened"},
      {"--ptx none.ptx --kernel add_one --grid 1 --block 1", "none.ptx: can't be opened"},
      {"--ptx x.npy --kernel add_one --grid 1 --block 1", "x.npy: line 1:"},
  };
  for (const auto& [arguments, message] : cases) {
    const Result result = Run("run " + arguments);
    EXPECT_EQ(result.code, 1) << arguments << "\n" << result.output;
    EXPECT_THAT(result.output, HasSubstr(message)) << arguments;
  }
}

TEST_F(CliTest, WrongFlagsExitWith2) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "what to do is missing"},
      {"walk", "'walk' is nothing it does"},
      {"run", "--ptx is missing"},
      {"run --ptx k.ptx --kernel add_one --grid 1", "--block is missing"},
      {"run --ptx k.ptx --kernel add_one --grid 0 --block 1", "--grid '0'"},
      {"run --ptx k.ptx --kernel add_one --grid 1,2,3,4 --block 1", "--grid '1,2,3,4'"},
      {"run --ptx k.ptx --kernel add_one --grid 1 --block 1 --colour red", "colour"},
      {"run --ptx k.ptx --kernel add_one --grid 1 --block 1 --shared many", "many"},
      {"run --ptx k.ptx --kernel add_one --grid 1 --block 1 x.npy u32:-1", "'u32:-1'"},
      {"run --ptx k.ptx --kernel add_one --grid 1 --block 1 x.txt", "'x.txt' is none of"},
  };
  for (const auto& [arguments, message] : cases) {
    const Result result = Run(arguments);
    EXPECT_EQ(result.code, 2) << arguments << "\n" << result.output;
    EXPECT_THAT(result.output, AllOf(HasSubstr(message), HasSubstr("--help")));
  }
}

TEST_F(CliTest, HelpTeaches) {
  for (const char* arguments : {"--help", "run --help", "-h"}) {
    const Result result = Run(arguments);
    EXPECT_EQ(result.code, 0);
    EXPECT_THAT(result.output, AllOf(HasSubstr("nvcc -ptx"), HasSubstr("\n  in.npy:out.npy "),
                                     HasSubstr("\n  --kernel NAME "), HasSubstr("Exit codes"),
                                     HasSubstr("SOFTGPU_SEED")));
  }
}

}  // namespace
}  // namespace softgpu
