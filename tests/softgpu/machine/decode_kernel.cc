// Lays out a kernel: which functions and variables it can reach, where its shared memory and every
// function's frame have their parts; then decodes instruction by instruction.
#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/softgpu/machine/decode_function.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/warp.h"

namespace softgpu {
namespace {

uint32_t AlignUp(uint64_t value, uint64_t alignment) {
  return static_cast<uint32_t>((value + alignment - 1) / alignment * alignment);
}

struct SpecialRow {
  std::string_view name;
  SpecialKind kind;
  int bytes;
};
constexpr SpecialRow kSpecials[] = {
    {"%tid.x", SpecialKind::kTidX, 4},
    {"%tid.y", SpecialKind::kTidY, 4},
    {"%tid.z", SpecialKind::kTidZ, 4},
    {"%ntid.x", SpecialKind::kNtidX, 4},
    {"%ntid.y", SpecialKind::kNtidY, 4},
    {"%ntid.z", SpecialKind::kNtidZ, 4},
    {"%ctaid.x", SpecialKind::kCtaidX, 4},
    {"%ctaid.y", SpecialKind::kCtaidY, 4},
    {"%ctaid.z", SpecialKind::kCtaidZ, 4},
    {"%nctaid.x", SpecialKind::kNctaidX, 4},
    {"%nctaid.y", SpecialKind::kNctaidY, 4},
    {"%nctaid.z", SpecialKind::kNctaidZ, 4},
    {"%laneid", SpecialKind::kLaneId, 4},
    {"%warpid", SpecialKind::kWarpId, 4},
    {"%nwarpid", SpecialKind::kNwarpId, 4},
    {"%smid", SpecialKind::kSmId, 4},
    {"%nsmid", SpecialKind::kNsmId, 4},
    {"%gridid", SpecialKind::kGridId, 8},
    {"%lanemask_eq", SpecialKind::kLaneMaskEq, 4},
    {"%lanemask_le", SpecialKind::kLaneMaskLe, 4},
    {"%lanemask_lt", SpecialKind::kLaneMaskLt, 4},
    {"%lanemask_ge", SpecialKind::kLaneMaskGe, 4},
    {"%lanemask_gt", SpecialKind::kLaneMaskGt, 4},
    {"%dynamic_smem_size", SpecialKind::kDynamicSharedSize, 4},
    {"%total_smem_size", SpecialKind::kTotalSharedSize, 4},
    // Where cooperative groups look for the grid's barrier.
    {"%envreg1", SpecialKind::kWorkspaceHigh, 4},
    {"%envreg2", SpecialKind::kWorkspaceLow, 4},
    // Clusters have one block here.
    {"%clusterid.x", SpecialKind::kCtaidX, 4},
    {"%clusterid.y", SpecialKind::kCtaidY, 4},
    {"%clusterid.z", SpecialKind::kCtaidZ, 4},
    {"%nclusterid.x", SpecialKind::kNctaidX, 4},
    {"%nclusterid.y", SpecialKind::kNctaidY, 4},
    {"%nclusterid.z", SpecialKind::kNctaidZ, 4},
    {"%cluster_ctaid.x", SpecialKind::kZero, 4},
    {"%cluster_ctaid.y", SpecialKind::kZero, 4},
    {"%cluster_ctaid.z", SpecialKind::kZero, 4},
    {"%cluster_ctarank", SpecialKind::kZero, 4},
    {"%cluster_nctaid.x", SpecialKind::kOne, 4},
    {"%cluster_nctaid.y", SpecialKind::kOne, 4},
    {"%cluster_nctaid.z", SpecialKind::kOne, 4},
    {"%cluster_nctarank", SpecialKind::kOne, 4},
    {"%current_graph_exec", SpecialKind::kZero, 8},
    {"WARP_SZ", SpecialKind::kCount, 4},
};

void CollectSymbols(const ptx::Operand& operand, std::set<std::string>& names) {
  if (operand.kind == ptx::Operand::Kind::kSymbol) names.insert(operand.name);
  for (const ptx::Operand& element : operand.elements) CollectSymbols(element, names);
}

void MarkRegisters(const ptx::Operand& operand, std::vector<bool>& used) {
  if (operand.kind == ptx::Operand::Kind::kRegister)
    used[static_cast<size_t>(operand.index)] = true;
  for (const ptx::Operand& element : operand.elements) MarkRegisters(element, used);
}

bool IsIndirectCall(const ptx::Instruction& instruction) {
  if (instruction.words[0] != "call") return false;
  return std::any_of(instruction.operands.begin(), instruction.operands.end(),
                     [](const ptx::Operand& o) { return o.kind == ptx::Operand::Kind::kRegister; });
}

// Bytes a lane of an instruction's accesses to shared memory, which are aligned to them; 16, the
// most there is, where it has none.
int SharedAccessBytes(const ptx::Instruction& instruction) {
  const std::string& op = instruction.words[0];
  const auto has = [&](std::string_view word) {
    return std::find(instruction.words.begin(), instruction.words.end(), word) !=
           instruction.words.end();
  };
  if (has("mbarrier")) return 8;
  if (op == "cp" && has("ca")) {
    const auto& operands = instruction.operands;
    const uint64_t bytes = operands.size() > 2 ? operands[2].bits : 4;
    return bytes == 16 || bytes == 8 ? static_cast<int>(bytes) : 4;
  }
  if (op != "ld" && op != "st" && op != "atom" && op != "red" && op != "ldu") return 16;
  for (const std::string_view elsewhere : {"global", "local", "const", "param"}) {
    if (has(elsewhere)) return 16;
  }
  const Type type = ParseType(instruction.words.back());
  return type == Type::kNone ? 1 : Bytes(type) * (has("v4") ? 4 : has("v2") ? 2 : 1);
}

}  // namespace

// Only those that instructions name: nvcc declares many more, and a frame is better small.
void FrameLayout::AddRegisters(const ptx::Function& function) {
  registers.assign(function.registers.size(), kNoRef);
  std::vector<bool> used(function.registers.size(), false);
  for (const ptx::Instruction& instruction : function.instructions) {
    if (instruction.guard >= 0) used[static_cast<size_t>(instruction.guard)] = true;
    for (const ptx::Operand& operand : instruction.operands) MarkRegisters(operand, used);
  }
  // Predicates first: they are small, and slots are aligned for vectors.
  for (size_t i = 0; i < registers.size(); ++i) {
    if (used[i] && function.registers[i].bits == 1) registers[i] = Add(0);
  }
  for (size_t i = 0; i < registers.size(); ++i) {
    const int bits = function.registers[i].bits;
    if (used[i] && bits != 1) registers[i] = Add(bits <= 16 ? 2 : bits / 8);
  }
}

Ref FrameLayout::Add(int slot_bytes) {
  if (slot_bytes) code_.frame_bytes = AlignUp(code_.frame_bytes, 32);
  const Ref ref = code_.frame_bytes;
  slots_.push_back({ref, slot_bytes});
  code_.frame_bytes += slot_bytes ? static_cast<uint32_t>(kLanes * (slot_bytes + 1)) : 8;
  return ref;
}

Ref FrameLayout::Slot(int slot_bytes) { return Add(slot_bytes); }

Ref FrameLayout::Constant(uint64_t bits, int slot_bytes) {
  if (slot_bytes < 8) bits &= (uint64_t{1} << (8 * slot_bytes)) - 1;
  const auto [entry, is_new] = constants_.try_emplace({bits, slot_bytes}, 0);
  if (!is_new) return entry->second;
  const size_t at = AlignUp(constant_bytes_.size(), 32);
  constant_bytes_.resize(at + static_cast<size_t>(kLanes * (slot_bytes + 1)), 0);
  for (int l = 0; l < kLanes; ++l) {
    std::memcpy(&constant_bytes_[at + static_cast<size_t>(l * slot_bytes)], &bits,
                static_cast<size_t>(std::min(slot_bytes, 8)));
  }
  return entry->second = static_cast<Ref>(at) | kConstantBit;
}

Ref FrameLayout::ConstantPredicate(bool value) {
  // A predicate is two words: 64 bits of a slot hold them.
  return Constant(value ? kAllLanes : 0, 8);
}

Ref FrameLayout::Special(Decoder& decoder, const std::string& name, int slot_bytes) {
  for (const SpecialRow& row : kSpecials) {
    if (row.name != name) continue;
    if (row.kind == SpecialKind::kCount) return Constant(kLanes, slot_bytes);
    // A 64-bit one read as 32 bits is its lower half.
    if (slot_bytes < row.bytes && slot_bytes != 2 && slot_bytes != 4) {
      decoder.Refuse(name + " has " + std::to_string(8 * row.bytes) + " bits");
    }
    const auto [entry, is_new] = specials_.try_emplace({row.kind, 0, slot_bytes}, 0);
    if (is_new) {
      entry->second = Add(slot_bytes);
      code_.specials.push_back({row.kind, static_cast<uint64_t>(slot_bytes), entry->second});
    }
    return entry->second;
  }
  decoder.Refuse("special register " + name + " is not covered here");
}

SymbolPlace FrameLayout::Find(const Decoder& decoder, const std::string& name) const {
  if (const auto local = locals.find(name); local != locals.end()) return {local->second, true};
  if (const auto param = entry_params.find(name); param != entry_params.end()) {
    return {kParamWindow + param->second, false};
  }
  if (const auto place = shared->find(name); place != shared->end()) return {place->second, false};
  Module& module = *code_.module;
  if (const uint64_t address = module.VariableAddress(name)) return {address, false};
  const auto& functions = module.parsed().functions;
  for (size_t i = 0; i < functions.size(); ++i) {
    if (functions[i].name == name) return {kFunctionWindow + i, false};
  }
  decoder.Refuse("'" + name + "' is not defined in this module");
}

Ref FrameLayout::Symbol(Decoder& decoder, const ptx::Operand& operand, int slot_bytes) {
  const SymbolPlace place = Find(decoder, operand.name);
  const uint64_t value = place.value + static_cast<uint64_t>(operand.offset);
  if (!place.frame_relative) return Constant(value, slot_bytes);
  const auto [entry, is_new] =
      specials_.try_emplace({SpecialKind::kLocalAddress, value, slot_bytes}, 0);
  if (is_new) {
    entry->second = Add(slot_bytes);
    if (slot_bytes != 4 && slot_bytes != 8) decoder.Refuse("an address needs 32 or 64 bits");
    code_.specials.push_back({SpecialKind::kLocalAddress,
                              value << 4 | static_cast<uint64_t>(slot_bytes), entry->second});
  }
  return entry->second;
}

void FrameLayout::AddLocal(const ptx::Variable& variable, std::vector<Code::Place>* places) {
  const uint64_t align =
      std::max<uint64_t>(variable.align, 4);  // words, as local memory is laid out
  code_.local_bytes = AlignUp(code_.local_bytes, align);
  if (variable.bytes > (uint64_t{1} << 19)) {
    throw ptx::Error(variable.line,
                     variable.name + " has more than 512 KiB of local memory a thread");
  }
  locals[variable.name] = code_.local_bytes;
  if (places) places->push_back({code_.local_bytes, static_cast<uint32_t>(variable.bytes)});
  code_.local_bytes = AlignUp(code_.local_bytes + variable.bytes, 4);
}

void FrameLayout::Finish() {
  code_.frame_bytes = AlignUp(code_.frame_bytes, 32);
  code_.initial_frame.assign(code_.frame_bytes, 0xcd);
  for (const SlotPlace& slot : slots_) {
    const uint32_t at = slot.offset + static_cast<uint32_t>(slot.bytes ? kLanes * slot.bytes : 4);
    const uint32_t bytes = slot.bytes ? kLanes : 4;
    const bool part = slot.bytes == 2 || slot.bytes == 4;
    const uint8_t value = part ? static_cast<uint8_t>((1 << slot.bytes) - 1) : 0xff;
    std::memset(&code_.initial_frame[at], value, bytes);
    code_.initial_shadows.push_back({at, bytes, value});
  }
  code_.constants_storage.assign(constant_bytes_.size() + 32, 0);
  const size_t misaligned = reinterpret_cast<uintptr_t>(code_.constants_storage.data()) % 32;
  code_.constants = code_.constants_storage.data() + (misaligned ? 32 - misaligned : 0);
  if (!constant_bytes_.empty()) {
    std::memcpy(code_.constants, constant_bytes_.data(), constant_bytes_.size());
  }
}

class KernelDecoder {
 public:
  KernelDecoder(Module& module, const ptx::Function& entry) : module_(module), entry_(entry) {}
  std::unique_ptr<Code> Decode();

