#include "lseg/photo_list.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <set>

#include "kernels/runtime/check.h"
#include "lseg/dataset.h"
#include "lseg/image_decode.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

PhotoList ListFolder(const std::string& folder) {
  PhotoList list;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    std::error_code ignored;
    if (entry.is_directory(ignored)) continue;
    // Links that lead nowhere and pipes, too: the reader says what is wrong with them.
    if (HasPhotoExtension(entry.path().string())) {
      list.photos.push_back({entry.path().string(), ""});
    } else {
      const std::string name = entry.path().filename().string(), unread = UnreadByName(name);
      list.skipped.push_back(name + ": " + (unread.empty() ? "no photograph by its name" : unread));
    }
  }
  std::sort(list.photos.begin(), list.photos.end(),
            [](const PhotoFile& a, const PhotoFile& b) { return a.path < b.path; });
  std::sort(list.skipped.begin(), list.skipped.end());
  return list;
}

PhotoList ListOfFile(const std::string& path) {
  PhotoList list;
  std::set<std::string> seen;
  for (const std::string& image : ReadImageList(path)) {
    if (!seen.insert(fs::path(image).lexically_normal().string()).second) continue;
    list.photos.push_back({image, ""});
  }
  return list;
}

// The name of a photograph, longer with the level.
std::string NameAt(const std::string& path, int level) {
  const fs::path file(path);
  if (level == 0) return file.stem().string();
  if (level == 1) return file.filename().string();
  std::string name = file.lexically_normal().string();
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

}  // namespace

std::vector<std::string> PhotoNames(const std::vector<std::string>& paths) {
  constexpr int kLongest = 2;
  std::vector<std::string> names(paths.size());
  std::vector<int> levels(paths.size(), 0);
  for (bool changed = true; changed;) {
    changed = false;
    std::map<std::string, std::vector<size_t>> by_name;
    for (size_t i = 0; i < paths.size(); ++i) {
      names[i] = NameAt(paths[i], levels[i]);
      by_name[names[i]].push_back(i);
    }
    for (const auto& [name, same] : by_name) {
      if (same.size() == 1) continue;
      for (size_t i : same) {
        if (levels[i] == kLongest) continue;
        ++levels[i];
        changed = true;
      }
      LSEG_CHECK(changed, "'" << paths[same[0]] << "' and '" << paths[same[1]]
                              << "' would both be written as '" << name << "': rename one");
    }
  }
  return names;
}

bool HasPhotoExtension(const std::string& path) {
  const std::string extension = Lower(fs::path(path).extension().string());
  const std::set<std::string> known = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"};
  return known.count(extension) > 0;
}

PhotoList ListPhotos(const std::string& input) {
  std::error_code error;
  const fs::file_status status = fs::status(input, error);
  LSEG_CHECK(status.type() != fs::file_type::not_found, "input '" << input << "' does not exist");
  LSEG_CHECK(fs::exists(status), "input '" << input << "' cannot be read: " << error.message());
  PhotoList list;
  if (fs::is_directory(status)) {
    list = ListFolder(input);
  } else if (Lower(fs::path(input).extension().string()) == ".txt") {
    list = ListOfFile(input);
  } else {
    list.photos.push_back({input, ""});
  }
  LSEG_CHECK(!list.photos.empty(),
             "no photograph in '" << input << "' (.jpg .jpeg .png .tif .tiff .bmp)"
                                  << (list.skipped.empty() ? "" : "; " + list.skipped.front()));
  std::vector<std::string> paths;
  for (const PhotoFile& photo : list.photos) paths.push_back(photo.path);
  const std::vector<std::string> names = PhotoNames(paths);
  for (size_t i = 0; i < names.size(); ++i) list.photos[i].name = names[i];
  return list;
}

}  // namespace lseg
