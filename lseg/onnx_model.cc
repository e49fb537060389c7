#include "lseg/onnx_model.h"

#include <algorithm>

#include "framework/onnx_export.h"
#include "framework/text.h"
#include "lseg/model.h"

namespace lseg {
namespace {

std::string InputDoc(const std::map<std::string, std::string>& metadata) {
  return "(batch, 3, height, width): B, G, R of 0 to 255, less " + metadata.at("lseg.mean") +
         ", times " + metadata.at("lseg.scale") + "; made for " + metadata.at("lseg.width") + "x" +
         metadata.at("lseg.height");
}

}  // namespace

std::string MakeOnnx(const WeightsFile& weights, const std::string& file,
                     const std::string& program_version, std::vector<std::string>* notes) {
  const ModelInfo info = FromMetadata(weights.metadata, file);
  const InferenceNet inference =
      MakeInferenceNet(NetDefinition::FromText(info.net_text, "net of '" + file + "'"));
  const NetDefinition definition = inference.definition.Filtered(caffe::TEST);
  Context context(Device::kCpu);
  ParameterSet parameters(Device::kCpu);
  parameters.Await(weights);
  const NetParts parts =
      BuildLayers(definition, BuiltinLayers(), context, 1, parameters,
                  {{inference.input, TensorDesc{Shape{1, 3, info.height, info.width}}}});
  const LoadReport report = NamingFile(file, [&] { return parameters.Load(weights); });
  CheckComplete(inference, parts, report, file);
  const int64_t channels = parts.graph.tensors[parts.blobs.at(inference.answer)].desc.shape.c;
  LSEG_CHECK(channels == static_cast<int64_t>(info.classes.size()),
             file << ": the net's answer has " << channels << " channels, and there are "
                  << info.classes.size() << " classes");
  // What a net fills is of interest only where the file does not fill it after all.
  if (!report.missing.empty()) *notes = parts.notes;

  std::map<std::string, std::string> metadata = ToMetadata(info);
  for (const auto& [key, value] : weights.metadata) metadata[key] = value;
  OnnxModel model{definition,
                  parts,
                  parameters,
                  inference.input,
                  inference.answer,
                  InputDoc(metadata),
                  "probabilities of " + metadata.at("lseg.classes"),
                  "Lesions of fundus photographs, pixel by pixel. For research, no medical device.",
                  metadata,
                  program_version};
  return SerializeOnnx(model);
}

}  // namespace lseg
