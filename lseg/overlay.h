// The picture a person looks at: the photograph with every lesion outlined in the colour of its
// class, and a legend that names the colours.
#pragma once

#include <string>
#include <vector>

#include "lseg/image.h"

namespace lseg {

// photo: RGB, drawn upon where it is. class_map: one channel of the same size, 0 background, c + 1
// for classes[c]; at most as many as have a colour (kClassPalette). Returns RGB of that size.
//
// Outlines run around a lesion, not on it, so that one of a few pixels stays visible: anti-aliased,
// 1 pixel wide up to 1440 pixels of image width and wider in proportion. Where lesions touch, the
// outline of the higher class number lies on the other lesion, and not the other way round. The
// legend stands in the upper left corner, which is dark in a fundus photograph; an image too small
// for it has none.
Image DrawOverlay(Image photo, const Image& class_map, const std::vector<std::string>& classes);

// One line of white text on RGB, its upper left corner at (left, top): characters of 5x7 pixels,
// one apart, times `scale`, all inside the image. Letters become capitals; what has no glyph is a
// dash.
void DrawText(Image& image, int left, int top, int scale, const std::string& text);
inline constexpr int kTextWidth = 6, kTextHeight = 7;  // of a character with its space

}  // namespace lseg
