// lseg_convert: weights from one format into another, and what is in a file. Flags and messages;
// the formats are framework/weights.h, framework/caffemodel.h and framework/onnx_export.h.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/caffemodel.h"
#include "framework/file.h"
#include "framework/text.h"
#include "lseg/model.h"
#include "lseg/onnx_model.h"
#include "tools/tool.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

constexpr char kHelpEnd[] = R"(
Without OUT it lists the tensors of IN: name, shape, count of values, smallest, largest and mean
absolute value. With OUT it writes them to OUT, too. The names' endings tell the formats:
  .safetensors   read: F32, F16, BF16; written in --precision. Metadata are kept between two of them.
  .caffemodel    read: Caffe's newer form (layer) and the older one (layers, with blobs of four
                 dimensions, a bias of 1x1x1xN being one of N), of Convolution and Deconvolution;
                 other layers with blobs, such as VGG16's InnerProduct, are named and skipped.
                 Written: the newer form, f32. It has no place for metadata, nor for tensors other
                 than LAYER.weight and LAYER.bias, such as a checkpoint's solver's: what is left out
                 is named. At most 2 GiB.
  .onnx          written only: net and weights (f32) as a model of ONNX, opset 17, for images of any
                 height and width. Input (batch, 3, height, width): B, G, R of 0 to 255 less the mean,
                 times the scale, which stand in its metadata_props with all of IN's metadata; output:
                 probabilities, a channel a class. The same answers as lseg_infer's net, to rounding.
Values are rounded to the nearest, ties to even; a finite one that f16 or bf16 cannot hold (f16: above
65504) is an error. A tensor with values that are not finite is named on stderr, and converted.

OUT is written beside its final name and then renamed: one that was there before is replaced whole, or,
at an error, left as it was. IN and OUT must not be the same file.

Other programs take either format as --weights. Only .safetensors say what net they belong to; without,
lseg_infer takes the built-in L-Seg, its classes, size and mean, and so does .onnx, but for what --net (a
prototxt, its class_name and its data layer's mean) and --metadata (such as lseg.mean) say.

Examples:
  lseg_convert run/best.safetensors
  lseg_convert VGG_ILSVRC_16_layers.caffemodel vgg16.safetensors --precision f16
  lseg_convert run/best.safetensors lseg.caffemodel
  lseg_convert run/best.safetensors lseg.onnx
  lseg_convert fcn8s.caffemodel fcn8s.onnx --net fcn8s.prototxt
  echo '{"lseg.thresholds": "0.5,0.4,0.3,0.5", "license": "CC BY 4.0"}' > more.json
  lseg_convert run/best.safetensors final.safetensors --precision f16 --metadata more.json
)";

bool IsSafetensors(const std::string& path) { return fs::path(path).extension() == ".safetensors"; }

bool IsOnnx(const std::string& path) { return fs::path(path).extension() == ".onnx"; }

struct Job {
  std::string in, out;  // out: empty where IN is listed only
  DType precision = DType::kF32;
  std::string metadata;  // a JSON file; empty: none
  std::string net;       // a definition; empty: that of IN
};

void CheckNames(const Job& job) {
  if (IsOnnx(job.in)) throw UsageError("IN '" + job.in + "': .onnx is written only");
  if (!IsCaffeModel(job.in) && !IsSafetensors(job.in)) {
    throw UsageError("IN '" + job.in + "' ends in neither .safetensors nor .caffemodel");
  }
  if (job.out.empty()) return;
  if (!IsCaffeModel(job.out) && !IsSafetensors(job.out) && !IsOnnx(job.out)) {
    throw UsageError("OUT '" + job.out + "' ends in none of .safetensors, .caffemodel, .onnx");
  }
  std::error_code ignored;
  if (job.in == job.out || fs::equivalent(job.in, job.out, ignored)) {
    throw UsageError("IN and OUT are the same file, '" + job.out + "'");
  }
}

