// Arguments as text, and their layout as a kernel's parameters.
#include <charconv>
#include <cstring>
#include <stdexcept>

#include "tests/softgpu/cli/run_kernel.h"

namespace softgpu {
namespace {

template <class T>
bool ParseValue(std::string_view text, std::vector<uint8_t>* bytes) {
  T value{};
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return false;
  bytes->resize(sizeof(T));
  std::memcpy(bytes->data(), &value, sizeof(T));
  return true;
}

struct ValueType {
  std::string_view name;
  bool (*parse)(std::string_view, std::vector<uint8_t>*);
};
constexpr ValueType kValueTypes[] = {{"i8", ParseValue<int8_t>},    {"i16", ParseValue<int16_t>},
                                     {"i32", ParseValue<int32_t>},  {"i64", ParseValue<int64_t>},
                                     {"u8", ParseValue<uint8_t>},   {"u16", ParseValue<uint16_t>},
                                     {"u32", ParseValue<uint32_t>}, {"u64", ParseValue<uint64_t>},
                                     {"f32", ParseValue<float>},    {"f64", ParseValue<double>}};

[[noreturn]] void Fail(const std::string& text, const std::string& why) {
  throw std::invalid_argument("the argument '" + text + "' " + why);
}

bool IsNpy(std::string_view path) { return path.size() > 4 && path.ends_with(".npy"); }

}  // namespace

Argument ParseArgument(const std::string& text) {
  Argument argument;
  argument.text = text;
  const size_t colon = text.find(':');
  const std::string_view prefix = std::string_view(text).substr(0, colon);
  if (colon != text.npos) {
    const std::string_view rest = std::string_view(text).substr(colon + 1);
    for (const ValueType& type : kValueTypes) {
      if (prefix != type.name) continue;
      if (!type.parse(rest, &argument.value)) {
        Fail(text, "holds no value that fits " + std::string(prefix));
      }
      return argument;
    }
    if (prefix == "bytes" && IsNpy(rest)) {
      argument.value = ReadNpy(std::string(rest)).bytes;
      return argument;
    }
  }
  const size_t between = text.find(".npy:");
  argument.in = between == text.npos ? text : text.substr(0, between + 4);
  if (between != text.npos) argument.out = text.substr(between + 5);
  if (!IsNpy(argument.in) || (between != text.npos && !IsNpy(argument.out))) {
    Fail(text,
         "is none of in.npy, in.npy:out.npy, bytes:in.npy, and i8: i16: i32: i64: u8: u16: u32: "
         "u64: f32: f64: with a value");
  }
  return argument;
}

std::vector<uint8_t> PackParameters(const ptx::Function& entry,
                                    const std::vector<std::vector<uint8_t>>& values) {
  if (values.size() != entry.params.size()) {
    throw std::runtime_error("the kernel " + entry.name + " takes " +
                             std::to_string(entry.params.size()) + " arguments, " +
                             std::to_string(values.size()) + " are given");
  }
  std::vector<uint8_t> packed;
  for (size_t i = 0; i < values.size(); ++i) {
    const ptx::Variable& param = entry.params[i];
    if (values[i].size() != param.bytes) {
      throw std::runtime_error("argument " + std::to_string(i + 1) + " has " +
                               std::to_string(values[i].size()) + " bytes, the kernel's " +
                               param.name + " takes " + std::to_string(param.bytes));
    }
    packed.resize((packed.size() + param.align - 1) / param.align * param.align);
    packed.insert(packed.end(), values[i].begin(), values[i].end());
  }
  return packed;
}

}  // namespace softgpu
