// Comparisons of two sources of a warp, as the lanes where they hold: shared by setp and set.
#pragma once

#include "tests/softgpu/machine/half.h"
#include "tests/softgpu/machine/ops_logic.h"
#include "tests/softgpu/machine/rounding.h"

namespace softgpu {

enum class Cmp : uint8_t {
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kEqu,  // from here on floats only; ..u: also where one is no number
  kNeu,
  kLtu,
  kLeu,
  kGtu,
  kGeu,
  kNum,
  kNan
};

template <Cmp kOp, class T>
bool Holds(T a, T b) {
  switch (kOp) {
    case Cmp::kEq:
      return a == b;
    case Cmp::kNe:  // ordered: false where one is no number
      return a < b || b < a;
    case Cmp::kLt:
      return a < b;
    case Cmp::kLe:
      return a <= b;
    case Cmp::kGt:
      return a > b;
    case Cmp::kGe:
      return a >= b;
    case Cmp::kEqu:
      return !(a < b || b < a);
    case Cmp::kNeu:
      return a != b;
    case Cmp::kLtu:
      return !(a >= b);
    case Cmp::kLeu:
      return !(a > b);
    case Cmp::kGtu:
      return !(a <= b);
    case Cmp::kGeu:
      return !(a < b);
    case Cmp::kNum:
      return a == a && b == b;
    case Cmp::kNan:
      return a != a || b != b;
  }
}

// Of the sources in r[2] and r[3]. upper: the upper half of pairs.
using Comparison = Mixed (*)(const Warp&, const Inst&, bool upper);

// CmpOp{.BoolOp}{.ftz}; unsigned_name: it was one of lo, ls, hi, hs.
struct ComparisonWords {
  Cmp op;
  BoolOp combine;
  bool ftz, unsigned_name;
};
ComparisonWords TakeComparison(Words& words);

// Refuses what does not go together, and gives the comparison.
Comparison PickComparison(Words& words, const ComparisonWords& taken, Type type);

}  // namespace softgpu
