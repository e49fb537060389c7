// Operations across the lanes of a warp: shfl, vote, match, redux, elect, activemask,
// bar.warp.sync. A value taken from a lane that does not take part is undefined by the manual: here
// it has all bits set and counts as never written, so that its use is found, not its reading
// (compilers shuffle first and drop the edge lanes afterwards).
#include "tests/softgpu/machine/ops_warp.h"

#include <algorithm>

#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/warp_sync.h"

namespace softgpu {

bool Members(Warp& w, const Inst& i, Ref mask_slot, bool any_place) {
  const uint32_t* masks = Get<uint32_t>(w, mask_slot);
  if (mask_slot & kConstantBit) return Converge(w, i, masks[0], any_place);
  uint32_t all = 0, left_out = 0;
  ForLanes(w.exec, [&](int l) {
    all |= masks[l];
    left_out |= ~masks[l] & (1u << l);
  });
  const uint32_t unwritten = AnyShadow(Shadow(w, mask_slot, 4)) & w.exec;
  if (unwritten) {
    Report(w, i, std::countr_zero(unwritten), Check::kUninitialised,
           "the member mask of a warp operation was never written");
  }
  if (left_out) {
    Report(w, i, std::countr_zero(left_out), Check::kWarpSync,
           "a lane runs a warp operation whose member mask leaves it out");
  }
  return Converge(w, i, all | w.exec, any_place);
}

namespace {

enum class ShflMode { kUp, kDown, kBfly, kIdx };
enum class VoteMode { kAll, kAny, kUni };
enum class ReduxOp { kAdd, kMin, kMax, kAnd, kOr, kXor };

// --- shfl -----------------------------------------------------------------------------------
// r: destination, source, b, c, mask (kNoRef: the form without .sync), predicate.

template <ShflMode kMode>
void SourceLanes(const uint32_t* b, const uint32_t* c, int32_t* from, uint32_t* in_range) {
  for (int l = 0; l < kLanes; ++l) {
    const int32_t bval = static_cast<int32_t>(b[l] & 31);
    const int32_t segment = static_cast<int32_t>((c[l] >> 8) & 31);
    const int32_t max_lane = (l & segment) | (static_cast<int32_t>(c[l] & 31) & ~segment);
    int32_t j;
    bool in;
    if constexpr (kMode == ShflMode::kUp) {
      j = l - bval;
      in = j >= max_lane;
    } else {
      if constexpr (kMode == ShflMode::kDown) j = l + bval;
      if constexpr (kMode == ShflMode::kBfly) j = l ^ bval;
      if constexpr (kMode == ShflMode::kIdx) j = (l & segment) | (bval & ~segment);
      in = j <= max_lane;
    }
    from[l] = in ? j : l;
    in_range[l] = in;
  }
}

template <ShflMode kMode>
void Shfl(Warp& w, const Inst& i) {
  if (i.r[4] != kNoRef && !Members(w, i, i.r[4])) return;
  int32_t from[kLanes];
  uint32_t in_range[kLanes];
  SourceLanes<kMode>(Get<uint32_t>(w, i.r[2]), Get<uint32_t>(w, i.r[3]), from, in_range);
  const uint32_t* a = Get<uint32_t>(w, i.r[1]);
  const uint8_t* a_shadow = Shadow(w, i.r[1], 4);
  const uint8_t* b_shadow = Shadow(w, i.r[2], 4);
  const uint8_t* c_shadow = Shadow(w, i.r[3], 4);
  const uint32_t* masks = i.r[4] != kNoRef ? Get<uint32_t>(w, i.r[4]) : nullptr;
  uint32_t d[kLanes], p = 0, p_shadow = 0;
  uint8_t shadow[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const int j = from[l] & 31;
    const uint32_t members = masks ? w.exec & masks[l] : w.exec;
    const bool there = (members >> j) & 1;
    const bool control = (b_shadow[l] | c_shadow[l]) != 0;
    d[l] = there ? a[j] : 0xffffffffu;
    shadow[l] = there && !control ? a_shadow[j] : 0xf;
    p |= in_range[l] << l;
    p_shadow |= static_cast<uint32_t>(control) << l;
  }
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], 4, shadow);
  if (i.r[5] != kNoRef) PutPredicate(w, i.r[5], p, p_shadow);
}

