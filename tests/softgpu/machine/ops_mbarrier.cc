// mbarrier: arrival, transaction counts, waiting. The object's 8 bytes are opaque to programs; here
// they hold pending arrivals, expected arrivals, transaction bytes outstanding and the phase. A
// state token is the object as it was.
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

constexpr int64_t kMaxCount = (1 << 20) - 1;

struct Object {
  int64_t pending = 0, expected = 0, transactions = 0;
  bool phase = false;

  static Object From(uint64_t bits) {
    Object o;
    o.pending = static_cast<int64_t>(bits & kMaxCount);
    o.expected = static_cast<int64_t>(bits >> 20 & kMaxCount);
    // 21 bits, two's complement.
    o.transactions = static_cast<int64_t>(bits >> 40 & 0x1fffff) - (bits >> 60 & 1 ? 0x200000 : 0);
    o.phase = bits >> 63;
    return o;
  }
  uint64_t Bits() const {
    return static_cast<uint64_t>(pending) | static_cast<uint64_t>(expected) << 20 |
           (static_cast<uint64_t>(transactions) & 0x1fffff) << 40 | uint64_t{phase} << 63;
  }
  void CompletePhase() {
    if (pending != 0 || transactions != 0) return;
    phase = !phase;
    pending = expected;
  }
};

enum class Action { kInit, kInvalidate, kArrive, kExpect, kComplete };

// Inst::extra is the AccessSpec. r: destination or kNoRef (state, predicate), count or bytes
// (kNoRef: 1), state or parity; a: arrive also expects bytes (r[1]); b: of copies, .noinc.
uint64_t Argument(const Warp& w, Ref ref, int lane) {
  return ref == kNoRef ? 1 : Get<uint32_t>(w, ref)[lane];
}

// For each lane in ascending order f(lane, object bits); the lanes reached.
enum class Use { kInit, kInvalidate, kUse };
template <Use kUse, class F>
uint32_t ForObjects(Warp& w, const Inst& i, F f) {
  const auto& spec = *static_cast<const AccessSpec*>(i.extra);
  uint64_t addresses[kLanes];
  uint32_t done = 0;
  for (uint32_t rest = TakeAddresses(w, i, spec, addresses); rest;) {
    Reached reached;
    Reach(w, i, spec, addresses, &rest, reached);
    if (reached.access.mask == 0) continue;
    const int first = static_cast<int>(reached.access.first);
    if (reached.access.space != ptx::Space::kShared) {
      Report(w, i, first, Check::kOutOfBounds, "an mbarrier that is not in shared memory");
      throw LaunchFault{kErrorIllegalAddress};
    }
    if (kUse != Use::kInit && !reached.written) {
      Report(w, i, first, Check::kUninitialised, "an mbarrier that was not initialised");
    }
    ForLanes(reached.access.mask, [&](int l) {
      uint64_t bits;
      uint8_t* data = LaneData(reached, l);
      std::memcpy(&bits, data, 8);
      f(l, bits);
      if (!spec.write) return;
      std::memcpy(data, &bits, 8);
      std::memset(LaneState(reached, l), kUse == Use::kInvalidate ? kUnwritten : kWritten, 8);
    });
    if (w.block->races) {
      if (spec.atomic) {
        w.block->races->OnStrongRead(w, reached.access);
      } else {
        w.block->races->OnWritten();
      }
    }
    done |= reached.access.mask;
  }
  return done;
}

void Init(Warp& w, const Inst& i) {
  ForObjects<Use::kInit>(w, i, [&](int l, uint64_t& bits) {
    const uint64_t count = Argument(w, i.r[1], l);
    if (count < 1 || count > kMaxCount) {
      Report(w, i, l, Check::kBarrier, "an mbarrier for " + std::to_string(count) + " arrivals");
    }
    Object o;
    o.pending = o.expected = static_cast<int64_t>(count & kMaxCount);
    bits = o.Bits();
  });
}

void Invalidate(Warp& w, const Inst& i) {
  ForObjects<Use::kInvalidate>(w, i, [](int, uint64_t&) {});
}

