#include "tests/reference/fuse_head.h"

#include <cmath>

namespace lseg::reference {
namespace {

double Tap(int64_t r, int64_t stride) {
  if (stride == 1) return 1;
  return 1 - std::fabs(static_cast<double>(r) - static_cast<double>(2 * stride - 1) / 2) /
                 static_cast<double>(stride);
}

// Calls each(y, x, weight) for the pixels of dst that score pixel (j, k) reaches.
template <class Each>
void ForReached(const FuseHeadParams& p, const FuseHeadParams::Level& level, int64_t j, int64_t k,
                const Each& each) {
  const int64_t kernel = level.stride == 1 ? 1 : 2 * level.stride;
  for (int64_t r = 0; r < kernel; ++r) {
    for (int64_t s = 0; s < kernel; ++s) {
      const int64_t y = j * level.stride + r - level.offset_h;
      const int64_t x = k * level.stride + s - level.offset_w;
      if (y < 0 || y >= p.dst.h || x < 0 || x >= p.dst.w) continue;
      each(y, x, Tap(r, level.stride) * Tap(s, level.stride));
    }
  }
}

}  // namespace

FusedHead FuseHead(const FuseHeadParams& p, const std::vector<std::vector<float>>& score,
                   const std::vector<std::vector<float>>& score_bias,
                   const std::vector<std::vector<float>>& side_bias,
                   const std::vector<float>& weight, const std::vector<float>& bias) {
  FusedHead result;
  const int64_t pixels = p.dst.h * p.dst.w, planes = p.dst.n * p.dst.c;
  result.scale.assign(p.dst.Count(), 0);
  for (int64_t at = 0; at < p.dst.Count(); ++at) {
    result.fused.push_back(bias[at / pixels % p.dst.c]);
    result.scale[at] = std::fabs(result.fused.back());
  }
  for (int l = 0; l < p.levels; ++l) {
    const FuseHeadParams::Level& level = p.level[l];
    const int64_t size = level.height * level.width;
    std::vector<double> side(p.dst.Count(), 0), absolute(p.dst.Count(), 0);
    for (int64_t plane = 0; plane < planes; ++plane) {
      const int64_t c = plane % p.dst.c;
      for (int64_t i = 0; i < size; ++i) {
        double value = score_bias[l].empty() ? 0 : score_bias[l][c];
        double largest = std::fabs(value);
        for (int64_t part = 0; part < level.partials; ++part) {
          const double term = score[l][(part * planes + plane) * size + i];
          value += term;
          largest += std::fabs(term);
        }
        ForReached(p, level, i / level.width, i % level.width,
                   [&](int64_t y, int64_t x, double tap) {
                     side[plane * pixels + y * p.dst.w + x] += tap * value;
                     absolute[plane * pixels + y * p.dst.w + x] += tap * largest;
                   });
      }
      for (int64_t i = plane * pixels; i < (plane + 1) * pixels; ++i) {
        if (!side_bias[l].empty()) side[i] += side_bias[l][c];
        if (!side_bias[l].empty()) absolute[i] += std::fabs(side_bias[l][c]);
        result.fused[i] += weight[c * p.levels + l] * side[i];
        result.scale[i] += std::fabs(weight[c * p.levels + l]) * absolute[i];
      }
    }
    result.side.push_back(std::move(side));
  }
  return result;
}

}  // namespace lseg::reference
