// lseg_train: from a list of images to a trained model.
#include <atomic>
#include <csignal>

#include "lseg/trainer.h"
#include "tools/tool.h"

namespace lseg {
namespace {

std::atomic<int> stop_signal = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler sets it");

// The first signal asks for a checkpoint; a second one ends the process at once.
void OnSignal(int number) {
  stop_signal = number;
  std::signal(number, SIG_DFL);
}

constexpr char kHelpEnd[] = R"(
Examples
  Train the built-in L-Seg on prepared images, from a pretrained trunk:
    lseg_train --data idrid/train.txt --val idrid/val.txt --weights vgg16_hed_f16.safetensors
               --out run1
  Stop it with Ctrl-C, and go on:
    lseg_train --out run1 --resume
  Reproduce a published definition, whose data layer says what is read:
    lseg_train --net published.prototxt --solver published_solver.prototxt --out run2

  Look at a net before it is trained:
    lseg_train --net mine.prototxt --data idrid/train.txt --dry-run --dot net.dot

A list has a line `image label` for each image, relative to the list (lseg_prep build writes them).
Masks beside the label maps (masks/<stem>_EX.png and so on) are used where there are any. Or a line
names a mask for each lesion after the image, with tabs between; - in the place of one that nobody
has looked for, which that image then teaches nothing about. Lesions of masks may overlap. For a
net with one class the label may be its mask, 0 and 255.

Without --net and --solver: the built-in L-Seg; Adam, rate 1.5e-4 (score and fusion layers ten times
that), 100 iterations of warm-up, then a cosine to 0 over 2000 iterations; crops of 448x448, 60 % of
them around lesions, mirrored, turned, scaled by 0.8 to 1.25, varied in colour. 2000 iterations take
about 45 minutes on 2 cores (AVX2); 6000 give better maps. With an ImageLabelmapData layer in
--net, exactly what that layer and the solver say is done.

A net of one's own without a data layer has two Inputs, `data` (N,3,H,W) and `label`, (N,1,H,W) or
(N,classes,H,W), which get crops as the built-in L-Seg's; one that ends in SoftmaxWithLoss has a
channel more than classes, the background.

In the folder --out: final.safetensors, best.safetensors (of the highest mean AUPR on --val),
log.csv, val.csv, curves.svg, and checkpoint.safetensors for --resume.

Ctrl-C and SIGTERM write a checkpoint and end with exit code 128 + signal (130, 143).
)";

// Ends a message about memory: what a user can change.
std::string MemoryHint(const TrainOptions& options) {
  const bool cpu = options.device.value_or("cpu") == "cpu";
  return std::string("; what helps: ") + (cpu ? "a larger --memory, " : "") +
         "a smaller --crop (or, in validation, smaller images), fewer images a batch in --net, " +
         (cpu ? "or --precision bf16" : "--precision bf16, or --device cpu");
}

std::optional<std::string> Text(const cxxopts::ParseResult& flags, const char* name) {
  return flags.count(name) ? std::optional(RequiredFlag(flags, name)) : std::nullopt;
}

std::optional<int64_t> Whole(const cxxopts::ParseResult& flags, const char* name, int64_t min) {
  constexpr int64_t kMax = 2147483647;
  return flags.count(name) ? std::optional(IntegerFlag(flags, name, min, kMax)) : std::nullopt;
}

cxxopts::Options Flags() {
  cxxopts::Options options("lseg_train", "Trains L-Seg, or another net, to segment lesions.");
  const auto text = cxxopts::value<std::string>();
  options.add_options()                                                //
      ("data", "list of the images to train on", text, "LIST")         //
      ("val", "list of images to validate on", text, "LIST")           //
      ("solver", "solver definition, Caffe's prototxt", text, "FILE")  //
      ("net", "net definition, Caffe's prototxt", text, "FILE")        //
      ("classes",
       "names of what the net tells apart (the definition's class_name, else EX,HE,MA,SE)", text,
       "NAMES")                                                                                //
      ("weights", "weights to start from: .safetensors or Caffe's .caffemodel", text, "FILE")  //
      ("out", "folder for the results", text, "DIR")                                           //
      ("resume", "go on from the checkpoint in --out")                                         //
      ("dry-run", "check everything, say the net layer by layer and what it needs, and stop")  //
      ("dot", "with --dry-run: the net as a graph, for Graphviz", text, "FILE")                //
      ("device", "where to train: cpu (default), cuda, or auto", text, "DEVICE")               //
      ("precision", "of activations and products: f32 (default); bf16; on a GPU also tf32, f16",
       text, "P")                                                                      //
      ("iterations", "steps (instead of the solver's max_iter)", text, "N")            //
      ("crop", "size of the crops (448x448)", text, "WxH")                             //
      ("seed", "of all random numbers (the solver's random_seed, else 1)", text, "S")  //
      ("val-every", "iterations between validations (the solver's test_interval, else 500)", text,
       "N")  //
      ("checkpoint-every", "iterations between checkpoints (the solver's snapshot, else 200)", text,
       "N")                                                                            //
      ("threads", "of the net (default: the processors that may be used)", text, "N")  //
      ("memory",
       "that the program may have, such as 1500M or 4G, on the CPU (default: what is free)", text,
       "SIZE")  //
      ("engine",
       "of convolutions on a GPU: own (default); cudnn or cublas, where these are installed", text,
       "ENGINE")  //
      ("tune", "time the convolutions' engines and take the fastest: auto (on a GPU), on, off",
       cxxopts::value<std::string>()->default_value("auto"), "MODE")  //
      ("max-pixels", kMaxPixelsHelp, text, "N");
  return options;
}

int Train(int argc, char** argv) {
  cxxopts::Options declared = Flags();
  const auto flags = ParseFlags(declared, argc, argv, kHelpEnd);
  if (!flags) return kExitOk;
  const bool dry = flags->count("dry-run") > 0;
  if (flags->count("dot") && !dry) throw UsageError("--dot needs --dry-run");
  if (dry && flags->count("resume")) throw UsageError("--dry-run and --resume exclude one another");
  const std::string folder = dry ? "" : RequiredFlag(*flags, "out");
  TrainOptions options;
  if (flags->count("device")) options.device = ToString(DeviceFlag(*flags));
  if (flags->count("precision")) options.precision = PrecisionFlag(*flags);
  if (flags->count("engine")) options.engine = EngineFlag(*flags);
  options.data = Text(*flags, "data");
  options.val = Text(*flags, "val");
  options.solver = Text(*flags, "solver");
  options.net = Text(*flags, "net");
  options.weights = Text(*flags, "weights");
  options.classes = Text(*flags, "classes");
  options.iterations = Whole(*flags, "iterations", 1);
  options.seed = Whole(*flags, "seed", 0);
  options.val_every = Whole(*flags, "val-every", 1);
  options.checkpoint_every = Whole(*flags, "checkpoint-every", 0);
  if (flags->count("max-pixels")) {
    options.max_pixels = MaxPixelsFlag(*flags, kMaxPixels, kMostPixels);
  }
  options.memory_limit = MemoryFlag(*flags);
  if (flags->count("threads"))
    options.threads = static_cast<int>(IntegerFlag(*flags, "threads", 1, 1024));
  if (flags->count("crop")) {
    const FlagSize size = SizeFlag(*flags, "crop", 16, 16384);
    options.crop = {size.width, size.height};
  }
  const bool resume = flags->count("resume") > 0;
  if (!resume || flags->count("tune")) {
    const bool on_cpu = options.device.value_or("cpu") == "cpu";
    options.tune = TuneFlag(*flags, on_cpu ? Device::kCpu : Device::kCuda);
  }

  if (dry) {
    HintingAtMemory(MemoryHint(options), [&] {
      Trainer::DryRun(options, flags->count("dot") ? RequiredFlag(*flags, "dot") : "", Say);
    });
    return kExitOk;
  }
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
  std::unique_ptr<Trainer> trainer;
  const bool done = HintingAtMemory(MemoryHint(options), [&] {
    trainer = resume ? Trainer::Resume(options, folder, Say) : Trainer::Start(options, folder, Say);
    return trainer->Run(stop_signal);
  });
  if (done) {
    Say("done: " + folder + "/final.safetensors");
    return kExitOk;
  }
  Say("stopped after iteration " + std::to_string(trainer->iteration()) + ": go on with --out " +
      folder + " --resume");
  return 128 + stop_signal;
}

int Body(int argc, char** argv) {
  try {
    return Train(argc, argv);
  } catch (const OptionsError& error) {
    throw UsageError(error.what());
  }
}

}  // namespace
}  // namespace lseg

int main(int argc, char** argv) {
  lseg::SpinBriefly(argv);
  return lseg::RunTool(argc, argv, lseg::Body);
}
