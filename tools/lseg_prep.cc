// lseg_prep: brings a dataset into the form in which the other programs read it, makes one up, or
// says what is wrong with one.
#include <cstdio>

#include "datasets/synth.h"
#include "lseg/check_dataset.h"
#include "lseg/dataset.h"
#include "lseg/ddr.h"
#include "lseg/eophtha.h"
#include "lseg/idrid.h"
#include "lseg/own_folders.h"
#include "lseg/prepare.h"
#include "tools/tool.h"

namespace lseg {
namespace {

constexpr char kHelp[] = R"(Commands:
  build   reads a published dataset, unmodified, and writes photographs and truth at one size
  check   says what is wrong with a dataset, and what is in it
  synth   writes a synthetic dataset in IDRiD's folders and encodings

lseg_prep COMMAND --help lists a command's flags.

Examples:
  # IDRiD, unpacked below ./IDRiD, with training images 45-54 held out for validation
  lseg_prep build --from idrid --root IDRiD --out data --split datasets/idrid_val.txt
  # no data at hand: 36 drawn eyes, prepared at half the size
  lseg_prep synth --out made_up --images 36 --seed 1
  lseg_prep build --from synth --root made_up --out data --width 720 --height 480
  # before a training: are all files whole, do photographs and truth fit, is no image in two lists
  lseg_prep check data --sheet data.png
)";

constexpr char kBuildHelp[] =
    R"(What --from names and where it is looked for below --root (datasets/README.md has the trees):
  idrid    "A. Segmentation"; the training or the testing part may be absent
  synth    the same folders, as lseg_prep synth writes them
  ddr      lesion_segmentation/train, valid and test, as far as they are there
  eophtha  e_optha_EX, e_optha_MA or both. There is no official split: about a fifth of the patients
           go to test.txt, those whose name's SHA-256 is a multiple of 5 in its first 8 digits. With
           --split the patients or images that FILE names go to val.txt, all others to train.txt.
           HE and SE are not annotated, and the lists say so
  folders  your own photographs and truth, without --root:
             --images DIR --masks DIR [--mask-pattern P]   a mask a lesion, 0 and 255
             --images DIR --labels DIR                     class maps STEM.png: 0, 1 EX, 2 HE, 3 MA,
                                                           4 SE
           In the pattern {stem} is the photograph's name, {lesion} EX, HE, MA or SE, and * anything
           but a slash. A lesion that has no mask at all is taken as not annotated. All images go to
           train.txt, or to val.txt where --split names them
A mask that is missing is empty: the eye has no such lesion.

Photographs of another shape than --width x --height are not distorted: they get black borders.
(Differences below 1 %, as IDRiD's, are stretched.) lseg_infer does the same.

Written below --out:
  images/STEM.png                     photographs
  labels/STEM.png                     class maps: 0 background, 1 EX, 2 HE, 3 MA, 4 SE
  masks/STEM_EX.png, _HE, _MA, _SE    0 or 255, one a lesion (overlaps are kept here)
  train.txt, val.txt, test.txt        lists: images/STEM.png labels/STEM.png. Of images that are not
                                      annotated for all lesions, which have no class map: the image
                                      and its masks, with - in the place of the others
  manifest.json                       size and SHA-256 of every file and of its sources
--out changes at the end and as a whole; files of an earlier run are replaced or removed. An image
that cannot be read is named and left out, and the exit code is 1.

Examples:
  lseg_prep build --from idrid --root IDRiD --out data --split datasets/idrid_val.txt
  lseg_prep build --from ddr --root DDR-dataset --out ddr --width 1024 --height 1024
  lseg_prep build --from eophtha --root e_ophtha --out eophtha
  lseg_prep build --from folders --images photos --masks truth --mask-pattern "{lesion}/{stem}.*"
                  --split held_out.txt --out data
)";

std::string BuildHelp() { return kBuildHelp + ("\nJPEGs are decoded by " + JpegDecoder()) + ".\n"; }

constexpr char kSynthHelp[] =
    R"(Two thirds of the images are for training, one third for testing. The same seed gives the same bytes.
Photographs of 1440x960 take about half a second each on one core.

Example:
  lseg_prep synth --out made_up --images 36 --seed 1 --width 1440 --height 960
)";

