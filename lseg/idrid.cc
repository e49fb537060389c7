#include "lseg/idrid.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <set>

#include "kernels/runtime/check.h"
#include "lseg/dataset.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

constexpr char kTop[] = "A. Segmentation";
constexpr char kPhotos[] = "1. Original Images";
constexpr char kMasks[] = "2. All Segmentation Groundtruths";
constexpr std::array<const char*, 2> kParts = {"a. Training Set", "b. Testing Set"};
// In the order of kLesionNames.
constexpr std::array<const char*, 4> kLesionFolders = {"3. Hard Exudates", "2. Haemorrhages",
                                                       "1. Microaneurysms", "4. Soft Exudates"};

// Paths of the folder's files with one of the extensions (lower case), by stem. Hidden files, as
// some systems leave beside every file, do not count.
std::map<std::string, fs::path> FilesByStem(const fs::path& folder,
                                            const std::set<std::string>& extensions) {
  LSEG_CHECK(fs::is_directory(folder), folder.string() << ": this folder of the set is missing");
  std::map<std::string, fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const fs::path& path = entry.path();
    std::string extension = path.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const std::string stem = path.stem().string();
    if (stem[0] == '.' || extensions.count(extension) == 0 || !entry.is_regular_file()) continue;
    const bool added = files.emplace(stem, path).second;
    LSEG_CHECK(added, path.string() << ": there is another file of this stem, "
                                    << files[stem].filename().string());
  }
  return files;
}

void AddPart(const fs::path& top, int part, std::vector<IdridImage>* images) {
  const fs::path masks = top / kMasks / kParts[part];
  std::map<std::string, IdridImage> by_stem;
  for (const auto& [stem, path] :
       FilesByStem(top / kPhotos / kParts[part], {".jpg", ".jpeg", ".png", ".tif", ".tiff"})) {
    by_stem[stem] = {stem, path.string(), {}, part == 1};
  }
  for (size_t lesion = 0; lesion < kLesionNames.size(); ++lesion) {
    const std::string ending = std::string("_") + kLesionNames[lesion];
    for (const auto& [name, path] :
         FilesByStem(masks / kLesionFolders[lesion], {".tif", ".tiff", ".png"})) {
      const bool named = name.size() > ending.size() && name.ends_with(ending);
      const auto image =
          named ? by_stem.find(name.substr(0, name.size() - ending.size())) : by_stem.end();
      LSEG_CHECK(image != by_stem.end(), path.string() << ": is the mask of no photograph in '"
                                                       << kPhotos << "/" << kParts[part] << "'");
      image->second.masks[lesion] = path.string();
    }
  }
  for (const auto& [stem, image] : by_stem) images->push_back(image);
}

}  // namespace

std::vector<IdridImage> FindIdrid(const std::string& root) {
  LSEG_CHECK(fs::is_directory(root), root << ": no such folder");
  const fs::path inside = fs::path(root) / kTop;
  const fs::path top = fs::is_directory(inside) ? inside : fs::path(root);
  LSEG_CHECK(fs::is_directory(top / kPhotos),
             root << ": holds no '" << kTop << "' with '" << kPhotos
                  << "'; IDRiD's segmentation part is looked for there");
  std::vector<IdridImage> images;
  for (int part : {0, 1}) {
    if (fs::is_directory(top / kPhotos / kParts[part])) AddPart(top, part, &images);
  }
  LSEG_CHECK(!images.empty(), (top / kPhotos).string()
                                  << ": there is no photograph in '" << kParts[0] << "' or '"
                                  << kParts[1] << "'");
  std::map<std::string, const IdridImage*> seen;
  for (const IdridImage& image : images) {
    const auto [other, added] = seen.emplace(image.stem, &image);
    LSEG_CHECK(added, image.photo << ": has the name of " << other->second->photo);
  }
  return images;
}

}  // namespace lseg
