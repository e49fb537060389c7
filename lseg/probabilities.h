// Probability maps, one a lesion kind, and what becomes of them: another size, a class map, gray.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lseg/fit.h"

namespace lseg {

struct Probabilities {
  int width = 0, height = 0;
  std::vector<std::string> classes;  // of the channels, in order
  std::vector<float> values;         // (classes, height, width), each in [0, 1]

  Probabilities() = default;
  Probabilities(int w, int h, std::vector<std::string> names)
      : width(w), height(h), classes(std::move(names)), values(classes.size() * Plane()) {}
  size_t Plane() const { return static_cast<size_t>(width) * height; }
  float* Map(size_t c) { return values.data() + c * Plane(); }
  const float* Map(size_t c) const { return values.data() + c * Plane(); }
};

// Keeps what lies in `part`; 0 where part reaches beyond the maps.
void CropProbabilities(Probabilities* probabilities, const Fit& part);

// Bilinear between pixel centres where an axis grows; where it shrinks the same triangle is as wide
// as the reduction asks for, so that nothing falls between the samples. Edges repeat; the identity
// when the sizes are equal. Values stay within those of the source.
Probabilities ResizeProbabilities(const Probabilities& src, int width, int height);

// Class map of probabilities: among the lesions with p_c >= t_c the one with the largest p_c / t_c,
// as c + 1 (of equals the first), 0 where there is none. One threshold a class, each in (0, 1].
Image ClassMap(const Probabilities& probabilities, std::span<const float> thresholds);

// ClassMap(ResizeProbabilities(src, width, height), thresholds) to the bit, without holding
// probabilities of that size.
Image ResizedClassMap(const Probabilities& src, int width, int height,
                      std::span<const float> thresholds);

// Weighted source positions of every destination position along one axis, in one array: an image
// may be long.
class ResamplingTaps {
 public:
  struct Tap {
    int first;
    std::span<const float> weights;
  };
  Tap operator[](size_t i) const {
    return {first_[i], std::span(weights_).subspan(begin_[i], begin_[i + 1] - begin_[i])};
  }
  size_t size() const { return first_.size(); }
  bool empty() const { return first_.empty(); }
  void Add(int first, std::span<const double> weights, double sum);  // divided by their sum

 private:
  std::vector<int> first_;
  std::vector<size_t> begin_ = {0};
  std::vector<float> weights_;
};

// Single values of ResizeProbabilities(src, width, height), to the bit, without making all of it.
// `src` outlives the sampler.
class ProbabilitySampler {
 public:
  ProbabilitySampler(const Probabilities& src, int width, int height);
  float At(size_t c, int x, int y) const;

 private:
  const Probabilities& src_;
  ResamplingTaps across_, down_;  // empty where the sizes are equal
};

// The gray of a probability in [0, 1], round(255 p): what idrid33 evaluates and gray PNGs hold. In
// double 255 p is exact, and only p = 0.5 lies half-way between two grays: it becomes 128 by every
// rule of rounding in use.
inline uint8_t GrayOf(float p) { return static_cast<uint8_t>(255.0 * p + 0.5); }

// GrayOf of one lesion, one channel.
Image ToGray(const Probabilities& probabilities, size_t c);

}  // namespace lseg
