// One image at a time: truth and prediction are read, brought to one size, counted and dropped.
// Average precision reads all of them twice, which costs less than keeping or spilling every pixel.
#include "lseg/evaluate.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "kernels/runtime/check.h"
#include "lseg/dataset.h"
#include "lseg/image.h"
#include "lseg/npy.h"
#include "lseg/photo_list.h"
#include "lseg/probabilities.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

std::string SizeText(int width, int height) {
  return std::to_string(width) + "x" + std::to_string(height);
}

// Sizes seen, as text: one, or from the smallest area to the largest.
std::string RangeText(const std::set<std::pair<int64_t, std::string>>& sizes) {
  if (sizes.empty()) return "";
  const std::string& first = sizes.begin()->second;
  return sizes.size() == 1 ? first : first + " to " + sizes.rbegin()->second;
}

// Where an image's prediction lies: one npy, one class map, or a gray PNG a lesion.
struct Prediction {
  PredictionKind kind = PredictionKind::kNone;
  std::vector<std::string> paths = {};
};

struct Item {
  ListEntry files;  // image and label
  std::string name;
  Prediction prediction;
};

Prediction Find(const EvaluationOptions& options, const std::string& name) {
  if (!options.labels_folder.empty()) {
    return {PredictionKind::kClassMap,
            {(fs::path(options.labels_folder) / (name + ".label.png")).string()}};
  }
  const fs::path folder(options.prob_folder);
  const std::string npy = (folder / (name + ".prob.npy")).string();
  if (fs::exists(npy)) return {PredictionKind::kNpy, {npy}};
  Prediction gray{PredictionKind::kGrayPng, {}};
  for (const std::string& lesion : options.scores.lesions) {
    gray.paths.push_back((folder / (name + "." + lesion + ".prob.png")).string());
  }
  return gray;
}

// The first file that a prediction lacks, with what else would have done; empty where none does.
std::string Missing(const Prediction& prediction) {
  for (const std::string& path : prediction.paths) {
    if (fs::exists(path)) continue;
    return prediction.kind == PredictionKind::kGrayPng ? path + " (or a .prob.npy)" : path;
  }
  return "";
}

std::vector<Item> FindAll(const EvaluationOptions& options) {
  const std::vector<ListEntry> entries = ReadList(options.truth_list);
  std::set<std::string> seen;
  std::vector<std::string> images;
  for (const ListEntry& entry : entries) {
    LSEG_CHECK(seen.insert(entry.image).second, options.truth_list
                                                    << ": lists " << entry.image
                                                    << " twice, and its pixels would count twice");
    images.push_back(entry.image);
  }
  const std::vector<std::string> names = PhotoNames(images);  // as lseg_infer names its files
  std::vector<Item> items;
  std::string first_missing;
  int missing = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    Item& item = items.emplace_back();
    item.files = entries[i], item.name = names[i];
    if (options.prob_folder.empty() && options.labels_folder.empty()) continue;
    item.prediction = Find(options, item.name);
    const std::string path = Missing(item.prediction);
    if (!path.empty() && missing++ == 0) first_missing = path;
  }
  LSEG_CHECK(missing == 0, "no prediction for " << missing << " of " << items.size()
                                                << " images; the first missing file is "
                                                << first_missing);
  return items;
}

Probabilities ReadNpyMaps(const std::string& path, const std::vector<std::string>& lesions) {
  NpyArray array = ReadNpy(path);
  const std::vector<int64_t>& s = array.shape;
  const int64_t largest = 1 << 20;
  LSEG_CHECK(s.size() == 3 && s[0] == static_cast<int64_t>(lesions.size()) && s[1] > 0 &&
                 s[2] > 0 && s[1] <= largest && s[2] <= largest,
             path << ": must have the shape (" << lesions.size()
                  << " lesions, height, width) and has " << s.size() << " axes"
                  << (s.empty() ? "" : ", the first of " + std::to_string(s[0])));
  Probabilities maps;
  maps.width = static_cast<int>(s[2]), maps.height = static_cast<int>(s[1]);
  maps.classes = lesions;
  maps.values = std::move(array.values);
  return maps;
}

