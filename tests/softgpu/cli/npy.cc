// The header is a Python dictionary; numpy writes its three keys in one fixed way, other writers
// differ in spaces and order, so keys are searched for.
#include "tests/softgpu/cli/npy.h"

#include <charconv>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string_view>

namespace softgpu {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr uint64_t kLargestHeader = 1 << 20;

[[noreturn]] void Fail(const std::string& path, const std::string& what) {
  throw std::runtime_error(path + ": " + what);
}

// What follows 'key':, or nothing.
std::string_view After(std::string_view header, std::string_view key) {
  for (const char quote : {'\'', '"'}) {
    const std::string quoted = quote + std::string(key) + quote;
    size_t at = header.find(quoted);
    if (at == header.npos) continue;
    at = header.find_first_not_of(" \t:", at + quoted.size());
    return at == header.npos ? std::string_view() : header.substr(at);
  }
  return {};
}

// Bytes of an element, 0 where they can't be told: the number behind the kind's letter, U in
// characters of 4 bytes.
uint64_t ElementBytes(std::string_view dtype) {
  if (!dtype.empty() && std::string_view("<>|=").find(dtype[0]) != dtype.npos) {
    dtype.remove_prefix(1);
  }
  if (dtype.empty() || std::string_view("?bBiufcmMSaUV").find(dtype[0]) == dtype.npos) return 0;
  if (dtype == "?") return 1;
  uint32_t bytes = 0;
  const auto result = std::from_chars(dtype.data() + 1, dtype.data() + dtype.size(), bytes);
  if (result.ec != std::errc()) return 0;
  return dtype[0] == 'U' ? uint64_t{bytes} * 4 : bytes;
}

std::vector<uint64_t> ParseShape(const std::string& path, std::string_view text) {
  std::vector<uint64_t> shape;
  const size_t end = text.find(')');
  if (text.empty() || text[0] != '(' || end == text.npos) Fail(path, "its header has no shape");
  text = text.substr(1, end - 1);
  for (;;) {
    const size_t at = text.find_first_not_of(" ,");
    if (at == text.npos) return shape;
    text.remove_prefix(at);
    uint64_t size = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), size);
    if (result.ec != std::errc()) Fail(path, "its header's shape is no list of sizes");
    text.remove_prefix(static_cast<size_t>(result.ptr - text.data()));
    shape.push_back(size);
  }
}

// The dictionary, from the file's version and length fields.
std::string ReadHeader(const std::string& path, std::ifstream& file) {
  char start[8] = {};
  file.read(start, sizeof(start));
  if (!file || std::string_view(start, kMagic.size()) != kMagic) Fail(path, "is no .npy file");
  const int version = start[6];
  if (version < 1 || version > 3) Fail(path, "its .npy version is none of 1, 2, 3");
  unsigned char length_bytes[4] = {};
  file.read(reinterpret_cast<char*>(length_bytes), version == 1 ? 2 : 4);
  uint64_t length = 0;
  for (int i = 3; i >= 0; --i) length = length << 8 | length_bytes[i];
  if (!file || length > kLargestHeader) Fail(path, "its header is cut or too long");
  std::string header(length, '\0');
  file.read(header.data(), static_cast<std::streamsize>(length));
  if (!file) Fail(path, "its header is cut");
  return header;
}

}  // namespace

uint64_t Array::elements() const {
  uint64_t count = 1;
  for (uint64_t size : shape) count *= size;
  return count;
}

Array ReadNpy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail(path, "can't be opened");
  const std::string header = ReadHeader(path, file);
  const std::string_view descr = After(header, "descr");
  if (descr.empty() || (descr[0] != '\'' && descr[0] != '"')) {
    Fail(path, "its dtype has fields, which are not covered");
  }
  Array array;
  array.dtype = descr.substr(1, descr.find(descr[0], 1) - 1);
  const uint64_t element = ElementBytes(array.dtype);
  if (element == 0) Fail(path, "its dtype '" + array.dtype + "' is not covered");
  array.shape = ParseShape(path, After(header, "shape"));
  if (After(header, "fortran_order").starts_with("True") && array.shape.size() > 1) {
    Fail(path, "is in Fortran order; save numpy.ascontiguousarray(x)");
  }
  // A size that the file can't hold is an error before it is allocated.
  const std::streamoff begin = file.tellg();
  file.seekg(0, std::ios::end);
  const uint64_t there = static_cast<uint64_t>(file.tellg() - begin);
  file.seekg(begin);
  uint64_t bytes = element;
  for (uint64_t size : array.shape) {
    if (size != 0 && bytes > std::numeric_limits<uint64_t>::max() / size) bytes = there + 1;
    if (bytes > there && size != 0) continue;
    bytes *= size;
  }
  if (bytes > there) Fail(path, "holds fewer bytes than its shape needs");
  array.bytes.resize(bytes);
  file.read(reinterpret_cast<char*>(array.bytes.data()), static_cast<std::streamsize>(bytes));
  if (!file) Fail(path, "can't be read");
  return array;
}

void WriteNpy(const std::string& path, const Array& array) {
  std::string header = "{'descr': '" + array.dtype + "', 'fortran_order': False, 'shape': (";
  for (uint64_t size : array.shape) header += std::to_string(size) + ", ";
  if (array.shape.size() > 1) header.resize(header.size() - 2);
  if (array.shape.size() == 1) header.pop_back();
  header += "), }";
  constexpr size_t kAlignment = 64, kBefore = 10;
  header.append(kAlignment - (kBefore + header.size() + 1) % kAlignment, ' ');
  header += '\n';
  if (header.size() > 0xffff) Fail(path, "the shape is too long for a header of version 1");
  std::ofstream file(path, std::ios::binary);
  const char start[] = {1, 0, static_cast<char>(header.size() & 0xff),
                        static_cast<char>(header.size() >> 8)};
  file << kMagic;
  file.write(start, sizeof(start));
  file << header;
  file.write(reinterpret_cast<const char*>(array.bytes.data()),
             static_cast<std::streamsize>(array.bytes.size()));
  file.close();
  if (!file) Fail(path, "can't be written");
}

}  // namespace softgpu
