// ld: a load goes into registers as its bytes and their states: a value that was never written may
// be loaded and stored again.
#include <cstring>

#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/load_store.h"
#include "tests/softgpu/machine/races.h"

namespace softgpu::load_store {
namespace {

using Pattern = Access::Pattern;

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

// All lanes' 16 bytes into four registers. False: that is not what it is.
bool TakeRows(Warp& w, const LoadStore& op, Reached& r) {
  if (op.elements != 4 || r.access.mask != kAllLanes || r.access.pattern == Pattern::kUniform) {
    return false;
  }
  for (const Ref slot : op.slots) {
    if (slot == kNoRef) return false;
  }
  FillLanes(r);
  uint8_t* slots[4];
  for (size_t e = 0; e < 4; ++e) {
    slots[e] = Slot(w, op.slots[e]);
    std::memset(slots[e] + 4 * kLanes, 0, kLanes);
  }
  for (int l = 0; l < kLanes; l += 4) {
    Row rows[4];
    for (int k = 0; k < 4; ++k) std::memcpy(&rows[k], r.data[l + k], sizeof(Row));
    Transpose4x4(rows);
    for (int e = 0; e < 4; ++e) std::memcpy(slots[e] + 4 * l, &rows[e], sizeof(Row));
  }
  return true;
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

template <class Slot, class Element>
struct Load {
  static void Run(Warp& w, const Inst& i);
};
template <class Slot, class Element>
void Load<Slot, Element>::Run(Warp& w, const Inst& i) {
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
    if (in_rows) {
      Gather(w, r, bytes);
    } else if (sizeof(Slot) == 4 && TakeRows(w, op, r)) {
      continue;
    }
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

// The kernel's parameters at a constant offset: one value for all lanes.
template <class Slot, class Element>
struct LoadParam {
  static void Run(Warp& w, const Inst& i);
};
template <class Slot, class Element>
void LoadParam<Slot, Element>::Run(Warp& w, const Inst& i) {
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

}  // namespace

Exec LoadOf(const LoadStore& op) { return ExecOf<Load>(op); }
Exec LoadParamOf(const LoadStore& op) { return ExecOf<LoadParam>(op); }

}  // namespace softgpu::load_store
