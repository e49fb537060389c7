#include "lseg/own_folders.h"

#include <algorithm>
#include <cctype>
#include <regex>

#include "kernels/runtime/check.h"
#include "lseg/set_files.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

using Images = std::map<std::string, SetImage>;  // by stem

// The pattern as a regular expression, and which of its groups is which.
struct Pattern {
  std::regex regex;
  int stem = 0, lesion = 0;
};

Pattern Compile(const std::string& pattern) {
  std::string text;
  Pattern compiled;
  int groups = 0;
  for (size_t at = 0; at < pattern.size();) {
    if (pattern.compare(at, 6, "{stem}") == 0) {
      // Where {stem} stands twice, as in a folder's and a file's name, it is the same.
      text += compiled.stem ? "\\" + std::to_string(compiled.stem) : "([^/]+)";
      if (!compiled.stem) compiled.stem = ++groups;
      at += 6;
    } else if (pattern.compare(at, 8, "{lesion}") == 0) {
      text +=
          compiled.lesion ? "\\" + std::to_string(compiled.lesion) : "(EX|HE|MA|SE|ex|he|ma|se)";
      if (!compiled.lesion) compiled.lesion = ++groups;
      at += 8;
    } else {
      const char c = pattern[at++];
      if (c == '*') {
        text += "[^/]*";
      } else {
        text += std::isalnum(static_cast<unsigned char>(c)) || c == '/' || (c & 0x80) != 0
                    ? std::string(1, c)
                    : std::string("\\") + c;
      }
    }
  }
  LSEG_CHECK(compiled.stem && compiled.lesion,
             "the pattern '" << pattern << "' must hold {stem} and {lesion}, as in "
                             << OwnFolders().mask_pattern);
  compiled.regex = std::regex(text);
  return compiled;
}

size_t LesionOf(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return static_cast<size_t>(std::find(kLesionNames.begin(), kLesionNames.end(), name) -
                             kLesionNames.begin());
}

// Image files below a folder, relative to it, in order.
std::set<std::string> ImageFilesBelow(const std::string& folder) {
  LSEG_CHECK(fs::is_directory(folder), folder << ": no such folder");
  std::set<std::string> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    const bool hidden = entry.path().filename().string()[0] == '.';
    if (hidden || !entry.is_regular_file()) continue;
    if (kPhotoFiles.count(LowerExtension(entry.path())) == 0) continue;
    files.insert(entry.path().lexically_relative(folder).generic_string());
  }
  return files;
}

// Masks that lie among the photographs are taken from `images`.
void AddMasks(const OwnFolders& folders, Images* images, OwnLeftAside* left_aside) {
  const std::set<std::string> files = ImageFilesBelow(folders.masks);
  const Pattern pattern = Compile(folders.mask_pattern);
  std::map<fs::path, std::string> photographs;  // path -> stem
  for (const auto& [stem, image] : *images) photographs[fs::canonical(image.photo)] = stem;
  for (const std::string& file : files) {
    const auto photograph = photographs.find(fs::canonical(fs::path(folders.masks) / file));
    const bool among = photograph != photographs.end();
    if (std::regex_match(file, pattern.regex)) {
      left_aside->masks += among ? 1 : 0;
      if (among) images->erase(photograph->second);
    } else if (!among) {
      left_aside->unmatched.push_back(file);
    }
  }
  std::array<bool, kLesionNames.size()> annotated = {};
  for (const std::string& file : files) {
    std::smatch match;
    if (!std::regex_match(file, match, pattern.regex)) continue;
    const std::string path = (fs::path(folders.masks) / file).string();
    const auto image = images->find(match[pattern.stem]);
    LSEG_CHECK(image != images->end(), path << ": is the mask of no photograph in '"
                                            << folders.images << "'; there is none called "
                                            << match[pattern.stem]);
    const size_t lesion = LesionOf(match[pattern.lesion]);
    std::string& mask = image->second.masks[lesion];
    LSEG_CHECK(mask.empty(),
               path << ": is another mask of " << kLesionNames[lesion] << " beside " << mask);
    mask = path;
    annotated[lesion] = true;
  }
  LSEG_CHECK(std::count(annotated.begin(), annotated.end(), true) > 0,
             folders.masks << ": no image file in it matches the pattern '" << folders.mask_pattern
                           << "'" << (files.empty() ? "" : ", as " + *files.begin() + " does not"));
  for (auto& [stem, image] : *images) image.annotated = annotated;
}

void AddLabels(const OwnFolders& folders, Images* images) {
  LSEG_CHECK(fs::is_directory(folders.labels), folders.labels << ": no such folder");
  for (const auto& [stem, path] : FilesByStem(folders.labels, kTruthFiles)) {
    const auto image = images->find(stem);
    LSEG_CHECK(image != images->end(), path.string() << ": is the class map of no photograph in '"
                                                     << folders.images << "'");
    image->second.label = path.string();
  }
  for (const auto& [stem, image] : *images) {
    LSEG_CHECK(!image.label.empty(), image.photo << ": has no class map " << stem << ".png or .tif "
                                                 << "in '" << folders.labels << "'");
  }
}

}  // namespace

std::vector<SetImage> FindOwn(const OwnFolders& folders, OwnLeftAside* left_aside) {
  LSEG_CHECK(fs::is_directory(folders.images), folders.images << ": no such folder");
  Images by_stem;
  for (const auto& [stem, path] : FilesByStem(folders.images, kPhotoFiles)) {
    by_stem[stem] = {stem, path.string()};
  }
  LSEG_CHECK(!by_stem.empty(), folders.images << ": there is no photograph in this folder");
  if (folders.labels.empty()) {
    AddMasks(folders, &by_stem, left_aside);
  } else {
    AddLabels(folders, &by_stem);
  }
  std::vector<SetImage> images;
  for (const auto& [stem, image] : by_stem) images.push_back(image);
  return images;
}

}  // namespace lseg
