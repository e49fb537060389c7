// For tests of instructions: a kernel around a few lines of PTX, run by a Device of its own.
//
// The body finds the address of buffer i in %di, its thread's number (tid.x) in %r0, and may use
// %r1.. (b32), %f (f32), %d (b64; from 20 on), %e (f64), %h (b16), %q (b128), %p (predicates) and
// the shared array `sm` of 4096 bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/ptx/module.h"

namespace softgpu::testing {

struct Buffer {
  std::vector<uint8_t> bytes;
  std::vector<bool> written;  // empty before the run: all of them

  template <class T>
  static Buffer Of(const std::vector<T>& values) {
    Buffer b;
    b.bytes.resize(values.size() * sizeof(T));
    std::memcpy(b.bytes.data(), values.data(), b.bytes.size());
    return b;
  }
  // Never written.
  static Buffer Blank(size_t bytes) {
    Buffer b;
    b.bytes.resize(bytes);
    b.written.assign(bytes, false);
    return b;
  }
  template <class T>
  std::vector<T> As() const {
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }
  // All bytes of element k.
  template <class T>
  bool Written(size_t k) const {
    for (size_t b = 0; b < sizeof(T); ++b) {
      if (!written[k * sizeof(T) + b]) return false;
    }
    return true;
  }
};

struct Case {
  std::string body;
  std::vector<Buffer> buffers;
  uint32_t threads = 32, blocks = 1;
  int arch = 80;
  uint64_t seed = 1;
  int workers = 1;
  std::string declarations;  // before the kernel
};

struct Outcome {
  LaunchResult result;
  std::vector<Finding> findings;
  std::vector<Buffer> buffers;  // after the run
  bool Found(Check check) const {
    for (const Finding& f : findings) {
      if (f.check == check) return true;
    }
    return false;
  }
  std::string Text() const {
    std::string text = result.message;
    for (const Finding& f : findings) {
      text += "\n" + std::string(Name(f.check)) + " line " + std::to_string(f.place.ptx_line) +
              ": " + f.text;
    }
    return text;
  }
};

inline std::string KernelText(const Case& c) {
  std::string text = ".version 8.7\n.target " + std::string(c.arch == 80 ? "sm_80" : "sm_90a") +
                     "\n.address_size 64\n" + c.declarations + ".visible .entry k(";
  for (size_t b = 0; b < c.buffers.size(); ++b) {
    text += std::string(b ? ", " : "") + ".param .u64 b" + std::to_string(b);
  }
  text +=
      ")\n{\n.reg .pred %p<40>;\n.reg .b16 %h<40>;\n.reg .b32 %r<200>;\n.reg .f32 %f<200>;\n"
      ".reg .b64 %d<60>;\n.reg .f64 %e<40>;\n.reg .b128 %q<8>;\n"
      ".shared .align 1024 .b8 sm[4096];\nmov.u32 %r0, %tid.x;\n";
  for (size_t b = 0; b < c.buffers.size(); ++b) {
    text += "ld.param.u64 %d" + std::to_string(b) + ", [b" + std::to_string(b) + "];\n";
  }
  return text + c.body + "\nret;\n}\n";
}

// Of kernel k, whose parameters are these addresses.
inline LaunchConfig ConfigOf(Module& module, const std::vector<uint64_t>& addresses) {
  LaunchConfig config;
  config.module = &module;
  config.kernel = "k";
  config.params.resize(8 * addresses.size());
  if (!addresses.empty()) std::memcpy(config.params.data(), addresses.data(), config.params.size());
  return config;
}

// Throws ptx::Error where the body is refused.
inline Outcome RunPtx(const Case& c) {
  Options options;
  options.arch = c.arch;
  options.seed = c.seed;
  options.threads = c.workers;
  options.memory = uint64_t{64} << 20;
  Device device(options);
  Module module(device, ptx::Parse(KernelText(c)));
  module.Decode("k");
  std::vector<uint64_t> addresses;
  DeviceMemory& memory = device.memory();
  for (const Buffer& b : c.buffers) {
    const uint64_t at = memory.Allocate(b.bytes.size(), "buffer");
    addresses.push_back(at);
    std::memcpy(memory.Data(at), b.bytes.data(), b.bytes.size());
    for (size_t k = 0; k < b.bytes.size(); ++k) {
      if (b.written.empty() || b.written[k]) memory.SetState(at + k, 1, kWritten);
    }
  }
  LaunchConfig config = ConfigOf(module, addresses);
  config.grid[0] = c.blocks;
  config.block[0] = c.threads;
  Outcome outcome;
  outcome.result = device.Run(config);
  outcome.findings = device.findings().all();
  for (size_t b = 0; b < c.buffers.size(); ++b) {
    Buffer after;
    const size_t bytes = c.buffers[b].bytes.size();
    after.bytes.assign(memory.Data(addresses[b]), memory.Data(addresses[b]) + bytes);
    for (size_t k = 0; k < bytes; ++k) {
      after.written.push_back(*memory.State(addresses[b] + k) == kWritten);
    }
    outcome.buffers.push_back(std::move(after));
  }
  return outcome;
}

// Lines that load or store element tid.x of buffer b: "ld.global.b32 %r5, ...".
inline std::string LoadMine(int b, const std::string& type, const std::string& reg, int bytes) {
  return "mad.wide.u32 %d59, %r0, " + std::to_string(bytes) + ", %d" + std::to_string(b) +
         ";\nld.global." + type + " " + reg + ", [%d59];\n";
}
inline std::string StoreMine(int b, const std::string& type, const std::string& reg, int bytes) {
  return "mad.wide.u32 %d59, %r0, " + std::to_string(bytes) + ", %d" + std::to_string(b) +
         ";\nst.global." + type + " [%d59], " + reg + ";\n";
}

// splitmix64: the same numbers on every machine.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(Next() % n); }

 private:
  uint64_t state_;
};

}  // namespace softgpu::testing