Probabilities ReadGrayMaps(const std::vector<std::string>& paths,
                           const std::vector<std::string>& lesions, int64_t max_pixels) {
  Probabilities maps;
  for (size_t c = 0; c < paths.size(); ++c) {
    const Image image = ReadPhoto(paths[c], max_pixels);  // as RGB
    if (c == 0) maps = Probabilities(image.width, image.height, lesions);
    LSEG_CHECK(image.width == maps.width && image.height == maps.height,
               paths[c] << ": is " << SizeText(image.width, image.height) << ", and " << paths[0]
                        << " is " << SizeText(maps.width, maps.height));
    float* map = maps.Map(c);
    for (size_t i = 0; i < maps.Plane(); ++i) {
      const uint8_t* rgb = &image.pixels[3 * i];
      LSEG_CHECK(rgb[0] == rgb[1] && rgb[1] == rgb[2],
                 paths[c] << ": is a picture in colour, not a gray map of probabilities");
      map[i] = static_cast<float>(rgb[0]) / 255.0f;
    }
  }
  return maps;
}

// Planes at a size, one after another.
std::vector<uint8_t> PlanesAt(const std::vector<Image>& masks, int width, int height) {
  std::vector<uint8_t> planes;
  planes.reserve(masks.size() * width * height);
  for (const Image& mask : masks) {
    if (mask.pixels.empty()) {  // not annotated, and not counted
      planes.resize(planes.size() + static_cast<size_t>(width) * height, 0);
      continue;
    }
    const bool fits = mask.width == width && mask.height == height;
    const Image resized = fits ? Image() : ResizeMask(mask, width, height);
    const std::vector<uint8_t>& pixels = fits ? mask.pixels : resized.pixels;
    planes.insert(planes.end(), pixels.begin(), pixels.end());
  }
  return planes;
}

// A class map as probabilities of 0 and 1, so that it is counted like them.
Probabilities ReadLabelMaps(const std::string& path, const std::vector<std::string>& lesions,
                            const Image& truth, const EvaluationOptions& options) {
  Image classes = ReadClassMap(path, options.max_pixels);
  const uint8_t largest = *std::max_element(classes.pixels.begin(), classes.pixels.end());
  LSEG_CHECK(largest <= lesions.size(),
             path << ": has the class " << int{largest} << " of " << lesions.size() << " lesions");
  if (options.size_of_truth) classes = ResizeNearest(classes, truth.width, truth.height);
  Probabilities maps(classes.width, classes.height, lesions);
  for (size_t i = 0; i < classes.pixels.size(); ++i) {
    if (classes.pixels[i] > 0) maps.Map(classes.pixels[i] - 1)[i] = 1.0f;
  }
  return maps;
}

struct Sample {
  Probabilities maps;
  std::vector<uint8_t> truth;  // planes of the same size
  std::vector<bool> annotated;
};

Sample Load(const EvaluationOptions& options, const Item& item) {
  const std::vector<std::string>& lesions = options.scores.lesions;
  const std::vector<Image> masks = ReadTruth(item.files, lesions, options.max_pixels);
  const Image& truth = AnyMask(masks);  // for its size
  const std::vector<std::string>& paths = item.prediction.paths;
  Sample sample;
  switch (item.prediction.kind) {
    case PredictionKind::kClassMap:
      sample.maps = ReadLabelMaps(paths[0], lesions, truth, options);
      break;
    case PredictionKind::kNpy:
      sample.maps = ReadNpyMaps(paths[0], lesions);
      break;
    default:
      sample.maps = ReadGrayMaps(paths, lesions, options.max_pixels);
  }
  const Probabilities& maps = sample.maps;
  LSEG_CHECK(maps.width == maps.height || maps.width != truth.height || maps.height != truth.width,
             paths[0] << ": is " << SizeText(maps.width, maps.height) << ", and the truth "
                      << SizeText(truth.width, truth.height) << ": one of them lies on its side");
  if (options.size_of_truth && item.prediction.kind != PredictionKind::kClassMap) {
    CheckProbabilities(paths[0], lesions, maps.values.data(), maps.height, maps.width);
    sample.maps = ResizeProbabilities(sample.maps, truth.width, truth.height);
  }
  sample.truth = PlanesAt(masks, sample.maps.width, sample.maps.height);
  sample.annotated = Annotated(masks);
  return sample;
}

