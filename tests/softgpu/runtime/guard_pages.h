// Pages of host memory that nobody may touch for a while: who does is remembered, and goes on.
#pragma once

#include <cstddef>

namespace softgpu {

// A slot of a fixed table, since a signal handler reads it. -1: none.
using GuardSlot = int;

// Protects the whole pages inside [begin, begin + bytes). -1: there are none, or no slot is free.
GuardSlot Guard(void* begin, size_t bytes);

struct Touch {
  bool touched = false;
  const void* instruction = nullptr;  // that did it first
};
// The pages are as before. Does nothing for -1.
Touch Release(GuardSlot slot);

}  // namespace softgpu
