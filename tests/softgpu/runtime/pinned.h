// Host memory that queued work uses. Reading it early or changing it early is a race that a GPU
// shows now and then; here a source is compared with what it held when the call was made, and a
// destination is filled with a pattern until the copy is done, which must then be untouched, and
// its whole pages are protected, so that reading it is found, too.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/softgpu/runtime/call_site.h"

namespace softgpu {

class Runtime;
struct CopyWork;
struct Op;

class Pinned {
 public:
  // Every byte is -1, every float NaN: whoever reads it early sees that.
  static constexpr uint8_t kPoison = 0xff;
  // A copy was queued: its source is remembered, its destination poisoned, as far as queued work
  // lets the host see it (a kernel or a host function that comes first may still use the bytes).
  void OnEnqueue(Runtime& runtime, Op& op);
  // It is about to be done: compares; reports.
  void BeforeCopy(Runtime& runtime, CopyWork& copy, const CallSite& site);
  // It wrote its destination: queued copies that poisoned the same bytes can't know them any more.
  void AfterCopy(Runtime& runtime, const CopyWork& copy);
  // It will not be done, after a fault.
  void OnDropped(const CopyWork& copy);
};

}  // namespace softgpu
