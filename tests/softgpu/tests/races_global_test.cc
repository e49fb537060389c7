// Data races in global memory, between blocks above all: kernels with a planted fault, each beside
// the same kernel without it, by the PTX memory model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/softgpu/tests/races_support.h"

namespace softgpu {
namespace {

using testing::Buffer;
using testing::Case;
using testing::Outcome;

// Four blocks where nothing else is said.
struct Kernel : testing::RaceKernel {
  Kernel(const char* name, bool races, std::string body, uint32_t threads = 64, uint32_t blocks = 4,
         int workers = 1)
      : RaceKernel{name, races, std::move(body), threads, blocks, workers} {}
};

// Before each body: %r8 block, %r9 blocks, %r7 number in the grid, %d10 address of word %r7 of
// buffer 0, %d11 of word %r0.
const char kPrologue[] =
    "mov.u32 %r8, %ctaid.x;\nmov.u32 %r9, %nctaid.x;\nmov.u32 %r6, %ntid.x;\n"
    "mad.lo.u32 %r7, %r8, %r6, %r0;\nmad.wide.u32 %d10, %r7, 4, %d0;\n"
    "mad.wide.u32 %d11, %r0, 4, %d0;\nsetp.eq.u32 %p1, %r0, 0;\n";

Outcome RunKernel(const testing::RaceKernel& kernel, int seed) {
  return testing::RunRace(
      kernel, kPrologue,
      {Buffer::Of(std::vector<uint32_t>(1024, 0)), Buffer::Of(std::vector<uint64_t>(64, 0))}, seed);
}

std::vector<Kernel> PlainKernels() {
  const std::string own = "st.global.u32 [%d10], %r7;\n";
  const std::string neighbour =
      "xor.b32 %r5, %r7, 32;\nmad.wide.u32 %d12, %r5, 4, %d0;\nld.global.u32 %r3, [%d12];\n";
  return {
      {"Disjoint", false, own},
      {"SameWords", true, "st.global.u32 [%d11], %r8;\n"},
      {"SameWordsSameValue", false, "st.global.u32 [%d11], %r0;\n"},
      {"DisjointBytes", false,
       "add.u64 %d12, %d0, 0;\ncvt.u64.u32 %d13, %r7;\n"
       "add.u64 %d12, %d12, %d13;\nst.global.u8 [%d12], %r7;\n"},
      {"DisjointHalves", false, "mad.wide.u32 %d12, %r7, 2, %d0;\nst.global.u16 [%d12], %r7;\n"},
      {"BlockBarrier", false, own + "bar.sync 0;\n" + neighbour},
      {"NoBlockBarrier", true, own + neighbour},
      {"BarrierIsNoGridBarrier", true,
       own + "bar.sync 0;\nxor.b32 %r5, %r7, 64;\nmad.wide.u32 %d12, %r5, 4, %d0;\n"
             "ld.global.u32 %r3, [%d12];\n"},
      {"ReadByAll", false, "ld.global.u32 %r3, [%d11];\n"},
      {"WriteAfterReadsOfOthers", true,
       "ld.global.u32 %r3, [%d11];\nsub.u32 %r5, %r9, 1;\nsetp.eq.u32 %p2, %r5, %r8;\n"
       "bar.sync 0;\n@%p2 st.global.u32 [%d11], %r8;\n"},
      {"Wide", true,
       "mad.wide.u32 %d12, %r0, 16, %d0;\n"
       "st.global.v4.u32 [%d12], {%r0, %r0, %r8, %r0};\n",
       32},
      {"Atomics", false, "atom.global.add.u32 %r3, [%d11], 1;\nred.global.max.u32 [%d0], %r7;\n"},
      {"AtomicsAndWeakRead", true, "red.global.add.u32 [%d11], 1;\nld.global.u32 %r3, [%d11];\n"},
      {"AtomicsOfBlockScope", true, "red.relaxed.cta.global.add.u32 [%d11], 1;\n"},
      {"Volatile", false,
       "st.volatile.global.u32 [%d11], %r8;\nld.volatile.global.u32 %r3, [%d11];\n"},
  };
}

// The last block to come adds up what the others have written.
std::string LastBlock(const std::string& fence, const std::string& read) {
  return "@%p1 st.global.u32 [%d10], %r8;\n" + fence +
         "mov.u32 %r4, 0;\n@%p1 atom.global.add.u32 %r4, [%d1], 1;\n"
         "@!%p1 bra DONE;\nsub.u32 %r5, %r9, 1;\nsetp.ne.u32 %p2, %r4, %r5;\n@%p2 bra DONE;\n" +
         read +
         "mov.u32 %r5, 0;\nNEXT:\nmul.lo.u32 %r11, %r5, 256;\ncvt.u64.u32 %d12, %r11;\n"
         "add.u64 %d12, %d12, %d0;\nld.global.u32 %r3, [%d12];\nadd.u32 %r5, %r5, 1;\n"
         "setp.lt.u32 %p2, %r5, %r9;\n@%p2 bra NEXT;\nDONE:\n";
}

// All threads write, all blocks meet, all threads read what another block wrote.
std::string GridBarrier(const std::string& before, const std::string& after) {
  return "st.global.u32 [%d10], %r7;\nbar.sync 0;\n@!%p1 bra MET;\n" + before +
         "red.global.add.u32 [%d1], 1;\nWAIT:\nld.volatile.global.u32 %r4, [%d1];\n"
         "setp.lt.u32 %p2, %r4, %r9;\n@%p2 bra WAIT;\n" +
         after +
         "MET:\nbar.sync 0;\nxor.b32 %r5, %r7, 64;\nmad.wide.u32 %d12, %r5, 4, %d0;\n"
         "ld.global.u32 %r3, [%d12];\n";
}

// Each block waits for the one before it, adds to its sum and hands on: the sum beside the flag in
// 16 bytes, the payload by itself.
std::string LookBack(const std::string& release, const std::string& acquire) {
  return "@!%p1 bra DONE;\nmov.u64 %d20, 0;\nsetp.eq.u32 %p2, %r8, 0;\n@%p2 bra HAND;\n"
         "sub.u32 %r5, %r8, 1;\nmad.wide.u32 %d12, %r5, 16, %d1;\nWAIT:\n"
         "ld.relaxed.gpu.global.v2.u64 {%d20, %d21}, [%d12];\nsetp.eq.u64 %p3, %d21, 0;\n"
         "@%p3 bra WAIT;\n" +
         acquire +
         "mad.wide.u32 %d13, %r5, 4, %d0;\nld.global.u32 %r3, [%d13];\nHAND:\n"
         "mad.wide.u32 %d13, %r8, 4, %d0;\nst.global.u32 [%d13], %r8;\n" +
         release +
         "add.u64 %d20, %d20, 1;\nmov.u64 %d21, 1;\nmad.wide.u32 %d12, %r8, 16, %d1;\n"
         "st.relaxed.gpu.global.v2.u64 [%d12], {%d20, %d21};\nDONE:\n";
}

// A word that every thread increments under a lock.
std::string SpinLock(const std::string& acquire, const std::string& release) {
  return "TRY:\natom.global.cas.b32 %r4, [%d1], 0, 1;\nsetp.ne.u32 %p2, %r4, 0;\n@%p2 bra TRY;\n" +
         acquire + "ld.global.u32 %r3, [%d0];\nadd.u32 %r3, %r3, 1;\nst.global.u32 [%d0], %r3;\n" +
         release;
}

std::string Message(const std::string& set, const std::string& get) {
  return "@!%p1 bra DONE;\nsetp.eq.u32 %p2, %r8, 0;\n@%p2 bra SEND;\nWAIT:\n" + get +
         " %r4, [%d1];\nsetp.eq.u32 %p3, %r4, 0;\n@%p3 bra WAIT;\nld.global.u32 %r3, [%d0];\n"
         "bra DONE;\nSEND:\nmov.u32 %r4, 1;\nst.global.u32 [%d0], %r4;\n" +
         set + " [%d1], %r4;\nDONE:\n";
}

std::vector<Kernel> StrongKernels() {
  const std::string fence = "membar.gl;\n", block_fence = "membar.cta;\n";
  const std::string unlock = "atom.global.exch.b32 %r4, [%d1], 0;\n";
  return {
      {"LastBlock", false, LastBlock(fence, fence)},
      {"LastBlockTwoWorkers", false, LastBlock(fence, fence), 64, 8, 2},
      {"LastBlockNoFence", true, LastBlock("", fence)},
      {"LastBlockNoFenceAfter", true, LastBlock(fence, "")},
      {"LastBlockWeakFence", true, LastBlock(block_fence, fence)},
      {"GridBarrier", false, GridBarrier(fence, fence), 64, 2, 2},
      {"GridBarrierNoFence", true, GridBarrier("", fence), 64, 2, 2},
      {"GridBarrierNoFenceAfter", true, GridBarrier(fence, ""), 64, 2, 2},
      {"LookBack", false, LookBack(fence, fence)},
      {"LookBackTwoWorkers", false, LookBack(fence, fence), 64, 16, 2},
      {"LookBackNoFence", true, LookBack("", fence)},
      {"LookBackNoFenceAfter", true, LookBack(fence, "")},
      {"SpinLock", false, SpinLock(fence, fence + unlock), 32, 3},
      {"SpinLockTwoWorkers", false, SpinLock(fence, fence + unlock), 32, 4, 2},
      {"SpinLockVolatileUnlock", false,
       SpinLock(fence, fence + "st.volatile.global.u32 [%d1], 0;\n"), 32, 3},
      {"SpinLockNoFence", true, SpinLock(fence, unlock), 32, 3},
      {"Message", false, Message("st.release.gpu.global.u32", "ld.acquire.gpu.global.u32")},
      {"MessageOfBlockScope", true,
       Message("st.release.cta.global.u32", "ld.acquire.gpu.global.u32")},
      {"MessageRelaxed", true, Message("st.relaxed.gpu.global.u32", "ld.acquire.gpu.global.u32")},
  };
}

class GlobalRace : public ::testing::TestWithParam<Kernel> {};

TEST_P(GlobalRace, IsFoundWhereItIs) {
  testing::JudgeRace(GetParam(), Check::kRaceGlobal, RunKernel);
}
INSTANTIATE_TEST_SUITE_P(Plain, GlobalRace, ::testing::ValuesIn(PlainKernels()),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Strong, GlobalRace, ::testing::ValuesIn(StrongKernels()),
                         [](const auto& info) { return info.param.name; });

TEST(GlobalRaceText, NamesTheOtherBlock) {
  const Outcome outcome = RunKernel(Kernel{"", true, "st.global.u32 [%d11], %r8;\n", 32, 2}, 1);
  ASSERT_EQ(outcome.findings.size(), 1u) << outcome.Text();
  const Finding& finding = outcome.findings[0];
  EXPECT_EQ(finding.place.block[0], 1u);
  EXPECT_THAT(finding.text, ::testing::HasSubstr("races with the write by thread (0,0,0) of block "
                                                 "(0,0,0) at line " +
                                                 std::to_string(finding.place.ptx_line)));
}

TEST(GlobalRaceLaunches, AreOrdered) {
  Options options;
  options.threads = 1;
  options.memory = uint64_t{16} << 20;
  Device device(options);
  Case c;
  c.buffers.resize(1);
  c.body = std::string(kPrologue) +
           "ld.global.u32 %r3, [%d11];\nadd.u32 %r3, %r3, %r8;\n"
           "st.global.u32 [%d11], %r3;\n";
  Module module(device, ptx::Parse(testing::KernelText(c)));
  const uint64_t at = device.memory().Allocate(256, "buffer");
  device.memory().SetState(at, 256, kWritten);
  LaunchConfig config = testing::ConfigOf(module, {at});
  config.block[0] = 64;
  for (int launch = 0; launch < 3; ++launch) EXPECT_EQ(device.Run(config).error, 0);
  EXPECT_EQ(device.findings().count(), 0u);
  // Two blocks in one launch are not.
  config.grid[0] = 2;
  EXPECT_NE(device.Run(config).error, 0);
}

}  // namespace
}  // namespace softgpu
