// Bitwise logic: and, or, xor, not, lop3 on bits and on predicates, cnot; and the table of the
// family. All of them are a truth table of three inputs, which also says what of the result hangs
// on bits that were never written.
#include "tests/softgpu/machine/ops_logic.h"

#include <algorithm>

namespace softgpu {
namespace {

// Truth tables: bit 4a + 2b + c of the table is the result.
constexpr uint8_t kA = 0xf0, kB = 0xcc;

// Two-way choices by c, then b, then a.
template <class T>
T LookUp(uint32_t table, T a, T b, T c) {
  T by_c[4];
  for (int k = 0; k < 4; ++k) {
    const T zero = static_cast<T>(T{0} - static_cast<T>((table >> (2 * k)) & 1));
    const T one = static_cast<T>(T{0} - static_cast<T>((table >> (2 * k + 1)) & 1));
    by_c[k] = static_cast<T>(zero ^ ((zero ^ one) & c));
  }
  const T low = static_cast<T>(by_c[0] ^ ((by_c[0] ^ by_c[1]) & b));
  const T high = static_cast<T>(by_c[2] ^ ((by_c[2] ^ by_c[3]) & b));
  return static_cast<T>(low ^ ((low ^ high) & a));
}

// Bits of the result that some setting of the unwritten bits would change. Sources that are the
// same register are set alike: x ^ x is 0 whatever x is.
template <class T>
T Undecided(const Inst& i, const T* values, const T* unwritten, int count) {
  T all_ones = static_cast<T>(~T{0}), all_zeros = static_cast<T>(~T{0});
  for (int setting = 0; setting < (1 << count); ++setting) {
    T set[3] = {0, 0, 0};
    bool consistent = true;
    for (int k = 0; k < count; ++k) {
      set[k] =
          static_cast<T>((setting >> k) & 1 ? values[k] | unwritten[k] : values[k] & ~unwritten[k]);
      for (int j = 0; j < k; ++j) {
        if (i.r[j + 1] == i.r[k + 1] && set[j] != set[k]) consistent = false;
      }
    }
    if (!consistent) continue;
    const T result = LookUp<T>(i.a, set[0], set[1], set[2]);
    all_ones &= result;
    all_zeros &= static_cast<T>(~result);
  }
  return static_cast<T>(~(all_ones | all_zeros));
}

template <class T>
void LogicShadow(Warp& w, const Inst& i, int count, const uint8_t* mixed) {
  uint8_t shadow[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    T values[3] = {0, 0, 0}, unwritten[3] = {0, 0, 0};
    for (int k = 0; k < count; ++k) {
      values[k] = Get<T>(w, i.r[k + 1])[l];
      unwritten[k] = ShadowBits<T>(Shadow(w, i.r[k + 1], sizeof(T))[l]);
    }
    shadow[l] = mixed[l] == 0 ? 0 : ShadowOfBits(Undecided(i, values, unwritten, count));
  }
  PutShadow(w, i.r[0], sizeof(T), shadow);
}

// r[0] = F(r[1], ...), with the truth table in i.a for the shadows.
template <class T, int kCount, auto F>
void RunLogic(Warp& w, const Inst& i) {
  const T* a = Get<T>(w, i.r[1]);
  const T* b = Get<T>(w, i.r[kCount >= 2 ? 2 : 1]);
  const T* c = Get<T>(w, i.r[kCount >= 3 ? 3 : 1]);
  const uint32_t table = i.a;
  T d[kLanes];
  for (int l = 0; l < kLanes; ++l) d[l] = static_cast<T>(F(table, a[l], b[l], c[l]));
  uint8_t mixed[kLanes];
  MixAndSpread(0xff, mixed, Shadow(w, i.r[1], sizeof(T)),
               Shadow(w, i.r[kCount >= 2 ? 2 : 1], sizeof(T)),
               Shadow(w, i.r[kCount >= 3 ? 3 : 1], sizeof(T)));
  if (AllWritten(mixed)) {
    PutShadow(w, i.r[0], sizeof(T), mixed);
  } else {
    LogicShadow<T>(w, i, kCount, mixed);
  }
  Put(w, i.r[0], d);
}

// Predicates: two words, value and shadow, with the same rule bit by bit.
template <int kCount>
void RunPredicateLogic(Warp& w, const Inst& i) {
  uint32_t values[3] = {0, 0, 0}, unwritten[3] = {0, 0, 0};
  for (int k = 0; k < kCount; ++k) {
    values[k] = PredicateValue(w, i.r[k + 1]);
    unwritten[k] = PredicateShadow(w, i.r[k + 1]);
  }
  const uint32_t value = LookUp<uint32_t>(i.a, values[0], values[1], values[2]);
  const bool known = (unwritten[0] | unwritten[1] | unwritten[2]) == 0;
  PutPredicate(w, i.r[0], value, known ? 0 : Undecided(i, values, unwritten, kCount));
}

template <int kCount, auto F>
Exec BySize(Type type) {
  switch (type) {
    case Type::kB16:
      return RunLogic<uint16_t, kCount, F>;
    case Type::kB32:
      return RunLogic<uint32_t, kCount, F>;
    case Type::kB64:
      return RunLogic<uint64_t, kCount, F>;
    default:
      return nullptr;
  }
}

// The table with its input k (1 to 3) the other way round.
uint32_t NegateInput(uint32_t table, size_t k) {
  if (k == 1) return (table >> 4 | table << 4) & 0xff;
  if (k == 2) return (table >> 2 & 0x33) | (table << 2 & 0xcc);
  return (table >> 1 & 0x55) | (table << 1 & 0xaa);
}

template <int kCount, uint8_t kTable, auto F>
void BuildLogic(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  words.Finish();
  decoder.Operands(kCount + 1);
  inst.a = kTable;
  inst.klass = InstClass::kInteger;
  if (type == Type::kPred) {
    inst.exec = RunPredicateLogic<kCount>;
    inst.r[0] = decoder.Predicate(instruction.operands[0]);
    if (inst.r[0] == kNoRef) decoder.Refuse("needs a destination");
    for (size_t k = 1; k <= kCount; ++k) {
      bool negated = false;
      inst.r[k] = decoder.SourcePredicate(instruction.operands[k], &negated);
      if (negated) inst.a = NegateInput(inst.a, k);
    }
    return;
  }
  inst.exec = BySize<kCount, F>(type);
  if (inst.exec == nullptr) words.Refuse("is for .pred, .b16, .b32 and .b64");
  inst.r[0] = decoder.Destination(instruction.operands[0], type);
  for (size_t k = 1; k <= kCount; ++k) {
    inst.r[k] = decoder.Source(instruction.operands[k], type);
  }
}

// lop3.or, lop3.and: the predicate is (d != 0) or/and q. r: d, a, b, c, p, q; b: bit 0: and, bit 1:
// q is negated.
void RunLop3Predicate(Warp& w, const Inst& i) {
  RunLogic<uint32_t, 3, LookUp<uint32_t>>(w, i);
  const uint32_t* d = Get<uint32_t>(w, i.r[0]);
  const uint8_t* shadow = Shadow(w, i.r[0], 4);
  uint8_t set[kLanes];
  for (int l = 0; l < kLanes; ++l) set[l] = d[l] != 0 ? 0xff : 0;
  const uint32_t nonzero = LanesOf(set), unwritten = AnyShadow(shadow);
  const uint32_t q = PredicateValue(w, i.r[5]) ^ (i.b & 2 ? kAllLanes : 0);
  const Mixed mixed = Combine(i.b & 1 ? BoolOp::kAnd : BoolOp::kOr, {nonzero, unwritten},
                              {q, PredicateShadow(w, i.r[5])});
  PutPredicate(w, i.r[4], mixed.value, mixed.shadow);
}

void BuildLop3(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int combine = words.TakeOneOf({"or", "and"});
  if (words.TakeType() != Type::kB32) words.Refuse("is for .b32");
  words.Finish();
  decoder.Operands(combine < 0 ? 5 : 6);
  const auto& operands = instruction.operands;
  const int64_t table = decoder.Integer(operands[4]);
  if (table < 0 || table > 255) decoder.Refuse("the table must be 0 to 255");
  inst.a = static_cast<uint32_t>(table);
  inst.klass = InstClass::kInteger;
  inst.exec = RunLogic<uint32_t, 3, LookUp<uint32_t>>;
  const ptx::Operand* d = &operands[0];
  if (combine >= 0) {
    if (d->kind != ptx::Operand::Kind::kPair) decoder.Refuse("needs a destination d|p");
    inst.exec = RunLop3Predicate;
    inst.r[4] = decoder.Predicate(d->elements[1]);
    if (inst.r[4] == kNoRef) decoder.Refuse("needs a destination d|p");
    bool negated = false;
    inst.r[5] = decoder.SourcePredicate(operands[5], &negated);
    inst.b = static_cast<uint32_t>(combine) | (negated ? 2 : 0);
    d = &d->elements[0];
  }
  inst.r[0] = decoder.Destination(*d, Type::kB32);
  for (size_t k = 1; k <= 3; ++k) inst.r[k] = decoder.Source(operands[k], Type::kB32);
}

void BuildCnot(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  words.Finish();
  constexpr auto kIsZero = []<class T>(T a) { return static_cast<T>(a == 0 ? 1 : 0); };
  inst.exec = type == Type::kB16   ? Exec{Run1<kIsZero, uint16_t, uint16_t>}
              : type == Type::kB32 ? Exec{Run1<kIsZero, uint32_t, uint32_t>}
              : type == Type::kB64 ? Exec{Run1<kIsZero, uint64_t, uint64_t>}
                                   : nullptr;
  if (inst.exec == nullptr) words.Refuse("is for .b16, .b32 and .b64");
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {type, type});
}

}  // namespace

void AddLogicOps(BuilderTable& table) {
  table["and"] = BuildLogic<2, kA & kB, [](uint32_t, auto a, auto b, auto) { return a & b; }>;
  table["or"] = BuildLogic<2, kA | kB, [](uint32_t, auto a, auto b, auto) { return a | b; }>;
  table["xor"] = BuildLogic<2, kA ^ kB, [](uint32_t, auto a, auto b, auto) { return a ^ b; }>;
  table["not"] = BuildLogic<1, 0xff ^ kA, [](uint32_t, auto a, auto, auto) { return ~a; }>;
  table["cnot"] = BuildCnot;
  table["lop3"] = BuildLop3;
  table["shl"] = BuildShl;
  table["shr"] = BuildShr;
  table["shf"] = BuildShf;
  table["prmt"] = BuildPrmt;
  table["mov"] = BuildMov;
}

}  // namespace softgpu
