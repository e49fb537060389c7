#include "tests/reference/ops.h"

#include <cmath>

namespace lseg::reference {
namespace {

size_t At(const Shape& s, int64_t n, int64_t c, int64_t y, int64_t x) {
  return static_cast<size_t>(n * s.c * s.h * s.w + c * s.h * s.w + y * s.w + x);
}

template <class Each>
void ForEach(const Shape& s, const Each& each) {
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t c = 0; c < s.c; ++c)
      for (int64_t y = 0; y < s.h; ++y)
        for (int64_t x = 0; x < s.w; ++x) each(n, c, y, x);
}

// Pixels of a window that an average divides by: those of the source and of the padding after it
// and before it, but none beyond the padding.
int64_t Divisor(const PoolParams& p, int64_t y, int64_t x) {
  int64_t count = 0;
  for (int64_t r = 0; r < p.kernel_h; ++r)
    for (int64_t s = 0; s < p.kernel_w; ++s)
      count += y * p.stride_h - p.pad_h + r < p.src.h + p.pad_h &&
               x * p.stride_w - p.pad_w + s < p.src.w + p.pad_w;
  return count;
}

// Calls each(r, s, source y, source x) for the part of a window that lies in the source.
template <class Each>
void ForWindow(const PoolParams& p, int64_t y, int64_t x, const Each& each) {
  for (int64_t r = 0; r < p.kernel_h; ++r)
    for (int64_t s = 0; s < p.kernel_w; ++s) {
      const int64_t v = y * p.stride_h - p.pad_h + r, u = x * p.stride_w - p.pad_w + s;
      if (v >= 0 && v < p.src.h && u >= 0 && u < p.src.w) each(r, s, v, u);
    }
}

// Calls each(source element, weight element, output element) for every product.
template <class Each>
void ForProducts(const DeconvParams& p, const Each& each) {
  const Shape dst = p.Dst(), weight = p.Weight();
  const int64_t inputs = p.src.c / p.group;
  ForEach(p.src, [&](int64_t n, int64_t i, int64_t j, int64_t k) {
    for (int64_t o = 0; o < weight.c; ++o)
      for (int64_t r = 0; r < p.kernel_h; ++r)
        for (int64_t s = 0; s < p.kernel_w; ++s) {
          const int64_t y = j * p.stride_h - p.pad_h + r * p.dilation_h;
          const int64_t x = k * p.stride_w - p.pad_w + s * p.dilation_w;
          if (y < 0 || y >= dst.h || x < 0 || x >= dst.w) continue;
          each(At(p.src, n, i, j, k), At(weight, i, o, r, s),
               At(dst, n, i / inputs * weight.c + o, y, x));
        }
  });
}

struct Summing {
  explicit Summing(int64_t count) : sums{std::vector<double>(count), std::vector<double>(count)} {}
  void Add(size_t at, double value) {
    sums.value[at] += value;
    sums.scale[at] += std::fabs(value);
  }
  Sums sums;
};

}  // namespace

Pooled PoolForward(const PoolParams& p, const std::vector<float>& src) {
  const Shape dst = p.Dst();
  Pooled result{std::vector<double>(dst.Count()), std::vector<int32_t>(dst.Count(), -1)};
  ForEach(dst, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
    double sum = 0, best = -INFINITY;
    int32_t& best_at = result.argmax[At(dst, n, c, y, x)];
    ForWindow(p, y, x, [&](int64_t r, int64_t s, int64_t v, int64_t u) {
      const double value = src[At(p.src, n, c, v, u)];
      sum += value;
      if (best_at < 0 || value > best) {
        best = value;
        best_at = static_cast<int32_t>(r * p.kernel_w + s);
      }
    });
    result.dst[At(dst, n, c, y, x)] =
        p.method == PoolParams::Method::kMax ? best : sum / Divisor(p, y, x);
  });
  return result;
}

std::vector<double> PoolBackward(const PoolParams& p, const std::vector<float>& d_dst,
                                 const std::vector<int32_t>& argmax) {
  const Shape dst = p.Dst();
  std::vector<double> d_src(p.src.Count());
  ForEach(dst, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
    const size_t from = At(dst, n, c, y, x);
    ForWindow(p, y, x, [&](int64_t r, int64_t s, int64_t v, int64_t u) {
      double& to = d_src[At(p.src, n, c, v, u)];
      if (p.method == PoolParams::Method::kAverage) {
        to += d_dst[from] / static_cast<double>(Divisor(p, y, x));
      } else if (argmax[from] == r * p.kernel_w + s) {
        to += d_dst[from];
      }
    });
  });
  return d_src;
}

Sums DeconvForward(const DeconvParams& p, const std::vector<float>& src,
                   const std::vector<float>& weight, const std::vector<float>& bias) {
  Summing sum(p.Dst().Count());
  ForProducts(p, [&](size_t s, size_t w, size_t d) { sum.Add(d, double{src[s]} * weight[w]); });
  if (p.bias) {
    ForEach(p.Dst(), [&](int64_t n, int64_t c, int64_t y, int64_t x) {
      sum.Add(At(p.Dst(), n, c, y, x), bias[c]);
    });
  }
  return sum.sums;
}

Sums DeconvBackwardData(const DeconvParams& p, const std::vector<float>& d_dst,
                        const std::vector<float>& weight) {
  Summing sum(p.src.Count());
  ForProducts(p, [&](size_t s, size_t w, size_t d) { sum.Add(s, double{d_dst[d]} * weight[w]); });
  return sum.sums;
}

Sums DeconvBackwardWeight(const DeconvParams& p, const std::vector<float>& src,
                          const std::vector<float>& d_dst) {
  Summing sum(p.Weight().Count());
  ForProducts(p, [&](size_t s, size_t w, size_t d) { sum.Add(w, double{src[s]} * d_dst[d]); });
  return sum.sums;
}

Sums DeconvBackwardBias(const DeconvParams& p, const std::vector<float>& d_dst) {
  Summing sum(p.out_channels);
  ForEach(p.Dst(), [&](int64_t n, int64_t c, int64_t y, int64_t x) {
    sum.Add(c, d_dst[At(p.Dst(), n, c, y, x)]);
  });
  return sum.sums;
}

LossAndGradient SigmoidLoss(const SigmoidLossParams& p, const std::vector<float>& logits,
                            const std::vector<float>& target) {
  using Normalization = SigmoidLossParams::Normalization;
  LossAndGradient result;
  int64_t valid = 0;
  for (int64_t i = 0; i < p.count; ++i) {
    const double z = logits[i], t = target[i], probability = 1 / (1 + std::exp(-z));
    const bool ignored = p.has_ignore && static_cast<int>(t) == p.ignore;
    valid += !ignored;
    result.gradient.push_back(ignored ? 0 : probability - t);
    if (!ignored) result.loss -= t * std::log(probability) + (1 - t) * std::log1p(-probability);
  }
  double normalizer = 1;
  if (p.normalization == Normalization::kFull) normalizer = static_cast<double>(p.count);
  if (p.normalization == Normalization::kValid) normalizer = static_cast<double>(valid);
  if (p.normalization == Normalization::kBatchSize) normalizer = static_cast<double>(p.batch);
  result.normalizer = normalizer < 1 ? 1 : normalizer;
  result.loss /= result.normalizer;
  for (double& gradient : result.gradient) gradient /= result.normalizer;
  return result;
}

}  // namespace lseg::reference