void BuildShfl(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const bool sync = words.Take("sync");
  if (!sync && decoder.target() >= 70) words.Refuse("shfl without .sync ended with sm_70");
  static constexpr Exec kExec[] = {Shfl<ShflMode::kUp>, Shfl<ShflMode::kDown>,
                                   Shfl<ShflMode::kBfly>, Shfl<ShflMode::kIdx>};
  const int mode = words.TakeOneOf({"up", "down", "bfly", "idx"});
  if (mode < 0) words.Refuse("the mode must be up, down, bfly or idx");
  if (!words.Take("b32")) words.Refuse("the type must be b32");
  words.Finish();
  decoder.Operands(sync ? 5 : 4);
  const ptx::Operand& d = instruction.operands[0];
  const bool pair = d.kind == ptx::Operand::Kind::kPair;
  inst.exec = kExec[mode];
  inst.klass = InstClass::kWarpOp;
  inst.r[0] = decoder.Destination(pair ? d.elements[0] : d, Type::kB32);
  if (pair) inst.r[5] = decoder.Predicate(d.elements[1]);
  for (int o = 1; o < (sync ? 5 : 4); ++o) {
    inst.r[o] = decoder.Source(instruction.operands[o], Type::kB32);
  }
}

// --- vote, activemask, elect ------------------------------------------------------------------
// vote r: destination, predicate, mask (kNoRef: without .sync); a: the source is negated.

// Calls f(members, lanes): lanes of exec whose masks are alike.
template <class F>
void ForGroups(Warp& w, Ref mask_slot, F f) {
  const uint32_t* masks = mask_slot != kNoRef ? Get<uint32_t>(w, mask_slot) : nullptr;
  for (uint32_t left = w.exec; left;) {
    const uint32_t mask = masks ? masks[std::countr_zero(left)] : w.exec;
    uint32_t lanes = 0;
    ForLanes(left, [&](int l) { lanes |= (!masks || masks[l] == mask ? 1u : 0u) << l; });
    f(mask & w.exec, lanes);
    left &= ~lanes;
  }
}

// The vote of a group: value, and whether unwritten predicates could change it.
template <VoteMode kMode>
void Count(uint32_t value, uint32_t shadow, uint32_t members, bool* result, bool* unknown) {
  const uint32_t known = members & ~shadow;
  const bool some_true = value & known, some_false = ~value & known,
             some_unknown = shadow & members;
  if constexpr (kMode == VoteMode::kAll) {
    *result = !(~value & members);
    *unknown = some_unknown && !some_false;
  } else if constexpr (kMode == VoteMode::kAny) {
    *result = value & members;
    *unknown = some_unknown && !some_true;
  } else {
    *result = !(value & members) || !(~value & members);
    *unknown = some_unknown && !(some_true && some_false);
  }
}

uint32_t VoteSource(const Warp& w, const Inst& i) {
  return i.a ? ~PredicateValue(w, i.r[1]) : PredicateValue(w, i.r[1]);
}

template <VoteMode kMode>
void Vote(Warp& w, const Inst& i) {
  if (i.r[2] != kNoRef && !Members(w, i, i.r[2])) return;
  const uint32_t value = VoteSource(w, i), shadow = PredicateShadow(w, i.r[1]);
  uint32_t d = 0, d_shadow = 0;
  ForGroups(w, i.r[2], [&](uint32_t members, uint32_t lanes) {
    bool result, unknown;
    Count<kMode>(value, shadow, members, &result, &unknown);
    if (result) d |= lanes;
    if (unknown) d_shadow |= lanes;
  });
  if (i.r[0] != kNoRef) PutPredicate(w, i.r[0], d, d_shadow);
}

void Ballot(Warp& w, const Inst& i) {
  if (i.r[2] != kNoRef && !Members(w, i, i.r[2])) return;
  const uint32_t value = VoteSource(w, i), shadow = PredicateShadow(w, i.r[1]);
  uint32_t d[kLanes] = {};
  uint8_t s[kLanes] = {};
  ForGroups(w, i.r[2], [&](uint32_t members, uint32_t lanes) {
    uint8_t bytes = 0;
    for (int b = 0; b < 4; ++b) {
      if ((shadow & members) >> (8 * b) & 0xff) bytes |= static_cast<uint8_t>(1 << b);
    }
    ForLanes(lanes, [&](int l) {
      d[l] = value & members;
      s[l] = bytes;
    });
  });
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], 4, s);
}

