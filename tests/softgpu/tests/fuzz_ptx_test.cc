// The fuzz target's entry over real kernels and seeded mutations of them: bytes flipped, pieces
// cut, doubled, and swapped between kernels, and tokens that parsers trip over. A crash, a hang or
// a broken contract ends the program; sanitizer builds see the rest.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

int Feed(const std::string& text) {
  return LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::vector<std::string> Seeds() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(SOFTGPU_TRITON_DIR)) {
    if (entry.path().extension() == ".ptx") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  // What compilers emit seldom.
  seeds.push_back(
      ".version 9.0\n.target sm_80, debug\n.address_size 64\n.file 1 \"a.cu\"\n"
      ".extern .func (.param .b32 r) f (.param .b64 a, .param .align 8 .b8 v[]);\n"
      ".global .b8 s[2][3] = {{1, 2}, {3}};\n.global .u64 t[2] = {generic(s)+4, f};\n"
      ".global .b8 m[3] = {0xff(s), 0xff00(s), 3 * (4 - 1) << 2 ? 1 : ~0};\n"
      ".visible .entry k(.param .u64 .ptr .global .align 4 x) .maxntid 32, 1, 1 {\n"
      ".reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %rd<9>; .shared .align 4 .b8 q[64];\n"
      ".loc 1 3 4, function_name $L__i+3, inlined_at 1 5 6\n"
      "T: .branchtargets A, B; brx.idx %r1, T; A: { .param .b64 p0; .param .b32 r0;\n"
      "P: .callprototype (.param .b32 _) _ (.param .b64 _);\n"
      "call.uni (r0), %rd1, (p0), P; { .reg .b32 %r<3>; .shared .b8 q[4]; mov.b32 %r1, q; } }\n"
      "B: @!%p1 ld.global.v2.u32 {%r1, _}, [%rd1+-8]; setp.lt.s32 %p1|%p2, %r1, -5;\n"
      "mov.f64 %rd2, 0d3FF0000000000000; mov.u32 %r3, %tid.x; ret; }\n.alias g, k;\n"
      ".section .debug_str { .b8 1, 2\nL: .b64 a-b }\n");
  return seeds;
}

size_t Below(std::mt19937_64& random, size_t bound) { return bound == 0 ? 0 : random() % bound; }

void Mutate(std::string& text, const std::vector<std::string>& seeds, std::mt19937_64& random) {
  static const char* const kPieces[] = {"{",
                                        "}",
                                        "[",
                                        "]",
                                        "(",
                                        ")",
                                        "<",
                                        ">",
                                        ";",
                                        ",",
                                        "|",
                                        "!",
                                        "@",
                                        "-",
                                        "+",
                                        "?",
                                        ":",
                                        "/*",
                                        "\"",
                                        "\n",
                                        "_",
                                        "::",
                                        ".reg .b32 %r<4000000>;",
                                        "99999999999999999999",
                                        "0x7fffffffffffffff",
                                        "-9223372036854775808",
                                        "0f7F800000",
                                        ".global .b8 z[9999999999] = {1};",
                                        "WARP_SZ",
                                        "%tid.x",
                                        "generic(",
                                        ".param",
                                        "call",
                                        "L: .branchtargets L;",
                                        ".loc 1 1 1",
                                        "{{{{{{{{",
                                        "% 0"};
  const size_t at = Below(random, text.size());
  const size_t length = Below(random, 64);
  switch (random() % 6) {
    case 0:
      if (!text.empty()) text[at] = static_cast<char>(random());
      break;
    case 1:
      text.erase(at, length);
      break;
    case 2:
      text.insert(at, kPieces[Below(random, std::size(kPieces))]);
      break;
    case 3:
      text.insert(Below(random, text.size()), text.substr(at, length * 8));
      break;
    case 4: {
      const std::string& other = seeds[Below(random, seeds.size())];
      text.insert(at, other.substr(Below(random, other.size()), length * 4));
      break;
    }
    case 5:
      if (random() % 8 == 0) text.resize(at);
      break;
  }
}

TEST(FuzzPtxTest, RealKernels) {
  const std::vector<std::string> seeds = Seeds();
  ASSERT_GE(seeds.size(), 6u);
  for (const std::string& seed : seeds) EXPECT_EQ(Feed(seed), 0);
}

TEST(FuzzPtxTest, SeededMutations) {
  const std::vector<std::string> seeds = Seeds();
  std::mt19937_64 random(20240607);
  size_t bytes = 0;
  // As many as half a megabyte of text a seed lets be, so that short kernels see more of them.
  for (const std::string& seed : seeds) {
    for (size_t spent = 0; spent < (size_t{1} << 19); spent += seed.size()) {
      std::string text = seed;
      for (size_t n = 1 + Below(random, 5); n > 0; --n) Mutate(text, seeds, random);
      EXPECT_EQ(Feed(text), 0);
      bytes += text.size();
    }
  }
  EXPECT_GT(bytes, size_t{1} << 21);
}

// Tokens in random order: what no compiler's output leads to.
TEST(FuzzPtxTest, TokenSoup) {
  const std::vector<std::string> seeds = Seeds();
  std::mt19937_64 random(7);
  for (int i = 0; i < 3000; ++i) {
    std::string text = ".version 9.0\n.target sm_80\n.address_size 64\n";
    if (random() % 2 == 0) text += ".entry k() { .reg .b32 %r<9>; ";
    for (size_t n = Below(random, 60); n > 0; --n) {
      const std::string& seed = seeds.back();
      const size_t begin = seed.find_first_not_of(" \n", Below(random, seed.size()));
      if (begin == seed.npos) continue;
      text += seed.substr(begin, 1 + Below(random, 12)) + (random() % 3 == 0 ? " " : "");
    }
    EXPECT_EQ(Feed(text), 0);
  }
}

}  // namespace