PredictionKind KindOf(const std::vector<Item>& items) {
  PredictionKind kind = items.front().prediction.kind;
  for (const Item& item : items) {
    if (item.prediction.kind != kind) kind = PredictionKind::kNpyAndGrayPng;
  }
  return kind;
}

// What statistics need of an image beside its tallies.
std::vector<LesionCounts> CountImage(const Sample& sample, std::vector<PixelTally> tallies,
                                     bool class_map) {
  const Probabilities& maps = sample.maps;
  const auto pixels = static_cast<int64_t>(maps.Plane());
  const std::vector<float> thresholds =
      class_map ? std::vector<float>{0.5f} : DetectionThresholds();
  std::vector<LesionCounts> counts(tallies.size());
  const int lesions = static_cast<int>(counts.size());
#pragma omp parallel for schedule(dynamic)
  for (int c = 0; c < lesions; ++c) {
    counts[c].pixels = tallies[c];
    if (tallies[c].point.pixels == 0) continue;  // not annotated
    const uint8_t* truth = sample.truth.data() + c * pixels;
    counts[c].detections = CountDetections(thresholds, maps.Map(c), truth, maps.height, maps.width);
    if (class_map) continue;
    counts[c].fine.Count(maps.Map(c), truth, pixels);
    counts[c].reliability.Count(maps.Map(c), truth, pixels);
  }
  return counts;
}

void Score(const std::vector<Item>& items, Evaluation* evaluation) {
  const EvaluationOptions& options = evaluation->options;
  PrOptions scores = options.scores;
  if (evaluation->kind == PredictionKind::kClassMap) {
    scores.protocols.clear();
    scores.thresholds = {0.5f};
  }
  PrEvaluator evaluator(scores);
  for (const Item& item : items) {
    const Sample sample = Load(options, item);
    const Probabilities& maps = sample.maps;
    std::vector<PixelTally> tallies;
    Report report = evaluator.Add(item.prediction.paths[0], maps.values.data(), sample.truth.data(),
                                  maps.height, maps.width, sample.annotated, &tallies);
    evaluation->images.push_back({item.name, maps.width, maps.height, std::move(report)});
    if (!options.count_images) continue;
    const bool class_map = evaluation->kind == PredictionKind::kClassMap;
    evaluation->images.back().counts = CountImage(sample, std::move(tallies), class_map);
  }
  if (evaluator.NeedsSecondPass()) {
    for (const Item& item : items) {
      const Sample sample = Load(options, item);
      evaluator.AddSecondPass(sample.maps.values.data(), sample.truth.data(), sample.maps.height,
                              sample.maps.width, sample.annotated);
    }
  }
  evaluation->pooled = evaluator.Pooled();
}

void ScoreColours(const std::vector<Item>& items, Evaluation* evaluation) {
  const std::vector<std::string>& lesions = evaluation->options.scores.lesions;
  ColourBaseline baseline(lesions.size());
  std::set<std::pair<int64_t, std::string>> sizes;
  for (const Item& item : items) {
    const int64_t max_pixels = evaluation->options.max_pixels;
    const Image photo = ReadPhoto(item.files.image, max_pixels);
    const std::vector<Image> masks = ReadTruth(item.files, lesions, max_pixels);
    baseline.Add(photo, PlanesAt(masks, photo.width, photo.height).data(), Annotated(masks));
    sizes.insert({int64_t{photo.width} * photo.height, SizeText(photo.width, photo.height)});
  }
  evaluation->baseline = baseline.Areas();
  evaluation->baseline_size = RangeText(sizes);
}

}  // namespace

Evaluation Evaluate(const EvaluationOptions& options) {
  Evaluation evaluation;
  evaluation.options = options;
  const std::vector<Item> items = FindAll(options);
  evaluation.listed = items.size();
  evaluation.kind = KindOf(items);
  if (evaluation.kind != PredictionKind::kNone) Score(items, &evaluation);
  if (options.colour_baseline) ScoreColours(items, &evaluation);
  return evaluation;
}

void CheckPredictions(const EvaluationOptions& options) { FindAll(options); }

std::string SizeRange(const std::vector<ImageScore>& images) {
  std::set<std::pair<int64_t, std::string>> sizes;
  for (const ImageScore& image : images) {
    sizes.insert({int64_t{image.width} * image.height, SizeText(image.width, image.height)});
  }
  return RangeText(sizes);
}

}  // namespace lseg
