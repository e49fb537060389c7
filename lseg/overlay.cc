// Outlines by distance: a pixel outside a lesion is covered by the outline as far as its centre is
// nearer to one of the lesion's boundary pixels than the line is wide. Boundaries are short, so
// spreading from them costs far less than a distance transform of the whole image.
#include "lseg/overlay.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace lseg {
namespace {

constexpr int kGlyphWidth = kTextWidth - 1, kGlyphHeight = kTextHeight;

struct Glyph {
  char character;
  uint8_t rows[kGlyphHeight];  // top down, bit 4 is the left column
};

constexpr Glyph kGlyphs[] = {
    {'A', {0x0E, 0x11, 0x11, 0x1F, 0x11, 0x11, 0x11}},
    {'B', {0x1E, 0x11, 0x11, 0x1E, 0x11, 0x11, 0x1E}},
    {'C', {0x0E, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0E}},
    {'D', {0x1E, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1E}},
    {'E', {0x1F, 0x10, 0x10, 0x1E, 0x10, 0x10, 0x1F}},
    {'F', {0x1F, 0x10, 0x10, 0x1E, 0x10, 0x10, 0x10}},
    {'G', {0x0E, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0E}},
    {'H', {0x11, 0x11, 0x11, 0x1F, 0x11, 0x11, 0x11}},
    {'I', {0x0E, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0E}},
    {'J', {0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0C}},
    {'K', {0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11}},
    {'L', {0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1F}},
    {'M', {0x11, 0x1B, 0x15, 0x15, 0x11, 0x11, 0x11}},
    {'N', {0x11, 0x19, 0x19, 0x15, 0x13, 0x13, 0x11}},
    {'O', {0x0E, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0E}},
    {'P', {0x1E, 0x11, 0x11, 0x1E, 0x10, 0x10, 0x10}},
    {'Q', {0x0E, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0D}},
    {'R', {0x1E, 0x11, 0x11, 0x1E, 0x14, 0x12, 0x11}},
    {'S', {0x0F, 0x10, 0x10, 0x0E, 0x01, 0x01, 0x1E}},
    {'T', {0x1F, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04}},
    {'U', {0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0E}},
    {'V', {0x11, 0x11, 0x11, 0x11, 0x0A, 0x0A, 0x04}},
    {'W', {0x11, 0x11, 0x11, 0x15, 0x15, 0x1B, 0x11}},
    {'X', {0x11, 0x11, 0x0A, 0x04, 0x0A, 0x11, 0x11}},
    {'Y', {0x11, 0x11, 0x0A, 0x04, 0x04, 0x04, 0x04}},
    {'Z', {0x1F, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1F}},
    {'0', {0x0E, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0E}},
    {'1', {0x04, 0x0C, 0x04, 0x04, 0x04, 0x04, 0x0E}},
    {'2', {0x0E, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1F}},
    {'3', {0x1E, 0x01, 0x01, 0x0E, 0x01, 0x01, 0x1E}},
    {'4', {0x02, 0x06, 0x0A, 0x12, 0x1F, 0x02, 0x02}},
    {'5', {0x1F, 0x10, 0x1E, 0x01, 0x01, 0x11, 0x0E}},
    {'6', {0x06, 0x08, 0x10, 0x1E, 0x11, 0x11, 0x0E}},
    {'7', {0x1F, 0x01, 0x02, 0x04, 0x04, 0x08, 0x08}},
    {'8', {0x0E, 0x11, 0x11, 0x0E, 0x11, 0x11, 0x0E}},
    {'9', {0x0E, 0x11, 0x11, 0x0F, 0x01, 0x02, 0x0C}},
    {'_', {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1F}},
    {'-', {0x00, 0x00, 0x00, 0x1F, 0x00, 0x00, 0x00}},
    {' ', {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00}},
};

// A character without a glyph is drawn as a dash.
const Glyph& GlyphOf(char character) {
  const char upper = static_cast<char>(std::toupper(static_cast<unsigned char>(character)));
  const Glyph* dash = nullptr;
  for (const Glyph& glyph : kGlyphs) {
    if (glyph.character == upper) return glyph;
    if (glyph.character == '-') dash = &glyph;
  }
  return *dash;
}

using Color = std::array<uint8_t, 3>;

void FillBox(Image& image, int left, int top, int width, int height, const Color& color) {
  for (int y = top; y < top + height; ++y) {
    uint8_t* row = image.Row(y);
    for (int x = left; x < left + width; ++x) std::copy(color.begin(), color.end(), row + 3 * x);
  }
}

void DrawLegend(Image& image, const std::vector<std::string>& classes) {
  const int scale = std::max(1, image.width / 480);
  const int swatch = kGlyphHeight * scale, gap = 4 * scale;
  size_t longest = 0;
  for (const std::string& name : classes) longest = std::max(longest, name.size());
  const int text = static_cast<int>(longest) * (kGlyphWidth + 1) * scale;
  const int width = gap + swatch + gap + text + gap;
  const int height = gap + static_cast<int>(classes.size()) * (swatch + gap);
  if (3 * (width + gap) > image.width || 3 * (height + gap) > image.height) return;
  FillBox(image, gap, gap, width, height, {32, 32, 32});
  for (size_t c = 0; c < classes.size(); ++c) {
    const int top = 2 * gap + static_cast<int>(c) * (swatch + gap);
    FillBox(image, 2 * gap, top, swatch, swatch, kClassPalette[c + 1]);
    DrawText(image, 2 * gap + swatch + gap, top, scale, classes[c]);
  }
}

// Which outline covers a pixel, and how much of it.
struct Coverage {
  uint8_t label = 0;
  uint8_t amount = 0;  // 255: all
};

bool OnBoundary(const Image& map, int x, int y) {
  const uint8_t label = map.Row(y)[x];
  return (x > 0 && map.Row(y)[x - 1] != label) ||
         (x + 1 < map.width && map.Row(y)[x + 1] != label) ||
         (y > 0 && map.Row(y - 1)[x] != label) ||
         (y + 1 < map.height && map.Row(y + 1)[x] != label);
}

// Covers the pixels around boundary pixel (x, y) of a lesion, up to `width` pixels away.
void Spread(const Image& map, int x, int y, double width, std::vector<Coverage>& coverage) {
  const uint8_t label = map.Row(y)[x];
  const int reach = static_cast<int>(std::ceil(width));
  for (int v = std::max(0, y - reach); v <= std::min(map.height - 1, y + reach); ++v) {
    for (int u = std::max(0, x - reach); u <= std::min(map.width - 1, x + reach); ++u) {
      if (map.Row(v)[u] >= label) continue;
      const double share = std::clamp(width + 1 - std::hypot(u - x, v - y), 0.0, 1.0);
      const auto amount = static_cast<uint8_t>(std::lround(255 * share));
      Coverage& pixel = coverage[static_cast<size_t>(v) * map.width + u];
      if (amount > pixel.amount) pixel = {label, amount};
    }
  }
}

}  // namespace

