// cp.async: what lands, when, and who may see it. Data that is used too early is missing here, as
// on a bad day on a device, and each such use is a finding.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/softgpu/tests/run_ptx.h"

namespace softgpu::testing {
namespace {

// %r10: this thread's place in sm, %d20: its place in buffer 0, both `bytes` times tid.x.
std::string Addresses(uint32_t bytes) {
  const std::string n = std::to_string(bytes);
  return "mov.u32 %r10, sm;\nmad.lo.u32 %r10, %r0, " + n + ", %r10;\nmad.wide.u32 %d20, %r0, " + n +
         ", %d0;\n";
}
std::vector<uint8_t> Bytes(size_t n) {
  Numbers numbers(n);
  std::vector<uint8_t> bytes(n);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(numbers.Below(255) + 1);
  return bytes;
}
std::string Give(uint32_t bytes) {
  const std::string type = bytes == 16 ? "v4.b32" : bytes == 8 ? "v2.b32" : "b32";
  const std::string regs = bytes == 16  ? "{%r20, %r21, %r22, %r23}"
                           : bytes == 8 ? "{%r20, %r21}"
                                        : "%r20";
  return "ld.shared." + type + " " + regs + ", [%r10];\n" +
         StoreMine(1, type, regs, static_cast<int>(bytes));
}

void ExpectClean(const Outcome& o) {
  EXPECT_EQ(o.result.error, 0) << o.Text();
  EXPECT_TRUE(o.findings.empty()) << o.Text();
}

struct Form {
  std::string words;
  uint32_t bytes;
};
std::vector<Form> Forms() {
  return {{"ca.shared.global", 4},
          {"ca.shared.global", 8},
          {"ca.shared.global", 16},
          {"cg.shared.global", 16},
          {"ca.shared::cta.global", 4},
          {"ca.shared.global.L2::128B", 8},
          {"cg.shared.global.L2::64B", 16},
          {"cg.shared.global.L2::256B", 16},
          {"cg.shared.global.L2::cache_hint", 16},
          {"ca.shared.global.L2::cache_hint.L2::128B", 4}};
}

class CopyForms : public ::testing::TestWithParam<Form> {};

TEST_P(CopyForms, SourceSizesZeroTheRest) {
  const auto [words, bytes] = GetParam();
  const std::string hint = words.find("cache_hint") != words.npos ? ", %d30" : "";
  for (const bool sized : {false, true}) {
    Case test;
    // Thread t reads t % (bytes + 1) bytes.
    test.body = Addresses(bytes) + "rem.u32 %r11, %r0, " + std::to_string(bytes + 1) +
                ";\nmov.u64 %d30, 0;\ncp.async." + words + " [%r10], [%d20], " +
                std::to_string(bytes) + (sized ? ", %r11" : "") + hint + ";\ncp.async.wait_all;\n" +
                Give(bytes);
    const auto source = Bytes(32 * bytes);
    test.buffers = {Buffer::Of(source), Buffer::Blank(32 * bytes)};
    const Outcome o = RunPtx(test);
    ExpectClean(o);
    auto want = source;
    for (uint32_t t = 0; sized && t < 32; ++t) {
      for (uint32_t b = t % (bytes + 1); b < bytes; ++b) want[t * bytes + b] = 0;
    }
    EXPECT_EQ(o.buffers[1].bytes, want) << words;
    EXPECT_EQ(o.result.counters.async_copy_bytes, 32 * bytes);
  }
}

TEST_P(CopyForms, APredicateIgnoresTheSource) {
  const auto [words, bytes] = GetParam();
  const std::string hint = words.find("cache_hint") != words.npos ? ", %d30" : "";
  for (const bool negated : {false, true}) {
    Case test;
    // The addresses of those that ignore it are nonsense.
    test.body = Addresses(bytes) + "setp.lt.u32 %p1, %r0, 10;\nmov.u64 %d30, 0;\n" +
                (negated ? "@!%p1" : "@%p1") + " mov.u64 %d20, 0;\ncp.async." + words +
                " [%r10], [%d20], " + std::to_string(bytes) + (negated ? ", !%p1" : ", %p1") +
                hint + ";\ncp.async.wait_all;\n" + Give(bytes);
    const auto source = Bytes(32 * bytes);
    test.buffers = {Buffer::Of(source), Buffer::Blank(32 * bytes)};
    const Outcome o = RunPtx(test);
    ExpectClean(o);
    auto want = source;
    for (uint32_t t = 0; t < 32; ++t) {
      if ((t < 10) == negated) continue;
      for (uint32_t b = 0; b < bytes; ++b) want[t * bytes + b] = 0;
    }
    EXPECT_EQ(o.buffers[1].bytes, want) << words << negated;
  }
}
std::string NameOf(const ::testing::TestParamInfo<Form>& info) {
  std::string name = info.param.words + std::to_string(info.param.bytes);
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(Words, CopyForms, ::testing::ValuesIn(Forms()), NameOf);

// Three groups of 4 bytes a thread, into sm + 0, 512, 1024; then a wait, then reads of some.
Case Groups(const std::string& wait, const std::string& reads) {
  Case test;
  test.body = Addresses(4);
  for (int g = 0; g < 3; ++g) {
    test.body += "cp.async.ca.shared.global [%r10+" + std::to_string(512 * g) + "], [%d20+" +
                 std::to_string(128 * g) + "], 4;\n" +
                 (g < 2 ? std::string("cp.async.commit_group;\n") : "");
  }
  // The third is left uncommitted.
  test.body += wait + reads + "cp.async.wait_all;\n";
  test.buffers = {Buffer::Of(Bytes(3 * 128)), Buffer::Blank(128)};
  return test;
}
std::string Read(int group) {
  return "ld.shared.b32 %r20, [%r10+" + std::to_string(512 * group) + "];\n" +
         StoreMine(1, "b32", "%r20", 4);
}

TEST(WaitGroup, LeavesTheNewestInFlight) {
  const struct {
    const char* wait;
    int landed;  // groups, the uncommitted one being the third
  } waits[] = {{"", 0},
               {"cp.async.wait_group 2;\n", 0},
               {"cp.async.wait_group 1;\n", 1},
               {"cp.async.wait_group 0;\n", 2},
               {"cp.async.wait_all;\n", 3}};
  for (const auto& [wait, landed] : waits) {
    for (int group = 0; group < 3; ++group) {
      const Outcome o = RunPtx(Groups(wait, Read(group)));
      EXPECT_EQ(o.Found(Check::kAsyncCopy), group >= landed) << wait << group << o.Text();
      if (group < landed) {
        ExpectClean(o);
        EXPECT_TRUE(std::equal(o.buffers[1].bytes.begin(), o.buffers[1].bytes.end(),
                               o.buffers[0].bytes.begin() + 128 * group));
      }
    }
  }
}

TEST(WaitGroup, CountsForEachThread) {
  // Odd threads commit twice as often: wait_group 1 lands their copy, but not the others'.
  Case test;
  test.body =
      Addresses(4) +
      "and.b32 %r1, %r0, 1;\nsetp.ne.u32 %p1, %r1, 0;\n"
      "cp.async.ca.shared.global [%r10], [%d20], 4;\ncp.async.commit_group;\n"
      "@%p1 cp.async.commit_group;\ncp.async.wait_group 1;\n@%p1 ld.shared.b32 %r2, [%r10];\n"
      "cp.async.wait_all;\n";
  test.buffers = {Buffer::Of(Bytes(128))};
  ExpectClean(RunPtx(test));
  test.body.replace(test.body.find("@%p1 ld"), 7, "@!%p1 ld");
  EXPECT_TRUE(RunPtx(test).Found(Check::kAsyncCopy));
}

// Two warps; each reads what the other copied. `between` stands after the wait.
Case Exchange(const std::string& before_wait, const std::string& between) {
  Case test;
  test.threads = 64;
  test.body = Addresses(4) + "cp.async.ca.shared.global [%r10], [%d20], 4;\n" + before_wait +
              "cp.async.wait_all;\n" + between +
              "xor.b32 %r1, %r0, 32;\nmov.u32 %r2, sm;\nmad.lo.u32 %r2, %r1, 4, %r2;\n"
              "ld.shared.b32 %r20, [%r2];\n" +
              StoreMine(1, "b32", "%r20", 4);
  test.buffers = {Buffer::Of(Bytes(256)), Buffer::Blank(256)};
  return test;
}

TEST(OtherThreads, NeedAWaitAndThenABarrier) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Case good = Exchange("", "bar.sync 0;\n");
    good.seed = seed;
    const Outcome o = RunPtx(good);
    ExpectClean(o);
    for (size_t b = 0; b < 256; ++b) {
      EXPECT_EQ(o.buffers[1].bytes[b], o.buffers[0].bytes[b ^ 128]);
    }
    for (Case bad : {Exchange("", ""), Exchange("bar.sync 0;\n", "")}) {
      bad.seed = seed;
      const Outcome found = RunPtx(bad);
      EXPECT_TRUE(found.Found(Check::kAsyncCopy) || found.Found(Check::kRaceShared))
          << bad.body << found.Text();
    }
  }
}

TEST(CopyFaults, AreFoundWhereTheyAre) {
  const std::string copy = "cp.async.ca.shared.global [%r10], [%d20], 4;\n";
  const std::string wait = "cp.async.wait_all;\n";
  const struct {
    const char* what;
    std::string body;
    Check check;
  } faults[] = {
      {"never waited for", copy + "cp.async.commit_group;\n", Check::kAsyncCopy},
      {"own bytes written in flight", copy + "st.shared.b32 [%r10], 1;\n" + wait,
       Check::kRaceShared},
      {"atomically, too", copy + "red.shared.add.u32 [%r10], 1;\n" + wait, Check::kRaceShared},
      {"two copies to one place", copy + copy + wait, Check::kRaceShared},
      {"source written in flight", copy + "st.global.b32 [%d20], 0;\n" + wait, Check::kRaceGlobal},
      {"read by a matrix load in flight",
       copy + "mov.u32 %r11, sm;\nldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r11];\n" + wait,
       Check::kAsyncCopy},
      {"source size too large", "cp.async.ca.shared.global [%r10], [%d20], 4, 5;\n" + wait,
       Check::kAsyncCopy},
      {"source out of bounds", "cp.async.ca.shared.global [%r10], [%d20+4], 4;\n" + wait,
       Check::kOutOfBounds},
      {"target out of bounds", "cp.async.ca.shared.global [%r10+4000], [%d20], 4;\n" + wait,
       Check::kOutOfBounds},
      {"source misaligned", "cp.async.ca.shared.global [%r10], [%d0+2], 4, 2;\n" + wait,
       Check::kMisaligned},
      {"target misaligned", "cp.async.ca.shared.global [%r10+2], [%d20], 4;\n" + wait,
       Check::kMisaligned},
      {"size never written", "cp.async.ca.shared.global [%r10], [%d20], 4, %r150;\n" + wait,
       Check::kUninitialised},
      {"target read by others before",
       "add.u32 %r12, %r0, 1;\nand.b32 %r12, %r12, 31;\nmov.u32 %r13, sm;\n"
       "mad.lo.u32 %r13, %r12, 4, %r13;\nst.shared.b32 [%r10], 1;\nbar.sync 0;\n"
       "ld.shared.b32 %r14, [%r13];\n" +
           copy + "bar.sync 0;\n" + wait,
       Check::kRaceShared},
  };
  for (const auto& fault : faults) {
    Case test;
    test.body = Addresses(4) + fault.body;
    test.buffers = {Buffer::Of(Bytes(128))};
    const Outcome o = RunPtx(test);
    EXPECT_TRUE(o.Found(fault.check)) << fault.what << o.Text();
    EXPECT_NE(o.result.error, 0) << fault.what;
  }
  Case good;
  good.body = Addresses(4) + copy + wait + "st.shared.b32 [%r10], 1;\n" + copy + wait;
  good.buffers = {Buffer::Of(Bytes(128))};
  ExpectClean(RunPtx(good));
}

TEST(CopyValues, UnwrittenSourcesStayUnwritten) {
  Case test;
  test.body = Addresses(16) +
              "cp.async.cg.shared.global [%r10], [%d20], 16;\ncp.async.wait_all;\n" + Give(16);
  test.buffers = {Buffer::Of(Bytes(512)), Buffer::Blank(512)};
  test.buffers[0].written.assign(512, true);
  test.buffers[0].written[100] = false;
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  for (size_t b = 0; b < 512; ++b) EXPECT_EQ(o.buffers[1].written[b], b != 100);
}

TEST(CopyValues, BlocksFollowEachOther) {
  // A pipeline of two stages over many blocks, threads that leave early included.
  Case test;
  test.blocks = 40;
  test.workers = 2;
  test.threads = 64;
  test.body = Addresses(4) +
              "setp.ge.u32 %p1, %r0, 50;\n@%p1 bra END;\nmov.u32 %r1, 0;\nmov.u32 %r5, 0;\n"
              "cp.async.ca.shared.global [%r10], [%d20], 4;\ncp.async.commit_group;\nLOOP:\n"
              "xor.b32 %r10, %r10, 512;\ncp.async.ca.shared.global [%r10], [%d20], 4;\n"
              "cp.async.commit_group;\nxor.b32 %r10, %r10, 512;\ncp.async.wait_group 1;\n"
              "ld.shared.u32 %r2, [%r10];\nadd.u32 %r5, %r5, %r2;\nxor.b32 %r10, %r10, 512;\n"
              "add.u32 %r1, %r1, 1;\nsetp.lt.u32 %p2, %r1, 8;\n@%p2 bra LOOP;\n"
              "cp.async.wait_all;\nmov.u32 %r6, %ctaid.x;\nmad.lo.u32 %r6, %r6, 64, %r0;\n"
              "mad.wide.u32 %d21, %r6, 4, %d1;\nst.global.u32 [%d21], %r5;\nEND:\n";
  test.buffers = {Buffer::Of(Bytes(256)), Buffer::Blank(40 * 256)};
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  for (uint32_t k = 0; k < 40 * 64; ++k) {
    if (k % 64 >= 50) continue;
    EXPECT_EQ(o.buffers[1].As<uint32_t>()[k], 8 * o.buffers[0].As<uint32_t>()[k % 64]);
  }
}

TEST(AsyncOps, WhatIsNotCoveredIsRefused) {
  for (const char* op :
       {"cp.async.cg.shared.global [%r1], [%d0], 8;", "cp.async.ca.shared.global [%r1], [%d0], 12;",
        "cp.async.ca.global.shared [%d0], [%r1], 4;", "cp.async.wait_group -1;",
        "cp.async.bulk.commit_group;", "cp.async.ca.shared.global [%r1], [%d0], 4, 4, 4;"}) {
    Case test;
    test.body = op;
    test.buffers = {Buffer::Blank(16)};
    EXPECT_THROW(RunPtx(test), ptx::Error) << op;
  }
}

}  // namespace
}  // namespace softgpu::testing
