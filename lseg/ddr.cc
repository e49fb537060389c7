#include "lseg/ddr.h"

#include "kernels/runtime/check.h"
#include "lseg/set_files.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 3> kParts = {"train", "valid", "test"};
constexpr std::array<Part, 3> kPartOf = {Part::kTrain, Part::kVal, Part::kTest};
// The published archive has the second in valid, the first elsewhere.
constexpr std::array<const char*, 2> kMasks = {"label", "segmentation label"};

// Empty: there is none.
fs::path Top(const std::string& root) {
  for (const fs::path& top :
       {fs::path(root) / "lesion_segmentation",
        fs::path(root) / "DDR-dataset" / "lesion_segmentation", fs::path(root)}) {
    for (const char* part : kParts) {
      if (fs::is_directory(top / part / "image")) return top;
    }
  }
  return {};
}

fs::path MasksOf(const fs::path& part) {
  fs::path found;
  for (const char* name : kMasks) {
    if (!fs::is_directory(part / name)) continue;
    LSEG_CHECK(found.empty(), (part / name).string()
                                  << ": stands beside '" << kMasks[0] << "': leave one of the two");
    found = part / name;
  }
  if (!found.empty()) return found;
  std::string others;
  for (const fs::path& folder : FoldersOf(part)) {
    if (folder.filename() != "image") others += " '" + folder.filename().string() + "'";
  }
  LSEG_FAIL(part.string() << ": holds no folder of masks called '" << kMasks[0] << "' or '"
                          << kMasks[1] << "', as published"
                          << (others.empty() ? "" : "; there is" + others));
}

void AddPart(const fs::path& folder, Part part, std::vector<SetImage>* images) {
  std::map<std::string, SetImage> by_stem;
  for (const auto& [stem, path] : FilesByStem(folder / "image", kPhotoFiles)) {
    by_stem[stem] = {stem, path.string(), {}, part};
  }
  const fs::path masks = MasksOf(folder);
  for (size_t lesion = 0; lesion < kLesionNames.size(); ++lesion) {
    for (const auto& [stem, path] : FilesByStem(masks / kLesionNames[lesion], kTruthFiles)) {
      const auto image = by_stem.find(stem);
      LSEG_CHECK(image != by_stem.end(), path.string() << ": is the mask of no photograph in '"
                                                       << (folder / "image").string() << "'");
      image->second.masks[lesion] = path.string();
    }
  }
  for (const auto& [stem, image] : by_stem) images->push_back(image);
}

}  // namespace

bool IsDdr(const std::string& root) { return !Top(root).empty(); }

std::vector<SetImage> FindDdr(const std::string& root) {
  LSEG_CHECK(fs::is_directory(root), root << ": no such folder");
  const fs::path top = Top(root);
  LSEG_CHECK(!top.empty(), root << ": holds no 'lesion_segmentation' with train/image, valid/image "
                                   "or test/image; DDR's segmentation part is looked for there");
  std::vector<SetImage> images;
  for (size_t part = 0; part < kParts.size(); ++part) {
    if (fs::is_directory(top / kParts[part])) AddPart(top / kParts[part], kPartOf[part], &images);
  }
  CheckStems(top.string(), images);
  return images;
}

}  // namespace lseg
