// shfl, vote, match, redux, elect, activemask, bar.warp.sync. Oracles are written from what the
// CUDA intrinsics promise (segments of a width), not from the manual's pseudo-code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/softgpu/tests/run_ptx.h"

namespace softgpu::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAreArray;

std::vector<uint32_t> Random32(uint64_t seed, size_t n, uint32_t below = 0xffffffffu) {
  Numbers numbers(seed);
  std::vector<uint32_t> v(n);
  for (uint32_t& x : v) x = numbers.Below(below);
  return v;
}

void ExpectClean(const Outcome& o) {
  EXPECT_EQ(o.result.error, 0) << o.Text();
  EXPECT_TRUE(o.findings.empty()) << o.Text();
}

// What __shfl_..._sync(value, b, width) gives lane l, and whether its source is in range.
uint32_t ShuffleSource(const std::string& mode, uint32_t l, uint32_t b, uint32_t width, bool* in) {
  const uint32_t start = l / width * width, end = start + width;
  if (mode == "up") {
    *in = l - start >= b;
    return *in ? l - b : l;
  }
  if (mode == "down") {
    *in = l + b < end;
    return *in ? l + b : l;
  }
  if (mode == "bfly") {
    *in = (l ^ b) < end;
    return *in ? l ^ b : l;
  }
  *in = true;
  return start + b % width;
}

class Shuffle : public ::testing::TestWithParam<const char*> {};

