// See wgmma_groups.h.
#include "tests/softgpu/machine/wgmma_groups.h"

#include <algorithm>
#include <cstring>

#include "tests/softgpu/machine/async_copies.h"
#include "tests/softgpu/machine/async_records.h"
#include "tests/softgpu/machine/lanes.h"

namespace softgpu {
namespace {

AsyncSums* Find(AsyncCopies::OfWarp& mine, const Ref* registers, int count) {
  for (AsyncSums& sums : mine.sums) {
    if (std::equal(sums.registers.begin(), sums.registers.end(), registers, registers + count)) {
      return &sums;
    }
  }
  return nullptr;
}

void CheckUnchanged(Warp& w, const AsyncOperands& operands) {
  const Block& block = *w.block;
  for (size_t c = 0; c < operands.offsets.size(); ++c) {
    constexpr uint32_t kChunk = AsyncOperands::kChunk;
    const uint32_t offset = operands.offsets[c];
    const bool same = std::memcmp(&block.shared[offset], &operands.data[c * kChunk], kChunk) == 0;
    if (same && !InFlight(block, offset, kChunk)) continue;
    Report(w, *operands.inst, 0, Check::kRaceShared,
           "an operand of this product, at shared address " + Hex(offset) +
               ", was written, or a copy to it issued, before the product was waited for");
    return;
  }
}

}  // namespace

void TakeSumShadows(Warp& w, const Ref* registers, int count, uint8_t* shadows) {
  const AsyncSums* const sums = Find(AsyncOf(*w.block).warps[w.index], registers, count);
  for (int r = 0; r < count; ++r) {
    std::memcpy(shadows + kLanes * r,
                sums ? &sums->shadows[static_cast<size_t>(kLanes * r)] : Shadow(w, registers[r], 4),
                kLanes);
  }
}

void HoldSumShadows(Warp& w, const Ref* registers, int count, const uint8_t* shadows) {
  auto& mine = AsyncOf(*w.block).warps[w.index];
  AsyncSums* sums = Find(mine, registers, count);
  if (sums == nullptr) {
    sums = &mine.sums.emplace_back();
    sums->registers.assign(registers, registers + count);
  }
  sums->shadows.assign(shadows, shadows + kLanes * count);
  sums->group = mine.sums_committed;
  uint8_t unwritten[kLanes];
  std::fill(unwritten, unwritten + kLanes, ShadowAll(4));
  for (int r = 0; r < count; ++r) PutShadow(w, registers[r], 4, unwritten);
}

void CommitSums(Warp& w) { ++AsyncOf(*w.block).warps[w.index].sums_committed; }

AsyncOperands& HoldOperands(Warp& w, const Inst& inst) {
  auto& mine = AsyncOf(*w.block).warps[w.index];
  AsyncOperands& operands = mine.operands.emplace_back();
  operands.inst = &inst;
  operands.group = mine.sums_committed;
  return operands;
}

void WaitSums(Warp& w, uint32_t groups_left) {
  auto& mine = AsyncOf(*w.block).warps[w.index];
  std::erase_if(mine.operands, [&](const AsyncOperands& operands) {
    if (mine.sums_committed - operands.group <= groups_left) return false;
    CheckUnchanged(w, operands);
    return true;
  });
  std::erase_if(mine.sums, [&](const AsyncSums& sums) {
    if (mine.sums_committed - sums.group <= groups_left) return false;
    for (size_t r = 0; r < sums.registers.size(); ++r) {
      PutShadow(w, sums.registers[r], 4, &sums.shadows[kLanes * r]);
    }
    return true;
  });
}

}  // namespace softgpu
