// lseg_eval: scores lesion maps against the truth by named protocols.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <limits>

#include "framework/file.h"
#include "framework/text.h"
#include "lseg/class_names.h"
#include "lseg/eval_report.h"
#include "lseg/evaluate.h"
#include "lseg/plot.h"
#include "tools/tool.h"

namespace lseg {
namespace {

constexpr char kHelp[] = R"(Examples:
  lseg_infer --weights final.safetensors --input set/test.txt --out maps --prob npy
  lseg_eval --truth set/test.txt --prob maps --json scores.json --curves curves.svg
  lseg_eval --truth set/test.txt --prob maps --protocol all --size truth
  lseg_eval --truth set/test.txt --prob maps --versus maps_of_before --html scores.html
  lseg_eval --truth set/val.txt --prob maps --at recall=0.8,precision=0.5
  lseg_eval --truth set/test.txt --labels maps
  lseg_eval --truth set/test.txt --baseline colour

A line of the list is `images/x.png labels/x.png`, relative to the list. The truth is
masks/x_EX.png and so on beside labels/ where they are there, all of them, else the classes of
labels/x.png (1 EX, 2 HE, 3 MA, 4 SE, or as --classes says). Or a line names a mask for each lesion
after the image, with tabs between; - in the place of one that nobody has looked for, which is then
not scored in that image. Predictions of images/x.png are
x.prob.npy (float32, lesions x height x width), or else x.EX.prob.png and so on (gray, 255 p), or
with --labels x.label.png. They are compared at the prediction's size (the truth is resized by area)
unless --size truth.

Protocols, pooled over all pixels of all images:
  idrid33  the IDRiD challenge's: gray round(255 p), thresholds 0, 8, ..., 256, trapezoids
  mmseg11  p > 0, 0.1, ..., 1, trapezoids
  exact    average precision over all distinct probabilities (reads everything twice)
Results of different protocols or sizes are not comparable. A lesion that no image has gets no AUPR
(null) and is left out of the mean; class maps have no AUPR at all. Values are fractions.

Intervals (95 %) are percentiles of --resamples draws of as many images with replacement, by --seed:
the same command gives the same ones. --versus DIR scores the maps of DIR, too, and both on the same
draws: the difference (these less those) of each figure, its interval and a two-sided p-value.
Thresholds for the largest Dice, and those of --at, are chosen by the truth of the images scored:
choose them on a validation set (lseg_infer takes them as --threshold).
)";

std::string Flag(const cxxopts::ParseResult& flags, const std::string& name) {
  return flags.count(name) ? RequiredFlag(flags, name) : "";
}

std::vector<std::string> Lesions(const std::string& text) {
  try {
    return ParseClasses(text, "--classes");
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

std::vector<Protocol> Protocols(const std::string& text) {
  if (text == "all") return {std::begin(kProtocols), std::end(kProtocols)};
  for (Protocol protocol : kProtocols) {
    if (text == ToString(protocol)) return {protocol};
  }
  throw UsageError("--protocol '" + text + "' is none of idrid33, mmseg11, exact, all");
}

std::vector<float> Thresholds(const std::string& text, size_t lesions) {
  std::vector<float> thresholds;
  for (const std::string& part : SplitAtCommas(text)) {
    float value = -1;
    const char* end = part.data() + part.size();
    const auto [stop, error] = std::from_chars(part.data(), end, value);
    if (error != std::errc() || stop != end || !(value >= 0 && value <= 1)) {
      throw UsageError("--threshold '" + text + "': '" + part + "' is not a number from 0 to 1");
    }
    thresholds.push_back(value);
  }
  if (thresholds.size() != 1 && thresholds.size() != lesions) {
    throw UsageError("--threshold '" + text + "' has " + std::to_string(thresholds.size()) +
                     " values: give one, or one for each of the " + std::to_string(lesions) +
                     " lesions");
  }
  thresholds.resize(lesions, thresholds.front());
  return thresholds;
}

// "recall=0.8": the thresholds that reach it.
PointTarget Target(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string kind = text.substr(0, equals);
  PointTarget target;
  if (kind == "recall") target.kind = PointTarget::Kind::kRecall;
  if (kind == "precision") target.kind = PointTarget::Kind::kPrecision;
  const char* begin = equals == std::string::npos ? "" : text.c_str() + equals + 1;
  const char* end = begin + std::strlen(begin);
  const auto [stop, error] = std::from_chars(begin, end, target.value);
  if (target.kind == PointTarget::Kind::kLargestDice || error != std::errc() || stop != end ||
      !(target.value > 0 && target.value <= 1)) {
    throw UsageError("--at '" + text + "' is neither recall=P nor precision=P, P above 0 to 1");
  }
  return target;
}

StatisticsOptions StatisticsOf(const cxxopts::ParseResult& flags) {
  StatisticsOptions options;
  options.resamples = static_cast<int>(IntegerFlag(flags, "resamples", 0, 100000));
  options.seed =
      static_cast<uint64_t>(IntegerFlag(flags, "seed", 0, std::numeric_limits<int64_t>::max()));
  if (flags.count("at") == 0) return options;
  for (const std::string& text : SplitAtCommas(RequiredFlag(flags, "at"))) {
    const PointTarget target = Target(text);
    for (const PointTarget& other : options.targets) {
      if (other.Name() == target.Name()) throw UsageError("--at: " + other.Name() + " twice");
    }
    options.targets.push_back(target);
  }
  return options;
}

void CheckTogether(const cxxopts::ParseResult& flags) {
  const bool prob = flags.count("prob"), labels = flags.count("labels");
  if (prob && labels) throw UsageError("--prob and --labels: give one of them");
  if (!prob && !labels && !flags.count("baseline")) {
    throw UsageError("nothing to score: give --prob, --labels or --baseline");
  }
  for (const char* name : {"protocol", "threshold", "size", "csv", "curves", "versus", "at",
                           "resamples", "seed", "html"}) {
    if (flags.count(name) && !prob && !labels) {
      throw UsageError("--" + std::string(name) + " needs predictions: give --prob or --labels");
    }
  }
  for (const char* name : {"threshold", "curves", "at"}) {
    if (flags.count(name) && labels) {
      throw UsageError("--" + std::string(name) +
                       " needs probabilities: class maps have one point");
    }
  }
}

EvaluationOptions OptionsOf(const cxxopts::ParseResult& flags) {
  CheckTogether(flags);
  EvaluationOptions options;
  options.truth_list = RequiredFlag(flags, "truth");
  options.prob_folder = Flag(flags, "prob");
  options.labels_folder = Flag(flags, "labels");
  options.scores.lesions = Lesions(RequiredFlag(flags, "classes"));
  options.scores.protocols = Protocols(RequiredFlag(flags, "protocol"));
  options.scores.thresholds =
      Thresholds(RequiredFlag(flags, "threshold"), options.scores.lesions.size());
  const std::string size = RequiredFlag(flags, "size");
  if (size != "prediction" && size != "truth") {
    throw UsageError("--size '" + size + "' is neither prediction nor truth");
  }
  options.size_of_truth = size == "truth";
  const std::string baseline = Flag(flags, "baseline");
  if (!baseline.empty() && baseline != "colour") {
    throw UsageError("--baseline '" + baseline + "': there is one, colour");
  }
  options.colour_baseline = !baseline.empty();
  options.count_images = true;
  options.max_pixels = MaxPixelsFlag(flags, kMaxPixels, kMostPixels);
  return options;
}

// The evaluation, its statistics, and where it is asked for the comparison with another one.
Evaluation EvaluateAll(const EvaluationOptions& options, const StatisticsOptions& statistics,
                       const std::string& versus) {
  EvaluationOptions other = options;
  if (!versus.empty()) {
    other.colour_baseline = false;
    (options.prob_folder.empty() ? other.labels_folder : other.prob_folder) = versus;
    CheckPredictions(other);  // rather now than after the first evaluation
  }
  Evaluation evaluation = Evaluate(options);
  if (evaluation.kind == PredictionKind::kNone) return evaluation;
  AddStatistics(statistics, &evaluation);
  if (versus.empty()) return evaluation;
  Evaluation against = Evaluate(other);
  AddStatistics(statistics, &against);
  Compare(against, &evaluation);
  return evaluation;
}

void Write(const std::string& path, const std::string& text) {
  if (!path.empty()) WriteFile(path, text);
}

int Body(int argc, char** argv) {
  cxxopts::Options command("lseg_eval",
                           "Scores lesion maps against the truth, by named protocols.");
  auto add = command.add_options();
  const auto text = [] { return cxxopts::value<std::string>(); };
  const auto preset = [&](const char* value) { return text()->default_value(value); };
  add("truth", "list of images and their truth", text(), "LIST");
  add("prob", "folder of probability maps to score", text(), "DIR");
  add("labels", "folder of class maps to score instead", text(), "DIR");
  add("protocol", "idrid33, mmseg11, exact or all", preset("idrid33"), "NAME");
  add("threshold", "of Dice, IoU, precision, recall: one, or one a lesion", preset("0.5"), "P,...");
  add("size", "compare at the size of: prediction or truth", preset("prediction"), "WHICH");
  add("classes", "lesions in the order of maps and classes", preset("EX,HE,MA,SE"), "NAMES");
  add("versus", "compare with the maps of another model, on the same images", text(), "DIR");
  add("at", "also the thresholds that reach recall=P or precision=P", text(), "WHAT=P,...");
  add("resamples", "of the bootstrap over images; 0: no intervals", preset("1000"), "N");
  add("seed", "of the resamples", preset("1"), "N");
  add("baseline", "colour: also score R, G, B and their inverses as maps", text(), "KIND");
  add("json", "write all scores", text(), "FILE");
  add("csv", "write the scores of each image", text(), "FILE");
  add("curves", "draw the precision-recall curves", text(), "FILE.svg");
  add("html", "write a page of all tables and curves", text(), "FILE");
  add("max-pixels", kMaxPixelsHelp, text(), "N");
  add("threads", "lesions at once (default: the processors that may be used)", text(), "N");
  const auto flags = ParseFlags(command, argc, argv, kHelp);
  if (!flags) return kExitOk;
  const EvaluationOptions options = OptionsOf(*flags);
  const StatisticsOptions statistics = StatisticsOf(*flags);
  ThreadsFlag(*flags);

  const Evaluation evaluation = EvaluateAll(options, statistics, Flag(*flags, "versus"));
  const std::string table = TableText(evaluation);
  std::fwrite(table.data(), 1, table.size(), stdout);
  Write(Flag(*flags, "json"), JsonText(evaluation));
  Write(Flag(*flags, "csv"), CsvText(evaluation));
  if (flags->count("html")) Write(Flag(*flags, "html"), HtmlText(evaluation));
  if (flags->count("curves")) WriteLineCharts(Flag(*flags, "curves"), CurvePanels(evaluation));
  return kExitOk;
}

}  // namespace
}  // namespace lseg

int main(int argc, char** argv) {
  lseg::SpinBriefly(argv);
  return lseg::RunTool(argc, argv, lseg::Body);
}
