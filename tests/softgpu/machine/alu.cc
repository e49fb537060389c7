// See alu.h.
#include "tests/softgpu/machine/alu.h"

namespace softgpu {

void SetOperands(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst,
                 std::initializer_list<Type> types) {
  decoder.Operands(types.size());
  size_t k = 0;
  for (const Type type : types) {
    inst.r[k] = k == 0 ? decoder.Destination(instruction.operands[k], type)
                       : decoder.Source(instruction.operands[k], type);
    ++k;
  }
}

void BuildByType(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Type type = Type::kNone;
  for (const std::string& word : instruction.words) {
    const Type found = ParseType(word);
    if (found != Type::kNone) type = found;
  }
  const BuilderTable& builders = IsHalf(type)    ? HalfBuilders()
                                 : IsFloat(type) ? FloatBuilders()
                                                 : IntegerBuilders();
  const auto builder = builders.find(instruction.words[0]);
  if (builder == builders.end()) decoder.Refuse("there is no such operation on this type");
  builder->second(instruction, decoder, inst);
}

void AddIntegerOps(BuilderTable& table) {
  for (const auto& entry : IntegerBuilders()) table[entry.first] = BuildByType;
}
void AddFloatOps(BuilderTable& table) {
  for (const auto& entry : FloatBuilders()) table[entry.first] = BuildByType;
  for (const auto& entry : HalfBuilders()) table[entry.first] = BuildByType;
}

}  // namespace softgpu
