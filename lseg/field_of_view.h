// The field of view of a fundus photograph: the bright disc on a near-black ground that the
// camera's aperture leaves. Cameras cut it off at top and bottom, print text beside it, and
// photographs are cropped to it; its circle gives the scale all the same.
//
//   const FieldOfView view = FindFieldOfView(photo);
//   if (!view.IsFundus()) Warn(view.doubt);
//   const double scale = 2 * view.radius / kDiameterOfTraining;
#pragma once

#include <cstdint>
#include <string>

#include "lseg/fit.h"
#include "lseg/image.h"

namespace lseg {

struct FieldOfView {
  // The circle that the disc is part of, in pixels of the photograph; (0, 0) is the centre of the
  // upper left pixel. Where none was found, the one through the image's corners.
  double center_x = 0, center_y = 0, radius = 0;
  bool circle_found = false;
  // Pixels of the photograph that are retina: what is brighter than the ground, holes filled. All
  // of them where no ground was found.
  int64_t area = 0;
  // Why this may be no colour photograph of a fundus, in a few words; empty where it looks like
  // one.
  std::string doubt;

  bool IsFundus() const { return doubt.empty(); }
};

// photo: RGB, not empty. Looks at the photograph reduced to at most kViewGrid pixels on its longer
// side, which bounds what it can tell: centre and radius to about one of these pixels, area to half
// a pixel along its edge; images that are no larger are taken as they are.
//
// The ground is near black, darker than an eighth of the way from the darkest to the brightest
// parts; of what is not, the largest connected part is the disc (text and marks are others). A
// circle is fitted to its edge robustly (RANSAC, seeded: equal photographs give equal answers; then
// least squares), so that straight cuts, notches and marks do not move it. A disc needs an eighth
// of the circle's edge in sight, on both sides, and has to fill the circle but for what cuts take.
// A colour fundus is redder than green and greener than blue.
// Linear in pixels; takes three bytes a pixel of the reduced photograph besides.
FieldOfView FindFieldOfView(const Image& photo);
inline constexpr int kViewGrid = 512;

// A photograph scaled and put into a frame: a net's input.
struct Framing {
  Fit fit;
  int width = 0, height = 0;  // of the frame
  bool normalised = false;    // by the field of view
};

// FitInto the frame, but where the view's radius would then be off `radius`, that of the
// photographs a net was trained on (0: not known), by more than kRadiusTolerance: scaled to that
// radius, the view in the middle, and where the frame is too small for the view another one, just
// as large as it must be, in multiples of 32. A view that is no fundus' is left as it fits; so is
// one that would take a photograph of more than eight frames' pixels.
Framing FrameFieldOfView(const FieldOfView& view, int width, int height, double radius,
                         int frame_width, int frame_height);
// Training scales photographs by 0.8 to 1.25: it is at home within this.
inline constexpr double kRadiusTolerance = 0.1;

// The same view in the photograph scaled by these factors, which differ by rounding only: the
// radius takes their geometric mean.
FieldOfView ScaleFieldOfView(const FieldOfView& view, double scale_x, double scale_y);

}  // namespace lseg
