// lseg_infer: photographs to lesion maps. Flags and messages; the work is in lseg/segment_stream.h
// and its neighbours.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <sstream>

#include "framework/text.h"
#include "lseg/class_names.h"
#include "lseg/default_weights.h"
#include "lseg/photo_list.h"
#include "lseg/report_folder.h"
#include "lseg/segment_stream.h"
#include "tools/tool.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

constexpr int kLargestSide = 20000;

constexpr char kHelpEnd[] = R"(
For each photograph NAME.jpg it writes into --out
  NAME.label.png       class map, an indexed PNG: 0 background, 1 EX, 2 HE, 3 MA, 4 SE
  NAME.overlay.png     the photograph with the lesions outlined
  NAME.prob.npy        with --prob npy: float32, 4 x height x width, order EX HE MA SE
  NAME.EX.prob.png ... with --prob png: one gray map a lesion, round(255 p)
and with --report DIR, see "Segment photographs" in the README,
  DIR/index.html       a page to look through all of them, for any browser
  DIR/report.csv       counts, areas, probabilities of each photograph and lesion; failures, too
  DIR/components.csv   the single lesions: where, how large, how sure
  DIR/json/NAME.json   both of a photograph
A .caffemodel says nothing of net, classes, size and mean: it is taken for the built-in L-Seg's, or
for what --net, --classes and --mean say. (In --net, class_name gives the classes, and the
transform_param of a data layer the mean, 0 where it says none, and the scale.)
(The classes and their order are those of the weights; these are the built-in net's.) Photographs
that share a stem, such as eye.jpg and eye.png, keep their extension in NAME. A class map holds, of
the lesions whose probability reaches their threshold, the one with the largest ratio of the two.

A photograph whose field of view, the bright disc, would be larger or smaller for the net than those
it was trained on, by more than 10 %, is scaled to fit these (where the weights say it; not with
--width, --native or --no-normalise, nor where it has the net's size already). One that looks like
no fundus photograph is named on stderr, and done.

The photograph is resampled to the size that the net was trained for, unless it has that size
already, with black borders where its shape is another (by more than 1 %); the maps are brought back
to the photograph's own size. JPEG, PNG, TIFF and BMP are read. A photograph that cannot be read is
named on stderr and skipped; the others are done. While the net sees one, the next is read and the
one before is written; the seconds are those from line to line.

Examples:
  lseg_infer --weights run/best.safetensors --input photos --out maps
  lseg_infer --weights run/best.safetensors --input idrid/val.txt --out maps --prob npy
  lseg_infer --weights run/best.safetensors --input eye.jpg --out maps --threshold 0.5,0.5,0.3,0.5
  lseg_infer --weights run/best.safetensors --input photos --out maps --report report
  lseg_infer --weights run/best.safetensors --input idrid/val.txt --out maps --report report \
      --truth idrid/val.txt
)";

// Ends a message about memory: what a user can change.
std::string MemoryHint(Device device) {
  return device == Device::kCuda
             ? "; what helps: a smaller --width and --height, --precision bf16, or --device cpu"
             : "; what helps: a larger --memory, --output-size working, a smaller --width and "
               "--height, or fewer --threads";
}

std::string HelpEnd() { return kHelpEnd + ("\nJPEGs are decoded by " + JpegDecoder()) + ".\n"; }

struct Job : SegmentJob {
  std::string weights, input;
  std::string report, truth;           // empty: none
  std::vector<std::string> landmarks;  // files
};

float ParseThreshold(const std::string& text) {
  std::istringstream stream(text);
  float value = 0;
  if (!(stream >> value) || !stream.eof() || !(value > 0 && value <= 1)) {
    throw UsageError("--threshold '" + text + "' is not a number above 0 and at most 1");
  }
  return value;
}

void TakeSize(const cxxopts::ParseResult& flags, Job* job) {
  job->native = flags.count("native") > 0;
  const bool width = flags.count("width") > 0, height = flags.count("height") > 0;
  if (width != height) throw UsageError("--width and --height go together");
  if (width && job->native) throw UsageError("--native and --width exclude one another");
  if (width) {
    job->width = static_cast<int>(IntegerFlag(flags, "width", 1, kLargestSide));
    job->height = static_cast<int>(IntegerFlag(flags, "height", 1, kLargestSide));
  }
  const std::string output = RequiredFlag(flags, "output-size");
  if (output != "own" && output != "working") {
    throw UsageError("--output-size '" + output + "' is neither own nor working");
  }
  job->output_working = output == "working";
  job->reduce_jpegs = flags.count("scaled-decoding") > 0;
  if (job->reduce_jpegs && (job->native || !job->output_working)) {
    throw UsageError("--scaled-decoding needs --output-size working and no --native");
  }
  if (job->reduce_jpegs && !ReducesJpegs()) {
    throw UsageError("--scaled-decoding needs libjpeg-turbo, which this build lacks");
  }
}

Job ParseJob(const cxxopts::ParseResult& flags) {
  Job job;
  job.weights = flags.count("weights") > 0 ? RequiredFlag(flags, "weights") : DefaultWeights();
  if (job.weights.empty()) {
    throw UsageError("--weights is missing, and no weights came with this program");
  }
  job.input = RequiredFlag(flags, "input");
  job.out = RequiredFlag(flags, "out");
  TakeSize(flags, &job);
  job.max_pixels = MaxPixelsFlag(flags, kMaxPixels, kMostPixels);
  if (flags.count("prob") > 0) {
    for (const std::string& kind : SplitAtCommas(RequiredFlag(flags, "prob"))) {
      if (kind != "npy" && kind != "png") {
        throw UsageError("--prob '" + kind + "' is neither npy nor png");
      }
      (kind == "npy" ? job.outputs.npy : job.outputs.png) = true;
    }
  }
  if (flags.count("report") > 0) job.report = RequiredFlag(flags, "report");
  if (flags.count("truth") > 0) job.truth = RequiredFlag(flags, "truth");
  if (flags.count("landmarks") > 0) job.landmarks = SplitAtCommas(RequiredFlag(flags, "landmarks"));
  for (const char* flag : {"truth", "landmarks"}) {
    if (flags.count(flag) > 0 && job.report.empty()) {
      throw UsageError("--" + std::string(flag) + " is for the report: it needs --report DIR");
    }
  }
  if (flags.count("threshold") > 0) {
    for (const std::string& threshold : SplitAtCommas(RequiredFlag(flags, "threshold"))) {
      job.outputs.thresholds.push_back(ParseThreshold(threshold));
    }
  }
  return job;
}

// What stands in place of the model that the weights tell.
void TakeModel(const cxxopts::ParseResult& flags, SegmenterOptions* options) {
  if (flags.count("net") > 0) options->net = NetDefinition::FromFile(RequiredFlag(flags, "net"));
  if (flags.count("classes") > 0) {
    const std::string names = RequiredFlag(flags, "classes");
    try {
      options->classes = ParseClasses(names, "--classes");
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }
  if (flags.count("mean") == 0) return;
  const std::string text = RequiredFlag(flags, "mean");
  std::array<float, 3>& mean = options->mean_bgr.emplace();
  std::istringstream stream(text);
  char comma1 = 0, comma2 = 0;
  if (!(stream >> mean[0] >> comma1 >> mean[1] >> comma2 >> mean[2]) || comma1 != ',' ||
      comma2 != ',' || stream.peek() != EOF ||
      !std::all_of(mean.begin(), mean.end(), [](float m) { return m >= 0 && m <= 255; })) {
    throw UsageError("--mean '" + text + "' is not three numbers, B,G,R of 0 to 255");
  }
}

// One threshold a class: what --threshold says, else the model, of whose own classes it speaks,
// else 0.5.
void SpreadThresholds(const ModelInfo& model, std::vector<float>* thresholds) {
  if (thresholds->empty() && model.thresholds.size() == model.classes.size()) {
    *thresholds = model.thresholds;
  }
  if (thresholds->empty()) thresholds->push_back(0.5f);
  if (thresholds->size() == 1) thresholds->resize(model.classes.size(), thresholds->front());
  std::string classes;
  for (const std::string& name : model.classes) classes += " " + name;
  if (thresholds->size() != model.classes.size()) {
    throw UsageError("--threshold has " + std::to_string(thresholds->size()) +
                     " values, the classes are" + classes + ": give one, or one for each");
  }
}

void MakeOutputFolder(const Job& job) {
  std::error_code error;
  fs::create_directories(job.out, error);
  LSEG_CHECK(!error, "cannot create folder '" << job.out << "': " << error.message());
  if (fs::is_directory(job.input) && fs::equivalent(job.input, job.out, error)) {
    throw UsageError("--out is the input folder: the next run would take the maps for photographs");
  }
}

// The report that `job` asks for, which its photographs will be told to; null where it asks for
// none.
std::unique_ptr<ReportFolder> MakeReport(const ModelInfo& model, const PhotoList& list, Job* job) {
  if (job->report.empty()) return nullptr;
  ReportOptions options;
  options.folder = job->report;
  options.classes = model.classes;
  options.thresholds = job->outputs.thresholds;
  options.landmark_files = job->landmarks;
  options.truth_list = job->truth;
  options.max_pixels = job->max_pixels;
  auto report = std::make_unique<ReportFolder>(std::move(options));
  job->visit = [&list, to = report.get()](const SegmentReport& of, const Image& photo,
                                          const Probabilities& probabilities,
                                          const Image& class_map) {
    to->Measure(list.photos[of.index], of.width, of.height, photo, probabilities, class_map);
  };
  job->visit_memory = [to = report.get()](int width, int height) {
    return to->Memory(width, height);
  };
  return report;
}

void FinishReport(const Job& job, ReportFolder* report) {
  if (!report) return;
  report->Finish();
  const std::vector<std::string> unused = report->UnusedTruth();
  if (!unused.empty()) {
    Say(std::to_string(unused.size()) + " images of " + job.truth +
        " are not among the photographs, the first is " + unused.front());
  }
  if (const auto& names = report->UnusedLandmarks(); !names.empty()) {
    Say("landmarks of " + std::to_string(names.size()) +
        " images belong to none of the photographs, the first of " + *names.begin());
  }
  Say("report: " + job.report + "/index.html");
}

std::string Size(int width, int height) {
  return std::to_string(width) + "x" + std::to_string(height);
}

// One line for each photograph, in their order.
void Tell(const PhotoList& list, const SegmentReport& report, Device device) {
  const PhotoFile& photo = list.photos[report.index];
  if (!report.error.empty()) {
    const bool named = report.error.find(photo.path) != std::string::npos;
    Complain((named ? "" : photo.path + ": ") + report.error +
             (report.out_of_memory ? MemoryHint(device) : "") + "; skipped");
    return;
  }
  if (!report.doubt.empty()) {
    Complain(photo.path + ": looks like no fundus photograph (" + report.doubt +
             "): its maps mean nothing then");
  }
  char seconds[32];
  std::snprintf(seconds, sizeof(seconds), "%.1f s", report.seconds);
  Say("[" + std::to_string(report.index + 1) + "/" + std::to_string(list.photos.size()) + "] " +
      photo.path + " (" + Size(report.width, report.height) + ") -> " + photo.name +
      ".label.png, " + (report.normalised ? "brought to the trained scale, " : "") + seconds);
}

void AddFlags(cxxopts::Options* options) {
  const auto text = [] { return cxxopts::value<std::string>(); };
  options->add_options()  //
      ("weights",
       "weights, .safetensors, which say net, classes, size and mean; or .caffemodel (default: "
       "those that come with the program, where there are any)",
       text(), "FILE")                                                                       //
      ("net", "net definition, Caffe's prototxt, in place of the weights'", text(), "FILE")  //
      ("classes", "names of what the net tells apart, in place of the weights' or --net's", text(),
       "NAMES")  //
      ("mean", "of the input, B,G,R of 0..255, in place of the weights' or --net's", text(),
       "B,G,R")                                                                                 //
      ("input", "a photograph, a folder of them, or a list (.txt)", text(), "PATH")             //
      ("out", "folder for the maps", text(), "DIR")                                             //
      ("width", "size at which the net sees photographs (default: the weights')", text(), "W")  //
      ("height", "likewise", text(), "H")                                                       //
      ("native", "the net sees each photograph at its own size")                                //
      ("output-size", "size of the maps: the photograph's own, or the net's working size",
       text()->default_value("own"), "own|working")  //
      ("scaled-decoding",
       "decode JPEGs at 1/2, 1/4 or 1/8 where that is no less than the net's size")  //
      ("prob", "write probabilities too: npy, png, or npy,png", text(), "KINDS")     //
      ("device", "cpu, cuda, or auto: the GPU where there is one", text()->default_value("cpu"),
       "DEVICE")                                                                              //
      ("precision", "f32; bf16; on a GPU also tf32, f16", text()->default_value("f32"), "P")  //
      ("engine", "of convolutions on a GPU: own; cudnn or cublas, where these are installed",
       text()->default_value("own"), "ENGINE")  //
      ("tune", "time the convolutions' engines and take the fastest: auto (on a GPU), on, off",
       text()->default_value("auto"), "MODE")  //
      ("threads",
       "of the net (default: the processors that may be used); reading and writing have one each",
       text(), "N")  //
      ("memory",
       "that the program may have, such as 1500M or 4G, on the CPU (default: what is free)", text(),
       "SIZE")                                     //
      ("max-pixels", kMaxPixelsHelp, text(), "N")  //
      ("report", "folder for a report on the lesions: a page to look at, tables, JSON", text(),
       "DIR")  //
      ("truth", "list of the photographs with their truth, which the report's page shows, too",
       text(), "LIST")  //
      ("landmarks",
       "for the report: where disc and fovea are, CSV (IDRiD's, too) or JSON, parted by commas",
       text(), "FILES")  //
      ("threshold", "of the class map: one, or one a class (default: the weights', else 0.5)",
       text(), "T")                                                                       //
      ("no-normalise", "leave photographs of other cameras at the scale that they have")  //
      ("tta", "average over the photograph and its mirror images: slower, a little better");
}

SegmenterOptions ParseSegmenterOptions(const cxxopts::ParseResult& flags, Device device,
                                       EngineCache* cache) {
  SegmenterOptions options;
  options.precision = ParsePrecision(PrecisionFlag(flags));
  options.measure_engines = TuneFlag(flags, device);
  options.engine = EngineFlag(flags);
  options.cache = cache;
  options.memory_limit = MemoryFlag(flags);
  options.mirrored = flags.count("tta") > 0;
  TakeModel(flags, &options);
  options.planned = [device, told = std::string()](int width, int height,
                                                   const SegmentMemory& memory) mutable {
    const std::string net =
        "memory of the net at " + Size(width, height) + ": " + ToString(memory.net);
    if (net != told) Say(net);
    told = net;
    if (device == Device::kCpu && memory.beside > 0) {
      Say("memory in all: at most " + Megabytes(memory.Total()) + ", photographs " +
          Megabytes(memory.beside) + ", program " + Megabytes(memory.program));
    }
  };
  return options;
}

int Body(int argc, char** argv) {
  cxxopts::Options options("lseg_infer", "Segments the lesions of fundus photographs.\n");
  AddFlags(&options);
  const auto flags = ParseFlags(options, argc, argv, HelpEnd());
  if (!flags) return kExitOk;
  Job job = ParseJob(*flags);

  const PhotoList list = ListPhotos(job.input);
  const Device device = DeviceFlag(*flags);
  Context context(device, ThreadsFlag(*flags));
  Say(context.Describe());
  std::string problem;
  EngineCache cache = EngineCache::OfUser(TuneFlag(*flags, device), &problem);
  if (!problem.empty()) Say(problem);
  Segmenter segmenter(job.weights, context, ParseSegmenterOptions(*flags, device, &cache));
  const ModelInfo& model = segmenter.model();
  SpreadThresholds(model, &job.outputs.thresholds);
  MakeOutputFolder(job);
  const std::unique_ptr<ReportFolder> lesions = MakeReport(model, list, &job);
  for (const std::string& why : list.skipped) Say(why + "; skipped");
  if (job.width == 0) {
    job.width = model.width;
    job.height = model.height;
    if (flags->count("no-normalise") == 0) job.view_radius = model.view_radius;
  }
  if (!job.native) {
    // Photographs are as large as that at the least.
    const int64_t beside =
        PhotoMemory(job, job.width, job.height, static_cast<int>(model.classes.size()));
    HintingAtMemory(MemoryHint(device), [&] { segmenter.Prepare(job.width, job.height, beside); });
  }
  const size_t failed =
      SegmentPhotos(job, list.photos, segmenter, [&](const SegmentReport& report) {
        Tell(list, report, device);
        if (lesions) lesions->Done(list.photos[report.index], report.error);
      });
  FinishReport(job, lesions.get());
  for (const std::string& note : segmenter.notes()) Say(note);
  if (const std::string reason = cache.Write(); !reason.empty()) Say(reason);
  Say(std::to_string(list.photos.size() - failed) + " of " + std::to_string(list.photos.size()) +
      " photographs segmented into " + job.out);
  return failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace
}  // namespace lseg

int main(int argc, char** argv) {
  lseg::SpinBriefly(argv);
  return lseg::RunTool(argc, argv, lseg::Body);
}
