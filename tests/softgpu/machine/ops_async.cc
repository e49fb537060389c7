// cp.async of global to shared memory, its groups and waits. What a copy does to memory, and when,
// is in async_copies.cc.
#include <cstring>
#include <string>

#include "tests/softgpu/machine/async_records.h"
#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/ops_hopper.h"
#include "tests/softgpu/machine/ops_memory.h"

namespace softgpu {
namespace {

// Inst::extra. r[0]: source size or kNoRef; r[1]: predicate to ignore the source, or kNoRef; a: it
// is negated.
struct CopySpec {
  AccessSpec to, from;
};

template <uint32_t kBytes>
void CopyData(const Reached& reached, uint32_t at, AsyncCopy& copy) {
  ForLanes(reached.access.mask, [&](int l) {
    const uint8_t* data = LaneData(reached, l);
    if (at == 0) copy.source[l] = data;
    std::memcpy(copy.data[l] + at, data, kBytes);
    copy.read[l] = static_cast<uint8_t>(at + kBytes);
  });
}

void NoteSource(const Reached& reached, uint32_t at, AsyncCopy& copy) {
  const uint32_t bytes = reached.access.bytes;
  const auto copy_data = bytes == 16  ? CopyData<16>
                         : bytes == 8 ? CopyData<8>
                         : bytes == 4 ? CopyData<4>
                         : bytes == 2 ? CopyData<2>
                                      : CopyData<1>;
  copy_data(reached, at, copy);
  if (reached.written) return;
  ForLanes(reached.access.mask, [&](int l) {
    const uint8_t* state = LaneState(reached, l);
    for (uint32_t b = 0; state && b < bytes; ++b) {
      if (state[b] == kUnwritten) copy.unwritten[l] |= static_cast<uint16_t>(1u << (at + b));
    }
  });
}

void ReadSource(Warp& w, const Inst& i, const AccessSpec& spec, const uint64_t* addresses,
                uint32_t lanes, uint32_t at, AsyncCopy& copy) {
  while (lanes) {
    Reached reached;
    Reach(w, i, spec, addresses, &lanes, reached);
    if (reached.access.mask) NoteSource(reached, at, copy);
  }
}

// Lanes that read fewer bytes than they write: in pieces of a power of two.
void ReadPartialSource(Warp& w, const Inst& i, AccessSpec spec, const uint64_t* addresses,
                       const uint32_t* sizes, uint32_t lanes, AsyncCopy& copy) {
  ForLanes(lanes, [&](int l) {
    if (addresses[l] % spec.bytes == 0) return;
    Report(w, i, l, Check::kMisaligned,
           "the source of a cp.async of " + std::to_string(spec.bytes) +
               " bytes is not aligned to them");
  });
  uint64_t at_piece[kLanes] = {};
  for (uint32_t piece = 8; piece; piece /= 2) {
    // Sizes are below 16, so that a piece lies behind all the larger ones.
    for (uint32_t at = 0; at < 16; at += 2 * piece) {
      uint32_t some = 0;
      ForLanes(lanes, [&](int l) {
        const bool due = (sizes[l] & piece) && (sizes[l] & ~(2 * piece - 1)) == at;
        some |= static_cast<uint32_t>(due) << l;
        at_piece[l] = addresses[l] + at;
      });
      spec.bytes = piece;
      if (some) ReadSource(w, i, spec, at_piece, some, at, copy);
    }
  }
}

// Bytes each lane reads.
void SourceSizes(const Warp& w, const Inst& i, uint32_t bytes, uint32_t* sizes) {
  const uint32_t* given = i.r[0] != kNoRef ? Get<uint32_t>(w, i.r[0]) : nullptr;
  for (int l = 0; l < kLanes; ++l) sizes[l] = given ? given[l] : bytes;
  if (i.r[1] == kNoRef) return;
  const uint32_t value = PredicateValue(w, i.r[1]), ignored = i.a ? ~value : value;
  ForLanes(ignored, [&](int l) { sizes[l] = 0; });
}

void CheckSizes(const Warp& w, const Inst& i, uint32_t bytes, uint32_t* sizes) {
  uint32_t unknown = 0;
  if (i.r[0] != kNoRef) unknown |= AnyShadow(Shadow(w, i.r[0], 4)) & w.exec;
  if (i.r[1] != kNoRef) unknown |= PredicateShadow(w, i.r[1]) & w.exec;
  if (unknown) {
    Report(w, i, std::countr_zero(unknown), Check::kUninitialised,
           "the source size of a cp.async depends on a value that was never written");
  }
  ForLanes(w.exec, [&](int l) {
    if (sizes[l] <= bytes) return;
    Report(w, i, l, Check::kAsyncCopy,
           "the source size " + std::to_string(sizes[l]) + " of a cp.async is larger than the " +
               std::to_string(bytes) + " bytes it copies");
    sizes[l] = bytes;
  });
}

void CopyAsync(Warp& w, const Inst& i) {
  const CopySpec& spec = *static_cast<const CopySpec*>(i.extra);
  const uint32_t bytes = spec.to.bytes;
  uint64_t to[kLanes], from[kLanes];
  uint32_t sizes[kLanes];
  uint32_t rest = TakeAddresses(w, i, spec.to, to);
  SourceSizes(w, i, bytes, sizes);
  if (i.r[0] != kNoRef || i.r[1] != kNoRef) CheckSizes(w, i, bytes, sizes);
  if (rest == 0) return;
  Reached destination;
  Reach(w, i, spec.to, to, &rest, destination);
  uint32_t lanes = destination.access.mask;
  uint32_t whole = 0, partial = 0;
  ForLanes(lanes, [&](int l) {
    whole |= static_cast<uint32_t>(sizes[l] == bytes) << l;
    partial |= static_cast<uint32_t>(sizes[l] != 0 && sizes[l] != bytes) << l;
  });
  if (whole | partial) {
    const uint32_t known = TakeAddresses(w, i, spec.from, from);
    // An address that nothing is read from may hold anything.
    lanes &= known | ~(whole | partial);
    whole &= known;
    partial &= known;
  }
  if (lanes == 0) return;
  AsyncCopies& async = AsyncOf(*w.block);
  AsyncCopy& copy = NewCopy(async, w.index);
  copy.inst = &i;
  copy.pending = lanes;
  copy.bytes = bytes;
  for (int l = 0; l < kLanes; ++l) copy.destination[l] = static_cast<uint32_t>(to[l]);
  std::memcpy(copy.group, async.warps[w.index].committed, sizeof(copy.group));
  std::memset(copy.read, 0, sizeof(copy.read));
  std::memset(copy.unwritten, 0, sizeof(copy.unwritten));
  if (whole != kAllLanes) std::memset(copy.data, 0, sizeof(copy.data));
  if (whole) ReadSource(w, i, spec.from, from, whole, 0, copy);
  if (partial) ReadPartialSource(w, i, spec.from, from, sizes, partial, copy);
  StartCopy(w, async, copy);
  w.counters->async_copy_bytes += static_cast<uint64_t>(std::popcount(lanes)) * bytes;
}

void CommitGroup(Warp& w, const Inst&) {
  if (w.block->async == nullptr) return;  // no copy so far: the group is empty
  uint32_t* committed = AsyncOf(*w.block).warps[w.index].committed;
  for (int l = 0; l < kLanes; ++l) committed[l] += (w.exec >> l) & 1;
}

void WaitGroup(Warp& w, const Inst& i) { WaitCopies(w, w.exec, static_cast<int32_t>(i.imm)); }

// --- builders ----------------------------------------------------------------------------------

void SetAddress(Decoder& decoder, const ptx::Operand& operand, AccessSpec& spec) {
  const Decoder::Address address = decoder.TakeAddress(operand, spec.space);
  spec.base = address.base;
  spec.narrow = address.narrow;
  spec.offset = address.offset;
}

bool IsPredicate(const Decoder& decoder, const ptx::Operand& operand) {
  return operand.kind == ptx::Operand::Kind::kRegister &&
         decoder.function().registers[static_cast<size_t>(operand.index)].bits == 1;
}

void BuildCopy(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words) {
  const int level = words.TakeOneOf({"ca", "cg"});
  if (level < 0) words.Refuse("only cp.async.ca, .cg, .commit_group and .wait_... are covered");
  if (words.TakeOneOf({"shared", "shared::cta"}) < 0 || !words.Take("global")) {
    words.Refuse("a copy goes from global to shared memory");
  }
  const bool cache_hint = words.Take("L2::cache_hint");
  words.TakeOneOf({"L2::64B", "L2::128B", "L2::256B"});
  words.Finish();
  const size_t count = instruction.operands.size() - (cache_hint ? 1 : 0);
  if (count != 3 && count != 4) words.Refuse("has the wrong number of operands");
  const int64_t bytes = decoder.Integer(instruction.operands[2]);
  if (bytes != 16 && (level == 1 || (bytes != 4 && bytes != 8))) {
    words.Refuse(".ca copies 4, 8 or 16 bytes, .cg 16");
  }
  CopySpec spec;
  spec.to.space = ptx::Space::kShared;
  spec.from.space = ptx::Space::kGlobal;
  spec.to.bytes = spec.from.bytes = static_cast<uint32_t>(bytes);
  spec.to.write = true;
  spec.to.check_in_flight = false;
  SetAddress(decoder, instruction.operands[0], spec.to);
  SetAddress(decoder, instruction.operands[1], spec.from);
  if (count == 4) {
    const ptx::Operand& extra = instruction.operands[3];
    bool negated = false;
    if (IsPredicate(decoder, extra)) {
      inst.r[1] = decoder.SourcePredicate(extra, &negated);
    } else {
      inst.r[0] = decoder.Source(extra, Type::kU32);
    }
    inst.a = negated;
  }
  inst.exec = CopyAsync;
  inst.klass = InstClass::kAsyncCopy;
  inst.extra = decoder.code().Keep<CopySpec>(spec);
}

void BuildCp(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (!words.Take("async")) words.Refuse("only cp.async is covered");
  inst.klass = InstClass::kAsyncCopy;
  if (words.Take("commit_group")) {
    decoder.Operands(0);
    inst.exec = CommitGroup;
  } else if (words.Take("wait_all")) {
    decoder.Operands(0);
    inst.exec = WaitGroup;
    inst.imm = kNoGroupLeft;
  } else if (words.Take("wait_group")) {
    decoder.Operands(1);
    inst.exec = WaitGroup;
    inst.imm = decoder.Integer(instruction.operands[0]);
    if (inst.imm < 0 || inst.imm > 0x7fffffff) words.Refuse("the number of groups is no number");
  } else if (words.Peek() == "mbarrier") {
    BuildCopyArrive(instruction, decoder, inst);
    return;
  } else if (words.Peek() == "bulk") {
    BuildBulkCopy(instruction, decoder, inst);
    return;
  } else {
    BuildCopy(instruction, decoder, inst, words);
    return;
  }
  words.Finish();
}

}  // namespace

void AddAsyncOps(BuilderTable& table) { table["cp"] = BuildCp; }

}  // namespace softgpu
