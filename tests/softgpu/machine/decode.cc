// The Decoder: operands to slots, and from functions to Code.
#include "tests/softgpu/machine/decode.h"

#include <bit>
#include <cstring>
#include <optional>

#include "tests/softgpu/machine/decode_function.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/warp.h"

namespace softgpu {
namespace {

struct TypeRow {
  std::string_view word;
  Type type;
  int bytes;
  bool is_float, is_signed;
};
constexpr TypeRow kTypes[] = {
    {"pred", Type::kPred, 1, false, false},   {"b8", Type::kB8, 1, false, false},
    {"b16", Type::kB16, 2, false, false},     {"b32", Type::kB32, 4, false, false},
    {"b64", Type::kB64, 8, false, false},     {"b128", Type::kB128, 16, false, false},
    {"u8", Type::kU8, 1, false, false},       {"u16", Type::kU16, 2, false, false},
    {"u32", Type::kU32, 4, false, false},     {"u64", Type::kU64, 8, false, false},
    {"s8", Type::kS8, 1, false, true},        {"s16", Type::kS16, 2, false, true},
    {"s32", Type::kS32, 4, false, true},      {"s64", Type::kS64, 8, false, true},
    {"f16", Type::kF16, 2, true, true},       {"f16x2", Type::kF16x2, 4, true, true},
    {"bf16", Type::kBF16, 2, true, true},     {"bf16x2", Type::kBF16x2, 4, true, true},
    {"tf32", Type::kTF32, 4, true, true},     {"f32", Type::kF32, 4, true, true},
    {"f32x2", Type::kF32x2, 8, true, true},   {"f64", Type::kF64, 8, true, true},
    {"u16x2", Type::kU16x2, 4, false, false}, {"s16x2", Type::kS16x2, 4, false, true},
    {"e4m3x2", Type::kE4M3x2, 2, true, true}, {"e5m2x2", Type::kE5M2x2, 2, true, true},
};

const TypeRow& RowOf(Type type) {
  for (const TypeRow& row : kTypes) {
    if (row.type == type) return row;
  }
  static constexpr TypeRow kNone = {"", Type::kNone, 0, false, false};
  return kNone;
}

int SlotOfBits(int bits) { return bits <= 16 ? 2 : bits / 8; }

}  // namespace

int Bytes(Type type) { return RowOf(type).bytes; }
bool IsFloat(Type type) { return RowOf(type).is_float; }
bool IsSigned(Type type) { return RowOf(type).is_signed; }

Type ParseType(std::string_view word) {
  for (const TypeRow& row : kTypes) {
    if (row.word == word) return row.type;
  }
  return Type::kNone;
}

Words::Words(const ptx::Instruction& instruction) : instruction_(instruction) {}

std::string_view Words::Peek() const {
  return at_ < instruction_.words.size() ? std::string_view(instruction_.words[at_])
                                         : std::string_view();
}

std::string_view Words::Next() {
  if (at_ >= instruction_.words.size()) Refuse("a word is missing at its end");
  return instruction_.words[at_++];
}

bool Words::Take(std::string_view word) {
  if (Peek() != word) return false;
  ++at_;
  return true;
}

int Words::TakeOneOf(std::initializer_list<std::string_view> words) {
  int index = 0;
  for (const std::string_view word : words) {
    if (Take(word)) return index;
    ++index;
  }
  return -1;
}

Type Words::TryType() {
  const Type type = ParseType(Peek());
  if (type != Type::kNone) ++at_;
  return type;
}

Type Words::TakeType() {
  const Type type = TryType();
  if (type == Type::kNone) {
    Refuse(Peek().empty() ? "its type is missing"
                          : "'." + std::string(Peek()) + "' is not covered here");
  }
  return type;
}

void Words::Finish() const {
  if (at_ < instruction_.words.size())
    Refuse("'." + instruction_.words[at_] + "' is not covered here");
}

std::string Mnemonic(const ptx::Instruction& instruction) {
  std::string text;
  for (const std::string& word : instruction.words) text += (text.empty() ? "" : ".") + word;
  return text;
}

void Words::Refuse(const std::string& why) const {
  throw ptx::Error(instruction_.line, Mnemonic(instruction_) + ": " + why);
}

void Decoder::Refuse(const std::string& why) const {
  throw ptx::Error(instruction_->line, Mnemonic(*instruction_) + ": " + why);
}

void Decoder::Operands(size_t count) const {
  if (instruction_->operands.size() != count) {
    Refuse("takes " + std::to_string(count) + " operands, has " +
           std::to_string(instruction_->operands.size()));
  }
}

int Decoder::target() const { return module_.target_sm(); }

Ref Decoder::Scratch(int slot_bytes) { return frame_.Slot(slot_bytes); }

Ref Decoder::Constant(uint64_t bits, int slot_bytes) { return frame_.Constant(bits, slot_bytes); }

Ref Decoder::AnyRegister(const ptx::Operand& operand, int* slot_bytes) {
  if (operand.kind != ptx::Operand::Kind::kRegister) Refuse("an operand must be a register");
  const ptx::Register& reg = function_.registers[static_cast<size_t>(operand.index)];
  if (reg.bits == 1) Refuse("predicate " + reg.name + " where a value is due");
  *slot_bytes = SlotOfBits(reg.bits);
  return frame_.registers[static_cast<size_t>(operand.index)];
}

Ref Decoder::Destination(const ptx::Operand& operand, Type type) {
  if (type == Type::kPred) return Predicate(operand);
  if (operand.kind == ptx::Operand::Kind::kSink) return Scratch(std::max(2, Bytes(type)));
  int slot_bytes = 0;
  const Ref ref = AnyRegister(operand, &slot_bytes);
  if (slot_bytes != std::max(2, Bytes(type))) {
    Refuse("register " + function_.registers[static_cast<size_t>(operand.index)].name + " has " +
           std::to_string(8 * slot_bytes) + " bits, the type ." + std::string(RowOf(type).word) +
           " needs " + std::to_string(8 * Bytes(type)));
  }
  return ref;
}

Ref Decoder::Predicate(const ptx::Operand& operand) {
  if (operand.kind == ptx::Operand::Kind::kSink) return kNoRef;
  if (operand.kind != ptx::Operand::Kind::kRegister || operand.negated ||
      function_.registers[static_cast<size_t>(operand.index)].bits != 1) {
    Refuse("an operand must be a predicate register");
  }
  return frame_.registers[static_cast<size_t>(operand.index)];
}

Ref Decoder::SourcePredicate(const ptx::Operand& operand, bool* negated) {
  *negated = operand.negated;
  if (operand.kind == ptx::Operand::Kind::kInteger)
    return frame_.ConstantPredicate(operand.bits != 0);
  ptx::Operand plain = operand;
  plain.negated = false;
  const Ref ref = Predicate(plain);
  if (ref == kNoRef) Refuse("'_' is no source");
  return ref;
}

Ref Decoder::Source(const ptx::Operand& operand, Type type) {
  using Kind = ptx::Operand::Kind;
  const int slot = std::max(2, Bytes(type));
  switch (operand.kind) {
    case Kind::kRegister:
      return Destination(operand, type);
    case Kind::kInteger:
      if (IsFloat(type) && (type == Type::kF32 || type == Type::kF64)) {
        Refuse("an integer literal where ." + std::string(RowOf(type).word) + " is due");
      }
      return Constant(operand.bits, slot);
    case Kind::kFloat:
      if (Bytes(type) != 4 || type == Type::kS32 || type == Type::kU32) {
        Refuse("an f32 literal where ." + std::string(RowOf(type).word) + " is due");
      }
      return Constant(operand.bits, slot);
    case Kind::kDouble:
      if (type == Type::kF32) {
        return Constant(
            std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(operand.bits))), slot);
      }
      if (type != Type::kF64 && type != Type::kB64) {
        Refuse("an f64 literal where ." + std::string(RowOf(type).word) + " is due");
      }
      return Constant(operand.bits, slot);
    case Kind::kSpecial:
      return frame_.Special(*this, operand.name, slot);
    case Kind::kSymbol:
      return frame_.Symbol(*this, operand, slot);
    default:
      Refuse("an operand of this kind is not covered here");
  }
}

