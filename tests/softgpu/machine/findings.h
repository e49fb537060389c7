// What the checks find. Every kind has a name by which it can be switched off
// (SOFTGPU_OFF=race-shared,leak); a finding is reported once a kind and place, then only counted.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace softgpu {

enum class Check : uint8_t {
  kOutOfBounds,  // global, shared, local, param, const
  kUseAfterFree,
  kMisaligned,
  kUninitialised,  // decided a branch, an address or a value that the host copies back
  kRaceShared,
  kRaceGlobal,
  kBarrier,    // not reached by all threads
  kWarpSync,   // shuffle, vote, __syncwarp with absent lanes
  kAsyncCopy,  // read before wait and barrier, or never waited for
  kLaunch,     // threads, grid, shared memory
  kHostCopy,   // range, direction, freed memory
  kDoubleFree,
  kLeak,
  kPinned,   // touched before the work that uses it is done
  kAssert,   // device assert, trap
  kTimeout,  // SOFTGPU_MAX_INSTRUCTIONS
  kCount
};
std::string Hex(uint64_t value);  // "0x4f", for messages
const char* Name(Check check);    // "out-of-bounds", "race-shared", ...

// Place of a finding inside a kernel; host findings leave kernel empty.
struct Place {
  std::string kernel;  // demangled
  uint32_t block[3] = {}, thread[3] = {};
  int ptx_line = 0;
  std::string source;  // "file.cu:12", or empty
};

struct Finding {
  Check check;
  Place place;
  std::string text;  // one line: what, the address, its allocation, the other party of a race
  uint64_t times = 1;
};

// Thread-safe. Prints each new finding to stderr as lines that open with "softgpu: ".
class Findings {
 public:
  void SwitchOff(const std::string& names);  // comma-separated; throws std::invalid_argument
  bool On(Check check) const { return !off_[static_cast<int>(check)]; }
  // False where the check is off. The text is made by the caller only for new places: ask New first
  // where it is dear.
  bool Report(Check check, const Place& place, const std::string& text);
  size_t count() const;
  std::vector<Finding> all() const;

 private:
  mutable std::mutex mutex_;
  bool off_[static_cast<int>(Check::kCount)] = {};
  std::map<std::string, size_t> by_place_;  // kind, kernel, line -> index in findings_
  std::vector<Finding> findings_;
};

}  // namespace softgpu
