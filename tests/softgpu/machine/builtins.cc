#include "tests/softgpu/machine/builtins.h"

#include <cstdio>
#include <cstring>
#include <mutex>

#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/ops_memory.h"

namespace softgpu {
namespace {

uint64_t Argument(const Warp& w, const Code::Place& place, int lane) {
  uint8_t data[16] = {}, state[16];
  ReadLocal(w, lane, w.frame->local_base + place.offset, std::min<uint32_t>(place.bytes, 8), data,
            state);
  uint64_t value;
  std::memcpy(&value, data, 8);
  return value;
}

void PutResult(Warp& w, const Code::Place& place, int lane, uint64_t value) {
  uint8_t data[8], state[8];
  std::memcpy(data, &value, 8);
  std::memset(state, kWritten, 8);
  WriteLocal(w, lane, w.frame->local_base + place.offset, std::min<uint32_t>(place.bytes, 8), data,
             state);
}

// A byte of generic memory; false: there is none.
bool ReadByte(const Warp& w, int lane, uint64_t address, uint8_t* byte) {
  DeviceMemory& memory = w.block->launch->device->memory();
  const uint64_t window = address & (uint64_t{0xff} << 56);
  const uint64_t offset = address & 0xffffffffu;
  if (window == kLocalWindow) {
    const uint64_t end = w.frame->local_base + uint64_t{w.frame->code->local_bytes};
    uint8_t state;
    if (offset >= end) return false;
    ReadLocal(w, lane, offset, 1, byte, &state);
    return true;
  }
  if (window == kSharedWindow) {
    if (offset < kSharedBase || offset >= kSharedBase + w.block->launch->shared_bytes) return false;
    *byte = w.block->shared[offset];
    return true;
  }
  if (memory.Contains(address)) {
    if (*memory.State(address) == kNoMemory) return false;
    *byte = *memory.Data(address);
    return true;
  }
  if (!memory.FindHost(address, 1)) return false;
  *byte = *reinterpret_cast<const uint8_t*>(address);
  return true;
}

std::string ReadString(const Warp& w, const Inst& i, int lane, uint64_t address) {
  constexpr size_t kLongest = 1 << 16;
  std::string text;
  uint8_t byte = 0;
  while (text.size() < kLongest) {
    if (!ReadByte(w, lane, address + text.size(), &byte)) {
      Report(w, i, lane, Check::kOutOfBounds,
             "a string for printf or assert runs out of its memory");
      return text;
    }
    if (byte == 0) break;
    text += static_cast<char>(byte);
  }
  return text;
}

// Arguments lie one after the other, each at a multiple of its size (4 or 8).
class PrintfArguments {
 public:
  PrintfArguments(const Warp& w, int lane, uint64_t address) : w_(w), lane_(lane), at_(address) {}
  uint64_t Next(uint64_t bytes) {
    at_ = (at_ + bytes - 1) / bytes * bytes;
    uint64_t value = 0;
    for (uint64_t k = 0; k < bytes; ++k) {
      uint8_t byte = 0;
      ReadByte(w_, lane_, at_ + k, &byte);
      value |= static_cast<uint64_t>(byte) << (8 * k);
    }
    at_ += bytes;
    return value;
  }

