// DataSource: where a net's inputs come from; Prefetcher: runs it one iteration ahead on a thread
// of its own, into memory that the net then reads in place (or copies to its GPU). DeviceSource:
// one that writes them where they are read.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "framework/tensor.h"

namespace lseg {

class DataSource {
 public:
  virtual ~DataSource() = default;

  // What Fill writes, one a blob: (N,C,H,W), dense NCHW.
  virtual std::vector<TensorDesc> Blobs() const = 0;

  // Writes the batch of an iteration, counted from 0. A pure function of the iteration, so that a
  // resumed run sees what the unbroken one would have seen. Called by one thread at a time, not the
  // one that trains; single-threaded inside. Throws Error naming the file at fault.
  virtual void Fill(int64_t iteration, std::span<void* const> blobs) = 0;
};

class DeviceSource {
 public:
  virtual ~DeviceSource() = default;

  // What Queue writes, one a blob: (N,C,H,W), dense NCHW.
  virtual std::vector<TensorDesc> Blobs() const = 0;

  // Queues on the context what writes the batch of an iteration, counted from 0, into memory of its
  // device. A pure function of the iteration. Throws Error naming the file at fault.
  virtual void Queue(Context& context, int64_t iteration, std::span<void* const> blobs) = 0;

  // Seconds that Queue waited for what it had begun to read one iteration ahead.
  virtual double waited_seconds() const { return 0; }
};

class Prefetcher {
 public:
  // `source` outlives the prefetcher. Its memory is the host's, from which `device` can copy.
  Prefetcher(DataSource* source, Device device);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // The blobs of an iteration; valid until the next call. Starts filling iteration + 1 meanwhile,
  // so consecutive calls do not wait unless the source is slower than the caller. Rethrows what
  // Fill threw for this iteration.
  std::span<void* const> Get(int64_t iteration);

  // Seconds that Get waited for batches it had asked for one iteration ahead: 0 where the source
  // keeps up. By the thread that calls Get.
  double waited_seconds() const { return waited_seconds_; }

 private:
  struct Slot {
    int64_t iteration = -1;
    bool ready = false;
    std::exception_ptr error;
    std::vector<HostBuffer> memory;
    std::vector<void*> pointers;
  };

  void Work();
  void Request(Slot& slot, int64_t iteration);

  DataSource* source_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Slot slots_[2];
  Slot* wanted_ = nullptr;  // what the thread shall fill next
  bool stop_ = false;
  double waited_seconds_ = 0;
  std::thread thread_;
};

}  // namespace lseg
