// Weights files: the bytes of the format, those of the format's own library, and hostile input.
#include "framework/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tests/error_of.h"

namespace lseg {
namespace {

using namespace std::string_literals;  // "..."s keeps zero bytes

// Written by safetensors 0.8.0 for Python:
//   from safetensors.numpy import save
//   save({"score.weight": np.array([[[[0.5]], [[-2.0]]]], np.float32),
//         "score.bias": np.array([0.25], np.float32)}, {"classes": "EX HE"})
const std::string kPythonF32 =
    "\xb0\0\0\0\0\0\0\0"
    R"({"__metadata__":{"classes":"EX HE"},)"
    R"("score.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
    R"("score.weight":{"dtype":"F32","shape":[1,2,1,1],"data_offsets":[4,12]}}       )"
    "\0\0\x80\x3e\0\0\0\x3f\0\0\0\xc0"s;

// The same library through torch:
//   from safetensors.torch import save
//   save({"a": torch.tensor([1.0, -2.5], dtype=torch.bfloat16),
//         "b": torch.tensor([[65504.0, 2.0**-24]], dtype=torch.float16), "c": torch.tensor(3.0)})
const std::string kPythonHalf =
    "\xa8\0\0\0\0\0\0\0"
    R"({"c":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
    R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},)"
    R"("b":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]}}     )"
    "\0\0\x40\x40\x80\x3f\x20\xc0\xff\x7b\x01\0"s;

// A file with this header and so many bytes of data.
std::string FileOf(const std::string& header, size_t data_size) {
  std::string bytes(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(bytes.data(), &size, sizeof(size));
  return bytes + header + std::string(data_size, '\0');
}

WeightsFile Parse(const std::string& bytes) { return WeightsFile::Parse(bytes, "w.safetensors"); }

std::string ParseError(const std::string& bytes) {
  return ErrorOf([&] { Parse(bytes); });
}
std::string HeaderError(const std::string& header, size_t data_size = 8) {
  return ParseError(FileOf(header, data_size));
}

// A header of one tensor "w" of eight bytes, parts replaced.
std::string One(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

TEST(Weights, ReadsWhatTheFormatsOwnLibraryWrites) {
  const WeightsFile file = Parse(kPythonF32);
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"classes", "EX HE"}}));
  ASSERT_EQ(file.tensors().size(), 2u);
  ASSERT_NE(file.Find("score.weight"), nullptr);
  EXPECT_EQ(file.Find("score.weight")->shape, (std::vector<int64_t>{1, 2, 1, 1}));
  EXPECT_EQ(file.Find("score.weight")->data, (std::vector<float>{0.5f, -2}));
  EXPECT_EQ(file.Find("score.bias")->data, (std::vector<float>{0.25f}));
  EXPECT_EQ(file.Find("score"), nullptr);
}

TEST(Weights, ReadsHalfPrecision) {
  const WeightsFile file = Parse(kPythonHalf);
  EXPECT_EQ(file.Find("a")->data, (std::vector<float>{1, -2.5f}));
  EXPECT_EQ(file.Find("b")->data, (std::vector<float>{65504, std::ldexp(1.0f, -24)}));
  EXPECT_EQ(file.Find("c")->data, (std::vector<float>{3}));
  EXPECT_TRUE(file.Find("c")->shape.empty());
}

TEST(Weights, WritesTheBytesOfTheFormatsOwnLibrary) {
  WeightsFile file;
  file.Add({"score.weight", {1, 2, 1, 1}, {0.5f, -2}});
  file.Add({"score.bias", {1}, {0.25f}});
  file.metadata["classes"] = "EX HE";
  EXPECT_EQ(file.Serialize(), kPythonF32);
}

