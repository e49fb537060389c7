// st: bytes with their states, so that a register that was never written may be stored.
#include <cstring>
#include <string>

#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/load_store.h"
#include "tests/softgpu/machine/races.h"

namespace softgpu::load_store {
namespace {

using Pattern = Access::Pattern;

template <class Slot, class Element>
void CollectData(const Warp& w, const LoadStore& op, Bytes32& bytes) {
  if (sizeof(Slot) == 4 && sizeof(Element) == 4 && op.elements == 4) {
    for (int l = 0; l < kLanes; l += 4) {
      Row rows[4];
      for (size_t e = 0; e < 4; ++e) {
        std::memcpy(&rows[e], Get<uint32_t>(w, op.slots[e]) + l, sizeof(Row));
      }
      Transpose4x4(rows);
      std::memcpy(bytes.data + l, rows, sizeof(rows));
    }
    return;
  }
  for (int e = 0; e < op.elements; ++e) {
    const Slot* values = Get<Slot>(w, op.slots[static_cast<size_t>(e)]);
    const size_t at = static_cast<size_t>(e) * sizeof(Element);
    for (int l = 0; l < kLanes; ++l) std::memcpy(&bytes.data[l][at], &values[l], sizeof(Element));
  }
}

// Bytes to store, lane by lane. True: all were written, and bytes.unwritten is left as it is.
template <class Slot, class Element>
bool Collect(const Warp& w, const LoadStore& op, uint32_t mask, Bytes32& bytes) {
  CollectData<Slot, Element>(w, op, bytes);
  uint32_t unwritten = 0;
  for (int e = 0; e < op.elements; ++e) {
    const Ref slot = op.slots[static_cast<size_t>(e)];
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

// With all lanes as a loop that can be unrolled.
template <class F>
void EachLane(uint32_t mask, F f) {
  if (mask != kAllLanes) {
    ForLanes(mask, f);
    return;
  }
  for (int l = 0; l < kLanes; ++l) f(l);
}

// The lanes are filled: see FillLanes.
void SetStates(const Reached& r, const Bytes32& bytes, bool written) {
  const uint32_t n = r.access.bytes;
  if (written && r.written) return;
  if (written && r.access.pattern == Pattern::kUnitStride) {
    if (r.state[0]) std::memset(r.state[0], kWritten, kLanes * n);
    return;
  }
  if (written) {
    WithBytes(n, [&](auto size) {
      ForLanes(r.access.mask, [&](int lane) {
        if (uint8_t* state = r.state[lane]) std::memset(state, kWritten, size);
      });
    });
    return;
  }
  ForLanes(r.access.mask, [&](int lane) {
    uint8_t* state = r.state[lane];
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
  if (r.access.order != Order::kWeak || InOrder(r.access)) return;
  bool same = true;
  WithBytes(r.access.bytes, [&](auto size) {
    EachLane(r.access.mask, [&](int lane) {
      uint64_t now[2] = {}, stored[2] = {};
      std::memcpy(now, r.data[lane], size);
      std::memcpy(stored, bytes.data[lane], size);
      same &= ((now[0] ^ stored[0]) | (now[1] ^ stored[1])) == 0;
    });
  });
  if (same) return;
  const Check check =
      r.access.space == ptx::Space::kShared ? Check::kRaceShared : Check::kRaceGlobal;
  ForLanes(r.access.mask, [&](int lane) {
    if (std::memcmp(r.data[lane], bytes.data[lane], r.access.bytes) == 0) return;
    Report(w, i, lane, check,
           std::string("lanes of one store write different values to ") +
               (check == Check::kRaceShared ? "shared " : "global ") +
               Hex(r.access.address[LaneOf(r.access, lane)]));
  });
}

template <class Slot, class Element>
struct Store {
  static void Run(Warp& w, const Inst& i);
};
template <class Slot, class Element>
void Store<Slot, Element>::Run(Warp& w, const Inst& i) {
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
    FillLanes(r);
    WithBytes(r.access.bytes, [&](auto size) {
      EachLane(r.access.mask, [&](int lane) { std::memcpy(r.data[lane], bytes.data[lane], size); });
    });
    SetStates(r, bytes, written);
    CheckCollision(w, i, r, bytes);
    if (w.block->races) w.block->races->OnWritten();
  }
}

}  // namespace

Exec StoreOf(const LoadStore& op) { return ExecOf<Store>(op); }

}  // namespace softgpu::load_store