void DrawText(Image& image, int left, int top, int scale, const std::string& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const Glyph& glyph = GlyphOf(text[i]);
    const int at = left + static_cast<int>(i) * (kGlyphWidth + 1) * scale;
    for (int y = 0; y < kGlyphHeight; ++y) {
      for (int x = 0; x < kGlyphWidth; ++x) {
        if (glyph.rows[y] >> (kGlyphWidth - 1 - x) & 1) {
          FillBox(image, at + x * scale, top + y * scale, scale, scale, {255, 255, 255});
        }
      }
    }
  }
}

Image DrawOverlay(Image photo, const Image& class_map, const std::vector<std::string>& classes) {
  LSEG_CHECK(photo.channels == 3 && class_map.channels == 1 && photo.width == class_map.width &&
                 photo.height == class_map.height,
             "an overlay takes an RGB photograph and a class map of its size, not "
                 << photo.width << "x" << photo.height << "x" << photo.channels << " and "
                 << class_map.width << "x" << class_map.height << "x" << class_map.channels);
  LSEG_CHECK(classes.size() < kClassPalette.size(),
             classes.size() << " classes: there are colours for " << kClassPalette.size() - 1);
  const double width = std::max(1.0, photo.width / 1440.0);
  std::vector<Coverage> coverage(static_cast<size_t>(photo.width) * photo.height);
  for (int y = 0; y < photo.height; ++y) {
    for (int x = 0; x < photo.width; ++x) {
      const uint8_t label = class_map.Row(y)[x];
      if (label == 0) continue;
      LSEG_CHECK(label <= classes.size(), "class " << int{label} << " at (" << x << "," << y
                                                   << ") of a map of " << classes.size());
      if (OnBoundary(class_map, x, y)) Spread(class_map, x, y, width, coverage);
    }
  }
  for (size_t i = 0; i < coverage.size(); ++i) {
    const int amount = coverage[i].amount;
    if (amount == 0) continue;
    const Color& color = kClassPalette[coverage[i].label];
    for (int c = 0; c < 3; ++c) {
      uint8_t& value = photo.pixels[3 * i + c];
      value = static_cast<uint8_t>((value * (255 - amount) + color[c] * amount + 127) / 255);
    }
  }
  DrawLegend(photo, classes);
  return photo;
}

}  // namespace lseg