TEST_P(Shuffle, MatchesCudaIntrinsics) {
  const std::string mode = GetParam();
  for (uint32_t width : {1u, 2u, 8u, 16u, 32u}) {
    for (uint32_t seed = 1; seed <= 3; ++seed) {
      const auto values = Random32(seed, 32);
      auto amounts = Random32(seed + 100, 32, 32);
      if (seed == 1) std::fill(amounts.begin(), amounts.end(), 1);
      const uint32_t c = (32 - width) << 8 | (mode == "up" ? 0 : 31);
      Case test;
      test.body = LoadMine(0, "u32", "%r1", 4) + LoadMine(1, "u32", "%r2", 4) + "shfl.sync." +
                  mode + ".b32 %r3|%p1, %r1, %r2, " + std::to_string(c) + ", -1;\n" +
                  "selp.u32 %r4, 1, 0, %p1;\n" + StoreMine(2, "u32", "%r3", 4) +
                  StoreMine(3, "u32", "%r4", 4);
      test.buffers = {Buffer::Of(values), Buffer::Of(amounts), Buffer::Blank(128),
                      Buffer::Blank(128)};
      const Outcome o = RunPtx(test);
      ExpectClean(o);
      std::vector<uint32_t> want(32), want_in(32);
      for (uint32_t l = 0; l < 32; ++l) {
        bool in = false;
        want[l] = values[ShuffleSource(mode, l, amounts[l], width, &in)];
        want_in[l] = in;
      }
      EXPECT_THAT(o.buffers[2].As<uint32_t>(), ElementsAreArray(want)) << mode << width;
      EXPECT_THAT(o.buffers[3].As<uint32_t>(), ElementsAreArray(want_in)) << mode << width;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Modes, Shuffle, ::testing::Values("up", "down", "bfly", "idx"));

TEST(Shuffle, AmountsAreTakenModulo32AndTheClampIsRespected) {
  Case test;
  // Clamp 20: lanes above take their own value. 33 is 1.
  test.body = "shfl.sync.down.b32 %r3, %r0, 33, 20, 0xffffffff;\n" + StoreMine(0, "u32", "%r3", 4);
  test.buffers = {Buffer::Blank(128)};
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  std::vector<uint32_t> want(32);
  for (uint32_t l = 0; l < 32; ++l) want[l] = l + 1 <= 20 ? l + 1 : l;
  EXPECT_THAT(o.buffers[0].As<uint32_t>(), ElementsAreArray(want));
}

TEST(Shuffle, LanesOutsideGiveNothing) {
  Case test;
  test.body =
      "setp.lt.u32 %p1, %r0, 16;\nmov.u32 %r3, 7;\n"
      "@%p1 shfl.sync.idx.b32 %r3, %r0, 20, 31, 0xffff;\n" +
      StoreMine(0, "u32", "%r3", 4);
  test.buffers = {Buffer::Blank(128)};
  const Outcome o = RunPtx(test);
  ExpectClean(o);  // to shuffle and to store is no fault, to use would be
  for (size_t l = 0; l < 32; ++l) {
    EXPECT_EQ(o.buffers[0].Written<uint32_t>(l), l >= 16) << l;
    if (l >= 16) {
      EXPECT_EQ(o.buffers[0].As<uint32_t>()[l], 7u);
    }
  }
}

TEST(Shuffle, UnwrittenBytesFollowTheirLane) {
  Case test;
  test.body = LoadMine(0, "u32", "%r1", 4) + "shfl.sync.bfly.b32 %r3, %r1, 1, 31, -1;\n" +
              StoreMine(1, "u32", "%r3", 4);
  test.buffers = {Buffer::Of(Random32(1, 32)), Buffer::Blank(128)};
  test.buffers[0].written.assign(128, true);
  test.buffers[0].written[4 * 6 + 2] = false;
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  for (size_t b = 0; b < 128; ++b) EXPECT_EQ(o.buffers[1].written[b], b != 4 * 7 + 2) << b;
}

TEST(Shuffle, MeetsAcrossDivergence) {
  // Both halves of a branch lead to one shuffle; each pair of tiles has its own mask, too.
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Case test;
    test.seed = seed;
    test.body =
        "and.b32 %r1, %r0, 1;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 bra EVEN;\n"
        "add.u32 %r2, %r0, 100;\nbra MEET;\nEVEN:\nadd.u32 %r2, %r0, 200;\nMEET:\n"
        "shfl.sync.bfly.b32 %r3, %r2, 1, 31, -1;\n"
        "and.b32 %r4, %r0, 16;\nmov.u32 %r5, 0xffff;\nshl.b32 %r5, %r5, %r4;\n"
        "shfl.sync.idx.b32 %r6, %r3, 3, 0x101f, %r5;\n" +
        StoreMine(0, "u32", "%r3", 4) + StoreMine(1, "u32", "%r6", 4);
    test.buffers = {Buffer::Blank(128), Buffer::Blank(128)};
    const Outcome o = RunPtx(test);
    ExpectClean(o);
    std::vector<uint32_t> want(32), want_tile(32);
    for (uint32_t l = 0; l < 32; ++l) want[l] = (l ^ 1) + (l % 2 ? 200 : 100);
    for (uint32_t l = 0; l < 32; ++l) want_tile[l] = want[l / 16 * 16 + 3];
    EXPECT_THAT(o.buffers[0].As<uint32_t>(), ElementsAreArray(want));
    EXPECT_THAT(o.buffers[1].As<uint32_t>(), ElementsAreArray(want_tile));
  }
}

TEST(Shuffle, AbsentLaneIsFound) {
  Case test;
  test.body = "setp.eq.u32 %p1, %r0, 5;\n@%p1 bra OUT;\nshfl.sync.up.b32 %r3, %r0, 1, 0, -1;\n" +
              StoreMine(0, "u32", "%r3", 4) + "OUT:\n";
  test.buffers = {Buffer::Blank(128)};
  const Outcome o = RunPtx(test);
  EXPECT_TRUE(o.Found(Check::kWarpSync)) << o.Text();
  EXPECT_NE(o.result.error, 0);
}

TEST(Shuffle, LaneOutsideItsOwnMaskIsFound) {
  Case test;
  test.body = "shfl.sync.up.b32 %r3, %r0, 1, 0, 0x7fffffff;\n";
  test.buffers = {Buffer::Blank(128)};
  EXPECT_TRUE(RunPtx(test).Found(Check::kWarpSync));
}

TEST(Shuffle, OldFormIsRefused) {
  Case test;
  test.body = "shfl.up.b32 %r3, %r0, 1, 0;\n";
  EXPECT_THROW(RunPtx(test), ptx::Error);
}

// Runs `op` on %r1 (lane's value) and %p1 (its lowest bit) with the members' mask in %r2.
Outcome RunOp(const std::string& op, const std::vector<uint32_t>& values, uint32_t members,
              int arch = 80) {
  Case test;
  test.arch = arch;
  test.body = LoadMine(0, "u32", "%r1", 4) +
              "and.b32 %r3, %r1, 1;\nsetp.ne.u32 %p1, %r3, 0;\n"
              "mov.u32 %r2, " +
              std::to_string(members) +
              ";\nshr.u32 %r4, %r2, %r0;\nand.b32 %r4, %r4, 1;\nsetp.ne.u32 %p2, %r4, 0;\n"
              "mov.u32 %r5, 0;\nmov.u32 %r6, 0;\nsetp.ne.u32 %p3, %r5, %r5;\n@%p2 " +
              op + ";\n@%p2 selp.u32 %r6, 1, 0, %p3;\n" + StoreMine(1, "u32", "%r5", 4) +
              StoreMine(2, "u32", "%r6", 4);
  test.buffers = {Buffer::Of(values), Buffer::Blank(128), Buffer::Blank(128)};
  return RunPtx(test);
}

constexpr uint32_t kMasks[] = {0xffffffffu, 0x0000ffffu, 0x80000001u, 0x00f0f0f0u, 0x00000400u};

TEST(Vote, AllAnyUniBallot) {
  Numbers numbers(3);
  for (uint32_t members : kMasks) {
    for (uint32_t kind = 0; kind < 4; ++kind) {
      std::vector<uint32_t> values(32);
      for (uint32_t l = 0; l < 32; ++l) {
        values[l] = kind == 0 ? 0 : kind == 1 ? 1 : kind == 2 ? numbers.Below(2) : members >> l & 1;
      }
      uint32_t yes = 0;
      for (uint32_t l = 0; l < 32; ++l) yes |= (values[l] & members >> l & 1) << l;
      const bool all = yes == members, any = yes != 0;
      const std::pair<const char*, bool> votes[] = {
          {"vote.sync.all.pred %p3, %p1, %r2", all},
          {"vote.sync.any.pred %p3, %p1, %r2", any},
          {"vote.sync.uni.pred %p3, %p1, %r2", all || !any},
          {"vote.sync.all.pred %p3, !%p1, %r2", !any},
          {"vote.sync.any.pred %p3, !%p1, %r2", !all}};
      for (const auto& [op, want] : votes) {
        const Outcome o = RunOp(op, values, members);
        ExpectClean(o);
        for (uint32_t l = 0; l < 32; ++l) {
          EXPECT_EQ(o.buffers[2].As<uint32_t>()[l], (members >> l & 1) && want) << op << l;
        }
      }
      for (const bool negated : {false, true}) {
        const Outcome o =
            RunOp(std::string("vote.sync.ballot.b32 %r5, ") + (negated ? "!" : "") + "%p1, %r2",
                  values, members);
        ExpectClean(o);
        for (uint32_t l = 0; l < 32; ++l) {
          const uint32_t want = negated ? members & ~yes : yes;
          EXPECT_EQ(o.buffers[1].As<uint32_t>()[l], members >> l & 1 ? want : 0);
        }
      }
    }
  }
}

TEST(Match, AnyAndAll) {
  for (uint32_t members : kMasks) {
    for (uint32_t below : {1u, 3u, 1000u}) {
      const auto values = Random32(below, 32, below);
      uint32_t first = 32;
      bool same = true;
      std::vector<uint32_t> alike(32, 0);
      for (uint32_t l = 0; l < 32; ++l) {
        if (!(members >> l & 1)) continue;
        if (first == 32) first = l;
        same = same && values[l] == values[first];
        for (uint32_t m = 0; m < 32; ++m) {
          alike[l] |= (members >> m & 1 && values[m] == values[l] ? 1u : 0u) << m;
        }
      }
      Outcome o = RunOp("match.any.sync.b32 %r5, %r1, %r2", values, members);
      ExpectClean(o);
      EXPECT_THAT(o.buffers[1].As<uint32_t>(), ElementsAreArray(alike));
      o = RunOp("match.all.sync.b32 %r5|%p3, %r1, %r2", values, members);
      ExpectClean(o);
      for (uint32_t l = 0; l < 32; ++l) {
        const bool member = members >> l & 1;
        EXPECT_EQ(o.buffers[1].As<uint32_t>()[l], member && same ? members : 0);
        EXPECT_EQ(o.buffers[2].As<uint32_t>()[l], member && same);
      }
    }
  }
}

TEST(Match, SixtyFourBitsCountInFull) {
  Case test;
  // The lower halves agree, the upper ones are the lane's number / 8.
  test.body =
      "shr.u32 %r1, %r0, 3;\nmov.u32 %r2, 77;\nmov.b64 %d20, {%r2, %r1};\n"
      "match.any.sync.b64 %r3, %d20, -1;\nmatch.all.sync.b64 %r4, %d20, -1;\n" +
      StoreMine(0, "u32", "%r3", 4) + StoreMine(1, "u32", "%r4", 4);
  test.buffers = {Buffer::Blank(128), Buffer::Blank(128)};
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  for (uint32_t l = 0; l < 32; ++l) {
    EXPECT_EQ(o.buffers[0].As<uint32_t>()[l], 0xffu << (l / 8 * 8));
  }
  EXPECT_THAT(o.buffers[1].As<uint32_t>(), Each(0u));
}

TEST(Redux, AllOperations) {
  for (uint32_t members : kMasks) {
    auto values = Random32(members, 32);
    values[0] = 0x80000000u;  // the least s32, and it has wrapped sums
    values[31] = 0xffffffffu;
    std::vector<uint32_t> in;
    for (uint32_t l = 0; l < 32; ++l) {
      if (members >> l & 1) in.push_back(values[l]);
    }
    uint32_t sum = 0, conj = ~0u, disj = 0, parity = 0;
    for (uint32_t x : in) {
      sum += x;
      conj &= x;
      disj |= x;
      parity ^= x;
    }
    const auto less = [](uint32_t a, uint32_t b) { return int32_t(a) < int32_t(b); };
    const std::pair<const char*, uint32_t> ops[] = {
        {"add.u32", sum},
        {"add.s32", sum},
        {"min.u32", *std::min_element(in.begin(), in.end())},
        {"max.u32", *std::max_element(in.begin(), in.end())},
        {"min.s32", *std::min_element(in.begin(), in.end(), less)},
        {"max.s32", *std::max_element(in.begin(), in.end(), less)},
        {"and.b32", conj},
        {"or.b32", disj},
        {"xor.b32", parity}};
    for (const auto& [op, want] : ops) {
      const Outcome o = RunOp(std::string("redux.sync.") + op + " %r5, %r1, %r2", values, members);
      ExpectClean(o);
      for (uint32_t l = 0; l < 32; ++l) {
        EXPECT_EQ(o.buffers[1].As<uint32_t>()[l], members >> l & 1 ? want : 0) << op;
      }
    }
  }
}

TEST(Elect, OneMemberLeads) {
  for (uint32_t members : kMasks) {
    const Outcome o = RunOp("elect.sync %r5|%p3, %r2", std::vector<uint32_t>(32, 0), members, 90);
    ExpectClean(o);
    std::set<uint32_t> leaders, said;
    for (uint32_t l = 0; l < 32; ++l) {
      if (!(members >> l & 1)) continue;
      if (o.buffers[2].As<uint32_t>()[l]) leaders.insert(l);
      said.insert(o.buffers[1].As<uint32_t>()[l]);
    }
    EXPECT_EQ(leaders.size(), 1u);
    EXPECT_EQ(leaders, said);
    EXPECT_TRUE(members >> *leaders.begin() & 1);
  }
  EXPECT_THROW(RunOp("elect.sync %r5|%p3, %r2", std::vector<uint32_t>(32, 0), 1, 80), ptx::Error);
}

TEST(ActiveMask, NamesTheLanesThatRunIt) {
  Case test;
  test.body = "setp.lt.u32 %p1, %r0, 3;\nmov.u32 %r3, 0;\n@%p1 activemask.b32 %r3;\n" +
              StoreMine(0, "u32", "%r3", 4);
  test.buffers = {Buffer::Blank(128)};
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  for (uint32_t l = 0; l < 32; ++l) {
    const uint32_t got = o.buffers[0].As<uint32_t>()[l];
    // Lanes may run it at different times; each sees itself.
    EXPECT_TRUE(l < 3 ? (got >> l & 1) && got < 8 : got == 0) << l << " " << got;
  }
}

TEST(BarWarpSync, OrdersSharedMemory) {
  Case test;
  test.body =
      "mov.u32 %r1, sm;\nmad.lo.u32 %r2, %r0, 4, %r1;\nst.shared.u32 [%r2], %r0;\n"
      "bar.warp.sync -1;\nxor.b32 %r3, %r0, 1;\nmad.lo.u32 %r2, %r3, 4, %r1;\n"
      "ld.shared.u32 %r4, [%r2];\n" +
      StoreMine(0, "u32", "%r4", 4);
  test.buffers = {Buffer::Blank(128)};
  Outcome o = RunPtx(test);
  ExpectClean(o);
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(o.buffers[0].As<uint32_t>()[l], l ^ 1);
  test.body.replace(test.body.find("bar.warp.sync -1;"), 17, "");
  EXPECT_TRUE(RunPtx(test).Found(Check::kRaceShared));
}

TEST(WarpOps, WhatIsNotCoveredIsRefused) {
  for (const char* op :
       {"shfl.sync.up.b64 %d20, %d21, 1, 0, -1;", "vote.sync.some.pred %p1, %p2, -1;",
        "match.any.sync.b32 %r1|%p1, %r2, -1;", "redux.sync.add.f32 %f1, %f2, -1;",
        "redux.sync.and.u32 %r1, %r2, -1;", "vote.sync.all.pred %p1, %p2;"}) {
    Case test;
    test.body = op;
    EXPECT_THROW(RunPtx(test), ptx::Error) << op;
  }
}

}  // namespace
}  // namespace softgpu::testing
