// Runs a convolution engine on seeded data and compares every element with the double oracle.
//
// The tolerance is relative to the sum of the absolute values of the products that make up an
// element, which the oracle computes from absolute inputs: a sum of k products in f32, in any
// order, is off by at most (k + 1) 2^-24 times that sum to first order (Higham, Accuracy and
// Stability of Numerical Algorithms, section 3.1). Engines that transform their data state a factor
// of their own.
//
// The inputs are values of their types in memory, and of the type in which the engine takes its
// products where that is narrower, so that reading and packing them loses nothing. What rounding an
// exact result to the output's type may cost is taken off the error.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/conv.h"

namespace lseg {

struct ConvCheck {
  ConvParams params;
  ConvDirection direction = ConvDirection::kForward;
  ConvFormats formats;
  GradMode mode = GradMode::kWrite;  // of the gradients
  std::string engine;
  uint64_t seed = 1;
  int threads = 2;
  bool integers = false;  // all inputs are integers of -3 to 3
  // Factor of one element in 50 of src and of d_dst.
  float spike = 1;
  bool nan = false;  // src's middle element is a NaN (for RunConv alone)
  // Scale of the error: each input counts as the largest within so many pixels, for algorithms
  // whose errors leak from a pixel to its neighbours.
  int64_t reach = 0;
  Device device = Device::kCpu;
  DType products = DType::kF32;  // inputs are rounded to it; with allow_tf32 to tf32
};

// Largest error of an element over its sum of absolute products, in units of 2^-24, and the number
// of products of the longest sum.
struct ConvError {
  double units = 0;
  int64_t products = 0;
};

// Runs and compares. Reports (as GoogleTest failures) padding channels that are not zero and values
// that are not finite.
ConvError RunConvCheck(const ConvCheck& check);

// The check for engines that only sum products: fails where units > products + 3 (bias and the
// final addition to memory included).
void ExpectConvExact(const ConvCheck& check);

// The check for sums on tensor cores, whose additions may cut bits off where f32's round: twice the
// units.
void ExpectConvExactOnTensorCores(const ConvCheck& check);

// Fails where another number of threads gives other bits than one does.
void ExpectSameOnThreads(ConvCheck check, std::initializer_list<int> threads);

// All output elements of a run in one vector (for comparisons bit by bit).
std::vector<float> RunConv(const ConvCheck& check);

std::string Describe(const ConvCheck& check);

// Conversions between plain NCHW and a memory format, written here anew; padding channels zero.
std::vector<float> FromPlain(const Shape& shape, Format format, const std::vector<float>& plain);
std::vector<float> ToPlain(const Shape& shape, Format format, const std::vector<float>& stored);

}  // namespace lseg
