#include "lseg/idrid.h"

#include "kernels/runtime/check.h"
#include "lseg/set_files.h"

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

void AddPart(const fs::path& top, int part, std::vector<SetImage>* images) {
  const fs::path masks = top / kMasks / kParts[part];
  std::map<std::string, SetImage> by_stem;
  for (const auto& [stem, path] : FilesByStem(top / kPhotos / kParts[part], kPhotoFiles)) {
    by_stem[stem] = {stem, path.string(), {}, part == 1 ? Part::kTest : Part::kTrain};
  }
  for (size_t lesion = 0; lesion < kLesionNames.size(); ++lesion) {
    const std::string ending = std::string("_") + kLesionNames[lesion];
    for (const auto& [name, path] : FilesByStem(masks / kLesionFolders[lesion], kTruthFiles)) {
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

bool IsIdrid(const std::string& root) {
  return fs::is_directory(fs::path(root) / kTop) || fs::is_directory(fs::path(root) / kPhotos);
}

std::vector<SetImage> FindIdrid(const std::string& root) {
  LSEG_CHECK(fs::is_directory(root), root << ": no such folder");
  const fs::path inside = fs::path(root) / kTop;
  const fs::path top = fs::is_directory(inside) ? inside : fs::path(root);
  LSEG_CHECK(fs::is_directory(top / kPhotos),
             root << ": holds no '" << kTop << "' with '" << kPhotos
                  << "'; IDRiD's segmentation part is looked for there");
  std::vector<SetImage> images;
  for (int part : {0, 1}) {
    if (fs::is_directory(top / kPhotos / kParts[part])) AddPart(top, part, &images);
  }
  LSEG_CHECK(!images.empty(), (top / kPhotos).string()
                                  << ": there is no photograph in '" << kParts[0] << "' or '"
                                  << kParts[1] << "'");
  CheckStems(top.string(), images);
  return images;
}

}  // namespace lseg
