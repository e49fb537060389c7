#include "kernels/runtime/recording.h"

#include "kernels/runtime/check.h"

#if LSEG_WITH_CUDA
#include "kernels/cuda/device.h"
#endif

namespace lseg {

#if LSEG_WITH_CUDA

Recording::Recording(Context& context, const std::function<void()>& queue) {
  LSEG_CHECK(context.device() == Device::kCuda, "only work for a GPU can be recorded");
  graph_ = cuda::Record(*context.stream(), queue);
}

void Recording::Replay(Context& context) const { cuda::Replay(*context.stream(), *graph_); }

#else

Recording::Recording(Context&, const std::function<void()>&) {
  LSEG_FAIL("only work for a GPU can be recorded");
}

void Recording::Replay(Context&) const {}

#endif

}  // namespace lseg
