// cp.async.bulk from global to the block's shared memory, which completes at an mbarrier. The bytes
// land when somebody looks at that mbarrier, as late as the manual allows; until then they are in
// flight, like those of cp.async. What the copy knows (the clock of its thread) lies at the
// mbarrier from its issue on, for those who will have waited.
#include <algorithm>
#include <cstring>
#include <string>

#include "tests/softgpu/machine/async_copies.h"
#include "tests/softgpu/machine/async_records.h"
#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/ops_hopper.h"
#include "tests/softgpu/machine/ops_memory.h"
#include "tests/softgpu/machine/races.h"

namespace softgpu {
namespace {

constexpr uint32_t kPiece = 16;  // bytes: what addresses and sizes are multiples of

// Inst::extra. r[0]: bytes.
struct BulkSpec {
  AccessSpec to, from, barrier;
};

// Reaches every byte of a range for one lane: f(offset in the range, data, states). Races are seen
// as the lane's; costs as of accesses by all lanes.
template <class F>
void ForPieces(Warp& w, const Inst& i, int lane, AccessSpec spec, uint64_t address, uint32_t bytes,
               F f) {
  spec.check_races = false;
  for (uint32_t at = 0; at < bytes; at += kPiece * kLanes) {
    const uint32_t count = std::min<uint32_t>(kLanes, (bytes - at) / kPiece);
    uint64_t addresses[kLanes] = {};
    for (uint32_t l = 0; l < count; ++l) addresses[l] = address + at + l * kPiece;
    uint32_t rest = count == kLanes ? kAllLanes : (1u << count) - 1;
    while (rest) {
      Reached reached;
      Reach(w, i, spec, addresses, &rest, reached);
      ForLanes(reached.access.mask, [&](int l) {
        Access access;
        access.space = reached.access.space;
        access.write = spec.write;
        access.bytes = kPiece;
        access.mask = 1u << lane;
        access.first = static_cast<uint32_t>(lane);
        access.address[lane] = reached.access.address[l];
        if (w.block->races) w.block->races->OnAccess(w, i, access);
        f(at + static_cast<uint32_t>(l) * kPiece, LaneData(reached, l),
          reached.written && !spec.write ? nullptr : LaneState(reached, l));
        if (w.block->races && spec.write) w.block->races->OnWritten();
      });
    }
  }
}

void CopyLane(Warp& w, const Inst& i, int lane, uint64_t to, uint64_t from, uint64_t barrier,
              uint32_t bytes) {
  const BulkSpec& spec = *static_cast<const BulkSpec*>(i.extra);
  if (bytes % kPiece != 0 || bytes == 0) {
    Report(w, i, lane, Check::kMisaligned,
           "a bulk copy of " + std::to_string(bytes) + " bytes: a multiple of 16 is copied");
    throw LaunchFault{kErrorMisalignedAddress};
  }
  AsyncCopies& async = AsyncOf(*w.block);
  AsyncBulk bulk;
  bulk.inst = &i;
  bulk.bytes = bytes;
  bulk.thread = w.thread(lane);
  bulk.data.resize(bytes);
  bulk.unwritten.resize(bytes);
  ForPieces(w, i, lane, spec.from, from, bytes,
            [&](uint32_t at, const uint8_t* data, const uint8_t* state) {
              if (at == 0) bulk.source = data;
              std::memcpy(&bulk.data[at], data, kPiece);
              for (uint32_t b = 0; state && b < kPiece; ++b) {
                bulk.unwritten[at + b] = state[b] == kUnwritten;
              }
            });
  bool twice = false;
  uint8_t* const shared = w.block->shared.data();
  ForPieces(w, i, lane, spec.to, to, bytes, [&](uint32_t at, uint8_t* data, uint8_t* state) {
    if (at == 0) bulk.destination = static_cast<uint32_t>(data - shared);
    uint8_t* const flags =
        &async.in_flight[static_cast<size_t>(data - shared) / AsyncCopies::kGranule];
    for (uint32_t g = 0; g < kPiece / AsyncCopies::kGranule; ++g) {
      twice = twice || flags[g];
      flags[g] = 1;
    }
    NoteProxyWrite(*w.block, kNobody, static_cast<uint32_t>(data - shared), kPiece);
    std::memcpy(data, &bulk.data[at], kPiece);
    std::memset(state, kUnwritten, kPiece);
  });
  if (twice) {
    Report(w, i, lane, Check::kRaceShared,
           "a bulk copy to bytes to which another copy is in flight");
  }
  // The mbarrier learns what the thread knows.
  uint64_t addresses[kLanes] = {};
  addresses[lane] = barrier;
  uint32_t rest = 1u << lane;
  Reached reached;
  Reach(w, i, spec.barrier, addresses, &rest, reached);
  if (reached.access.space != ptx::Space::kShared) {
    Report(w, i, lane, Check::kOutOfBounds, "an mbarrier that is not in shared memory");
    throw LaunchFault{kErrorIllegalAddress};
  }
  if (w.block->races) w.block->races->OnStrongRead(w, reached.access);
  bulk.barrier = static_cast<uint32_t>(LaneData(reached, lane) - shared);
  async.bulk.push_back(std::move(bulk));
  ++async.pending;
  w.counters->async_copy_bytes += bytes;
}

void CopyBulk(Warp& w, const Inst& i) {
  const BulkSpec& spec = *static_cast<const BulkSpec*>(i.extra);
  uint64_t to[kLanes], from[kLanes], barrier[kLanes];
  uint32_t lanes = TakeAddresses(w, i, spec.to, to);
  lanes &= TakeAddresses(w, i, spec.from, from);
  lanes &= TakeAddresses(w, i, spec.barrier, barrier);
  const uint32_t* bytes = Get<uint32_t>(w, i.r[0]);
  const uint32_t unknown = AnyShadow(Shadow(w, i.r[0], 4)) & lanes;
  if (unknown) {
    Report(w, i, std::countr_zero(unknown), Check::kUninitialised,
           "the size of a bulk copy was never written");
    lanes &= ~unknown;
  }
  ForLanes(lanes, [&](int l) { CopyLane(w, i, l, to[l], from[l], barrier[l], bytes[l]); });
}

// Space is global or shared; the address an operand of its own.
AccessSpec SpecOf(Decoder& decoder, const ptx::Operand& operand, ptx::Space space, uint32_t bytes) {
  AccessSpec spec;
  spec.space = space;
  const Decoder::Address address = decoder.TakeAddress(operand, space);
  spec.base = address.base;
  spec.narrow = address.narrow;
  spec.offset = address.offset;
  spec.bytes = bytes;
  return spec;
}

}  // namespace

void BuildBulkCopy(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  words.Take("async");
  words.Take("bulk");
  if (decoder.target() < 90) words.Refuse("needs sm_90");
  if (words.TakeOneOf({"shared::cluster", "shared::cta"}) < 0 || !words.Take("global") ||
      !words.Take("mbarrier::complete_tx::bytes")) {
    words.Refuse("of bulk copies those from global to shared memory with an mbarrier are covered");
  }
  const bool cache_hint = words.Take("L2::cache_hint");
  words.Finish();
  decoder.Operands(cache_hint ? 5 : 4);
  BulkSpec spec;
  spec.to = SpecOf(decoder, instruction.operands[0], ptx::Space::kShared, kPiece);
  spec.to.write = true;
  spec.to.check_in_flight = false;
  spec.from = SpecOf(decoder, instruction.operands[1], ptx::Space::kGlobal, kPiece);
  inst.r[0] = decoder.Source(instruction.operands[2], Type::kU32);
  spec.barrier = SpecOf(decoder, instruction.operands[3], ptx::Space::kShared, 8);
  spec.barrier.write = spec.barrier.atomic = true;
  spec.barrier.order = Order::kRelease;
  inst.extra = decoder.code().Keep<BulkSpec>(spec);
  inst.exec = CopyBulk;
  inst.klass = InstClass::kAsyncCopy;
}

uint32_t LandBulkCopies(Warp& w, uint32_t barrier) {
  Block& block = *w.block;
  if (block.async == nullptr) return 0;
  auto& async = *static_cast<AsyncCopies*>(block.async);
  uint32_t landed = 0;
  std::erase_if(async.bulk, [&](const AsyncBulk& bulk) {
    if (bulk.barrier != barrier) return false;
    landed += bulk.bytes;
    --async.pending;
    for (uint32_t b = 0; b < bulk.bytes; ++b) {
      block.shared_state[bulk.destination + b] = bulk.unwritten[b] ? kUnwritten : kWritten;
    }
    std::memset(&async.in_flight[bulk.destination / AsyncCopies::kGranule], 0,
                bulk.bytes / AsyncCopies::kGranule);
    if (std::memcmp(bulk.source, bulk.data.data(), bulk.bytes) != 0) {
      Report(w, *bulk.inst, 0, Check::kRaceGlobal,
             "the source of a bulk copy by thread " + std::to_string(bulk.thread) +
                 " was written before the copy was waited for");
    }
    return true;
  });
  return landed;
}

void ReportBulkCopiesLeft(Warp& w) {
  auto& async = *static_cast<AsyncCopies*>(w.block->async);
  for (const AsyncBulk& bulk : async.bulk) {
    Report(w, *bulk.inst, static_cast<int>(bulk.thread % kLanes), Check::kAsyncCopy,
           "the block ends without anybody having waited for this copy");
  }
}

}  // namespace softgpu
