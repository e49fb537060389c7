#include "lseg/prepare.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "framework/file.h"
#include "framework/text.h"
#include "lseg/dataset.h"
#include "lseg/fit.h"
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
  std::vector<Image> masks;  // EX HE MA SE; without pixels: not annotated
  json source;
};

Scaled ReadAndScale(const SetImage& image, const PrepareOptions& options) {
  Scaled scaled;
  const auto note = [&](const std::string& path) {
    // Where masks are called as their photograph, their folders tell them apart.
    fs::path name = fs::path(path).filename(), folder = fs::path(path).parent_path();
    while (scaled.source["files"].contains(name.string()) && folder.has_filename()) {
      name = folder.filename() / name;
      folder = folder.parent_path();
    }
    scaled.source["files"][name.string()] = Describe(path);
  };
  const int width = options.width, height = options.height;
  const Image photo = ReadPhoto(image.photo, options.max_pixels);
  note(image.photo);
  scaled.source["width"] = photo.width;
  scaled.source["height"] = photo.height;
  const Fit fit = FitInto(photo.width, photo.height, width, height);
  if (!fit.Fills(width, height)) {
    scaled.source["placed"] = {fit.left, fit.top, fit.width, fit.height};
  }
  const auto scale = [&](const Image& mask, const std::string& path) {
    LSEG_CHECK(mask.width == photo.width && mask.height == photo.height,
               path << ": is " << mask.width << "x" << mask.height << ", its photograph "
                    << photo.width << "x" << photo.height);
    scaled.masks.push_back(FitMask(mask, width, height));
  };
  if (!image.label.empty()) {
    note(image.label);
    for (const Image& mask :
         MasksOfClassMap(image.label, kLesionNames.size(), options.max_pixels)) {
      scale(mask, image.label);
    }
  }
  for (size_t lesion = 0; lesion < kLesionNames.size() && image.label.empty(); ++lesion) {
    const std::string& path = image.masks[lesion];
    if (path.empty()) {
      scaled.masks.push_back(image.annotated[lesion] ? Image(width, height, 1) : Image());
      continue;
    }
    scale(ReadMask(path, options.max_pixels), path);
    note(path);
  }
  scaled.photo = FitPhoto(photo, width, height);
  return scaled;
}

// What one image came to.
struct Outcome {
  std::string error;                                       // empty: it is done
  std::array<int64_t, 4> pixels = {}, lesion_pixels = {};  // 0 where it is not annotated
  std::string line;                                        // of the list
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
  const std::vector<bool> annotated = Annotated(scaled.masks);
  if (std::find(annotated.begin(), annotated.end(), false) == annotated.end()) {
    WriteIndexedPng(staged.Path(label), ComposeClassMap(scaled.masks));
    note(label);
    outcome.line = photo + " " + label + "\n";
  } else {
    outcome.line = photo;
    outcome.manifest["annotated"] = json::array();
  }
  for (size_t lesion = 0; lesion < kLesionNames.size(); ++lesion) {
    const Image& mask = scaled.masks[lesion];
    const std::string name = "masks/" + stem + "_" + kLesionNames[lesion] + ".png";
    if (outcome.manifest.contains("annotated")) {
      outcome.line += "\t" + (annotated[lesion] ? name : "-") + (lesion == 3 ? "\n" : "");
      if (annotated[lesion]) outcome.manifest["annotated"].push_back(kLesionNames[lesion]);
    }
    if (!annotated[lesion]) continue;
    WritePng(staged.Path(name), mask);
    note(name);
    outcome.pixels[lesion] = static_cast<int64_t>(mask.pixels.size());
    outcome.lesion_pixels[lesion] = std::count(mask.pixels.begin(), mask.pixels.end(), 255);
  }
  return outcome;
}

