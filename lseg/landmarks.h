// Where the optic disc and the fovea of photographs are, as somebody marked them, and where a
// lesion lies as seen from them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lseg {

struct ImagePoint {
  double x = 0, y = 0;  // pixels of the photograph; (0, 0) is the centre of the upper left one
};

struct Landmarks {
  std::optional<ImagePoint> disc, fovea;  // centres
};

// By the name of the photograph: its stem, or its file name.
using LandmarkTable = std::map<std::string, Landmarks>;

// Reads files of landmarks; later ones add to earlier ones. CSV, told by their header (blanks,
// dashes, underscores and case do not count):
//   image,disc_x,disc_y,fovea_x,fovea_y     either point may be left out or empty
//   Image No,X- Coordinate,Y - Coordinate   IDRiD's: whose it is, "OD" or "Disc", or "Fovea" in the
//                                           file's name says
// or JSON (.json): {"IDRiD_01": {"disc": [x, y], "fovea": [x, y]}, ...}. Lines without an image are
// skipped, as IDRiD's files end in many. Throws Error with file, line and what is wrong.
LandmarkTable ReadLandmarks(const std::vector<std::string>& files);

// The landmarks of a photograph by its stem or file name; none where the table has neither.
Landmarks LandmarksOf(const LandmarkTable& table, const std::string& path);

enum class Eye { kUnknown, kRight, kLeft };
// From disc and fovea: seen in a photograph, the disc lies to the right of a right eye's fovea.
// Unknown unless both are there, and where they stand over one another. Mirrored photographs (those
// taken through some lenses) cannot be told.
Eye EyeOf(const Landmarks& landmarks);
const char* EyeName(Eye eye);  // "right", "left", ""

// "upper left" and so on: the quadrant of a point about a centre, along the image's axes. What lies
// on an axis counts as right, or lower.
std::string ImageQuadrant(const ImagePoint& point, const ImagePoint& center);
// The same in the words of anatomy, "superior temporal" and so on; of an unknown eye as above.
std::string EyeQuadrant(const ImagePoint& point, const ImagePoint& center, Eye eye);

}  // namespace lseg