constexpr char kCheckHelp[] =
    R"(Each input is one of
  LIST     lines "images/x.png labels/x.png", relative to the list; masks/x_EX.png and so on beside
           labels/ are the truth where they are there. Or, with tabs between, an image and four
           masks, EX HE MA SE, "-" for a lesion that nobody has looked for
  DIR      a folder with train.txt, val.txt or test.txt, as lseg_prep build writes it
  DIR      IDRiD, DDR or e-ophtha as published: what is --root of lseg_prep build
Lists of one set belong into one call, so that an image in two of them is found.

Every file is read to its end; the first problem does not stop the rest. Printed at the end: each
lesion's share of all pixels and the number of images that have it, by list, of the images without
errors.

Errors (stderr, exit code 1), each with its file and what to do:
  a file that is listed and missing, unreadable or truncated; a line that cannot be read
  photograph and truth of different sizes
  values in a class map that are none of 0 background, 1 EX, 2 HE, 3 MA, 4 SE
  masks with colours or alpha, or with grays between black and white
  masks for some of the lesions only, in a list
  a lesion on more than 30 % of an image: an inverted mask, or the eye's
  two images with the same pixels; an image listed twice, or in two lists
Notes (stdout, exit code 0):
  images without any lesion; lesions that overlap
  masks that a published set lacks (there is no such lesion), or has in two colours
  images with a class map alone where others of the list have masks

Examples:
  lseg_prep check data --sheet data.png
  lseg_prep check train.txt mine/test.txt
  lseg_prep check IDRiD
)";

cxxopts::Options BuildFlags() {
  cxxopts::Options options("lseg_prep build", "Prepares a dataset for training and evaluation.");
  auto add = options.add_options();
  const auto text = [] { return cxxopts::value<std::string>(); };
  add("from", "layout of the dataset: idrid, synth, ddr, eophtha or folders",
      text()->default_value("idrid"), "KIND");
  add("root", "folder of the dataset", text(), "DIR");
  add("images", "folders: photographs", text(), "DIR");
  add("masks", "folders: a mask a lesion", text(), "DIR");
  add("mask-pattern", "folders: a mask's path ({stem}_{lesion}.*)", text(), "P");
  add("labels", "folders: class maps instead of masks", text(), "DIR");
  add("out", "folder to write", text(), "DIR");
  add("width", "working width in pixels", text()->default_value("1440"), "W");
  add("height", "working height in pixels", text()->default_value("960"), "H");
  add("split", "file of stems, one a line, that go from train.txt to val.txt", text(), "FILE");
  add("max-pixels", kMaxPixelsHelp, text(), "N");
  add("threads", "images at once (default: the processors that may be used)", text(), "N");
  return options;
}

// --from folders.
std::vector<SetImage> FindFolders(const cxxopts::ParseResult& flags) {
  if (flags.count("root")) throw UsageError("--root: folders are named by --images and --masks");
  if (flags.count("masks") == flags.count("labels")) {
    throw UsageError("--from folders: give one of --masks and --labels");
  }
  if (flags.count("mask-pattern") && !flags.count("masks")) {
    throw UsageError("--mask-pattern needs --masks");
  }
  OwnFolders folders;
  folders.images = RequiredFlag(flags, "images");
  folders.masks = flags.count("masks") ? RequiredFlag(flags, "masks") : "";
  folders.labels = flags.count("labels") ? RequiredFlag(flags, "labels") : "";
  if (flags.count("mask-pattern")) folders.mask_pattern = RequiredFlag(flags, "mask-pattern");
  OwnLeftAside left_aside;
  std::vector<SetImage> images = FindOwn(folders, &left_aside);
  if (!left_aside.unmatched.empty()) {
    Say(folders.masks + ": " + std::to_string(left_aside.unmatched.size()) +
        " image files do not match the pattern, such as " + left_aside.unmatched.front() +
        ": not read");
  }
  if (left_aside.masks > 0) {
    Say(folders.images + ": " + std::to_string(left_aside.masks) +
        " image files are masks by the pattern, and therefore no photographs");
  }
  return images;
}

