#include "tests/softgpu/machine/counters.h"

#include <algorithm>
#include <bit>

#include "tests/softgpu/machine/ops_memory.h"

namespace softgpu {
namespace {

using Pattern = Access::Pattern;
constexpr uint64_t kSector = 32;
constexpr uint32_t kBanks = 32, kBankBytes = 4;

// A set of at most 256 words, for counting distinct ones; cheap to make.
class Words {
 public:
  Words() {}  // leaves the words as they are
  // Whether it was not in there.
  bool Add(uint64_t word) {
    uint32_t at = static_cast<uint32_t>((word * 0x9E3779B97F4A7C15ULL) >> 55);
    for (; used_[at / 64] >> (at % 64) & 1; at = (at + 1) % kSlots) {
      if (words_[at] == word) return false;
    }
    used_[at / 64] |= uint64_t{1} << (at % 64);
    words_[at] = word;
    return true;
  }

 private:
  static constexpr uint32_t kSlots = 512;
  uint64_t used_[kSlots / 64] = {};
  uint64_t words_[kSlots];
};

struct Cost {
  uint64_t moved, ideal;
};

// Where addresses grow from lane to lane nothing comes twice but at once. Else nothing.
Cost SortedSectors(const Access& access) {
  if (access.mask != kAllLanes) return {0, 0};
  const uint64_t* const a = access.address;
  uint64_t falls = 0, distinct = 1, moved = 1;
  for (int l = 1; l < kLanes; ++l) {
    falls |= a[l] < a[l - 1];
    distinct += a[l] != a[l - 1];
    moved += a[l] / kSector != a[l - 1] / kSector;
  }
  if (falls) return {0, 0};
  return {moved, (distinct * access.bytes + kSector - 1) / kSector};
}

Cost Sectors(const Access& access) {
  const uint64_t bytes = access.bytes;
  const uint64_t a = access.address[access.first];
  if (access.pattern == Pattern::kUnitStride || access.pattern == Pattern::kUniform) {
    const uint64_t all = access.pattern == Pattern::kUniform ? bytes : bytes * kLanes;
    return {(a + all - 1) / kSector - a / kSector + 1, (all + kSector - 1) / kSector};
  }
  // Lanes are aligned to their bytes, so each stays in one sector. Neighbours often share it.
  if (const Cost cost = SortedSectors(access); cost.moved) return cost;
  Words elements, sectors;
  uint64_t distinct = 0, moved = 0, last = ~uint64_t{0}, last_sector = ~uint64_t{0};
  for (uint32_t m = access.mask; m; m &= m - 1) {
    const uint64_t element = access.address[std::countr_zero(m)];
    if (element == last) continue;
    last = element;
    distinct += elements.Add(element);
    if (element / kSector == last_sector) continue;
    last_sector = element / kSector;
    moved += sectors.Add(last_sector);
  }
  return {moved, (distinct * bytes + kSector - 1) / kSector};
}

// Where all words are different ones.
uint32_t PassesInOrder(const Access& access, uint32_t lanes, int shift, uint32_t places) {
  uint32_t count[kBanks] = {}, most = 1;
  for (uint32_t m = lanes; m; m &= m - 1) {
    const auto word = static_cast<uint32_t>(access.address[std::countr_zero(m)] >> shift);
    most = std::max(most, ++count[word & (places - 1)]);
  }
  return most;
}

// Passes that these lanes need together: the most distinct words that one bank is asked for. Wider
// accesses are aligned, so that two meet in all of their banks or in none.
uint32_t Passes(const Access& access, uint32_t lanes, bool in_order) {
  const uint32_t width = std::max(access.bytes, kBankBytes);
  const int shift = std::countr_zero(width);
  const uint32_t places = kBanks * kBankBytes / width;
  if (in_order) return PassesInOrder(access, lanes, shift, places);
  uint64_t first_at[kBanks];
  uint32_t count[kBanks];
  uint32_t asked = 0, most = 1;
  Words others;  // than the first one at their place
  for (uint32_t m = lanes; m; m &= m - 1) {
    const uint64_t word = access.address[std::countr_zero(m)] >> shift;
    const uint32_t place = word & (places - 1);
    if (!((asked >> place) & 1)) {
      asked |= 1u << place;
      first_at[place] = word;
      count[place] = 1;
    } else if (first_at[place] != word && others.Add(word)) {
      most = std::max(most, ++count[place]);
    }
  }
  return most;
}

// Whether in each part of so many lanes all have places of their own. All lanes are there.
template <uint32_t kWidth>
bool HaveOwnBanks(const Access& access) {
  constexpr int kShift = std::countr_zero(kBanks * kBankBytes / kWidth);
  uint32_t place[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    place[l] = 1u << (static_cast<uint32_t>(access.address[l]) >> kShift & (kWidth - 1));
  }
  uint32_t all = kAllLanes;
  for (uint32_t first = 0; first < kLanes; first += kWidth) {
    uint32_t asked = 0;
    for (uint32_t l = first; l < first + kWidth; ++l) asked |= place[l];
    all &= asked;
  }
  return all == kAllLanes >> (kLanes - kWidth);
}

Cost Wavefronts(const Access& access) {
  // 8 and 16 bytes a lane go by half and quarter warps.
  const uint32_t parts = access.bytes <= 4 ? 1 : access.bytes / 4;
  if (access.pattern == Pattern::kUniform) return {1, 1};
  if (access.pattern == Pattern::kUnitStride) return {parts, parts};
  const uint32_t width = kLanes / parts;
  if (access.mask == kAllLanes && ((access.bytes == 4 && HaveOwnBanks<32>(access)) ||
                                   (access.bytes == 8 && HaveOwnBanks<16>(access)) ||
                                   (access.bytes == 16 && HaveOwnBanks<8>(access)))) {
    return {parts, parts};
  }
  const bool in_order = access.bytes >= kBankBytes && InOrder(access);
  Cost cost = {0, 0};
  for (uint32_t p = 0; p < parts; ++p) {
    const uint32_t lanes = access.mask & (kAllLanes >> (kLanes - width)) << (p * width);
    if (!lanes) continue;
    cost.moved += Passes(access, lanes, in_order);
    ++cost.ideal;
  }
  return cost;
}

}  // namespace

void CountAccess(const Access& access, Counters& counters) {
  if (access.space == ptx::Space::kShared) {
    const Cost cost = Wavefronts(access);
    if (!access.write || access.atomic) {
      counters.shared_load_wavefronts += cost.moved;
      counters.shared_load_wavefronts_ideal += cost.ideal;
    }
    if (access.write || access.atomic) {
      counters.shared_store_wavefronts += cost.moved;
      counters.shared_store_wavefronts_ideal += cost.ideal;
    }
    return;
  }
  const Cost cost = Sectors(access);
  const uint64_t bytes = static_cast<uint64_t>(std::popcount(access.mask)) * access.bytes;
  if (!access.write || access.atomic) {
    counters.load_bytes += bytes;
    counters.load_sectors += cost.moved;
    counters.load_sectors_ideal += cost.ideal;
  }
  if (access.write || access.atomic) {
    counters.store_bytes += bytes;
    counters.store_sectors += cost.moved;
    counters.store_sectors_ideal += cost.ideal;
  }
}

void Counters::Add(const Counters& other) {
  for (size_t k = 0; k < std::size(insts); ++k) insts[k] += other.insts[k];
  static constexpr uint64_t Counters::*kSums[] = {&Counters::warp_insts,
                                                  &Counters::lane_insts,
                                                  &Counters::branches,
                                                  &Counters::divergent_branches,
                                                  &Counters::flops_f32,
                                                  &Counters::flops_f64,
                                                  &Counters::flops_half,
                                                  &Counters::flops_mma,
                                                  &Counters::special_functions,
                                                  &Counters::load_bytes,
                                                  &Counters::load_sectors,
                                                  &Counters::load_sectors_ideal,
                                                  &Counters::store_bytes,
                                                  &Counters::store_sectors,
                                                  &Counters::store_sectors_ideal,
                                                  &Counters::atomic_lanes,
                                                  &Counters::shared_load_wavefronts,
                                                  &Counters::shared_load_wavefronts_ideal,
                                                  &Counters::shared_store_wavefronts,
                                                  &Counters::shared_store_wavefronts_ideal,
                                                  &Counters::async_copy_bytes,
                                                  &Counters::local_bytes,
                                                  &Counters::barriers,
                                                  &Counters::blocks,
                                                  &Counters::warps};
  for (const auto sum : kSums) this->*sum += other.*sum;
}

}  // namespace softgpu
