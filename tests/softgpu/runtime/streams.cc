#include "tests/softgpu/runtime/streams.h"

#include <algorithm>
#include <thread>

#include "tests/softgpu/runtime/runtime.h"

namespace softgpu {
namespace {

// A GPU's queue is finite, too: a call then waits until there is room.
constexpr size_t kMaxPending = 4096;

thread_local int per_thread_depth = 0;

void AddUnfinished(std::vector<OpPtr>& list, const OpPtr& op) {
  if (op && !op->done) list.push_back(op);
}

}  // namespace

PerThreadDefault::PerThreadDefault() { ++per_thread_depth; }
PerThreadDefault::~PerThreadDefault() { --per_thread_depth; }
bool PerThreadDefault::Active() { return per_thread_depth != 0; }

Streams::Streams() { Reset(); }

void Streams::Seed(uint64_t seed) { random_.state = seed * 0x9E3779B97F4A7C15ULL + 1; }

void Streams::Reset() {
  legacy_ = std::make_unique<CUstream_st>();
  legacy_->id = 1;
  legacy_->legacy = true;
  for (cudaStream_t stream : handles_) delete stream;
  handles_.clear();
  orphans_.clear();
}

cudaStream_t Streams::Create(unsigned flags, int priority) {
  auto* stream = new CUstream_st;
  stream->id = next_id_++;
  stream->flags = flags;
  stream->priority = priority;
  handles_.insert(stream);
  return stream;
}

void Streams::Destroy(cudaStream_t stream) {
  if (stream->blocking()) AddUnfinished(orphans_, stream->tail);
  handles_.erase(stream);
  delete stream;
}

cudaEvent_t Streams::CreateEvent(unsigned flags) {
  auto* event = new CUevent_st;
  event->flags = flags;
  events_.insert(event);
  return event;
}

bool Streams::DestroyEvent(cudaEvent_t event) {
  if (events_.erase(event) == 0) return false;
  delete event;
  return true;
}

cudaStream_t Streams::Find(cudaStream_t handle) {
  if (handle == nullptr)
    handle = PerThreadDefault::Active() ? cudaStreamPerThread : cudaStreamLegacy;
  if (handle == cudaStreamLegacy) return legacy_.get();
  if (handle == cudaStreamPerThread) {
    thread_local uint64_t own = 0;
    for (cudaStream_t stream : handles_) {
      if (own != 0 && stream->id == own) return stream;
    }
    cudaStream_t stream = Create(cudaStreamDefault, 0);
    own = stream->id;
    return stream;
  }
  return handles_.count(handle) ? handle : nullptr;
}

std::vector<OpPtr> Streams::Before(cudaStream_t stream) {
  std::vector<OpPtr> before;
  AddUnfinished(before, stream->tail);
  if (stream->legacy) {
    for (cudaStream_t other : handles_) {
      if (other->blocking()) AddUnfinished(before, other->tail);
    }
    for (const OpPtr& op : orphans_) AddUnfinished(before, op);
  } else if (stream->blocking()) {
    AddUnfinished(before, legacy_->tail);
  }
  return before;
}

void Streams::SetTail(cudaStream_t stream, const OpPtr& op) { stream->tail = op; }

OpPtr Streams::Enqueue(cudaStream_t stream, Work work, const CallSite& site,
                       std::vector<OpPtr> after) {
  std::vector<OpPtr> before = Before(stream);
  before.insert(before.end(), after.begin(), after.end());
  OpPtr op = EnqueueAfter(std::move(work), site, before);
  stream->tail = op;
  return op;
}

OpPtr Streams::EnqueueAfter(Work work, const CallSite& site, const std::vector<OpPtr>& after) {
  Runtime& runtime = Runtime::Get();
  while (pending_.size() >= kMaxPending && RunOne(runtime, 0)) {
  }
  auto op = std::make_shared<Op>();
  op->work = std::move(work);
  op->site = site;
  op->start = host_time;
  for (const OpPtr& other : after) {
    if (!other) continue;
    op->start = std::max(op->start, other->end);
    if (other->done) continue;
    op->after.push_back(other);
    other->next.push_back(op);
  }
  op->waiting = op->after.size();
  runtime.pinned.OnEnqueue(runtime, *op);
  pending_.push_back(op);
  if (op->waiting == 0) ready_.push_back(op);
  return op;
}

uint64_t Streams::MarkNeeded(const std::vector<OpPtr>& ops) {
  const uint64_t mark = ++marks_;
  std::vector<Op*> open;
  for (const OpPtr& op : ops) {
    if (op && !op->done) open.push_back(op.get());
  }
  while (!open.empty()) {
    Op* op = open.back();
    open.pop_back();
    if (op->mark == mark) continue;
    op->mark = mark;
    for (const OpPtr& before : op->after) {
      if (!before->done) open.push_back(before.get());
    }
  }
  return mark;
}

bool Streams::RunOne(Runtime& runtime, uint64_t mark) {
  std::vector<size_t> choices;
  for (size_t i = 0; i < ready_.size(); ++i) {
    if (mark == 0 || ready_[i]->mark == mark) choices.push_back(i);
  }
  if (choices.empty()) return false;
  const size_t chosen = choices[random_.Next() % choices.size()];
  const OpPtr op = ready_[chosen];
  ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(chosen));
  Execute(runtime, op);
  return true;
}