std::vector<SetImage> FindSet(const cxxopts::ParseResult& flags) {
  const std::string from = RequiredFlag(flags, "from");
  if (from == "folders") return FindFolders(flags);
  for (const char* name : {"images", "masks", "mask-pattern", "labels"}) {
    if (flags.count(name)) throw UsageError("--" + std::string(name) + " is for --from folders");
  }
  if (from == "idrid" || from == "synth") return FindIdrid(RequiredFlag(flags, "root"));
  if (from == "ddr") {
    if (flags.count("split")) throw UsageError("--split: DDR has a validation part of its own");
    return FindDdr(RequiredFlag(flags, "root"));
  }
  if (from != "eophtha") {
    throw UsageError("--from '" + from + "': idrid, synth, ddr, eophtha and folders are known");
  }
  std::vector<SetImage> images = FindEophtha(RequiredFlag(flags, "root"));
  for (SetImage& image : images) {
    if (flags.count("split")) image.part = Part::kTrain;
  }
  return images;
}

int Build(int argc, char** argv) {
  cxxopts::Options options = BuildFlags();
  const auto flags = ParseFlags(options, argc, argv, BuildHelp());
  if (!flags) return kExitOk;
  PrepareOptions prepare;
  prepare.width = static_cast<int>(IntegerFlag(*flags, "width", 16, 20000));
  prepare.height = static_cast<int>(IntegerFlag(*flags, "height", 16, 20000));
  prepare.out = RequiredFlag(*flags, "out");
  const std::vector<SetImage> images = FindSet(*flags);
  if (flags->count("split")) {
    prepare.split = RequiredFlag(*flags, "split");
    prepare.validation = ReadSplit(prepare.split);
  }
  prepare.max_pixels = MaxPixelsFlag(*flags, kMaxPixels, kMostPixels);
  prepare.threads = ThreadsFlag(*flags);
  size_t done = 0;
  const PrepareReport report = Prepare(images, prepare, [&](const std::string& stem) {
    ++done;
    Say(stem + " (" + std::to_string(done) + " of " + std::to_string(images.size()) + ")");
  });
  for (const std::string& line : report.failed) Complain(line + "; this image is left out");
  std::string shares;
  for (size_t c = 0; c < kLesionNames.size(); ++c) {
    char share[32] = " not annotated";
    if (const auto& of = report.prevalence[c])
      std::snprintf(share, sizeof(share), " %.3f", 100 * *of);
    shares += std::string(c ? ", " : "") + kLesionNames[c] + share;
  }
  Say(prepare.out + ": " + std::to_string(report.train) + " for training, " +
      std::to_string(report.val) + " for validation, " + std::to_string(report.test) +
      " for testing; lesions cover, in per cent of all pixels: " + shares);
  return report.failed.empty() ? kExitOk : kExitFailed;
}

