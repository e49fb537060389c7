// How a kernel's functions are laid out: slots of registers, constants, special registers, places
// of variables. Internal to the decoder.
#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/softgpu/machine/decode.h"
#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// An address that an operand may name.
struct SymbolPlace {
  uint64_t value = 0;           // an address of its own space; of a function: its number
  bool frame_relative = false;  // value is an offset in the frame's locals
};

// Addresses of functions: kFunctionWindow + index in ptx::Module::functions.
inline constexpr uint64_t kFunctionWindow = uint64_t{4} << kWindowShift;

class FrameLayout {
 public:
  explicit FrameLayout(Code& code) : code_(code) {}
  void AddRegisters(const ptx::Function& function);
  Ref Slot(int slot_bytes);
  Ref Constant(uint64_t bits, int slot_bytes);
  Ref ConstantPredicate(bool value);
  Ref Special(Decoder& decoder, const std::string& name, int slot_bytes);
  Ref Symbol(Decoder& decoder, const ptx::Operand& operand, int slot_bytes);
  SymbolPlace Find(const Decoder& decoder, const std::string& name) const;
  void AddLocal(const ptx::Variable& variable, std::vector<Code::Place>* places);
  // Moves constants and the initial frame to their places in the code.
  void Finish();

  std::vector<Ref> registers;                               // by index in ptx::Function
  std::map<std::string, uint32_t> locals;                   // name -> offset
  std::map<std::string, uint32_t> entry_params;             // name -> offset
  const std::map<std::string, uint32_t>* shared = nullptr;  // name -> offset in shared memory
  bool has_carry = false;

 private:
  struct SlotPlace {
    uint32_t offset;
    int bytes;  // 0: predicate
  };
  Ref Add(int slot_bytes);
  Code& code_;
  std::vector<SlotPlace> slots_;
  std::map<std::pair<uint64_t, int>, Ref> constants_;
  std::map<std::tuple<SpecialKind, uint64_t, int>, Ref> specials_;
  std::vector<uint8_t> constant_bytes_;
};

void DecodeInstruction(Decoder& decoder, const ptx::Instruction& instruction, Inst& inst);
std::string Mnemonic(const ptx::Instruction& instruction);
// Decodes an entry and all that it can call.
std::unique_ptr<Code> DecodeKernel(Module& module, const ptx::Function& entry);

}  // namespace softgpu
