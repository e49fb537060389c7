// atom and red: every operation and type, in global, shared and generic memory, against lanes taken
// one after the other; atomicity across blocks on several threads; fences.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "tests/softgpu/tests/run_ptx.h"
#include "tests/softgpu/tests/small_floats.h"

namespace softgpu::testing {
namespace {

using Wide = unsigned __int128;

void ExpectClean(const Outcome& o) {
  EXPECT_EQ(o.result.error, 0) << o.Text();
  EXPECT_TRUE(o.findings.empty()) << o.Text();
}

struct Op {
  std::string words;  // "add.u32"
  std::string reg;    // kind of register
  int bytes;
  std::function<uint64_t(uint64_t, uint64_t)> f;
};
void PrintTo(const Op& op, std::ostream* out) { *out << op.words; }

double AsF32(uint64_t bits) {
  float f;
  const uint32_t low = static_cast<uint32_t>(bits);
  std::memcpy(&f, &low, 4);
  return f;
}
// The sum of two f32 in double rounds to f32 as the exact sum does (53 >= 2 * 24 + 2 digits).
uint64_t F32Bits(double d) {
  const float f = static_cast<float>(d);
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return std::isnan(d) ? 0x7fffffff : bits;
}
uint64_t AddF64(uint64_t a, uint64_t b) {
  double x, y;
  std::memcpy(&x, &a, 8);
  std::memcpy(&y, &b, 8);
  // x87's 64 digits would round twice; two doubles are added as they are.
  const double sum = x + y;
  uint64_t bits;
  std::memcpy(&bits, &sum, 8);
  return std::isnan(sum) ? 0x7fffffffffffffff : bits;
}
uint64_t AddSmall(const SmallFloat& f, uint64_t a, uint64_t b) {
  return f.Nearest(f.Value(static_cast<uint16_t>(a)) + f.Value(static_cast<uint16_t>(b)));
}
uint64_t AddSmallPair(const SmallFloat& f, uint64_t a, uint64_t b) {
  return AddSmall(f, a, b) | AddSmall(f, a >> 16 & 0xffff, b >> 16 & 0xffff) << 16;
}
uint64_t Signed(uint64_t a, int bytes) {
  return bytes == 4 ? static_cast<uint64_t>(int64_t{static_cast<int32_t>(a)}) : a;
}
bool Less(uint64_t a, uint64_t b, int bytes) {
  return static_cast<int64_t>(Signed(a, bytes)) < static_cast<int64_t>(Signed(b, bytes));
}

std::vector<Op> Ops() {
  std::vector<Op> ops;
  const auto add = [](uint64_t a, uint64_t b) { return a + b; };
  ops.push_back({"add.u32", "%r", 4, add});
  ops.push_back({"add.s32", "%r", 4, add});
  ops.push_back({"add.u64", "%d", 8, add});
  ops.push_back(
      {"add.f32", "%f", 4, [](uint64_t a, uint64_t b) { return F32Bits(AsF32(a) + AsF32(b)); }});
  ops.push_back({"add.f64", "%e", 8, AddF64});
  const auto& f16 = SmallFloat::F16();
  const auto& bf16 = SmallFloat::BF16();
  ops.push_back(
      {"add.noftz.f16", "%h", 2, [&](uint64_t a, uint64_t b) { return AddSmall(f16, a, b); }});
  ops.push_back(
      {"add.noftz.bf16", "%h", 2, [&](uint64_t a, uint64_t b) { return AddSmall(bf16, a, b); }});
  ops.push_back({"add.noftz.f16x2", "%r", 4,
                 [&](uint64_t a, uint64_t b) { return AddSmallPair(f16, a, b); }});
  ops.push_back({"add.noftz.bf16x2", "%r", 4,
                 [&](uint64_t a, uint64_t b) { return AddSmallPair(bf16, a, b); }});
  for (const int bytes : {4, 8}) {
    const std::string n = std::to_string(8 * bytes), reg = bytes == 4 ? "%r" : "%d";
    ops.push_back({"min.u" + n, reg, bytes, [](uint64_t a, uint64_t b) { return std::min(a, b); }});
    ops.push_back({"max.u" + n, reg, bytes, [](uint64_t a, uint64_t b) { return std::max(a, b); }});
    ops.push_back({"min.s" + n, reg, bytes,
                   [=](uint64_t a, uint64_t b) { return Less(a, b, bytes) ? a : b; }});
    ops.push_back({"max.s" + n, reg, bytes,
                   [=](uint64_t a, uint64_t b) { return Less(a, b, bytes) ? b : a; }});
    ops.push_back({"and.b" + n, reg, bytes, [](uint64_t a, uint64_t b) { return a & b; }});
    ops.push_back({"or.b" + n, reg, bytes, [](uint64_t a, uint64_t b) { return a | b; }});
    ops.push_back({"xor.b" + n, reg, bytes, [](uint64_t a, uint64_t b) { return a ^ b; }});
    ops.push_back({"exch.b" + n, reg, bytes, [](uint64_t, uint64_t b) { return b; }});
  }
  ops.push_back({"inc.u32", "%r", 4, [](uint64_t a, uint64_t b) { return a >= b ? 0 : a + 1; }});
  ops.push_back(
      {"dec.u32", "%r", 4, [](uint64_t a, uint64_t b) { return a == 0 || a > b ? b : a - 1; }});
  return ops;
}

// Values of any bits, some of them special; f32 without subnormals, which have a test of their own.
std::vector<uint64_t> Values(const Op& op, size_t n, uint64_t seed) {
  Numbers numbers(seed);
  std::vector<uint64_t> v(n);
  const uint64_t mask = op.bytes == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * op.bytes)) - 1;
  for (uint64_t& x : v) {
    x = numbers.Next() & mask;
    const uint32_t kind = numbers.Below(8);
    if (kind == 0) x = 0;
    if (kind == 1) x = mask;
    if (kind == 2) x = (mask >> 1) + 1;
    if (op.words == "inc.u32" || op.words == "dec.u32") x %= 5;
    if (op.words == "add.f32") {
      x = F32Bits(std::ldexp(static_cast<double>(numbers.Next() >> 40) - (1 << 23),
                             static_cast<int>(numbers.Below(8)) - 20));
      if (kind == 3) x = 0x7f800000;
      if (kind == 4) x = 0xff7fffff;
    }
  }
  return v;
}