std::string Count(int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// "data/train.txt: 44 of 44 images without errors; % of pixels (images): EX 0.807 (44), HE ..."
void SaySummary(const SplitSummary& split) {
  std::string line = split.name + ": " + std::to_string(split.images) + " of " +
                     std::to_string(split.listed) + " images without errors";
  for (size_t c = 0; c < kLesionNames.size() && split.images > 0; ++c) {
    line += std::string(c ? ", " : "; % of pixels (images): ") + kLesionNames[c];
    if (split.pixels[c] == 0) {
      line += " not annotated";
      continue;
    }
    char text[80];
    std::snprintf(
        text, sizeof(text), " %.3f (%d)",
        100.0 * static_cast<double>(split.lesion_pixels[c]) / static_cast<double>(split.pixels[c]),
        split.with_lesion[c]);
    line += text;
  }
  Say(line);
}

int Check(int argc, char** argv) {
  cxxopts::Options options("lseg_prep check", "Says what is wrong with a dataset.");
  options.custom_help("DIR|LIST... [flags]");
  options.add_options()("sheet",
                        "picture to write: the images, small, with their lesions outlined "
                        "(200 of them at most)",
                        cxxopts::value<std::string>(), "FILE.png")(
      "max-pixels", kMaxPixelsHelp, cxxopts::value<std::string>(), "N");
  std::vector<std::string> inputs;
  const auto flags = ParseFlags(options, argc, argv, kCheckHelp, &inputs);
  if (!flags) return kExitOk;
  if (inputs.empty()) throw UsageError("a folder or list to check is missing");
  const std::string sheet = flags->count("sheet") ? RequiredFlag(*flags, "sheet") : "";
  if (!sheet.empty() && !sheet.ends_with(".png")) {
    throw UsageError("--sheet '" + sheet + "' does not end in .png, which is what is written");
  }
  const int64_t max_pixels = MaxPixelsFlag(*flags, kMaxPixels, kMostPixels);
  const auto tell = [](const Finding& finding) {
    if (finding.error) {
      Complain(finding.text);
    } else {
      Say("note: " + finding.text);
    }
  };
  const CheckReport report = CheckDataset(inputs, !sheet.empty(), max_pixels, tell);
  for (const SplitSummary& split : report.splits) SaySummary(split);
  Say(Count(report.errors, "error") + ", " + Count(report.notes, "note"));
  if (!report.sheet.pixels.empty()) {
    WritePng(sheet, report.sheet);
  } else if (!sheet.empty()) {
    Complain(sheet + ": is not written, as no image could be read");
  }
  return report.errors == 0 ? kExitOk : kExitFailed;
}

int Synth(int argc, char** argv) {
  cxxopts::Options options("lseg_prep synth", "Writes a synthetic dataset in IDRiD's layout.");
  options.add_options()("out", "folder to write", cxxopts::value<std::string>(), "DIR")(
      "images", "number of images", cxxopts::value<std::string>()->default_value("36"), "N")(
      "seed", "of the random numbers", cxxopts::value<std::string>()->default_value("1"), "S")(
      "width", "of a photograph in pixels", cxxopts::value<std::string>()->default_value("1440"),
      "W")("height", "of a photograph in pixels",
           cxxopts::value<std::string>()->default_value("960"), "H");
  const auto flags = ParseFlags(options, argc, argv, kSynthHelp);
  if (!flags) return kExitOk;
  const std::string out = RequiredFlag(*flags, "out");
  const int images = static_cast<int>(IntegerFlag(*flags, "images", 1, 10000));
  const auto seed = static_cast<uint64_t>(IntegerFlag(*flags, "seed", 0, INT64_MAX));
  WriteSyntheticIdrid(out, images, seed, static_cast<int>(IntegerFlag(*flags, "width", 48, 16384)),
                      static_cast<int>(IntegerFlag(*flags, "height", 32, 16384)));
  Say(out + ": " + std::to_string(images) + " synthetic images in IDRiD's layout");
  return kExitOk;
}

int Body(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  // The command takes the program's place, so that its flags come first.
  if (command == "build") return Build(argc - 1, argv + 1);
  if (command == "check") return Check(argc - 1, argv + 1);
  if (command == "synth") return Synth(argc - 1, argv + 1);
  if (!command.empty() && command[0] == '-') {
    cxxopts::Options options("lseg_prep", "Prepares datasets for the other programs.");
    options.custom_help("COMMAND [flags]");
    if (!ParseFlags(options, argc, argv, kHelp)) return kExitOk;
  }
  throw UsageError(command.empty()
                       ? "a command is missing: build, check or synth"
                       : "unknown command '" + command + "': build, check and synth are known");
}

}  // namespace
}  // namespace lseg

int main(int argc, char** argv) {
  lseg::SpinBriefly(argv);
  return lseg::RunTool(argc, argv, lseg::Body);
}
