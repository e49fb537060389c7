// wgmma: operands laid out in shared memory by the rules that programs use (lines of the swizzle's
// width, chunks permuted by the line's number), results compared exactly with sums of small
// integers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/softgpu/tests/run_ptx.h"
#include "tests/softgpu/tests/small_floats.h"

namespace softgpu::testing {
namespace {

constexpr uint32_t kBAt = 8192, kSharedBytes = 40960;

struct Operand {
  int swizzle;      // bytes of a line: 16 is none
  bool transposed;  // lines run along m or n instead of k
};
struct Form {
  std::string type;  // of A, B
  std::string sums;
  int n;
  Operand a, b;
  bool a_in_registers = false;
  bool adds = true;
  int scale_a = 1, scale_b = 1;
  int slice = 0;  // of a line that is wider than the instruction's k
};
void PrintTo(const Form& f, std::ostream* out) {
  *out << f.type << " n" << f.n << " swizzle " << f.a.swizzle << "/" << f.b.swizzle << " trans "
       << f.a.transposed << f.b.transposed << " regs " << f.a_in_registers;
}

int BytesOf(const std::string& type) { return type == "tf32" ? 4 : 2; }
int DepthOf(const std::string& type) { return type == "tf32" ? 8 : 16; }
uint32_t Encode(const std::string& type, int value) {
  if (type == "f16") return SmallFloat::F16().Nearest(value);
  if (type == "bf16") return SmallFloat::BF16().Nearest(value);
  const float f = static_cast<float>(value);
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  // What tf32 drops is not clear.
  return bits | (type == "tf32" ? 0x155 : 0);
}
int Value(int which, int outer, int k) {
  return (outer * 7 + k * 5 + which * 3 + outer * k) % 7 - 3;
}

// The strides of descriptors for matrices of this many rows (m or n).
struct Strides {
  uint32_t leading, stride;
};
Strides StridesOf(const Operand& o, int rows) {
  const uint32_t line = static_cast<uint32_t>(o.swizzle), of_eight = 8 * line;
  if (line == 16) {
    // Core matrices of 128 bytes: neighbours along k are apart by all those along m or n.
    const uint32_t along_rows = 128, along_k = 128 * static_cast<uint32_t>(rows / 8);
    return {along_k, along_rows};
  }
  if (!o.transposed) return {16, of_eight};
  return {2 * of_eight, of_eight};  // k has two times 8 lines; then comes the next piece of m or n
}
uint32_t PlaceOf(const Operand& o, int rows, int bytes, int row, int k) {
  const Strides s = StridesOf(o, rows);
  const int outer = o.transposed ? k : row, inner = (o.transposed ? row : k) * bytes;
  const uint32_t line = static_cast<uint32_t>(outer % 8), at = static_cast<uint32_t>(inner % 16);
  uint32_t chunk = static_cast<uint32_t>(inner / 16);
  const uint32_t group = static_cast<uint32_t>(outer / 8);
  switch (o.swizzle) {
    case 128:
      return (chunk / 8) * s.leading * o.transposed + group * s.stride + line * 128 +
             ((chunk % 8) ^ line) * 16 + at;
    case 64:
      return (chunk / 4) * s.leading * o.transposed + group * s.stride + line * 64 +
             ((chunk % 4) ^ (line / 2)) * 16 + at;
    case 32:
      return (chunk / 2) * s.leading * o.transposed + group * s.stride + line * 32 +
             ((chunk % 2) ^ (line / 4)) * 16 + at;
    default:
      return o.transposed ? chunk * s.stride + group * s.leading + line * 16 + at
                          : chunk * s.leading + group * s.stride + line * 16 + at;
  }
}

void Fill(std::vector<uint8_t>& shared, uint32_t base, const Operand& o, int which, int rows,
          const Form& f) {
  const int bytes = BytesOf(f.type), first = f.slice * DepthOf(f.type);
  for (int row = 0; row < rows; ++row) {
    for (int k = 0; k < DepthOf(f.type); ++k) {
      const uint32_t bits = Encode(f.type, Value(which, row, k));
      std::memcpy(&shared[base + PlaceOf(o, rows, bytes, row, first + k)], &bits,
                  static_cast<size_t>(bytes));
    }
  }
}

std::string Describe(const std::string& reg, uint32_t base, const Operand& o, int rows, int slice) {
  const Strides s = StridesOf(o, rows);
  const uint64_t mode = o.swizzle == 128 ? 1 : o.swizzle == 64 ? 2 : o.swizzle == 32 ? 3 : 0;
  const uint64_t rest = uint64_t{s.leading / 16} << 16 | uint64_t{s.stride / 16} << 32 | mode << 62;
  // A slice of a wider line starts 32 bytes further on.
  return "mov.u64 " + reg + ", big;\nadd.u64 " + reg + ", " + reg + ", " +
         std::to_string(base + 32 * static_cast<uint32_t>(slice)) + ";\nshr.u64 " + reg + ", " +
         reg + ", 4;\nor.b64 " + reg + ", " + reg + ", " +
         std::to_string(static_cast<int64_t>(rest)) + ";\n";
}

// Element i of a thread's fragment of A, as for mma.
uint32_t RegisterOfA(const Form& f, int thread, int reg) {
  const int g = thread % 32 / 4, t = thread % 4, warp = thread / 32;
  const int row = 16 * warp + g + (reg % 2 ? 8 : 0);
  if (f.type == "tf32") return Encode(f.type, Value(0, row, t + (reg >= 2 ? 4 : 0)));
  const int k = 2 * t + (reg >= 2 ? 8 : 0);
  return Encode(f.type, Value(0, row, k)) | Encode(f.type, Value(0, row, k + 1)) << 16;
}

int Start(int row, int column) { return (row * 3 + column) % 11 - 5; }

Case MakeCase(const Form& f) {
  const int registers = f.n / (f.sums == "f16" ? 4 : 2);
  std::vector<uint8_t> shared(kSharedBytes);
  if (!f.a_in_registers) Fill(shared, 0, f.a, 0, 64, f);
  Fill(shared, kBAt, f.b, 1, f.n, f);
  std::vector<uint32_t> a, d;
  for (int r = 0; r < 4; ++r) {
    for (int t = 0; t < 128; ++t) a.push_back(RegisterOfA(f, t, r));
  }
  for (int r = 0; r < registers; ++r) {
    for (int t = 0; t < 128; ++t) {
      const int g = t % 32 / 4, warp = t / 32;
      const bool half = f.sums == "f16";
      const int row = 16 * warp + g + 8 * (half ? r % 2 : r / 2 % 2);
      const int column = 8 * (half ? r / 2 : r / 4) + 2 * (t % 4);
      d.push_back(half ? Encode("f16", Start(row, column)) | Encode("f16", Start(row, column + 1))
                                                                 << 16
                       : Encode("f32", Start(row, column + r % 2)));
    }
  }
  Case test;
  test.arch = 90;
  test.threads = 128;
  test.declarations = ".shared .align 1024 .b8 big[" + std::to_string(kSharedBytes) + "];\n";
  test.body =
      "mov.u32 %r1, big;\nmad.lo.u32 %r1, %r0, 16, %r1;\nmad.wide.u32 %d20, %r0, 16, %d0;\n"
      "mov.u32 %r2, 0;\nCOPY:\nld.global.v4.b32 {%r3, %r4, %r5, %r6}, [%d20];\n"
      "st.shared.v4.b32 [%r1], {%r3, %r4, %r5, %r6};\nadd.u32 %r1, %r1, 2048;\n"
      "add.u64 %d20, %d20, 2048;\nadd.u32 %r2, %r2, 2048;\nsetp.lt.u32 %p1, %r2, " +
      std::to_string(kSharedBytes) +
      ";\n@%p1 bra COPY;\nfence.proxy.async.shared::cta;\nbar.sync 0;\n" +
      Describe("%d21", 0, f.a, 64, f.slice) + Describe("%d22", kBAt, f.b, f.n, f.slice) +
      "mad.wide.u32 %d23, %r0, 4, %d1;\nmad.wide.u32 %d24, %r0, 4, %d2;\n";
  std::string list_a = "{", list_d = "{";
  for (int r = 0; r < 4; ++r) {
    const std::string reg = "%r" + std::to_string(10 + r);
    test.body += "ld.global.b32 " + reg + ", [%d23+" + std::to_string(512 * r) + "];\n";
    list_a += (r ? ", " : "") + reg;
  }
  std::string store;
  for (int r = 0; r < registers; ++r) {
    const std::string reg = "%r" + std::to_string(20 + r);
    const std::string place = "[%d24+" + std::to_string(512 * r) + "]";
    test.body += "ld.global.b32 " + reg + ", " + place + ";\n";
    store += "st.global.b32 " + place + ", " + reg + ";\n";
    list_d += (r ? ", " : "") + reg;
  }
  test.body += "mov.u32 %r2, " + std::string(f.adds ? "1" : "0") +
               ";\nsetp.ne.u32 %p2, %r2, 0;\nwgmma.fence.sync.aligned;\n"
               "wgmma.mma_async.sync.aligned.m64n" +
               std::to_string(f.n) + "k" + std::to_string(DepthOf(f.type)) + "." + f.sums + "." +
               f.type + "." + f.type + " " + list_d + "}, " +
               (f.a_in_registers ? list_a + "}" : "%d21") + ", %d22, %p2, " +
               std::to_string(f.scale_a) + ", " + std::to_string(f.scale_b);
  if (f.type != "tf32") {
    if (!f.a_in_registers) test.body += f.a.transposed ? ", 1" : ", 0";
    test.body += f.b.transposed ? ", 1" : ", 0";
  }
  test.body += ";\nwgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n" + store;
  test.buffers = {Buffer::Of(shared), Buffer::Of(a), Buffer::Of(d)};
  return test;
}

void ExpectProduct(const Form& f) {
  const Outcome o = RunPtx(MakeCase(f));
  ASSERT_EQ(o.result.error, 0) << o.Text();
  const bool half = f.sums == "f16";
  const int elements = f.n / 2;
  for (int t = 0; t < 128; ++t) {
    for (int i = 0; i < elements; ++i) {
      const int row = 16 * (t / 32) + t % 32 / 4 + (i / 2 % 2 ? 8 : 0);
      const int column = 8 * (i / 4) + 2 * (t % 4) + i % 2;
      int want = 0;
      for (int k = 0; k < DepthOf(f.type); ++k) want += Value(0, row, k) * Value(1, column, k);
      want = want * f.scale_a * f.scale_b + (f.adds ? Start(row, column) : 0);
      const size_t at = static_cast<size_t>(half ? 2 * (i / 2 * 128 + t) + i % 2 : i * 128 + t);
      const double got = half ? SmallFloat::F16().Value(o.buffers[2].As<uint16_t>()[at])
                              : static_cast<double>(o.buffers[2].As<float>()[at]);
      ASSERT_EQ(got, want) << "row " << row << " column " << column;
      ASSERT_TRUE(half ? o.buffers[2].Written<uint16_t>(at) : o.buffers[2].Written<float>(at));
    }
  }
}

TEST(Wgmma, EverySwizzleAndTranspose) {
  for (const std::string type : {"f16", "bf16"}) {
    for (const int swizzle : {16, 32, 64, 128}) {
      for (const bool ta : {false, true}) {
        for (const bool tb : {false, true}) {
          Form f{type, "f32", 64, {swizzle, ta}, {swizzle, tb}};
          SCOPED_TRACE(::testing::PrintToString(f));
          ExpectProduct(f);
        }
      }
    }
  }
  for (const int swizzle : {16, 32, 64, 128}) {
    Form f{"tf32", "f32", 64, {swizzle, false}, {swizzle, false}};
    SCOPED_TRACE(::testing::PrintToString(f));
    ExpectProduct(f);
  }
}

TEST(Wgmma, SlicesOfWideLines) {
  for (const std::string type : {"f16", "tf32"}) {
    for (int slice = 1; slice < 4; ++slice) {
      Form f{type, "f32", 32, {128, false}, {128, false}};
      f.slice = slice;
      ExpectProduct(f);
    }
  }
}

TEST(Wgmma, EveryWidth) {
  for (int n = 8; n <= 256; n += 8) {
    Form f{"f16", "f32", n, {128, false}, {16, n % 16 == 0}};
    SCOPED_TRACE(n);
    ExpectProduct(f);
    f.sums = "f16";
    ExpectProduct(f);
  }
}

TEST(Wgmma, RegistersScalesAndFreshSums) {
  for (const std::string type : {"f16", "bf16", "tf32"}) {
    for (const bool adds : {false, true}) {
      Form f{type, "f32", 24, {128, false}, {64, false}};
      f.a_in_registers = true;
      f.adds = adds;
      ExpectProduct(f);
      f.a_in_registers = false;
      f.scale_a = -1;
      ExpectProduct(f);
      f.scale_b = -1;
      ExpectProduct(f);
    }
  }
}

TEST(Wgmma, UnwrittenOperandsSpread) {
  const Form f{"f16", "f32", 16, {128, false}, {128, false}};
  for (const bool in_b : {false, true}) {
    Case test = MakeCase(f);
    test.buffers[0].written.assign(kSharedBytes, true);
    // Row 37 of A, or column 5.
    test.buffers[0].written[in_b ? kBAt + PlaceOf(f.b, 16, 2, 5, 9) : PlaceOf(f.a, 64, 2, 37, 9)] =
        false;
    const Outcome o = RunPtx(test);
    EXPECT_TRUE(o.findings.empty()) << o.Text();
    for (int t = 0; t < 128; ++t) {
      for (int i = 0; i < 8; ++i) {
        const int row = 16 * (t / 32) + t % 32 / 4 + (i / 2 % 2 ? 8 : 0);
        const int column = 8 * (i / 4) + 2 * (t % 4) + i % 2;
        EXPECT_EQ(o.buffers[2].Written<float>(static_cast<size_t>(i * 128 + t)),
                  in_b ? column != 5 : row != 37);
      }
    }
  }
}

// What is used before its wait counts as never written.
TEST(Wgmma, SumsAreThereAfterTheWait) {
  const Form f{"f16", "f32", 16, {128, false}, {128, false}};
  const std::string wait = "wgmma.wait_group.sync.aligned 0;\n";
  const std::string commit = "wgmma.commit_group.sync.aligned;\n";
  const struct {
    std::string instead;
    bool there;
  } waits[] = {{"", false},
               {"wgmma.wait_group.sync.aligned 1;\n", false},
               {commit + "wgmma.wait_group.sync.aligned 1;\n", true},
               {wait, true}};
  for (const auto& [instead, there] : waits) {
    Case test = MakeCase(f);
    test.body.replace(test.body.find(wait), wait.size(), instead);
    const Outcome o = RunPtx(test);
    EXPECT_TRUE(o.findings.empty()) << o.Text();
    for (size_t k = 0; k < 8 * 128; ++k) {
      EXPECT_EQ(o.buffers[2].Written<float>(k), there) << instead;
    }
  }
  // A chain of two products on the same sums needs no wait between.
  Case chain = MakeCase(f);
  const size_t at = chain.body.find("wgmma.mma_async");
  const std::string product = chain.body.substr(at, chain.body.find(";\n", at) + 2 - at);
  chain.body.insert(at, product + commit);
  const Outcome o = RunPtx(chain);
  EXPECT_TRUE(o.findings.empty()) << o.Text();
  int want = Start(0, 0);
  for (int k = 0; k < 16; ++k) want += 2 * Value(0, 0, k) * Value(1, 0, k);
  EXPECT_EQ(o.buffers[2].As<float>()[0], static_cast<float>(want));
  for (size_t k = 0; k < 8 * 128; ++k) EXPECT_TRUE(o.buffers[2].Written<float>(k));
}

TEST(WgmmaFaults, OperandsThatChangeBeforeTheWait) {
  const Form f{"f16", "f32", 16, {128, false}, {128, false}};
  const std::string wait = "wgmma.wait_group.sync.aligned 0;\n";
  const std::string copy = "cp.async.cg.shared.global [%r1], [%d0], 16;\ncp.async.wait_all;\n";
  // %r1: byte 4 of column 3 of B, by thread 5; or far from any operand.
  const auto write = [&](uint32_t at, const std::string& by) {
    return "bar.sync 0;\nsetp.eq.u32 %p3, %r0, 5;\nmov.u32 %r1, big;\nadd.u32 %r1, %r1, " +
           std::to_string(at) + ";\nmov.u32 %r2, 0x12345678;\n@!%p3 bra PAST;\n" + by + "PAST:\n";
  };
  const uint32_t in_b = kBAt + PlaceOf(f.b, 16, 2, 3, 0), outside = kSharedBytes - 128;
  const std::string store = "st.shared.b32 [%r1+4], %r2;\n";
  const struct {
    std::string what;
    bool before_wait, found;
  } cases[] = {{write(in_b, store), true, true},
               {write(in_b, copy), true, true},
               {write(outside, store), true, false},
               {write(in_b, store), false, false},
               {write(in_b, copy), false, false}};
  for (const auto& [what, before_wait, found] : cases) {
    Case test = MakeCase(f);
    test.body.insert(test.body.find(wait) + (before_wait ? 0 : wait.size()), what);
    const Outcome o = RunPtx(test);
    EXPECT_EQ(o.Found(Check::kRaceShared), found) << what << o.Text();
    EXPECT_EQ(o.findings.empty(), !found) << what << o.Text();
  }
}

// Whoever wrote an operand by stores or by cp.async makes a proxy fence afterwards.
TEST(WgmmaFaults, WritersWithoutAProxyFence) {
  const Form f{"f16", "f32", 16, {128, false}, {128, false}};
  const std::string fence = "fence.proxy.async.shared::cta;\n";
  Case none = MakeCase(f);
  none.body.erase(none.body.find(fence), fence.size());
  EXPECT_TRUE(RunPtx(none).Found(Check::kRaceShared));
  // By all but one, who wrote the first bytes of A.
  Case others = MakeCase(f);
  others.body.replace(others.body.find(fence), fence.size(),
                      "setp.ne.u32 %p3, %r0, 0;\n@%p3 " + fence);
  EXPECT_TRUE(RunPtx(others).Found(Check::kRaceShared));
  // Before the copy has landed.
  const std::string issue = "mov.u32 %r1, big;\ncp.async.cg.shared.global [%r1], [%d0], 16;\n";
  const std::string land = "cp.async.wait_all;\n";
  for (const bool after : {false, true}) {
    Case copy = MakeCase(f);
    copy.body.insert(copy.body.find(fence) + fence.size(),
                     "bar.sync 0;\nsetp.ne.u32 %p3, %r0, 5;\n@%p3 bra PAST;\n" + issue +
                         (after ? land + fence : fence + land) + "PAST:\n");
    EXPECT_EQ(RunPtx(copy).Found(Check::kRaceShared), !after);
  }
}

TEST(WgmmaFaults, AreFound) {
  const Form f{"f16", "f32", 16, {128, false}, {128, false}};
  Case no_barrier = MakeCase(f);
  no_barrier.body.replace(no_barrier.body.find("bar.sync 0;\n"), 12, "");
  EXPECT_TRUE(RunPtx(no_barrier).Found(Check::kRaceShared));
  Case outside = MakeCase(f);
  outside.body.replace(outside.body.find("wgmma.fence"), 0, "mov.u64 %d22, 0x0000004000013f00;\n");
  EXPECT_TRUE(RunPtx(outside).Found(Check::kOutOfBounds));
  Case different = MakeCase(f);
  different.body.replace(different.body.find("wgmma.fence"), 0,
                         "setp.eq.u32 %p3, %r0, 3;\n@%p3 add.u64 %d22, %d22, 8;\n");
  EXPECT_TRUE(RunPtx(different).Found(Check::kWarpSync));
}

TEST(WgmmaOps, WhatIsNotCoveredIsRefused) {
  const std::string d4 = "{%r1, %r2, %r3, %r4}", rest = " " + d4 + ", %d21, %d22, %p1, 1, 1, 0, 0;";
  const std::string start = "wgmma.mma_async.sync.aligned.";
  for (const std::string& op :
       {start + "m64n8k32.f32.e4m3.e4m3 " + d4 + ", %d21, %d22, %p1, 1, 1;",
        start + "m64n12k16.f32.f16.f16" + rest, start + "m64n264k16.f32.f16.f16" + rest,
        start + "m64n8k8.f32.f16.f16" + rest, start + "m64n16k16.f32.f16.f16" + rest,
        start + "m64n8k16.f32.f16.f16 " + d4 + ", %d21, %d22, %p1, 2, 1, 0, 0;",
        start + "m64n8k16.f32.f16.f16 " + d4 + ", %d21, %d22, %p1, 1, 1;",
        std::string("wgmma.fence.aligned;")}) {
    Case test;
    test.arch = 90;
    test.body = op;
    EXPECT_THROW(RunPtx(test), ptx::Error) << op;
  }
  Case old;
  old.body = start + "m64n8k16.f32.f16.f16" + rest;
  EXPECT_THROW(RunPtx(old), ptx::Error);
}

}  // namespace
}  // namespace softgpu::testing
