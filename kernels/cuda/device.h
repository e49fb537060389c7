// The GPU as the host sees it: its stream, its memory, copies. No CUDA header is needed to include
// this; kernels/cuda/launch.h has what launchers use.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace lseg::cuda {

// One queue of work on the process' first GPU, and the fault word of the context that owns it.
// Copies below are ordered with it: it is a blocking stream.
class Stream;

// An Error says what is missing: driver, too old a driver, device, memory.
std::shared_ptr<Stream> OpenStream();
// Waits; throws what failed, kernels' own faults (DeviceFault) included.
void Synchronize(Stream& stream);
// "NVIDIA H100 80GB HBM3, compute capability 9.0, 132 multiprocessors, driver 13.0"
std::string Describe(const Stream& stream);

// Bytes that are free, and all there are.
void ReadMemory(int64_t* free, int64_t* total);
// An OutOfMemory says how much was asked for and how much is free.
void* Allocate(int64_t bytes);
void Free(void* memory);
// Page-locked memory of the host, from and to which copies run beside kernels; or an OutOfMemory.
void* AllocatePinned(int64_t bytes);
void FreePinned(void* memory);

void CopyToDevice(void* to, const void* from, int64_t bytes);
void CopyToHost(void* to, const void* from, int64_t bytes);
void SetZero(void* memory, int64_t bytes);
// Queued on the stream; `from` is pinned and stays untouched until the copy is done.
void QueueZero(Stream& stream, void* memory, int64_t bytes);
void QueueCopyToDevice(Stream& stream, void* to, const void* from, int64_t bytes);

// A place in a stream's queue, which it has once it is set, and from then on another each time.
class EventHandle;
std::shared_ptr<EventHandle> MakeEvent();
void SetEvent(EventHandle& event, Stream& stream);
void WaitFor(const EventHandle& event);

// What `queue` queues on the stream, recorded instead of run; and run as often as wanted.
class GraphExec;
std::shared_ptr<GraphExec> Record(Stream& stream, const std::function<void()>& queue);
void Replay(Stream& stream, const GraphExec& graph);

}  // namespace lseg::cuda
