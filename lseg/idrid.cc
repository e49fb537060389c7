#include "lseg/idrid.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "kernels/runtime/check.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

constexpr char kPhotos[] = "1. Original Images";
constexpr char kMasks[] = "2. All Segmentation Groundtruths";
constexpr char kParts[2][20] = {"a. Training Set", "b. Testing Set"};
// In the order of the classes: EX HE MA SE.
constexpr char kLesionFolders[4][20] = {"3. Hard Exudates", "2. Haemorrhages", "1. Microaneurysms",
                                        "4. Soft Exudates"};
constexpr char kLesionNames[4][3] = {"EX", "HE", "MA", "SE"};

bool IsPhoto(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return extension == ".jpg" || extension == ".jpeg";
}

void AddPart(const fs::path& root, int part, std::vector<IdridImage>* images) {
  const fs::path photos = root / kPhotos / kParts[part], masks = root / kMasks / kParts[part];
  LSEG_CHECK(fs::is_directory(masks), masks.string() << ": the folder of the masks is missing");
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(photos)) {
    if (entry.is_regular_file() && IsPhoto(entry.path())) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    IdridImage image;
    image.stem = file.stem().string();
    image.photo = file.string();
    image.testing = part == 1;
    for (int lesion = 0; lesion < 4; ++lesion) {
      const fs::path mask =
          masks / kLesionFolders[lesion] / (image.stem + "_" + kLesionNames[lesion] + ".tif");
      if (fs::exists(mask)) image.masks[lesion] = mask.string();
    }
    images->push_back(std::move(image));
  }
}

}  // namespace

std::vector<IdridImage> FindIdrid(const std::string& root) {
  fs::path base = root;
  LSEG_CHECK(fs::is_directory(base), root << ": no such folder");
  if (fs::is_directory(base / "A. Segmentation")) base /= "A. Segmentation";
  std::vector<IdridImage> images;
  LSEG_CHECK(fs::is_directory(base / kPhotos / kParts[0]),
             (base / kPhotos / kParts[0]).string()
                 << ": no such folder; --root is the folder that holds IDRiD's 'A. Segmentation'");
  AddPart(base, 0, &images);
  if (fs::is_directory(base / kPhotos / kParts[1])) AddPart(base, 1, &images);
  LSEG_CHECK(!images.empty(), base.string() << ": there is no photograph (.jpg) in the set");
  return images;
}

}  // namespace lseg
