// A decoded function: what the machine runs. An instruction is a function pointer with its operands
// resolved to slots of the register frame, so that a warp's 32 lanes are one loop over an array.
//
// A slot holds one register of all lanes: 32 values of W bytes (W = 2, 4, 8, 16), then 32 shadow
// bytes; bit b of lane l's shadow byte says that byte b of its value was never written (for W = 16,
// two bits share: bit b covers bytes 2b and 2b+1). 8-bit registers live in 16-bit slots. A
// predicate is two words: the lanes where it is true, the lanes where it was never written.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/softgpu/ptx/module.h"

namespace softgpu {

class Module;
struct Warp;
struct Inst;

inline constexpr int kLanes = 32;
inline constexpr uint32_t kAllLanes = 0xffffffffu;

// A slot: its byte offset in the frame, or with the top bit set in the function's constants.
using Ref = uint32_t;
inline constexpr Ref kConstantBit = 0x80000000u;
inline constexpr Ref kNoRef = 0xffffffffu;

using Exec = void (*)(Warp&, const Inst&);

// For the counters; in the order of the report.
enum class InstClass : uint8_t {
  kInteger,
  kFloat32,
  kFloat64,
  kHalf,
  kSpecialFunction,
  kConvert,
  kMove,
  kCompare,
  kBranch,
  kLoadGlobal,
  kStoreGlobal,
  kLoadShared,
  kStoreShared,
  kLoadLocal,
  kStoreLocal,
  kLoadConst,
  kAtomic,
  kAsyncCopy,
  kMatrix,
  kMatrixLoad,
  kWarpOp,
  kBarrier,
  kFence,
  kOther,
  kCount
};

enum class SpecialKind : uint8_t {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLaneId,
  kWarpId,
  kNwarpId,
  kSmId,
  kNsmId,
  kGridId,
  kLaneMaskEq,
  kLaneMaskLe,
  kLaneMaskLt,
  kLaneMaskGe,
  kLaneMaskGt,
  kDynamicSharedSize,
  kTotalSharedSize,
  kWorkspaceHigh,
  kWorkspaceLow,
  kZero,
  kOne,
  kLocalAddress,
  kCount
};

struct Inst {
  Exec exec = nullptr;
  Ref r[6] = {kNoRef, kNoRef, kNoRef, kNoRef, kNoRef, kNoRef};  // destinations first
  Ref guard = kNoRef;
  bool guard_negated = false;
  InstClass klass = InstClass::kOther;
  uint8_t flops = 0;            // a lane; mma: see flops_warp
  bool always = false;          // runs even where the guard leaves no lane (branches)
  uint32_t a = 0, b = 0;        // the op's own: bytes a lane, sub-operation, flags
  int64_t imm = 0;              // the op's own: address offset, branch target
  const Ref* list = nullptr;    // more slots, in the op's own order
  const void* extra = nullptr;  // the op's own, kept alive by Code::Keep
  uint32_t flops_warp = 0;      // of a whole warp (matrix instructions)
  int32_t ptx_line = 0;
  ptx::SourceLine source;
};

// A function, decoded. The frame: slots, in bytes; the locals: bytes a lane of .local variables and
// of .param variables (a call's arguments are memory, too).
struct Code {
  std::string name;  // mangled
  const ptx::Function* function = nullptr;
  Module* module = nullptr;
  std::vector<Inst> insts;
  uint32_t frame_bytes = 0;
  // What a new frame starts as: every slot's shadow "never written".
  std::vector<uint8_t> initial_frame;
  // Its shadows alone: a frame that was used before needs no more.
  struct InitialShadow {
    uint32_t offset, bytes;
    uint8_t value;
  };
  std::vector<InitialShadow> initial_shadows;
  // 32-byte aligned, slot layout.
  std::vector<uint8_t> constants_storage;
  uint8_t* constants = nullptr;
  // Special registers and addresses that are constant while a frame lives: filled at its start.
  struct Special {
    SpecialKind kind;
    uint64_t value;  // kLocalAddress: offset in the frame's locals
    Ref slot;
  };
  std::vector<Special> specials;
  // Local memory of a frame, bytes a lane: .local variables, .param variables of calls, and this
  // function's own parameters and results (an entry's parameters are the launch's instead).
  uint32_t local_bytes = 0;
  struct Place {
    uint32_t offset, bytes;
  };
  std::vector<Place> params, results;  // a function: in local memory; an entry: in the launch's
  uint32_t param_bytes = 0;            // an entry's
  uint32_t static_shared = 0;          // the whole kernel's, callees' included
  int shared_granule_log2 = 4;  // 0 to 4: the smallest shared access of the kernel, for races
  // Functions that this kernel can call, by name; the entry's Code owns them.
  std::map<std::string, std::unique_ptr<Code>> callees;
  Code* entry = nullptr;
  bool has_wgmma = false;  // an entry: it or a callee, so that writes to shared memory are followed
  Ref carry = kNoRef;  // of add.cc and its kin: 32-bit slot, 0 or 1 a lane
  std::vector<std::shared_ptr<void>> kept;

  template <class T, class... Args>
  T* Keep(Args&&... args) {
    auto p = std::make_shared<T>(std::forward<Args>(args)...);
    T* raw = p.get();
    kept.push_back(std::move(p));
    return raw;
  }
};

}  // namespace softgpu