Buffer Packed(const std::vector<uint64_t>& values, int bytes) {
  Buffer b;
  for (uint64_t v : values) {
    for (int k = 0; k < bytes; ++k) b.bytes.push_back(static_cast<uint8_t>(v >> (8 * k)));
  }
  return b;
}
std::vector<uint64_t> Unpacked(const Buffer& b, int bytes) {
  std::vector<uint64_t> values(b.bytes.size() / static_cast<size_t>(bytes));
  for (size_t k = 0; k < values.size(); ++k) {
    for (int j = bytes - 1; j >= 0; --j) {
      values[k] = values[k] << 8 | b.bytes[k * static_cast<size_t>(bytes) + static_cast<size_t>(j)];
    }
  }
  return values;
}

constexpr size_t kCells = 5;

// Lane l works on cell l % 5. Buffers: cells, operands, results. `space`: .global, .shared, or ""
// with generic addresses of either (generic_shared).
std::string Body(const Op& op, const std::string& head, bool returns, bool shared, bool generic) {
  const std::string n = std::to_string(op.bytes), b = "b" + std::to_string(8 * op.bytes);
  std::string body = "rem.u32 %r1, %r0, " + std::to_string(kCells) + ";\n";
  body += "mad.wide.u32 %d20, %r1, " + n + ", %d0;\n";
  if (shared) {
    body += "mov.u64 %d21, sm;\nmad.wide.u32 %d21, %r1, " + n + ", %d21;\n";
    body += "ld.global." + b + " " + op.reg + "9, [%d20];\nst.shared." + b + " [%d21], " + op.reg +
            "9;\nbar.sync 0;\n";
    body += generic ? "cvta.shared.u64 %d22, %d21;\n" : "mov.u64 %d22, %d21;\n";
  } else {
    body += "mov.u64 %d22, %d20;\n";
  }
  body += LoadMine(1, b, op.reg + "10", op.bytes);
  body += head +
          (generic  ? "."
           : shared ? ".shared."
                    : ".global.") +
          op.words + " " + (returns ? op.reg + "11, " : "") + "[%d22], " + op.reg + "10;\n";
  if (returns) body += StoreMine(2, b, op.reg + "11", op.bytes);
  if (shared) {
    body += "bar.sync 0;\nsetp.ge.u32 %p1, %r0, " + std::to_string(kCells) +
            ";\n@%p1 bra END;\nld.shared." + b + " " + op.reg + "9, [%d21];\nst.global." + b +
            " [%d20], " + op.reg + "9;\nEND:\n";
  }
  return body;
}

