#include "lseg/report_folder.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace lseg {
namespace {

namespace fs = std::filesystem;

void MakeFolder(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  LSEG_CHECK(!error, "cannot create folder '" << folder << "': " << error.message());
}

// A file of an earlier run, if there is one.
void RemoveFile(const std::string& path) {
  std::error_code error;
  fs::remove(path, error);
  LSEG_CHECK(!error, path << ": cannot be removed: " << error.message());
}

// One for each file, however it is named, where it is there.
std::string Canonical(const std::string& path) {
  std::error_code error;
  const fs::path canonical = fs::weakly_canonical(path, error);
  return error ? path : canonical.string();
}

}  // namespace

TruthList::TruthList(const std::string& list) {
  if (list.empty()) return;
  entries_ = ReadList(list);
  std::vector<std::string> images;
  for (const ListEntry& entry : entries_) images.push_back(entry.image);
  for (size_t i = 0; i < images.size(); ++i) {
    LSEG_CHECK(by_path_.emplace(Canonical(images[i]), i).second,
               list << ": lists " << images[i] << " twice");
  }
  names_ = PhotoNames(images);
  for (size_t i = 0; i < names_.size(); ++i) by_name_.emplace(names_[i], i);
}

const ListEntry* TruthList::Take(const PhotoFile& file) {
  auto found = by_path_.find(Canonical(file.path));
  if (found == by_path_.end()) {
    found = by_name_.find(file.name);
    if (found == by_name_.end()) return nullptr;
  }
  used_.insert(found->second);
  return &entries_[found->second];
}

std::vector<std::string> TruthList::Unused() const {
  std::vector<std::string> unused;
  for (const auto& [name, i] : by_name_) {
    if (used_.count(i) == 0) unused.push_back(name);
  }
  return unused;
}

ReportFolder::ReportFolder(ReportOptions options)
    : options_(std::move(options)),
      landmarks_(ReadLandmarks(options_.landmark_files)),
      truth_(options_.truth_list) {
  for (const auto& [name, landmarks] : landmarks_) unused_landmarks_.insert(name);
  for (const char* folder : {"/json", "/images", "/page"}) MakeFolder(options_.folder + folder);
  images_ = std::make_unique<NewFile>(options_.folder + "/report.csv");
  images_->Append(ImageCsvHeader());
  components_ = std::make_unique<NewFile>(options_.folder + "/components.csv");
  components_->Append(ComponentCsvHeader());
}

void ReportFolder::Begin() {
  if (std::exchange(begun_, true)) return;
  for (const char* file : {"/index.html", "/page/list.js", "/report.csv", "/components.csv"}) {
    RemoveFile(options_.folder + file);
  }
}

void ReportFolder::Measure(const PhotoFile& file, int width, int height, const Image& photo,
                           const Probabilities& probabilities, const Image& class_map) {
  Begin();
  PhotoLesions lesions;
  lesions.name = file.name, lesions.file = file.path;
  lesions.width = width, lesions.height = height;
  lesions.classes = options_.classes, lesions.thresholds = options_.thresholds;
  lesions.view = ScaleFieldOfView(FindFieldOfView(photo), static_cast<double>(width) / photo.width,
                                  static_cast<double>(height) / photo.height);
  lesions.landmarks = LandmarksOf(landmarks_, file.path);
  if (class_map.width == width && class_map.height == height) {
    lesions.components = FindComponents(class_map, probabilities);
  } else {
    lesions.components = FindComponents(
        ResizedClassMap(probabilities, width, height, options_.thresholds), probabilities);
  }
  std::vector<Image> truth;
  if (const ListEntry* entry = truth_.Take(file)) {
    truth = ReadTruth(*entry, options_.classes, options_.max_pixels);
  }
  WritePageImage(options_.folder, keys_.Of(file.name), lesions, photo, probabilities, class_map,
                 truth);
  WriteFile(JsonPath(file), LesionsJson(lesions));
  measured_ = std::move(lesions);
}

void ReportFolder::Done(const PhotoFile& file, const std::string& error) {
  Begin();
  for (const fs::path& name : {fs::path(file.path).filename(), fs::path(file.path).stem()}) {
    unused_landmarks_.erase(name.string());
  }
  PhotoLesions lesions = std::exchange(measured_, PhotoLesions());
  if (!error.empty()) {
    lesions = PhotoLesions();
    lesions.name = file.name, lesions.file = file.path, lesions.error = error;
    try {
      WriteFile(JsonPath(file), LesionsJson(lesions));
    } catch (const Error& unwritten) {  // as where a name is too long for any of its files
      lesions.error += std::string("; ") + unwritten.what();
    }
  }
  LSEG_CHECK(lesions.name == file.name, "'" << file.name << "' is done, but was not measured");
  images_->Append(ImageCsvRows(lesions));
  components_->Append(ComponentCsvRows(lesions));
  list_.push_back(PageListItem(keys_.Of(file.name), lesions));
}

std::string ReportFolder::JsonPath(const PhotoFile& file) const {
  return options_.folder + "/json/" + file.name + ".json";
}

void ReportFolder::Finish() {
  images_->Commit();
  components_->Commit();
  WritePage(options_.folder, options_.classes, list_);
}

int64_t ReportFolder::Memory(int width, int height) const {
  const int64_t own = int64_t{width} * height;
  // The page's photograph as RGB, JPEG and of the thumbnail; maps as floats and text; components.
  constexpr int64_t kPage = 64 << 20;
  const int64_t masks = truth_.empty() ? 0 : static_cast<int64_t>(options_.classes.size()) + 4;
  return kPage + (1 + masks) * own;  // a class map of its own, and the truth as it is read
}

}  // namespace lseg
