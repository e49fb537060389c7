#include "lseg/fit.h"

#include <algorithm>
#include <cmath>

namespace lseg {
namespace {

constexpr double kStretched = 0.01;

Image Place(Image scaled, const Fit& fit, int frame_width, int frame_height) {
  if (fit.Fills(frame_width, frame_height)) return scaled;
  Image frame(frame_width, frame_height, scaled.channels);
  for (int y = 0; y < fit.height; ++y) {
    std::copy_n(scaled.Row(y), fit.width * scaled.channels,
                frame.Row(fit.top + y) + fit.left * scaled.channels);
  }
  return frame;
}

}  // namespace

Fit FitInto(int width, int height, int frame_width, int frame_height) {
  LSEG_CHECK(
      width > 0 && height > 0 && frame_width > 0 && frame_height > 0,
      width << "x" << height << " cannot be fitted into " << frame_width << "x" << frame_height);
  const double by_width = static_cast<double>(frame_width) / width;
  const double by_height = static_cast<double>(frame_height) / height;
  if (std::abs(by_width / by_height - 1) <= kStretched) return {0, 0, frame_width, frame_height};
  const double scale = std::min(by_width, by_height);
  const auto side = [scale](int length, int frame) {
    return std::clamp(static_cast<int>(std::lround(length * scale)), 1, frame);
  };
  Fit fit;
  fit.width = side(width, frame_width);
  fit.height = side(height, frame_height);
  fit.left = (frame_width - fit.width) / 2;
  fit.top = (frame_height - fit.height) / 2;
  return fit;
}

Image FitPhoto(const Image& photo, int frame_width, int frame_height) {
  const Fit fit = FitInto(photo.width, photo.height, frame_width, frame_height);
  return Place(Resize(photo, fit.width, fit.height), fit, frame_width, frame_height);
}

Image FitMask(const Image& mask, int frame_width, int frame_height) {
  const Fit fit = FitInto(mask.width, mask.height, frame_width, frame_height);
  return Place(ResizeMask(mask, fit.width, fit.height), fit, frame_width, frame_height);
}

}  // namespace lseg