class Atomic : public ::testing::TestWithParam<Op> {};

TEST_P(Atomic, EqualsLanesOneAfterTheOther) {
  const Op op = GetParam();
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    auto cells = Values(op, kCells, seed);
    const auto operands = Values(op, 32, seed + 50);
    auto want = cells;
    std::vector<uint64_t> want_old;
    const uint64_t mask = op.bytes == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * op.bytes)) - 1;
    for (size_t l = 0; l < 32; ++l) {
      uint64_t& cell = want[l % kCells];
      want_old.push_back(cell);
      cell = op.f(cell, operands[l]) & mask;
    }
    for (int form = 0; form < 8; ++form) {
      const bool returns = form & 1, shared = form & 2, generic = form & 4;
      if (!returns && op.words.starts_with("exch")) continue;
      Case test;
      test.arch = op.words.find("bf16") != op.words.npos ? 90 : 80;
      test.body = Body(op, returns ? "atom" : "red", returns, shared, generic);
      test.buffers = {Packed(cells, op.bytes), Packed(operands, op.bytes),
                      Buffer::Blank(32 * static_cast<size_t>(op.bytes))};
      const Outcome o = RunPtx(test);
      ExpectClean(o);
      EXPECT_EQ(Unpacked(o.buffers[0], op.bytes), want) << test.body;
      if (returns) {
        EXPECT_EQ(Unpacked(o.buffers[2], op.bytes), want_old) << test.body;
      }
    }
  }
}
std::string NameOf(const ::testing::TestParamInfo<Op>& info) {
  std::string name = info.param.words;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Ops, Atomic, ::testing::ValuesIn(Ops()), NameOf);

TEST(AtomicF32, SubnormalsAreFlushedInGlobalMemoryOnly) {
  const std::vector<uint64_t> cells = {0x00000001, 0x80000001, 0x00800000, 0x00400000, 0x80400000};
  const std::vector<uint64_t> operands = {0x00000001, 0x80000001, 0x80000001, 0x00400000,
                                          0x80400000};
  const std::vector<uint64_t> global = {0, 0x80000000, 0x00800000, 0, 0x80000000};
  const std::vector<uint64_t> kept = {2, 0x80000002, 0x007fffff, 0x00800000, 0x80800000};
  for (const bool shared : {false, true}) {
    Case test;
    test.threads = kCells;
    test.body = Body(Ops()[3], "atom", true, shared, false);
    test.buffers = {Packed(cells, 4), Packed(operands, 4), Buffer::Blank(4 * kCells)};
    const Outcome o = RunPtx(test);
    ExpectClean(o);
    EXPECT_EQ(Unpacked(o.buffers[0], 4), shared ? kept : global);
  }
}

