// Event: a place in a context's queue that the host can wait for, without waiting for all of it.
#pragma once

#include <memory>

#include "kernels/runtime/context.h"

namespace lseg {

namespace cuda {
class EventHandle;
}

class Event {
 public:
  // Behind what is queued on the context now; in place of where it was. Not while the context's
  // work is recorded (Recording). On the CPU nothing is ever queued: neither does anything there.
  void Set(Context& context);
  // Until what was queued before the last Set is done. What failed there, Context::Synchronize
  // tells.
  void Wait() const;

 private:
  std::shared_ptr<cuda::EventHandle> handle_;  // made by the first Set on a GPU
};

}  // namespace lseg