std::vector<Outcome> PrepareAll(const std::vector<SetImage>& images, const PrepareOptions& options,
                                const StagedFolder& staged,
                                const std::function<void(const std::string&)>& progress) {
  std::vector<Outcome> outcomes(images.size());
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr fatal;
  const auto prepare = [&](const SetImage& image) -> Outcome {
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

// The part of each image, with what `validation` names.
std::vector<Part> PartsOf(const std::vector<SetImage>& images, const PrepareOptions& options) {
  std::vector<Part> parts;
  for (const SetImage& image : images) parts.push_back(image.part);
  for (const std::string& name : options.validation) {
    bool found = false;
    for (size_t i = 0; i < images.size(); ++i) {
      if (images[i].part != Part::kTrain) continue;
      if (images[i].stem != name && images[i].patient != name) continue;
      parts[i] = Part::kVal;
      found = true;
    }
    LSEG_CHECK(found, options.split << ": names '" << Printable(name)
                                    << "', which is no training image of the set");
  }
  std::map<std::string, size_t> first;  // image of a patient
  for (size_t i = 0; i < images.size(); ++i) {
    if (images[i].patient.empty()) continue;
    const size_t other = first.emplace(images[i].patient, i).first->second;
    LSEG_CHECK(parts[other] == parts[i],
               options.split << ": puts '" << images[other].stem << "' and '" << images[i].stem
                             << "', which are of one patient, into two lists: name the "
                             << "patient, " << images[i].patient);
  }
  return parts;
}

// A list's text, and what stands about it in the manifest.
struct List {
  std::string text;
  int images = 0;
  std::array<int64_t, 4> pixels = {}, lesion_pixels = {};

  std::optional<double> Prevalence(size_t lesion) const {
    if (pixels[lesion] == 0) return std::nullopt;
    return static_cast<double>(lesion_pixels[lesion]) / static_cast<double>(pixels[lesion]);
  }
};

json DescribeList(const List& list) {
  json about = {
      {"images", list.images}, {"bytes", list.text.size()}, {"sha256", Sha256(list.text)}};
  for (size_t lesion = 0; lesion < kLesionNames.size(); ++lesion) {
    const std::optional<double> prevalence = list.Prevalence(lesion);
    about["prevalence"][kLesionNames[lesion]] = prevalence ? json(*prevalence) : json(nullptr);
  }
  return about;
}

// Sorts what was prepared into lists, and counts.
std::map<std::string, List> Gather(const std::vector<SetImage>& images,
                                   const std::vector<Outcome>& outcomes,
                                   const std::vector<Part>& parts, json& manifest,
                                   PrepareReport& report) {
  std::map<std::string, List> lists;
  List all;
  for (size_t i = 0; i < images.size(); ++i) {
    const Outcome& outcome = outcomes[i];
    if (!outcome.error.empty()) {
      report.failed.push_back(outcome.error);
      continue;
    }
    const Part part = parts[i];
    const char* name = part == Part::kTest ? kTest : part == Part::kVal ? kVal : kTrain;
    ++(part == Part::kTest ? report.test : part == Part::kVal ? report.val : report.train);
    List& list = lists[name];
    list.text += outcome.line;
    ++list.images;
    for (List* counts : {&list, &all}) {
      for (size_t lesion = 0; lesion < kLesionNames.size(); ++lesion) {
        counts->pixels[lesion] += outcome.pixels[lesion];
        counts->lesion_pixels[lesion] += outcome.lesion_pixels[lesion];
      }
    }
    manifest["images"][images[i].stem] = outcome.manifest;
    manifest["images"][images[i].stem]["list"] = name;
  }
  for (size_t c = 0; c < kLesionNames.size(); ++c) report.prevalence[c] = all.Prevalence(c);
  return lists;
}

}  // namespace

std::vector<std::string> ReadSplit(const std::string& path) {
  std::string text = ReadFile(path);
  DropByteOrderMark(&text);
  std::istringstream lines(text);
  std::vector<std::string> stems;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    for (std::string stem; words >> stem;) stems.push_back(stem);
  }
  LSEG_CHECK(!stems.empty(), path << ": the split names no image");
  return stems;
}

PrepareReport Prepare(const std::vector<SetImage>& images, const PrepareOptions& options,
                      const std::function<void(const std::string& stem)>& progress) {
  LSEG_CHECK(options.threads >= 1, "prepare: " << options.threads << " threads: 1 or more");
  const std::vector<Part> parts = PartsOf(images, options);
  StagedFolder staged(options.out);
  const std::vector<Outcome> outcomes = PrepareAll(images, options, staged, progress);

  PrepareReport report;
  json manifest = {{"format", "lseg-dataset 1"},
                   {"width", options.width},
                   {"height", options.height},
                   {"classes", kLesionNames}};
  const std::map<std::string, List> lists = Gather(images, outcomes, parts, manifest, report);
  LSEG_CHECK(!lists.empty(), "none of the " << images.size() << " images could be prepared: "
                                            << report.failed.front());
  std::set<std::string> obsolete = FilesOfEarlierRun(options.out);
  std::vector<std::string> last;  // lists when their images are there, then the manifest
  for (const auto& [name, list] : lists) {
    WriteFile(staged.Path(name), list.text);
    manifest["lists"][name] = DescribeList(list);
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
