// Data races: kernels with a planted fault, each beside the same kernel without it. Whether there
// is a fault follows from the PTX memory model; kernels are written so that the answer does not
// depend on the schedule, and run with several seeds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/softgpu/tests/races_support.h"

namespace softgpu {
namespace {

using testing::Buffer;
using testing::Outcome;
using Kernel = testing::RaceKernel;

constexpr bool kClean = false, kShared = true;  // a race of shared memory

// %r1: shared address of the thread's word, %r2: of the one of thread tid ^ `other`.
std::string Words(int other) {
  return "mov.u32 %r10, sm;\nshl.b32 %r1, %r0, 2;\nadd.u32 %r1, %r1, %r10;\nxor.b32 %r2, %r0, " +
         std::to_string(other) + ";\nshl.b32 %r2, %r2, 2;\nadd.u32 %r2, %r2, %r10;\n";
}
const char kStore[] = "st.shared.u32 [%r1], %r0;\n";
const char kLoadOther[] = "ld.shared.u32 %r3, [%r2];\n";
const char kKeep[] = "st.global.u32 [%d1], %r3;\n";

std::vector<Kernel> BarrierKernels() {
  const std::string sync = "bar.sync 0;\n", warp_sync = "bar.warp.sync 0xffffffff;\n";
  const std::string exchange = std::string(kStore) + "%SYNC%" + kLoadOther;
  const auto with = [](std::string body, const std::string& sync_text) {
    return body.replace(body.find("%SYNC%"), 6, sync_text);
  };
  // Halves of a warp synchronise on their own.
  const std::string halves =
      "setp.lt.u32 %p1, %r0, 16;\n@%p1 bra L1;\nbar.warp.sync 0xffff0000;\nbra L2;\n"
      "L1:\nbar.warp.sync 0x0000ffff;\nL2:\n";
  // Pairs of warps, 0 with 1 and 2 with 3.
  const std::string pairs = "shr.u32 %r4, %r0, 6;\nadd.u32 %r4, %r4, 1;\nbarrier.sync %r4, 64;\n";
  const std::string war = std::string(kStore) + sync + kLoadOther + "%SYNC%" + kStore;
  return {
      {"Barrier", kClean, Words(32) + with(exchange, sync)},
      {"NoBarrier", kShared, Words(32) + with(exchange, "")},
      {"WarpSyncIsNoBarrier", kShared, Words(32) + with(exchange, warp_sync)},
      {"FenceIsNoBarrier", kShared, Words(32) + with(exchange, "membar.cta;\n")},
      {"WriteAfterReadBarrier", kClean, Words(32) + with(war, sync)},
      {"WriteAfterReadNoBarrier", kShared,
       Words(32) + with(war, "") + "add.u32 %r5, %r0, 1;\nst.shared.u32 [%r1], %r5;\n"},
      {"WarpSync", kClean, Words(1) + with(exchange, warp_sync), 32},
      {"NoWarpSync", kShared, Words(1) + with(exchange, ""), 32},
      {"ShuffleIsNoWarpSync", kShared,
       Words(1) + with(exchange, "shfl.sync.bfly.b32 %r5, %r0, 1, 31, 0xffffffff;\n"), 32},
      {"HalfWarpSync", kClean, Words(1) + with(exchange, halves), 32},
      {"HalfWarpSyncAcrossHalves", kShared, Words(16) + with(exchange, halves), 32},
      {"NamedBarriers", kClean, Words(32) + with(exchange, pairs), 128},
      {"NamedBarriersAcross", kShared, Words(64) + with(exchange, pairs), 128},
      {"EarlyExit", kClean,
       Words(32) + "setp.ge.u32 %p1, %r0, 64;\n" + kStore + "@%p1 ret;\n" + sync + kLoadOther, 96},
      {"Bytes", kClean, "mov.u32 %r1, sm;\nadd.u32 %r1, %r1, %r0;\nst.shared.u8 [%r1], %r0;\n"},
      {"SameValue", kClean, "mov.u32 %r5, 7;\nst.shared.u32 [sm], %r5;\n"},
      {"OtherValue", kShared, "shr.u32 %r5, %r0, 5;\nst.shared.u32 [sm], %r5;\n"},
      {"VectorOverlap", kShared,
       "mov.u32 %r10, sm;\nshr.u32 %r4, %r0, 5;\nmad.lo.u32 %r1, %r4, 8, %r10;\n"
       "setp.eq.u32 %p1, %r4, 0;\n@%p1 st.shared.v4.u32 [sm], {%r0, %r0, %r0, %r10};\n"
       "@!%p1 st.shared.v2.u32 [%r1], {%r0, %r0};\n"},
      {"Atomics", kClean, "atom.shared.add.u32 %r5, [sm], 1;\n"},
      {"AtomicsAndWeakRead", kShared, "red.shared.add.u32 [sm], 1;\nld.shared.u32 %r3, [sm];\n"},
      {"AtomicsBarrierRead", kClean,
       "red.shared.add.u32 [sm], 1;\nbar.sync 0;\nld.shared.u32 %r3, [sm];\n"},
  };
}

// Warp 0 produces a word a lane, warp 1 consumes it, twice, by arrive and sync.
std::string Pipeline(bool waits_for_empty, bool late_write) {
  return Words(32) + "mov.u32 %r6, 0;\nsetp.ge.u32 %p1, %r0, 32;\n@%p1 bra CONSUME;\nPRODUCE:\n" +
         kStore + "barrier.arrive 1, 64;\n" + (late_write ? "st.shared.u32 [%r1], %r6;\n" : "") +
         (waits_for_empty ? "barrier.sync 2, 64;\n" : "") +
         "add.u32 %r0, %r0, 1;\nadd.u32 %r6, %r6, 1;\nsetp.lt.u32 %p2, %r6, 2;\n"
         "@%p2 bra PRODUCE;\nbra DONE;\nCONSUME:\nbarrier.sync 1, 64;\n" +
         kLoadOther + (waits_for_empty ? "barrier.arrive 2, 64;\n" : "") +
         "add.u32 %r6, %r6, 1;\nsetp.lt.u32 %p2, %r6, 2;\n@%p2 bra CONSUME;\nDONE:\n";
}

// Warp 0 writes a word and raises a flag, warp 1 waits for the flag and reads.
std::string Flag(const std::string& before, const std::string& set, const std::string& get,
                 const std::string& after) {
  return "mov.u32 %r4, 1;\nmov.u32 %r6, sm;\nsetp.eq.u32 %p1, %r0, 0;\nsetp.ne.u32 %p2, %r0, 32;\n"
         "@%p1 st.shared.u32 [%r6+4], 0;\nbar.sync 0;\n@%p1 bra WRITER;\n@%p2 bra DONE;\nWAIT:\n" +
         get + " %r5, [%r6+4];\nsetp.eq.u32 %p3, %r5, 0;\n@%p3 bra WAIT;\n" + after +
         "ld.shared.u32 %r3, [%r6];\nbra DONE;\nWRITER:\nst.shared.u32 [%r6], %r0;\n" + before +
         set + " [%r6+4], %r4;\nDONE:\n";
}

std::vector<Kernel> FlagKernels() {
  const std::string fence = "membar.cta;\n", st = "st.volatile.shared.u32",
                    ld = "ld.volatile.shared.u32";
  return {
      {"Pipeline", kClean, Pipeline(true, false)},
      {"PipelineOverrun", kShared, Pipeline(true, true)},
      {"Flag", kClean, Flag(fence, st, ld, fence)},
      {"FlagNoFenceBefore", kShared, Flag("", st, ld, fence)},
      {"FlagNoFenceAfter", kShared, Flag(fence, st, ld, "")},
      {"FlagReleaseAcquire", kClean,
       Flag("", "st.release.cta.shared.u32", "ld.acquire.cta.shared.u32", "")},
      {"FlagReleaseOnly", kShared,
       Flag("", "st.release.cta.shared.u32", "ld.relaxed.cta.shared.u32", "")},
      {"FlagReleaseFence", kClean,
       Flag("", "st.release.cta.shared.u32", "ld.relaxed.cta.shared.u32", "fence.acq_rel.cta;\n")},
  };
}

class SharedRace : public ::testing::TestWithParam<Kernel> {};

Outcome RunKernel(const Kernel& kernel, int seed) {
  return testing::RunRace(
      kernel, "cvt.u64.u32 %d2, %r0;\nmov.u32 %r8, %ctaid.x;\nmov.u32 %r9, %nctaid.x;\n",
      {Buffer::Of(std::vector<uint32_t>(1024, 0)), Buffer::Of(std::vector<uint32_t>(64, 0))}, seed);
}

TEST_P(SharedRace, IsFoundWhereItIs) {
  testing::JudgeRace(GetParam(), Check::kRaceShared, RunKernel);
}
INSTANTIATE_TEST_SUITE_P(Barriers, SharedRace, ::testing::ValuesIn(BarrierKernels()),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Flags, SharedRace, ::testing::ValuesIn(FlagKernels()),
                         [](const auto& info) { return info.param.name; });

TEST(RaceText, NamesBothThreadsAndLines) {
  const Kernel kernel = {"", kShared, Words(32) + kStore + kLoadOther};
  const Outcome outcome = RunKernel(kernel, 3);
  ASSERT_FALSE(outcome.findings.empty());
  for (const Finding& finding : outcome.findings) {
    // The load comes right behind the store; the warp that comes second is told.
    const bool read = finding.text.starts_with("read");
    const int other_line = finding.place.ptx_line + (read ? -1 : 1);
    const std::string other = std::to_string(finding.place.thread[0] ^ 32);
    EXPECT_THAT(finding.text, ::testing::StartsWith(read ? "read of 4 bytes at shared 0x4"
                                                         : "write of 4 bytes at shared 0x4"));
    EXPECT_THAT(finding.text,
                ::testing::HasSubstr(std::string("races with the ") + (read ? "write" : "read") +
                                     " by thread (" + other + ",0,0) at line " +
                                     std::to_string(other_line) + ": no barrier in between"));
  }
}

}  // namespace
}  // namespace softgpu
