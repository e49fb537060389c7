// What was never written, through every row of the arithmetic's coverage table; and instructions
// under a guard, on the same register twice, and on the clock.
#include <gtest/gtest.h>

#include "tests/softgpu/tests/arithmetic_rows.h"

namespace softgpu::testing {
namespace {

uint32_t Low(int count) { return (1u << count) - 1; }
bool IsOneBit(const std::string& type) { return RegisterBits(type) == 1; }
bool IsPair(const std::string& type) {
  return type.size() > 2 && type.substr(type.size() - 2) == "x2";
}
// The bytes that are stored of a result: predicates and carries become 32-bit numbers.
uint32_t AllOf(const std::string& type) {
  return IsOneBit(type) ? 0xf : Low(RegisterBits(type) / 8);
}
uint32_t Counting(const std::string& type) {
  return IsOneBit(type) ? 1 : Low(std::max(8, TypeBits(type)) / 8);
}

// Sources that say where bits go, or which: unwritten ones make all of the result unwritten.
size_t FirstControl(const std::string& op) {
  if (op == "bfe" || op == "szext" || op == "shl" || op == "shr") return 1;
  if (op == "bfi" || op == "shf" || op == "prmt" || op == "selp" || op == "slct") return 2;
  return 9;
}

// Whether c, which is not known where c_unknown, decides with the comparison.
bool UnknownCombined(const Form& form, bool compared, bool unknown, bool c, bool c_unknown) {
  const bool both = form.Has("and"), either = form.Has("or");
  if (!both && !either && !form.Has("xor")) return unknown;
  bool seen[2] = {false, false};
  for (int setting = 0; setting < 4; ++setting) {
    const bool x = unknown ? (setting & 1) != 0 : compared;
    const bool y = c_unknown ? (setting & 2) != 0 : c;
    seen[both ? x && y : either ? x || y : x != y] = true;
  }
  return seen[0] && seen[1];
}

std::vector<Word> LaneOf(const Inputs& inputs, size_t lane) {
  std::vector<Word> in;
  for (const auto& values : inputs.values) in.push_back(values[lane]);
  return in;
}

// By trying: bytes that differ between some two settings of the unwritten bits.
std::vector<uint32_t> ByTrying(const Form& form, const Inputs& inputs, size_t lane) {
  const size_t n = form.sources.size();
  const size_t control = FirstControl(form.words[0]);
  std::vector<uint32_t> unwritten(form.results.size(), 0);
  std::vector<Expected> first;
  for (uint32_t setting = 0; setting < (1u << n); ++setting) {
    std::vector<Word> in = LaneOf(inputs, lane);
    for (size_t k = 0; k < n; ++k) {
      for (int byte = 0; byte < 16; ++byte) {
        if (!((inputs.unwritten[k][lane] >> byte) & 1)) continue;
        const Word bits = IsOneBit(form.sources[k]) ? Word{1} : Word{0xff} << (8 * byte);
        in[k] = (setting >> k) & 1 ? in[k] | bits : in[k] & ~bits;
        if (k >= control) {
          for (size_t r = 0; r < form.results.size(); ++r) unwritten[r] = AllOf(form.results[r]);
        }
      }
    }
    const auto out = Oracle(form, in);
    if (first.empty()) first = out;
    for (size_t r = 0; r < out.size(); ++r) {
      const Word differs = out[r].bits ^ first[r].bits;
      for (int byte = 0; byte < 16; ++byte) {
        const bool here = ((differs >> (8 * byte)) & 0xff) != 0;
        if (here) unwritten[r] |= IsOneBit(form.results[r]) ? 0xf : 1u << byte;
      }
    }
  }
  return unwritten;
}

// Whether source k's bytes that make part (0: lower, 1: upper, of pairs) of a result are unwritten.
bool PartUnknown(const Form& form, const Inputs& inputs, size_t lane, int part) {
  const bool pairs =
      IsPair(form.types_.empty() ? "" : form.types_.back()) || IsPair(form.types_[0]);
  bool unknown = false;
  for (size_t k = 0; k < form.sources.size(); ++k) {
    const std::string& type = form.sources[k];
    const uint32_t bytes = inputs.unwritten[k][lane] & Counting(type);
    if (type == "pred" && form.words[0].substr(0, 3) == "set") continue;
    if (!pairs) {
      unknown |= bytes != 0;
    } else if (IsPair(type)) {
      const int half = RegisterBits(type) / 16;
      unknown |= ((bytes >> (part * half)) & Low(half)) != 0;
    } else if (static_cast<int>(k) == 1 - part) {  // two f32 into a pair, the first above
      unknown |= bytes != 0;
    }
  }
  return unknown;
}

std::vector<uint32_t> ByRule(const Form& form, const Inputs& inputs, size_t lane) {
  std::vector<uint32_t> unwritten;
  const bool pairs =
      IsPair(form.types_.empty() ? "" : form.types_.back()) || IsPair(form.types_[0]);
  const bool set = form.words[0].substr(0, 3) == "set";
  const bool c = inputs.values.size() > 2 && inputs.values[2][lane] != 0;
  const bool c_unknown = inputs.values.size() > 2 && inputs.unwritten[2][lane] != 0;
  for (size_t r = 0; r < form.results.size(); ++r) {
    const uint32_t all = AllOf(form.results[r]);
    uint32_t bytes = 0;
    for (int part = 0; part < 2; ++part) {
      bool unknown = PartUnknown(form, inputs, lane, part);
      if (set) {
        Form plain = form;  // the comparison without .and, .or, .xor
        if (form.sources.size() > 2) plain.words[2] = "";
        const auto bits = Oracle(plain, LaneOf(inputs, lane))[r].bits;
        const bool compared = form.results[r] == "pred" ? bits != 0
                              : pairs                   ? ((bits >> (16 * part)) & 0xffff) != 0
                                                        : bits != 0;
        unknown = UnknownCombined(form, compared, unknown, c, c_unknown);
      }
      if (!unknown) continue;
      if (!pairs) {
        bytes = all;
      } else if (form.results[r] == "pred") {
        if (part == static_cast<int>(r)) bytes = all;
      } else {
        const int half = RegisterBits(form.results[r]) / 16;
        bytes |= Low(half) << (part * half);
      }
    }
    unwritten.push_back(bytes);
  }
  return unwritten;
}

// lop3 with a predicate: d bit by bit; p is (d != 0) combined with q.
void AddLop3Predicate(const Form& form, const Inputs& inputs, size_t lane,
                      std::vector<uint32_t>& unwritten) {
  Form plain = form;
  plain.results.resize(1);
  plain.words = {"lop3", "b32"};
  const bool nonzero = Oracle(plain, LaneOf(inputs, lane))[0].bits != 0;
  unwritten[1] = UnknownCombined(form, nonzero, unwritten[0] != 0, inputs.values[3][lane] != 0,
                                 inputs.unwritten[3][lane] != 0)
                     ? 0xf
                     : 0;
}

void CheckUnwritten(const Form& form, uint64_t seed, size_t lanes) {
  Inputs inputs = MakeInputs(form, seed, lanes);
  Numbers numbers(seed + 1000);
  for (size_t lane = 0; lane < inputs.lanes(); ++lane) {
    for (size_t k = 0; k < form.sources.size(); ++k) {
      if (numbers.Below(3) != 0) continue;  // most sources are whole
      uint32_t bytes =
          static_cast<uint32_t>(numbers.Next()) & Low(RegisterBits(form.sources[k]) / 8);
      if (form.Has("b128")) bytes &= 0x5555, bytes |= bytes << 1;  // tracked in pairs
      inputs.unwritten[k][lane] = IsOneBit(form.sources[k]) ? numbers.Below(2) : bytes;
    }
  }
  const Outputs outputs = RunForm(form, inputs);
  if (outputs.values.empty()) return;
  for (size_t lane = 0; lane < inputs.lanes(); ++lane) {
    auto expected = form.bits ? ByTrying(form, inputs, lane) : ByRule(form, inputs, lane);
    if (form.words[0] == "lop3" && form.results.size() == 2) {
      AddLop3Predicate(form, inputs, lane, expected);
    }
    for (size_t r = 0; r < form.results.size(); ++r) {
      std::string text;
      for (const auto& masks : inputs.unwritten) text += " " + std::to_string(masks[lane]);
      ASSERT_EQ(outputs.unwritten[r][lane], expected[r])
          << form.mnemonic << " lane " << lane << " result " << r << ", unwritten bytes" << text;
    }
  }
}

class UnwrittenRow : public ::testing::TestWithParam<Row> {};

TEST_P(UnwrittenRow, GoesAsTheTableSays) {
  uint64_t seed = 1;
  const std::vector<Form> forms = Expand(GetParam());
  for (Form form : forms) {
    form.lut = (0xe8 + static_cast<uint32_t>(seed) * 37) & 255;
    CheckUnwritten(form, ++seed, forms.size() > 60 ? 64 : 256);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, UnwrittenRow, ::testing::ValuesIn(ReadRows()));

TEST(Unwritten, ARegisterXoredWithItselfIsWritten) {
  for (const char* op : {"xor.b32", "sub.s32", "xor.b64", "sub.u64"}) {
    const bool wide = std::string(op).find("64") != std::string::npos;
    const std::string reg = wide ? "%d" : "%r";
    Case test;
    test.buffers = {Buffer::Blank(32 * 8), Buffer::Blank(32 * 8)};
    test.body = LoadMine(0, wide ? "b64" : "b32", reg + "30", 8) + op + " " + reg + "31, " + reg +
                "30, " + reg + "30;\n" + StoreMine(1, wide ? "b64" : "b32", reg + "31", 8);
    const Outcome o = RunPtx(test);
    ASSERT_EQ(o.result.error, 0) << o.Text();
    for (size_t l = 0; l < 32; ++l) {
      EXPECT_EQ(o.buffers[1].bytes[8 * l], 0) << op;
      EXPECT_TRUE(o.buffers[1].written[8 * l]) << op;
    }
  }
}

// Lanes that the guard leaves out keep value and state, at every width.
TEST(Guard, LeavesOtherLanesAlone) {
  struct Width {
    const char* reg;
    const char* bits;
    const char* op;
    int bytes;
  };
  for (const Width& w : {Width{"%h", "16", "add.u16", 2}, Width{"%r", "32", "add.u32", 4},
                         Width{"%d", "64", "add.u64", 8}}) {
    const std::string r = w.reg, type = std::string("b") + w.bits;
    const size_t bytes = static_cast<size_t>(w.bytes);
    Case test;
    std::vector<uint8_t> ones(32 * bytes, 0);
    for (size_t l = 0; l < 32; ++l) ones[l * bytes] = static_cast<uint8_t>(l);
    test.buffers = {Buffer::Of(ones), Buffer::Blank(32 * bytes), Buffer::Blank(32 * bytes)};
    test.body = LoadMine(0, type, r + "30", w.bytes) + LoadMine(1, type, r + "31", w.bytes) +
                "and.b32 %r50, %r0, 5;\nsetp.eq.u32 %p1, %r50, 1;\n@%p1 " + w.op + " " + r +
                "31, " + r + "30, " + r + "30;\n" + StoreMine(2, type, r + "31", w.bytes);
    const Outcome o = RunPtx(test);
    ASSERT_EQ(o.result.error, 0) << o.Text();
    for (size_t l = 0; l < 32; ++l) {
      const bool ran = (l & 5) == 1;
      for (size_t b = 0; b < bytes; ++b) {
        EXPECT_EQ(o.buffers[2].written[l * bytes + b], ran) << w.op << " lane " << l;
      }
      if (ran) {
        EXPECT_EQ(o.buffers[2].bytes[l * bytes], 2 * l);
      }
    }
  }
}

TEST(Clock, GoesOn) {
  Case test;
  test.buffers = {Buffer::Blank(32 * 8)};
  test.body =
      "mov.u64 %d30, %clock64;\nmov.u32 %r30, %clock;\nmov.u32 %r31, %clock_hi;\n"
      "mov.u64 %d31, %globaltimer;\nadd.u32 %r32, %r30, %r31;\nmov.u64 %d32, %clock64;\n"
      "sub.u64 %d33, %d32, %d30;\n" +
      StoreMine(0, "b64", "%d33", 8);
  const Outcome o = RunPtx(test);
  ASSERT_EQ(o.result.error, 0) << o.Text();
  for (size_t l = 0; l < 32; ++l) {
    EXPECT_EQ(o.buffers[0].As<uint64_t>()[l], 5u);  // an instruction is a tick
    EXPECT_TRUE(o.buffers[0].Written<uint64_t>(l));
  }
}

}  // namespace
}  // namespace softgpu::testing
