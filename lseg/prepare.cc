#include "lseg/prepare.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "framework/file.h"
#include "lseg/dataset.h"
#include "lseg/sha256.h"
#include "lseg/staged_folder.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kManifest[] = "manifest.json";
constexpr char kTrain[] = "train.txt", kVal[] = "val.txt", kTest[] = "test.txt";

json Describe(const std::string& path) {
  const std::string bytes = ReadFile(path);
  return {{"bytes", bytes.size()}, {"sha256", Sha256(bytes)}};
}

// One image at the working size, and what it was made from.
struct Scaled {
  Image photo;
  std::vector<Image> masks;  // EX HE MA SE
  json source;
};

Scaled ReadAndScale(const IdridImage& image, const PrepareOptions& options) {
  Scaled scaled;
  const auto note = [&](const std::string& path) {
    scaled.source["files"][fs::path(path).filename().string()] = Describe(path);
  };
  const Image photo = ReadPhoto(image.photo);
  note(image.photo);
  scaled.source["width"] = photo.width;
  scaled.source["height"] = photo.height;
  for (const std::string& path : image.masks) {
    if (path.empty()) {
      scaled.masks.emplace_back(options.width, options.height, 1);
      continue;
    }
    const Image mask = ReadMask(path);
    LSEG_CHECK(mask.width == photo.width && mask.height == photo.height,
               path << ": is " << mask.width << "x" << mask.height << ", its photograph "
                    << photo.width << "x" << photo.height);
    note(path);
    scaled.masks.push_back(ResizeMask(mask, options.width, options.height));
  }
  scaled.photo = Resize(photo, options.width, options.height);
  return scaled;
}

// What one image came to.
struct Outcome {
  std::string error;  // empty: it is done
  std::array<int64_t, 4> lesion_pixels = {};
  json manifest;
};

Outcome Write(const std::string& stem, const Scaled& scaled, const StagedFolder& staged) {
  Outcome outcome;
  outcome.manifest["source"] = scaled.source;
  const auto note = [&](const std::string& name) {
    outcome.manifest["files"][name] = Describe(staged.Path(name));
  };
  const std::string photo = "images/" + stem + ".png", label = "labels/" + stem + ".png";
  WritePng(staged.Path(photo), scaled.photo);
  note(photo);
  WriteIndexedPng(staged.Path(label), ComposeClassMap(scaled.masks));
  note(label);
  for (size_t lesion = 0; lesion < kLesionNames.size(); ++lesion) {
    const Image& mask = scaled.masks[lesion];
    const std::string name = "masks/" + stem + "_" + kLesionNames[lesion] + ".png";
    WritePng(staged.Path(name), mask);
    note(name);
    outcome.lesion_pixels[lesion] = std::count(mask.pixels.begin(), mask.pixels.end(), 255);
  }
  return outcome;
}

