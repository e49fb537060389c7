#include "lseg/dataset.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <sstream>
#include <utility>

#include "framework/file.h"
#include "framework/text.h"

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

// The line's parts between blanks of a kind, none of them empty.
std::vector<std::string> Parts(const std::string& line, const char* blanks) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < line.size();) {
    const size_t end = std::min(line.find_first_of(blanks, at), line.size());
    const std::string part = Trim(line.substr(at, end - at));
    if (!part.empty()) parts.push_back(part);
    at = end + 1;
  }
  return parts;
}

// An image and a mask a class.
ListEntry MasksOf(const std::vector<std::string>& parts, const PathResolver& resolve) {
  ListEntry entry{resolve(parts[0]), "", {}};
  for (size_t i = 1; i < parts.size(); ++i) {
    entry.masks.push_back(parts[i] == "-" ? "" : resolve(parts[i]));
  }
  return entry;
}

// A line without a tab, of three words or more, where it is an image and a mask a class.
std::optional<ListEntry> WordsAsMasks(const std::string& line, const PathResolver& resolve) {
  const std::vector<std::string> words = Parts(line, kBlanks);
  if (words.size() < 3) return std::nullopt;
  const ListEntry entry = MasksOf(words, resolve);
  return IsFile(entry.image) ? std::optional(entry) : std::nullopt;
}

// A trimmed line cut at its tab, or at its only run of blanks; else wherever two files that exist
// come out, or else into words. Where the label may be left out, the whole line may be an image,
// too.
std::vector<ListEntry> WaysToRead(const std::string& line, const PathResolver& resolve,
                                  bool label_optional) {
  const bool has_tab = line.find('\t') != std::string::npos;
  if (const auto parts = Parts(line, "\t"); parts.size() > 2) return {MasksOf(parts, resolve)};
  const char* blanks = has_tab ? "\t" : kBlanks;
  std::vector<std::pair<size_t, size_t>> cuts;  // where the image ends and the label begins
  for (size_t at = line.find_first_of(blanks); at != std::string::npos;) {
    const size_t next = line.find_first_not_of(kBlanks, at);
    cuts.emplace_back(at, next);
    at = line.find_first_of(blanks, next);
  }
  const auto way_of = [&](const std::pair<size_t, size_t>& cut) {
    return ListEntry{resolve(Trim(line.substr(0, cut.first))),
                     resolve(Trim(line.substr(cut.second)))};
  };
  const ListEntry whole{label_optional ? resolve(line) : "", ""};
  if (cuts.size() == 1 && (has_tab || !label_optional)) return {way_of(cuts[0])};
  if (cuts.empty() && label_optional) return {whole};
  // Only ways that lead to files are kept: a long line has many.
  std::vector<ListEntry> images, pairs;
  const auto consider = [&](const ListEntry& way) {
    if (!IsFile(way.image)) return;
    images.push_back(way);
    if (way.label.empty() || IsFile(way.label)) pairs.push_back(way);
  };
  for (const auto& cut : cuts) consider(way_of(cut));
  if (label_optional) consider(whole);
  if (pairs.empty()) {
    if (const auto masks = WordsAsMasks(line, resolve)) return {*masks};
  }
  if (!label_optional || !pairs.empty()) return pairs;
  if (images.empty() && cuts.size() == 1) return {way_of(cuts[0])};
  return images;
}

// Why a trimmed line is none of paths, whatever there is on the disk; empty: it may be one.
std::string ProblemOfText(const std::string& line) {
  // Of 20 masks with paths of 1600 bytes. Longer ones would take their time, cut at every blank.
  constexpr size_t kLongest = 32768;
  if (line.size() > kLongest) {
    return "a line of " + std::to_string(line.size()) + " bytes, which is none of paths";
  }
  const bool control = std::any_of(line.begin(), line.end(), [](char c) {
    return static_cast<unsigned char>(c) < 32 && c != '\t';
  });
  return control ? "control characters in '" + Printable(line) + "', which no path has" : "";
}

