// ld, st and the address instructions: every element type and vector width against plain memory,
// and a fault of every kind that memory has, planted and located.
#include <gtest/gtest.h>

#include "tests/softgpu/tests/run_ptx.h"

namespace softgpu::testing {
namespace {

std::vector<uint8_t> RandomBytes(size_t n, uint64_t seed) {
  Numbers numbers(seed);
  std::vector<uint8_t> bytes(n);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(numbers.Next());
  return bytes;
}

struct Width {
  const char* type;
  int bytes;
  const char* reg;  // prefix of the register
  int vector;
};

// Loads from `space` at the address in %d30 and stores it as it is.
std::string Move(const Width& w, const std::string& load_space, const std::string& store_space,
                 const std::string& from, const std::string& to) {
  std::string regs;
  for (int k = 0; k < w.vector; ++k) {
    regs += (k ? ", " : "") + std::string(w.reg) + std::to_string(20 + k);
  }
  const std::string vector = w.vector == 1 ? "" : ".v" + std::to_string(w.vector);
  const std::string list = w.vector == 1 ? regs : "{" + regs + "}";
  return "ld" + load_space + vector + "." + w.type + " " + list + ", [" + from + "];\nst" +
         store_space + vector + "." + w.type + " [" + to + "], " + list + ";\n";
}

constexpr Width kWidths[] = {
    {"u8", 1, "%h", 1},  {"b8", 1, "%r", 1},  {"s8", 1, "%r", 1},  {"u16", 2, "%h", 1},
    {"s16", 2, "%r", 1}, {"b16", 2, "%h", 4}, {"b32", 4, "%r", 1}, {"f32", 4, "%f", 1},
    {"u32", 4, "%r", 2}, {"f32", 4, "%f", 4}, {"b64", 8, "%d", 1}, {"f64", 8, "%e", 1},
    {"u64", 8, "%d", 2}, {"u8", 1, "%h", 4},  {"u8", 1, "%r", 2},  {"b128", 16, "%q", 1},
};

std::string RegisterFix(std::string body) {
  // 128-bit registers have low numbers.
  for (size_t at; (at = body.find("%q2")) != std::string::npos;) body.erase(at + 2, 1);
  return body;
}

TEST(MemoryOps, EveryWidthThroughGlobalSharedLocalAndGeneric) {
  for (const Width& w : kWidths) {
    const int lane_bytes = w.bytes * w.vector;
    const std::string scale = std::to_string(lane_bytes);
    // global -> shared -> local (generic) -> global; lanes 5 apart in the second half, so that both
    // the contiguous and the scattered path run.
    Case c;
    c.threads = 64;
    c.buffers = {Buffer::Of(RandomBytes(static_cast<size_t>(64 * lane_bytes), 7)),
                 Buffer::Blank(static_cast<size_t>(64 * lane_bytes))};
    std::string body =
        ".local .align 16 .b8 room[64];\n"
        "mul.lo.u32 %r1, %r0, 5;\nand.b32 %r1, %r1, 31;\nand.b32 %r2, %r0, 32;\n"
        "setp.lt.u32 %p0, %r0, 32;\nselp.b32 %r3, %r0, %r1, %p0;\nor.b32 %r3, %r3, %r2;\n"
        "mad.wide.u32 %d30, %r3, " +
        scale + ", %d0;\nmad.wide.u32 %d31, %r3, " + scale +
        ", %d1;\n"
        "mul.lo.u32 %r4, %r3, " +
        scale +
        ";\nmov.u32 %r5, sm;\nadd.u32 %r4, %r4, %r5;\n"
        "cvt.u64.u32 %d32, %r4;\ncvta.shared.u64 %d33, %d32;\n"
        "mov.u64 %d34, room;\ncvta.local.u64 %d35, %d34;\n";
    body += RegisterFix(Move(w, ".global", ".shared", "%d30", "%r4") +
                        Move(w, "", "", "%d33", "%d35+16") +
                        Move(w, ".local", ".global", "%d34+16", "%d31"));
    c.body = body;
    const Outcome o = RunPtx(c);
    ASSERT_EQ(o.result.error, 0) << w.type << " v" << w.vector << o.Text();
    EXPECT_EQ(o.buffers[1].bytes, c.buffers[0].bytes) << w.type << " v" << w.vector;
  }
}

TEST(MemoryOps, NarrowLoadsExtendByTheirSign) {
  Case c;
  c.buffers = {Buffer::Of(RandomBytes(32, 3)), Buffer::Blank(32 * 16)};
  c.body = LoadMine(0, "s8", "%r1", 1) + LoadMine(0, "u8", "%r2", 1) +
           LoadMine(0, "s8", "%d20", 1) +
           "mad.wide.u32 %d59, %r0, 16, %d1;\nst.global.u32 [%d59], %r1;\n"
           "st.global.u32 [%d59+4], %r2;\nst.global.u64 [%d59+8], %d20;\n";
  const Outcome o = RunPtx(c);
  ASSERT_EQ(o.result.error, 0) << o.Text();
  for (size_t k = 0; k < 32; ++k) {
    const int8_t byte = static_cast<int8_t>(c.buffers[0].bytes[k]);
    int32_t narrow, plain;
    int64_t wide;
    std::memcpy(&narrow, &o.buffers[1].bytes[16 * k], 4);
    std::memcpy(&plain, &o.buffers[1].bytes[16 * k + 4], 4);
    std::memcpy(&wide, &o.buffers[1].bytes[16 * k + 8], 8);
    EXPECT_EQ(narrow, byte);
    EXPECT_EQ(plain, static_cast<uint8_t>(byte));
    EXPECT_EQ(wide, byte);
  }
}

// Bytes that were never written may be copied, and stay so byte by byte.
TEST(MemoryOps, UnwrittenBytesAreFollowedThroughCopies) {
  Case c;
  Buffer source = Buffer::Of(RandomBytes(32 * 8, 9));
  source.written.assign(32 * 8, true);
  for (size_t k = 0; k < 32; ++k) source.written[8 * k + k % 8] = false;
  c.buffers = {source, Buffer::Blank(32 * 8)};
  c.body = LoadMine(0, "b64", "%d20", 8) +
           "mov.u32 %r9, sm;\nmad.lo.u32 %r9, %r0, 8, %r9;\nst.shared.b64 [%r9], %d20;\n"
           "ld.shared.v2.b32 {%r1, %r2}, [%r9];\nmov.b64 %d21, {%r1, %r2};\n" +
           StoreMine(1, "b64", "%d21", 8);
  const Outcome o = RunPtx(c);
  ASSERT_EQ(o.result.error, 0) << o.Text();
  EXPECT_EQ(o.buffers[1].written, source.written);
}

struct Fault {
  const char* name;
  std::string body;
  Check check;
  int error;
  const char* says;
};

// Line of the body where "FAULT" stands as a comment.
int FaultLine(const Case& c) {
  const std::string text = KernelText(c);
  const size_t at = text.find("// FAULT");
  return 1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<long>(at), '\n'));
}

