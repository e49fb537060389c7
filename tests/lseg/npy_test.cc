// Files as NumPy writes them, byte for byte, and files that must be refused, each by its own
// message.
#include "lseg/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "framework/file.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Npy : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        std::filesystem::path(::testing::TempDir()) / ("npy_test_" + std::to_string(getpid()));
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Path(const std::string& name) const { return (directory_ / name).string(); }
  std::string Write(const std::string& bytes) const {
    std::ofstream(Path("a.npy"), std::ios::binary) << bytes;
    return Path("a.npy");
  }
  std::string Message(const std::string& bytes) const {
    const std::string path = Write(bytes);
    try {
      ReadNpy(path);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(path));
      return error.what();
    }
    return "was read";
  }

  std::filesystem::path directory_;
};

// numpy.lib.format.write_array(file, numpy.array([[0, .25, 1], [-2, .1, 3]], '<f4'), (1, 0))
const std::string kDict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
const std::string kValues("\0\0\0\0\0\0\x80>\0\0\x80?\0\0\0\xc0\xcd\xcc\xcc=\0\0@@", 24);
const std::string kVersion1 =
    std::string("\x93NUMPY\x01\x00v\x00", 10) + kDict + std::string(58, ' ') + "\n" + kValues;
// The same with version (2, 0).
const std::string kVersion2 = std::string("\x93NUMPY\x02\x00t\x00\x00\x00", 12) + kDict +
                              std::string(56, ' ') + "\n" + kValues;

std::string WithDict(const std::string& dict, const std::string& values = kValues) {
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(dict.size()) +
         std::string(1, '\0') + dict + values;
}

TEST_F(Npy, ReadsWhatNumpyWrites) {
  for (const std::string& bytes : {kVersion1, kVersion2}) {
    const NpyArray array = ReadNpy(Write(bytes));
    EXPECT_THAT(array.shape, ElementsAre(2, 3));
    EXPECT_THAT(array.values, ElementsAre(0.0f, 0.25f, 1.0f, -2.0f, 0.1f, 3.0f));
  }
}

TEST_F(Npy, ReadsAnyKeyOrderAndBlanks) {
  const NpyArray array =
      ReadNpy(Write(WithDict("{ \"shape\":(6 ,) ,'fortran_order' : False,'descr':'<f4'}")));
  EXPECT_THAT(array.shape, ElementsAre(6));
  EXPECT_EQ(array.values.size(), 6u);
  const std::string scalar = "{'descr':'<f4','fortran_order':False,'shape':()}";
  EXPECT_THAT(ReadNpy(Write(WithDict(scalar, kValues.substr(0, 4)))).shape, ElementsAre());
}

TEST_F(Npy, WritesWhatNumpyWrites) {
  const std::vector<float> values = {0.0f, 0.25f, 1.0f, -2.0f, 0.1f, 3.0f};
  WriteNpy(Path("b.npy"), {2, 3}, values.data());
  EXPECT_EQ(ReadFile(Path("b.npy")), kVersion1);
  WriteNpy(Path("b.npy"), {6}, values.data());
  EXPECT_THAT(ReadFile(Path("b.npy")), HasSubstr("'shape': (6,), }"));
  EXPECT_EQ(ReadNpy(Path("b.npy")).values, values);
}

TEST_F(Npy, ValuesBeginAtAMultipleOf64) {
  const std::vector<float> values(100, 0.5f);
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{100}, {4, 5, 5}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 100}}) {
    WriteNpy(Path("c.npy"), shape, values.data());
    EXPECT_EQ((ReadFile(Path("c.npy")).size() - 400) % 64, 0u);
    EXPECT_EQ(ReadNpy(Path("c.npy")).shape, shape);
  }
}

TEST_F(Npy, EmptyArraysAndSpecialValuesComeBack) {
  WriteNpy(Path("d.npy"), {0, 4}, nullptr);
  EXPECT_THAT(ReadNpy(Path("d.npy")).shape, ElementsAre(0, 4));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  WriteNpy(Path("d.npy"), {}, &nan);
  EXPECT_TRUE(std::isnan(ReadNpy(Path("d.npy")).values.at(0)));
}

TEST_F(Npy, RefusesOtherTypesAndOrders) {
  const std::string rest = ", 'fortran_order': False, 'shape': (2, 3), }";
  for (const char* type : {"<f8", ">f4", "<f2", "|u1", "<i4"}) {
    EXPECT_THAT(Message(WithDict("{'descr': '" + std::string(type) + "'" + rest)),
                HasSubstr("holds '" + std::string(type) + "'"));
  }
  EXPECT_THAT(Message(WithDict("{'descr': [('p', '<f4')]" + rest)), HasSubstr("records"));
  EXPECT_THAT(Message(WithDict("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }")),
              HasSubstr("Fortran order"));
  std::string version3 = kVersion2;
  version3[6] = 3;
  EXPECT_THAT(Message(version3), HasSubstr("version 3.0"));
}

TEST_F(Npy, RefusesDamage) {
  EXPECT_THAT(Message(""), HasSubstr("not an npy file"));
  EXPECT_THAT(Message("PK\x03\x04 is a zip file"), HasSubstr("not an npy file"));
  EXPECT_THAT(Message(kVersion1.substr(0, 9)), HasSubstr("ends within the npy header"));
  EXPECT_THAT(Message(kVersion1.substr(0, 100)), HasSubstr("ends within the npy header"));
  EXPECT_THAT(Message(kVersion1.substr(0, kVersion1.size() - 1)), HasSubstr("the 23 bytes"));
  EXPECT_THAT(Message(kVersion1 + "x"), HasSubstr("shape (2, 3) of float32 does not fit the 25"));
  std::string long_header = kVersion2;
  long_header[11] = 0x7f;
  EXPECT_THAT(Message(long_header), HasSubstr("not one of a plain float32 array"));
}

TEST_F(Npy, RefusesDamagedHeaders) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  ASSERT_EQ(Message(WithDict(good)), "was read");
  // Every byte of the dict is needed: none can be left out but blanks and trailing commas.
  for (size_t i = 0; i < good.size(); ++i) {
    std::string cut = good;
    cut.erase(i, 1);
    const bool spare = good[i] == ' ' || i == good.rfind(',');
    EXPECT_EQ(Message(WithDict(cut)) == "was read", spare) << cut;
    EXPECT_NE(Message(WithDict(good.substr(0, i))), "was read") << i;
  }
  for (const char* dict :
       {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3.0), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 6, }",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3), }",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2147483648, 2147483648, 6), }"}) {
    EXPECT_NE(Message(WithDict(dict)), "was read") << dict;
  }
  // What is quoted of the header leaves the message one line that can be read.
  EXPECT_THAT(Message(WithDict("{'de\nscr': '<f4'}")), HasSubstr("unexpected key 'de?scr'"));
  EXPECT_THAT(Message(WithDict("{'descr': '<f\x1b'}")), HasSubstr("holds '<f?'"));
  std::string axes;
  for (int i = 0; i < 65; ++i) axes += "1,";
  EXPECT_THAT(
      Message(WithDict("{'descr': '<f4', 'fortran_order': False, 'shape': (" + axes + "), }")),
      HasSubstr("more axes than NumPy has"));
}

TEST_F(Npy, NamesAFileThatCannotBeRead) {
  EXPECT_THROW(ReadNpy(Path("missing.npy")), Error);
  EXPECT_THROW(ReadNpy(directory_.string()), Error);
  EXPECT_THROW(WriteNpy(Path("missing/b.npy"), {0}, nullptr), Error);
}

}  // namespace
}  // namespace lseg
