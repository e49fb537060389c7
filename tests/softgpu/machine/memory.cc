#include "tests/softgpu/machine/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "tests/softgpu/machine/findings.h"

namespace softgpu {
namespace {

// Address space for so many times the capacity, so that freed addresses stay free for long.
constexpr uint64_t kSpanFactor = 4;
constexpr uint64_t kMargin = 4096;  // mapped behind the span, for accesses that run over its end

void* Map(uint64_t bytes, int protection) {
  void* p = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    throw std::runtime_error("cannot reserve " + std::to_string(bytes >> 20) +
                             " MiB of address space (" + std::strerror(errno) +
                             "); set SOFTGPU_MEMORY to fewer bytes");
  }
  return p;
}

// What is used densely: large pages, where the system has them, as look-ups of addresses are what
// scattered accesses wait for.
template <class T>
T* MapDense(uint64_t bytes) {
  void* const p = Map(bytes, PROT_READ | PROT_WRITE);
  madvise(p, bytes, MADV_HUGEPAGE);  // a hint: without, all works as well
  return static_cast<T*>(p);
}

// Bytes of the range that an allocation takes: with a gap behind it, so that running over its end
// never meets the next one.
uint64_t RoomFor(uint64_t bytes) {
  constexpr uint64_t kUnit = DeviceMemory::kAlignment;
  return (bytes + 2 * kUnit - 1) / kUnit * kUnit;
}

// Zeroes a range and gives its whole pages back to the system.
void Discard(uint8_t* begin, uint64_t bytes) {
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t first = (reinterpret_cast<uint64_t>(begin) + page - 1) / page * page;
  const uint64_t last = (reinterpret_cast<uint64_t>(begin) + bytes) / page * page;
  uint8_t* const end = begin + bytes;
  if (first >= last) {
    std::memset(begin, 0, bytes);
    return;
  }
  uint8_t* const first_page = begin + (first - reinterpret_cast<uint64_t>(begin));
  uint8_t* const last_page = first_page + (last - first);
  std::memset(begin, 0, static_cast<size_t>(first_page - begin));
  std::memset(last_page, 0, static_cast<size_t>(end - last_page));
  if (madvise(first_page, last - first, MADV_DONTNEED) != 0) {
    std::memset(first_page, 0, last - first);
  }
}

}  // namespace

DeviceMemory::DeviceMemory(uint64_t capacity) : span_(capacity * kSpanFactor), capacity_(capacity) {
  reserved_ = Map(span_ + kMargin, PROT_NONE);
  base_ = reinterpret_cast<uint64_t>(reserved_);
  data_ = MapDense<uint8_t>(span_ + kMargin);
  state_ = MapDense<uint8_t>(span_ + kMargin);
  chunks_ = MapDense<uint64_t>(RaceBytes(span_ + kMargin, 16));
  granules_ = static_cast<uint64_t*>(Map(RaceBytes(span_ + kMargin, 4), PROT_READ | PROT_WRITE));
  next_ = base_ + kAlignment;
}

DeviceMemory::~DeviceMemory() {
  munmap(reserved_, span_ + kMargin);
  munmap(data_, span_ + kMargin);
  munmap(state_, span_ + kMargin);
  munmap(chunks_, RaceBytes(span_ + kMargin, 16));
  munmap(granules_, RaceBytes(span_ + kMargin, 4));
}

uint64_t DeviceMemory::FindRoom(uint64_t address, uint64_t room) const {
  for (auto next = allocations_.lower_bound(address); next != allocations_.end(); ++next) {
    const auto& [start, allocation] = *next;
    if (start - address >= room) break;
    if (!allocation.freed) address = start + RoomFor(allocation.bytes);
  }
  return address + room <= base_ + span_ ? address : 0;
}

uint64_t DeviceMemory::Allocate(uint64_t bytes, std::string label) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (bytes > capacity_ - used_) return 0;
  const uint64_t room = RoomFor(bytes);
  uint64_t address = FindRoom(next_, room);
  if (address == 0) address = FindRoom(base_ + kAlignment, room);
  if (address == 0) return 0;
  next_ = address + room;
  allocations_.erase(allocations_.lower_bound(address), allocations_.lower_bound(next_));
  used_ += bytes;
  allocations_[address] = {address, bytes, std::move(label), false};
  std::memset(State(address), kUnwritten, bytes);
  return address;
}

