// Two slots: the net reads one while the thread fills the other.
#include "framework/data_source.h"

#include <chrono>

namespace lseg {

Prefetcher::Prefetcher(DataSource* source, Device device) : source_(source) {
  for (Slot& slot : slots_) {
    for (const TensorDesc& desc : source->Blobs()) {
      slot.memory.emplace_back(device, desc.Bytes());
      slot.pointers.push_back(slot.memory.back().data());
    }
  }
  thread_ = std::thread([this] { Work(); });
}

Prefetcher::~Prefetcher() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Prefetcher::Request(Slot& slot, int64_t iteration) {
  slot.iteration = iteration;
  slot.ready = false;
  slot.error = nullptr;
  wanted_ = &slot;
  changed_.notify_all();
}

std::span<void* const> Prefetcher::Get(int64_t iteration) {
  std::unique_lock lock(mutex_);
  Slot& slot = slots_[iteration & 1];
  const bool foreseen = slot.iteration == iteration;
  if (!foreseen) {
    changed_.wait(lock, [&] { return wanted_ == nullptr; });
    Request(slot, iteration);
  }
  const auto start = std::chrono::steady_clock::now();
  changed_.wait(lock, [&] { return slot.ready; });
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - start;
  if (foreseen) waited_seconds_ += waited.count();
  if (slot.error) {
    slot.iteration = -1;
    std::rethrow_exception(slot.error);
  }
  changed_.wait(lock, [&] { return wanted_ == nullptr; });
  Request(slots_[(iteration + 1) & 1], iteration + 1);
  return slot.pointers;
}

void Prefetcher::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || wanted_ != nullptr; });
    if (stop_) return;
    Slot& slot = *wanted_;
    lock.unlock();
    std::exception_ptr error;
    try {
      source_->Fill(slot.iteration, slot.pointers);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    slot.error = error;
    slot.ready = true;
    wanted_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace lseg
