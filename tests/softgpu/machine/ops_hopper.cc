// Instructions of sm_90: register hints, and addresses in a cluster, which is one block here.
#include "tests/softgpu/machine/ops_hopper.h"

#include "tests/softgpu/machine/lanes.h"

namespace softgpu {
namespace {

// A hint of how many registers a thread wants: nothing to do.
void SetMaxRegisters(Warp&, const Inst&) {}

void BuildSetMaxRegisters(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (words.TakeOneOf({"inc", "dec"}) < 0 || !words.Take("sync") || !words.Take("aligned") ||
      !words.Take("u32")) {
    words.Refuse("must be setmaxnreg.inc or .dec.sync.aligned.u32");
  }
  words.Finish();
  decoder.Operands(1);
  const int64_t count = decoder.Integer(instruction.operands[0]);
  if (count < 24 || count > 256 || count % 8) words.Refuse("the count is 24 to 256 in steps of 8");
  inst.exec = SetMaxRegisters;
}

// mapa d, a, rank: the address as another block of the cluster has it. r: d, a, rank.
template <class T>
void MapAddress(Warp& w, const Inst& i) {
  const uint32_t* rank = Get<uint32_t>(w, i.r[2]);
  ForLanes(w.exec, [&](int l) {
    if (rank[l] == 0) return;
    Report(w, i, l, Check::kOutOfBounds, "a block of the cluster that does not exist");
  });
  T d[kLanes];
  uint8_t shadow[kLanes];
  std::memcpy(d, Slot(w, i.r[1]), sizeof(d));
  std::memcpy(shadow, Shadow(w, i.r[1], sizeof(T)), kLanes);
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], sizeof(T), shadow);
}

void BuildMapAddress(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (decoder.target() < 90) words.Refuse("needs sm_90");
  words.Take("shared::cluster");
  const Type type = words.TakeType();
  words.Finish();
  if (type != Type::kU32 && type != Type::kU64) words.Refuse("the type must be u32 or u64");
  decoder.Operands(3);
  inst.exec = type == Type::kU32 ? MapAddress<uint32_t> : MapAddress<uint64_t>;
  inst.klass = InstClass::kMove;
  inst.r[0] = decoder.Destination(instruction.operands[0], type);
  inst.r[1] = decoder.Source(instruction.operands[1], type);
  inst.r[2] = decoder.Source(instruction.operands[2], Type::kU32);
}

}  // namespace

void AddHopperOps(BuilderTable& table) {
  table["setmaxnreg"] = BuildSetMaxRegisters;
  table["mapa"] = BuildMapAddress;
  AddWgmmaOps(table);
  AddMbarrierOps(table);
}

}  // namespace softgpu