void BuildVote(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  bool sync = words.Take("sync");
  static constexpr Exec kExec[] = {Vote<VoteMode::kAll>, Vote<VoteMode::kAny>, Vote<VoteMode::kUni>,
                                   Ballot};
  const int mode = words.TakeOneOf({"all", "any", "uni", "ballot"});
  if (mode < 0) words.Refuse("the mode must be all, any, uni or ballot");
  // Inline PTX of CUB's says vote.ballot.sync, which ptxas takes, too.
  sync = sync || words.Take("sync");
  if (!sync && decoder.target() >= 70) words.Refuse("vote without .sync ended with sm_70");
  if (!words.Take(mode == 3 ? "b32" : "pred")) words.Refuse("the type is wrong");
  words.Finish();
  decoder.Operands(sync ? 3 : 2);
  bool negated = false;
  inst.exec = kExec[mode];
  inst.klass = InstClass::kWarpOp;
  inst.r[0] = mode == 3 ? decoder.Destination(instruction.operands[0], Type::kB32)
                        : decoder.Predicate(instruction.operands[0]);
  inst.r[1] = decoder.SourcePredicate(instruction.operands[1], &negated);
  inst.a = negated;
  if (sync) inst.r[2] = decoder.Source(instruction.operands[2], Type::kB32);
}

void ActiveMask(Warp& w, const Inst& i) {
  uint32_t d[kLanes];
  std::fill(d, d + kLanes, w.exec);
  Put(w, i.r[0], d);
  ClearShadow(w, i.r[0], 4);
}

void BuildActiveMask(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (!words.Take("b32")) words.Refuse("the type must be b32");
  words.Finish();
  decoder.Operands(1);
  inst.exec = ActiveMask;
  inst.klass = InstClass::kWarpOp;
  inst.r[0] = decoder.Destination(instruction.operands[0], Type::kB32);
}

// r: destination, predicate, mask. The manual leaves the choice of the leader open; the
// lowest lane is chosen.
void Elect(Warp& w, const Inst& i) {
  if (!Members(w, i, i.r[2])) return;
  uint32_t d[kLanes] = {}, p = 0;
  ForGroups(w, i.r[2], [&](uint32_t members, uint32_t lanes) {
    const uint32_t leader = static_cast<uint32_t>(std::countr_zero(members ? members : lanes));
    p |= 1u << leader;
    ForLanes(lanes, [&](int l) { d[l] = leader; });
  });
  Put(w, i.r[0], d);
  ClearShadow(w, i.r[0], 4);
  if (i.r[1] != kNoRef) PutPredicate(w, i.r[1], p, 0);
}

void BuildElect(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (!words.Take("sync")) words.Refuse("only elect.sync exists");
  words.Finish();
  decoder.Operands(2);
  const ptx::Operand& pair = instruction.operands[0];
  if (decoder.target() < 90) words.Refuse("needs sm_90");
  if (pair.kind != ptx::Operand::Kind::kPair) words.Refuse("the destination must be d|p");
  inst.exec = Elect;
  inst.klass = InstClass::kWarpOp;
  inst.r[0] = decoder.Destination(pair.elements[0], Type::kB32);
  inst.r[1] = decoder.Predicate(pair.elements[1]);
  inst.r[2] = decoder.Source(instruction.operands[1], Type::kB32);
}

// --- match, redux -----------------------------------------------------------------------------
// r: destination, source, mask, predicate.

template <class T>
void MatchAny(Warp& w, const Inst& i) {
  if (!Members(w, i, i.r[2])) return;
  const T* a = Get<T>(w, i.r[1]);
  const uint32_t unknown = AnyShadow(Shadow(w, i.r[1], sizeof(T)));
  uint32_t d[kLanes] = {};
  uint8_t s[kLanes] = {};
  ForGroups(w, i.r[2], [&](uint32_t members, uint32_t lanes) {
    ForLanes(lanes, [&](int l) {
      ForLanes(members, [&](int m) { d[l] |= (a[m] == a[l] ? 1u : 0u) << m; });
      s[l] = unknown & members ? 0xf : 0;
    });
  });
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], 4, s);
}

template <class T>
void MatchAll(Warp& w, const Inst& i) {
  if (!Members(w, i, i.r[2])) return;
  const T* a = Get<T>(w, i.r[1]);
  const uint32_t unknown = AnyShadow(Shadow(w, i.r[1], sizeof(T)));
  uint32_t d[kLanes] = {}, p = 0, p_shadow = 0;
  uint8_t s[kLanes] = {};
  ForGroups(w, i.r[2], [&](uint32_t members, uint32_t lanes) {
    bool same = true;
    const T first = a[std::countr_zero(lanes)];
    ForLanes(members, [&](int m) { same = same && a[m] == first; });
    if (same) p |= lanes;
    if (unknown & members) p_shadow |= lanes;
    ForLanes(lanes, [&](int l) {
      d[l] = same ? members : 0;
      s[l] = unknown & members ? 0xf : 0;
    });
  });
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], 4, s);
  if (i.r[3] != kNoRef) PutPredicate(w, i.r[3], p, p_shadow);
}