void CheckHasMetadata(const std::string& flag, const Job& job) {
  if (IsSafetensors(job.out) || IsOnnx(job.out)) return;
  throw UsageError(flag + " is for an OUT in .safetensors or .onnx");
}

DType StoredPrecision(const cxxopts::ParseResult& flags) {
  const std::string name = RequiredFlag(flags, "precision");
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (name == ToString(dtype)) return dtype;
  }
  throw UsageError("--precision '" + name + "' is not there: f32, f16 and bf16 are");
}

Job ParseJob(const cxxopts::ParseResult& flags) {
  Job job;
  if (flags.count("in") == 0) throw UsageError("IN, the file to read, is missing");
  job.in = RequiredFlag(flags, "in");
  if (flags.count("out") > 0) job.out = RequiredFlag(flags, "out");
  CheckNames(job);
  if (flags.count("precision") > 0) {
    job.precision = StoredPrecision(flags);
    if (!IsSafetensors(job.out)) throw UsageError("--precision is for an OUT in .safetensors");
  }
  if (flags.count("metadata") > 0) {
    job.metadata = RequiredFlag(flags, "metadata");
    CheckHasMetadata("--metadata", job);
  }
  if (flags.count("net") > 0) {
    job.net = RequiredFlag(flags, "net");
    CheckHasMetadata("--net", job);
  }
  return job;
}

std::string JoinPrintable(std::vector<std::string> names) {
  for (std::string& name : names) name = Printable(name);
  return Join(names);
}

void PrintTable(const WeightsFile& weights) {
  size_t names = 6, shapes = 5;
  for (const WeightTensor& tensor : weights.tensors()) {
    names = std::max(names, Printable(tensor.key).size());
    shapes = std::max(shapes, ShapeText(tensor.shape).size());
  }
  const int name_width = static_cast<int>(names), shape_width = static_cast<int>(shapes);
  std::printf("%-*s  %-*s  %10s  %12s  %12s  %12s\n", name_width, "tensor", shape_width, "shape",
              "values", "min", "max", "mean abs");
  int64_t total = 0;
  for (const WeightTensor& tensor : weights.tensors()) {
    const ValueRange range = RangeOf(tensor.data);
    total += range.count;
    std::printf("%-*s  %-*s  %10lld", name_width, Printable(tensor.key).c_str(), shape_width,
                ShapeText(tensor.shape).c_str(), static_cast<long long>(range.count));
    if (range.Finite() > 0) {
      std::printf("  %12.6g  %12.6g  %12.6g\n", range.min, range.max, range.mean_abs);
    } else {
      std::printf("  %12s  %12s  %12s\n", "-", "-", "-");
    }
  }
  Say(std::to_string(weights.tensors().size()) + " tensors, " + std::to_string(total) + " values");
}

void NameNonFinite(const std::string& path, const WeightsFile& weights) {
  for (const WeightTensor& tensor : weights.tensors()) {
    const ValueRange range = RangeOf(tensor.data);
    if (range.nan + range.infinite == 0) continue;
    Complain(path + ": '" + Printable(tensor.key) + "' has " + std::to_string(range.nan) +
             " NaN and " + std::to_string(range.infinite) + " infinite among its " +
             std::to_string(range.count) + " values");
  }
}

// Of the net that the metadata hold.
std::map<std::string, std::string> LayerTypes(const WeightsFile& weights, const std::string& path) {
  const ModelInfo model = FromMetadata(weights.metadata, path);
  std::map<std::string, std::string> types;
  const NetDefinition net = NetDefinition::FromText(model.net_text, "net of '" + path + "'");
  for (const caffe::LayerParameter& layer : net.net().layer()) types[layer.name()] = layer.type();
  return types;
}

