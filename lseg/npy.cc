// The header is a Python dict literal of three known keys; it is parsed as exactly that.
#include "lseg/npy.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string_view>

#include "framework/file.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

static_assert(std::endian::native == std::endian::little, "npy files are written as '<f4'");

constexpr std::string_view kMagic{"\x93NUMPY", 6};
constexpr size_t kMaxAxes = 64;  // NumPy's own limit

// Reads the header dict, key by key, in any order and with Python's freedom of blanks.
class HeaderParser {
 public:
  HeaderParser(const std::string& path, std::string_view text) : path_(path), text_(text) {}

  std::vector<int64_t> Parse() {
    bool have_descr = false, have_order = false, have_shape = false;
    std::vector<int64_t> shape;
    Expect('{');
    while (!Accept('}')) {
      const std::string_view key = Quoted();
      Expect(':');
      if (key == "descr" && !have_descr) {
        have_descr = true;
        CheckType();
      } else if (key == "fortran_order" && !have_order) {
        have_order = true;
        CheckOrder();
      } else if (key == "shape" && !have_shape) {
        have_shape = true;
        shape = Tuple();
      } else {
        Damaged("unexpected key '" + Printable(std::string(key)) + "'");
      }
      if (!Accept(',') && Peek() != '}') Damaged("expected ',' or '}'");
    }
    if (Peek() != '\0') Damaged("text after '}'");
    if (!have_descr || !have_order || !have_shape) {
      Damaged("descr, fortran_order and shape must all be there");
    }
    return shape;
  }

 private:
  [[noreturn]] void Damaged(const std::string& what) const {
    LSEG_FAIL(path_ << ": the npy header is damaged: " << what << " at its byte " << at_);
  }
  char Peek() {
    while (at_ < text_.size() && std::strchr(" \n\t\r", text_[at_]) && text_[at_] != '\0') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool Accept(char c) {
    if (Peek() != c) return false;
    ++at_;
    return true;
  }
  void Expect(char c) {
    if (!Accept(c)) Damaged(std::string("expected '") + c + "'");
  }
  std::string_view Quoted() {
    const char quote = Peek();
    if (quote != '\'' && quote != '"') Damaged("expected a quoted word");
    const size_t begin = ++at_;
    while (at_ < text_.size() && text_[at_] != quote) ++at_;
    if (at_ == text_.size()) Damaged("a quote is not closed");
    return text_.substr(begin, at_++ - begin);
  }
  void CheckType() {
    if (Peek() == '[') LSEG_FAIL(path_ << ": holds records, not numbers: save it as float32");
    const std::string_view descr = Quoted();
    LSEG_CHECK(descr == "<f4", path_ << ": holds '" << Printable(std::string(descr))
                                     << "', not little-endian float32 '<f4': save it with "
                                        ".astype(numpy.float32)");
  }
  void CheckOrder() {
    Peek();
    if (text_.substr(at_, 4) == "True") {
      LSEG_FAIL(path_ << ": is in Fortran order: save it with numpy.ascontiguousarray");
    }
    if (text_.substr(at_, 5) != "False") Damaged("fortran_order is neither True nor False");
    at_ += 5;
  }
  std::vector<int64_t> Tuple() {
    std::vector<int64_t> values;
    Expect('(');
    while (!Accept(')')) {
      if (values.size() == kMaxAxes) Damaged("more axes than NumPy has");
      values.push_back(Number());
      if (!Accept(',') && Peek() != ')') Damaged("expected ',' or ')'");
    }
    return values;
  }
  int64_t Number() {
    int64_t value = 0;
    const size_t begin = (Peek(), at_);
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (value > std::numeric_limits<int32_t>::max()) Damaged("a size is too large");
      value = value * 10 + (text_[at_] - '0');
    }
    if (at_ == begin) Damaged("expected a size");
    return value;
  }

  const std::string& path_;
  std::string_view text_;
  size_t at_ = 0;
};

// Elements of a shape, or -1 where they would not fit a file of int64_t bytes.
int64_t Elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t size : shape) {
    if (size < 0 || (size > 0 && count > std::numeric_limits<int64_t>::max() / 8 / size)) return -1;
    count *= size;
  }
  return count;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

void ReadBytes(std::ifstream& file, const std::string& path, void* dst, int64_t bytes) {
  file.read(static_cast<char*>(dst), bytes);
  LSEG_CHECK(file.gcount() == bytes, path << ": ends within the npy header");
}

// Reads what stands before the values and returns the text of the dict.
std::string ReadHeader(std::ifstream& file, const std::string& path) {
  char start[8];  // magic, major and minor version
  file.read(start, sizeof(start));
  LSEG_CHECK(file.gcount() == sizeof(start) && std::string_view(start, kMagic.size()) == kMagic,
             path << ": is not an npy file (the first bytes are not \\x93NUMPY)");
  const int major = static_cast<unsigned char>(start[6]);
  LSEG_CHECK(major == 1 || major == 2,
             path << ": npy version " << major << "." << int{start[7]} << "; 1 and 2 are read");
  unsigned char length[4] = {};
  ReadBytes(file, path, length, major == 1 ? 2 : 4);
  uint32_t header_bytes = 0;
  std::memcpy(&header_bytes, length, sizeof(length));
  LSEG_CHECK(header_bytes <= 65536, path << ": an npy header of " << header_bytes
                                         << " bytes is not one of a plain float32 array");
  std::string header(header_bytes, '\0');
  ReadBytes(file, path, header.data(), header_bytes);
  return header;
}

}  // namespace

NpyArray ReadNpy(const std::string& path) {
  std::error_code error;
  const bool regular = std::filesystem::is_regular_file(path, error);
  LSEG_CHECK(regular, path << ": " << (error ? error.message() : "is not a file"));
  std::ifstream file(path, std::ios::binary);
  LSEG_CHECK(file, path << ": cannot be read: " << std::strerror(errno));
  const std::string header = ReadHeader(file, path);

  NpyArray array;
  array.shape = HeaderParser(path, header).Parse();
  const int64_t count = Elements(array.shape);
  const int64_t bytes =
      static_cast<int64_t>(std::filesystem::file_size(path)) - static_cast<int64_t>(file.tellg());
  LSEG_CHECK(count >= 0 && bytes == count * 4,
             path << ": shape " << ShapeText(array.shape) << " of float32 does not fit the "
                  << bytes << " bytes that follow the header: the file is damaged or cut off");
  array.values.resize(static_cast<size_t>(count));
  file.read(reinterpret_cast<char*>(array.values.data()), bytes);
  LSEG_CHECK(file.gcount() == bytes, path << ": cannot be read to its end");
  return array;
}

void WriteNpy(const std::string& path, const std::vector<int64_t>& shape, const float* values) {
  const int64_t count = Elements(shape);
  LSEG_CHECK(count >= 0, path << ": shape " << ShapeText(shape) << " has no npy file");
  std::string header =
      "{'descr': '<f4', 'fortran_order': False, 'shape': " + ShapeText(shape) + ", }";
  // Values begin at a multiple of 64 bytes, so that they can be mapped.
  const size_t before = kMagic.size() + 4;
  header.append(63 - (before + header.size()) % 64, ' ').push_back('\n');
  LSEG_CHECK(header.size() < 65536, path << ": " << shape.size() << " axes are too many");

  std::string bytes(kMagic);
  bytes += {1, 0, static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  bytes += header;
  WriteParts(
      path,
      {bytes, {reinterpret_cast<const char*>(values), static_cast<size_t>(count) * sizeof(float)}});
}

}  // namespace lseg
