// Fuzz target of the PTX front end: any bytes are parsed or refused with ptx::Error, and what was
// parsed points only to what exists. Built for libFuzzer with SOFTGPU_FUZZ; softgpu_fuzz_ptx_test
// runs the same entry over mutations of real kernels.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/softgpu/ptx/module.h"

namespace {

using softgpu::ptx::Function;
using softgpu::ptx::Operand;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz_ptx: a parsed module breaks its contract: %s\n", what);
  std::abort();
}

bool Within(int index, size_t size) { return index >= 0 && static_cast<size_t>(index) < size; }

void Check(const Function& f, const Operand& operand) {
  switch (operand.kind) {
    case Operand::Kind::kRegister:
      Require(Within(operand.index, f.registers.size()), "an operand's register");
      break;
    case Operand::Kind::kLabel:
      Require(Within(operand.index, f.instructions.size() + 1), "an operand's label");
      break;
    case Operand::Kind::kSymbol:
      Require(!operand.name.empty() && operand.index == -1, "an operand's symbol");
      break;
    case Operand::Kind::kPair:
      Require(operand.elements.size() == 2, "a pair");
      break;
    case Operand::Kind::kAddress:
      Require(!operand.elements.empty(), "an address");
      break;
    default:
      break;
  }
  for (const Operand& element : operand.elements) Check(f, element);
}

void Check(const Function& f) {
  for (const auto& instruction : f.instructions) {
    Require(!instruction.words.empty(), "an instruction's words");
    Require(instruction.guard == -1 || Within(instruction.guard, f.registers.size()), "a guard");
    for (const Operand& operand : instruction.operands) Check(f, operand);
  }
  for (const auto& [name, targets] : f.branch_targets) {
    for (int target : targets) Require(Within(target, f.instructions.size() + 1), "a target");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto module = softgpu::ptx::Parse({reinterpret_cast<const char*>(data), size});
    for (const Function& f : module.functions) Check(f);
    for (const auto& v : module.variables) {
      Require(v.initial.empty() || v.initial.size() == v.bytes, "an initial value's size");
      for (const auto& r : v.relocations) {
        Require(r.offset + static_cast<uint64_t>(r.bytes) <= v.initial.size(), "a relocation");
      }
    }
  } catch (const softgpu::ptx::Error&) {
  }
  return 0;
}