TEST(MemoryOps, FaultsAreCaughtAndLocated) {
  const std::string mine = "mad.wide.u32 %d59, %r0, 4, %d0;\n";
  const Fault faults[] = {
      {"past the end", mine + "ld.global.u32 %r1, [%d59+4]; // FAULT\n", Check::kOutOfBounds, 700,
       "0 bytes past the end of buffer (128 bytes"},
      {"before the start", mine + "st.global.u32 [%d59+-4], %r0; // FAULT\n", Check::kOutOfBounds,
       700, "4 bytes before buffer"},
      {"null", "mov.u64 %d20, 0;\nld.u32 %r1, [%d20]; // FAULT\n", Check::kOutOfBounds, 700,
       "null pointer"},
      {"half outside", mine + "ld.global.v2.u32 {%r1, %r2}, [%d0+124]; // FAULT\n",
       Check::kMisaligned, 716, "no multiple of 8"},
      {"odd address", "ld.global.u32 %r1, [%d0+2]; // FAULT\n", Check::kMisaligned, 716,
       "no multiple of 4"},
      {"shared past the end", "mov.u32 %r9, sm;\nld.shared.u32 %r1, [%r9+4096]; // FAULT\n",
       Check::kOutOfBounds, 700, "outside of the block's 4096 bytes"},
      {"shared null", "mov.u32 %r9, 0;\nst.shared.u32 [%r9], %r0; // FAULT\n", Check::kOutOfBounds,
       700, "outside of the block's"},
      {"shared odd", "mov.u32 %r9, sm;\nst.shared.u64 [%r9+4], %d0; // FAULT\n", Check::kMisaligned,
       716, "no multiple of 8"},
      {"local past the end",
       ".local .align 8 .b8 room[16];\nmov.u64 %d20, room;\nmul.wide.u32 %d21, %r0, 4;\n"
       "add.u64 %d20, %d20, %d21;\nst.local.u32 [%d20], %r0; // FAULT\n",
       Check::kOutOfBounds, 700, "outside of the thread's 16 bytes"},
      {"parameters written", "mov.u64 %d20, b0;\nst.u32 [%d20], %r0; // FAULT\n",
       Check::kOutOfBounds, 700, "parameters cannot be written"},
      {"an address never written",
       "add.u64 %d20, %d20, %d0;\nld.global.u32 %r1, [%d20]; // FAULT\n", Check::kUninitialised,
       719, "an address depends on a value that was never written"},
      {"a branch on a register never written",
       "setp.eq.u32 %p0, %r7, 1;\n@%p0 bra A; // FAULT\nA:\n", Check::kUninitialised, 719,
       "a branch depends on a value"},
      {"a branch on shared memory never written",
       "mov.u32 %r9, sm;\nld.shared.u32 %r1, [%r9];\nadd.u32 %r1, %r1, 5;\nsetp.eq.u32 %p0, %r1, "
       "1;\n"
       "@%p0 bra A; // FAULT\nA:\n",
       Check::kUninitialised, 719, "a branch depends on a value"},
      {"lanes store different values to one place",
       "mov.u32 %r9, sm;\nst.shared.u32 [%r9], %r0; // FAULT\n", Check::kRaceShared, 719,
       "lanes of one store write different values"},
  };
  for (const Fault& fault : faults) {
    Case c;
    c.body = fault.body;
    c.buffers = {Buffer::Of(std::vector<uint32_t>(32, 1))};
    const Outcome o = RunPtx(c);
    EXPECT_EQ(o.result.error, fault.error) << fault.name << o.Text();
    bool found = false;
    for (const Finding& f : o.findings) {
      found |= f.check == fault.check && f.place.ptx_line == FaultLine(c) &&
               f.text.find(fault.says) != std::string::npos;
    }
    EXPECT_TRUE(found) << fault.name << ":" << o.Text();
  }
}