// What a definition says of its model, in place of what the file says.
void AddDefinition(const std::string& path, const std::string& in, WeightsFile* weights) {
  const ModelInfo before = FromMetadata(weights->metadata, in);
  ModelInfo info = FromDefinition(NetDefinition::FromFile(path), before);
  if (info.classes != before.classes && weights->metadata.erase("lseg.thresholds") > 0) {
    info.thresholds.clear();
    Say("lseg.thresholds, which is of other classes than " + Join(info.classes) + ", left out");
  }
  for (const auto& [key, value] : ToMetadata(info)) weights->metadata[key] = value;
}

// Metadata of a JSON object of strings, in place of those of the same name.
void AddMetadata(const std::string& path, WeightsFile* weights) {
  const std::string text = ReadFile(path);
  std::map<std::string, std::string> more;
  try {
    more = nlohmann::json::parse(text).get<std::map<std::string, std::string>>();
  } catch (const nlohmann::json::exception& error) {
    throw Error(path + ": is no JSON object of strings: " + error.what());
  }
  for (const auto& [key, value] : more) weights->metadata[key] = value;
  FromMetadata(weights->metadata, path);  // what means something to the programs can be read
}

void WriteSafetensors(const Job& job, const WeightsFile& weights) {
  WriteFile(job.out, NamingFile(job.in, [&] { return weights.Serialize(job.precision); }));
  if (weights.metadata.empty()) Say("no metadata in " + job.in + ", hence none in " + job.out);
  Say("written: " + job.out + ", " + ToString(job.precision));
}

void WriteCaffeModel(const Job& job, const WeightsFile& weights) {
  std::vector<std::string> left_out, keys;
  const auto types = LayerTypes(weights, job.in);
  WriteFile(job.out,
            NamingFile(job.in, [&] { return SerializeCaffeModel(weights, types, &left_out); }));
  for (const auto& [key, value] : weights.metadata) keys.push_back(key);
  if (!keys.empty())
    Say("metadata, for which .caffemodel has no place, left out: " + JoinPrintable(keys));
  if (!left_out.empty()) Say("tensors of no layer, left out: " + JoinPrintable(left_out));
  Say("written: " + job.out);
}

void WriteOnnx(const Job& job, const WeightsFile& weights) {
  std::vector<std::string> notes;
  WriteFile(job.out, MakeOnnx(weights, job.in, Version(), &notes));
  for (const std::string& note : notes) Say(note);
  Say("written: " + job.out);
}

int Body(int argc, char** argv) {
  cxxopts::Options options("lseg_convert", "Lists a net's weights, or converts them.\n");
  const auto text = [] { return cxxopts::value<std::string>(); };
  options.positional_help("IN [OUT]");
  options.add_options()("in", "file to read", text(), "IN")("out", "file to write", text(), "OUT")(
      "precision", "of an OUT in .safetensors: f32 (default), f16, bf16", text(), "P")(
      "metadata", "a JSON object of strings to write into OUT's metadata, too", text(), "FILE")(
      "net", "definition that the weights of IN belong to, where IN does not say it", text(),
      "FILE");
  options.parse_positional({"in", "out"});
  const auto flags = ParseFlags(options, argc, argv, kHelpEnd);
  if (!flags) return kExitOk;
  const Job job = ParseJob(*flags);

  std::vector<std::string> skipped;
  WeightsFile weights = ReadWeights(job.in, &skipped);
  if (!job.net.empty()) AddDefinition(job.net, job.in, &weights);
  if (!job.metadata.empty()) AddMetadata(job.metadata, &weights);
  PrintTable(weights);
  if (!skipped.empty())
    Say("layers of no type with weights here, skipped: " + JoinPrintable(skipped));
  NameNonFinite(job.in, weights);
  if (IsCaffeModel(job.out)) WriteCaffeModel(job, weights);
  if (IsSafetensors(job.out)) WriteSafetensors(job, weights);
  if (IsOnnx(job.out)) WriteOnnx(job, weights);
  return kExitOk;
}

}  // namespace
}  // namespace lseg

int main(int argc, char** argv) { return lseg::RunTool(argc, argv, lseg::Body); }
