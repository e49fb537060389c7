// Times one whole pass of the built-in L-Seg, for people (--layers) and for bench_cpu.py, which
// reads the line of JSON that comes last. One process measures one thing, so that its peak memory
// is that thing's own. On a GPU a forward pass is timed twice: on an image that lies there already,
// and with the image's way there and the answer's way back.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/net.h"
#include "framework/solver_definition.h"
#include "framework/text.h"
#include "framework/weights.h"
#include "kernels/runtime/random.h"
#include "lseg/model.h"
#include "tools/tool.h"

#if LSEG_WITH_CUDA
#include "kernels/cuda/launch.h"
#endif

namespace lseg {
namespace {

constexpr int64_t kLesions = 4;
constexpr char kSolver[] =
    "type: 'SGD' base_lr: 1e-9 lr_policy: 'fixed' momentum: 0.9 weight_decay: 2e-4 max_iter: 1";

struct Options {
  bool train = false;
  Device device = Device::kCpu;
  Precision precision = Precision::kF32;
  std::string library;
  int64_t batch = 1, width = 1440, height = 960;
  int threads = 0, repeat = 3, warmup = 1;
  bool layers = false, measure = false, unproven = false;
  std::set<std::string> without;  // passes
  std::string save;
};

int64_t PeakRss() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{1024} * usage.ru_maxrss;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// Bytes of a GPU's memory that are taken, by whomever; 0 on the CPU.
int64_t TakenDeviceBytes(const Context& context) {
  if (context.device() == Device::kCpu) return 0;
#if LSEG_WITH_CUDA
  size_t free = 0, total = 0;
  LSEG_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(total - free);
#else
  LSEG_FAIL("built without CUDA");
#endif
}

// The same batch each time. Values that give logits on both sides of 0; blocks of every lesion, 2 %
// of the pixels in all.
class ConstantBatch : public DataSource {
 public:
  explicit ConstantBatch(const Options& options)
      : image_{options.batch, 3, options.height, options.width}, train_(options.train) {}

  std::vector<TensorDesc> Blobs() const override {
    std::vector<TensorDesc> blobs = {TensorDesc{image_}};
    if (train_) blobs.push_back({Shape{image_.n, kLesions, image_.h, image_.w}, DType::kU8});
    return blobs;
  }
  std::vector<std::string> Names() const {
    return train_ ? std::vector<std::string>{"data", "label"} : std::vector<std::string>{"data"};
  }
  void Fill(int64_t /*iteration*/, std::span<void* const> blobs) override {
    Random random(1, 0);
    float* data = static_cast<float*>(blobs[0]);
    std::generate(data, data + image_.Count(), [&] { return random.Uniform(-32, 32); });
    if (train_) FillLabel(static_cast<uint8_t*>(blobs[1]));
  }

 private:
  void FillLabel(uint8_t* label) const {
    std::fill(label, label + image_.n * kLesions * image_.h * image_.w, uint8_t{0});
    for (int64_t map = 0; map < image_.n * kLesions; ++map) {
      const int64_t c = map % kLesions;
      const int64_t top = image_.h * (2 * c + 1) / 9, left = image_.w * (2 * c + 1) / 9;
      for (int64_t y = top; y < top + image_.h / 14; ++y) {
        uint8_t* row = label + (map * image_.h + y) * image_.w + left;
        std::fill(row, row + image_.w / 14, uint8_t{1});
      }
    }
  }

