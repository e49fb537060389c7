// Sectors and wavefronts of single accesses, worked out by hand from the rules (32-byte sectors; 32
// banks of 4 bytes, a word for many lanes is one; 8 bytes a lane go by half warps, 16 by quarters),
// and the counters of small kernels.
#include "tests/softgpu/machine/counters.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "tests/softgpu/machine/warp.h"
#include "tests/softgpu/tests/run_ptx.h"

namespace softgpu {
namespace {

using testing::Buffer;
using testing::Case;
using testing::RunPtx;

Access Of(ptx::Space space, uint32_t bytes, uint32_t mask,
          const std::function<uint64_t(uint32_t)>& address) {
  Access access;
  access.space = space;
  access.bytes = bytes;
  access.mask = mask;
  access.first = static_cast<uint32_t>(std::countr_zero(mask));
  for (uint32_t l = 0; l < kLanes; ++l) access.address[l] = address(l);
  return access;
}

struct Numbers {
  uint64_t moved, ideal;
  bool operator==(const Numbers&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Numbers& n) {
  return out << n.moved << " of ideally " << n.ideal;
}

Numbers Sectors(const Access& access) {
  Counters c;
  CountAccess(access, c);
  EXPECT_EQ(c.load_bytes, static_cast<uint64_t>(std::popcount(access.mask)) * access.bytes);
  EXPECT_EQ(c.store_sectors, 0u);
  return {c.load_sectors, c.load_sectors_ideal};
}
Numbers Wavefronts(const Access& access) {
  Counters c;
  CountAccess(access, c);
  EXPECT_EQ(c.shared_store_wavefronts, 0u);
  return {c.shared_load_wavefronts, c.shared_load_wavefronts_ideal};
}

TEST(Sectors, ByHand) {
  const auto global = [](uint32_t bytes, uint32_t mask, std::function<uint64_t(uint32_t)> at) {
    return Sectors(Of(ptx::Space::kGlobal, bytes, mask, at));
  };
  constexpr uint64_t kBase = 0x7000000;
  // 128 bytes in a row.
  EXPECT_EQ(global(4, kAllLanes, [](uint32_t l) { return kBase + 4 * l; }), (Numbers{4, 4}));
  // The same from the middle of a sector.
  EXPECT_EQ(global(4, kAllLanes, [](uint32_t l) { return kBase + 16 + 4 * l; }), (Numbers{5, 4}));
  // In another order.
  EXPECT_EQ(global(4, kAllLanes, [](uint32_t l) { return kBase + 4 * (l ^ 21); }), (Numbers{4, 4}));
  // Every second word: 32 * 4 bytes used of 8 sectors.
  EXPECT_EQ(global(4, kAllLanes, [](uint32_t l) { return kBase + 8 * l; }), (Numbers{8, 4}));
  // A column: a sector a lane.
  EXPECT_EQ(global(4, kAllLanes, [](uint32_t l) { return kBase + 1024 * l; }), (Numbers{32, 4}));
  EXPECT_EQ(global(4, kAllLanes, [](uint32_t) { return kBase + 4; }), (Numbers{1, 1}));
  EXPECT_EQ(global(16, kAllLanes, [](uint32_t l) { return kBase + 16 * l; }), (Numbers{16, 16}));
  EXPECT_EQ(global(1, kAllLanes, [](uint32_t l) { return kBase + l; }), (Numbers{1, 1}));
  EXPECT_EQ(global(2, 0x80000001u, [](uint32_t l) { return kBase + 64 * l; }), (Numbers{2, 1}));
  // Two lanes a word: 16 words, distinct bytes 64.
  EXPECT_EQ(global(4, kAllLanes, [](uint32_t l) { return kBase + l / 2 * 4; }), (Numbers{2, 2}));
}

TEST(Wavefronts, ByHand) {
  const auto shared = [](uint32_t bytes, uint32_t mask, std::function<uint64_t(uint32_t)> at) {
    return Wavefronts(Of(ptx::Space::kShared, bytes, mask, at));
  };
  constexpr uint64_t kBase = kSharedBase;
  EXPECT_EQ(shared(4, kAllLanes, [](uint32_t l) { return kBase + 4 * l; }), (Numbers{1, 1}));
  // A word for all.
  EXPECT_EQ(shared(4, kAllLanes, [](uint32_t) { return kBase + 8; }), (Numbers{1, 1}));
  // Columns of an array with rows of 32, 33 and 2 words.
  EXPECT_EQ(shared(4, kAllLanes, [](uint32_t l) { return kBase + 128 * l; }), (Numbers{32, 1}));
  EXPECT_EQ(shared(4, kAllLanes, [](uint32_t l) { return kBase + 132 * l; }), (Numbers{1, 1}));
  EXPECT_EQ(shared(4, kAllLanes, [](uint32_t l) { return kBase + 8 * l; }), (Numbers{2, 1}));
  // Bytes of the same words.
  EXPECT_EQ(shared(1, kAllLanes, [](uint32_t l) { return kBase + l; }), (Numbers{1, 1}));
  // Two rows of 16 words, 32 words apart: every bank of the first 16 twice.
  EXPECT_EQ(shared(4, kAllLanes, [](uint32_t l) { return kBase + l % 16 * 4 + l / 16 * 128; }),
            (Numbers{2, 1}));
  EXPECT_EQ(shared(8, kAllLanes, [](uint32_t l) { return kBase + 8 * l; }), (Numbers{2, 2}));
  EXPECT_EQ(shared(16, kAllLanes, [](uint32_t l) { return kBase + 16 * l; }), (Numbers{4, 4}));
  // Rows of 16 bytes, 128 apart: 8 lanes of a quarter on the same 4 banks.
  EXPECT_EQ(shared(16, kAllLanes, [](uint32_t l) { return kBase + 128 * l; }), (Numbers{32, 4}));
  // 144 apart: shifted by 4 banks each.
  EXPECT_EQ(shared(16, kAllLanes, [](uint32_t l) { return kBase + 144 * l; }), (Numbers{4, 4}));
  // One quarter takes part.
  EXPECT_EQ(shared(16, 0xff00u, [](uint32_t l) { return kBase + 128 * l; }), (Numbers{8, 1}));
}

// Random accesses against sets.
TEST(CountAccess, EqualsSets) {
  testing::Numbers random(7);
  for (int round = 0; round < 500; ++round) {
    const uint32_t bytes = 1u << random.Below(5);
    const uint32_t mask = static_cast<uint32_t>(random.Next()) | (1u << random.Below(32));
    const uint32_t range = 1 + random.Below(300);
    const Access global = Of(ptx::Space::kGlobal, bytes, mask, [&](uint32_t) {
      return 4096 + uint64_t{random.Below(range)} * bytes;
    });
    std::set<uint64_t> sectors, touched;
    for (uint32_t l = 0; l < kLanes; ++l) {
      if (!((mask >> l) & 1)) continue;
      sectors.insert(global.address[l] / 32);
      for (uint32_t b = 0; b < bytes; ++b) touched.insert(global.address[l] + b);
    }
    EXPECT_EQ(Sectors(global), (Numbers{sectors.size(), (touched.size() + 31) / 32}));
    Access shared = global;
    shared.space = ptx::Space::kShared;
    const uint32_t parts = bytes <= 4 ? 1 : bytes / 4;
    uint64_t passes = 0;
    for (uint32_t p = 0; p < parts; ++p) {
      std::set<uint64_t> banks[32];
      size_t most = 0;
      for (uint32_t l = p * (32 / parts); l < (p + 1) * (32 / parts); ++l) {
        if (!((mask >> l) & 1)) continue;
        for (uint32_t b = 0; b < bytes; ++b) {
          const uint64_t word = (shared.address[l] + b) / 4;
          banks[word % 32].insert(word);
          most = std::max(most, banks[word % 32].size());
        }
      }
      passes += most;
    }
    EXPECT_EQ(Wavefronts(shared).moved, passes);
  }
}

TEST(Counters, AddUp) {
  Counters a, b;
  a.insts[1] = 2;
  b.insts[1] = 3;
  a.load_sectors = 4;
  b.load_sectors = 5;
  b.warps = 7;
  b.barriers = 1;
  a.Add(b);
  EXPECT_EQ(a.insts[1], 5u);
  EXPECT_EQ(a.load_sectors, 9u);
  EXPECT_EQ(a.warps, 7u);
  EXPECT_EQ(a.barriers, 1u);
}

TEST(Counters, OfAKernel) {
  Case c;
  c.threads = 64;
  c.blocks = 2;
  c.buffers = {Buffer::Of(std::vector<float>(64, 1.0f)), Buffer::Of(std::vector<float>(64, 0.0f))};
  c.body = "setp.lt.u32 %p1, %r0, 16;\n" + testing::LoadMine(0, "f32", "%f1", 4) +
           "fma.rn.f32 %f2, %f1, %f1, %f1;\nmul.f32 %f3, %f2, %f2;\nbar.sync 0;\n"
           "@%p1 bra HERE;\nadd.f32 %f3, %f3, %f2;\nHERE:\n" +
           testing::StoreMine(1, "f32", "%f3", 4);
  const Counters k = RunPtx(c).result.counters;
  EXPECT_EQ(k.blocks, 2u);
  EXPECT_EQ(k.warps, 4u);
  EXPECT_EQ(k.barriers, 2u);
  EXPECT_EQ(k.load_bytes, 4 * 128u);
  EXPECT_EQ(k.load_sectors, 4 * 4u);
  EXPECT_EQ(k.store_sectors, 4 * 4u);
  // A block: 64 threads with an fma and a mul, 48 with an add.
  EXPECT_EQ(k.flops_f32, 2 * (64 * 3 + 48u));
  // The second warp of a block does not jump.
  EXPECT_EQ(k.insts[static_cast<int>(InstClass::kBranch)], 4u + 4u);
  EXPECT_EQ(k.branches, 2u);
  EXPECT_EQ(k.divergent_branches, 2u);
  EXPECT_EQ(k.insts[static_cast<int>(InstClass::kLoadGlobal)], 4u);
  EXPECT_EQ(k.insts[static_cast<int>(InstClass::kStoreGlobal)], 4u);
}

}  // namespace
}  // namespace softgpu