int64_t Decoder::Integer(const ptx::Operand& operand) {
  if (operand.kind != ptx::Operand::Kind::kInteger) Refuse("an operand must be an integer literal");
  return static_cast<int64_t>(operand.bits);
}

std::vector<const ptx::Operand*> Decoder::Elements(const ptx::Operand& operand) {
  std::vector<const ptx::Operand*> elements;
  if (operand.kind != ptx::Operand::Kind::kVector) return {&operand};
  for (const ptx::Operand& element : operand.elements) elements.push_back(&element);
  return elements;
}

void Decoder::SetList(Inst& inst, std::vector<Ref> refs) {
  inst.list = code_.Keep<std::vector<Ref>>(std::move(refs))->data();
}

Decoder::Address Decoder::TakeAddress(const ptx::Operand& operand, ptx::Space space) {
  using Kind = ptx::Operand::Kind;
  if (operand.kind != Kind::kAddress || operand.elements.size() != 1)
    Refuse("an operand must be an address [...]");
  const ptx::Operand& base = operand.elements[0];
  Address address;
  address.offset = operand.offset;
  if (base.kind == Kind::kRegister) {
    int slot_bytes = 0;
    address.base = AnyRegister(base, &slot_bytes);
    if (slot_bytes != 4 && slot_bytes != 8)
      Refuse("an address must be in a 32- or 64-bit register");
    address.narrow = slot_bytes == 4;
    return address;
  }
  if (base.kind == Kind::kInteger) {
    address.offset += static_cast<int64_t>(base.bits);
    return address;
  }
  if (base.kind != Kind::kSymbol) Refuse("an address must be a register, a variable or a number");
  const SymbolPlace place = frame_.Find(*this, base.name);
  address.offset += base.offset;
  if (place.frame_relative) {
    if (space == ptx::Space::kGeneric) Refuse("a local variable in a generic address");
    address.base = frame_.Symbol(*this, base, 8);
    address.offset -= base.offset;
    return address;
  }
  address.offset += static_cast<int64_t>(place.value);
  return address;
}

uint32_t Decoder::LocalOffset(const std::string& name) const {
  const SymbolPlace place = frame_.Find(*this, name);
  if (!place.frame_relative) Refuse("'" + name + "' is no variable of this function");
  return static_cast<uint32_t>(place.value);
}

const BuilderTable& Builders() {
  static const BuilderTable table = [] {
    BuilderTable t;
    AddIntegerOps(t);
    AddLogicOps(t);
    AddFloatOps(t);
    AddConvertOps(t);
    AddCompareOps(t);
    AddMemoryOps(t);
    AddAddressOps(t);
    AddAtomicOps(t);
    AddControlOps(t);
    AddWarpOps(t);
    AddMatrixOps(t);
    AddAsyncOps(t);
    AddHopperOps(t);
    return t;
  }();
  return table;
}

void DecodeInstruction(Decoder& decoder, const ptx::Instruction& instruction, Inst& inst) {
  const auto found = Builders().find(instruction.words.at(0));
  if (found == Builders().end()) {
    throw ptx::Error(instruction.line,
                     "instruction '" + Mnemonic(instruction) + "' is not covered");
  }
  found->second(instruction, decoder, inst);
}

}  // namespace softgpu
