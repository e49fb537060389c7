#include "lseg/train_plan.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/file.h"
#include "lseg/class_names.h"
#include "lseg/layers.h"
#include "lseg/model.h"

namespace lseg {
namespace {

constexpr int64_t kValEvery = 500, kCheckpointEvery = 200;

std::string Absolute(const std::string& path) { return std::filesystem::absolute(path).string(); }

void CheckOptions(bool good, const std::string& message) {
  if (!good) throw OptionsError(message);
}

std::vector<std::string> ClassesOf(const std::string& option) {
  try {
    return ParseClasses(option, "--classes");
  } catch (const Error& error) {
    throw OptionsError(error.what());
  }
}

NetDefinition TrainNetOf(const TrainOptions& options, const SolverDefinition& solver,
                         std::vector<std::string>* notes) {
  const caffe::SolverParameter& param = solver.solver();
  if (options.net) {
    for (const char* field : {"net", "net_param", "train_net", "train_net_param"}) {
      if (solver.LineOf(field) > 0) {
        notes->push_back(solver.Where(field) + ": --net " + *options.net + " replaces " + field);
      }
    }
    return NetDefinition::FromFile(*options.net);
  }
  LSEG_CHECK(param.has_net() || param.has_net_param() || param.has_train_net() ||
                 param.has_train_net_param() || param.test_net_size() == 0,
             solver.Where("test_net") << ": test_net without a net to train");
  if (std::optional<NetDefinition> net = solver.TrainNet()) return *net;
  return NetDefinition::FromText(BuiltinNetText(), "built-in net");
}

// Name and text of a definition, such that relative paths in it are found from any folder.
void Keep(const NetDefinition& net, std::string* name, std::string* text) {
  *name = std::filesystem::exists(net.name()) ? Absolute(net.name()) : net.name();
  *text = net.text();
}

// The text with a state's stages and level as the net's own, so that a weights file, which knows no
// solver, selects the same layers. Lines stay; a net with a state of its own is printed anew.
std::string WithState(const NetDefinition& net, caffe::NetState state) {
  state.clear_phase();
  if (state.level() == 0) state.clear_level();
  if (state.ByteSizeLong() == 0) return net.text();
  if (!net.net().has_state()) {
    return net.text() + "\nstate { " + state.ShortDebugString() + " }\n";
  }
  caffe::NetParameter printed = net.net();
  printed.mutable_state()->MergeFrom(state);
  return printed.Utf8DebugString();
}

// Whether Caffe's own tests are the validation: so many batches (test_iter) of the test net's data
// layer. What is not obeyed is said.
bool PlanTests(const TrainOptions& options, const SolverDefinition& solver, const TrainPlan& plan,
               std::vector<std::string>* notes) {
  const caffe::SolverParameter& param = solver.solver();
  const bool given = param.test_iter_size() > 0;
  const bool train_only = !options.net && (param.has_train_net() || param.has_train_net_param()) &&
                          param.test_net_size() + param.test_net_param_size() == 0;
  LSEG_CHECK(!given || !train_only || options.val,
             solver.Where("test_iter") << ": test_iter, but no net to test: train_net is for "
                                          "training alone; add test_net, or write net for both");
  const bool layer = FindDataLayer(plan.TestNet().Filtered(caffe::TEST)) >= 0;
  if (given && !options.val && layer) return true;
  const std::string reason =
      options.val ? "all of --val is validated on"
      : given     ? "the net has no ImageLabelmapData in phase TEST (--val takes a list)"
                  : "there is no test_iter (--val takes a list)";
  if (given) notes->push_back(solver.Where("test_iter") + ": test_iter is ignored: " + reason);
  if (param.test_interval() > 0 && !options.val) {
    notes->push_back(solver.Where("test_interval") + ": test_interval is ignored: " + reason);
  }
  return false;
}

// The list of a net's data layer; "" where it has none.
std::string SourceOf(const NetDefinition& net) {
  const int layer = FindDataLayer(net);
  if (layer < 0) return "";
  return Absolute(ResolvePath(net.layer(layer).image_data_param().source(), net.name()));
}

// Says what Caffe's tests will read.
void NoteTests(const SolverDefinition& solver, const TrainPlan& plan,
               std::vector<std::string>* notes) {
  if (plan.val_every == 0) {
    notes->push_back(solver.Where("test_iter") +
                     ": test_iter is ignored: there is no test_interval");
    return;
  }
  const NetDefinition test = plan.TestNet().Filtered(caffe::TEST);
  const int layer = FindDataLayer(test);
  const bool trained = SourceOf(test) == plan.TrainingList();
  notes->push_back(test.Where(layer, "image_data_param.source") + ": validation reads '" +
                   test.layer(layer).image_data_param().source() + "'" +
                   (trained ? ", the list that is trained on: best.safetensors will be the best on "
                              "training images"
                            : ""));
}

void PlanSchedule(const TrainOptions& options, const SolverDefinition& solver, TrainPlan* plan,
                  std::vector<std::string>* notes) {
  const caffe::SolverParameter& param = solver.solver();
  const auto choose = [&](const char* flag, const char* field, std::optional<int64_t> option,
                          bool has, int64_t value, int64_t fallback) {
    if (!option) return has ? value : fallback;
    if (has && options.solver && *option != value) {
      notes->push_back(solver.Where(field) + ": --" + flag + " " + std::to_string(*option) +
                       " replaces " + field + " " + std::to_string(value));
    }
    return *option;
  };
  LSEG_CHECK(options.iterations || param.has_max_iter(),
             solver.name() << ": max_iter is missing: add it, or give --iterations");
  plan->iterations = choose("iterations", "max_iter", options.iterations, param.has_max_iter(),
                            param.max_iter(), 0);
  plan->seed =
      choose("seed", "random_seed", options.seed, param.random_seed() >= 0, param.random_seed(), 1);
  plan->checkpoint_every = choose("checkpoint-every", "snapshot", options.checkpoint_every,
                                  param.snapshot() > 0, param.snapshot(), kCheckpointEvery);
  const bool tests = PlanTests(options, solver, *plan, notes);
  CheckOptions(options.val || tests || !options.val_every,
               "--val-every without --val: there is nothing to validate on");
  if (!options.val && !tests) return;
  plan->val_every =
      choose("val-every", "test_interval", options.val_every, param.test_interval() > 0,
             param.test_interval(), options.val ? kValEvery : 0);
  if (tests) NoteTests(solver, *plan, notes);
}

void PlanData(const TrainOptions& options, const SolverDefinition& solver, TrainPlan* plan,
              std::vector<std::string>* notes) {
  const NetDefinition net =
      NetDefinition::FromText(plan->net_text, plan->net_name).Filtered(solver.TrainState());
  plan->augment = FindDataLayer(net) < 0;
  if (options.val) plan->val = Absolute(*options.val);
  if (options.weights) plan->weights = Absolute(*options.weights);
  if (options.data) plan->data = Absolute(*options.data);
  if (plan->augment) {
    CheckOptions(options.data.has_value(), "--data is missing: the list of images to train on");
    if (options.crop) std::tie(plan->crop_width, plan->crop_height) = *options.crop;
    return;
  }
  CheckOptions(!options.max_pixels,
               plan->net_name +
                   ": --max-pixels has no effect: the net's data layer reads images of "
                   "up to " +
                   std::to_string(kMaxPixels) + " pixels");
  CheckOptions(!options.crop, plan->net_name +
                                  ": --crop has no effect: the net's data layer says "
                                  "what it gives (transform_param crop_size)");
  for (int i = 0; i < net.layer_count() && options.data; ++i) {
    if (net.layer(i).type() != kImageLabelmapData) continue;
    const caffe::ImageDataParameter& param = net.layer(i).image_data_param();
    notes->push_back(
        net.Where(i, "image_data_param.source") + ": --data " + *options.data +
        " replaces source '" + param.source() + "'" +
        (param.root_folder().empty() ? "" : " and root_folder '" + param.root_folder() + "'"));
  }
}

[[noreturn]] void FailToResume(const std::string& contradiction) {
  throw OptionsError(contradiction + ": leave it out, or start anew in another --out");
}

std::string Text(int64_t value) { return std::to_string(value); }
std::string Text(const std::string& value) { return value; }

}  // namespace

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainPlan, net_name, net_text, solver_name, solver_text,
                                   test_net_name, test_net_text, data, val, weights, classes,
                                   augment, crop_width, crop_height, iterations, seed, val_every,
                                   checkpoint_every, threads, device, precision, engine, tune)

