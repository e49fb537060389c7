#include "lseg/dataset.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <utility>

#include "framework/file.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

constexpr char kBlanks[] = " \t\r";

std::string Trim(const std::string& text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  return begin == std::string::npos
             ? ""
             : text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

bool IsFile(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// A trimmed line cut at its tab, or at its only run of blanks; else wherever two files that exist
// come out. Where the label may be left out, the whole line may be an image, too.
std::vector<ListEntry> WaysToRead(const std::string& line, const PathResolver& resolve,
                                  bool label_optional) {
  const bool has_tab = line.find('\t') != std::string::npos;
  const char* blanks = has_tab ? "\t" : kBlanks;
  std::vector<ListEntry> ways;
  for (size_t at = line.find_first_of(blanks); at != std::string::npos;) {
    const size_t next = line.find_first_not_of(kBlanks, at);
    ways.push_back({resolve(Trim(line.substr(0, at))), resolve(Trim(line.substr(next)))});
    at = line.find_first_of(blanks, next);
  }
  if (has_tab) return ways;
  const std::vector<ListEntry> cuts = ways;
  if (label_optional) ways.push_back({resolve(line), ""});
  if (ways.size() == 1) return ways;
  std::vector<ListEntry> images;
  std::copy_if(ways.begin(), ways.end(), std::back_inserter(images),
               [](const ListEntry& way) { return IsFile(way.image); });
  std::vector<ListEntry> pairs;
  std::copy_if(images.begin(), images.end(), std::back_inserter(pairs),
               [](const ListEntry& way) { return way.label.empty() || IsFile(way.label); });
  if (!label_optional || !pairs.empty()) return pairs;
  return images.empty() && cuts.size() == 1 ? cuts : images;
}

// Lines that cannot be read go to `problems`; where that is null, the first is thrown.
std::vector<ListEntry> ReadLines(const std::string& path, const PathResolver& resolve,
                                 bool label_optional, std::vector<std::string>* problems) {
  std::istringstream lines(ReadFile(path));
  std::vector<ListEntry> entries;
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    line = Trim(line);
    if (line.empty() || line[0] == '#') continue;
    const std::vector<ListEntry> ways = WaysToRead(line, resolve, label_optional);
    if (ways.size() == 1) {
      entries.push_back(ways.front());
      continue;
    }
    const std::string problem = path + ":" + std::to_string(number) + ": " +
                                (ways.empty() ? "no way" : "more than one way") + " to read '" +
                                line +
                                "' as an image's path and its label's path; a tab between the two "
                                "makes it clear";
    LSEG_CHECK(problems, problem);
    problems->push_back(problem);
  }
  LSEG_CHECK(!entries.empty() || (problems && !problems->empty()), path << ": lists no image");
  return entries;
}

PathResolver BesideList(const std::string& path) {
  return [folder = fs::path(path).parent_path()](const std::string& listed) {
    return (folder / listed).string();
  };
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

std::string MaskPath(const std::string& label, const std::string& name) {
  const fs::path folder = fs::path(label).parent_path().parent_path() / "masks";
  return (folder / (Stem(label) + "_" + name + ".png")).string();
}

std::vector<ListEntry> ReadList(const std::string& path) {
  return ReadLines(path, BesideList(path), false, nullptr);
}

std::vector<ListEntry> ReadList(const std::string& path, std::vector<std::string>* problems) {
  return ReadLines(path, BesideList(path), false, problems);
}

std::vector<ListEntry> ReadList(const std::string& path, const PathResolver& resolve) {
  return ReadLines(path, resolve, false, nullptr);
}

std::vector<std::string> ReadImageList(const std::string& path) {
  std::vector<std::string> images;
  for (ListEntry& entry : ReadLines(path, BesideList(path), true, nullptr)) {
    images.push_back(std::move(entry.image));
  }
  return images;
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
