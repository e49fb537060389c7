#include "tests/softgpu/runtime/call_site.h"

#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>

#include "tests/softgpu/machine/findings.h"

namespace softgpu {
namespace {

std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// A path inside '...' of a shell.
std::string Quoted(const std::string& path) {
  std::string quoted = "'";
  for (char c : path) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// Lines of CUDA's own headers and stubs tell a reader nothing.
bool IsCudas(const std::string& path) {
  const std::string name = BaseName(path);
  return name.rfind("cuda_runtime", 0) == 0 || name.rfind("host_runtime.h", 0) == 0 ||
         name.find(".stub.c") != std::string::npos || name.find(".cudafe") != std::string::npos;
}

// "train.cu:12"; empty: unknown, or CUDA's own.
std::string SourceLine(const std::string& file, uint64_t offset) {
  // The tool must not be run under this library's own environment.
  const std::string command = "env -u LD_LIBRARY_PATH -u LD_PRELOAD addr2line -i -e " +
                              Quoted(file) + " " + Hex(offset) + " 2>/dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "";
  char line[4096];
  std::string found;
  while (std::fgets(line, sizeof(line), pipe) != nullptr) {
    std::string text(line);
    text = text.substr(0, text.find_first_of(" \n"));
    const std::string path = text.substr(0, text.rfind(':'));
    if (found.empty() && text.find('?') == std::string::npos && !IsCudas(path)) {
      found = BaseName(text);
    }
  }
  pclose(pipe);
  return found;
}

// The module of an address, and the address in the module's file.
bool FindModule(const void* address, std::string* file, uint64_t* offset) {
  Dl_info info;
  if (address == nullptr || dladdr(address, &info) == 0 || info.dli_fname == nullptr) return false;
  Elf64_Ehdr header;
  std::memcpy(&header, info.dli_fbase, sizeof(header));
  const uint64_t base = header.e_type == ET_EXEC ? 0 : reinterpret_cast<uintptr_t>(info.dli_fbase);
  *file = info.dli_fname;
  // The address is one that is returned to: the call is before it.
  *offset = reinterpret_cast<uintptr_t>(address) - 1 - base;
  return true;
}

std::string Locate(const std::array<const void*, 4>& callers) {
  std::string file, nearest, first_file;
  uint64_t offset = 0;
  for (const void* caller : callers) {
    if (!FindModule(caller, &file, &offset)) continue;
    // What called the program or the library that called is no answer.
    if (first_file.empty()) first_file = file;
    if (file != first_file) break;
    const std::string where = SourceLine(file, offset);
    if (!where.empty()) return where;
    if (!nearest.empty()) continue;
    nearest = BaseName(file) + "+" + Hex(offset);
  }
  return nearest;
}

// This library's own code, or the address sanitizer's, which stands before what it calls.
bool IsOurs(const void* address) {
  Dl_info info, own;
  if (dladdr(address, &info) == 0 || dladdr(reinterpret_cast<const void*>(&IsOurs), &own) == 0) {
    return false;
  }
  const bool sanitizer = info.dli_fname && BaseName(info.dli_fname).rfind("libasan", 0) == 0;
  return sanitizer || info.dli_fbase == own.dli_fbase;
}

}  // namespace

CallSite CallSite::Here(const char* call) {
  CallSite site;
  site.call = call;
  void* frames[16];
  const int count = backtrace(frames, 16);
  int at = 0;
  while (at < count && IsOurs(frames[at])) ++at;
  for (size_t i = 0; i < site.callers.size() && at < count; ++i) site.callers[i] = frames[at++];
  return site;
}

std::string CallSite::Line(const void* instruction) {
  std::string file;
  uint64_t offset = 0;
  if (!FindModule(static_cast<const char*>(instruction) + 1, &file, &offset)) return "";
  return SourceLine(file, offset);
}

std::string CallSite::Describe() const {
  static std::mutex mutex;
  static auto& known = *new std::map<std::array<const void*, 4>, std::string>;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto [entry, is_new] = known.try_emplace(callers);
  if (is_new) entry->second = Locate(callers);
  return entry->second.empty() ? call : std::string(call) + " at " + entry->second;
}

}  // namespace softgpu