TEST(MemoryOps, TheSameWithoutTheFaultPasses) {
  const std::string mine = "mad.wide.u32 %d59, %r0, 4, %d0;\n";
  const std::string bodies[] = {
      mine + "ld.global.u32 %r1, [%d59];\nst.global.u32 [%d59], %r1;\n",
      "ld.global.v2.u32 {%r1, %r2}, [%d0+120];\n",
      "mov.u32 %r9, sm;\nmov.u32 %r1, 4;\nst.shared.u32 [%r9+4092], %r1;\n",
      ".local .align 8 .b8 room[128];\nmov.u64 %d20, room;\nmul.wide.u32 %d21, %r0, 4;\n"
      "add.u64 %d20, %d20, %d21;\nst.local.u32 [%d20], %r0;\n",
      // Never written, but nobody asks.
      "add.u32 %r1, %r7, 5;\nmov.u32 %r9, sm;\nmad.lo.u32 %r9, %r0, 4, %r9;\nst.shared.u32 [%r9], "
      "%r1;\n"
      "xor.b32 %r2, %r1, %r1;\nsetp.eq.u32 %p0, %r2, 0;\n@%p0 bra A;\nA:\n",
      // One value from all lanes.
      "mov.u32 %r9, sm;\nmov.u32 %r1, 7;\nst.shared.u32 [%r9], %r1;\n",
  };
  for (const std::string& body : bodies) {
    Case c;
    c.body = body;
    c.buffers = {Buffer::Of(std::vector<uint32_t>(32, 1))};
    const Outcome o = RunPtx(c);
    EXPECT_EQ(o.result.error, 0) << body << o.Text();
  }
}