DeviceMemory::FreeResult DeviceMemory::Free(uint64_t address) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = allocations_.find(address);
  if (found == allocations_.end()) return FreeResult::kUnknown;
  if (found->second.freed) return FreeResult::kAlreadyFreed;
  found->second.freed = true;
  const uint64_t bytes = found->second.bytes;
  used_ -= bytes;
  Discard(State(address), bytes);
  Discard(Data(address), bytes);
  // Whole groups: the gap behind an allocation is nobody's.
  Discard(reinterpret_cast<uint8_t*>(RaceChunk(address)), RaceBytes(bytes, 16));
  Discard(reinterpret_cast<uint8_t*>(RaceGranule(address)), RaceBytes(bytes, 4));
  return FreeResult::kOk;
}

void DeviceMemory::ForgetRaces() {
  Discard(reinterpret_cast<uint8_t*>(chunks_), RaceBytes(span_ + kMargin, 16));
  Discard(reinterpret_cast<uint8_t*>(granules_), RaceBytes(span_ + kMargin, 4));
  next_race_number_ = 1;
}

Allocation DeviceMemory::Nearest(uint64_t address) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) {
    return after == allocations_.end() ? Allocation{} : after->second;
  }
  const auto before = std::prev(after);
  const bool inside = address - before->first < before->second.bytes;
  // Shortly before an allocation is nearer to it than far behind the last one.
  if (!inside && after != allocations_.end() &&
      after->first - address < address - (before->first + before->second.bytes)) {
    return after->second;
  }
  return before->second;
}

std::string DeviceMemory::Describe(uint64_t address) const {
  if (address == 0) return "0x0, a null pointer";
  const Allocation near = Nearest(address);
  const std::string name = near.label + " (" + std::to_string(near.bytes) + " bytes at " +
                           Hex(near.address) + (near.freed ? ", freed)" : ")");
  if (!Contains(address) || near.label.empty()) return Hex(address) + ", no device memory";
  if (address < near.address) {
    return Hex(address) + ", " + std::to_string(near.address - address) + " bytes before " + name;
  }
  if (address - near.address < near.bytes) {
    return Hex(address) + ", byte " + std::to_string(address - near.address) + " of " + name;
  }
  return Hex(address) + ", " + std::to_string(address - near.address - near.bytes) +
         " bytes past the end of " + name;
}

uint64_t DeviceMemory::used() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return used_;
}

std::map<uint64_t, Allocation> DeviceMemory::living() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::map<uint64_t, Allocation> living = allocations_;
  std::erase_if(living, [](const auto& entry) { return entry.second.freed; });
  return living;
}

void DeviceMemory::AddHost(void* address, uint64_t bytes, std::string label) {
  const std::lock_guard<std::mutex> lock(mutex_);
  host_[reinterpret_cast<uint64_t>(address)] = {static_cast<uint8_t*>(address), bytes,
                                                std::move(label)};
}

void DeviceMemory::RemoveHost(void* address) {
  const std::lock_guard<std::mutex> lock(mutex_);
  host_.erase(reinterpret_cast<uint64_t>(address));
}

const HostRange* DeviceMemory::FindHost(uint64_t address, uint64_t bytes) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto after = host_.upper_bound(address);
  if (after == host_.begin()) return nullptr;
  const HostRange& range = std::prev(after)->second;
  const uint64_t offset = address - std::prev(after)->first;
  return offset <= range.bytes && bytes <= range.bytes - offset ? &range : nullptr;
}

void DeviceMemory::SetState(uint64_t address, uint64_t bytes, ByteState state) {
  std::memset(State(address), state, bytes);
}

bool DeviceMemory::IsAllocated(uint64_t address, uint64_t bytes) const {
  if (!Contains(address) || bytes > span_ - (address - base_)) return false;
  return bytes == 0 || std::memchr(State(address), kNoMemory, bytes) == nullptr;
}

uint64_t DeviceMemory::FirstUnwritten(uint64_t address, uint64_t bytes) const {
  const void* found = std::memchr(State(address), kUnwritten, bytes);
  return found
             ? address + static_cast<uint64_t>(static_cast<const uint8_t*>(found) - State(address))
             : ~uint64_t{0};
}

}  // namespace softgpu
