// HandOver: passes values from one thread to another and stores none: Give returns when the other
// thread has taken the value. So each side holds one value at a time, and memory is bounded.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

namespace lseg {

template <class T>
class HandOver {
 public:
  // Waits until the value is taken. False where Close was called instead: nobody will take it.
  bool Give(T value) {
    std::unique_lock lock(mutex_);
    if (closed_) return false;
    value_.emplace(std::move(value));
    changed_.notify_all();
    changed_.wait(lock, [&] { return !value_ || closed_; });
    const bool taken = !value_;
    value_.reset();
    return taken;
  }

  // Waits until the other thread waits in Take, having done with the value before: Give will return
  // at once. False where Close was called instead.
  bool WaitForTaker() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return taking_ || closed_; });
    return !closed_;
  }

  // Waits for a value; nothing where Close was called instead.
  std::optional<T> Take() {
    std::unique_lock lock(mutex_);
    taking_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return value_ || closed_; });
    taking_ = false;
    if (closed_) return std::nullopt;
    std::optional<T> value = std::move(value_);
    value_.reset();
    changed_.notify_all();
    return value;
  }

  // By either side, also from another thread, also twice: there will be no more values.
  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<T> value_;
  bool taking_ = false, closed_ = false;
};

}  // namespace lseg
