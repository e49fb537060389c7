#include "kernels/runtime/event.h"

#if LSEG_WITH_CUDA
#include "kernels/cuda/device.h"
#endif

namespace lseg {

#if LSEG_WITH_CUDA

void Event::Set(Context& context) {
  if (context.device() == Device::kCpu) return;
  if (handle_ == nullptr) handle_ = cuda::MakeEvent();
  cuda::SetEvent(*handle_, *context.stream());
}

void Event::Wait() const {
  if (handle_ != nullptr) cuda::WaitFor(*handle_);
}

#else

void Event::Set(Context&) {}

void Event::Wait() const {}

#endif

}  // namespace lseg
