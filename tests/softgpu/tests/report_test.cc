// The report: occupancy by NVIDIA's calculator, the roofline by hand, ptxas's words, and the JSON
// and table of launches.
#include "tests/softgpu/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/softgpu/report/occupancy.h"
#include "tests/softgpu/report/roofline.h"
#include "tests/softgpu/report/table.h"
#include "tests/softgpu/tests/run_ptx.h"

namespace softgpu {
namespace {

using ::testing::HasSubstr;

// Figures of CUDA's occupancy calculator (sheet of toolkit 11, compute capability 8.0).
TEST(Occupancy, EqualsTheCalculator) {
  struct Row {
    int arch;
    uint32_t threads, registers, shared, blocks, warps;
    const char* limit;
  };
  const Row rows[] = {
      {80, 256, 32, 0, 8, 64, "nothing"},
      {80, 256, 64, 0, 4, 32, "registers"},
      {80, 256, 40, 0, 6, 48, "registers"},
      {80, 1024, 33, 0, 1, 32, "registers"},
      {80, 192, 255, 0, 1, 6, "registers"},
      {80, 32, 16, 0, 32, 32, "blocks"},
      {80, 768, 16, 0, 2, 48, "threads"},
      {80, 128, 32, 48 * 1024, 3, 12, "shared memory"},
      {90, 128, 32, 48 * 1024, 4, 16, "shared memory"},
      {90, 384, 168, 227 * 1024, 1, 12, "registers"},
      {80, 128, 32, 164 * 1024, 0, 0, "shared memory"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(::testing::Message() << row.threads << " threads, " << row.registers
                                      << " registers, " << row.shared << " bytes");
    const Occupancy o = OccupancyOf(row.arch, row.threads, row.registers, row.shared);
    EXPECT_EQ(o.blocks, row.blocks);
    EXPECT_EQ(o.warps, row.warps);
    EXPECT_DOUBLE_EQ(o.share, row.warps / 64.0);
    EXPECT_STREQ(o.limit, row.limit);
  }
}

TEST(Occupancy, RegistersFromPtxas) {
  const auto registers = ParsePtxas(
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function '_Z1aPf' for 'sm_80'\n"
      "ptxas info    : Function properties for _Z1aPf\n"
      "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 38 registers, used 1 barriers, 8192 bytes smem, 376 bytes cmem[0]\n"
      "ptxas info    : Compiling entry function 'b' for 'sm_80'\n"
      "ptxas info    : Used 255 registers, 360 bytes cmem[0]\n");
  EXPECT_THAT(registers, ::testing::UnorderedElementsAre(::testing::Pair("_Z1aPf", 38u),
                                                         ::testing::Pair("b", 255u)));
  EXPECT_TRUE(ParsePtxas("ptxas fatal   : Unsupported .version 99.9").empty());
  EXPECT_TRUE(RegistersOf("no ptx at all", "sm_80").empty());
}

TEST(Roofline, ByHand) {
  Counters c;
  c.load_sectors = 3'350'000;  // 32 bytes each: 107.2 MB at 3.35 TB/s
  c.flops_f32 = 67'000'000;    // 1 us
  Roofline r = Estimate(c, 1000);
  EXPECT_STREQ(r.binds, "memory");
  EXPECT_NEAR(r.seconds, 32e-6, 1e-12);  // rounding of a few products
  c.flops_mma = 98'900'000'000;          // 100 us
  r = Estimate(c, 1000);
  EXPECT_STREQ(r.binds, "tensor cores");
  EXPECT_NEAR(r.seconds, 100e-6, 1e-12);
  // 66 blocks keep half of the multiprocessors busy; memory is shared by all.
  r = Estimate(c, 66);
  EXPECT_NEAR(r.seconds, 200e-6, 1e-12);
  EXPECT_NEAR(r.bounds[0].seconds, 32e-6, 1e-12);
  EXPECT_STREQ(Estimate(Counters{}, 1).binds, "nothing");
}

TEST(Table, ShortNumbers) {
  EXPECT_EQ(Short(0), "0");
  EXPECT_EQ(Short(999), "999");
  EXPECT_EQ(Short(999.6), "1 k");
  EXPECT_EQ(Short(1234567), "1.23 M");
}

class ReportOfLaunches : public ::testing::Test {
 protected:
  static Options OptionsOf(const std::string& path) {
    Options options;
    options.threads = 1;
    options.memory = uint64_t{16} << 20;
    options.report = path;
    return options;
  }
  // Launches a kernel in 2 and 3 blocks of 64 threads.
  static std::unique_ptr<CostReport> Run(Device& device) {
    std::unique_ptr<CostReport> report = CostReport::Of(device);
    testing::Case c;
    c.buffers.resize(1);
    c.body =
        "mov.f32 %f1, 0f40000000;\nfma.rn.f32 %f2, %f1, %f1, %f1;\nst.shared.f32 [sm], %f2;\n" +
        testing::StoreMine(0, "f32", "%f2", 4);
    // Blocks write the same values.
    Module module(device, ptx::Parse(testing::KernelText(c)));
    const uint64_t at = device.memory().Allocate(256, "buffer");
    LaunchConfig config;
    config.module = &module;
    config.kernel = "k";
    config.block[0] = 64;
    config.params.resize(8);
    std::memcpy(config.params.data(), &at, 8);
    for (const uint32_t blocks : {2, 3}) {
      config.grid[0] = blocks;
      EXPECT_EQ(device.Run(config).error, 0);
    }
    return report;
  }
};

TEST_F(ReportOfLaunches, Json) {
  const std::string path = ::testing::TempDir() + "softgpu_report_test.json";
  Device device(OptionsOf(path));
  Run(device)->Write(path);
  std::ifstream file(path);
  const nlohmann::json json = nlohmann::json::parse(file);
  std::remove(path.c_str());
  ASSERT_EQ(json["kernels"].size(), 1u);
  const nlohmann::json& kernel = json["kernels"][0];
  EXPECT_EQ(kernel["name"], "k");
  EXPECT_EQ(kernel["launches"], 2);
  EXPECT_EQ(kernel["static_shared_bytes"], 4096);
  EXPECT_EQ(kernel["counters"]["blocks"], 5);
  EXPECT_EQ(kernel["counters"]["flops"]["f32"], 5 * 64 * 2);
  EXPECT_EQ(kernel["counters"]["global_stores"]["bytes"], 5 * 64 * 4);
  EXPECT_EQ(kernel["counters"]["global_stores"]["sectors"], 5 * 8);
  EXPECT_EQ(kernel["counters"]["shared_stores"]["wavefronts"], 10);
  EXPECT_EQ(kernel["counters"]["warp_instructions_by_class"]["store_global"], 10);
  EXPECT_TRUE(kernel["registers"] == "unknown" || kernel["registers"].get<int>() > 0);
  ASSERT_EQ(json["launches"].size(), 2u);
  EXPECT_EQ(json["launches"][1]["grid"], (std::vector<int>{3, 1, 1}));
  EXPECT_EQ(json["launches"][0]["counters"]["blocks"], 2);
  EXPECT_EQ(json["launches_left_out"], 0);
}

TEST_F(ReportOfLaunches, Table) {
  Device device(OptionsOf("-"));
  const std::string table = Run(device)->Table();
  EXPECT_THAT(table, HasSubstr("softgpu: k\n"));
  EXPECT_THAT(table, HasSubstr("launches              2, blocks 5, warps 10"));
  EXPECT_THAT(table, HasSubstr("f32 flops             640"));
  EXPECT_THAT(table, HasSubstr("global stores         1.28 kB in sectors: 40, ideally 40 (100 %)"));
  EXPECT_THAT(table, HasSubstr("H100 at best"));
}

TEST_F(ReportOfLaunches, NoneAskedForOrNoPlaceForIt) {
  Device device(OptionsOf(""));
  EXPECT_EQ(CostReport::Of(device), nullptr);
  CostReport report(80);
  EXPECT_THROW(report.Write("/no/such/folder/report.json"), std::runtime_error);
  EXPECT_THAT(report.Table(), HasSubstr("no kernel was launched"));
}

}  // namespace
}  // namespace softgpu
