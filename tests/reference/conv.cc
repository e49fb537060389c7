#include "tests/reference/conv.h"

namespace lseg::reference {
namespace {

int64_t Extent(int64_t in, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  int64_t count = 0;  // positions at which the dilated kernel fits into the padded input
  for (int64_t at = -pad; at + dilation * (kernel - 1) < in + pad; at += stride) ++count;
  return count;
}

// Calls product(src index, weight index, dst index) for every product of the convolution.
template <typename Product>
void ForEachProduct(const ConvParams& p, Product product) {
  const int64_t height = Extent(p.src.h, p.kernel_h, p.stride_h, p.pad_h, p.dilation_h);
  const int64_t width = Extent(p.src.w, p.kernel_w, p.stride_w, p.pad_w, p.dilation_w);
  const int64_t in = p.src.c / p.group, out = p.out_channels / p.group;
  for (int64_t n = 0; n < p.src.n; ++n)
    for (int64_t g = 0; g < p.group; ++g)
      for (int64_t o = g * out; o < (g + 1) * out; ++o)
        for (int64_t i = 0; i < in; ++i)
          for (int64_t r = 0; r < p.kernel_h; ++r)
            for (int64_t s = 0; s < p.kernel_w; ++s)
              for (int64_t y = 0; y < height; ++y)
                for (int64_t x = 0; x < width; ++x) {
                  const int64_t sy = y * p.stride_h - p.pad_h + r * p.dilation_h;
                  const int64_t sx = x * p.stride_w - p.pad_w + s * p.dilation_w;
                  if (sy < 0 || sx < 0 || sy >= p.src.h || sx >= p.src.w) continue;
                  product(((n * p.src.c + g * in + i) * p.src.h + sy) * p.src.w + sx,
                          ((o * in + i) * p.kernel_h + r) * p.kernel_w + s,
                          ((n * p.out_channels + o) * height + y) * width + x);
                }
}

int64_t Plane(const ConvParams& p) {
  return Extent(p.src.h, p.kernel_h, p.stride_h, p.pad_h, p.dilation_h) *
         Extent(p.src.w, p.kernel_w, p.stride_w, p.pad_w, p.dilation_w);
}

}  // namespace

std::vector<double> ConvForward(const ConvParams& p, const std::vector<float>& src,
                                const std::vector<float>& weight, const std::vector<float>& bias) {
  const int64_t plane = Plane(p);
  std::vector<double> dst(p.src.n * p.out_channels * plane);
  ForEachProduct(p, [&](int64_t s, int64_t w, int64_t d) { dst[d] += double{src[s]} * weight[w]; });
  for (size_t d = 0; !bias.empty() && d < dst.size(); ++d) {
    dst[d] += bias[d / plane % p.out_channels];
  }
  return dst;
}

std::vector<double> ConvBackwardData(const ConvParams& p, const std::vector<float>& d_dst,
                                     const std::vector<float>& weight) {
  std::vector<double> d_src(p.src.n * p.src.c * p.src.h * p.src.w);
  ForEachProduct(
      p, [&](int64_t s, int64_t w, int64_t d) { d_src[s] += double{d_dst[d]} * weight[w]; });
  return d_src;
}

std::vector<double> ConvBackwardWeights(const ConvParams& p, const std::vector<float>& src,
                                        const std::vector<float>& d_dst) {
  std::vector<double> d_weight(p.out_channels * (p.src.c / p.group) * p.kernel_h * p.kernel_w);
  ForEachProduct(
      p, [&](int64_t s, int64_t w, int64_t d) { d_weight[w] += double{d_dst[d]} * src[s]; });
  return d_weight;
}

std::vector<double> ConvBackwardBias(const ConvParams& p, const std::vector<float>& d_dst) {
  const int64_t plane = Plane(p);
  std::vector<double> d_bias(p.out_channels);
  for (size_t d = 0; d < d_dst.size(); ++d) d_bias[d / plane % p.out_channels] += d_dst[d];
  return d_bias;
}

}  // namespace lseg::reference
