// Only the window is resampled, straight from the 8-bit photograph: row by row, first the source
// rows that one row of the window needs are added up, then the columns.
#include "lseg/augment.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "kernels/label.h"

namespace lseg {
namespace {

constexpr int kMaxClasses = CropResampleParams::kMaxClasses;

// The source pixels of one pixel of the window along one axis, with weights that add up to 1. None
// outside of the photograph.
struct Taps {
  int first = 0;
  std::vector<float> weights;

  int end() const { return first + static_cast<int>(weights.size()); }
};

// Pixel `position` of an axis that is scaled from `source` to `scaled` pixels.
Taps MakeTaps(int position, int source, int scaled) {
  if (position < 0 || position >= scaled) return {};
  if (source == scaled) return {position, {1}};
  const double step = static_cast<double>(source) / scaled;
  if (step < 1) {  // bilinear between pixel centres, edges repeated
    const double centre = std::clamp((position + 0.5) * step - 0.5, 0.0, source - 1.0);
    const int first = std::min(static_cast<int>(centre), source - 2);
    if (first < 0) return {0, {1}};
    const float second = static_cast<float>(centre - first);
    return {first, {1 - second, second}};
  }
  const double begin = position * step, end = std::min((position + 1) * step, double(source));
  Taps taps{static_cast<int>(begin), {}};
  for (int i = taps.first; i < source && i < end; ++i) {
    const double covered = std::min(end, i + 1.0) - std::max(begin, double(i));
    taps.weights.push_back(static_cast<float>(covered / (end - begin)));
  }
  return taps;
}

int Scaled(int size, float scale) {
  return std::max(1, static_cast<int>(std::lround(static_cast<double>(size) * scale)));
}

// Where pixel (y, x) of the window goes in the crop: origin + y * step_y + x * step_x.
struct Placement {
  int64_t origin, step_y, step_x;
};

Placement Place(const AugmentParams& params, int window_height, int window_width) {
  // The mirrored window first: (y, x) lies at (y0 + y dy, x0 + x dx).
  const int64_t y0 = params.flip_y ? window_height - 1 : 0, dy = params.flip_y ? -1 : 1;
  const int64_t x0 = params.flip_x ? window_width - 1 : 0, dx = params.flip_x ? -1 : 1;
  const int64_t row = params.width;
  if (!params.turn) return {y0 * row + x0, dy * row, dx};
  // Clockwise: row y becomes column height - 1 - y, column x becomes row x.
  return {x0 * row + (window_height - 1 - y0), -dy, dx * row};
}

// The window with everything that colours and labels need to know of it.
struct Window {
  int height, width;
  std::vector<Taps> rows, columns;
  Placement place;
};

Window MakeWindow(const TrainingImage& image, const AugmentParams& params) {
  Window window;
  window.height = params.turn ? params.width : params.height;
  window.width = params.turn ? params.height : params.width;
  const int scaled_width = Scaled(image.photo.width, params.scale);
  const int scaled_height = Scaled(image.photo.height, params.scale);
  for (int y = 0; y < window.height; ++y) {
    window.rows.push_back(MakeTaps(params.top + y, image.photo.height, scaled_height));
  }
  for (int x = 0; x < window.width; ++x) {
    window.columns.push_back(MakeTaps(params.left + x, image.photo.width, scaled_width));
  }
  window.place = Place(params, window.height, window.width);
  return window;
}

// The range of source pixels that any of the taps reads.
std::pair<int, int> SourceRange(const std::vector<Taps>& taps) {
  int begin = 0, end = 0;
  for (const Taps& t : taps) {
    if (t.weights.empty()) continue;
    if (begin == end) begin = t.first;
    end = std::max(end, t.end());
  }
  return {begin, end};
}

void WriteData(const TrainingImage& image, const AugmentParams& params, const Window& window,
               const std::array<float, 3>& mean_bgr, float* data) {
  const int64_t plane = int64_t{params.width} * params.height;
  const auto [begin, end] = SourceRange(window.columns);
  const int samples = (end - begin) * 3;
  std::vector<float> row(samples);
  float gain[3], offset[3];  // of R, G, B, less the mean
  for (int c = 0; c < 3; ++c) {
    gain[c] = params.gain[c];
    offset[c] = params.offset[c] - mean_bgr[2 - c];
  }
  for (int y = 0; y < window.height; ++y) {
    const Taps& taps = window.rows[y];
    std::fill(row.begin(), row.end(), 0.0f);
    for (size_t i = 0; i < taps.weights.size(); ++i) {
      const uint8_t* source = image.photo.Row(taps.first + static_cast<int>(i)) + begin * 3;
      const float weight = taps.weights[i];
      for (int s = 0; s < samples; ++s) row[s] += weight * source[s];
    }
    float* dst = data + window.place.origin + y * window.place.step_y;
    for (int x = 0; x < window.width; ++x, dst += window.place.step_x) {
      float value[3] = {0, 0, 0};
      const float* source = row.data() + (window.columns[x].first - begin) * 3;
      for (const float weight : window.columns[x].weights) {
        for (int c = 0; c < 3; ++c) value[c] += weight * source[c];
        source += 3;
      }
      for (int c = 0; c < 3; ++c) dst[(2 - c) * plane] = value[c] * gain[c] + offset[c];
    }
  }
}

// The source pixels of the window, a bit a class.
class LesionBits {
 public:
  LesionBits(const TrainingImage& image, const Window& window) {
    std::tie(top_, bottom_) = SourceRange(window.rows);
    std::tie(left_, right_) = SourceRange(window.columns);
    bits_.assign(int64_t{bottom_ - top_} * (right_ - left_), 0);
    any_.assign(bottom_ - top_, 0);
    const int width = image.photo.width;
    for (size_t c = 0; c < image.lesions.size(); ++c) {
      const std::vector<uint32_t>& pixels = image.lesions[c];
      auto pixel = std::lower_bound(pixels.begin(), pixels.end(), uint32_t(top_) * width);
      for (; pixel != pixels.end(); ++pixel) {
        const int y = static_cast<int>(*pixel / width), x = static_cast<int>(*pixel % width);
        if (y >= bottom_) break;
        if (x < left_ || x >= right_) continue;
        bits_[int64_t{y - top_} * (right_ - left_) + (x - left_)] |= 1 << c;
        any_[y - top_] = 1;
      }
    }
  }

