// mma.sync in every shape and type: fragments are filled element by element with the manual's
// layout formulas, results compared with a product in double (integers: exact).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tests/softgpu/tests/run_ptx.h"
#include "tests/softgpu/tests/small_floats.h"

namespace softgpu::testing {
namespace {

struct Position {
  int row, column;
};
// (group, thread in group, element) -> place in the matrix.
using Layout = std::function<Position(int g, int t, int i)>;

struct Fragment {
  int elements;  // of a lane
  int bytes;     // of an element
  Layout at;
  int registers() const { return elements * bytes / register_bytes(); }
  int register_bytes() const { return bytes == 8 ? 8 : 4; }
};

enum class Kind { kF16, kBF16, kTF32, kF32, kF64, kS8, kU8, kS32 };

struct Shape {
  std::string words;  // after mma.sync.aligned.
  int m, k;           // n is 8
  Kind a_kind, b_kind, c_kind;
  Fragment a, b, c;
};
void PrintTo(const Shape& s, std::ostream* out) { *out << s.words; }

Position AccumulatorAt(int g, int t, int i) { return {i < 2 ? g : g + 8, 2 * t + (i & 1)}; }

std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  const Fragment f32_sums{4, 4, AccumulatorAt}, f16_sums{4, 2, AccumulatorAt};
  const Fragment a16_k16{8, 2, [](int g, int t, int i) {
                           return Position{i < 2 || (i >= 4 && i < 6) ? g : g + 8,
                                           i < 4 ? 2 * t + (i & 1) : 2 * t + (i & 1) + 8};
                         }};
  const Fragment b16_k16{4, 2, [](int g, int t, int i) {
                           return Position{i < 2 ? 2 * t + (i & 1) : 2 * t + (i & 1) + 8, g};
                         }};
  const Fragment a16_k8{4, 2, [](int g, int t, int i) {
                          return Position{i < 2 ? g : g + 8, 2 * t + (i & 1)};
                        }};
  const Fragment b16_k8{2, 2, [](int g, int t, int i) { return Position{2 * t + i, g}; }};
  const auto add16 = [&](const std::string& type, Kind kind) {
    const std::string types = ".f32." + type + "." + type + ".f32";
    shapes.push_back(
        {"m16n8k16.row.col" + types, 16, 16, kind, kind, Kind::kF32, a16_k16, b16_k16, f32_sums});
    shapes.push_back(
        {"m16n8k8.row.col" + types, 16, 8, kind, kind, Kind::kF32, a16_k8, b16_k8, f32_sums});
  };
  add16("f16", Kind::kF16);
  add16("bf16", Kind::kBF16);
  shapes.push_back({"m16n8k16.row.col.f16.f16.f16.f16", 16, 16, Kind::kF16, Kind::kF16, Kind::kF16,
                    a16_k16, b16_k16, f16_sums});
  shapes.push_back({"m16n8k8.row.col.f16.f16.f16.f16", 16, 8, Kind::kF16, Kind::kF16, Kind::kF16,
                    a16_k8, b16_k8, f16_sums});
  const Fragment a32_k4{2, 4, [](int g, int t, int i) { return Position{i == 0 ? g : g + 8, t}; }};
  const Fragment b32_k4{1, 4, [](int g, int t, int) { return Position{t, g}; }};
  const Fragment a32_k8{4, 4, [](int g, int t, int i) {
                          return Position{i == 0 || i == 2 ? g : g + 8, i < 2 ? t : t + 4};
                        }};
  const Fragment b32_k8{2, 4, [](int g, int t, int i) { return Position{i == 0 ? t : t + 4, g}; }};
  shapes.push_back({"m16n8k4.row.col.f32.tf32.tf32.f32", 16, 4, Kind::kTF32, Kind::kTF32,
                    Kind::kF32, a32_k4, b32_k4, f32_sums});
  shapes.push_back({"m16n8k8.row.col.f32.tf32.tf32.f32", 16, 8, Kind::kTF32, Kind::kTF32,
                    Kind::kF32, a32_k8, b32_k8, f32_sums});
  const Fragment a8_k16{8, 1, [](int g, int t, int i) {
                          return Position{i < 4 ? g : g + 8, 4 * t + (i & 3)};
                        }};
  const Fragment b8_k16{4, 1, [](int g, int t, int i) { return Position{4 * t + (i & 3), g}; }};
  const Fragment a8_k32{16, 1, [](int g, int t, int i) {
                          return Position{i < 4 || (i >= 8 && i < 12) ? g : g + 8,
                                          i < 8 ? 4 * t + (i & 3) : 4 * t + (i & 3) + 16};
                        }};
  const Fragment b8_k32{8, 1, [](int g, int t, int i) {
                          return Position{i < 4 ? 4 * t + (i & 3) : 4 * t + (i & 3) + 16, g};
                        }};
  for (const std::string sat : {"", ".satfinite"}) {
    for (const Kind a : {Kind::kS8, Kind::kU8}) {
      for (const Kind b : {Kind::kS8, Kind::kU8}) {
        const std::string types = sat + ".s32." + (a == Kind::kS8 ? "s8" : "u8") + "." +
                                  (b == Kind::kS8 ? "s8" : "u8") + ".s32";
        shapes.push_back(
            {"m16n8k16.row.col" + types, 16, 16, a, b, Kind::kS32, a8_k16, b8_k16, f32_sums});
        shapes.push_back(
            {"m16n8k32.row.col" + types, 16, 32, a, b, Kind::kS32, a8_k32, b8_k32, f32_sums});
      }
    }
  }
  shapes.push_back({"m8n8k4.row.col.f64.f64.f64.f64.rn",
                    8,
                    4,
                    Kind::kF64,
                    Kind::kF64,
                    Kind::kF64,
                    {1, 8,
                     [](int g, int t, int) {
                       return Position{g, t};
                     }},
                    {1, 8,
                     [](int g, int t, int) {
                       return Position{t, g};
                     }},
                    {2, 8, [](int g, int t, int i) {
                       return Position{g, 2 * t + (i & 1)};
                     }}});
  return shapes;
}

uint64_t Encode(Kind kind, double x) {
  switch (kind) {
    case Kind::kF16:
      return SmallFloat::F16().Nearest(x);
    case Kind::kBF16:
      return SmallFloat::BF16().Nearest(x);
    case Kind::kF64: {
      uint64_t bits;
      std::memcpy(&bits, &x, 8);
      return bits;
    }
    case Kind::kTF32:
    case Kind::kF32: {
      const float f = static_cast<float>(x);
      uint32_t bits;
      std::memcpy(&bits, &f, 4);
      return bits;
    }
    default:
      return static_cast<uint64_t>(static_cast<int64_t>(x));
  }
}
double Decode(Kind kind, uint64_t bits) {
  switch (kind) {
    case Kind::kF16:
      return SmallFloat::F16().Value(static_cast<uint16_t>(bits));
    case Kind::kBF16:
      return SmallFloat::BF16().Value(static_cast<uint16_t>(bits));
    case Kind::kF64: {
      double d;
      std::memcpy(&d, &bits, 8);
      return d;
    }
    case Kind::kTF32:
      bits &= 0xffffe000;  // 10 digits of the mantissa count
      [[fallthrough]];
    case Kind::kF32: {
      float f;
      const uint32_t low = static_cast<uint32_t>(bits);
      std::memcpy(&f, &low, 4);
      return f;
    }
    case Kind::kS8:
      return static_cast<int8_t>(bits);
    case Kind::kU8:
      return static_cast<uint8_t>(bits);
    default:
      return static_cast<int32_t>(bits);
  }
}

// A matrix with its bits: what an instruction sees.
struct Matrix {
  int columns;
  std::vector<uint64_t> bits;
  uint64_t& At(Position p) { return bits[static_cast<size_t>(p.row * columns + p.column)]; }
};
Matrix RandomMatrix(Kind kind, int rows, int columns, Numbers& numbers, bool large) {
  Matrix matrix{columns, {}};
  for (int e = 0; e < rows * columns; ++e) {
    double x = static_cast<double>(numbers.Below(1 << 16)) / (1 << 14) - 2;  // [-2, 2)
    if (kind == Kind::kS8) x = static_cast<int8_t>(numbers.Next());
    if (kind == Kind::kU8) x = static_cast<uint8_t>(numbers.Next());
    if (kind == Kind::kS32) {
      x = large ? (e % 2 ? 2147483647.0 : -2147483648.0)
                : static_cast<double>(static_cast<int32_t>(numbers.Next()) / 4);
    }
    matrix.bits.push_back(Encode(kind, x));
    // tf32 operands come as f32 whose low bits are not clear.
    if (kind == Kind::kTF32) matrix.bits.back() |= numbers.Below(1 << 13);
  }
  return matrix;
}

// Register r of lane l at (r * 32 + l) * register_bytes.
Buffer Pack(const Fragment& f, Matrix& m) {
  Buffer b;
  b.bytes.resize(static_cast<size_t>(32 * f.elements * f.bytes));
  for (int l = 0; l < 32; ++l) {
    for (int i = 0; i < f.elements; ++i) {
      const int in_lane = i * f.bytes, width = f.register_bytes();
      const size_t at = static_cast<size_t>((in_lane / width * 32 + l) * width + in_lane % width);
      std::memcpy(&b.bytes[at], &m.At(f.at(l / 4, l % 4, i)), static_cast<size_t>(f.bytes));
    }
  }
  return b;
}
size_t ByteOf(const Fragment& f, int lane, int i) {
  const int in_lane = i * f.bytes, width = f.register_bytes();
  return static_cast<size_t>((in_lane / width * 32 + lane) * width + in_lane % width);
}

std::string Load(int buffer, const std::string& reg, int first, int count, int bytes) {
  std::string text, b = std::to_string(8 * bytes);
  for (int r = 0; r < count; ++r) {
    text += "mad.wide.u32 %d59, %r0, " + std::to_string(bytes) + ", %d" + std::to_string(buffer) +
            ";\nld.global.b" + b + " " + reg + std::to_string(first + r) + ", [%d59+" +
            std::to_string(32 * bytes * r) + "];\n";
  }
  return text;
}
std::string Set(const std::string& reg, int first, int count) {
  std::string text = "{";
  for (int r = 0; r < count; ++r) text += (r ? ", " : "") + reg + std::to_string(first + r);
  return text + "}";
}
Case MmaCase(const Shape& s, Matrix& a, Matrix& b, Matrix& c) {
  const std::string ab = s.a.bytes == 8 ? "%d" : "%r", cd = s.c.bytes == 8 ? "%d" : "%r";
  const int na = s.a.registers(), nb = s.b.registers(), nc = s.c.registers();
  Case test;
  test.body = Load(0, ab, 20, na, s.a.register_bytes()) +
              Load(1, ab, 30, nb, s.b.register_bytes()) + Load(2, cd, 40, nc, s.c.register_bytes());
  // The first register of C is that of D, as it mostly is in loops; the others are apart.
  test.body += "mma.sync.aligned." + s.words + " " + Set(cd, 40, nc) + ", " + Set(ab, 20, na) +
               ", " + Set(ab, 30, nb) + ", " + Set(cd, 40, nc) + ";\n";
  for (int r = 0; r < nc; ++r) {
    test.body += "mad.wide.u32 %d59, %r0, " + std::to_string(s.c.register_bytes()) +
                 ", %d3;\nst.global.b" + std::to_string(8 * s.c.register_bytes()) + " [%d59+" +
                 std::to_string(32 * s.c.register_bytes() * r) + "], " + cd +
                 std::to_string(40 + r) + ";\n";
  }
  test.buffers = {Pack(s.a, a), Pack(s.b, b), Pack(s.c, c)};
  test.buffers.push_back(Buffer::Blank(test.buffers[2].bytes.size()));
  return test;
}
double ResultAt(const Shape& s, const Outcome& o, int lane, int i) {
  uint64_t bits = 0;
  std::memcpy(&bits, &o.buffers[3].bytes[ByteOf(s.c, lane, i)], static_cast<size_t>(s.c.bytes));
  return Decode(s.c_kind, bits);
}

class Mma : public ::testing::TestWithParam<Shape> {};

TEST_P(Mma, EqualsAProductInDouble) {
  const Shape s = GetParam();
  const bool integers = s.c_kind == Kind::kS32, saturates = s.words.find("sat") != s.words.npos;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    Numbers numbers(seed);
    Matrix a = RandomMatrix(s.a_kind, s.m, s.k, numbers, false);
    Matrix b = RandomMatrix(s.b_kind, s.k, 8, numbers, false);
    Matrix c = RandomMatrix(s.c_kind, s.m, 8, numbers, seed > 3);
    const Outcome o = RunPtx(MmaCase(s, a, b, c));
    EXPECT_EQ(o.result.error, 0) << o.Text();
    for (int l = 0; l < 32; ++l) {
      for (int i = 0; i < s.c.elements; ++i) {
        const Position p = s.c.at(l / 4, l % 4, i);
        double want = Decode(s.c_kind, c.At(p)), magnitude = std::fabs(want);
        for (int k = 0; k < s.k; ++k) {
          const double product =
              Decode(s.a_kind, a.At({p.row, k})) * Decode(s.b_kind, b.At({k, p.column}));
          want += product;
          magnitude += std::fabs(product);
        }
        if (integers && saturates) {
          want = std::min(std::max(want, -2147483648.0), 2147483647.0);
        } else if (integers) {
          want = static_cast<int32_t>(static_cast<uint32_t>(static_cast<int64_t>(want)));
        }
        // k + 1 roundings to f32 of sums no larger than magnitude; one to f16 where that is the
        // result; none for integers. f64: the oracle rounds as often.
        const double digits = s.c_kind == Kind::kF64 ? 0x1p-53 : 0x1p-24;
        double tolerance = integers ? 0 : (s.k + 1) * 2 * digits * magnitude;
        if (s.c_kind == Kind::kF16) tolerance += 0x1p-11 * std::fabs(want);
        EXPECT_NEAR(ResultAt(s, o, l, i), want, tolerance) << s.words << " " << l << " " << i;
        EXPECT_TRUE(o.buffers[3].written[ByteOf(s.c, l, i)]);
      }
    }
  }
}

