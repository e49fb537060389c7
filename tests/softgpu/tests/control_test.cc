// Control flow: lanes that part and meet, wait for each other's locks, call functions; every case
// under ten seeds, since the seed decides who runs when.
#include <gtest/gtest.h>

#include "tests/softgpu/tests/run_ptx.h"

namespace softgpu::testing {
namespace {

constexpr uint64_t kSeeds = 10;

template <class Check>
void ForSeeds(Case c, Check check) {
  for (c.seed = 1; c.seed <= kSeeds; ++c.seed) {
    const Outcome outcome = RunPtx(c);
    ASSERT_EQ(outcome.result.error, 0) << "seed " << c.seed << ": " << outcome.Text();
    check(outcome);
  }
}

Case WithOutput(const std::string& body, uint32_t threads) {
  Case c;
  c.body = body;
  c.threads = threads;
  c.buffers = {Buffer::Blank(4 * threads)};
  return c;
}

TEST(Control, LanesGoDifferentWaysAndMeetAgain) {
  // Odd lanes get 100 + tid, even ones tid * 3; the shuffle needs all of them.
  const Case c = WithOutput(
      "and.b32 %r1, %r0, 1;\nsetp.eq.u32 %p0, %r1, 0;\n@%p0 bra EVEN;\nadd.u32 %r2, %r0, 100;\n"
      "bra JOIN;\nEVEN: mul.lo.u32 %r2, %r0, 3;\nJOIN: shfl.sync.bfly.b32 %r3, %r2, 1, 31, -1;\n" +
          StoreMine(0, "u32", "%r3", 4),
      64);
  ForSeeds(c, [](const Outcome& o) {
    const auto got = o.buffers[0].As<uint32_t>();
    for (uint32_t t = 0; t < 64; ++t) {
      const uint32_t other = t ^ 1;
      ASSERT_EQ(got[t], other % 2 ? 100 + other : 3 * other) << t;
    }
    EXPECT_GT(o.result.counters.divergent_branches, 0u);
  });
}

TEST(Control, LoopsOfDifferentLengths) {
  const Case c = WithOutput(
      "mov.u32 %r1, 0;\nmov.u32 %r2, 0;\nLOOP: setp.ge.u32 %p0, %r1, %r0;\n@%p0 bra DONE;\n"
      "add.u32 %r2, %r2, %r1;\nadd.u32 %r1, %r1, 1;\nbra LOOP;\nDONE:\n" +
          StoreMine(0, "u32", "%r2", 4),
      96);
  ForSeeds(c, [](const Outcome& o) {
    const auto got = o.buffers[0].As<uint32_t>();
    for (uint32_t t = 0; t < 96; ++t) ASSERT_EQ(got[t], t * (t - 1) / 2) << t;
  });
}

// A lock that lanes of one warp and of others fight for: whoever holds it must get its turn
// although the others spin at an earlier instruction.
TEST(Control, SpinLockBetweenLanesAndWarps) {
  Case c;
  c.threads = 96;
  c.buffers = {Buffer::Of<uint32_t>({0, 0})};
  c.body =
      "SPIN: atom.global.acquire.gpu.cas.b32 %r1, [%d0], 0, 1;\nsetp.ne.u32 %p0, %r1, 0;\n"
      "@%p0 bra SPIN;\nld.global.u32 %r2, [%d0+4];\nadd.u32 %r2, %r2, 1;\n"
      "st.global.u32 [%d0+4], %r2;\natom.global.release.gpu.exch.b32 %r1, [%d0], 0;\n";
  ForSeeds(c, [](const Outcome& o) { ASSERT_EQ(o.buffers[0].As<uint32_t>()[1], 96u); });
}

constexpr char kFunctions[] =
    ".func (.param .b32 ret) twice (.param .b32 x)\n{\n.reg .b32 %r<4>;\n"
    "ld.param.u32 %r0, [x];\nshl.b32 %r1, %r0, 1;\nst.param.b32 [ret], %r1;\nret;\n}\n"
    ".func (.param .b32 ret) plus7 (.param .b32 x)\n{\n.reg .b32 %r<4>;\n"
    "ld.param.u32 %r0, [x];\nadd.u32 %r1, %r0, 7;\nst.param.b32 [ret], %r1;\nret;\n}\n"
    // factorial, with a local variable that every depth has of its own
    ".func (.param .b32 ret) fact (.param .b32 n)\n{\n.local .align 4 .b8 mine[4];\n"
    ".reg .b32 %r<9>;\n.reg .pred %p<2>;\nld.param.u32 %r0, [n];\nst.local.u32 [mine], %r0;\n"
    "setp.gt.u32 %p0, %r0, 1;\n@%p0 bra MORE;\nst.param.b32 [ret], 1;\nret;\nMORE:\n"
    "sub.u32 %r1, %r0, 1;\n{\n.param .b32 a;\n.param .b32 b;\nst.param.b32 [a], %r1;\n"
    "call.uni (b), fact, (a);\nld.param.b32 %r2, [b];\n}\nld.local.u32 %r3, [mine];\n"
    "mul.lo.u32 %r4, %r2, %r3;\nst.param.b32 [ret], %r4;\nret;\n}\n";

TEST(Control, FunctionsCalledByPartsOfAWarp) {
  Case c = WithOutput(
      "and.b32 %r1, %r0, 1;\nsetp.eq.u32 %p0, %r1, 0;\nmov.u32 %r5, %r0;\n@%p0 bra SKIP;\n{\n"
      ".param .b32 a;\n.param .b32 b;\nst.param.b32 [a], %r0;\ncall.uni (b), twice, (a);\n"
      "ld.param.b32 %r5, [b];\n}\nSKIP:\n" +
          StoreMine(0, "u32", "%r5", 4),
      64);
  c.declarations = kFunctions;
  ForSeeds(c, [](const Outcome& o) {
    const auto got = o.buffers[0].As<uint32_t>();
    for (uint32_t t = 0; t < 64; ++t) ASSERT_EQ(got[t], t % 2 ? 2 * t : t) << t;
  });
}

TEST(Control, RecursionOfDifferentDepths) {
  Case c = WithOutput(
      "and.b32 %r1, %r0, 7;\n{\n.param .b32 a;\n.param .b32 b;\nst.param.b32 [a], %r1;\n"
      "call.uni (b), fact, (a);\nld.param.b32 %r5, [b];\n}\n" +
          StoreMine(0, "u32", "%r5", 4),
      32);
  c.declarations = kFunctions;
  const uint32_t factorial[] = {1, 1, 2, 6, 24, 120, 720, 5040};
  ForSeeds(c, [&](const Outcome& o) {
    const auto got = o.buffers[0].As<uint32_t>();
    for (uint32_t t = 0; t < 32; ++t) ASSERT_EQ(got[t], factorial[t & 7]) << t;
  });
}

TEST(Control, CallsByAddressToSeveralFunctionsAtOnce) {
  Case c = WithOutput(
      "mov.u64 %d20, twice;\nmov.u64 %d21, plus7;\nsetp.lt.u32 %p0, %r0, 10;\n"
      "selp.b64 %d22, %d20, %d21, %p0;\n{\n.param .b32 a;\n.param .b32 b;\n"
      "st.param.b32 [a], %r0;\nPROTO: .callprototype (.param .b32 _) _ (.param .b32 _);\n"
      "call (b), %d22, (a), PROTO;\nld.param.b32 %r5, [b];\n}\n" +
          StoreMine(0, "u32", "%r5", 4),
      32);
  c.declarations = kFunctions;
  ForSeeds(c, [](const Outcome& o) {
    const auto got = o.buffers[0].As<uint32_t>();
    for (uint32_t t = 0; t < 32; ++t) ASSERT_EQ(got[t], t < 10 ? 2 * t : t + 7) << t;
  });
}

TEST(Control, BranchByIndex) {
  const Case c = WithOutput(
      "and.b32 %r1, %r0, 3;\nTABLE: .branchtargets A, B, C, A;\nbrx.idx %r1, TABLE;\n"
      "A: mov.u32 %r2, 11;\nbra JOIN;\nB: mov.u32 %r2, 22;\nbra JOIN;\nC: mov.u32 %r2, 33;\n"
      "JOIN:\n" +
          StoreMine(0, "u32", "%r2", 4),
      32);
  const uint32_t want[] = {11, 22, 33, 11};
  ForSeeds(c, [&](const Outcome& o) {
    const auto got = o.buffers[0].As<uint32_t>();
    for (uint32_t t = 0; t < 32; ++t) ASSERT_EQ(got[t], want[t & 3]) << t;
  });
}

TEST(Control, BranchIndexBeyondItsTable) {
  Case c = WithOutput("TABLE: .branchtargets A, B;\nbrx.idx %r0, TABLE;\nA: ret;\nB: ret;\n", 3);
  const Outcome o = RunPtx(c);
  EXPECT_TRUE(o.Found(Check::kOutOfBounds)) << o.Text();
}

TEST(Control, BarriersThatReduce) {
  const Case c = WithOutput(
      "setp.lt.u32 %p0, %r0, 10;\nbar.red.popc.u32 %r1, 0, %p0;\n"
      "bar.red.and.pred %p1, 0, %p0;\nbar.red.or.pred %p2, 0, !%p0;\n"
      "setp.lt.u32 %p3, %r0, 1000;\nbarrier.cta.red.and.aligned.pred %p4, 0, %p3;\n"
      "selp.u32 %r2, 100, 0, %p1;\nadd.u32 %r1, %r1, %r2;\nselp.u32 %r2, 200, 0, %p2;\n"
      "add.u32 %r1, %r1, %r2;\nselp.u32 %r2, 400, 0, %p4;\nadd.u32 %r1, %r1, %r2;\n" +
          StoreMine(0, "u32", "%r1", 4),
      64);
  ForSeeds(c, [](const Outcome& o) {
    for (const uint32_t got : o.buffers[0].As<uint32_t>()) ASSERT_EQ(got, 10u + 200 + 400);
  });
}

// Lanes that a barrier has let go fetch its result when their turn comes; others of their warp may
// stand at the same instruction already, a round ahead.
TEST(Control, BarrierResultsOfTheirOwnRound) {
  // Thread t goes through 1 + t % 16 rounds, some with long detours; a round's result is how many
  // threads are in it.
  const Case c = WithOutput(
      "and.b32 %r1, %r0, 15;\nadd.u32 %r1, %r1, 1;\nmov.u32 %r2, 0;\nsetp.eq.u32 %p0, %r0, %r0;\n"
      "and.b32 %r3, %r0, 16;\nmad.lo.u32 %r3, %r3, 8, 1;\n"
      "ROUND: barrier.cta.red.popc.u32 %r4, 0, %p0;\nmad.lo.u32 %r2, %r2, 3, %r4;\n"
      "mov.u32 %r5, %r3;\nDETOUR: sub.u32 %r5, %r5, 1;\nsetp.ne.u32 %p1, %r5, 0;\n"
      "@%p1 bra DETOUR;\nsub.u32 %r1, %r1, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra ROUND;\n" +
          StoreMine(0, "u32", "%r2", 4),
      256);
  ForSeeds(c, [](const Outcome& o) {
    const auto got = o.buffers[0].As<uint32_t>();
    for (uint32_t t = 0; t < 256; ++t) {
      uint32_t want = 0;
      for (uint32_t round = 0; round <= t % 16; ++round) want = want * 3 + 256 - 16 * round;
      ASSERT_EQ(got[t], want) << t;
    }
  });
}

// Warp 0 fills shared memory and goes on; warp 1 waits for it: barrier 1, two warps, one arriving.
TEST(Control, NamedBarrierBetweenProducerAndConsumer) {
  const Case c = WithOutput(
      "mov.u32 %r9, sm;\nand.b32 %r1, %r0, 31;\nshl.b32 %r2, %r1, 2;\nadd.u32 %r9, %r9, %r2;\n"
      "mov.u32 %r5, 5;\nsetp.ge.u32 %p0, %r0, 32;\n@%p0 bra CONSUMER;\nst.shared.u32 [%r9], %r0;\n"
      "bar.arrive 1, 64;\nbra JOIN;\nCONSUMER: bar.sync 1, 64;\nld.shared.u32 %r5, "
      "[%r9];\nJOIN:\n" +
          StoreMine(0, "u32", "%r5", 4),
      64);
  ForSeeds(c, [](const Outcome& o) {
    const auto got = o.buffers[0].As<uint32_t>();
    for (uint32_t t = 0; t < 64; ++t) ASSERT_EQ(got[t], t < 32 ? 5 : t - 32) << t;
  });
}

TEST(Control, WarpsThatEndedAreNotWaitedFor) {
  const Case c = WithOutput("setp.ge.u32 %p0, %r0, 32;\n@%p0 bra END;\nbar.sync 0;\n" +
                                StoreMine(0, "u32", "%r0", 4) + "END:\n",
                            96);
  ForSeeds(c, [](const Outcome& o) { EXPECT_TRUE(o.buffers[0].Written<uint32_t>(31)); });
}

struct Fault {
  const char* name;
  const char* body;
  uint32_t threads;
  Check check;
  int line_of_body;  // from 1
};

TEST(Control, BarriersNotReachedByAll) {
  const Fault faults[] = {
      {"a part of a warp", "setp.lt.u32 %p0, %r0, 16;\n@%p0 bar.sync 0;\n", 32, Check::kBarrier, 2},
      {"different barriers in a warp",
       "setp.lt.u32 %p0, %r0, 16;\n@%p0 bra A;\nbar.sync 0;\nbra B;\nA: bar.sync 0;\nB:\n", 32,
       Check::kBarrier, 3},
      {"different barriers in a block",
       "setp.lt.u32 %p0, %r0, 32;\n@%p0 bra A;\nbar.sync 1;\nbra B;\nA: bar.sync 0;\nB:\n", 64,
       Check::kBarrier, 5},
      {"too few for the count", "bar.sync 3, 96;\n", 64, Check::kBarrier, 1},
      {"a count that is no multiple of 32", "bar.sync 3, 33;\n", 64, Check::kBarrier, 1},
      {"lanes that never come",
       "setp.lt.u32 %p0, %r0, 16;\n@%p0 bra A;\nbar.sync 0;\nA:\n"
       "@%p0 bar.warp.sync -1;\n",
       32, Check::kWarpSync, 5},
  };
  for (const Fault& fault : faults) {
    Case c;
    c.body = fault.body;
    c.threads = fault.threads;
    const std::string text = KernelText(c);
    const int first = static_cast<int>(
        std::count(text.begin(), text.begin() + static_cast<long>(text.find(fault.body)), '\n'));
    const Outcome o = RunPtx(c);
    EXPECT_NE(o.result.error, 0) << fault.name;
    bool found = false;
    for (const Finding& f : o.findings) {
      found |= f.check == fault.check && f.place.ptx_line == first + fault.line_of_body;
    }
    EXPECT_TRUE(found) << fault.name << ": " << o.Text();
  }
}

TEST(Control, UnknownInstructionIsRefusedWithItsLineAtLaunch) {
  Case c;
  c.body = "frobnicate.u32 %r1, %r0;\n";
  Options options;
  options.memory = uint64_t{64} << 20;
  Device device(options);
  Module module(device, ptx::Parse(KernelText(c)));
  const LaunchConfig config = ConfigOf(module, {});
  const LaunchResult result = device.Run(config);
  EXPECT_EQ(result.error, 218);  // cudaErrorInvalidPtx
  EXPECT_NE(result.message.find("line 15: instruction 'frobnicate.u32'"), std::string::npos)
      << result.message;
}

TEST(Control, TheSameSeedRunsTheSameWay) {
  // Which lane gets a ticket first depends on the turns alone.
  Case c = WithOutput(
      "ld.global.u32 %r7, [%d1];\nrem.u32 %r1, %r0, 7;\nLOOP: setp.eq.u32 %p0, %r1, 0;\n"
      "@%p0 bra DONE;\nsub.u32 %r1, %r1, 1;\nbra LOOP;\nDONE: atom.global.add.u32 %r2, [%d1], "
      "1;\n" +
          StoreMine(0, "u32", "%r2", 4),
      256);
  c.buffers.push_back(Buffer::Of<uint32_t>({0}));
  c.body = c.body.substr(c.body.find('\n') + 1);
  std::vector<std::vector<uint32_t>> orders;
  for (c.seed = 1; c.seed <= kSeeds; ++c.seed) {
    const auto first = RunPtx(c).buffers[0].As<uint32_t>();
    EXPECT_EQ(first, RunPtx(c).buffers[0].As<uint32_t>()) << "seed " << c.seed;
    orders.push_back(first);
  }
  EXPECT_NE(orders[0], orders[1]);
}

TEST(Control, InstructionLimitEndsALoopThatDoesNot) {
  Options options;
  options.memory = uint64_t{64} << 20;
  options.max_instructions = 100000;
  Case c;
  c.body = "LOOP: add.u32 %r1, %r0, 1;\nbra LOOP;\n";
  Device device(options);
  Module module(device, ptx::Parse(KernelText(c)));
  const LaunchConfig config = ConfigOf(module, {});
  EXPECT_EQ(device.Run(config).error, 702);  // cudaErrorLaunchTimeout
  EXPECT_EQ(device.findings().all().at(0).check, Check::kTimeout);
}

}  // namespace
}  // namespace softgpu::testing
