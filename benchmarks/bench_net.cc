// Times one whole pass of the built-in L-Seg, for people (--layers) and for compare_torch.py, which
// reads the line of JSON that comes last. One process measures one thing, so that its peak memory
// is that thing's own.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cxxopts.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "framework/net.h"
#include "framework/solver_definition.h"
#include "framework/weights.h"
#include "kernels/runtime/random.h"
#include "lseg/model.h"

namespace lseg {
namespace {

constexpr int64_t kLesions = 4;
constexpr char kSolver[] =
    "type: 'SGD' base_lr: 1e-9 lr_policy: 'fixed' momentum: 0.9 weight_decay: 2e-4 max_iter: 1";

struct Options {
  bool train = false;
  int64_t width = 1440, height = 960;
  int threads = 0, repeat = 3, warmup = 1;
  bool layers = false, measure = false;
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

// Values that give logits on both sides of 0; blocks of every lesion, 2 % of the pixels in all.
void FillInputs(Net& net, const Shape& image, bool train) {
  Random random(1, 0);
  float* data = net.InputF32("data");
  std::generate(data, data + image.Count(), [&] { return random.Uniform(-32, 32); });
  if (!train) return;
  auto* label = static_cast<uint8_t*>(net.Input("label"));
  for (int64_t c = 0; c < kLesions; ++c) {
    const int64_t top = image.h * (2 * c + 1) / 9, left = image.w * (2 * c + 1) / 9;
    for (int64_t y = top; y < top + image.h / 14; ++y) {
      uint8_t* row = label + (c * image.h + y) * image.w + left;
      std::fill(row, row + image.w / 14, uint8_t{1});
    }
  }
}

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

void PrintLayers(const std::vector<NodeTime>& times, size_t nodes) {
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
  for (size_t node = 0; node < nodes; ++node) {
    std::printf("%-20s %-24s %9.2f ms %6.1f %%\n", times[node].layer.c_str(),
                times[node].op.c_str(), 1e3 * medians[node], 100 * medians[node] / total);
  }
}

std::unique_ptr<Net> MakeNet(const Options& options, const SolverDefinition& solver,
                             Context& context, std::shared_ptr<ParameterSet> parameters) {
  const NetDefinition definition = NetDefinition::FromText(BuiltinNetText(), "built-in net");
  const Shape image{1, 3, options.height, options.width};
  NetOptions net_options;
  net_options.measure_engines = options.measure;
  net_options.inputs["data"] = TensorDesc{image};
  if (options.train) {
    net_options.phase = caffe::TRAIN;
    net_options.solver = &solver.solver();
    net_options.inputs["label"] = TensorDesc{Shape{1, kLesions, image.h, image.w}, DType::kU8};
  }
  auto net =
      std::make_unique<Net>(options.train ? definition : MakeInferenceNet(definition).definition,
                            BuiltinLayers(), context, std::move(parameters), net_options);
  FillInputs(*net, image, options.train);
  return net;
}

void Run(const Options& options) {
  Context context(Device::kCpu, options.threads);
  const SolverDefinition solver = SolverDefinition::FromText(kSolver, "benchmark");
  auto parameters = std::make_shared<ParameterSet>();
  const std::unique_ptr<Net> net = MakeNet(options, solver, context, parameters);
  if (!options.save.empty()) Save(options.save, *net, *parameters);

  const auto pass = [&](int64_t iteration) {
    net->Forward();
    if (!options.train) return;
    net->Backward();
    net->Update(1e-9f, iteration);
  };
  for (int i = 0; i < options.warmup; ++i) pass(i);
  std::vector<NodeTime> times;
  if (options.layers) net->RecordTimes(&times);
  std::vector<double> seconds;
  for (int i = 0; i < options.repeat; ++i) {
    const auto start = std::chrono::steady_clock::now();
    pass(options.warmup + i);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    seconds.push_back(passed.count());
  }
  if (options.layers) PrintLayers(times, times.size() / seconds.size());
  std::cout << nlohmann::ordered_json{{"mode", options.train ? "train" : "forward"},
                                      {"width", options.width},
                                      {"height", options.height},
                                      {"context", context.Describe()},
                                      {"threads", context.threads()},
                                      {"engines", net->engines()},
                                      {"seconds", seconds},
                                      {"median_seconds", Median(seconds)},
                                      {"peak_rss_bytes", PeakRss()},
                                      {"planned_bytes", net->memory().Total()},
                                      {"arena_bytes", net->memory().arena}}
                   .dump()
            << "\n";
}

int Main(int argc, char** argv) {
  cxxopts::Options flags("bench_net", "Times a pass of the built-in L-Seg; JSON on the last line.");
  flags.positional_help("forward|train")
      .add_options()  //
      ("mode", "forward: one inference; train: one training step",
       cxxopts::value<std::string>())                                              //
      ("width", "of the image", cxxopts::value<int64_t>()->default_value("1440"))  //
      ("height", "of the image", cxxopts::value<int64_t>()->default_value("960"))  //
      ("repeat", "timed passes", cxxopts::value<int>()->default_value("3"))        //
      ("warmup", "passes before them", cxxopts::value<int>()->default_value("1"))  //
      ("threads", "0: all", cxxopts::value<int>()->default_value("0"))             //
      ("layers", "a table of the time of each node")                               //
      ("measure", "choose convolution engines by timing them")                     //
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
  options.width = parsed["width"].as<int64_t>();
  options.height = parsed["height"].as<int64_t>();
  options.repeat = parsed["repeat"].as<int>();
  options.warmup = parsed["warmup"].as<int>();
  options.threads = parsed["threads"].as<int>();
  options.layers = parsed.count("layers") > 0;
  options.measure = parsed.count("measure") > 0;
  options.save = parsed["save"].as<std::string>();
  LSEG_CHECK(mode == "forward" || mode == "train",
             "say what to time: forward or train, not '" << mode << "'");
  LSEG_CHECK(options.repeat > 0, "--repeat " << options.repeat << " must be positive");
  LSEG_CHECK(options.warmup > 0 || !options.layers, "--layers needs a pass of warm-up");
  Run(options);
  return 0;
}

}  // namespace
}  // namespace lseg

int main(int argc, char** argv) {
  try {
    return lseg::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "bench_net: " << error.what() << "\n";
    return 1;
  }
}
