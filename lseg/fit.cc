#include "lseg/fit.h"

#include <algorithm>
#include <cmath>

namespace lseg {
namespace {

constexpr double kStretched = 0.01;

Image Place(Image scaled, const Fit& fit, int frame_width, int frame_height) {
  if (fit.Fills(frame_width, frame_height)) return scaled;
  Image frame(frame_width, frame_height, scaled.channels);
  const int left = std::max(fit.left, 0), right = std::min(fit.left + fit.width, frame_width);
  const int bottom = std::min(fit.top + fit.height, frame_height);
  for (int y = std::max(fit.top, 0); y < bottom && left < right; ++y) {
    std::copy_n(scaled.Row(y - fit.top) + (left - fit.left) * scaled.channels,
                (right - left) * scaled.channels, frame.Row(y) + left * scaled.channels);
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

Image PlacePhoto(const Image& photo, const Fit& fit, int frame_width, int frame_height) {
  return Place(Resize(photo, fit.width, fit.height), fit, frame_width, frame_height);
}

Image FitPhoto(const Image& photo, int frame_width, int frame_height) {
  return PlacePhoto(photo, FitInto(photo.width, photo.height, frame_width, frame_height),
                    frame_width, frame_height);
}

Image FitMask(const Image& mask, int frame_width, int frame_height) {
  const Fit fit = FitInto(mask.width, mask.height, frame_width, frame_height);
  return Place(ResizeMask(mask, fit.width, fit.height), fit, frame_width, frame_height);
}

}  // namespace lseg
