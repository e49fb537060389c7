// .npy files against ones that numpy wrote (their bytes are spelt out), and the command line's
// arguments.
#include "tests/softgpu/cli/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/softgpu/cli/run_kernel.h"

namespace softgpu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class NpyTest : public testing::Test {
 protected:
  // Of this test alone: tests run beside each other.
  std::string Path(const std::string& name) const {
    const std::filesystem::path directory =
        std::filesystem::path(testing::TempDir()) /
        (std::string("npy_test_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory);
    return (directory / name).string();
  }

  std::string Write(const std::string& bytes) const {
    const std::string path = Path("in.npy");
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  static std::string Version1(const std::string& header, const std::string& data) {
    return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header +
           data;
  }

  std::string ErrorOf(const std::string& bytes) const {
    try {
      ReadNpy(Write(bytes));
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "read";
  }
};

// numpy.save of numpy.array([[1, 2, 3], [4, 5, -1]], numpy.int8), numpy 2.4.
TEST_F(NpyTest, WhatNumpyWrites) {
  const std::string header =
      "{'descr': '|i1', 'fortran_order': False, 'shape': (2, 3), }" + std::string(58, ' ') + "\n";
  ASSERT_EQ(header.size(), 118u);
  const std::string bytes = Version1(header, "\x01\x02\x03\x04\x05\xff");
  const Array array = ReadNpy(Write(bytes));
  EXPECT_EQ(array.dtype, "|i1");
  EXPECT_THAT(array.shape, ElementsAre(2, 3));
  EXPECT_THAT(array.bytes, ElementsAre(1, 2, 3, 4, 5, 255));
  EXPECT_EQ(array.elements(), 6u);
  WriteNpy(Path("out.npy"), array);
  EXPECT_EQ(Read(Path("out.npy")), bytes);
}

TEST_F(NpyTest, ShapesOfNoneOneAndThreeDimensions) {
  for (const std::vector<uint64_t>& shape :
       {std::vector<uint64_t>{}, {5}, {0}, {2, 3, 4}, {7, 0, 2}}) {
    Array array{"<f2", shape, {}};
    array.bytes.assign(array.elements() * 2, 9);
    WriteNpy(Path("x.npy"), array);
    const Array read = ReadNpy(Path("x.npy"));
    EXPECT_EQ(read.shape, shape);
    EXPECT_EQ(read.bytes, array.bytes);
    EXPECT_EQ((Read(Path("x.npy")).size() - array.bytes.size()) % 64, 0u);
  }
}

TEST_F(NpyTest, OtherVersionsSpellingsAndDtypes) {
  const std::string header = "{\"shape\":(2,),\"fortran_order\":True,\"descr\":\"<U3\"}\n";
  const std::string bytes = std::string("\x93NUMPY\x02\x00", 8) + static_cast<char>(header.size()) +
                            std::string(3, '\0') + header + std::string(24, 'x');
  const Array array = ReadNpy(Write(bytes));
  EXPECT_EQ(array.dtype, "<U3");
  EXPECT_EQ(array.bytes.size(), 24u);
}

TEST_F(NpyTest, WhatCannotBeReadSaysWhy) {
  const auto with = [](const std::string& descr, const std::string& order,
                       const std::string& shape) {
    return Version1(
        "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n",
        "12345678");
  };
  EXPECT_EQ(ErrorOf(with("'<f4'", "False", "(2,)")), "read");
  EXPECT_THAT(ErrorOf(with("'<f4'", "False", "(3,)")), HasSubstr("fewer bytes"));
  EXPECT_THAT(ErrorOf(with("'<f4'", "False", "(4294967296, 4294967296, 4294967296)")),
              HasSubstr("fewer bytes"));
  EXPECT_THAT(ErrorOf(with("'<f4'", "True", "(1, 2)")), HasSubstr("Fortran"));
  EXPECT_THAT(ErrorOf(with("'|O'", "False", "(1,)")), HasSubstr("'|O' is not covered"));
  EXPECT_THAT(ErrorOf(with("[('a', '<f4')]", "False", "(1,)")), HasSubstr("fields"));
  EXPECT_THAT(ErrorOf(with("'<f4'", "False", "(x,)")), HasSubstr("shape"));
  EXPECT_THAT(ErrorOf("\x93NUMPX"), HasSubstr("no .npy file"));
  EXPECT_THAT(ErrorOf(std::string("\x93NUMPY\x07\x00\x01\x00", 10)), HasSubstr("version"));
  EXPECT_THAT(ErrorOf(std::string("\x93NUMPY\x01\x00\xff\x7f{", 11)), HasSubstr("cut"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("no .npy file"));
}

TEST(ArgumentTest, ValuesAndFiles) {
  EXPECT_THAT(ParseArgument("i32:-2").value, ElementsAre(0xfe, 0xff, 0xff, 0xff));
  EXPECT_THAT(ParseArgument("f32:0.5").value, ElementsAre(0, 0, 0, 0x3f));
  EXPECT_THAT(ParseArgument("f64:-1e0").value, ElementsAre(0, 0, 0, 0, 0, 0, 0xf0, 0xbf));
  EXPECT_THAT(ParseArgument("u64:0").value, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(ParseArgument("u8:255").value, ElementsAre(255));
  const Argument both = ParseArgument("/a:b/x.npy:y.npy");
  EXPECT_EQ(both.in, "/a:b/x.npy");
  EXPECT_EQ(both.out, "y.npy");
  EXPECT_THAT(both.value, IsEmpty());
  EXPECT_EQ(ParseArgument("x.npy").out, "");
  for (const char* wrong : {"", "5", "i32:", "i32:x", "i32:3000000000", "u32:-1", "u8:256",
                            "f32:1,5", "x.txt", "x.npy:y.txt", "x.npy:", ".npy"}) {
    EXPECT_THROW(ParseArgument(wrong), std::invalid_argument) << wrong;
  }
}

TEST(ArgumentTest, ParametersAreAligned) {
  const ptx::Module module = ptx::Parse(
      ".version 9.0\n.target sm_80\n.address_size 64\n"
      ".entry k(.param .u8 a, .param .u32 b, .param .align 16 .b8 c[3], .param .f64 d) { ret; }");
  const ptx::Function& k = module.functions[0];
  const std::vector<uint8_t> packed =
      PackParameters(k, {{1}, {2, 3, 4, 5}, {6, 7, 8}, {9, 9, 9, 9, 9, 9, 9, 9}});
  EXPECT_THAT(packed, ElementsAre(1, 0, 0, 0, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 6, 7, 8, 0, 0, 0,
                                  0, 0, 9, 9, 9, 9, 9, 9, 9, 9));
  EXPECT_THROW(PackParameters(k, {{1}}), std::runtime_error);
  EXPECT_THROW(PackParameters(k, {{1}, {2}, {3, 3, 3}, {4}}), std::runtime_error);
}

}  // namespace
}  // namespace softgpu