 private:
  const Warp& w_;
  int lane_;
  uint64_t at_;
};

template <class T>
std::string Formatted(const std::string& spec, T value) {
  char text[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  std::snprintf(text, sizeof(text), spec.c_str(), value);
#pragma GCC diagnostic pop
  return text;
}

// One conversion, its text from % to the letter. Only flags, width, precision and length pass.
std::string Convert(const Warp& w, const Inst& i, int lane, std::string spec,
                    PrintfArguments& args) {
  const char kind = spec.back();
  const bool is_long = spec.find_first_of("lzjt") != std::string::npos;
  std::erase_if(spec, [](char c) { return std::strchr("lhzjt", c) != nullptr; });
  spec.pop_back();
  if (std::strchr("diouxX", kind)) {
    const uint64_t bits = args.Next(is_long ? 8 : 4);
    if (kind == 'd' || kind == 'i') {
      const long long value = is_long ? static_cast<long long>(bits)
                                      : static_cast<int32_t>(static_cast<uint32_t>(bits));
      return Formatted(spec + "ll" + kind, value);
    }
    return Formatted(spec + "ll" + kind, static_cast<unsigned long long>(bits));
  }
  if (std::strchr("fFeEgGaA", kind)) {
    const uint64_t bits = args.Next(8);
    double value;
    std::memcpy(&value, &bits, 8);
    return Formatted(spec + kind, value);
  }
  if (kind == 'c') return Formatted(spec + kind, static_cast<int>(args.Next(4)));
  if (kind == 'p') return Formatted(spec + kind, reinterpret_cast<void*>(args.Next(8)));
  if (kind == 's') {
    const uint64_t address = args.Next(8);
    return ReadString(w, i, lane, address);
  }
  return spec + kind;
}

std::string Format(const Warp& w, const Inst& i, int lane, const std::string& format,
                   PrintfArguments args) {
  std::string text;
  for (size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%') {
      text += format[at];
      continue;
    }
    if (at + 1 < format.size() && format[at + 1] == '%') {
      text += format[at++];
      continue;
    }
    std::string spec = "%";
    while (++at < format.size()) {
      if (format[at] == '*') {
        spec += std::to_string(static_cast<int32_t>(static_cast<uint32_t>(args.Next(4))));
        continue;
      }
      spec += format[at];
      if (!std::strchr("-+ #0123456789.lhzjt", format[at])) break;
    }
    // A width beyond the buffer's is nobody's wish.
    text += spec.size() < 24 ? Convert(w, i, lane, spec, args) : spec;
  }
  return text;
}

std::mutex& OutputMutex() {
  static std::mutex mutex;
  return mutex;
}

void Printf(Warp& w, const Inst& i, const BuiltinCall& call) {
  if (call.args.size() != 2) return;
  const std::lock_guard<std::mutex> lock(OutputMutex());
  ForLanes(w.exec, [&](int lane) {
    const std::string format = ReadString(w, i, lane, Argument(w, call.args[0], lane));
    const PrintfArguments args(w, lane, Argument(w, call.args[1], lane));
    const std::string text = Format(w, i, lane, format, args);
    std::fwrite(text.data(), 1, text.size(), stdout);
    if (!call.results.empty()) PutResult(w, call.results[0], lane, text.size());
  });
  std::fflush(stdout);
}

void AssertFail(Warp& w, const Inst& i, const BuiltinCall& call) {
  const int lane = std::countr_zero(w.exec);
  std::string text = "assertion failed";
  if (call.args.size() >= 4) {
    text = ReadString(w, i, lane, Argument(w, call.args[1], lane)) + ":" +
           std::to_string(static_cast<uint32_t>(Argument(w, call.args[2], lane))) + ": " +
           ReadString(w, i, lane, Argument(w, call.args[3], lane)) + ": assertion '" +
           ReadString(w, i, lane, Argument(w, call.args[0], lane)) + "' failed";
  }
  Report(w, i, lane, Check::kAssert, text);
  throw LaunchFault{kErrorAssert};
}

void Malloc(Warp& w, const Inst&, const BuiltinCall& call) {
  if (call.args.size() != 1 || call.results.size() != 1) return;
  DeviceMemory& memory = w.block->launch->device->memory();
  ForLanes(w.exec, [&](int lane) {
    const uint64_t bytes = Argument(w, call.args[0], lane);
    PutResult(w, call.results[0], lane, memory.Allocate(bytes, "device malloc"));
  });
}

void Free(Warp& w, const Inst& i, const BuiltinCall& call) {
  if (call.args.size() != 1) return;
  DeviceMemory& memory = w.block->launch->device->memory();
  ForLanes(w.exec, [&](int lane) {
    const uint64_t address = Argument(w, call.args[0], lane);
    if (address == 0 || memory.Free(address) == DeviceMemory::FreeResult::kOk) return;
    Report(w, i, lane, Check::kDoubleFree, "free() of " + memory.Describe(address));
  });
}

}  // namespace

Builtin FindBuiltin(const std::string& name) {
  if (name == "vprintf") return Printf;
  if (name == "__assertfail") return AssertFail;
  if (name == "malloc") return Malloc;
  if (name == "free") return Free;
  return nullptr;
}

}  // namespace softgpu
