// ldmatrix, stmatrix, movmatrix: each element is followed by the manual's rule of which lane holds
// which row and column.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/softgpu/tests/run_ptx.h"

namespace softgpu::testing {
namespace {

// The 16-bit value in row r of matrix m, column c.
uint16_t Value(uint32_t m, uint32_t r, uint32_t c) {
  return static_cast<uint16_t>(1000 * m + 100 * r + c);
}

std::string Registers(uint32_t count, int first) {
  std::string text = "{";
  for (uint32_t m = 0; m < count; ++m) {
    text += (m ? ", %r" : "%r") + std::to_string(first + static_cast<int>(m));
  }
  return text + "}";
}

// %r10 (and %d20, generic): the address of this lane's row, 13 * lane % 32 rows into sm, so that an
// order mistaken for another shows.
constexpr char kRowAddress[] =
    "mul.lo.u32 %r11, %r0, 13;\nand.b32 %r11, %r11, 31;\nmov.u32 %r10, sm;\n"
    "mad.lo.u32 %r10, %r11, 16, %r10;\nmov.u64 %d20, sm;\ncvta.shared.u64 %d20, %d20;\n"
    "mad.wide.u32 %d20, %r11, 16, %d20;\n";

std::string Form(const char* name, uint32_t count, bool trans, bool shared) {
  return std::string(name) + ".sync.aligned.m8n8.x" + std::to_string(count) +
         (trans ? ".trans" : "") + (shared ? ".shared" : "") + ".b16 ";
}

Case LoadCase(uint32_t count, bool trans, bool shared) {
  Case test;
  test.body = kRowAddress + LoadMine(0, "v4.b32", "{%r20, %r21, %r22, %r23}", 16) +
              "st.shared.v4.b32 [%r10], {%r20, %r21, %r22, %r23};\nbar.sync 0;\n";
  if (count < 4) {
    // Lanes beyond the rows may hold any address.
    test.body += "setp.ge.u32 %p1, %r0, " + std::to_string(8 * count) +
                 ";\n@%p1 mov.u32 %r10, 3;\n@%p1 mov.u64 %d20, 3;\n";
  }
  test.body += Form("ldmatrix", count, trans, shared) + Registers(count, 30) + ", [" +
               (shared ? "%r10" : "%d20") + "];\n";
  std::vector<uint16_t> rows;
  for (uint32_t l = 0; l < 32; ++l) {
    for (uint32_t c = 0; c < 8; ++c) rows.push_back(Value(l / 8, l % 8, c));
  }
  test.buffers = {Buffer::Of(rows)};
  for (uint32_t m = 0; m < count; ++m) {
    test.body += StoreMine(static_cast<int>(1 + m), "b32", "%r" + std::to_string(30 + m), 4);
    test.buffers.push_back(Buffer::Blank(128));
  }
  return test;
}

TEST(LdMatrix, EveryForm) {
  for (const uint32_t count : {1u, 2u, 4u}) {
    for (const bool trans : {false, true}) {
      for (const bool shared : {false, true}) {
        const Outcome o = RunPtx(LoadCase(count, trans, shared));
        EXPECT_EQ(o.result.error, 0) << o.Text();
        for (uint32_t m = 0; m < count; ++m) {
          const auto got = o.buffers[1 + m].As<uint16_t>();
          for (uint32_t l = 0; l < 32; ++l) {
            for (uint32_t i = 0; i < 2; ++i) {
              const uint32_t far = l / 4, near = 2 * (l % 4) + i;
              const uint16_t want = trans ? Value(m, near, far) : Value(m, far, near);
              EXPECT_EQ(got[2 * l + i], want) << count << trans << " lane " << l;
            }
          }
        }
      }
    }
  }
}

// As ptxas takes them, and CUTLASS writes them.
TEST(LdMatrix, WordsInTheOtherOrder) {
  Case test = LoadCase(4, true, true);
  const std::string words = ".m8n8.x4";
  test.body.replace(test.body.find(words), words.size(), ".x4.m8n8");
  const Outcome o = RunPtx(test), usual = RunPtx(LoadCase(4, true, true));
  EXPECT_EQ(o.result.error, 0) << o.Text();
  for (int m = 1; m <= 4; ++m) EXPECT_EQ(o.buffers[m].bytes, usual.buffers[m].bytes);
}

TEST(LdMatrix, UnwrittenBytesStayWhereTheyLand) {
  for (const bool trans : {false, true}) {
    Case test = LoadCase(4, trans, true);
    test.buffers[0].written.assign(512, true);
    const uint32_t m = 2, r = 5, c = 3;
    test.buffers[0].written[(8 * m + r) * 16 + 2 * c] = false;  // the lower byte
    const Outcome o = RunPtx(test);
    EXPECT_EQ(o.result.error, 0) << o.Text();
    const uint32_t far = trans ? c : r, near = trans ? r : c;
    const size_t byte = 4 * (4 * far + near / 2) + 2 * (near % 2);
    for (size_t k = 0; k < 4; ++k) {
      for (size_t b = 0; b < 128; ++b) {
        EXPECT_EQ(o.buffers[1 + k].written[b], k != m || b != byte) << trans << k << b;
      }
    }
  }
}

TEST(StMatrix, EveryForm) {
  for (const uint32_t count : {1u, 2u, 4u}) {
    for (const bool trans : {false, true}) {
      for (const bool shared : {false, true}) {
        Case test;
        test.arch = 90;
        test.body = kRowAddress;
        // Register m holds its element's own number: 1000 m + 10 lane + i.
        for (uint32_t m = 0; m < count; ++m) {
          const std::string reg = "%r" + std::to_string(30 + m);
          test.body += "mul.lo.u32 %r12, %r0, 10;\nadd.u32 %r12, %r12, " +
                       std::to_string(1000 * m) +
                       ";\nadd.u32 %r13, %r12, 1;\nshl.b32 %r13, %r13, 16;\nor.b32 " + reg +
                       ", %r12, %r13;\n";
        }
        test.body += Form("stmatrix", count, trans, shared) + "[" + (shared ? "%r10" : "%d20") +
                     "], " + Registers(count, 30) + ";\nbar.sync 0;\n";
        test.body += "setp.ge.u32 %p1, %r0, " + std::to_string(8 * count) +
                     ";\n@%p1 bra END;\nld.shared.v4.b32 {%r20, %r21, %r22, %r23}, [%r10];\n" +
                     StoreMine(0, "v4.b32", "{%r20, %r21, %r22, %r23}", 16) + "END:\n";
        test.buffers = {Buffer::Blank(512)};
        const Outcome o = RunPtx(test);
        EXPECT_EQ(o.result.error, 0) << o.Text();
        for (uint32_t m = 0; m < count; ++m) {
          for (uint32_t r = 0; r < 8; ++r) {
            for (uint32_t c = 0; c < 8; ++c) {
              const uint32_t far = trans ? c : r, near = trans ? r : c;
              const uint32_t lane = 4 * far + near / 2, i = near % 2;
              EXPECT_EQ(o.buffers[0].As<uint16_t>()[(8 * m + r) * 8 + c], 1000 * m + 10 * lane + i)
                  << count << trans << m << r << c;
            }
          }
        }
      }
    }
  }
}

TEST(MovMatrix, Transposes) {
  Case test;
  test.body = LoadMine(0, "b32", "%r1", 4) + "movmatrix.sync.aligned.m8n8.trans.b16 %r2, %r1;\n" +
              StoreMine(1, "b32", "%r2", 4);
  std::vector<uint16_t> matrix;
  for (uint32_t r = 0; r < 8; ++r) {
    for (uint32_t c = 0; c < 8; ++c) matrix.push_back(Value(0, r, c));
  }
  test.buffers = {Buffer::Of(matrix), Buffer::Blank(128)};
  test.buffers[0].written.assign(128, true);
  test.buffers[0].written[2 * (8 * 1 + 6)] = false;
  const Outcome o = RunPtx(test);
  for (uint32_t r = 0; r < 8; ++r) {
    for (uint32_t c = 0; c < 8; ++c) {
      EXPECT_EQ(o.buffers[1].As<uint16_t>()[8 * r + c], Value(0, c, r));
      EXPECT_EQ(o.buffers[1].written[2 * (8 * r + c)], !(r == 6 && c == 1));
    }
  }
}

TEST(MatrixMemoryFaults, AreFound) {
  const std::string load = "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, ";
  const std::pair<std::string, Check> faults[] = {
      {"mov.u32 %r10, sm;\n" + load + "[%r10+8];\n", Check::kMisaligned},
      {"mov.u32 %r10, sm;\n" + load + "[%r10+4096];\n", Check::kOutOfBounds},
      {load + "[%r150];\n", Check::kUninitialised},
      {"ldmatrix.sync.aligned.m8n8.x1.b16 {%r1}, [%d0];\n", Check::kOutOfBounds},
      {"mov.u32 %r10, sm;\nsetp.eq.u32 %p1, %r0, 31;\n@%p1 st.shared.u32 [%r10], 1;\n" + load +
           "[%r10];\n",
       Check::kRaceShared}};
  for (const auto& [body, check] : faults) {
    Case test;
    test.body = body;
    test.buffers = {Buffer::Of(std::vector<uint32_t>(8))};
    const Outcome o = RunPtx(test);
    EXPECT_TRUE(o.Found(check)) << body << o.Text();
  }
}

TEST(MatrixMemoryOps, WhatIsNotCoveredIsRefused) {
  for (const char* op : {"ldmatrix.sync.aligned.m8n8.x3.shared.b16 {%r1, %r2, %r3}, [%r4];",
                         "ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8 {%r1, %r2}, [%r4];",
                         "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1}, [%r4];",
                         "stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r4], {%r1};",
                         "movmatrix.sync.aligned.m8n8.b16 %r1, %r2;"}) {
    Case test;
    test.body = op;
    EXPECT_THROW(RunPtx(test), ptx::Error) << op;
  }
}

}  // namespace
}  // namespace softgpu::testing