void BuildMatch(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int mode = words.TakeOneOf({"any", "all"});
  if (mode < 0 || !words.Take("sync")) words.Refuse("must be match.any.sync or match.all.sync");
  const Type type = words.TakeType();
  if (type != Type::kB32 && type != Type::kB64) words.Refuse("the type must be b32 or b64");
  words.Finish();
  decoder.Operands(3);
  const bool wide = type == Type::kB64;
  const ptx::Operand& d = instruction.operands[0];
  const bool pair = d.kind == ptx::Operand::Kind::kPair;
  if (pair && mode == 0) words.Refuse("match.any has one destination");
  inst.exec = mode == 0 ? (wide ? MatchAny<uint64_t> : MatchAny<uint32_t>)
                        : (wide ? MatchAll<uint64_t> : MatchAll<uint32_t>);
  inst.klass = InstClass::kWarpOp;
  inst.r[0] = decoder.Destination(pair ? d.elements[0] : d, Type::kB32);
  if (pair) inst.r[3] = decoder.Predicate(d.elements[1]);
  inst.r[1] = decoder.Source(instruction.operands[1], type);
  inst.r[2] = decoder.Source(instruction.operands[2], Type::kB32);
}

template <ReduxOp kOp, class T>
void Redux(Warp& w, const Inst& i) {
  if (!Members(w, i, i.r[2])) return;
  const T* a = Get<T>(w, i.r[1]);
  const uint32_t unknown = AnyShadow(Shadow(w, i.r[1], 4));
  T d[kLanes] = {};
  uint8_t s[kLanes] = {};
  ForGroups(w, i.r[2], [&](uint32_t members, uint32_t lanes) {
    T sum = a[std::countr_zero(lanes)];
    ForLanes(members & ~(lanes & -lanes), [&](int m) {
      if constexpr (kOp == ReduxOp::kAdd) sum = static_cast<T>(uint32_t(sum) + uint32_t(a[m]));
      if constexpr (kOp == ReduxOp::kMin) sum = std::min(sum, a[m]);
      if constexpr (kOp == ReduxOp::kMax) sum = std::max(sum, a[m]);
      if constexpr (kOp == ReduxOp::kAnd) sum &= a[m];
      if constexpr (kOp == ReduxOp::kOr) sum |= a[m];
      if constexpr (kOp == ReduxOp::kXor) sum ^= a[m];
    });
    ForLanes(lanes, [&](int l) {
      d[l] = sum;
      s[l] = unknown & members ? 0xf : 0;
    });
  });
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], 4, s);
}

void BuildRedux(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (!words.Take("sync")) words.Refuse("only redux.sync exists");
  const int op = words.TakeOneOf({"add", "min", "max", "and", "or", "xor"});
  const Type type = words.TakeType();
  words.Finish();
  decoder.Operands(3);
  static constexpr Exec kArithmetic[3][2] = {
      {Redux<ReduxOp::kAdd, uint32_t>, Redux<ReduxOp::kAdd, int32_t>},
      {Redux<ReduxOp::kMin, uint32_t>, Redux<ReduxOp::kMin, int32_t>},
      {Redux<ReduxOp::kMax, uint32_t>, Redux<ReduxOp::kMax, int32_t>}};
  static constexpr Exec kLogic[3] = {Redux<ReduxOp::kAnd, uint32_t>, Redux<ReduxOp::kOr, uint32_t>,
                                     Redux<ReduxOp::kXor, uint32_t>};
  if (op >= 0 && op < 3 && (type == Type::kU32 || type == Type::kS32)) {
    inst.exec = kArithmetic[op][type == Type::kS32];
  } else if (op >= 3 && type == Type::kB32) {
    inst.exec = kLogic[op - 3];
  } else {
    words.Refuse("no such operation and type");
  }
  inst.klass = InstClass::kWarpOp;
  inst.r[0] = decoder.Destination(instruction.operands[0], type);
  inst.r[1] = decoder.Source(instruction.operands[1], type);
  inst.r[2] = decoder.Source(instruction.operands[2], Type::kB32);
}

void BarWarpSync(Warp& w, const Inst& i) { Members(w, i, i.r[0], true); }

}  // namespace

void BuildBarWarpSync(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (!words.Take("warp") || !words.Take("sync")) words.Refuse("only bar.warp.sync exists");
  words.Finish();
  decoder.Operands(1);
  inst.exec = BarWarpSync;
  inst.klass = InstClass::kBarrier;
  inst.r[0] = decoder.Source(instruction.operands[0], Type::kB32);
}

void AddWarpOps(BuilderTable& table) {
  table["shfl"] = BuildShfl;
  table["vote"] = BuildVote;
  table["match"] = BuildMatch;
  table["redux"] = BuildRedux;
  table["elect"] = BuildElect;
  table["activemask"] = BuildActiveMask;
}

}  // namespace softgpu
