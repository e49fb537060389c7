#include "tests/softgpu/machine/findings.h"

#include <cstdio>
#include <sstream>
#include <stdexcept>

namespace softgpu {
namespace {

constexpr const char* kNames[] = {
    "out-of-bounds", "use-after-free", "misaligned", "uninitialised", "race-shared", "race-global",
    "barrier",       "warp-sync",      "async-copy", "launch",        "host-copy",   "double-free",
    "leak",          "pinned",         "assert",     "timeout",
};
static_assert(sizeof(kNames) / sizeof(kNames[0]) == static_cast<size_t>(Check::kCount));

std::string Coordinates(const uint32_t* v) {
  std::ostringstream text;
  text << "(" << v[0] << "," << v[1] << "," << v[2] << ")";
  return text.str();
}

}  // namespace

std::string Hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

const char* Name(Check check) { return kNames[static_cast<int>(check)]; }

void Findings::SwitchOff(const std::string& names) {
  for (size_t at = 0; at < names.size();) {
    const size_t comma = std::min(names.find(',', at), names.size());
    const std::string name = names.substr(at, comma - at);
    at = comma + 1;
    if (name.empty()) continue;
    int found = -1;
    std::string all;
    for (int i = 0; i < static_cast<int>(Check::kCount); ++i) {
      if (name == kNames[i]) found = i;
      all += std::string(i ? ", " : "") + kNames[i];
    }
    if (found < 0)
      throw std::invalid_argument("no check is called '" + name + "'; there are " + all);
    off_[found] = true;
  }
}

bool Findings::Report(Check check, const Place& place, const std::string& text) {
  if (!On(check)) return false;
  const std::lock_guard<std::mutex> lock(mutex_);
  // A finding of the host has no line: its text tells it from others.
  const std::string key = std::string(Name(check)) + "\n" + place.kernel + "\n" +
                          (place.kernel.empty() ? text : std::to_string(place.ptx_line));
  const auto [entry, is_new] = by_place_.try_emplace(key, findings_.size());
  if (!is_new) {
    ++findings_[entry->second].times;
    return true;
  }
  findings_.push_back({check, place, text});
  if (place.kernel.empty()) {
    std::fprintf(stderr, "softgpu: %s: %s\n", Name(check), text.c_str());
  } else {
    std::string where = place.kernel + " block " + Coordinates(place.block) + " thread " +
                        Coordinates(place.thread);
    if (place.ptx_line) where += ", PTX line " + std::to_string(place.ptx_line);
    if (!place.source.empty()) where += ", " + place.source;
    std::fprintf(stderr, "softgpu: %s: %s\nsoftgpu:   at %s\n", Name(check), text.c_str(),
                 where.c_str());
  }
  return true;
}

size_t Findings::count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return findings_.size();
}

std::vector<Finding> Findings::all() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return findings_;
}

}  // namespace softgpu