// One unwritten element of A spoils its row, of B its column, of C itself, and nothing else.
TEST_P(Mma, UnwrittenElementsSpread) {
  const Shape s = GetParam();
  Numbers numbers(7);
  Matrix a = RandomMatrix(s.a_kind, s.m, s.k, numbers, false);
  Matrix b = RandomMatrix(s.b_kind, s.k, 8, numbers, false);
  Matrix c = RandomMatrix(s.c_kind, s.m, 8, numbers, false);
  const Fragment* fragments[] = {&s.a, &s.b, &s.c};
  for (size_t which = 0; which < 3; ++which) {
    const Fragment& f = *fragments[which];
    const int lane = 13, element = f.elements - 1;
    const Position bad = f.at(lane / 4, lane % 4, element);
    Case test = MmaCase(s, a, b, c);
    test.buffers[which].written.assign(test.buffers[which].bytes.size(), true);
    test.buffers[which].written[ByteOf(f, lane, element)] = false;
    const Outcome o = RunPtx(test);
    EXPECT_TRUE(o.findings.empty()) << o.Text();
    for (int l = 0; l < 32; ++l) {
      for (int i = 0; i < s.c.elements; ++i) {
        const Position p = s.c.at(l / 4, l % 4, i);
        bool spoilt = which == 0   ? p.row == bad.row
                      : which == 1 ? p.column == bad.column
                                   : p.row == bad.row && p.column == bad.column;
        EXPECT_EQ(o.buffers[3].written[ByteOf(s.c, l, i)], !spoilt) << which << l << i;
      }
    }
  }
}
std::string NameOf(const ::testing::TestParamInfo<Shape>& info) {
  std::string name = info.param.words;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Shapes, Mma, ::testing::ValuesIn(Shapes()), NameOf);