TEST(MemoryOps, FreedMemoryIsToldFromOtherMemory) {
  Options options;
  options.memory = uint64_t{64} << 20;
  Case c;
  c.buffers = {Buffer::Of(std::vector<uint32_t>(32, 1))};
  c.body = "ld.global.u32 %r1, [%d0];\n";
  Device device(options);
  Module module(device, ptx::Parse(KernelText(c)));
  const uint64_t at = device.memory().Allocate(128, "buffer");
  device.memory().Free(at);
  const LaunchConfig config = ConfigOf(module, {at});
  EXPECT_EQ(device.Run(config).error, 700);
  ASSERT_EQ(device.findings().count(), 1u);
  EXPECT_EQ(device.findings().all()[0].check, Check::kUseAfterFree);
  EXPECT_NE(device.findings().all()[0].text.find("freed"), std::string::npos);
}

// Far more is allocated and freed than there are addresses.
TEST(MemoryOps, LivingAllocationsNeverMeet) {
  constexpr uint64_t kCapacity = 1 << 20;
  DeviceMemory memory(kCapacity);
  Numbers numbers(11);
  std::vector<uint64_t> living;
  for (int step = 0; step < 2000; ++step) {
    if (living.size() > 8 || (!living.empty() && numbers.Below(3) == 0)) {
      const size_t k = numbers.Below(static_cast<uint32_t>(living.size()));
      EXPECT_EQ(memory.Free(living[k]), DeviceMemory::FreeResult::kOk) << "step " << step;
      living.erase(living.begin() + static_cast<std::ptrdiff_t>(k));
    }
    living.push_back(memory.Allocate(1 + numbers.Below(kCapacity / 10), "buffer"));
    ASSERT_NE(living.back(), 0u) << "step " << step;
    uint64_t end = 0;
    for (const auto& [start, allocation] : memory.living()) {
      ASSERT_GE(start, end) << "step " << step;
      ASSERT_TRUE(memory.IsAllocated(start, allocation.bytes)) << "step " << step;
      end = start + allocation.bytes;
    }
  }
}

TEST(MemoryOps, FreedAddressesStayFreeWhileThereIsRoom) {
  constexpr uint64_t kCapacity = 1 << 20;
  DeviceMemory memory(kCapacity);
  const uint64_t low = memory.Allocate(kCapacity / 8, "low");
  for (int round = 0; round < 3; ++round) {
    const uint64_t stale = memory.Allocate(kCapacity / 8, "stale");
    memory.Free(stale);
    // The range is four times the capacity: here, two of them.
    for (int i = 0; i < 16; ++i) {
      const uint64_t passing = memory.Allocate(kCapacity / 8, "passing");
      EXPECT_NE(passing, stale) << round << ": " << i;
      memory.Free(passing);
    }
    EXPECT_EQ(memory.Nearest(stale).label, "stale") << round;
    EXPECT_TRUE(memory.Nearest(stale).freed) << round;
  }
  EXPECT_FALSE(memory.Nearest(low).freed);
}

TEST(MemoryOps, ChecksCanBeSwitchedOff) {
  Options options;
  options.memory = uint64_t{64} << 20;
  options.off = "out-of-bounds,use-after-free";
  Case c;
  c.buffers = {Buffer::Of(std::vector<uint32_t>(32, 1))};
  c.body = "ld.global.u32 %r1, [%d0+400];\n";
  Device device(options);
  Module module(device, ptx::Parse(KernelText(c)));
  const uint64_t at = device.memory().Allocate(128, "buffer");
  const LaunchConfig config = ConfigOf(module, {at});
  EXPECT_EQ(device.Run(config).error, 0);
  EXPECT_EQ(device.findings().count(), 0u);
  EXPECT_THROW(device.findings().SwitchOff("no-such-check"), std::invalid_argument);
}

}  // namespace
}  // namespace softgpu::testing