TEST(Weights, RepeatsByteForByteInAnyOrderOfAdding) {
  WeightsFile forward, backward;
  for (int i = 0; i < 5; ++i) forward.Add({"t" + std::to_string(i), {2}, {1.0f * i, -0.0f}});
  for (int i = 4; i >= 0; --i) backward.Add({"t" + std::to_string(i), {2}, {1.0f * i, -0.0f}});
  forward.metadata = {{"a", "1"}, {"net", "layer { name: \"x\" } # \xc3\xa4\n"}};
  backward.metadata = forward.metadata;
  const std::string bytes = forward.Serialize();
  EXPECT_EQ(bytes, backward.Serialize());
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof(header));
  EXPECT_EQ(header % 8, 0u);
  EXPECT_EQ(bytes.size(), 8 + header + 5 * 2 * 4);
  // And what was read back says the same.
  const WeightsFile again = Parse(bytes);
  EXPECT_EQ(again.metadata, forward.metadata);
  EXPECT_EQ(again.Serialize(), bytes);
}

TEST(Weights, KeepsEveryBitOfAFloat) {
  WeightsFile file;
  file.Add({"w", {4}, {NAN, INFINITY, 1e-45f, -0.0f}});
  const WeightsFile again = Parse(file.Serialize());
  EXPECT_EQ(std::memcmp(again.Find("w")->data.data(), file.Find("w")->data.data(), 16), 0);
}

TEST(Weights, AnEmptyFileIsAFile) {
  const WeightsFile file = Parse(WeightsFile().Serialize());
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_TRUE(file.metadata.empty());
  WeightsFile hollow;
  hollow.Add({"none", {3, 0, 2}, {}});
  EXPECT_EQ(Parse(hollow.Serialize()).Find("none")->shape, (std::vector<int64_t>{3, 0, 2}));
}

TEST(Weights, RefusesTruncatedFilesAtEveryLength) {
  for (size_t size = 0; size < kPythonF32.size(); ++size) {
    EXPECT_EQ(ParseError(kPythonF32.substr(0, size)).rfind("w.safetensors: ", 0), 0u) << size;
  }
  EXPECT_EQ(ParseError(kPythonF32 + "x"),
            "w.safetensors: the tensors end at byte 12 of the data, but 13 bytes are there");
}

TEST(Weights, RefusesHeadersThatLieAboutThemselves) {
  EXPECT_EQ(ParseError("abc"), "w.safetensors: not a safetensors file: 3 bytes");
  EXPECT_EQ(
      ParseError("\xff\xff\xff\xff\xff\xff\xff\xff{}"s),
      "w.safetensors: not a whole safetensors file: a header of 18446744073709551615 bytes is "
      "announced, 2 bytes follow (limit 100000000)");
  EXPECT_EQ(HeaderError(""), "w.safetensors: the header does not start with '{'");
  EXPECT_EQ(HeaderError("[]"), "w.safetensors: the header does not start with '{'");
  EXPECT_EQ(HeaderError("{\"w\":"), "w.safetensors: the header is not JSON, at its byte 6");
  EXPECT_EQ(HeaderError("{\"\xff\":1}"), "w.safetensors: the header is not JSON, at its byte 3");
  EXPECT_EQ(HeaderError("{\"a\":" + std::string(100000, '[')),
            "w.safetensors: the header is not JSON, at its byte 100006");
  EXPECT_EQ(HeaderError("{\"w\":1e999}"),
            "w.safetensors: the header has a number that no double holds");
  EXPECT_EQ(HeaderError(R"({"w":{"dtype":"F32"},"w":{}})"),
            "w.safetensors: key 'w' stands twice in the header");
  EXPECT_EQ(HeaderError(R"({"w":{"dtype":"F32","dtype":"F16"}})"),
            "w.safetensors: key 'dtype' stands twice in the header");
  EXPECT_EQ(HeaderError(R"({"__metadata__":[]})"),
            "w.safetensors: __metadata__ is not an object of strings");
  EXPECT_EQ(HeaderError(R"({"__metadata__":{"a\nb":1}})"),
            "w.safetensors: metadata 'a?b' is not a string");
}