  // Whether a row has a lesion at all.
  bool Any(int y) const { return any_[y - top_] != 0; }
  uint8_t At(int y, int x) const {
    return bits_[int64_t{y - top_} * (right_ - left_) + (x - left_)];
  }

 private:
  int top_, bottom_, left_, right_;
  std::vector<uint8_t> bits_;
  std::vector<uint8_t> any_;
};

// The classes of one pixel of the window, a bit each: those whose weights reach one half.
uint8_t ClassesAt(const LesionBits& bits, const Taps& rows, const Taps& columns) {
  uint8_t any = 0, all = 0xff;
  float weight[kMaxClasses] = {};
  for (int y = rows.first; y < rows.end(); ++y) {
    for (int x = columns.first; x < columns.end(); ++x) {
      const uint8_t found = bits.At(y, x);
      any |= found;
      all &= found;
      if (found == 0) continue;
      const float w = rows.weights[y - rows.first] * columns.weights[x - columns.first];
      for (int c = 0; c < kMaxClasses; ++c) weight[c] += (found >> c & 1) ? w : 0;
    }
  }
  if (any == all) return all;  // also where rounding left the weights of all just below their sum
  uint8_t classes = 0;
  for (int c = 0; c < kMaxClasses; ++c) classes |= (weight[c] >= 0.5f) << c;
  return classes;
}

void WriteLabel(const TrainingImage& image, const AugmentParams& params, const Window& window,
                uint8_t* label) {
  const int64_t plane = int64_t{params.width} * params.height;
  const int classes = static_cast<int>(image.lesions.size());
  std::fill_n(label, plane * classes, uint8_t{0});
  const LesionBits bits(image, window);
  for (int y = 0; y < window.height; ++y) {
    const Taps& rows = window.rows[y];
    bool any = false;
    for (int source = rows.first; source < rows.end(); ++source) any = any || bits.Any(source);
    if (!any) continue;
    uint8_t* dst = label + window.place.origin + y * window.place.step_y;
    for (int x = 0; x < window.width; ++x, dst += window.place.step_x) {
      if (window.columns[x].weights.empty()) continue;
      const uint8_t found = ClassesAt(bits, rows, window.columns[x]);
      for (int c = 0; found >> c != 0; ++c) dst[c * plane] = found >> c & 1;
    }
  }
}

void LeaveOut(const TrainingImage& image, const AugmentParams& params, uint8_t* label) {
  const int64_t plane = int64_t{params.width} * params.height;
  for (size_t c = 0; c < image.lesions.size(); ++c) {
    if ((image.left_out >> c & 1) != 0) std::fill_n(label + c * plane, plane, kNotAnnotated);
  }
}

// Places a window of `size` along an axis of `length` scaled pixels: anywhere in [low, high] that
// keeps it inside, or, where it is longer than the axis, the axis inside it.
int DrawPlace(int size, int length, int low, int high, Random& random) {
  low = std::max(low, std::min(0, length - size));
  high = std::min(high, std::max(0, length - size));
  return low + static_cast<int>(random.Below(static_cast<uint32_t>(high - low + 1)));
}

}  // namespace

int64_t TrainingImage::Bytes() const {
  int64_t bytes = static_cast<int64_t>(photo.pixels.size());
  for (const auto& pixels : lesions)
    bytes += static_cast<int64_t>(pixels.size() * sizeof(uint32_t));
  return bytes;
}

TrainingImage MakeTrainingImage(Image photo, const std::vector<Image>& masks) {
  LSEG_CHECK(masks.size() <= kMaxClasses,
             masks.size() << " classes: training takes at most " << kMaxClasses);
  TrainingImage image{std::move(photo), {}, 0};
  for (const Image& mask : masks) {
    if (mask.pixels.empty()) {
      image.left_out |= static_cast<uint8_t>(1 << image.lesions.size());
      image.lesions.emplace_back();
      continue;
    }
    LSEG_CHECK(
        mask.channels == 1 && mask.width == image.photo.width && mask.height == image.photo.height,
        "a mask of " << mask.width << "x" << mask.height << " for a photograph of "
                     << image.photo.width << "x" << image.photo.height);
    std::vector<uint32_t>& pixels = image.lesions.emplace_back();
    for (size_t i = 0; i < mask.pixels.size(); ++i) {
      if (mask.pixels[i] != 0) pixels.push_back(static_cast<uint32_t>(i));
    }
    pixels.shrink_to_fit();
  }
  return image;
}

void AugmentOptions::Validate() const {
  LSEG_CHECK(width > 0 && height > 0, "a crop of " << width << "x" << height << " is empty");
  LSEG_CHECK(!scales.empty(), "no scale to draw from");
  for (const float scale : scales) {
    LSEG_CHECK(scale > 0 && scale <= 16, "scale " << scale << " must be in (0, 16]");
  }
}

AugmentParams DrawAugmentation(const AugmentOptions& options, const TrainingImage& image,
                               Random& random) {
  AugmentParams params;
  params.width = options.width;
  params.height = options.height;
  params.scale = options.scales[random.Below(static_cast<uint32_t>(options.scales.size()))];
  params.flip_x = random.Uniform() < 0.5f && options.flip;
  params.flip_y = random.Uniform() < 0.5f && options.flip;
  params.turn = random.Uniform() < 0.5f && options.turn;
  const float common = random.Uniform(1 - options.gain, 1 + options.gain);
  for (int c = 0; c < 3; ++c) {
    params.gain[c] = common * random.Uniform(1 - options.channel_gain, 1 + options.channel_gain);
    params.offset[c] = random.Uniform(-options.offset, options.offset);
  }

  const int width = params.turn ? params.height : params.width;
  const int height = params.turn ? params.width : params.height;
  const int scaled_width = Scaled(image.photo.width, params.scale);
  const int scaled_height = Scaled(image.photo.height, params.scale);
  std::vector<const std::vector<uint32_t>*> present;
  for (const auto& pixels : image.lesions) {
    if (!pixels.empty()) present.push_back(&pixels);
  }
  int low_x = -width, high_x = scaled_width, low_y = -height, high_y = scaled_height;
  if (random.Uniform() < options.lesion_share && !present.empty()) {
    const auto& pixels = *present[random.Below(static_cast<uint32_t>(present.size()))];
    const uint32_t pixel = pixels[random.Below(static_cast<uint32_t>(pixels.size()))];
    const int64_t x = pixel % image.photo.width, y = pixel / image.photo.width;
    const int to_x = static_cast<int>((2 * x + 1) * scaled_width / (2 * image.photo.width));
    const int to_y = static_cast<int>((2 * y + 1) * scaled_height / (2 * image.photo.height));
    low_x = to_x - width + 1, high_x = to_x;
    low_y = to_y - height + 1, high_y = to_y;
  }
  params.left = DrawPlace(width, scaled_width, low_x, high_x, random);
  params.top = DrawPlace(height, scaled_height, low_y, high_y, random);
  return params;
}

std::vector<uint8_t> ClassBits(const TrainingImage& image) {
  std::vector<uint8_t> bits(int64_t{image.photo.width} * image.photo.height, 0);
  for (size_t c = 0; c < image.lesions.size(); ++c) {
    for (const uint32_t pixel : image.lesions[c]) bits[pixel] |= 1 << c;
  }
  return bits;
}

CropResampleParams ToCropResample(const TrainingImage& image, const AugmentParams& params,
                                  const std::array<float, 3>& mean_bgr) {
  CropResampleParams crop;
  crop.src_height = image.photo.height;
  crop.src_width = image.photo.width;
  crop.scaled_height = Scaled(image.photo.height, params.scale);
  crop.scaled_width = Scaled(image.photo.width, params.scale);
  crop.height = params.height;
  crop.width = params.width;
  crop.top = params.top;
  crop.left = params.left;
  crop.flip_x = params.flip_x;
  crop.flip_y = params.flip_y;
  crop.turn = params.turn;
  crop.gain = params.gain;
  crop.offset = params.offset;
  crop.mean = mean_bgr;
  crop.classes = static_cast<int>(image.lesions.size());
  crop.left_out = image.left_out;
  return crop;
}

void Augment(const TrainingImage& image, const AugmentParams& params,
             const std::array<float, 3>& mean_bgr, float* data, uint8_t* label) {
  const Window window = MakeWindow(image, params);
  WriteData(image, params, window, mean_bgr, data);
  WriteLabel(image, params, window, label);
  LeaveOut(image, params, label);
}

}  // namespace lseg