TEST(AtomicWords, OrderScopeAndCacheHints) {
  for (const char* head :
       {"atom.relaxed.gpu", "atom.acquire.sys", "atom.release.cta", "atom.acq_rel.cluster",
        "atom.gpu.acq_rel", "atom.gpu", "atom.relaxed"}) {
    Case test;
    test.arch = 90;
    test.body = std::string(head) + ".global.add.u32 %r1, [%d0], 3;\n" +
                "red.relaxed.gpu.global.add.u32 [%d0+4], 2;\n" +
                "atom.global.add.L2::cache_hint.u32 %r1, [%d0+8], 1, %d20;\n";
    test.buffers = {Packed({1, 2, 3}, 4)};
    const Outcome o = RunPtx(test);
    ExpectClean(o);
    EXPECT_EQ(Unpacked(o.buffers[0], 4), (std::vector<uint64_t>{97, 66, 35})) << head;
  }
}

// Each size: cells 0..4 hold their index; lane l swaps for l + 100 where it finds l / 5.
TEST(AtomicCas, EverySize) {
  for (const int bytes : {2, 4, 8}) {
    const std::string b = "b" + std::to_string(8 * bytes);
    const std::string reg = bytes == 2 ? "%h" : bytes == 4 ? "%r" : "%d", base = reg + "2";
    const std::string from_u32 = "cvt.u" + std::to_string(8 * bytes) + ".u32 ";
    std::string convert;
    for (int k = 0; k < 2; ++k) {
      const std::string to = base + std::to_string(k + 4), of = k ? "%r12" : "%r11";
      convert +=
          bytes == 4 ? "mov.u32 " + to + ", " + of + ";\n" : from_u32 + to + ", " + of + ";\n";
    }
    Case test;
    test.body = "rem.u32 %r1, %r0, 5;\nmad.wide.u32 %d20, %r1, " + std::to_string(bytes) +
                ", %d0;\ndiv.u32 %r11, %r0, 5;\nadd.u32 %r12, %r0, 100;\n" + convert +
                "atom.global.cas." + b + " " + base + "6, [%d20], " + base + "4, " + base + "5;\n" +
                StoreMine(1, b, base + "6", bytes);
    std::vector<uint64_t> want = {0, 1, 2, 3, 4}, old;
    test.buffers = {Packed(want, bytes), Buffer::Blank(32 * static_cast<size_t>(bytes))};
    for (uint64_t l = 0; l < 32; ++l) {
      old.push_back(want[l % 5]);
      if (want[l % 5] == l / 5) want[l % 5] = l + 100;
    }
    const Outcome o = RunPtx(test);
    ExpectClean(o);
    EXPECT_EQ(Unpacked(o.buffers[0], bytes), want) << bytes;
    EXPECT_EQ(Unpacked(o.buffers[1], bytes), old) << bytes;
  }
}

TEST(AtomicCas, SixteenBytesSwapTogether) {
  for (const bool same : {true, false}) {
    Case test;
    test.threads = 1;
    test.arch = 90;
    test.body = "mov.u64 %d20, 5;\nmov.u64 %d21, " + std::string(same ? "6" : "7") +
                ";\nmov.b128 %q1, {%d20, %d21};\nmov.u64 %d22, 8;\nmov.u64 %d23, 9;\n"
                "mov.b128 %q2, {%d22, %d23};\natom.global.cas.b128 %q3, [%d0], %q1, %q2;\n"
                "atom.global.exch.b128 %q4, [%d0+16], %q2;\n"
                "mov.b128 {%d24, %d25}, %q3;\nst.global.v2.b64 [%d1], {%d24, %d25};\n"
                "mov.b128 {%d24, %d25}, %q4;\nst.global.v2.b64 [%d1+16], {%d24, %d25};\n";
    test.buffers = {Packed({5, 6, 1, 2}, 8), Buffer::Blank(32)};
    const Outcome o = RunPtx(test);
    ExpectClean(o);
    EXPECT_EQ(Unpacked(o.buffers[0], 8),
              same ? (std::vector<uint64_t>{8, 9, 8, 9}) : (std::vector<uint64_t>{5, 6, 8, 9}));
    EXPECT_EQ(Unpacked(o.buffers[1], 8), (std::vector<uint64_t>{5, 6, 1, 2}));
  }
}

