// mbarrier, copies that arrive at one, proxy fences, setmaxnreg, addresses in a cluster of one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/softgpu/tests/run_ptx.h"

namespace softgpu::testing {
namespace {

void ExpectClean(const Outcome& o) {
  EXPECT_EQ(o.result.error, 0) << o.Text();
  EXPECT_TRUE(o.findings.empty()) << o.Text();
}

// The first thread initialises the mbarrier at sm for `count` arrivals, all meet.
std::string Init(int count) {
  return "setp.eq.u32 %p1, %r0, 0;\n@%p1 mbarrier.init.shared::cta.b64 [sm], " +
         std::to_string(count) +
         ";\nfence.mbarrier_init.release.cluster;\nfence.proxy.async;\nbar.sync 0;\n";
}

// Warp 0 makes 4 bytes a lane at sm + 64 and arrives; warp 1 waits and takes the neighbour's.
Case Hand(const std::string& make, const std::string& wait, int count = 32) {
  Case test;
  test.arch = 90;
  test.threads = 64;
  test.body = Init(count) +
              "and.b32 %r1, %r0, 31;\nmov.u32 %r2, sm;\nadd.u32 %r2, %r2, 64;\n"
              "mad.lo.u32 %r3, %r1, 4, %r2;\nxor.b32 %r4, %r1, 1;\nmad.lo.u32 %r4, %r4, 4, %r2;\n"
              "setp.ge.u32 %p2, %r0, 32;\n@%p2 bra TAKE;\n" +
              make + "bra END;\nTAKE:\n" + wait +
              "ld.shared.u32 %r5, [%r4];\nmad.wide.u32 %d20, %r1, 4, %d0;\n"
              "st.global.u32 [%d20], %r5;\nEND:\n";
  std::vector<uint32_t> source(32);
  for (uint32_t l = 0; l < 32; ++l) source[l] = 1000 + l;
  test.buffers = {Buffer::Blank(128), Buffer::Of(source)};
  return test;
}
const char kStore[] = "add.u32 %r6, %r0, 1000;\nst.shared.u32 [%r3], %r6;\n";
const char kWait[] =
    "AGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 %p3, [sm], 0;\n@!%p3 bra AGAIN;\n";

void ExpectHanded(Case test) {
  for (test.seed = 1; test.seed <= 6; ++test.seed) {
    const Outcome o = RunPtx(test);
    ExpectClean(o);
    for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(o.buffers[0].As<uint32_t>()[l], 1000 + (l ^ 1));
  }
}

TEST(Mbarrier, HandsDataOver) {
  const std::string store = kStore;
  ExpectHanded(Hand(store + "mbarrier.arrive.shared::cta.b64 _, [sm];\n", kWait));
  ExpectHanded(Hand(store + "mbarrier.arrive.release.cta.shared.b64 %d30, [sm], 2;\n", kWait, 64));
  ExpectHanded(Hand(store + "mbarrier.arrive.shared.b64 %d30, [sm];\n",
                    "AGAIN:\nmbarrier.test_wait.parity.acquire.cta.shared::cta.b64 %p3, [sm], 0;\n"
                    "@!%p3 bra AGAIN;\n"));
  ExpectHanded(Hand(store + "mbarrier.arrive.shared.b64 %d30, [sm];\n",
                    "mov.u32 %r9, 100;\nAGAIN:\n"
                    "mbarrier.try_wait.parity.shared.b64 %p3, [sm], 0, %r9;\n@!%p3 bra AGAIN;\n"));
  // All 64 arrive and wait for the state they got.
  const std::string both =
      "mbarrier.arrive.shared.b64 %d30, [sm];\nAGAIN:\n"
      "mbarrier.try_wait.shared.b64 %p3, [sm], %d30;\n@!%p3 bra AGAIN;\n";
  ExpectHanded(Hand(store + "mbarrier.arrive.shared.b64 %d30, [sm];\n", both, 64));
}

TEST(Mbarrier, WithoutTheWaitItIsARace) {
  const Outcome o =
      RunPtx(Hand(std::string(kStore) + "mbarrier.arrive.shared::cta.b64 _, [sm];\n", ""));
  EXPECT_TRUE(o.Found(Check::kRaceShared)) << o.Text();
}

TEST(Mbarrier, CopiesArrive) {
  ExpectHanded(
      Hand("mad.wide.u32 %d20, %r1, 4, %d1;\ncp.async.ca.shared.global [%r3], [%d20], 4;\n"
           "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [sm];\n",
           kWait));
  // Without .noinc the copies' arrival is not one of the expected ones.
  ExpectHanded(Hand(
      "mad.wide.u32 %d20, %r1, 4, %d1;\ncp.async.ca.shared.global [%r3], [%d20], 4;\n"
      "cp.async.mbarrier.arrive.shared::cta.b64 [sm];\nmbarrier.arrive.shared.b64 %d30, [sm];\n",
      kWait));
}

// A single thread walks through steps and notes after each whether phase 0 is over, then phase 1.
std::vector<uint32_t> Walk(int count, const std::vector<std::string>& steps) {
  Case test;
  test.arch = 90;
  test.threads = 1;
  test.body = Init(count);
  for (size_t s = 0; s < steps.size(); ++s) {
    test.body += steps[s] +
                 "mbarrier.test_wait.parity.shared.b64 %p3, [sm], 0;\nselp.u32 %r5, 1, 0, %p3;\n"
                 "st.global.u32 [%d0+" +
                 std::to_string(4 * s) + "], %r5;\n";
  }
  test.buffers = {Buffer::Blank(4 * steps.size())};
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  return o.buffers[0].As<uint32_t>();
}

TEST(Mbarrier, PhasesAndTransactions) {
  const std::string arrive = "mbarrier.arrive.shared.b64 _, [sm];\n";
  EXPECT_EQ(Walk(2, {"", arrive, arrive, arrive, arrive}), (std::vector<uint32_t>{0, 0, 1, 1, 0}));
  EXPECT_EQ(Walk(1, {"mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [sm], 48;\n", arrive,
                     "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [sm], 16;\n",
                     "mbarrier.complete_tx.shared::cta.b64 [sm], 32;\n"}),
            (std::vector<uint32_t>{0, 0, 0, 1}));
  EXPECT_EQ(Walk(1, {"mbarrier.arrive.expect_tx.shared.b64 _, [sm], 8;\n",
                     "mbarrier.complete_tx.shared::cta.b64 [sm], 8;\n"}),
            (std::vector<uint32_t>{0, 1}));
}

TEST(MbarrierFaults, AreFound) {
  const std::pair<std::string, Check> faults[] = {
      {"mbarrier.arrive.shared.b64 _, [sm];\n", Check::kUninitialised},
      {"mbarrier.init.shared.b64 [sm], 1;\nmbarrier.arrive.shared.b64 _, [sm], 2;\n",
       Check::kBarrier},
      {"mbarrier.init.shared.b64 [sm], 0;\n", Check::kBarrier},
      {"mbarrier.init.shared.b64 [sm], 1;\nmbarrier.inval.shared.b64 [sm];\n"
       "mbarrier.arrive.shared.b64 _, [sm];\n",
       Check::kUninitialised},
      {"mbarrier.init.shared.b64 [sm+4], 1;\n", Check::kMisaligned},
      {"mbarrier.init.b64 [%d0], 1;\n", Check::kOutOfBounds}};
  for (const auto& [body, check] : faults) {
    Case test;
    test.arch = 90;
    test.threads = 1;
    test.body = body;
    test.buffers = {Buffer::Blank(16)};
    const Outcome o = RunPtx(test);
    EXPECT_TRUE(o.Found(check)) << body << o.Text();
    EXPECT_NE(o.result.error, 0);
  }
}

// The first thread copies `bytes` of the second buffer to sm + 64, to arrive at sm.
std::string Bulk(const std::string& bytes, const std::string& from = "%d1") {
  return "setp.eq.u32 %p4, %r0, 0;\nmov.u32 %r7, " + bytes +
         ";\n@%p4 mbarrier.arrive.expect_tx.shared.b64 _, [sm], %r7;\n"
         "@%p4 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [" +
         from + "], %r7, [sm];\n";
}

TEST(BulkCopy, HandsDataOver) {
  ExpectHanded(Hand(Bulk("128"), kWait, 1));
  // More than all lanes' pieces of 16 bytes, and the last ones in part.
  Case large;
  large.arch = 90;
  large.threads = 64;
  large.body = Init(1) + "mov.u32 %r2, sm;\nadd.u32 %r2, %r2, 64;\n" + Bulk("1040") + kWait +
               "mov.u32 %r8, %r0;\nNEXT:\nmad.lo.u32 %r3, %r8, 4, %r2;\n"
               "ld.shared.u32 %r5, [%r3];\nmad.wide.u32 %d20, %r8, 4, %d0;\n"
               "st.global.u32 [%d20], %r5;\nadd.u32 %r8, %r8, 64;\n"
               "setp.lt.u32 %p5, %r8, 260;\n@%p5 bra NEXT;\n";
  std::vector<uint32_t> source(260);
  for (uint32_t l = 0; l < 260; ++l) source[l] = 1000 + l;
  large.buffers = {Buffer::Blank(1040), Buffer::Of(source)};
  const Outcome o = RunPtx(large);
  ExpectClean(o);
  EXPECT_EQ(o.buffers[0].As<uint32_t>(), source);
}

TEST(BulkCopyFaults, AreFound) {
  const struct {
    const char* why;
    Case test;
    Check check;
  } faults[] = {
      {"read before the wait", Hand(Bulk("128"), "", 1), Check::kAsyncCopy},
      {"nobody waits", Hand(Bulk("128") + "bra END;\n", "bra END;\n", 1), Check::kAsyncCopy},
      {"no multiple of 16", Hand(Bulk("24"), kWait, 1), Check::kMisaligned},
      {"source not aligned", Hand("add.u64 %d1, %d1, 4;\n" + Bulk("16"), kWait, 1),
       Check::kMisaligned},
      {"source too short", Hand(Bulk("144"), kWait, 1), Check::kOutOfBounds},
      {"source written meanwhile",
       Hand(Bulk("128") + "mov.u32 %r8, 7;\n@%p4 st.global.u32 [%d1], %r8;\n", kWait, 1),
       Check::kRaceGlobal},
      {"written by a store, too",
       Hand(Bulk("128") + "mov.u32 %r8, 7;\n@%p4 st.shared.u32 [%r2], %r8;\n", kWait, 1),
       Check::kRaceShared},
      {"two copies at once",
       Hand(Bulk("128") + "@%p4 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [sm], 128;\n"
                          "@%p4 cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes "
                          "[%r2], [%d1], %r7, [sm];\n",
            kWait, 1),
       Check::kRaceShared},
  };
  for (const auto& [why, test, check] : faults) {
    const Outcome o = RunPtx(test);
    EXPECT_TRUE(o.Found(check)) << why << o.Text();
  }
}

// As long as fewer bytes than expected have come the phase is not over.
TEST(BulkCopy, TheBarrierCountsBytes) {
  Case test = Hand(
      "setp.eq.u32 %p4, %r0, 0;\n"
      "@%p4 mbarrier.arrive.expect_tx.shared.b64 _, [sm], 256;\nmov.u32 %r7, 128;\n"
      "@%p4 cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%r2], "
      "[%d1], %r7, [sm];\n",
      "mbarrier.try_wait.parity.shared::cta.b64 %p3, [sm], 0;\nselp.u32 %r5, 1, 0, "
      "%p3;\nmad.wide.u32 %d20, %r1, 4, %d0;\nst.global.u32 [%d20], %r5;\nbra "
      "END;\n",
      1);
  const Outcome o = RunPtx(test);
  EXPECT_EQ(o.buffers[0].As<uint32_t>()[0], 0u) << o.Text();
}

TEST(Cluster, OfOneBlock) {
  Case test;
  test.arch = 90;
  test.threads = 1;
  test.body =
      "setmaxnreg.inc.sync.aligned.u32 240;\nsetmaxnreg.dec.sync.aligned.u32 24;\n"
      "mov.u32 %r1, sm;\nmapa.shared::cluster.u32 %r2, %r1, 0;\nsub.u32 %r3, %r2, %r1;\n"
      "mov.u64 %d20, sm;\ncvta.shared.u64 %d20, %d20;\nmapa.u64 %d21, %d20, 0;\n"
      "sub.u64 %d22, %d21, %d20;\nst.global.u32 [%d0], %r3;\nst.global.u64 [%d0+8], %d22;\n"
      "fence.proxy.async.global;\nfence.proxy.async.shared::cta;\n";
  test.buffers = {Buffer::Of(std::vector<uint64_t>{1, 1})};
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  EXPECT_EQ(o.buffers[0].As<uint32_t>()[0], 0u);
  EXPECT_EQ(o.buffers[0].As<uint64_t>()[1], 0u);
  test.body = "mapa.shared::cluster.u32 %r2, 2048, 1;\n";
  EXPECT_TRUE(RunPtx(test).Found(Check::kOutOfBounds));
}

TEST(HopperOps, WhatIsNotCoveredIsRefused) {
  for (const char* op : {"setmaxnreg.inc.sync.aligned.u32 25;",
                         "mbarrier.arrive.noComplete.shared.b64 %d20, [sm], 1;",
                         "mbarrier.init.shared::cluster.b64 [sm], 1;", "fence.proxy.alias;",
                         "cp.async.bulk.global.shared::cta.bulk_group [%d0], [%r1], 16;",
                         "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], "
                         "[%d0], 16;",
                         "mbarrier.try_wait.shared.b64 %p1, [sm];"}) {
    Case test;
    test.arch = 90;
    test.body = op;
    test.buffers = {Buffer::Blank(16)};
    EXPECT_THROW(RunPtx(test), ptx::Error) << op;
  }
}

}  // namespace
}  // namespace softgpu::testing