std::string TrainPlan::ToJson() const { return nlohmann::json(*this).dump(); }

TrainPlan TrainPlan::FromJson(const std::string& text) {
  try {
    return nlohmann::json::parse(text).get<TrainPlan>();
  } catch (const nlohmann::json::exception& error) {
    LSEG_FAIL("the options kept in the checkpoint cannot be read: " << error.what());
  }
}

Device TrainPlan::OnDevice() const {
  LSEG_CHECK(device == "cpu" || device == "cuda",
             "device '" << device << "' is not there: cpu and cuda are");
  return device == "cpu" ? Device::kCpu : Device::kCuda;
}

NetDefinition TrainPlan::Net() const {
  NetDefinition net = NetDefinition::FromText(net_text, net_name);
  for (int i = 0; i < net.layer_count() && !data.empty(); ++i) {
    caffe::LayerParameter layer = net.layer(i);
    if (layer.type() != kImageLabelmapData) continue;
    layer.mutable_image_data_param()->set_source(data);
    layer.mutable_image_data_param()->clear_root_folder();
    net.ReplaceLayer(i, layer);
  }
  return net;
}

std::string TrainPlan::TrainingList() const {
  return data.empty() ? SourceOf(Net().Filtered(Solver().TrainState())) : data;
}

NetDefinition TrainPlan::TestNet() const {
  return NetDefinition::FromText(test_net_text, test_net_name);
}