void Streams::Execute(Runtime& runtime, const OpPtr& op) {
  double seconds = 0;
  if (const auto* host = std::get_if<HostWork>(&op->work)) {
    if (draining_) return Finish(op);
    ++running_;
    // Work that waits for this must not be started meanwhile: Finish comes after.
    runtime.mutex.unlock();
    InHostFunction() = true;
    if (host->callback) {
      host->callback(host->stream, runtime.sticky, host->data);
    } else if (runtime.sticky == cudaSuccess) {
      host->function(host->data);
    }
    InHostFunction() = false;
    runtime.mutex.lock();
    --running_;
    seconds = 1e-6;
  } else if (runtime.sticky == cudaSuccess) {
    cudaError_t error = cudaSuccess;
    if (auto* kernel = std::get_if<KernelWork>(&op->work)) {
      if (kernel->config.cooperative) kernel->config.grid_workspace = runtime.GridWorkspace();
      const LaunchResult result = runtime.device().Run(kernel->config);
      error = static_cast<cudaError_t>(result.error);
      if (!result.message.empty()) SayOnce("softgpu: " + result.message);
      seconds = KernelSeconds(result.counters);
    } else if (auto* copy = std::get_if<CopyWork>(&op->work)) {
      error = RunCopy(runtime, *copy, op->site);
      seconds = CopySeconds(*copy);
    } else if (auto* fill = std::get_if<FillWork>(&op->work)) {
      error = RunFill(runtime, *fill, op->site);
      seconds = FillSeconds(*fill);
    } else if (auto* free = std::get_if<FreeWork>(&op->work)) {
      runtime.memory().Free(free->address);
      runtime.allocation_sites.erase(free->address);
      runtime.freed_async.erase(free->address);
    }
    if (error != cudaSuccess) runtime.Fault(error);
  } else if (const auto* copy = std::get_if<CopyWork>(&op->work)) {
    runtime.pinned.OnDropped(*copy);
  }
  op->end = op->start + seconds;
  Finish(op);
}

void Streams::Finish(const OpPtr& op) {
  op->done = true;
  for (const OpPtr& next : op->next) {
    next->start = std::max(next->start, op->end);
    if (--next->waiting == 0) ready_.push_back(next);
  }
  op->next.clear();
  op->after.clear();
  op->work = NoWork{};  // staged bytes go
  pending_.erase(std::find(pending_.begin(), pending_.end(), op));
  std::erase_if(orphans_, [](const OpPtr& orphan) { return orphan->done; });
  finished_.notify_all();
}

void Streams::RunUntil(Runtime& runtime, const std::vector<OpPtr>& ops, uint64_t mark) {
  const auto done = [&] {
    return std::all_of(ops.begin(), ops.end(), [](const OpPtr& op) { return !op || op->done; });
  };
  while (!done()) {
    if (RunOne(runtime, mark)) continue;
    // What is left waits for a host function that another thread runs.
    if (running_ == 0) break;
    finished_.wait(runtime.mutex);
  }
  for (const OpPtr& op : ops) {
    if (op) host_time = std::max(host_time, op->end);
  }
}

void Streams::Wait(Runtime& runtime, const std::vector<OpPtr>& ops) {
  const uint64_t needed = MarkNeeded(ops);
  // Now and then other streams get on, too: what runs early must show as well as what runs late.
  if (random_.Next() % 2) {
    RunUntil(runtime, ops, 0);
  } else {
    RunUntil(runtime, ops, needed);
  }
}

void Streams::WaitAll(Runtime& runtime) {
  while (!pending_.empty()) RunUntil(runtime, std::vector<OpPtr>(pending_), 0);
}

void Streams::Drain(Runtime& runtime) {
  draining_ = true;
  while (RunOne(runtime, 0)) {
  }
  draining_ = false;
}

bool Streams::Poll(Runtime& runtime, const std::vector<OpPtr>& ops) {
  const auto done = [&] {
    return std::all_of(ops.begin(), ops.end(), [](const OpPtr& op) { return !op || op->done; });
  };
  host_time += 1e-6;
  if (done()) return true;
  RunOne(runtime, MarkNeeded(ops));
  return done();
}

}  // namespace softgpu