TEST(MmaValues, InfinityAndSubnormals) {
  const Shape s = Shapes()[0];
  Matrix a{16, std::vector<uint64_t>(256, 0)}, b{8, std::vector<uint64_t>(128, 0)};
  Matrix c{8, std::vector<uint64_t>(128, 0)};
  a.At({0, 0}) = 0x7c00;                                      // infinity
  a.At({1, 0}) = 0x0001;                                      // 2^-24
  a.At({2, 0}) = 0x7bff;                                      // 65504
  a.At({3, 0}) = 0x7e00;                                      // NaN
  for (int n = 0; n < 8; ++n) b.At({0, n}) = n ? 0x4000 : 0;  // 2, but column 0
  const Outcome o = RunPtx(MmaCase(s, a, b, c));
  EXPECT_TRUE(std::isnan(ResultAt(s, o, 0, 0)));  // infinity times 0
  EXPECT_EQ(ResultAt(s, o, 0, 1), std::numeric_limits<double>::infinity());
  EXPECT_EQ(ResultAt(s, o, 4, 1), 0x1p-23);
  EXPECT_EQ(ResultAt(s, o, 8, 1), 131008);
  EXPECT_TRUE(std::isnan(ResultAt(s, o, 12, 0)));
  EXPECT_EQ(ResultAt(s, o, 16, 1), 0);
}