TEST(AtomicVector, ElementsAddUp) {
  Case test;
  test.arch = 90;
  test.body =
      "mov.f32 %f1, 0f3f800000;\nmov.f32 %f2, 0f40000000;\n"
      "atom.global.v2.f32.add {%f3, %f4}, [%d0], {%f1, %f2};\n" +
      StoreMine(1, "f32", "%f4", 4) + "red.global.add.v4.f32 [%d0+16], {%f1, %f1, %f2, %f2};\n";
  test.buffers = {Buffer::Of(std::vector<float>{0, 10, 0, 0, 1, 2, 3, 4}), Buffer::Blank(128)};
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  EXPECT_EQ(o.buffers[0].As<float>(), (std::vector<float>{32, 74, 0, 0, 33, 34, 67, 68}));
  for (size_t l = 0; l < 32; ++l) EXPECT_EQ(o.buffers[1].As<float>()[l], 10 + 2.0f * l);
}

TEST(AtomicAcrossBlocks, NothingIsLost) {
  Case test;
  test.blocks = 200;
  test.threads = 96;
  test.workers = 4;
  test.body =
      "mov.f64 %e1, 0d3FF0000000000000;\natom.global.add.f64 %e2, [%d0], %e1;\n"
      "red.global.add.u32 [%d0+8], 3;\natom.global.inc.u32 %r1, [%d0+12], 6;\n"
      // The same sum by a loop of cas.
      "ld.relaxed.gpu.global.u32 %r2, [%d0+16];\nAGAIN:\nadd.u32 %r3, %r2, 5;\n"
      "atom.global.cas.b32 %r4, [%d0+16], %r2, %r3;\nsetp.ne.u32 %p1, %r4, %r2;\n"
      "mov.u32 %r2, %r4;\n@%p1 bra AGAIN;\n";
  test.buffers = {Packed(std::vector<uint64_t>(6, 0), 4)};
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  const uint32_t n = 200 * 96;
  EXPECT_EQ(o.buffers[0].As<double>()[0], n);
  EXPECT_EQ(o.buffers[0].As<uint32_t>()[2], 3 * n);
  EXPECT_EQ(o.buffers[0].As<uint32_t>()[3], n % 7);
  EXPECT_EQ(o.buffers[0].As<uint32_t>()[4], 5 * n);
}

TEST(AtomicUnwritten, StaysUnwritten) {
  Case test;
  test.threads = 1;
  // Cells 0: added to; 1: exchanged for a written value; 2: for an unwritten one.
  test.body =
      "atom.global.add.u32 %r1, [%d0], 1;\natom.global.exch.b32 %r2, [%d0+4], 1;\n"
      "atom.global.exch.b32 %r3, [%d0+8], %r100;\nst.global.b32 [%d1], %r1;\n"
      "st.global.b32 [%d1+4], %r2;\nst.global.b32 [%d1+8], %r3;\n";
  test.buffers = {Buffer::Blank(12), Buffer::Blank(12)};
  for (size_t b = 8; b < 12; ++b) test.buffers[0].written[b] = true;
  const Outcome o = RunPtx(test);
  ExpectClean(o);
  const auto written = [&](size_t buffer) {
    std::vector<bool> w;
    for (size_t k = 0; k < 3; ++k) w.push_back(o.buffers[buffer].Written<uint32_t>(k));
    return w;
  };
  EXPECT_EQ(written(0), (std::vector<bool>{false, true, false}));
  EXPECT_EQ(written(1), (std::vector<bool>{false, false, true}));
}

