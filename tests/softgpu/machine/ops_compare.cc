// setp and set: comparisons into predicates and into values.
#include "tests/softgpu/machine/compare.h"
#include "tests/softgpu/machine/ops_select.h"

namespace softgpu {
namespace {

// What a comparison's executor needs beside r (p, q, a, b, c): kept by the code.
struct Plan {
  Comparison comparison;
  BoolOp combine;
  uint32_t flip;  // of c: all ones where it is !c
  bool pairs;
};

Mixed Combined(const Warp& w, const Inst& i, const Plan& plan, Mixed compared) {
  if (plan.combine == BoolOp::kNone) return compared;
  const Mixed c = {PredicateValue(w, i.r[4]) ^ plan.flip, PredicateShadow(w, i.r[4])};
  return Combine(plan.combine, compared, c);
}

// p gets the comparison, q its opposite; of pairs p gets the lower one's, q the upper one's.
void RunSetp(Warp& w, const Inst& i) {
  const Plan& plan = *static_cast<const Plan*>(i.extra);
  const Mixed lower = plan.comparison(w, i, false);
  const Mixed p = Combined(w, i, plan, lower);
  Mixed q = {};
  if (i.r[1] != kNoRef) {
    const Mixed other =
        plan.pairs ? plan.comparison(w, i, true) : Mixed{~lower.value, lower.shadow};
    q = Combined(w, i, plan, other);
  }
  if (i.r[0] != kNoRef) PutPredicate(w, i.r[0], p.value, p.shadow);
  if (i.r[1] != kNoRef) PutPredicate(w, i.r[1], q.value, q.shadow);
}

// T: what is written, i.b to lanes where it holds. Of pairs each half of T has its own.
template <class T>
void RunSet(Warp& w, const Inst& i) {
  const Plan& plan = *static_cast<const Plan*>(i.extra);
  T d[kLanes] = {};
  uint8_t shadow[kLanes] = {};
  for (int half = 0; half < (plan.pairs ? 2 : 1); ++half) {
    const Mixed m = Combined(w, i, plan, plan.comparison(w, i, half == 1));
    const T yes = static_cast<T>(i.b << (16 * half));
    const auto bytes = static_cast<uint8_t>(plan.pairs ? 3 << (2 * half) : ShadowAll(sizeof(T)));
    uint8_t holds[kLanes], unwritten[kLanes];
    ByteMask(m.value, holds);
    ByteMask(m.shadow, unwritten);
    for (int l = 0; l < kLanes; ++l) d[l] |= holds[l] ? yes : T{0};
    for (int l = 0; l < kLanes; ++l) shadow[l] |= unwritten[l] & bytes;
  }
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], sizeof(T), shadow);
}

bool IsPair(Type type) { return type == Type::kF16x2 || type == Type::kBF16x2; }
bool IsBf16(Type type) { return type == Type::kBF16 || type == Type::kBF16x2; }

void SetSources(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Plan& plan,
                Type type) {
  decoder.Operands(plan.combine == BoolOp::kNone ? 3 : 4);
  if (IsBf16(type) && decoder.target() < 90) decoder.Refuse("needs sm_90");
  inst.klass = InstClass::kCompare;
  inst.r[2] = decoder.Source(instruction.operands[1], type);
  inst.r[3] = decoder.Source(instruction.operands[2], type);
  if (plan.combine == BoolOp::kNone) return;
  bool negated = false;
  inst.r[4] = decoder.SourcePredicate(instruction.operands[3], &negated);
  plan.flip = negated ? kAllLanes : 0;
}

void BuildSetp(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const ComparisonWords taken = TakeComparison(words);
  const Type type = words.TakeType();
  words.Finish();
  Plan plan = {PickComparison(words, taken, type), taken.combine, 0, IsPair(type)};
  SetSources(instruction, decoder, inst, plan, type);
  inst.exec = RunSetp;
  const ptx::Operand& d = instruction.operands[0];
  const bool two = d.kind == ptx::Operand::Kind::kPair;
  if (two && (type == Type::kF16 || type == Type::kBF16)) decoder.Refuse("gives one predicate");
  inst.r[0] = decoder.Predicate(two ? d.elements[0] : d);
  if (two) inst.r[1] = decoder.Predicate(d.elements[1]);
  inst.extra = decoder.code().Keep<Plan>(plan);
}

// What the type writes where the comparison holds; 0: it is no type for this.
uint32_t TrueOf(Type to, Type from) {
  if (IsPair(from)) {
    if (to == Type::kU32 || to == Type::kS32) return 0xffff;
    if (to != from) return 0;
  }
  const bool half = from == Type::kF16 || from == Type::kBF16;
  switch (to) {
    case Type::kU32:
    case Type::kS32:
      return 0xffffffffu;
    case Type::kU16:
    case Type::kS16:
      return half ? 0xffff : 0;
    case Type::kF32:
      return half ? 0 : 0x3f800000u;
    case Type::kF16:
      return from == Type::kBF16 ? 0 : 0x3c00;
    case Type::kBF16:
      return 0x3f80;
    case Type::kF16x2:
      return IsPair(from) ? 0x3c00 : 0;
    case Type::kBF16x2:
      return IsPair(from) ? 0x3f80 : 0;
    default:
      return 0;
  }
}

void BuildSet(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const ComparisonWords taken = TakeComparison(words);
  const Type to = words.TakeType();
  const Type from = words.TakeType();
  words.Finish();
  Plan plan = {PickComparison(words, taken, from), taken.combine, 0, IsPair(from)};
  inst.b = TrueOf(to, from);
  if (inst.b == 0) words.Refuse("there is no such result type");
  if (IsBf16(to) && taken.ftz) words.Refuse(".ftz is not for .bf16");
  if (IsBf16(to) && decoder.target() < 90) words.Refuse("needs sm_90");
  SetSources(instruction, decoder, inst, plan, from);
  inst.exec = Bytes(to) == 2 ? RunSet<uint16_t> : RunSet<uint32_t>;
  inst.r[0] = decoder.Destination(instruction.operands[0], to);
  inst.extra = decoder.code().Keep<Plan>(plan);
}

}  // namespace

void AddCompareOps(BuilderTable& table) {
  table["setp"] = BuildSetp;
  table["set"] = BuildSet;
  table["selp"] = BuildSelp;
  table["slct"] = BuildSlct;
  table["testp"] = BuildTestp;
  table["copysign"] = BuildCopysign;
}

}  // namespace softgpu
