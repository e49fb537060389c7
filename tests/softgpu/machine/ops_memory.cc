// ld and st, decoded.
#include "tests/softgpu/machine/ops_memory.h"

#include "tests/softgpu/machine/load_store.h"

namespace softgpu {
namespace {

using namespace load_store;

void BuildLoadStore(const ptx::Instruction& instruction, Decoder& d, Inst& inst, bool store) {
  Words words(instruction);
  auto* op = d.code().Keep<LoadStore>();
  op->spec.write = store;
  bool has_hint = false;
  op->elements = TakeAccessWords(words, op->spec, &has_hint);
  const Type type = words.TakeType();
  words.Finish();
  d.Operands(has_hint ? 3 : 2);
  if (type == Type::kPred) d.Refuse("predicates cannot be loaded or stored");
  op->element_bytes = Bytes(type);
  op->is_signed = IsSigned(type) && !IsFloat(type) && !store;
  const ptx::Operand& address = instruction.operands[store ? 0 : 1];
  const auto elements = Decoder::Elements(instruction.operands[store ? 1 : 0]);
  if (static_cast<int>(elements.size()) != op->elements) {
    d.Refuse("has " + std::to_string(elements.size()) + " registers for " +
             std::to_string(op->elements) + " elements");
  }
  op->slot_bytes = 0;
  for (const ptx::Operand* element : elements) {
    int slot_bytes = std::max(2, op->element_bytes);
    Ref slot = kNoRef;
    if (element->kind == ptx::Operand::Kind::kRegister) {
      slot = d.AnyRegister(*element, &slot_bytes);
    } else if (store) {
      slot = d.Source(*element, type);
    } else if (element->kind != ptx::Operand::Kind::kSink) {
      d.Refuse("the destination must be a register");
    }
    if (op->slot_bytes && slot != kNoRef && slot_bytes != op->slot_bytes) {
      d.Refuse("registers of different sizes in one vector");
    }
    if (slot != kNoRef) op->slot_bytes = slot_bytes;
    op->slots.push_back(slot);
  }
  if (op->slot_bytes == 0) op->slot_bytes = std::max(2, op->element_bytes);
  op->spec.bytes = static_cast<uint32_t>(op->elements * op->element_bytes);
  if (op->spec.bytes > 16) d.Refuse("more than 16 bytes a lane");
  const Decoder::Address place = d.TakeAddress(address, op->spec.space);
  op->spec.base = place.base;
  op->spec.narrow = place.narrow;
  op->spec.offset = place.offset;
  inst.extra = op;
  inst.klass = ClassOf(op->spec.space, store);
  inst.exec = store ? StoreOf(*op) : LoadOf(*op);
  if (!store && op->spec.space == ptx::Space::kParam && place.base == kNoRef) {
    const uint64_t offset = static_cast<uint64_t>(place.offset) - kParamWindow;
    if (offset + op->spec.bytes > d.code().param_bytes) d.Refuse("reads past the parameters");
    inst.imm = static_cast<int64_t>(offset);
    inst.exec = LoadParamOf(*op);
  }
  if (!inst.exec) d.Refuse("the register is smaller than the type");
}

void BuildLoad(const ptx::Instruction& instruction, Decoder& d, Inst& inst) {
  BuildLoadStore(instruction, d, inst, false);
}
void BuildStore(const ptx::Instruction& instruction, Decoder& d, Inst& inst) {
  BuildLoadStore(instruction, d, inst, true);
}

}  // namespace

void AddMemoryOps(BuilderTable& table) {
  table["ld"] = BuildLoad;
  table["ldu"] = BuildLoad;
  table["st"] = BuildStore;
}

}  // namespace softgpu
