#include "lseg/prepare.h"

#include <openssl/evp.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "framework/file.h"
#include "lseg/dataset.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

constexpr char kLesionNames[4][3] = {"EX", "HE", "MA", "SE"};

std::string Sha256(const std::string& bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  LSEG_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) == 1,
             "SHA-256 failed");
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += kHex[digest[i] >> 4];
    text += kHex[digest[i] & 15];
  }
  return text;
}

nlohmann::json Describe(const fs::path& path) {
  const std::string bytes = ReadFile(path.string());
  return {{"bytes", bytes.size()}, {"sha256", Sha256(bytes)}};
}

// What one image came to.
struct Prepared {
  bool done = false;
  std::string error;
  int64_t lesion_pixels[4] = {0, 0, 0, 0};
  nlohmann::json manifest;
};

Prepared PrepareOne(const IdridImage& image, const PrepareOptions& options) {
  const fs::path out = options.out;
  const Image photo = ReadPhoto(image.photo);
  std::vector<Image> masks;
  for (int lesion = 0; lesion < 4; ++lesion) {
    if (image.masks[lesion].empty()) {
      masks.emplace_back(options.width, options.height, 1);
      continue;
    }
    const Image mask = ReadMask(image.masks[lesion]);
    LSEG_CHECK(mask.width == photo.width && mask.height == photo.height,
               image.masks[lesion] << ": is " << mask.width << "x" << mask.height
                                   << ", its photograph " << photo.width << "x" << photo.height);
    masks.push_back(ResizeMask(mask, options.width, options.height));
  }
  Prepared result;
  nlohmann::json& files = result.manifest["files"];
  auto note = [&](const std::string& name) { files[name] = Describe(out / name); };
  const std::string photo_name = "images/" + image.stem + ".png";
  WritePng((out / photo_name).string(), Resize(photo, options.width, options.height));
  note(photo_name);
  const std::string label_name = "labels/" + image.stem + ".png";
  WriteIndexedPng((out / label_name).string(), ComposeClassMap(masks));
  note(label_name);
  for (int lesion = 0; lesion < 4; ++lesion) {
    const std::string name = "masks/" + image.stem + "_" + kLesionNames[lesion] + ".png";
    WritePng((out / name).string(), masks[lesion]);
    note(name);
    result.lesion_pixels[lesion] =
        std::count(masks[lesion].pixels.begin(), masks[lesion].pixels.end(), 255);
  }
  result.manifest["source"] = fs::path(image.photo).filename().string();
  result.manifest["source_size"] = {photo.width, photo.height};
  result.manifest["source_sha256"] = Sha256(ReadFile(image.photo));
  result.done = true;
  return result;
}

std::vector<Prepared> PrepareAll(const std::vector<IdridImage>& images,
                                 const PrepareOptions& options,
                                 const std::function<void(const std::string&)>& progress) {
  std::vector<Prepared> results(images.size());
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  auto work = [&] {
    for (size_t i = next++; i < images.size(); i = next++) {
      try {
        results[i] = PrepareOne(images[i], options);
      } catch (const std::exception& error) {
        results[i].error = error.what();
      }
      std::lock_guard lock(mutex);
      progress(images[i].stem);
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < options.threads; ++t) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return results;
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
  const std::set<std::string> validation(options.validation.begin(), options.validation.end());
  std::set<std::string> training;
  for (const IdridImage& image : images) {
    if (!image.testing) training.insert(image.stem);
  }
  for (const std::string& stem : validation) {
    LSEG_CHECK(training.count(stem) > 0,
               "the split names '" << stem << "', which is no training image of the set");
  }
  const fs::path out = options.out;
  for (const char* folder : {"images", "labels", "masks"}) fs::create_directories(out / folder);
  const std::vector<Prepared> results = PrepareAll(images, options, progress);

  PrepareReport report;
  std::map<std::string, std::string> lists = {{"train.txt", ""}, {"test.txt", ""}};
  if (!validation.empty()) lists["val.txt"];
  nlohmann::json manifest = {
      {"width", options.width}, {"height", options.height}, {"classes", {"EX", "HE", "MA", "SE"}}};
  for (size_t i = 0; i < images.size(); ++i) {
    const IdridImage& image = images[i];
    if (!results[i].done) {
      report.failed.push_back(results[i].error);
      continue;
    }
    const bool val = !image.testing && validation.count(image.stem) > 0;
    const std::string list = image.testing ? "test.txt" : val ? "val.txt" : "train.txt";
    lists[list] += "images/" + image.stem + ".png labels/" + image.stem + ".png\n";
    ++(image.testing ? report.test : val ? report.val : report.train);
    for (int lesion = 0; lesion < 4; ++lesion) {
      report.prevalence[lesion] += static_cast<double>(results[i].lesion_pixels[lesion]);
    }
    manifest["images"][image.stem] = results[i].manifest;
  }
  const int done = report.train + report.val + report.test;
  for (double& share : report.prevalence) {
    share /= std::max(1.0, static_cast<double>(done) * options.width * options.height);
  }
  // A list that a run before this one wrote and this one does not have would mislead.
  for (const char* list : {"train.txt", "val.txt", "test.txt"}) {
    if (lists.count(list) == 0 || lists[list].empty()) {
      lists.erase(list);
      fs::remove(out / list);
    }
  }
  for (const auto& [name, text] : lists) WriteFile((out / name).string(), text);
  WriteFile((out / "manifest.json").string(), manifest.dump(1) + "\n");
  return report;
}

}  // namespace lseg
