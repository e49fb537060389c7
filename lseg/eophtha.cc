#include "lseg/eophtha.h"

#include <optional>

#include "kernels/runtime/check.h"
#include "lseg/set_files.h"
#include "lseg/sha256.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

// By lesion: those that there is a collection of.
constexpr std::array<size_t, 2> kCollections = {0, 2};  // EX, MA

// Nothing where root has no collection of the lesion. The archives hold a folder of the archive's
// name ("e_ophtha_EX"), with or without one more around it.
std::optional<fs::path> CollectionOf(const std::string& root, const std::string& lesion) {
  const fs::path inner = "e_optha_" + lesion, outer = "e_ophtha_" + lesion;
  for (const fs::path& below : {inner, outer, outer / inner, inner / inner, fs::path()}) {
    const fs::path collection = fs::path(root) / below;
    if (fs::is_directory(collection / ("Annotation_" + lesion))) return collection;
  }
  return std::nullopt;
}

Part PartOf(const std::string& patient) {
  const bool test = std::stoul(Sha256(patient).substr(0, 8), nullptr, 16) % 5 == 0;
  return test ? Part::kTest : Part::kTrain;
}

using Images = std::map<std::string, SetImage>;  // by stem

// Photographs of all patients of a folder of the collection: those that are not in `images` yet are
// added. Returns the stems.
std::set<std::string> AddPhotos(const fs::path& folder, Images* images) {
  std::set<std::string> stems;
  for (const fs::path& patient : FoldersOf(folder)) {
    const std::string name = patient.filename().string();
    for (const auto& [file, path] : FilesByStem(patient, kPhotoFiles)) {
      const std::string stem = name + "_" + file;
      SetImage image{stem, path.string(), {}, PartOf(name)};
      image.annotated = {false, false, false, false};
      image.patient = name;
      images->emplace(stem, image);
      stems.insert(stem);
    }
  }
  return stems;
}

// Masks are called as their photograph, with "_EX" as a rule, and with "_MA" or as it is elsewhere.
std::map<std::string, fs::path> MasksOf(const fs::path& folder, const std::string& lesion) {
  std::map<std::string, fs::path> masks;
  for (const fs::path& patient : FoldersOf(folder)) {
    for (const auto& [file, path] : FilesByStem(patient, {".png"})) {
      std::string photo = file;
      for (const std::string& ending : {"_" + lesion, std::string("_EX")}) {
        if (!photo.ends_with(ending)) continue;
        photo.resize(photo.size() - ending.size());
        break;
      }
      const auto [other, added] = masks.emplace(patient.filename().string() + "_" + photo, path);
      LSEG_CHECK(added, path.string() << ": is the mask of the same photograph as "
                                      << other->second.filename().string());
    }
  }
  return masks;
}

void AddCollection(const fs::path& collection, size_t lesion, Images* images) {
  const std::string name = kLesionNames[lesion];
  const std::set<std::string> ill = AddPhotos(collection / name, images);
  const std::map<std::string, fs::path> masks = MasksOf(collection / ("Annotation_" + name), name);
  for (const auto& [stem, path] : masks) {
    LSEG_CHECK(ill.count(stem) > 0, path.string() << ": is the mask of no photograph in '"
                                                  << (collection / name).string() << "'");
    images->at(stem).masks[lesion] = path.string();
  }
  for (const std::string& stem : ill) {
    SetImage& image = images->at(stem);
    LSEG_CHECK(masks.count(stem) > 0, image.photo << ": has no mask in 'Annotation_" << name
                                                  << "'; eyes without one stand in 'healthy'");
    image.annotated[lesion] = true;
  }
  const fs::path healthy = collection / "healthy";
  if (!fs::is_directory(healthy)) return;
  for (const std::string& stem : AddPhotos(healthy, images)) {
    SetImage& image = images->at(stem);
    LSEG_CHECK(!image.annotated[lesion], image.photo << ": stands in '" << name
                                                     << "' and in 'healthy' of "
                                                     << collection.string());
    image.annotated[lesion] = true;
  }
}

}  // namespace

bool IsEophtha(const std::string& root) {
  return CollectionOf(root, "EX").has_value() || CollectionOf(root, "MA").has_value();
}

std::vector<SetImage> FindEophtha(const std::string& root) {
  LSEG_CHECK(fs::is_directory(root), root << ": no such folder");
  LSEG_CHECK(IsEophtha(root), root << ": holds neither 'e_optha_EX' with 'Annotation_EX' nor "
                                      "'e_optha_MA' with 'Annotation_MA'; e-ophtha is looked for "
                                      "there");
  Images by_stem;
  for (const size_t lesion : kCollections) {
    if (const auto collection = CollectionOf(root, kLesionNames[lesion])) {
      AddCollection(*collection, lesion, &by_stem);
    }
  }
  std::vector<SetImage> images;
  for (const auto& [stem, image] : by_stem) images.push_back(image);
  CheckStems(root, images);
  return images;
}

}  // namespace lseg