TEST(MmaFaults, PartOfAWarpIsFound) {
  Case test;
  test.body =
      "setp.lt.u32 %p1, %r0, 16;\nmov.u32 %r1, 0;\n@!%p1 bra END;\n"
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%r2, %r3, %r4, %r5}, {%r1, %r1}, {%r1}, "
      "{%r1, %r1, %r1, %r1};\nEND:\n";
  EXPECT_TRUE(RunPtx(test).Found(Check::kWarpSync));
}

TEST(MmaOps, WhatIsNotCoveredIsRefused) {
  for (const char* words :
       {"m8n8k32.row.col.s32.s4.s4.s32", "m16n8k256.row.col.s32.b1.b1.s32.and.popc",
        "m16n8k16.row.col.satfinite.f32.f16.f16.f32", "m16n8k16.row.row.f32.f16.f16.f32",
        "m16n8k16.row.col.f32.f16.bf16.f32", "m16n8k32.row.col.f32.e4m3.e4m3.f32"}) {
    Case test;
    test.body = std::string("mma.sync.aligned.") + words +
                " {%r1, %r2, %r3, %r4}, {%r5, %r6, %r7, %r8}, {%r9, %r10}, {%r1, %r2, %r3, %r4};";
    EXPECT_THROW(RunPtx(test), ptx::Error) << words;
  }
  Case test;
  test.body =
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r1, %r2, %r3, %r4}, {%r5, %r6, %r7}, "
      "{%r9, %r10}, {%r1, %r2, %r3, %r4};";
  EXPECT_THROW(RunPtx(test), ptx::Error);
}

}  // namespace
}  // namespace softgpu::testing