SolverDefinition TrainPlan::Solver() const {
  return SolverDefinition::FromText(solver_text, solver_name);
}

caffe::SolverParameter TrainPlan::SolverParam() const {
  caffe::SolverParameter param = Solver().solver();
  param.set_max_iter(static_cast<int32_t>(iterations));
  param.set_random_seed(seed);
  return param;
}

TrainPlan MakePlan(const TrainOptions& options, std::vector<std::string>* notes) {
  TrainPlan plan;
  const SolverDefinition solver =
      options.solver ? SolverDefinition::FromFile(*options.solver)
                     : SolverDefinition::FromText(BuiltinSolverText(), "built-in solver");
  plan.solver_name = options.solver ? Absolute(*options.solver) : solver.name();
  plan.solver_text = solver.text();
  for (const std::string& note : solver.notes()) notes->push_back(note);
  const NetDefinition net = TrainNetOf(options, solver, notes);
  Keep(net, &plan.net_name, &plan.net_text);
  const std::optional<NetDefinition> test = options.net ? std::nullopt : solver.TestNet();
  Keep(test ? *test : net, &plan.test_net_name, &plan.test_net_text);
  plan.test_net_text = WithState(plan.TestNet(), solver.TestState());
  plan.classes = options.classes
                     ? ClassesOf(*options.classes)
                     : FromDefinition(test ? *test : net, {}, /*with_mean=*/false).classes;
  PlanData(options, solver, &plan, notes);
  PlanSchedule(options, solver, &plan, notes);
  plan.threads = Context(Device::kCpu, options.threads.value_or(0)).threads();
  plan.device = options.device.value_or(plan.device);
  plan.precision = options.precision.value_or(plan.precision);
  plan.engine = options.engine.value_or(plan.engine);
  plan.tune = options.tune.value_or(false);
  plan.max_pixels = options.max_pixels.value_or(kMaxPixels);
  return plan;
}

void ApplyToResumed(const TrainOptions& options, TrainPlan* plan, std::vector<std::string>* notes) {
  const auto same = [](const char* flag, const auto& option, const auto& planned) {
    if (!option || *option == planned) return;
    FailToResume("--" + std::string(flag) + " " + Text(*option) +
                 " contradicts the training to resume, which was started with " +
                 (Text(planned).empty() ? "none" : Text(planned)));
  };
  const auto path = [](const std::optional<std::string>& option) {
    return option ? std::optional<std::string>(Absolute(*option)) : std::nullopt;
  };
  same("data", path(options.data), plan->data);
  same("val", path(options.val), plan->val);
  same("weights", path(options.weights), plan->weights);
  if (options.classes && ClassesOf(*options.classes) != plan->classes) {
    FailToResume("--classes " + *options.classes + " contradicts the training to resume");
  }
  same("device", options.device, plan->device);
  same("precision", options.precision, plan->precision);
  same("engine", options.engine, plan->engine);
  same("iterations", options.iterations, plan->iterations);
  same("seed", options.seed, plan->seed);
  same("val-every", options.val_every, plan->val_every);
  same("checkpoint-every", options.checkpoint_every, plan->checkpoint_every);
  const auto size = [](int width, int height) { return Text(width) + "x" + Text(height); };
  if (options.crop) {
    same("crop", std::optional<std::string>(size(options.crop->first, options.crop->second)),
         size(plan->crop_width, plan->crop_height));
  }
  const auto same_text = [](const char* flag, const std::optional<std::string>& file,
                            const std::string& planned) {
    if (!file || ReadFile(*file) == planned) return;
    FailToResume("--" + std::string(flag) + " " + *file +
                 " is not the definition that the training to resume was started with");
  };
  same_text("net", options.net, plan->net_text);
  same_text("solver", options.solver, plan->solver_text);
  CheckOptions(!options.tune || *options.tune == plan->tune,
               "--tune contradicts the training to resume: its engines are chosen already");
  plan->max_pixels = options.max_pixels.value_or(kMaxPixels);
  if (options.threads && *options.threads != plan->threads) {
    notes->push_back("--threads " + std::to_string(*options.threads) + " replaces " +
                     std::to_string(plan->threads) +
                     ": weights will differ in their last bits from an unbroken run's");
    plan->threads = *options.threads;
  }
}

}  // namespace lseg