void Arrive(Warp& w, const Inst& i) {
  uint64_t states[kLanes] = {};
  const uint32_t done = ForObjects<Use::kUse>(w, i, [&](int l, uint64_t& bits) {
    states[l] = bits;
    Object o = Object::From(bits);
    if (i.a) o.transactions += static_cast<int64_t>(Argument(w, i.r[1], l));
    const auto count = static_cast<int64_t>(i.a ? 1 : Argument(w, i.r[1], l));
    if (count < 1 || count > o.pending) {
      Report(w, i, l, Check::kBarrier,
             std::to_string(count) + " arrivals at an mbarrier that waits for " +
                 std::to_string(o.pending));
      return;
    }
    o.pending -= count;
    o.CompletePhase();
    bits = o.Bits();
  });
  if (i.r[0] == kNoRef) return;
  uint8_t shadow[kLanes];
  for (int l = 0; l < kLanes; ++l) shadow[l] = done >> l & 1 ? 0 : 0xff;
  Put(w, i.r[0], states);
  PutShadow(w, i.r[0], 8, shadow);
}

template <int kSign>
void Transactions(Warp& w, const Inst& i) {
  ForObjects<Use::kUse>(w, i, [&](int l, uint64_t& bits) {
    Object o = Object::From(bits);
    o.transactions += kSign * static_cast<int64_t>(Argument(w, i.r[1], l));
    o.CompletePhase();
    bits = o.Bits();
  });
}

// Bulk copies that complete at one of the lanes' mbarriers.
void LandCopies(Warp& w, const Inst& i) {
  if (w.block->async == nullptr || AsyncOf(*w.block).bulk.empty()) return;
  AccessSpec spec = *static_cast<const AccessSpec*>(i.extra);
  spec.check_races = false;
  uint64_t addresses[kLanes];
  for (uint32_t rest = TakeAddresses(w, i, spec, addresses); rest;) {
    Reached reached;
    Reach(w, i, spec, addresses, &rest, reached);
    ForLanes(reached.access.mask, [&](int l) {
      uint8_t* const data = LaneData(reached, l);
      const uint32_t bytes =
          LandBulkCopies(w, static_cast<uint32_t>(data - w.block->shared.data()));
      if (bytes == 0) return;
      uint64_t bits;
      std::memcpy(&bits, data, 8);
      Object o = Object::From(bits);
      o.transactions -= bytes;
      o.CompletePhase();
      bits = o.Bits();
      std::memcpy(data, &bits, 8);
    });
  }
}

// True where the phase of the state, or the last one of that parity, is over.
template <bool kParity>
void Test(Warp& w, const Inst& i) {
  uint32_t over = 0;
  LandCopies(w, i);
  const uint32_t done = ForObjects<Use::kUse>(w, i, [&](int l, uint64_t& bits) {
    const bool asked =
        kParity ? Get<uint32_t>(w, i.r[2])[l] & 1 : Get<uint64_t>(w, i.r[2])[l] >> 63 & 1;
    over |= static_cast<uint32_t>(Object::From(bits).phase != asked) << l;
  });
  const uint32_t unknown = AnyShadow(Shadow(w, i.r[2], kParity ? 4 : 8)) | ~done;
  if (i.r[0] != kNoRef) PutPredicate(w, i.r[0], over, unknown);
  w.yields = w.exec & ~over;  // it will ask again
}

// The copies of the lanes land now, which is no earlier than the manual allows; then the lanes
// arrive, unless their arrival is balanced by one more that is expected (without .noinc).
void CopyArrive(Warp& w, const Inst& i) {
  CompleteAsync(w, w.exec);
  if (i.b) Arrive(w, i);
}

// --- builders ----------------------------------------------------------------------------------

void TakeShared(Words& words, AccessSpec& spec) {
  if (words.TakeOneOf({"shared", "shared::cta"}) >= 0) spec.space = ptx::Space::kShared;
  if (!words.Take("b64")) words.Refuse("the type must be b64, in the block's shared memory");
  words.Finish();
}
void SetAddress(Decoder& decoder, const ptx::Operand& operand, AccessSpec spec, Inst& inst) {
  const Decoder::Address address = decoder.TakeAddress(operand, spec.space);
  spec.base = address.base;
  spec.narrow = address.narrow;
  spec.offset = address.offset;
  spec.bytes = 8;
  inst.extra = decoder.code().Keep<AccessSpec>(spec);
  inst.klass = InstClass::kBarrier;
}
void TakeOrder(Words& words, AccessSpec& spec, Order order) {
  spec.order = order;
  if (words.Take("relaxed")) {
    spec.order = Order::kRelaxed;
  } else {
    words.TakeOneOf({"release", "acquire"});
  }
  words.TakeOneOf({"cta", "cluster"});  // a cluster is one block
  spec.scope = Scope::kBlock;
}

