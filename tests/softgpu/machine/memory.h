// Device memory: addresses that the host cannot dereference (as on a GPU), with a state byte for
// every byte, so that bounds, lifetime and "was it ever written" are one look-up.
//
// Device address + data_delta is where the bytes are, + state_delta where their states are.
// Addresses are given out in turn, over a range of several times the capacity: what is freed is not
// given out again before the range is used up, so a stale pointer is recognised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace softgpu {

enum ByteState : uint8_t {
  kNoMemory = 0,  // never allocated; between allocations
  kUnwritten = 1,
  kWritten = 2,
};

struct Allocation {
  uint64_t address = 0;
  uint64_t bytes = 0;
  std::string label;  // "cudaMalloc #3", a variable's name
  bool freed = false;
};

// Host memory that kernels may reach at its own address: pinned, registered, managed.
struct HostRange {
  uint8_t* address = nullptr;
  uint64_t bytes = 0;
  std::string label;
};

class DeviceMemory {
 public:
  static constexpr uint64_t kAlignment = 256;
  // Reserves address space (not memory). Throws std::runtime_error.
  explicit DeviceMemory(uint64_t capacity);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  // 0: does not fit. Bytes start unwritten.
  uint64_t Allocate(uint64_t bytes, std::string label);
  enum class FreeResult { kOk, kUnknown, kAlreadyFreed };
  FreeResult Free(uint64_t address);
  // The allocation (living or freed) that holds the address or, else, the nearest below it.
  // Empty bytes: there is none.
  Allocation Nearest(uint64_t address) const;
  // "0x... is 4 bytes past the end of cudaMalloc #3 (1024 bytes)": for messages.
  std::string Describe(uint64_t address) const;
  uint64_t capacity() const { return capacity_; }
  uint64_t used() const;
  std::map<uint64_t, Allocation> living() const;

  void AddHost(void* address, uint64_t bytes, std::string label);
  void RemoveHost(void* address);
  // nullptr: [address, address + bytes) is not wholly inside one range.
  const HostRange* FindHost(uint64_t address, uint64_t bytes) const;

  bool Contains(uint64_t address) const { return address - base_ < span_; }
  // The bytes up to here from any contained address are mapped (accesses of at most 64 bytes).
  uint8_t* Data(uint64_t address) const { return data_ + (address - base_); }
  uint8_t* State(uint64_t address) const { return state_ + (address - base_); }
  // The first word of the race checks' entry for 16 bytes, a chunk, and for 4 of them, a granule;
  // word k of it is k * kRaceGroup further, so that the entries of four neighbours, all granules of
  // a chunk, lie side by side: see global_record.h. Zero at first.
  uint64_t* RaceChunk(uint64_t address) const { return RaceEntry(chunks_, (address - base_) / 16); }
  uint64_t* RaceGranule(uint64_t address) const {
    return RaceEntry(granules_, (address - base_) / 4);
  }
  static constexpr int kRaceWords = 4;
  static constexpr int kRaceGroup = 4;
  // Asks for all that an access to these 64 bytes looks at. Any contained address will do.
  void Prefetch(uint64_t address) const {
    const uint64_t* const entry = chunks_ + (address - base_) / 64 * (kRaceGroup * kRaceWords);
    __builtin_prefetch(State(address));
    __builtin_prefetch(entry, 1);
    __builtin_prefetch(entry + 2 * kRaceGroup, 1);
    __builtin_prefetch(Data(address));
  }
  // The races' own: warps are numbered over all launches.
  uint64_t next_race_number() const { return next_race_number_; }
  void set_next_race_number(uint64_t number) { next_race_number_ = number; }
  // Zeroes all entries and numbers from the start again.
  void ForgetRaces();
  void SetState(uint64_t address, uint64_t bytes, ByteState state);
  // All bytes of the range are allocated (written or not).
  bool IsAllocated(uint64_t address, uint64_t bytes) const;
  // The first byte of the range that was never written, or ~0.
  uint64_t FirstUnwritten(uint64_t address, uint64_t bytes) const;

 private:
  static uint64_t* RaceEntry(uint64_t* entries, uint64_t index) {
    return entries + index / kRaceGroup * (kRaceGroup * kRaceWords) + index % kRaceGroup;
  }
  // Bytes of the entries for so many bytes of memory, in whole groups.
  static uint64_t RaceBytes(uint64_t bytes, uint64_t of_entry) {
    const uint64_t of_group = kRaceGroup * of_entry;
    return (bytes + of_group - 1) / of_group * kRaceGroup * kRaceWords * sizeof(uint64_t);
  }

  // The first place from here on, which is inside no allocation, where so many bytes meet nothing
  // living; 0: there is none.
  uint64_t FindRoom(uint64_t address, uint64_t room) const;

  uint64_t base_ = 0, span_ = 0, capacity_ = 0;
  uint8_t* data_ = nullptr;
  uint8_t* state_ = nullptr;
  uint64_t *chunks_ = nullptr, *granules_ = nullptr;
  void* reserved_ = nullptr;
  mutable std::mutex mutex_;
  uint64_t next_ = 0, used_ = 0;
  uint64_t next_race_number_ = 1;
  std::map<uint64_t, Allocation> allocations_;
  std::map<uint64_t, HostRange> host_;
};

}  // namespace softgpu
