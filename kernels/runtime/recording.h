// Recording: work queued on a GPU's context, recorded once and then queued anew as a whole (a CUDA
// graph), which costs the host one call instead of one a kernel.
#pragma once

#include <functional>
#include <memory>

#include "kernels/runtime/context.h"

namespace lseg {

namespace cuda {
class GraphExec;
}

class Recording {
 public:
  // Runs `queue`, which queues ops on the context and neither waits nor allocates; nothing of it is
  // executed. No other thread uses the GPU meanwhile (context.h). The context is of a GPU: an Error
  // on the CPU.
  Recording(Context& context, const std::function<void()>& queue);
  // Queues what was recorded; it reads the memory that it was recorded with.
  void Replay(Context& context) const;

 private:
  std::shared_ptr<cuda::GraphExec> graph_;
};

}  // namespace lseg
