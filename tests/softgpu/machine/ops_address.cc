// What has to do with addresses and moves no bytes: cvta, isspacep, prefetch, createpolicy.
#include "tests/softgpu/machine/decode.h"
#include "tests/softgpu/machine/lanes.h"

namespace softgpu {
namespace {

// Generic addresses of a space are its own plus the window; kGlobal and kConst have none.
void ToGeneric(Warp& w, const Inst& i) {
  const uint64_t window = static_cast<uint64_t>(i.imm);
  Apply1<uint64_t, uint64_t>(w, i, [window](uint64_t a) { return a + window; });
}
void FromGeneric(Warp& w, const Inst& i) {
  Apply1<uint64_t, uint64_t>(w, i, [](uint64_t a) { return a & 0xffffffffu; });
}
void CopyAddress(Warp& w, const Inst& i) {
  Apply1<uint64_t, uint64_t>(w, i, [](uint64_t a) { return a; });
}

uint64_t WindowOf(std::string_view space) {
  if (space == "shared" || space == "shared::cta") return kSharedWindow;
  if (space == "local") return kLocalWindow;
  return 0;
}

void BuildCvta(const ptx::Instruction& instruction, Decoder& d, Inst& inst) {
  Words words(instruction);
  const bool to = words.Take("to");
  const std::string space(words.Next());
  if (space != "global" && space != "const" && space != "param" && space != "shared" &&
      space != "shared::cta" && space != "local") {
    words.Refuse("space '." + space + "' is not covered here");
  }
  if (words.TakeType() != Type::kU64) words.Refuse("addresses have 64 bits here");
  words.Finish();
  d.Operands(2);
  inst.klass = InstClass::kMove;
  inst.r[0] = d.Destination(instruction.operands[0], Type::kU64);
  inst.r[1] = d.Source(instruction.operands[1], Type::kU64);
  inst.imm = static_cast<int64_t>(WindowOf(space));
  inst.exec = inst.imm == 0 ? CopyAddress : to ? FromGeneric : ToGeneric;
}

void IsSpace(Warp& w, const Inst& i) {
  const uint64_t* a = Get<uint64_t>(w, i.r[1]);
  uint32_t lanes = 0;
  for (int l = 0; l < kLanes; ++l) {
    const uint64_t window = a[l] >> kWindowShift;
    lanes |= static_cast<uint32_t>(window == static_cast<uint64_t>(i.imm)) << l;
  }
  PutPredicate(w, i.r[0], lanes, AnyShadow(Shadow(w, i.r[1], 8)));
}

void BuildIsSpace(const ptx::Instruction& instruction, Decoder& d, Inst& inst) {
  Words words(instruction);
  const std::string space(words.Next());
  words.Finish();
  d.Operands(2);
  if (space == "param") {
    inst.imm = static_cast<int64_t>(kParamWindow >> kWindowShift);
  } else if (space == "global" || space == "shared" || space == "shared::cta" || space == "local") {
    inst.imm = static_cast<int64_t>(WindowOf(space) >> kWindowShift);
  } else {
    words.Refuse("space '." + space + "' is not covered here");
  }
  inst.klass = InstClass::kCompare;
  inst.r[0] = d.Predicate(instruction.operands[0]);
  inst.r[1] = d.Source(instruction.operands[1], Type::kU64);
  inst.exec = IsSpace;
}

void Nothing(Warp&, const Inst&) {}

// A hint: no bytes move. Its address may be anywhere, so it is not checked either.
void BuildPrefetch(const ptx::Instruction&, Decoder&, Inst& inst) { inst.exec = Nothing; }

// A cache policy is a value that only cache hints take: any will do.
void MakePolicy(Warp& w, const Inst& i) {
  const uint64_t zeros[kLanes] = {};
  Put(w, i.r[0], zeros);
  ClearShadow(w, i.r[0], 8);
}
void BuildCreatePolicy(const ptx::Instruction& instruction, Decoder& d, Inst& inst) {
  if (instruction.operands.empty()) d.Refuse("has no destination");
  inst.r[0] = d.Destination(instruction.operands[0], Type::kB64);
  inst.klass = InstClass::kMove;
  inst.exec = MakePolicy;
}

}  // namespace

void AddAddressOps(BuilderTable& table) {
  table["cvta"] = BuildCvta;
  table["isspacep"] = BuildIsSpace;
  table["prefetch"] = BuildPrefetch;
  table["prefetchu"] = BuildPrefetch;
  table["createpolicy"] = BuildCreatePolicy;
}

}  // namespace softgpu
