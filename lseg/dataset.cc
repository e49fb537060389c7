#include "lseg/dataset.h"

#include <filesystem>
#include <sstream>

#include "framework/file.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

std::string MaskPath(const std::string& label, const std::string& name) {
  const fs::path folder = fs::path(label).parent_path().parent_path() / "masks";
  return (folder / (Stem(label) + "_" + name + ".png")).string();
}

std::vector<Image> SplitClassMap(const std::string& path, size_t classes) {
  const Image map = ReadClassMap(path);
  std::vector<Image> masks(classes, Image(map.width, map.height, 1));
  for (size_t i = 0; i < map.pixels.size(); ++i) {
    const uint8_t value = map.pixels[i];
    if (value == 0) continue;
    LSEG_CHECK(value <= classes, path << ": pixel (" << i % map.width << ", " << i / map.width
                                      << ") is class " << int{value} << ", but there are only "
                                      << classes << " classes");
    masks[value - 1].pixels[i] = 255;
  }
  return masks;
}

}  // namespace

std::string Stem(const std::string& path) { return fs::path(path).stem().string(); }

std::vector<ListEntry> ReadList(const std::string& path) {
  std::istringstream lines(ReadFile(path));
  const fs::path folder = fs::path(path).parent_path();
  std::vector<ListEntry> entries;
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::istringstream words(line);
    std::string image, label, more;
    if (!(words >> image) || image[0] == '#') continue;
    LSEG_CHECK(words >> label && !(words >> more),
               path << ":" << number << ": a line is an image's path and its label's path, with "
                    << "one space between and none inside");
    entries.push_back({(folder / image).string(), (folder / label).string()});
  }
  LSEG_CHECK(!entries.empty(), path << ": the list is empty");
  return entries;
}

std::vector<Image> ReadTruth(const ListEntry& entry, const std::vector<std::string>& classes) {
  std::string present, missing;
  for (const std::string& name : classes) {
    const std::string path = MaskPath(entry.label, name);
    (fs::exists(path) ? present : missing) = path;
  }
  if (present.empty()) return SplitClassMap(entry.label, classes.size());
  LSEG_CHECK(missing.empty(), missing << ": is missing, while " << present
                                      << " is there: give a mask for every class, or none");
  std::vector<Image> masks;
  for (const std::string& name : classes) {
    const std::string path = MaskPath(entry.label, name);
    masks.push_back(ReadMask(path));
    LSEG_CHECK(masks.back().width == masks[0].width && masks.back().height == masks[0].height,
               path << ": is " << masks.back().width << "x" << masks.back().height
                    << ", the mask of " << classes[0] << " is " << masks[0].width << "x"
                    << masks[0].height);
  }
  return masks;
}

Image ComposeClassMap(const std::vector<Image>& masks) {
  constexpr int kBottomUp[4] = {0, 3, 1, 2};  // EX, SE, HE, MA
  LSEG_CHECK(masks.size() == 4, "a class map is composed of four masks, not " << masks.size());
  Image map(masks[0].width, masks[0].height, 1);
  for (int lesion : kBottomUp) {
    const Image& mask = masks[lesion];
    LSEG_CHECK(mask.pixels.size() == map.pixels.size(), "masks of different sizes");
    for (size_t i = 0; i < map.pixels.size(); ++i) {
      if (mask.pixels[i] != 0) map.pixels[i] = static_cast<uint8_t>(lesion + 1);
    }
  }
  return map;
}

}  // namespace lseg
