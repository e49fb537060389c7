// Photographs of any shape in a frame of a fixed size, undistorted: scaled to touch two of its
// sides, in the middle, with black beside. Preparation and inference both go by this, so that a net
// sees lesions of the shape that it was trained on.
#pragma once

#include "lseg/image.h"

namespace lseg {

// Where the photograph, scaled to width x height, lies in the frame; what lies outside of that
// (left or top below 0, or too large) is cut off.
struct Fit {
  int left = 0, top = 0, width = 0, height = 0;

  bool Fills(int frame_width, int frame_height) const {
    return width == frame_width && height == frame_height;
  }
};

// All sizes are positive. Where the shapes differ by no more than 1 % (IDRiD's 4288x2848 in
// 1440x960 by 0.4 %), the photograph is stretched to fill the frame.
Fit FitInto(int width, int height, int frame_width, int frame_height);

// Resize, or ResizeMask, to where FitInto says; black, or no lesion, beside.
Image FitPhoto(const Image& photo, int frame_width, int frame_height);
Image FitMask(const Image& mask, int frame_width, int frame_height);
// Resize to where `fit` says.
Image PlacePhoto(const Image& photo, const Fit& fit, int frame_width, int frame_height);

}  // namespace lseg