TEST(AtomicFaults, AreFound) {
  const std::pair<const char*, Check> faults[] = {
      {"atom.global.add.u32 %r1, [%d0+16], 1;\n", Check::kOutOfBounds},
      {"atom.global.add.u32 %r1, [%d0+2], 1;\n", Check::kMisaligned},
      {"atom.shared.add.u32 %r1, [sm+4096], 1;\n", Check::kOutOfBounds},
      {"ld.global.u32 %r2, [%d0];\nred.global.add.u32 [%d0], 1;\n", Check::kRaceGlobal}};
  for (const auto& [body, check] : faults) {
    Case test;
    test.body = body;
    test.buffers = {Packed({1, 2, 3, 4}, 4)};
    const Outcome o = RunPtx(test);
    EXPECT_TRUE(o.Found(check)) << body << o.Text();
    EXPECT_NE(o.result.error, 0);
  }
}

TEST(Fence, EveryFormRunsAndOrders) {
  Case test;
  test.arch = 90;
  for (const char* fence :
       {"membar.cta", "membar.gl", "membar.sys", "fence.sc.gpu", "fence.acq_rel.cta",
        "fence.acq_rel.cluster", "fence.acq_rel.gpu", "fence.acq_rel.sys"}) {
    test.body += std::string(fence) + ";\n";
  }
  // A message through a flag between two warps: weak data ordered by fences.
  test.threads = 64;
  test.body +=
      "setp.eq.u32 %p1, %r0, 0;\nsetp.eq.u32 %p2, %r0, 32;\n@%p1 bra SEND;\n@%p2 bra TAKE;\n"
      "bra END;\nSEND:\nst.global.u32 [%d0], 42;\nfence.acq_rel.gpu;\n"
      "st.relaxed.gpu.global.u32 [%d0+4], 1;\nbra END;\nTAKE:\n"
      "ld.relaxed.gpu.global.u32 %r1, [%d0+4];\nsetp.eq.u32 %p3, %r1, 0;\n@%p3 bra TAKE;\n"
      "fence.acq_rel.gpu;\nld.global.u32 %r2, [%d0];\nst.global.u32 [%d0+8], %r2;\nEND:\n";
  test.buffers = {Packed({0, 0, 0}, 4)};
  for (test.seed = 1; test.seed <= 5; ++test.seed) {
    const Outcome o = RunPtx(test);
    ExpectClean(o);
    EXPECT_EQ(o.buffers[0].As<uint32_t>()[2], 42u);
  }
  test.body.replace(test.body.find("fence.acq_rel.gpu;\nld.global"), 19, "");
  EXPECT_TRUE(RunPtx(test).Found(Check::kRaceGlobal));
}

TEST(AtomicOps, WhatIsNotCoveredIsRefused) {
  for (const char* op :
       {"atom.global.add.s64 %d20, [%d0], %d21;", "atom.global.add.f16 %h1, [%d0], %h2;",
        "red.global.exch.b32 [%d0], 1;", "red.global.cas.b32 [%d0], 1, 2;",
        "atom.global.min.f32 %f1, [%d0], %f2;", "atom.global.and.u32 %r1, [%d0], 1;",
        "atom.shared::cluster.add.u32 %r1, [%d0], 1;", "atom.global.u32 %r1, [%d0], 1;",
        "atom.global.add.v2.f32 {%f1, %f2}, [%d0], {%f1, %f2};", "fence.gpu.sc;", "membar.gpu;",
        "atom.local.add.u32 %r1, [%d0], 1;", "atom.global.add.noftz.bf16 %h1, [%d0], %h2;",
        "atom.global.exch.b128 %q1, [%d0], %q2;", "atom.cluster.global.add.u32 %r1, [%d0], 1;",
        "fence.acq_rel.cluster;"}) {
    Case test;
    test.body = op;
    test.buffers = {Buffer::Blank(16)};
    EXPECT_THROW(RunPtx(test), ptx::Error) << op;
  }
}

}  // namespace
}  // namespace softgpu::testing
