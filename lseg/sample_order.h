// The order in which training sees its images: every image once an epoch, in an order of the
// epoch's own. A pure function of the seed and the sample's number, with the last epoch's order
// kept.
#pragma once

#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/runtime/random.h"

namespace lseg {

class SampleOrder {
 public:
  // Not shuffled, images come as they are numbered.
  SampleOrder(uint64_t seed, int64_t images, bool shuffle)
      : seed_(seed), images_(images), shuffle_(shuffle) {}

  // The image of a sample, counted from 0.
  int64_t ImageOf(int64_t sample) {
    const int64_t epoch = sample / images_;
    if (!shuffle_) return sample % images_;
    if (epoch != epoch_) Shuffle(epoch);
    return order_[sample % images_];
  }

 private:
  void Shuffle(int64_t epoch) {
    order_.resize(images_);
    std::iota(order_.begin(), order_.end(), int64_t{0});
    Random random(seed_, kStream + static_cast<uint64_t>(epoch));
    for (int64_t i = images_ - 1; i > 0; --i) {
      std::swap(order_[i], order_[random.Below(static_cast<uint32_t>(i + 1))]);
    }
    epoch_ = epoch;
  }

  // Apart from the streams of samples, which are their numbers.
  static constexpr uint64_t kStream = uint64_t{1} << 62;

  uint64_t seed_;
  int64_t images_;
  bool shuffle_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;
};

}  // namespace lseg