TEST(Weights, RefusesTensorsThatDoNotFitTheFile) {
  const std::string where = "w.safetensors: tensor 'w' ";
  EXPECT_EQ(HeaderError(One("\"F32\"", "[2]", "[0,8]")), "");
  EXPECT_EQ(HeaderError(R"({"w":7})"), where + "is not described by an object");
  EXPECT_EQ(HeaderError(R"({"w":{"shape":[2],"data_offsets":[0,8]}})"), where + "has no dtype");
  EXPECT_EQ(HeaderError(One("\"I64\"", "[1]", "[0,8]")),
            where + "has dtype I64: F32, F16 and BF16 are read");
  EXPECT_EQ(HeaderError(One("\"F32\"", "2", "[0,8]")), where + "has no shape");
  EXPECT_EQ(HeaderError(One("\"F32\"", "[-2]", "[0,8]")),
            where + "has a dimension that is not a count: -2");
  EXPECT_EQ(HeaderError(One("\"F32\"", "[2.0]", "[0,8]")),
            where + "has a dimension that is not a count: 2.0");
  EXPECT_EQ(HeaderError(One("\"F32\"", "[9223372036854775808]", "[0,8]")),
            where + "has a dimension that is not a count: 9223372036854775808");
  EXPECT_EQ(HeaderError(One("\"F32\"", "[4294967296,4294967296]", "[0,8]")),
            where + "has more elements than can be counted");
  // 2^62 elements of 4 bytes: a product that wraps to 0.
  EXPECT_EQ(HeaderError(One("\"F32\"", "[4611686018427387904]", "[0,0]"), 0),
            where + "has 4611686018427387904 elements of 4 bytes, but 0 bytes of data");
  EXPECT_EQ(HeaderError(One("\"F32\"", "[3]", "[0,8]")),
            where + "has 3 elements of 4 bytes, but 8 bytes of data");
  EXPECT_EQ(HeaderError(One("\"F16\"", "[2]", "[0,8]")),
            where + "has 2 elements of 2 bytes, but 8 bytes of data");
  EXPECT_EQ(HeaderError(One("\"F32\"", "[2]", "[0]")), where + "has no data_offsets of two counts");
  EXPECT_EQ(HeaderError(One("\"F32\"", "[2]", "[-8,0]")),
            where + "has no data_offsets of two counts");
  EXPECT_EQ(HeaderError(One("\"F32\"", "[2]", "[8,16]")),
            where + "lies at bytes 8 to 16, but the file has 8 bytes of data");
  EXPECT_EQ(HeaderError(One("\"F32\"", "[2]", "[8,0]")),
            where + "lies at bytes 8 to 0, but the file has 8 bytes of data");
  EXPECT_EQ(HeaderError(One("\"F32\"", "[1]", "[4,8]")),
            where +
                "starts at byte 4 of the data, where byte 0 follows: tensors must not overlap or "
                "leave gaps");
}

TEST(Weights, RefusesOverlap) {
  const std::string overlap = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                              R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})";
  EXPECT_EQ(HeaderError(overlap),
            "w.safetensors: tensor 'b' starts at byte 4 of the data, where byte 8 follows: tensors "
            "must not overlap or leave gaps");
}

TEST(Weights, AddChecksWhatItIsGiven) {
  WeightsFile file;
  file.Add({"w", {2}, {1, 2}});
  EXPECT_EQ(ErrorOf([&] { file.Add({"w", {1}, {1}}); }), "weights: tensor 'w' is there already");
  EXPECT_EQ(ErrorOf([&] {
              file.Add({"x", {3}, {1, 2}});
            }),
            "weights: tensor 'x' has 2 values, which do not fill its shape");
  EXPECT_EQ(ErrorOf([&] {
              file.Add({"x", {-1, -2}, {1, 2}});
            }),
            "weights: tensor 'x' has 2 values, which do not fill its shape");
  EXPECT_EQ(ErrorOf([&] {
              file.Add({"__metadata__", {1}, {1}});
            }),
            "weights: the key __metadata__ is reserved");
  file.metadata["bad"] = "\xff";
  EXPECT_EQ(ErrorOf([&] { file.Serialize(); }), "weights: a key or a metadata string is not UTF-8");
}

}  // namespace
}  // namespace lseg
