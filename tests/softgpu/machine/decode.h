// From a parsed function to Code. Each opcode family registers builders by the first word of the
// mnemonic ("add", "ld", ...); a builder checks every word and operand and throws ptx::Error for
// what it does not cover: an instruction is run as the manual says or refused, never guessed.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "tests/softgpu/machine/kernel.h"

namespace softgpu {

enum class Type : uint8_t {
  kNone,
  kPred,
  kB8,
  kB16,
  kB32,
  kB64,
  kB128,
  kU8,
  kU16,
  kU32,
  kU64,
  kS8,
  kS16,
  kS32,
  kS64,
  kF16,
  kF16x2,
  kBF16,
  kBF16x2,
  kTF32,
  kF32,
  kF32x2,
  kF64,
  kU16x2,
  kS16x2,
  kE4M3x2,
  kE5M2x2
};
int Bytes(Type type);  // 1 for kPred
bool IsFloat(Type type);
bool IsSigned(Type type);
Type ParseType(std::string_view word);  // kNone: no type

class FrameLayout;

// The words of a mnemonic after the first, taken one by one.
class Words {
 public:
  explicit Words(const ptx::Instruction& instruction);
  bool Take(std::string_view word);  // if it is the next one
  // The next word if it is one of the list, as its index, else -1.
  int TakeOneOf(std::initializer_list<std::string_view> words);
  Type TakeType();                // the next word, which must be a type
  Type TryType();                 // kNone where it is none
  std::string_view Peek() const;  // "" at the end
  std::string_view Next();
  void Finish() const;                                     // throws where words are left
  [[noreturn]] void Refuse(const std::string& why) const;  // "ld.foo.b32: ..." with the line

 private:
  const ptx::Instruction& instruction_;
  size_t at_ = 1;
};

// Given to builders: operands to slots. All throw ptx::Error where the operand is of another kind
// or its register has another size.
class Decoder {
 public:
  // A source of this type: a register, or an immediate (put into the constants, all lanes alike; a
  // float type takes 0f/0d literals, an integer type wraps), a special register, the address of a
  // variable. Bit size must agree (8-bit types take 16-bit slots and, in ld/st/cvt, wider ones: see
  // SlotBytes).
  Ref Source(const ptx::Operand& operand, Type type);
  Ref Destination(const ptx::Operand& operand, Type type);
  Ref Predicate(const ptx::Operand& operand);  // register or sink (kNoRef); either role
  // For operands that may be !p: the negation is returned.
  Ref SourcePredicate(const ptx::Operand& operand, bool* negated);
  // A register whatever its size (ld, st, cvt, mov allow wider ones): bytes a lane of the slot.
  Ref AnyRegister(const ptx::Operand& operand, int* slot_bytes);
  // A slot that no register names, for temporaries.
  Ref Scratch(int slot_bytes);
  Ref Constant(uint64_t bits, int slot_bytes);
  // An integer literal.
  int64_t Integer(const ptx::Operand& operand);
  // Elements of a vector operand, or the operand itself as one.
  static std::vector<const ptx::Operand*> Elements(const ptx::Operand& operand);
  void SetList(Inst& inst, std::vector<Ref> refs);

  // [base + offset]: r is the slot of the base (8 bytes a lane; a 4-byte base is widened by
  // `narrow` = true), imm the offset with the symbol's address added. kNoRef: no base, an absolute
  // address.
  struct Address {
    Ref base = kNoRef;
    bool narrow = false;
    int64_t offset = 0;
  };
  Address TakeAddress(const ptx::Operand& operand, ptx::Space space);

  // Where a .local or .param variable of this function is in its frame's local memory.
  uint32_t LocalOffset(const std::string& name) const;

  Code& code() { return code_; }
  const ptx::Function& function() const { return function_; }
  Module& module() { return module_; }
  const ptx::Instruction& instruction() const { return *instruction_; }
  [[noreturn]] void Refuse(const std::string& why) const;
  // Refuses unless so many operands are there.
  void Operands(size_t count) const;
  // sm of the module's target: 80, 90; 'a' features or not.
  int target() const;

 private:
  friend class KernelDecoder;
  Decoder(Module& module, Code& code, const ptx::Function& function, FrameLayout& frame)
      : module_(module), code_(code), function_(function), frame_(frame) {}
  Module& module_;
  Code& code_;
  const ptx::Function& function_;
  FrameLayout& frame_;
  const ptx::Instruction* instruction_ = nullptr;
};

// Fills everything of inst but guard and places; instruction.words[0] is the table's key.
using Builder = void (*)(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
using BuilderTable = std::unordered_map<std::string_view, Builder>;

// One function a family, each in its own file ops_<family>.cc; decode.cc lists them.
void AddIntegerOps(
    BuilderTable& table);               // add sub mul mad div rem abs neg min max sad popc clz ...
void AddLogicOps(BuilderTable& table);  // and or xor not cnot lop3 shl shr shf bfe bfi prmt mov ...
void AddFloatOps(
    BuilderTable& table);  // f32, f64, f16, bf16: add .. fma div sqrt rcp rsqrt ex2 lg2 sin cos
void AddConvertOps(BuilderTable& table);  // cvt, cvt.pack
void AddCompareOps(BuilderTable& table);  // set setp selp slct testp copysign
void AddMemoryOps(BuilderTable& table);   // ld ldu st
void AddAddressOps(BuilderTable& table);  // cvta isspacep prefetch createpolicy
void AddAtomicOps(BuilderTable& table);   // atom red fence membar
void AddControlOps(BuilderTable& table);  // bra brx call ret exit trap bar barrier nanosleep
void AddWarpOps(BuilderTable& table);     // shfl vote match redux elect activemask
void AddMatrixOps(BuilderTable& table);   // ldmatrix stmatrix mma movmatrix
void AddAsyncOps(BuilderTable& table);    // cp.async and its groups, cp
void AddHopperOps(BuilderTable& table);   // wgmma, mbarrier

}  // namespace softgpu
