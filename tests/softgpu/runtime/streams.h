// Streams and events, and the order in which their work is done: as late as the rules allow, and
// where the rules leave a choice, by chance (SOFTGPU_SEED), so that a program that forgot to wait
// sees it. Work is a graph of operations; a call that waits runs what its operation depends on, now
// and then more. Times are simulated: each operation takes what an H100 would roughly need.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "tests/softgpu/machine/warp.h"
#include "tests/softgpu/runtime/work.h"

namespace softgpu {

struct Capture;

struct Op {
  Work work;
  CallSite site;
  std::vector<std::shared_ptr<Op>> after, next;  // unfinished ones
  size_t waiting = 0;                            // of `after`
  bool done = false;
  uint64_t mark = 0;  // the last wait that needs it
  double start = 0;   // seconds: not before; then when it began
  double end = 0;
};
using OpPtr = std::shared_ptr<Op>;

}  // namespace softgpu

// CUDA's opaque handles are pointers to these.
struct CUstream_st {
  uint64_t id = 0;
  unsigned flags = 0;
  int priority = 0;
  bool legacy = false;
  softgpu::OpPtr tail;
  std::shared_ptr<softgpu::Capture> capture;
  std::vector<cudaGraphNode_t> capture_after;  // the next captured node comes after these
  bool blocking() const { return (flags & cudaStreamNonBlocking) == 0; }
};

struct CUevent_st {
  unsigned flags = 0;
  softgpu::OpPtr op;  // of the last record; none: never recorded
  std::shared_ptr<softgpu::Capture> capture;
  std::vector<cudaGraphNode_t> capture_after;
};

namespace softgpu {

class Streams {
 public:
  Streams();
  void Seed(uint64_t seed);
  cudaStream_t Create(unsigned flags, int priority);
  void Destroy(cudaStream_t stream);  // its work goes on
  cudaEvent_t CreateEvent(unsigned flags);
  bool DestroyEvent(cudaEvent_t event);
  bool IsEvent(cudaEvent_t event) const { return events_.count(event) != 0; }
  // nullptr: no such stream. 0, cudaStreamLegacy and cudaStreamPerThread mean what they mean to
  // this thread.
  cudaStream_t Find(cudaStream_t handle);
  cudaStream_t legacy() { return legacy_.get(); }
  const std::set<cudaStream_t>& all() const { return handles_; }

  // Queues behind the stream's work, and behind `after`.
  OpPtr Enqueue(cudaStream_t stream, Work work, const CallSite& site,
                std::vector<OpPtr> after = {});
  // For graphs: behind `after` alone. Append makes it what the stream's next work comes after.
  OpPtr EnqueueAfter(Work work, const CallSite& site, const std::vector<OpPtr>& after);
  // What new work of the stream comes after.
  std::vector<OpPtr> Before(cudaStream_t stream);
  void SetTail(cudaStream_t stream, const OpPtr& op);

  // Do work until these are done; runs host functions with the runtime's lock released.
  void Wait(Runtime& runtime, const std::vector<OpPtr>& ops);
  void WaitAll(Runtime& runtime);
  // At the process' end: all that is queued but host functions, whose objects may be gone.
  void Drain(Runtime& runtime);
  // One step of somebody who polls: true where these are done.
  bool Poll(Runtime& runtime, const std::vector<OpPtr>& ops);
  const std::vector<OpPtr>& pending() const { return pending_; }

  double host_time = 0;  // seconds
  void Reset();

 private:
  // By chance one that is ready (and marked, unless mark is 0). False: there is none.
  bool RunOne(Runtime& runtime, uint64_t mark);
  void Execute(Runtime& runtime, const OpPtr& op);
  void Finish(const OpPtr& op);
  uint64_t MarkNeeded(const std::vector<OpPtr>& ops);
  void RunUntil(Runtime& runtime, const std::vector<OpPtr>& ops, uint64_t mark);

  std::unique_ptr<CUstream_st> legacy_;
  std::set<cudaStream_t> handles_;
  std::set<cudaEvent_t> events_;
  std::vector<OpPtr> orphans_;  // unfinished work of destroyed blocking streams
  std::vector<OpPtr> pending_;  // unfinished, in the order of the calls
  std::vector<OpPtr> ready_;
  std::condition_variable_any finished_;
  int running_ = 0;
  bool draining_ = false;
  uint64_t marks_ = 0, next_id_ = 3;
  Random random_{1};
};

// This thread's meaning of stream 0: the legacy stream, or with nvcc's --default-stream per-thread
// its own one.
class PerThreadDefault {
 public:
  PerThreadDefault();
  ~PerThreadDefault();
  static bool Active();
};

// Simulated seconds of a piece of work.
double CopySeconds(const CopyWork& copy);
double FillSeconds(const FillWork& fill);
double KernelSeconds(const Counters& counters);

}  // namespace softgpu