 private:
  void Reach();
  void LayShared();
  void DecodeFunction(const ptx::Function& function, Code& code);

  Module& module_;
  const ptx::Function& entry_;
  std::vector<const ptx::Function*> reached_;
  std::map<std::string, std::map<std::string, uint32_t>> shared_;  // function -> name -> offset
  uint32_t static_shared_ = 0;
  int granule_log2_ = 4;
};

void KernelDecoder::Reach() {
  std::set<std::string> seen = {entry_.name};
  reached_.push_back(&entry_);
  const auto add = [&](const ptx::Function& function) {
    if (!function.is_entry && !function.is_declared_only && seen.insert(function.name).second) {
      reached_.push_back(&function);
    }
  };
  for (size_t i = 0; i < reached_.size(); ++i) {
    for (const ptx::Instruction& instruction : reached_[i]->instructions) {
      std::set<std::string> names;
      for (const ptx::Operand& operand : instruction.operands) CollectSymbols(operand, names);
      for (const std::string& name : names) {
        if (const ptx::Function* function = module_.parsed().FindFunction(name)) add(*function);
      }
      if (!IsIndirectCall(instruction)) continue;
      for (const ptx::Function& function : module_.parsed().functions) add(function);
    }
  }
}

void KernelDecoder::LayShared() {
  std::map<std::string, uint32_t> module_wide;
  std::vector<std::pair<std::string, const ptx::Variable*>> external;
  uint32_t end = kSharedBase;
  const auto place = [&](const ptx::Variable& variable) {
    end = AlignUp(end, std::max<uint64_t>(variable.align, 1));
    const uint32_t at = end;
    if (variable.bytes > (1u << 20)) {
      throw ptx::Error(variable.line,
                       variable.name + " has more shared memory than a block can have");
    }
    end += static_cast<uint32_t>(variable.bytes);
    return at;
  };
  std::set<std::string> used;
  for (const ptx::Function* function : reached_) {
    for (const ptx::Instruction& instruction : function->instructions) {
      for (const ptx::Operand& operand : instruction.operands) CollectSymbols(operand, used);
      const auto bytes = static_cast<unsigned>(SharedAccessBytes(instruction));
      granule_log2_ = std::min(granule_log2_, std::countr_zero(bytes));
    }
  }
  uint32_t extern_align = 16;
  for (const ptx::Variable& variable : module_.parsed().variables) {
    if (variable.space != ptx::Space::kShared || !used.count(variable.name)) continue;
    if (variable.bytes == 0) {
      external.push_back({variable.name, &variable});
      extern_align = std::max(extern_align, variable.align);
    } else {
      module_wide[variable.name] = place(variable);
    }
  }
  for (const ptx::Function* function : reached_) {
    for (const ptx::Variable& variable : function->variables) {
      if (variable.space == ptx::Space::kShared && variable.bytes) {
        shared_[function->name][variable.name] = place(variable);
      }
    }
  }
  if (!external.empty()) end = AlignUp(end, extern_align);
  for (const auto& [name, variable] : external) module_wide[name] = end;
  static_shared_ = end - kSharedBase;
  for (const ptx::Function* function : reached_) {
    shared_[function->name].insert(module_wide.begin(), module_wide.end());
  }
}

void KernelDecoder::DecodeFunction(const ptx::Function& function, Code& code) {
  code.name = function.name;
  code.function = &function;
  code.module = &module_;
  code.static_shared = static_shared_;
  code.shared_granule_log2 = granule_log2_;
  FrameLayout frame(code);
  frame.AddRegisters(function);
  frame.shared = &shared_[function.name];
  if (function.is_entry) {
    for (const ptx::Variable& param : function.params) {
      code.param_bytes = AlignUp(code.param_bytes, std::max<uint64_t>(param.align, 1));
      frame.entry_params[param.name] = code.param_bytes;
      code.params.push_back({code.param_bytes, static_cast<uint32_t>(param.bytes)});
      code.param_bytes += static_cast<uint32_t>(param.bytes);
    }
  } else {
    for (const ptx::Variable& param : function.params) frame.AddLocal(param, &code.params);
    for (const ptx::Variable& result : function.results) frame.AddLocal(result, &code.results);
  }
  for (const ptx::Variable& variable : function.variables) {
    if (variable.space == ptx::Space::kLocal || variable.space == ptx::Space::kParam) {
      frame.AddLocal(variable, nullptr);
    }
  }
  code.local_bytes = AlignUp(code.local_bytes, 16);
  Decoder decoder(module_, code, function, frame);
  code.insts.resize(function.instructions.size() + 1);
  for (size_t i = 0; i < function.instructions.size(); ++i) {
    const ptx::Instruction& instruction = function.instructions[i];
    Inst& inst = code.insts[i];
    inst.ptx_line = instruction.line;
    inst.source = instruction.source;
    decoder.instruction_ = &instruction;
    if (instruction.guard >= 0) {
      inst.guard = frame.registers[static_cast<size_t>(instruction.guard)];
      inst.guard_negated = instruction.guard_negated;
    }
    DecodeInstruction(decoder, instruction, inst);
  }
  // Running off the end is a return.
  ptx::Instruction last;
  last.line = function.instructions.empty() ? function.line : function.instructions.back().line;
  last.words = {"ret"};
  decoder.instruction_ = &last;
  code.insts.back().ptx_line = last.line;
  DecodeInstruction(decoder, last, code.insts.back());
  decoder.instruction_ = nullptr;
  frame.Finish();
}

std::unique_ptr<Code> KernelDecoder::Decode() {
  Reach();
  LayShared();
  auto entry = std::make_unique<Code>();
  entry->entry = entry.get();
  for (const ptx::Function* function : reached_) {
    if (function != &entry_) entry->callees[function->name] = std::make_unique<Code>();
  }
  for (const ptx::Function* function : reached_) {
    Code& code = function == &entry_ ? *entry : *entry->callees[function->name];
    code.entry = entry.get();
    DecodeFunction(*function, code);
  }
  return entry;
}

std::unique_ptr<Code> DecodeKernel(Module& module, const ptx::Function& entry) {
  return KernelDecoder(module, entry).Decode();
}

}  // namespace softgpu