std::vector<Outcome> PrepareAll(const std::vector<IdridImage>& images,
                                const PrepareOptions& options, const StagedFolder& staged,
                                const std::function<void(const std::string&)>& progress) {
  std::vector<Outcome> outcomes(images.size());
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr fatal;
  const auto prepare = [&](const IdridImage& image) -> Outcome {
    Scaled scaled;
    try {
      scaled = ReadAndScale(image, options);
    } catch (const std::exception& error) {
      Outcome failed;
      failed.error = error.what();
      return failed;
    }
    return Write(image.stem, scaled, staged);
  };
  const auto work = [&] {
    for (size_t i = next++; i < images.size(); i = next++) {
      try {
        outcomes[i] = prepare(images[i]);
        std::lock_guard lock(mutex);
        progress(images[i].stem);
      } catch (...) {
        // What cannot be written ends the run: the others could not be either.
        std::lock_guard lock(mutex);
        if (!fatal) fatal = std::current_exception();
        next = images.size();
      }
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < options.threads; ++t) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  if (fatal) std::rethrow_exception(fatal);
  return outcomes;
}

// Files that the manifest of an earlier run says it made. A manifest that cannot be read names
// none: its files stay, which is better than to delete what it does not clearly name.
std::set<std::string> FilesOfEarlierRun(const fs::path& out) {
  std::set<std::string> names = {kTrain, kVal, kTest};
  const fs::path path = out / kManifest;
  if (!fs::exists(path)) return names;
  const json manifest = json::parse(ReadFile(path.string()), nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !manifest.contains("images")) return names;
  for (const json& image : manifest["images"]) {
    if (!image.is_object() || !image.contains("files")) continue;
    for (const auto& [name, file] : image["files"].items()) {
      const fs::path relative(name);
      const std::string folder = relative.parent_path().string();
      const bool ours = folder == "images" || folder == "labels" || folder == "masks";
      if (ours && relative.extension() == ".png") names.insert(name);
    }
  }
  return names;
}

std::set<std::string> CheckedValidation(const std::vector<IdridImage>& images,
                                        const PrepareOptions& options) {
  std::set<std::string> training;
  for (const IdridImage& image : images) {
    if (!image.testing) training.insert(image.stem);
  }
  for (const std::string& stem : options.validation) {
    LSEG_CHECK(training.count(stem) > 0,
               "the split names '" << stem << "', which is no training image of the set");
  }
  return {options.validation.begin(), options.validation.end()};
}

// A list's text, and what stands about it in the manifest.
struct List {
  std::string text;
  int images = 0;
  std::array<int64_t, 4> lesion_pixels = {};
};

json DescribeList(const List& list, int64_t pixels) {
  json about = {
      {"images", list.images}, {"bytes", list.text.size()}, {"sha256", Sha256(list.text)}};
  for (size_t lesion = 0; lesion < kLesionNames.size(); ++lesion) {
    about["prevalence"][kLesionNames[lesion]] =
        static_cast<double>(list.lesion_pixels[lesion]) / static_cast<double>(list.images * pixels);
  }
  return about;
}

// Sorts what was prepared into lists, and counts.
std::map<std::string, List> Gather(const std::vector<IdridImage>& images,
                                   const std::vector<Outcome>& outcomes,
                                   const std::set<std::string>& validation, json& manifest,
                                   PrepareReport& report) {
  std::map<std::string, List> lists;
  for (size_t i = 0; i < images.size(); ++i) {
    const std::string& stem = images[i].stem;
    if (!outcomes[i].error.empty()) {
      report.failed.push_back(outcomes[i].error);
      continue;
    }
    const bool val = !images[i].testing && validation.count(stem) > 0;
    const char* name = images[i].testing ? kTest : val ? kVal : kTrain;
    ++(images[i].testing ? report.test : val ? report.val : report.train);
    List& list = lists[name];
    list.text += "images/" + stem + ".png labels/" + stem + ".png\n";
    ++list.images;
    for (size_t lesion = 0; lesion < kLesionNames.size(); ++lesion) {
      list.lesion_pixels[lesion] += outcomes[i].lesion_pixels[lesion];
      report.prevalence[lesion] += static_cast<double>(outcomes[i].lesion_pixels[lesion]);
    }
    manifest["images"][stem] = outcomes[i].manifest;
    manifest["images"][stem]["list"] = name;
  }
  return lists;
}

}  // namespace

std::vector<std::string> ReadSplit(const std::string& path) {
  std::istringstream lines(ReadFile(path));
  std::vector<std::string> stems;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    for (std::string stem; words >> stem;) stems.push_back(stem);
  }
  LSEG_CHECK(!stems.empty(), path << ": the split names no image");
  return stems;
}

PrepareReport Prepare(const std::vector<IdridImage>& images, const PrepareOptions& options,
                      const std::function<void(const std::string& stem)>& progress) {
  LSEG_CHECK(options.threads >= 1, "prepare: " << options.threads << " threads: 1 or more");
  const std::set<std::string> validation = CheckedValidation(images, options);
  StagedFolder staged(options.out);
  const std::vector<Outcome> outcomes = PrepareAll(images, options, staged, progress);

  PrepareReport report;
  json manifest = {{"format", "lseg-dataset 1"},
                   {"width", options.width},
                   {"height", options.height},
                   {"classes", kLesionNames}};
  const std::map<std::string, List> lists = Gather(images, outcomes, validation, manifest, report);
  LSEG_CHECK(!lists.empty(), "none of the " << images.size() << " images could be prepared: "
                                            << report.failed.front());
  const int64_t pixels = int64_t{options.width} * options.height;
  for (double& share : report.prevalence) {
    share /= static_cast<double>((report.train + report.val + report.test) * pixels);
  }

  std::set<std::string> obsolete = FilesOfEarlierRun(options.out);
  std::vector<std::string> last;  // lists when their images are there, then the manifest
  for (const auto& [name, list] : lists) {
    WriteFile(staged.Path(name), list.text);
    manifest["lists"][name] = DescribeList(list, pixels);
    obsolete.erase(name);
    last.push_back(name);
  }
  for (const json& image : manifest["images"]) {
    for (const auto& [name, file] : image["files"].items()) obsolete.erase(name);
  }
  WriteFile(staged.Path(kManifest),
            manifest.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  last.push_back(kManifest);
  staged.Commit(last, obsolete);
  return report;
}

}  // namespace lseg
