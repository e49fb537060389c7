#include "lseg/report_page.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "lseg/base64.h"
#include "lseg/dataset.h"
#include "lseg/sha256.h"

namespace lseg {

extern const char kReportHtml[], kReportCss[], kReportPageJs[], kReportPaintJs[], kReportViewJs[],
    kReportGridJs[];

namespace {

using Json = nlohmann::ordered_json;
constexpr auto kReplace = Json::error_handler_t::replace;

struct Size {
  int width, height;
};

// Scaled down, if need be, so that the longer side is `side`.
Size Within(int width, int height, int side) {
  const double factor = std::min(1.0, static_cast<double>(side) / std::max(width, height));
  return {std::max(1, static_cast<int>(std::lround(width * factor))),
          std::max(1, static_cast<int>(std::lround(height * factor)))};
}

Image Fitted(const Image& image, int side) {
  const Size size = Within(image.width, image.height, side);
  return Resize(image, size.width, size.height);
}

// The photograph, small, with every lesion in its colour: one of a pixel still shows.
Image Thumbnail(const Image& photo, const Image& class_map) {
  Image thumb = Fitted(photo, kPageThumbSide);
  std::vector<uint8_t> labels(static_cast<size_t>(thumb.width) * thumb.height);
  for (int y = 0; y < class_map.height; ++y) {
    const uint8_t* row = class_map.Row(y);
    uint8_t* to = &labels[int64_t{y} * thumb.height / class_map.height * thumb.width];
    for (int x = 0; x < class_map.width; ++x) {
      if (row[x] == 0) continue;
      uint8_t& label = to[int64_t{x} * thumb.width / class_map.width];
      label = std::max(label, row[x]);
    }
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == 0 || labels[i] >= kClassPalette.size()) continue;
    for (int c = 0; c < 3; ++c) thumb.pixels[3 * i + c] = kClassPalette[labels[i]][c];
  }
  return thumb;
}

std::string DataUrl(const Image& gray) {
  return "data:image/png;base64," + Base64(EncodePng(gray));
}

Image TruthBits(const std::vector<Image>& truth, const Size& size) {
  Image bits(size.width, size.height, 1);
  for (size_t c = 0; c < truth.size(); ++c) {
    if (truth[c].pixels.empty()) continue;
    const Image mask = ResizeMask(truth[c], size.width, size.height);
    for (size_t i = 0; i < bits.pixels.size(); ++i) {
      if (mask.pixels[i] != 0) bits.pixels[i] |= static_cast<uint8_t>(1 << c);
    }
  }
  return bits;
}

void CheckTruth(const PhotoLesions& lesions, const std::vector<Image>& truth) {
  LSEG_CHECK(truth.size() <= 8, truth.size() << " classes of truth: a page shows 8 at most");
  if (truth.empty()) return;
  const Image& mask = AnyMask(truth);
  const double ratio = static_cast<double>(mask.width) * lesions.height /
                       (static_cast<double>(mask.height) * lesions.width);
  LSEG_CHECK(std::abs(ratio - 1) < 0.02, "its truth is " << mask.width << "x" << mask.height
                                                         << ", which is not the shape of "
                                                         << lesions.width << "x" << lesions.height);
}

// "~~" is in no other key.
std::string HashedKey(const std::string& key, const std::string& name) {
  constexpr size_t kKept = 80;
  return key.substr(0, kKept) + "~~" + Sha256(name).substr(0, 16);
}

std::string LowerCase(std::string key) {
  for (char& c : key) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return key;
}

}  // namespace

std::string PageKey(const std::string& name) {
  constexpr char kHex[] = "0123456789abcdef";
  constexpr size_t kLongest = 120;
  std::string key;
  for (const char c : name) {
    const auto byte = static_cast<uint8_t>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == '_';
    key += plain ? std::string(1, c) : std::string{'~', kHex[byte >> 4], kHex[byte & 15]};
  }
  return key.size() <= kLongest ? key : HashedKey(key, name);
}

const std::string& PageKeys::Of(const std::string& name) {
  std::string& key = keys_[name];
  if (!key.empty()) return key;
  key = PageKey(name);
  if (!lower_case_.insert(LowerCase(key)).second) key = HashedKey(key, name);
  return key;
}

void WritePageImage(const std::string& folder, const std::string& key, const PhotoLesions& lesions,
                    const Image& photo, const Probabilities& probabilities, const Image& class_map,
                    const std::vector<Image>& truth) {
  CheckTruth(lesions, truth);
  const std::string prefix = "images/" + key, path = folder + "/" + prefix;
  const Image shown = Fitted(photo, kPagePhotoSide);
  WriteJpeg(path + ".jpg", shown, 88);
  // Above 90 the encoder keeps colours at full resolution, and with it lesions of one pixel.
  WriteJpeg(path + "~thumb.jpg", Thumbnail(shown, class_map), 92);
  const Size size = Within(probabilities.width, probabilities.height, kPageMapSide);
  const Probabilities maps = ResizeProbabilities(probabilities, size.width, size.height);
  Json data = {{"schema", "lseg-page 1"}, {"photo", prefix + ".jpg"}};
  data["map"] = {{"width", size.width}, {"height", size.height}};
  for (size_t c = 0; c < maps.classes.size(); ++c) {
    data["map"]["png"][maps.classes[c]] = DataUrl(ToGray(maps, c));
  }
  data["truth"] = truth.empty() ? Json() : Json(DataUrl(TruthBits(truth, size)));
  if (!truth.empty()) data["annotated"] = Annotated(truth);
  const std::string text = data.dump(-1, ' ', false, kReplace);
  WriteFile(path + ".js",
            "lsegImage({\"report\":" + LesionsJsonLine(lesions) + "," + text.substr(1) + ");\n");
}

std::string PageListItem(const std::string& key, const PhotoLesions& lesions) {
  Json item = {{"name", lesions.name}, {"key", key}, {"file", lesions.file}};
  if (!lesions.error.empty()) {
    item["error"] = lesions.error;
  } else {
    item["doubt"] = lesions.view.doubt;
    for (const LesionTotal& total : Totals(lesions)) {
      item["count"].push_back(total.count);
      item["percent"].push_back(std::round(total.area_percent * 1e4) / 1e4);
    }
  }
  return item.dump(-1, ' ', false, kReplace);
}

void WritePage(const std::string& folder, const std::vector<std::string>& classes,
               const std::vector<std::string>& list_items) {
  Json list = {{"schema", "lseg-page 1"}, {"classes", classes}};
  for (size_t c = 0; c < classes.size(); ++c) {
    const auto& colour = kClassPalette[std::min(c + 1, kClassPalette.size() - 1)];
    list["colours"].push_back({colour[0], colour[1], colour[2]});
  }
  std::string text = list.dump(-1, ' ', false, kReplace);
  text.pop_back();
  text += ",\"images\":[\n";
  for (size_t i = 0; i < list_items.size(); ++i) {
    text += list_items[i] + (i + 1 < list_items.size() ? ",\n" : "\n");
  }
  WriteFile(folder + "/page/page.css", kReportCss);
  WriteFile(folder + "/page/page.js", kReportPageJs);
  WriteFile(folder + "/page/paint.js", kReportPaintJs);
  WriteFile(folder + "/page/view.js", kReportViewJs);
  WriteFile(folder + "/page/grid.js", kReportGridJs);
  WriteFile(folder + "/page/list.js", "lsegList(" + text + "]});\n");
  WriteFile(folder + "/index.html", kReportHtml);
}

}  // namespace lseg
