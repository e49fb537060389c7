// Offsets of the container's fields were read off binaries that nvcc 13.0 wrote; every read is
// checked against the end, since a file may be cut.
#include "tests/softgpu/runtime/fatbin.h"

#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace softgpu {
namespace {

constexpr uint32_t kMagic = 0xba55ed50;
constexpr size_t kHeaderBytes = 16;
constexpr size_t kEntryBytes = 64;  // of an entry's header, at least
constexpr uint16_t kPtx = 1;
constexpr uint64_t kFlagLz4 = 0x2000, kFlagZstd = 0x8000;

template <class T>
T Read(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// ".target sm_90a, debug" -> the entry's arch and whether it is an arch-specific variant; the
// entry's header knows the number only.
void ReadTarget(FatbinEntry& entry) {
  const size_t at = entry.text.find(".target");
  if (at == std::string_view::npos) return;
  size_t i = entry.text.find("sm_", at);
  if (i == std::string_view::npos) return;
  i += 3;
  int arch = 0;
  while (i < entry.text.size() && entry.text[i] >= '0' && entry.text[i] <= '9' && arch < 10000) {
    arch = arch * 10 + (entry.text[i++] - '0');
  }
  entry.arch = arch;
  entry.specific = i < entry.text.size() && (entry.text[i] == 'a' || entry.text[i] == 'f');
}

FatbinEntry ReadEntry(std::string_view header, std::string_view payload) {
  FatbinEntry entry;
  entry.is_ptx = Read<uint16_t>(header.data()) == kPtx;
  entry.arch = static_cast<int>(Read<uint32_t>(header.data() + 28));
  entry.compressed = (Read<uint64_t>(header.data() + 40) & (kFlagLz4 | kFlagZstd)) != 0 ||
                     Read<uint32_t>(header.data() + 16) != 0;
  if (!entry.is_ptx || entry.compressed) return entry;
  entry.text = payload.substr(0, payload.find('\0'));
  ReadTarget(entry);
  return entry;
}

}  // namespace

size_t FatbinBytes(const void* header) {
  const char* p = static_cast<const char*>(header);
  if (p == nullptr || Read<uint32_t>(p) != kMagic) return 0;
  return Read<uint16_t>(p + 6) + Read<uint64_t>(p + 8);
}

std::vector<FatbinEntry> ParseFatbin(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || Read<uint32_t>(bytes.data()) != kMagic) {
    throw std::runtime_error("no container of device code: its first bytes are others");
  }
  const size_t header = Read<uint16_t>(bytes.data() + 6);
  const uint64_t size = Read<uint64_t>(bytes.data() + 8);
  if (header < kHeaderBytes || header > bytes.size() || size > bytes.size() - header) {
    throw std::runtime_error("a container of device code ends too early");
  }
  std::string_view rest = bytes.substr(header, size);
  std::vector<FatbinEntry> entries;
  while (!rest.empty()) {
    if (rest.size() < kEntryBytes) throw std::runtime_error("device code: an entry is cut");
    const size_t entry_header = Read<uint32_t>(rest.data() + 4);
    const uint64_t payload = Read<uint64_t>(rest.data() + 8);
    if (entry_header < kEntryBytes || entry_header > rest.size() ||
        payload > rest.size() - entry_header) {
      throw std::runtime_error("device code: an entry is longer than its container");
    }
    entries.push_back(ReadEntry(rest.substr(0, entry_header), rest.substr(entry_header, payload)));
    rest.remove_prefix(entry_header + payload);
  }
  return entries;
}

const FatbinEntry* ChoosePtx(const std::vector<FatbinEntry>& entries, int arch) {
  const FatbinEntry* best = nullptr;
  for (const FatbinEntry& entry : entries) {
    if (entry.text.empty()) continue;
    if (entry.specific ? entry.arch != arch : entry.arch > arch) continue;
    const bool better = best == nullptr || entry.arch > best->arch ||
                        (entry.arch == best->arch && entry.specific && !best->specific);
    if (better) best = &entry;
  }
  return best;
}

std::string WhyNoPtx(const std::vector<FatbinEntry>& entries, int arch) {
  bool compressed = false, newer = false;
  for (const FatbinEntry& entry : entries) {
    compressed = compressed || (entry.is_ptx && entry.compressed);
    newer = newer || !entry.text.empty();
  }
  std::string why = "the program holds no PTX";
  if (newer) {
    why = "the program holds no PTX for SOFTGPU_ARCH=" + std::to_string(arch);
  } else if (compressed) {
    why = "the program's PTX is compressed";
  }
  return why + "; " + kBuildFlags;
}

}  // namespace softgpu