  Shape image_;
  bool train_;
};

void AddBlob(WeightsFile& file, const Net& net, const std::string& blob) {
  const Shape& shape = net.Desc(blob).shape;
  file.Add({blob, {shape.n, shape.c, shape.h, shape.w}, net.Read(blob)});
}

// Runs a pass and writes what went in and what came out, for a check by another implementation:
// weights, inputs, and the probabilities, or else the losses and the gradients of all weights.
void Save(const std::string& folder, Net& net, const ParameterSet& parameters) {
  net.Forward();
  WeightsFile weights, arrays;
  parameters.Store(weights);
  weights.Write(folder + "/weights.safetensors");
  AddBlob(arrays, net, "data");
  if (net.losses().empty()) {
    AddBlob(arrays, net, "probability");
  } else {
    AddBlob(arrays, net, "label");
    net.Backward();
    std::vector<float> losses;
    for (size_t i = 0; i < net.losses().size(); ++i) {
      losses.push_back(net.LossValue(static_cast<int>(i)));
    }
    arrays.Add({"losses", {static_cast<int64_t>(losses.size())}, losses});
    for (const NetParam& param : net.params()) {
      if (param.lr_mult == 0) continue;
      const std::vector<float> gradient = net.Gradient(param.key);
      arrays.Add({param.key, {static_cast<int64_t>(gradient.size())}, gradient});
    }
  }
  arrays.Write(folder + "/arrays.safetensors");
}

// Prints a line a node, and gives the same as JSON.
nlohmann::ordered_json Layers(const std::vector<NodeTime>& times, size_t nodes) {
  const size_t passes = times.size() / nodes;
  double total = 0;
  std::vector<double> medians;
  for (size_t node = 0; node < nodes; ++node) {
    std::vector<double> seconds;
    for (size_t pass = 0; pass < passes; ++pass) {
      seconds.push_back(times[pass * nodes + node].seconds);
    }
    medians.push_back(Median(seconds));
    total += medians.back();
  }
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (size_t node = 0; node < nodes; ++node) {
    std::printf("%-20s %-24s %9.3f ms %6.1f %%\n", times[node].layer.c_str(),
                times[node].op.c_str(), 1e3 * medians[node], 100 * medians[node] / total);
    layers.push_back({{"layer", times[node].layer},
                      {"op", times[node].op},
                      {"ms", 1e3 * medians[node]},
                      {"bytes", times[node].bytes}});
  }
  return layers;
}

std::unique_ptr<Net> MakeNet(const Options& options, const SolverDefinition& solver,
                             Context& context, std::shared_ptr<ParameterSet> parameters,
                             ConstantBatch& batch) {
  const NetDefinition definition = NetDefinition::FromText(BuiltinNetText(), "built-in net");
  NetOptions net_options;
  net_options.measure_engines = options.measure;
  net_options.unproven_engines = options.unproven;
  net_options.precision = options.precision;
  net_options.library = options.library;
  net_options.without_passes = options.without;
  const std::vector<TensorDesc> blobs = batch.Blobs();
  for (size_t i = 0; i < blobs.size(); ++i) net_options.inputs[batch.Names()[i]] = blobs[i];
  if (options.train) {
    net_options.phase = caffe::TRAIN;
    net_options.solver = &solver.solver();
  } else {
    net_options.release_packed = options.save.empty();  // as in segmenting
  }
  auto net =
      std::make_unique<Net>(options.train ? definition : MakeInferenceNet(definition).definition,
                            BuiltinLayers(), context, std::move(parameters), net_options);
  if (context.device() == Device::kCpu) {
    std::vector<void*> inputs;
    for (const std::string& name : batch.Names()) inputs.push_back(net->Input(name));
    batch.Fill(0, inputs);
  } else {  // brought there once: what Input gives is copied at every pass
    net->AttachSource(&batch, batch.Names());
    net->Fetch(0);
  }
  return net;
}

// Seconds of each of options.repeat passes, after the warm-up.
std::vector<double> Time(const Options& options, const std::function<void(int64_t)>& pass) {
  for (int i = 0; i < options.warmup; ++i) pass(i);
  std::vector<double> seconds;
  for (int i = 0; i < options.repeat; ++i) {
    const auto start = std::chrono::steady_clock::now();
    pass(options.warmup + i);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    seconds.push_back(passed.count());
  }
  return seconds;
}

// A forward pass with the copies to the GPU and back.
double MedianWithCopies(const Options& options, Net& net, Context& context, ConstantBatch& batch) {
  void* data = net.Input("data");
  batch.Fill(0, {&data, 1});
  return Median(Time(options, [&](int64_t) {
    net.Forward();
    net.Output(net.outputs().front());
    context.Synchronize();
  }));
}

void Run(const Options& options) {
  Context context(options.device, options.threads);
  const int64_t taken = TakenDeviceBytes(context);
  const SolverDefinition solver = SolverDefinition::FromText(kSolver, "benchmark");
  auto parameters = std::make_shared<ParameterSet>(options.device);
  ConstantBatch batch(options);
  const std::unique_ptr<Net> net = MakeNet(options, solver, context, parameters, batch);
  if (!options.save.empty()) Save(options.save, *net, *parameters);

  const auto pass = [&](int64_t iteration) {
    net->Forward();
    if (options.train) {
      net->Backward();
      net->Update(1e-9f, iteration);
    }
    context.Synchronize();
  };
  const std::vector<double> seconds = Time(options, pass);
  const double median = Median(seconds);
  nlohmann::ordered_json report{{"mode", options.train ? "train" : "forward"},
                                {"device", ToString(options.device)},
                                {"precision", ToString(options.precision)},
                                {"library", options.library},
                                {"without", options.without},
                                {"batch", options.batch},
                                {"width", options.width},
                                {"height", options.height},
                                {"context", context.Describe()},
                                {"threads", context.threads()},
                                {"engines", net->engines()},
                                {"seconds", seconds},
                                {"median_seconds", median},
                                {"images_per_second", static_cast<double>(options.batch) / median},
                                {"peak_rss_bytes", PeakRss()},
                                {"planned_bytes", net->memory().Total()},
                                {"arena_bytes", net->memory().arena}};
  if (options.device == Device::kCuda) {
    report["device_bytes"] = TakenDeviceBytes(context) - taken;
    if (!options.train) {
      report["median_seconds_with_copies"] = MedianWithCopies(options, *net, context, batch);
    }
  }
  if (options.layers) {
    std::vector<NodeTime> times;
    net->RecordTimes(&times);
    for (int i = 0; i < options.repeat; ++i) pass(options.warmup + i);
    report["layers"] = Layers(times, times.size() / static_cast<size_t>(options.repeat));
  }
  std::cout << report.dump() << "\n";
}

int Main(int argc, char** argv) {
  cxxopts::Options flags("bench_net", "Times a pass of the built-in L-Seg; JSON on the last line.");
  flags.positional_help("forward|train")
      .add_options()  //
      ("mode", "forward: one inference; train: one training step",
       cxxopts::value<std::string>())                                                 //
      ("device", "cpu or cuda", cxxopts::value<std::string>()->default_value("cpu"))  //
      ("library", "cudnn or cublas: for the convolutions that it does",
       cxxopts::value<std::string>()->default_value(""))  //
      ("precision", "f32; bf16; on a GPU also tf32, f16",
       cxxopts::value<std::string>()->default_value("f32"))                        //
      ("batch", "images", cxxopts::value<int64_t>()->default_value("1"))           //
      ("width", "of the image", cxxopts::value<int64_t>()->default_value("1440"))  //
      ("height", "of the image", cxxopts::value<int64_t>()->default_value("960"))  //
      ("repeat", "timed passes", cxxopts::value<int>()->default_value("3"))        //
      ("warmup", "passes before them", cxxopts::value<int>()->default_value("1"))  //
      ("threads", "0: all", cxxopts::value<int>()->default_value("0"))             //
      ("layers", "a table of the time of each node")                               //
      ("measure", "choose convolution engines by timing them")                     //
      ("unproven", "with --measure: also those that no GPU has run yet")           //
      ("without", "passes to leave out (framework/net.h), with commas between",
       cxxopts::value<std::string>()->default_value(""))  //
      ("save", "folder for weights, inputs and what comes out, to check against",
       cxxopts::value<std::string>()->default_value(""))  //
      ("help", "this text");
  flags.parse_positional({"mode"});
  const cxxopts::ParseResult parsed = flags.parse(argc, argv);
  if (parsed.count("help") > 0) {
    std::cout << flags.help();
    return 0;
  }
  const std::string mode = parsed.count("mode") > 0 ? parsed["mode"].as<std::string>() : "";
  Options options;
  options.train = mode == "train";
  const std::string device = parsed["device"].as<std::string>();
  LSEG_CHECK(device == "cpu" || device == "cuda", "--device '" << device << "': cpu or cuda");
  options.device = device == "cuda" ? Device::kCuda : Device::kCpu;
  options.precision = ParsePrecision(parsed["precision"].as<std::string>());
  options.library = parsed["library"].as<std::string>();
  options.batch = parsed["batch"].as<int64_t>();
  options.width = parsed["width"].as<int64_t>();
  options.height = parsed["height"].as<int64_t>();
  options.repeat = parsed["repeat"].as<int>();
  options.warmup = parsed["warmup"].as<int>();
  options.threads = parsed["threads"].as<int>();
  options.layers = parsed.count("layers") > 0;
  options.measure = parsed.count("measure") > 0;
  options.unproven = parsed.count("unproven") > 0;
  LSEG_CHECK(!options.unproven || options.measure, "--unproven is for --measure");
  for (const std::string& pass : SplitAtCommas(parsed["without"].as<std::string>())) {
    if (!pass.empty()) options.without.insert(pass);
  }
  options.save = parsed["save"].as<std::string>();
  LSEG_CHECK(mode == "forward" || mode == "train",
             "say what to time: forward or train, not '" << mode << "'");
  LSEG_CHECK(options.repeat > 0, "--repeat " << options.repeat << " must be positive");
  Run(options);
  return 0;
}

}  // namespace
}  // namespace lseg

int main(int argc, char** argv) { return lseg::RunTool(argc, argv, lseg::Main); }
