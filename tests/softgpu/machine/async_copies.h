// Copies by cp.async that are under way. Their bytes reach shared memory when the thread that
// issued them waits for them, as late as the manual allows; until then they are in flight: whoever
// reads them has found a bug, and whoever writes them or their source races with the copy.
#pragma once

#include <cstdint>

#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// Block::async. Before the block goes; also makes it fit for another block.
void FreeAsync(Block& block);

// When lanes of the warp exit: what they never waited for is reported at the copy, and dropped.
void OnThreadExit(Warp& warp, const Inst& inst, uint32_t lanes);

// Any of the bytes at this offset of shared memory.
bool InFlight(const Block& block, uint32_t shared_offset, uint32_t bytes);

// An access to shared memory by another instruction: reports its lanes that touch bytes in flight.
void CheckInFlight(Warp& warp, const Inst& inst, const Access& access);

// Everything that these lanes have issued by cp.async lands now: for mbarriers that follow copies.
void CompleteAsync(Warp& warp, uint32_t lanes);

// The bulk copies that complete at the mbarrier at this offset land now; returns their bytes.
uint32_t LandBulkCopies(Warp& warp, uint32_t barrier);
// When the block's last threads exit.
void ReportBulkCopiesLeft(Warp& warp);

}  // namespace softgpu
