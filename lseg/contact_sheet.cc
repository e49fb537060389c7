#include "lseg/contact_sheet.h"

#include <algorithm>
#include <cmath>

#include "lseg/dataset.h"
#include "lseg/overlay.h"

namespace lseg {
namespace {

constexpr int kWidth = 360, kHeight = 240;  // of a picture at most
constexpr int kGap = 4, kTextScale = 2;
constexpr int kTileWidth = kWidth + 2 * kGap;
constexpr int kTileHeight = kHeight + 3 * kGap + kTextHeight * kTextScale;

// Of the classes that fall on one pixel, the one that ComposeClassMap puts on top.
Image ShrinkClassMap(const Image& map, int width, int height) {
  constexpr uint8_t kRank[5] = {0, 1, 3, 4, 2};
  Image small(width, height, 1);
  for (int y = 0; y < map.height; ++y) {
    uint8_t* row = small.Row(static_cast<int>(int64_t{y} * height / map.height));
    for (int x = 0; x < map.width; ++x) {
      uint8_t& pixel = row[int64_t{x} * width / map.width];
      const uint8_t label = map.Row(y)[x];
      LSEG_CHECK(label < 5, "contact sheet: there is no class " << int{label});
      if (kRank[label] > kRank[pixel]) pixel = label;
    }
  }
  return small;
}

void Paste(const Image& from, int left, int top, Image& to) {
  for (int y = 0; y < from.height; ++y) {
    std::copy_n(from.Row(y), 3 * from.width, to.Row(top + y) + 3 * left);
  }
}

// The end of a name, where names of one set differ, as far as there is room for it.
std::string Shorten(const std::string& name) {
  constexpr size_t kRoom = kWidth / (kTextWidth * kTextScale);
  return name.size() <= kRoom ? name : name.substr(name.size() - kRoom);
}

}  // namespace

void ContactSheet::Add(const Image& photo, const Image* class_map, const std::string& name) {
  const int64_t most = std::min<int64_t>(images_, kMost), at = added_++;
  if (images_ > 0 && (at + 1) * most / images_ == at * most / images_) return;
  const double scale =
      std::min({1.0, double{kWidth} / photo.width, double{kHeight} / photo.height});
  const int width = std::max(1, static_cast<int>(std::lround(photo.width * scale)));
  const int height = std::max(1, static_cast<int>(std::lround(photo.height * scale)));
  Image picture = Resize(photo, width, height);
  if (class_map) {
    picture = DrawOverlay(std::move(picture), ShrinkClassMap(*class_map, width, height),
                          {kLesionNames.begin(), kLesionNames.end()});
  }
  Image tile(kTileWidth, kTileHeight, 3, 24);
  Paste(picture, kGap + (kWidth - width) / 2, kGap + (kHeight - height) / 2, tile);
  DrawText(tile, kGap, kHeight + 2 * kGap, kTextScale, Shorten(name));
  tiles_.push_back(std::move(tile));
}

Image ContactSheet::Draw() const {
  const int count = static_cast<int>(tiles_.size());
  if (count == 0) return {};
  const int columns = static_cast<int>(std::ceil(std::sqrt(count)));
  const int rows = (count + columns - 1) / columns;
  Image sheet(columns * kTileWidth, rows * kTileHeight, 3, 24);
  for (int i = 0; i < count; ++i) {
    Paste(tiles_[i], i % columns * kTileWidth, i / columns * kTileHeight, sheet);
  }
  return sheet;
}

}  // namespace lseg
