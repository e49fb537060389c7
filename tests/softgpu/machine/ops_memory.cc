// ld and st. A load goes into registers as its bytes and their states: a value that was never
// written may be loaded and stored again.
#include "tests/softgpu/machine/ops_memory.h"

#include <cstring>
#include <type_traits>

#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/races.h"

namespace softgpu {
namespace {

using Pattern = Access::Pattern;

struct LoadStore {
  AccessSpec spec;
  int elements = 1;
  int element_bytes = 4;
  int slot_bytes = 4;
  bool is_signed = false;
  std::vector<Ref> slots;
};

// All bytes and states of the lanes, in a row, whatever the space.
struct Bytes32 {
  alignas(32) uint8_t data[kLanes][16];
  alignas(32) uint8_t unwritten[kLanes][16];  // 1: was never written
};

void Gather(const Warp& w, const Reached& r, Bytes32& out) {
  const uint32_t bytes = r.access.bytes;
  ForLanes(r.access.mask, [&](int lane) {
    if (r.access.space == ptx::Space::kLocal) {
      uint8_t state[16];
      ReadLocal(w, lane, r.access.address[lane], bytes, out.data[lane], state);
      for (uint32_t k = 0; k < bytes; ++k) out.unwritten[lane][k] = state[k] == kUnwritten;
      return;
    }
    std::memcpy(out.data[lane], LaneData(r, lane), bytes);
    const uint8_t* state = LaneState(r, lane);
    for (uint32_t k = 0; k < bytes; ++k) {
      out.unwritten[lane][k] = state != nullptr && state[k] == kUnwritten;
    }
  });
}

// Element `at` of every lane, from wherever the pattern has it.
template <class Element>
void TakeElements(const Reached& r, int at, Element* values) {
  const uint32_t bytes = r.access.bytes;
  const size_t offset = static_cast<size_t>(at) * sizeof(Element);
  if (r.access.pattern == Pattern::kUnitStride) {
    const uint8_t* p = r.data[0] + offset;
    if (bytes == sizeof(Element)) {
      std::memcpy(values, p, kLanes * sizeof(Element));
    } else {
      for (int l = 0; l < kLanes; ++l) std::memcpy(&values[l], p + l * bytes, sizeof(Element));
    }
  } else if (r.access.pattern == Pattern::kUniform) {
    Element value;
    std::memcpy(&value, r.data[r.access.first] + offset, sizeof(Element));
    for (int l = 0; l < kLanes; ++l) values[l] = value;
  } else {
    ForLanes(r.access.mask,
             [&](int lane) { std::memcpy(&values[lane], r.data[lane] + offset, sizeof(Element)); });
  }
}

template <class Slot, class Element>
void PutElement(Warp& w, Ref slot, const Element* values) {
  if constexpr (std::is_same_v<Slot, Element>) {
    Put(w, slot, values);
  } else {
    Slot wide[kLanes];
    for (int l = 0; l < kLanes; ++l) wide[l] = static_cast<Slot>(values[l]);
    Put(w, slot, wide);
  }
}

// Shadows of element `at`: byte by byte; a sign takes after the byte it comes from.
template <class Slot, class Element>
void PutElementShadow(Warp& w, Ref slot, const Bytes32& bytes, int at) {
  uint8_t shadow[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    uint32_t bits = 0;
    for (size_t k = 0; k < sizeof(Element); ++k) {
      bits |=
          static_cast<uint32_t>(bytes.unwritten[l][static_cast<size_t>(at) * sizeof(Element) + k])
          << k;
    }
    if constexpr (sizeof(Element) == 16) {
      uint32_t pairs = 0;
      for (int k = 0; k < 8; ++k) pairs |= static_cast<uint32_t>(((bits >> (2 * k)) & 3) != 0) << k;
      bits = pairs;
    }
    if constexpr (std::is_signed_v<Element> && sizeof(Slot) > sizeof(Element)) {
      if (bits >> (sizeof(Element) - 1))
        bits |= ShadowAll(sizeof(Slot)) & ~ShadowAll(sizeof(Element));
    }
    shadow[l] = static_cast<uint8_t>(bits);
  }
  PutShadow(w, slot, sizeof(Slot), shadow);
}

struct Wide {  // 128 bits
  uint64_t low, high;
};

template <class Slot, class Element>
void Load(Warp& w, const Inst& i) {
  const auto& op = *static_cast<const LoadStore*>(i.extra);
  uint64_t addresses[kLanes];
  const uint32_t exec = w.exec;
  uint32_t rest = TakeAddresses(w, i, op.spec, addresses);
  while (rest) {
    Reached r;
    Reach(w, i, op.spec, addresses, &rest, r);
    if (!r.access.mask) continue;
    w.exec = r.access.mask;
    const bool strong = op.spec.order != Order::kWeak && r.access.space != ptx::Space::kLocal;
    // A strong access is one, whatever its size, so it isn't taken element by element.
    const bool in_rows = r.access.space == ptx::Space::kLocal || !r.written || strong;
    Bytes32 bytes;
    if (in_rows) Gather(w, r, bytes);
    if (strong && w.block->races) w.block->races->OnStrongRead(w, r.access);
    for (int e = 0; e < op.elements; ++e) {
      const Ref slot = op.slots[static_cast<size_t>(e)];
      if (slot == kNoRef) continue;
      Element values[kLanes];
      if (in_rows) {
        for (int l = 0; l < kLanes; ++l) {
          std::memcpy(&values[l], &bytes.data[l][static_cast<size_t>(e) * sizeof(Element)],
                      sizeof(Element));
        }
        PutElement<Slot>(w, slot, values);
        PutElementShadow<Slot, Element>(w, slot, bytes, e);
      } else {
        TakeElements(r, e, values);
        PutElement<Slot>(w, slot, values);
        ClearShadow(w, slot, sizeof(Slot));
      }
    }
  }
  w.exec = exec;
}

// Bytes to store, lane by lane. True: all were written, and bytes.unwritten is left as it is.
template <class Slot, class Element>
bool Collect(const Warp& w, const LoadStore& op, uint32_t mask, Bytes32& bytes) {
  uint32_t unwritten = 0;
  for (int e = 0; e < op.elements; ++e) {
    const Ref slot = op.slots[static_cast<size_t>(e)];
    const Slot* values = Get<Slot>(w, slot);
    const size_t at = static_cast<size_t>(e) * sizeof(Element);
    for (int l = 0; l < kLanes; ++l) std::memcpy(&bytes.data[l][at], &values[l], sizeof(Element));
    unwritten |= AnyShadow(Shadow(w, slot, sizeof(Slot))) & mask;
  }
  if (unwritten == 0) return true;
  for (int e = 0; e < op.elements; ++e) {
    const uint8_t* shadow = Shadow(w, op.slots[static_cast<size_t>(e)], sizeof(Slot));
    const size_t at = static_cast<size_t>(e) * sizeof(Element);
    for (int l = 0; l < kLanes; ++l) {
      for (size_t k = 0; k < sizeof(Element); ++k) {
        const size_t bit = sizeof(Element) == 16 ? k / 2 : k;
        bytes.unwritten[l][at + k] = (shadow[l] >> bit) & 1;
      }
    }
  }
  return false;
}

// Calls f with the bytes of a lane as a constant, so that its copies are single moves.
template <class F>
void WithBytes(uint32_t bytes, F f) {
  switch (bytes) {
    case 1:
      f(std::integral_constant<uint32_t, 1>());
      break;
    case 2:
      f(std::integral_constant<uint32_t, 2>());
      break;
    case 4:
      f(std::integral_constant<uint32_t, 4>());
      break;
    case 8:
      f(std::integral_constant<uint32_t, 8>());
      break;
    default:
      f(std::integral_constant<uint32_t, 16>());
  }
}

void SetStates(const Reached& r, const Bytes32& bytes, bool written) {
  const uint32_t n = r.access.bytes;
  if (written && r.access.pattern == Pattern::kUnitStride) {
    if (r.state[0]) std::memset(r.state[0], kWritten, kLanes * n);
    return;
  }
  if (written) {
    WithBytes(n, [&](auto size) {
      ForLanes(r.access.mask, [&](int lane) {
        if (uint8_t* state = LaneState(r, lane)) std::memset(state, kWritten, size);
      });
    });
    return;
  }
  ForLanes(r.access.mask, [&](int lane) {
    uint8_t* state = LaneState(r, lane);
    if (!state) return;
    for (uint32_t k = 0; k < n; ++k) state[k] = bytes.unwritten[lane][k] ? kUnwritten : kWritten;
  });
}

void StoreLocal(Warp& w, const Reached& r, const Bytes32& bytes, bool written) {
  ForLanes(r.access.mask, [&](int lane) {
    uint8_t state[16];
    for (uint32_t k = 0; k < r.access.bytes; ++k) {
      state[k] = !written && bytes.unwritten[lane][k] ? kUnwritten : kWritten;
    }
    WriteLocal(w, lane, r.access.address[lane], r.access.bytes, bytes.data[lane], state);
  });
}

// Two lanes that store different bytes to one place: which of them stays is not said.
void CheckCollision(Warp& w, const Inst& i, const Reached& r, const Bytes32& bytes) {
  if (r.access.pattern == Pattern::kUnitStride || r.access.order != Order::kWeak) return;
  bool same = true;
  WithBytes(r.access.bytes, [&](auto size) {
    ForLanes(r.access.mask, [&](int lane) {
      same &= std::memcmp(LaneData(r, lane), bytes.data[lane], size) == 0;
    });
  });
  if (same) return;
  const Check check =
      r.access.space == ptx::Space::kShared ? Check::kRaceShared : Check::kRaceGlobal;
  ForLanes(r.access.mask, [&](int lane) {
    if (std::memcmp(LaneData(r, lane), bytes.data[lane], r.access.bytes) == 0) return;
    Report(w, i, lane, check,
           std::string("lanes of one store write different values to ") +
               (check == Check::kRaceShared ? "shared " : "global ") +
               Hex(r.access.address[LaneOf(r.access, lane)]));
  });
}

template <class Slot, class Element>
void Store(Warp& w, const Inst& i) {
  const auto& op = *static_cast<const LoadStore*>(i.extra);
  uint64_t addresses[kLanes];
  uint32_t rest = TakeAddresses(w, i, op.spec, addresses);
  while (rest) {
    Reached r;
    Reach(w, i, op.spec, addresses, &rest, r);
    if (!r.access.mask) continue;
    // The usual store: whole registers side by side.
    if constexpr (std::is_same_v<Slot, Element>) {
      if (op.elements == 1 && r.access.pattern == Pattern::kUnitStride &&
          AnyShadow(Shadow(w, op.slots[0], sizeof(Slot))) == 0) {
        std::memcpy(r.data[0], Get<Slot>(w, op.slots[0]), kLanes * sizeof(Slot));
        if (!r.written && r.state[0]) std::memset(r.state[0], kWritten, kLanes * sizeof(Slot));
        if (w.block->races) w.block->races->OnWritten();
        continue;
      }
    }
    Bytes32 bytes;
    const bool written = Collect<Slot, Element>(w, op, r.access.mask, bytes);
    if (r.access.space == ptx::Space::kLocal) {
      StoreLocal(w, r, bytes, written);
      continue;
    }
    WithBytes(r.access.bytes, [&](auto size) {
      ForLanes(r.access.mask,
               [&](int lane) { std::memcpy(LaneData(r, lane), bytes.data[lane], size); });
    });
    SetStates(r, bytes, written);
    CheckCollision(w, i, r, bytes);
    if (w.block->races) w.block->races->OnWritten();
  }
}

// The kernel's parameters at a constant offset: one value for all lanes.
template <class Slot, class Element>
void LoadParam(Warp& w, const Inst& i) {
  const auto& op = *static_cast<const LoadStore*>(i.extra);
  for (int e = 0; e < op.elements; ++e) {
    const Ref slot = op.slots[static_cast<size_t>(e)];
    if (slot == kNoRef) continue;
    Element value;
    std::memcpy(&value, w.block->launch->params + i.imm + static_cast<size_t>(e) * sizeof(Element),
                sizeof(Element));
    Slot values[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      if constexpr (std::is_same_v<Slot, Element>) {
        values[l] = value;
      } else {
        values[l] = static_cast<Slot>(value);
      }
    }
    Put(w, slot, values);
    ClearShadow(w, slot, sizeof(Slot));
  }
}

enum class Kind { kLoad, kStore, kParam };

template <class Slot, class Element>
Exec ExecOf(Kind kind) {
  return kind == Kind::kLoad    ? Load<Slot, Element>
         : kind == Kind::kStore ? Store<Slot, Element>
                                : LoadParam<Slot, Element>;
}

template <class Slot>
Exec ExecOfSlot(Kind kind, int element_bytes, bool is_signed) {
  switch (element_bytes) {
    case 1:
      return is_signed ? ExecOf<Slot, int8_t>(kind) : ExecOf<Slot, uint8_t>(kind);
    case 2:
      if constexpr (sizeof(Slot) >= 2) {
        return is_signed && sizeof(Slot) > 2 ? ExecOf<Slot, int16_t>(kind)
                                             : ExecOf<Slot, uint16_t>(kind);
      }
      break;
    case 4:
      if constexpr (sizeof(Slot) >= 4) {
        return is_signed && sizeof(Slot) > 4 ? ExecOf<Slot, int32_t>(kind)
                                             : ExecOf<Slot, uint32_t>(kind);
      }
      break;
    case 8:
      if constexpr (sizeof(Slot) >= 8) return ExecOf<Slot, uint64_t>(kind);
      break;
  }
  return nullptr;
}

Exec Choose(Kind kind, int slot_bytes, int element_bytes, bool is_signed) {
  switch (slot_bytes) {
    case 2:
      return ExecOfSlot<uint16_t>(kind, element_bytes, is_signed);
    case 4:
      return ExecOfSlot<uint32_t>(kind, element_bytes, is_signed);
    case 8:
      return ExecOfSlot<uint64_t>(kind, element_bytes, is_signed);
    case 16:
      return element_bytes == 16 ? ExecOf<Wide, Wide>(kind) : nullptr;
  }
  return nullptr;
}

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
  Kind kind = store ? Kind::kStore : Kind::kLoad;
  if (!store && op->spec.space == ptx::Space::kParam && place.base == kNoRef) {
    const uint64_t offset = static_cast<uint64_t>(place.offset) - kParamWindow;
    if (offset + op->spec.bytes > d.code().param_bytes) d.Refuse("reads past the parameters");
    inst.imm = static_cast<int64_t>(offset);
    kind = Kind::kParam;
  }
  inst.exec = Choose(kind, op->slot_bytes, op->element_bytes, op->is_signed);
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
