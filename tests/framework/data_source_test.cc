// The Prefetcher: one batch ahead, and it knows whether it was waited for.
#include "framework/data_source.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

namespace lseg {
namespace {

// Batches of one number, the iteration. Batches from `held_from` on wait for Release.
class CountingSource : public DataSource {
 public:
  explicit CountingSource(int64_t held_from) : held_from_(held_from) {}

  std::vector<TensorDesc> Blobs() const override { return {TensorDesc{Shape{1, 1, 1, 1}}}; }
  void Fill(int64_t iteration, std::span<void* const> blobs) override {
    if (iteration >= held_from_) released_.wait(false);
    *static_cast<float*>(blobs[0]) = static_cast<float>(iteration);
    filled_ = iteration;
    filled_.notify_all();
  }

  // Waits until a batch was filled.
  void AwaitFilled(int64_t iteration) {
    for (int64_t filled = filled_; filled < iteration; filled = filled_) filled_.wait(filled);
  }
  void Release() {
    released_ = true;
    released_.notify_all();
  }

 private:
  const int64_t held_from_;
  std::atomic<int64_t> filled_ = -1;
  std::atomic<bool> released_ = false;
};

float ValueOf(std::span<void* const> blobs) { return *static_cast<const float*>(blobs[0]); }

TEST(Prefetcher, FillsTheNextBatchUnasked) {
  CountingSource source(1000);
  Prefetcher prefetcher(&source, Device::kCpu);
  EXPECT_EQ(ValueOf(prefetcher.Get(5)), 5);
  for (int64_t i = 6; i < 20; ++i) {
    source.AwaitFilled(i);  // hangs if the batch is made only when it is wanted
    EXPECT_EQ(ValueOf(prefetcher.Get(i)), i);
  }
  EXPECT_EQ(ValueOf(prefetcher.Get(3)), 3);  // another one than was foreseen
}

TEST(Prefetcher, CountsTheSecondsThatItWasWaitedFor) {
  constexpr auto kLate = std::chrono::seconds(1);
  CountingSource source(2);
  Prefetcher prefetcher(&source, Device::kCpu);
  prefetcher.Get(0);
  EXPECT_EQ(prefetcher.waited_seconds(), 0);  // the first could not be foreseen
  source.AwaitFilled(1);
  prefetcher.Get(1);
  const double in_time = prefetcher.waited_seconds();
  const auto start = std::chrono::steady_clock::now();
  std::jthread release([&] {
    std::this_thread::sleep_for(kLate);
    source.Release();
  });
  EXPECT_EQ(ValueOf(prefetcher.Get(2)), 2);
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  // Most of the second; a busy machine may start this thread late.
  EXPECT_GT(prefetcher.waited_seconds() - in_time, 0.1);
  EXPECT_LE(prefetcher.waited_seconds() - in_time, passed.count());
}

}  // namespace
}  // namespace lseg
