#include "lseg/set_files.h"

#include <algorithm>
#include <cctype>

#include "kernels/runtime/check.h"

namespace lseg {

namespace fs = std::filesystem;

std::string LowerExtension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

std::map<std::string, fs::path> FilesByStem(const fs::path& folder,
                                            const std::set<std::string>& extensions) {
  LSEG_CHECK(fs::is_directory(folder), folder.string() << ": this folder of the set is missing");
  std::map<std::string, fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const fs::path& path = entry.path();
    const std::string stem = path.stem().string();
    if (stem[0] == '.' || extensions.count(LowerExtension(path)) == 0 || !entry.is_regular_file()) {
      continue;
    }
    const bool added = files.emplace(stem, path).second;
    LSEG_CHECK(added, path.string() << ": there is another file of this stem, "
                                    << files[stem].filename().string());
  }
  return files;
}

std::set<fs::path> FoldersOf(const fs::path& folder) {
  LSEG_CHECK(fs::is_directory(folder), folder.string() << ": this folder of the set is missing");
  std::set<fs::path> folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && entry.path().filename().string()[0] != '.') {
      folders.insert(entry.path());
    }
  }
  return folders;
}

void CheckStems(const std::string& root, const std::vector<SetImage>& images) {
  LSEG_CHECK(!images.empty(), root << ": there is no photograph in the set's folders");
  std::map<std::string, const SetImage*> seen;
  for (const SetImage& image : images) {
    const auto [other, added] = seen.emplace(image.stem, &image);
    LSEG_CHECK(added, image.photo << ": has the name of " << other->second->photo);
  }
}

}  // namespace lseg
