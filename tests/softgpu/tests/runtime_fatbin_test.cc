// The container of device code: what is chosen for a device, and that damaged bytes are refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "tests/softgpu/runtime/fatbin.h"

namespace softgpu {
namespace {

using testing::HasSubstr;

template <class T>
void Put(std::string& bytes, size_t at, T value) {
  std::memcpy(&bytes[at], &value, sizeof(T));
}

struct Part {
  uint16_t kind;  // 1: PTX
  uint32_t arch;
  uint64_t flags;
  std::string payload;
};

std::string Container(const std::vector<Part>& parts) {
  std::string body;
  for (const Part& part : parts) {
    std::string header(80, '\0');
    Put(header, 0, part.kind);
    Put(header, 4, uint32_t{80});
    Put(header, 8, uint64_t{part.payload.size()});
    Put(header, 28, part.arch);
    Put(header, 40, part.flags);
    body += header + part.payload;
  }
  std::string bytes(16, '\0');
  Put(bytes, 0, uint32_t{0xba55ed50});
  Put(bytes, 4, uint16_t{1});
  Put(bytes, 6, uint16_t{16});
  Put(bytes, 8, uint64_t{body.size()});
  return bytes + body;
}

Part Ptx(const std::string& target, uint32_t arch) {
  return {1, arch, 0x11, "\n.version 9.0\n.target " + target + "\n" + std::string(5, '\0')};
}

std::string Target(const std::string& bytes, int arch) {
  const std::vector<FatbinEntry> entries = ParseFatbin(bytes);
  const FatbinEntry* entry = ChoosePtx(entries, arch);
  if (entry == nullptr) return "none";
  return std::string(entry->text.substr(entry->text.find("sm_")));
}

TEST(Fatbin, TheHighestThatTheDeviceCanRun) {
  const std::string bytes = Container({Ptx("sm_75", 75),
                                       {2, 80, 0x11, "machine code"},
                                       Ptx("sm_80", 80),
                                       Ptx("sm_90a", 90),
                                       Ptx("sm_86", 86)});
  EXPECT_EQ(Target(bytes, 80), "sm_80\n");
  EXPECT_EQ(Target(bytes, 90), "sm_90a\n");
  // A variant for one arch runs on no other one.
  EXPECT_EQ(Target(Container({Ptx("sm_90a", 90), Ptx("sm_80", 80)}), 100), "sm_80\n");
  EXPECT_EQ(Target(Container({Ptx("sm_90", 90), Ptx("sm_90a", 90)}), 90), "sm_90a\n");
  EXPECT_EQ(Target(Container({Ptx("sm_90", 90)}), 80), "none");
}

TEST(Fatbin, WhyThereIsNone) {
  const auto why = [](const std::vector<Part>& parts) {
    return WhyNoPtx(ParseFatbin(Container(parts)), 80);
  };
  EXPECT_THAT(why({{2, 80, 0x11, "code"}}), HasSubstr("no PTX; build it with: nvcc"));
  EXPECT_THAT(why({{1, 80, 0x8011, "\x28\xb5"}}), HasSubstr("compressed"));
  EXPECT_THAT(why({{1, 80, 0x2011, "lz4"}}), HasSubstr("compressed"));
  EXPECT_THAT(why({Ptx("sm_90", 90)}), HasSubstr("SOFTGPU_ARCH=80"));
}

TEST(Fatbin, CutAnywhereIsRefused) {
  const std::string bytes = Container({Ptx("sm_80", 80), Ptx("sm_90", 90)});
  EXPECT_EQ(FatbinBytes(bytes.data()), bytes.size());
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_THROW(ParseFatbin(std::string_view(bytes).substr(0, n)), std::runtime_error) << n;
  }
}

TEST(Fatbin, ChangedBytesAreReadOrRefused) {
  const std::string good = Container({Ptx("sm_80", 80), {2, 80, 0, "code"}});
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    // In a block of its own size, so that a sanitizer sees a read past it.
    std::vector<char> bytes(good.begin(), good.end());
    for (int k = 0; k < 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    try {
      for (const FatbinEntry& entry : ParseFatbin({bytes.data(), bytes.size()})) {
        EXPECT_LE(entry.text.size(), bytes.size());
      }
    } catch (const std::runtime_error&) {
    }
  }
}

}  // namespace
}  // namespace softgpu
