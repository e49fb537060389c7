// Resampling in whole numbers, so that preparation on one machine and inference on another give the
// same bytes. Rows first, then columns: one destination row is finished at a time, and the working
// memory is one source row.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lseg/image.h"

namespace lseg {
namespace {

// Weights have 14 bits behind the point (so that they and 1 fit 16 bits), values between the two
// passes have 6: with the cubic's overshoot of at most a quarter they stay below 2^15.
constexpr int kWeightBits = 14, kValueBits = 6;
constexpr int kOne = 1 << kWeightBits;

// Destination sample i is the sum over k of weights[i * taps + k] * source[first[i] + k].
struct Filter {
  int taps = 0;
  std::vector<int> first;
  std::vector<int16_t> weights;
};

double CatmullRom(double x) {
  x = std::abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

Filter MakeFilter(int from, int to) {
  const double step = static_cast<double>(from) / to;
  const double stretch = std::max(step, 1.0);
  Filter filter;
  filter.taps = std::min(from, static_cast<int>(std::ceil(4 * stretch)) + 1);
  filter.first.resize(to);
  filter.weights.resize(static_cast<size_t>(to) * filter.taps);
  std::vector<double> exact(filter.taps);
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * step - 0.5;
    const int first =
        std::clamp(static_cast<int>(std::ceil(centre - 2 * stretch)), 0, from - filter.taps);
    double sum = 0;
    for (int k = 0; k < filter.taps; ++k) {
      exact[k] = CatmullRom((first + k - centre) / stretch);
      sum += exact[k];
    }
    // Rounding the running sum, not each weight: the weights then add up to one exactly.
    double running = 0;
    int given = 0;
    for (int k = 0; k < filter.taps; ++k) {
      running += exact[k] / sum;
      const int upto = static_cast<int>(std::lround(running * kOne));
      filter.weights[static_cast<size_t>(i) * filter.taps + k] = static_cast<int16_t>(upto - given);
      given = upto;
    }
    filter.first[i] = first;
  }
  return filter;
}

// out = sum over k of weights[k] * source row (first + k), with kValueBits behind the point.
void BlendRows(const Image& image, const Filter& filter, int y, std::vector<int32_t>& sums,
               std::vector<int16_t>& out) {
  constexpr int kShift = kWeightBits - kValueBits;
  const int count = static_cast<int>(out.size());
  const int16_t* weights = &filter.weights[static_cast<size_t>(y) * filter.taps];
  std::fill(sums.begin(), sums.end(), 1 << (kShift - 1));
  int32_t* __restrict sum = sums.data();
  for (int k = 0; k < filter.taps; ++k) {
    const int16_t weight = weights[k];
    if (weight == 0) continue;
    const uint8_t* __restrict in = image.Row(filter.first[y] + k);
    for (int x = 0; x < count; ++x) sum[x] += static_cast<int16_t>(in[x]) * weight;
  }
  int16_t* __restrict value = out.data();
  for (int x = 0; x < count; ++x) value[x] = static_cast<int16_t>(sum[x] >> kShift);
}

template <int kChannels>
void BlendColumns(const std::vector<int16_t>& in, const Filter& filter, uint8_t* out) {
  constexpr int kShift = kWeightBits + kValueBits;
  const int16_t* weights = filter.weights.data();
  for (const int first : filter.first) {
    const int16_t* value = in.data() + static_cast<size_t>(first) * kChannels;
    int32_t sum[kChannels];
    for (int c = 0; c < kChannels; ++c) sum[c] = 1 << (kShift - 1);
    for (int k = 0; k < filter.taps; ++k, value += kChannels) {
      for (int c = 0; c < kChannels; ++c) sum[c] += value[c] * weights[k];
    }
    for (int c = 0; c < kChannels; ++c) {
      *out++ = static_cast<uint8_t>(std::clamp(sum[c] >> kShift, 0, 255));
    }
    weights += filter.taps;
  }
}

template <int kChannels>
Image ResizeChannels(const Image& image, int width, int height) {
  const Filter columns = MakeFilter(image.width, width);
  const Filter rows = MakeFilter(image.height, height);
  Image resized(width, height, kChannels);
  const size_t row_values = static_cast<size_t>(image.width) * kChannels;
  std::vector<int32_t> sums(row_values);
  std::vector<int16_t> row(row_values);
  for (int y = 0; y < height; ++y) {
    BlendRows(image, rows, y, sums, row);
    BlendColumns<kChannels>(row, columns, resized.Row(y));
  }
  return resized;
}

void CheckSizes(const Image& image, int width, int height) {
  LSEG_CHECK(image.width > 0 && image.height > 0 && width > 0 && height > 0,
             "resize: from " << image.width << "x" << image.height << " to " << width << "x"
                             << height << ": sizes must be positive");
}

}  // namespace

Image Resize(const Image& image, int width, int height) {
  CheckSizes(image, width, height);
  if (image.width == width && image.height == height) return image;
  switch (image.channels) {
    case 1:
      return ResizeChannels<1>(image, width, height);
    case 2:
      return ResizeChannels<2>(image, width, height);
    case 3:
      return ResizeChannels<3>(image, width, height);
    case 4:
      return ResizeChannels<4>(image, width, height);
    default:
      LSEG_FAIL("resize: " << image.channels << " channels: 1 to 4 are known");
  }
}

// Lengths are counted in units of 1/width and 1/height of a source pixel. Source pixel i then
// covers [i * width, (i + 1) * width), destination pixel x covers [x * W, (x + 1) * W), and all
// overlaps are whole numbers.
Image ResizeMask(const Image& mask, int width, int height) {
  CheckSizes(mask, width, height);
  LSEG_CHECK(mask.channels == 1, "resize of a mask: " << mask.channels << " channels, not 1");
  const int64_t full_width = mask.width, full_height = mask.height;
  Image resized(width, height, 1);
  std::vector<int64_t> columns(mask.width);  // height of lesion within the row, by source column
  for (int64_t y = 0; y < height; ++y) {
    std::fill(columns.begin(), columns.end(), 0);
    const int64_t top = y * full_height, bottom = top + full_height;
    for (int64_t i = top / height; i * height < bottom; ++i) {
      const int64_t overlap = std::min(bottom, (i + 1) * height) - std::max(top, i * height);
      const uint8_t* row = mask.Row(static_cast<int>(i));
      for (int x = 0; x < mask.width; ++x) columns[x] += row[x] ? overlap : 0;
    }
    uint8_t* out = resized.Row(static_cast<int>(y));
    for (int64_t x = 0; x < width; ++x) {
      const int64_t left = x * full_width, right = left + full_width;
      int64_t area = 0;
      for (int64_t i = left / width; i * width < right; ++i) {
        area += (std::min(right, (i + 1) * width) - std::max(left, i * width)) * columns[i];
      }
      out[x] = 2 * area >= full_width * full_height ? 255 : 0;
    }
  }
  return resized;
}

Image ResizeNearest(const Image& image, int width, int height) {
  CheckSizes(image, width, height);
  Image resized(width, height, image.channels);
  for (int y = 0; y < height; ++y) {
    const uint8_t* in =
        image.Row(static_cast<int>((2 * int64_t{y} + 1) * image.height / (2 * int64_t{height})));
    uint8_t* out = resized.Row(y);
    for (int x = 0; x < width; ++x, out += image.channels) {
      const int64_t from = (2 * int64_t{x} + 1) * image.width / (2 * int64_t{width});
      std::copy_n(in + from * image.channels, image.channels, out);
    }
  }
  return resized;
}

}  // namespace lseg
