// LossScale: the factor on the losses' gradients that keeps small ones above what f16 can hold
// (6e-8), found as a training goes (Micikevicius et al., Mixed Precision Training, ICLR 2018, 3.2):
// halved where a gradient overflows, doubled where none has for long. Powers of two, so that it
// rounds nothing.
#pragma once

#include <cstdint>

namespace lseg {

class LossScale {
 public:
  static constexpr int64_t kFirst = int64_t{1} << 16, kMost = int64_t{1} << 24;
  static constexpr int64_t kGrowAfter = 1000;  // good steps in a row

  LossScale() = default;
  // As a checkpoint has it. Throws Error where that cannot be.
  LossScale(int64_t value, int64_t good_steps);

  int64_t value() const { return value_; }
  int64_t good_steps() const { return good_steps_; }  // since the value last changed

  // After a step whose gradient was finite.
  void Good();
  // After one whose gradient was not: halves. False where it is 1: that step's fault is another.
  bool Overflowed();

 private:
  int64_t value_ = kFirst, good_steps_ = 0;
};

}  // namespace lseg