void BuildInit(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words,
               Action action) {
  AccessSpec spec;
  spec.write = true;
  TakeShared(words, spec);
  decoder.Operands(action == Action::kInit ? 2 : 1);
  SetAddress(decoder, instruction.operands[0], spec, inst);
  if (action == Action::kInit) inst.r[1] = decoder.Source(instruction.operands[1], Type::kU32);
  inst.exec = action == Action::kInit ? Init : Invalidate;
}

// arrive{.expect_tx} state, [a]{, n}; expect_tx, complete_tx [a], n.
void BuildArrive(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words,
                 Action action) {
  AccessSpec spec;
  spec.write = spec.atomic = true;
  const bool arrives = action == Action::kArrive;
  inst.a = arrives && words.Take("expect_tx");
  TakeOrder(words, spec, arrives ? Order::kRelease : Order::kRelaxed);
  TakeShared(words, spec);
  const size_t at = arrives ? 1 : 0, count = instruction.operands.size();
  if (count != at + 2 && !(arrives && !inst.a && count == 2))
    words.Refuse("has the wrong operands");
  if (arrives && instruction.operands[0].kind != ptx::Operand::Kind::kSink) {
    inst.r[0] = decoder.Destination(instruction.operands[0], Type::kB64);
  }
  SetAddress(decoder, instruction.operands[at], spec, inst);
  if (count == at + 2) inst.r[1] = decoder.Source(instruction.operands[at + 1], Type::kU32);
  inst.exec = arrives ? Arrive : action == Action::kExpect ? Transactions<1> : Transactions<-1>;
}

// test_wait{.parity} p, [a], state; try_wait the same with a hint of the time to wait.
void BuildTest(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words,
               bool may_hint) {
  AccessSpec spec;
  spec.atomic = true;
  const bool parity = words.Take("parity");
  TakeOrder(words, spec, Order::kAcquire);
  TakeShared(words, spec);
  if (!(may_hint && instruction.operands.size() == 4)) decoder.Operands(3);
  inst.r[0] = decoder.Predicate(instruction.operands[0]);
  SetAddress(decoder, instruction.operands[1], spec, inst);
  inst.r[2] = decoder.Source(instruction.operands[2], parity ? Type::kU32 : Type::kB64);
  inst.exec = parity ? Test<true> : Test<false>;
}

void BuildMbarrier(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (words.Take("init")) return BuildInit(instruction, decoder, inst, words, Action::kInit);
  if (words.Take("inval")) {
    return BuildInit(instruction, decoder, inst, words, Action::kInvalidate);
  }
  if (words.Take("arrive")) return BuildArrive(instruction, decoder, inst, words, Action::kArrive);
  if (words.Take("test_wait")) return BuildTest(instruction, decoder, inst, words, false);
  if (decoder.target() < 90) words.Refuse("needs sm_90");
  if (words.Take("expect_tx")) {
    return BuildArrive(instruction, decoder, inst, words, Action::kExpect);
  }
  if (words.Take("complete_tx")) {
    return BuildArrive(instruction, decoder, inst, words, Action::kComplete);
  }
  if (words.Take("try_wait")) return BuildTest(instruction, decoder, inst, words, true);
  words.Refuse("not covered");
}

}  // namespace

void BuildCopyArrive(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  AccessSpec spec;
  spec.write = spec.atomic = true;
  spec.order = Order::kRelease;
  if (!words.Take("async") || !words.Take("mbarrier") || !words.Take("arrive")) {
    words.Refuse("must be cp.async.mbarrier.arrive");
  }
  inst.b = words.Take("noinc");
  TakeShared(words, spec);
  decoder.Operands(1);
  SetAddress(decoder, instruction.operands[0], spec, inst);
  inst.exec = CopyArrive;
}

void AddMbarrierOps(BuilderTable& table) { table["mbarrier"] = BuildMbarrier; }

}  // namespace softgpu
