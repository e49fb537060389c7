// What is under way: copies, shared by the cp.async instructions (ops_async.cc) and
// async_copies.cc, and sums, of wgmma_groups.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// One cp.async of a warp. Arrays by lane.
struct AsyncCopy {
  const Inst* inst;
  uint32_t pending;  // lanes whose bytes have not landed
  uint32_t bytes;    // written by a lane: 4, 8, 16
  uint32_t destination[kLanes];
  uint32_t group[kLanes];  // how many groups the lane had committed before
  const uint8_t* source[kLanes];
  uint8_t read[kLanes];        // bytes of the source; the rest is zero
  uint16_t unwritten[kLanes];  // bit b: byte b of the source was never written
  uint8_t data[kLanes][16];
};

// Accumulators of a warp's wgmma that has not been waited for.
struct AsyncSums {
  std::vector<Ref> registers;
  std::vector<uint8_t> shadows;  // theirs once it is done, 32 bytes each
  uint32_t group;                // how many groups were committed before
};

// What such a wgmma reads of shared memory, in chunks of 16 bytes, as it was when it was issued.
struct AsyncOperands {
  static constexpr uint32_t kChunk = 16;
  const Inst* inst;
  uint32_t group;
  std::vector<uint32_t> offsets;
  std::vector<uint8_t> data;
};

// One cp.async.bulk of a thread. Its bytes lie at the destination already, where nobody may look.
struct AsyncBulk {
  const Inst* inst;
  uint32_t thread, bytes;
  uint32_t destination, barrier;  // offsets of shared memory
  const uint8_t* source;
  std::vector<uint8_t> data;       // of the source when it was issued
  std::vector<uint8_t> unwritten;  // 1: the byte of the source was never written
};

// Who wrote shared memory last, not by the async proxy (stores, cp.async, but not bulk copies), and
// whether a fence.proxy.async of that thread came after. Kept for kernels with wgmma.
struct ProxyWrites {
  struct Last {
    uint32_t thread = ~0u;  // nobody
    uint32_t fences = 0;    // that the thread had made before
  };
  std::vector<Last> last;        // a granule of shared memory
  std::vector<uint32_t> fences;  // a thread
};

struct AsyncCopies {
  static constexpr uint32_t kGranule = 4;  // the smallest copy, and all are aligned
  struct OfWarp {
    uint32_t committed[kLanes] = {};                 // groups
    std::vector<std::unique_ptr<AsyncCopy>> copies;  // oldest first
    std::vector<AsyncSums> sums;
    std::vector<AsyncOperands> operands;
    uint32_t sums_committed = 0;
  };
  std::vector<OfWarp> warps;
  std::vector<uint8_t> in_flight;  // a flag for every granule of shared memory
  std::vector<AsyncBulk> bulk;
  ProxyWrites proxy;     // empty: not kept
  uint32_t pending = 0;  // records with lanes left, of all warps; and bulk copies
  std::vector<std::unique_ptr<AsyncCopy>> pool;
};

AsyncCopies& AsyncOf(Block& block);
// For a block of a kernel with wgmma, before it runs.
void FollowProxyWrites(Block& block, uint32_t threads);
// A write by this thread, or (kNobody) by the async proxy.
inline constexpr uint32_t kNobody = ~0u;
void NoteProxyWrite(Block& block, uint32_t thread, uint32_t offset, uint32_t bytes);
// The thread that wrote there and has made no fence since; kNobody where there is none.
uint32_t UnfencedWriter(const Block& block, uint32_t offset, uint32_t bytes);
void NoteProxyFence(Warp& warp, uint32_t lanes);
// A record to fill. Its fields hold anything.
AsyncCopy& NewCopy(AsyncCopies& async, uint32_t warp);
// The record is filled: its destinations are in flight from now on. Reports what already was.
void StartCopy(Warp& w, AsyncCopies& async, AsyncCopy& copy);
// Lands the lanes' copies but those of the newest groups_left groups, and those not committed.
inline constexpr int32_t kNoGroupLeft = -1;  // not even the one not committed
void WaitCopies(Warp& w, uint32_t lanes, int32_t groups_left);

}  // namespace softgpu
