// Control flow: branches, calls, returns, barriers, traps.
#include <cstring>

#include "tests/softgpu/machine/builtins.h"
#include "tests/softgpu/machine/decode_function.h"
#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/ops_memory.h"
#include "tests/softgpu/machine/ops_warp.h"
#include "tests/softgpu/machine/warp_sync.h"

namespace softgpu {
namespace {

using Kind = ptx::Operand::Kind;

void Bra(Warp& w, const Inst& i) { Branch(w, w.exec, i.a); }

void BuildBra(const ptx::Instruction& instruction, Decoder& d, Inst& inst) {
  Words words(instruction);
  words.Take("uni");
  words.Finish();
  d.Operands(1);
  if (instruction.operands[0].kind != Kind::kLabel) d.Refuse("its target must be a label");
  inst.a = static_cast<uint32_t>(instruction.operands[0].index);
  inst.klass = InstClass::kBranch;
  inst.exec = Bra;
}

void BrxIdx(Warp& w, const Inst& i) {
  const auto& targets = *static_cast<const std::vector<int>*>(i.extra);
  const uint32_t* index = Get<uint32_t>(w, i.r[0]);
  const uint32_t unknown = AnyShadow(Shadow(w, i.r[0], 4)) & w.exec;
  if (unknown) {
    Report(w, i, std::countr_zero(unknown), Check::kUninitialised,
           "a branch depends on a value that was never written");
  }
  uint32_t rest = w.exec;
  while (rest) {
    const int lane = std::countr_zero(rest);
    if (index[lane] >= targets.size()) {
      Report(w, i, lane, Check::kOutOfBounds,
             "branch index " + std::to_string(index[lane]) + " of " +
                 std::to_string(targets.size()) + " targets");
      throw LaunchFault{kErrorLaunchFailure};
    }
    uint32_t same = 0;
    ForLanes(rest, [&](int l) { same |= static_cast<uint32_t>(index[l] == index[lane]) << l; });
    rest &= ~same;
    // Branch may switch to another group: the last one of several ends this instruction.
    const uint32_t target = static_cast<uint32_t>(targets[index[lane]]);
    if (!rest && same == w.active) {
      Branch(w, same, target);
    } else {
      Part(w, same, target);
    }
  }
  if (!w.active) w.stop = true;
}

void BuildBrx(const ptx::Instruction& instruction, Decoder& d, Inst& inst) {
  Words words(instruction);
  if (!words.Take("idx")) words.Refuse("only brx.idx is covered");
  words.Take("uni");
  words.Finish();
  d.Operands(2);
  const auto found = d.function().branch_targets.find(instruction.operands[1].name);
  if (found == d.function().branch_targets.end())
    d.Refuse("its second operand must be .branchtargets");
  inst.r[0] = d.Source(instruction.operands[0], Type::kU32);
  inst.extra = &found->second;
  inst.klass = InstClass::kBranch;
  inst.exec = BrxIdx;
}

void Exit(Warp& w, const Inst& i) { ExitLanes(w, i); }

void Trap(Warp& w, const Inst& i) {
  Report(w, i, std::countr_zero(w.exec), Check::kAssert, "trap");
  throw LaunchFault{kErrorLaunchFailure};
}

void Nothing(Warp&, const Inst&) {}

template <Exec kExec, InstClass kClass>
void BuildPlain(const ptx::Instruction& instruction, Decoder&, Inst& inst) {
  Words words(instruction);
  words.Take("uni");
  words.Finish();
  inst.klass = kClass;
  inst.exec = kExec;
}

void BuildNanosleep(const ptx::Instruction&, Decoder&, Inst& inst) { inst.exec = Nothing; }

struct Call {
  const Code* callee = nullptr;  // null: by address or built in
  Builtin builtin = nullptr;
  BuiltinCall places;
};

void CopyLocal(Warp& w, uint32_t lanes, uint32_t from, uint32_t to, uint32_t bytes) {
  ForLanes(lanes, [&](int lane) {
    for (uint32_t at = 0; at < bytes; at += 4) {
      uint8_t data[4], state[4];
      const uint32_t n = std::min(4u, bytes - at);
      ReadLocal(w, lane, from + at, n, data, state);
      WriteLocal(w, lane, to + at, n, data, state);
    }
  });
}

void EnterCallee(Warp& w, const Inst& i, const Call& call, const Code& callee, uint32_t lanes) {
  const auto& args = call.places.args;
  if (args.size() != callee.params.size() || call.places.results.size() != callee.results.size()) {
    Report(w, i, std::countr_zero(lanes), Check::kOutOfBounds,
           "call of " + callee.name + " with " + std::to_string(args.size()) + " arguments for " +
               std::to_string(callee.params.size()));
    throw LaunchFault{kErrorLaunchFailure};
  }
  Frame* const caller = w.frame;
  Frame* const frame = PushFrame(w, callee, caller, w.pc, lanes);
  for (size_t k = 0; k < args.size(); ++k) {
    CopyLocal(w, lanes, caller->local_base + args[k].offset,
              frame->local_base + callee.params[k].offset,
              std::min(args[k].bytes, callee.params[k].bytes));
  }
  Enter(w, frame, lanes);
}

void CallDirect(Warp& w, const Inst& i) {
  const auto& call = *static_cast<const Call*>(i.extra);
  if (call.builtin) {
    call.builtin(w, i, call.places);
    return;
  }
  EnterCallee(w, i, call, *call.callee, w.exec);
}

// Lanes may call different functions: one after the other; the rest comes back to this instruction.
void CallIndirect(Warp& w, const Inst& i) {
  const auto& call = *static_cast<const Call*>(i.extra);
  const uint64_t* address = Get<uint64_t>(w, i.r[0]);
  const int lane = std::countr_zero(w.exec);
  const uint64_t target = address[lane];
  if ((AnyShadow(Shadow(w, i.r[0], 8)) >> lane) & 1) {
    Report(w, i, lane, Check::kUninitialised, "a call depends on a value that was never written");
  }
  uint32_t same = 0;
  ForLanes(w.exec, [&](int l) { same |= static_cast<uint32_t>(address[l] == target) << l; });
  const auto& functions = w.frame->code->module->parsed().functions;
  const uint64_t index = target - kFunctionWindow;
  const Code* callee = nullptr;
  if (target >= kFunctionWindow && index < functions.size()) {
    const auto& callees = w.frame->code->entry->callees;
    const auto found = callees.find(functions[index].name);
    if (found != callees.end()) callee = found->second.get();
  }
  if (!callee) {
    Report(w, i, lane, Check::kOutOfBounds, "call of an address that is no function");
    throw LaunchFault{kErrorLaunchFailure};
  }
  const uint32_t later = w.exec & ~same;
  if (later) Part(w, later, w.pc - 1);
  EnterCallee(w, i, call, *callee, same);
}

void Return(Warp& w, const Inst& i) {
  if (!w.frame->caller) {
    ExitLanes(w, i);
    return;
  }
  const uint32_t staying = w.active & ~w.exec;
  if (staying) Part(w, staying, w.pc);
  Frame* const caller = w.frame->caller;
  const Code& callee = *w.frame->code;
  const auto& call = *static_cast<const Call*>(caller->code->insts[w.frame->return_pc - 1].extra);
  for (size_t k = 0; k < callee.results.size(); ++k) {
    CopyLocal(w, w.exec, w.frame->local_base + callee.results[k].offset,
              caller->local_base + call.places.results[k].offset,
              std::min(callee.results[k].bytes, call.places.results[k].bytes));
  }
  Leave(w);
}

Code::Place ParamPlace(Decoder& d, const ptx::Operand& operand) {
  if (operand.kind == Kind::kSymbol) {
    for (const ptx::Variable& variable : d.function().variables) {
      if (variable.name != operand.name || variable.space != ptx::Space::kParam) continue;
      return {d.LocalOffset(operand.name), static_cast<uint32_t>(variable.bytes)};
    }
    for (const auto* list : {&d.function().params, &d.function().results}) {
      for (const ptx::Variable& variable : *list) {
        if (variable.name != operand.name || d.function().is_entry) continue;
        return {d.LocalOffset(operand.name), static_cast<uint32_t>(variable.bytes)};
      }
    }
  }
  d.Refuse("arguments and results of calls must be .param variables");
}

void BuildCall(const ptx::Instruction& instruction, Decoder& d, Inst& inst) {
  Words words(instruction);
  words.Take("uni");
  words.Finish();
  auto* call = d.code().Keep<Call>();
  size_t at = 0;
  const auto& operands = instruction.operands;
  const auto vector_at = [&](size_t k) {
    return k < operands.size() && operands[k].kind == Kind::kVector;
  };
  if (vector_at(at)) {
    for (const ptx::Operand& o : operands[at].elements)
      call->places.results.push_back(ParamPlace(d, o));
    ++at;
  }
  if (at >= operands.size()) d.Refuse("its target is missing");
  const ptx::Operand& target = operands[at++];
  if (vector_at(at)) {
    for (const ptx::Operand& o : operands[at].elements)
      call->places.args.push_back(ParamPlace(d, o));
  }
  inst.extra = call;
  inst.klass = InstClass::kBranch;
  if (target.kind == Kind::kRegister) {
    inst.r[0] = d.Source(target, Type::kU64);
    inst.exec = CallIndirect;
    return;
  }
  if (target.kind != Kind::kSymbol) d.Refuse("its target must be a function or a register");
  inst.exec = CallDirect;
  const auto& callees = d.code().entry->callees;
  const auto found = callees.find(target.name);
  if (found != callees.end()) {
    call->callee = found->second.get();
    return;
  }
  call->builtin = FindBuiltin(target.name);
  if (!call->builtin) d.Refuse("function '" + target.name + "' is not defined in this module");
}

struct BarrierOp {
  BarrierKind kind = BarrierKind::kSync;
  bool aligned = true;
  bool negated = false;
  int reduce = 0;  // 0 and, 1 or, 2 popc
};

uint32_t UniformValue(Warp& w, const Inst& i, Ref ref, uint32_t if_none) {
  if (ref == kNoRef) return if_none;
  const int lane = std::countr_zero(w.exec);
  const uint32_t value = Get<uint32_t>(w, ref)[lane];
  if ((AnyShadow(Shadow(w, ref, 4)) >> lane) & 1) {
    Report(w, i, lane, Check::kUninitialised,
           "a barrier's number depends on a value that was never written");
  }
  return value;
}

// r: 0 result, 1 id, 2 count, 3 predicate.
void BarrierExec(Warp& w, const Inst& i) {
  const auto& op = *static_cast<const BarrierOp*>(i.extra);
  const uint32_t id = UniformValue(w, i, i.r[1], 0);
  if (w.released) {
    w.released = false;
    const Barrier& barrier = w.block->barriers[id];
    if (op.reduce == 2) {
      uint32_t counts[kLanes];
      for (uint32_t& count : counts) count = barrier.result_count;
      Put(w, i.r[0], counts);
      ClearShadow(w, i.r[0], 4);
    } else {
      const bool value = op.reduce == 0 ? barrier.result_all : barrier.result_any;
      PutPredicate(w, i.r[0], value ? kAllLanes : 0, 0);
    }
    return;
  }
  uint32_t predicate = 0;
  if (i.r[3] != kNoRef) {
    predicate = PredicateValue(w, i.r[3]) ^ (op.negated ? kAllLanes : 0);
    const uint32_t unknown = PredicateShadow(w, i.r[3]) & w.exec;
    if (unknown) {
      Report(w, i, std::countr_zero(unknown), Check::kUninitialised,
             "a barrier's reduction depends on a value that was never written");
    }
  }
  ArriveAtBarrier(w, i, id, UniformValue(w, i, i.r[2], 0), op.kind, op.aligned, predicate);
}

void BuildBarrier(const ptx::Instruction& instruction, Decoder& d, Inst& inst) {
  Words words(instruction);
  auto* op = d.code().Keep<BarrierOp>();
  words.Take("cta");
  if (instruction.words[0] == "bar" && words.Peek() == "warp") {
    BuildBarWarpSync(instruction, d, inst);
    return;
  }
  const std::string what(words.Next());
  const auto& operands = instruction.operands;
  size_t at = 0;
  if (what == "red") {
    op->kind = BarrierKind::kReduce;
    op->reduce = words.TakeOneOf({"and", "or", "popc"});
    if (op->reduce < 0) words.Refuse("its operation must be and, or, popc");
  } else if (what == "arrive") {
    op->kind = BarrierKind::kArrive;
  } else if (what != "sync") {
    words.Refuse("'." + what + "' is not covered here");
  }
  const bool says_aligned = words.Take("aligned");
  op->aligned = instruction.words[0] == "bar" || says_aligned;
  if (op->kind == BarrierKind::kReduce) {
    const Type type = words.TakeType();
    if (type != (op->reduce == 2 ? Type::kU32 : Type::kPred)) words.Refuse("its type does not fit");
    if (operands.size() < 3) d.Refuse("takes 3 or 4 operands");
    inst.r[0] = op->reduce == 2 ? d.Destination(operands[0], Type::kU32) : d.Predicate(operands[0]);
    inst.r[3] = d.SourcePredicate(operands.back(), &op->negated);
    at = 1;
  }
  words.Finish();
  const size_t end = operands.size() - (op->kind == BarrierKind::kReduce ? 1 : 0);
  if (end - at < 1 || end - at > 2) d.Refuse("takes a barrier and perhaps a count");
  inst.r[1] = d.Source(operands[at], Type::kU32);
  if (end - at == 2) inst.r[2] = d.Source(operands[at + 1], Type::kU32);
  if (op->kind == BarrierKind::kArrive && end - at != 2) d.Refuse("needs a count of threads");
  inst.extra = op;
  inst.klass = InstClass::kBarrier;
  inst.exec = BarrierExec;
}

}  // namespace

void AddControlOps(BuilderTable& table) {
  table["bra"] = BuildBra;
  table["brx"] = BuildBrx;
  table["call"] = BuildCall;
  table["ret"] = BuildPlain<Return, InstClass::kBranch>;
  table["exit"] = BuildPlain<Exit, InstClass::kBranch>;
  table["trap"] = BuildPlain<Trap, InstClass::kOther>;
  table["brkpt"] = BuildPlain<Nothing, InstClass::kOther>;
  table["nanosleep"] = BuildNanosleep;
  table["bar"] = BuildBarrier;
  table["barrier"] = BuildBarrier;
}

}  // namespace softgpu