// Lines that cannot be read go to `problems`; where that is null, the first is thrown.
std::vector<ListEntry> ReadLines(const std::string& path, const PathResolver& resolve,
                                 bool label_optional, std::vector<std::string>* problems) {
  std::string text = ReadFile(path);
  LSEG_CHECK(text.find('\0') == std::string::npos,
             path << ": is no text file of a line an image (or one in UTF-16: save it as UTF-8)");
  DropByteOrderMark(&text);
  std::istringstream lines(text);
  std::vector<ListEntry> entries;
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    line = Trim(line);
    if (line.empty() || line[0] == '#') continue;
    std::string problem = ProblemOfText(line);
    if (problem.empty()) {
      const std::vector<ListEntry> ways = WaysToRead(line, resolve, label_optional);
      if (ways.size() == 1) {
        entries.push_back(ways.front());
        continue;
      }
      problem = std::string(ways.empty() ? "no way" : "more than one way") + " to read '" +
                Printable(line) +
                "' as an image's path and its label's path, or those of its masks; tabs between "
                "the paths make it clear";
    }
    problem = path + ":" + std::to_string(number) + ": " + problem;
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

void CheckSameSize(const std::string& path, const Image& mask, const Image& first,
                   const std::string& first_class) {
  LSEG_CHECK(mask.width == first.width && mask.height == first.height,
             path << ": is " << mask.width << "x" << mask.height << ", the mask of " << first_class
                  << " is " << first.width << "x" << first.height);
}

std::vector<Image> ReadListedMasks(const ListEntry& entry, const std::vector<std::string>& classes,
                                   int64_t max_pixels) {
  LSEG_CHECK(entry.masks.size() == classes.size(),
             entry.image << ": its line has " << entry.masks.size() << " masks, the classes are "
                         << classes.size() << ": give one for each, or - where there is none");
  std::vector<Image> masks;
  size_t first = classes.size();
  for (size_t c = 0; c < classes.size(); ++c) {
    const std::string& path = entry.masks[c];
    masks.push_back(path.empty() ? Image() : ReadMask(path, max_pixels));
    if (path.empty()) continue;
    first = std::min(first, c);
    CheckSameSize(path, masks[c], masks[first], classes[first]);
  }
  LSEG_CHECK(first < classes.size(),
             entry.image << ": its line has - in the place of every mask: name one at the least");
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

std::vector<Image> MasksOfClassMap(const std::string& path, size_t classes, int64_t max_pixels) {
  Image map = ReadClassMap(path, max_pixels);
  // A mask, whose line in a list is the same as a class map's where there is one class.
  if (classes == 1 && std::count(map.pixels.begin(), map.pixels.end(), 1) == 0) {
    std::replace(map.pixels.begin(), map.pixels.end(), uint8_t{255}, uint8_t{1});
  }
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

std::vector<Image> ReadTruth(const ListEntry& entry, const std::vector<std::string>& classes,
                             int64_t max_pixels) {
  if (!entry.masks.empty()) return ReadListedMasks(entry, classes, max_pixels);
  std::string present, missing;
  for (const std::string& name : classes) {
    const std::string path = MaskPath(entry.label, name);
    (fs::exists(path) ? present : missing) = path;
  }
  if (present.empty()) return MasksOfClassMap(entry.label, classes.size(), max_pixels);
  LSEG_CHECK(missing.empty(), missing << ": is missing, while " << present
                                      << " is there: give a mask for every class, or none");
  std::vector<Image> masks;
  for (const std::string& name : classes) {
    const std::string path = MaskPath(entry.label, name);
    masks.push_back(ReadMask(path, max_pixels));
    CheckSameSize(path, masks.back(), masks[0], classes[0]);
  }
  return masks;
}

const Image& AnyMask(const std::vector<Image>& masks) {
  const auto found = std::find_if(masks.begin(), masks.end(),
                                  [](const Image& mask) { return !mask.pixels.empty(); });
  LSEG_CHECK(found != masks.end(), "a truth without a mask");
  return *found;
}

std::vector<bool> Annotated(const std::vector<Image>& masks) {
  std::vector<bool> annotated;
  for (const Image& mask : masks) annotated.push_back(!mask.pixels.empty());
  return annotated;
}

std::string TruthPath(const ListEntry& entry) {
  if (entry.masks.empty()) return entry.label;
  const auto named = [](const std::string& path) { return !path.empty(); };
  const auto mask = std::find_if(entry.masks.begin(), entry.masks.end(), named);
  return mask == entry.masks.end() ? "" : *mask;
}

void CheckTruthFits(const ListEntry& entry, const std::vector<Image>& masks, const Image& photo) {
  const Image& any = AnyMask(masks);
  LSEG_CHECK(any.width == photo.width && any.height == photo.height,
             entry.image << " is " << photo.width << "x" << photo.height << ", its truth "
                         << TruthPath(entry) << " " << any.width << "x" << any.height);
}

std::vector<uint8_t> TruthPlanes(const ListEntry& entry, const std::vector<Image>& masks,
                                 const Image& photo) {
  CheckTruthFits(entry, masks, photo);
  const Image& any = AnyMask(masks);
  std::vector<uint8_t> planes;
  planes.reserve(masks.size() * any.pixels.size());
  for (const Image& mask : masks) {
    planes.insert(planes.end(), mask.pixels.begin(), mask.pixels.end());
    if (mask.pixels.empty()) planes.resize(planes.size() + any.pixels.size(), 0);
  }
  return planes;
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
