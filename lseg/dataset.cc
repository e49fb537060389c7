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

constexpr char kBlanks[] = " \t\r";

std::string Trim(const std::string& text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  return begin == std::string::npos
             ? ""
             : text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// A trimmed line cut at its tab, or at its only run of blanks; else wherever two files that exist
// come out.
std::vector<ListEntry> WaysToCut(const std::string& line, const fs::path& folder) {
  std::vector<ListEntry> cuts;
  const bool has_tab = line.find('\t') != std::string::npos;
  const char* blanks = has_tab ? "\t" : kBlanks;
  for (size_t at = line.find_first_of(blanks); at != std::string::npos;) {
    const size_t next = line.find_first_not_of(kBlanks, at);
    cuts.push_back({(folder / Trim(line.substr(0, at))).string(),
                    (folder / Trim(line.substr(next))).string()});
    at = line.find_first_of(blanks, next);
  }
  if (cuts.size() <= 1 || has_tab) return cuts;
  std::erase_if(cuts, [](const ListEntry& cut) {
    return !fs::is_regular_file(cut.image) || !fs::is_regular_file(cut.label);
  });
  return cuts;
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
    line = Trim(line);
    if (line.empty() || line[0] == '#') continue;
    const std::vector<ListEntry> ways = WaysToCut(line, folder);
    LSEG_CHECK(ways.size() == 1, path << ":" << number << ": "
                                      << (ways.empty() ? "no way" : "more than one way")
                                      << " to read '" << line
                                      << "' as an image's path and its label's path; a tab between "
                                         "the two makes it clear");
    entries.push_back(ways.front());
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
    LSEG_CHECK(mask.width == map.width && mask.height == map.height && mask.channels == 1,
               "class map: the mask of " << kLesionNames[lesion] << " is " << mask.width << "x"
                                         << mask.height << ", that of EX " << map.width << "x"
                                         << map.height);
    for (size_t i = 0; i < map.pixels.size(); ++i) {
      if (mask.pixels[i] != 0) map.pixels[i] = static_cast<uint8_t>(lesion + 1);
    }
  }
  return map;
}

}  // namespace lseg
