// A net for inference, and its weights, as an ONNX model (opset 17) of any height and width.
//
// The graph is the definition's, layer by layer; sizes that Caffe's rules make of the input's
// (rounding up, crops to a blob's size) are computed in the graph, so that it is right at every
// size at which the net itself can be built. Crops' offsets do not depend on the size.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "framework/layer.h"

namespace lseg {

struct OnnxModel {
  // A definition with one Input layer, phase TEST, what BuildLayers made of it, at whatever size,
  // and what was loaded into the parameters.
  const NetDefinition& definition;
  const NetParts& parts;
  const ParameterSet& parameters;  // on the CPU
  std::string input, answer;       // blobs: (batch, channels, height, width)
  std::string input_doc, answer_doc;
  std::string doc;
  std::map<std::string, std::string> metadata;
  std::string producer_version;
};

// The bytes of the file; the same model gives the same ones. An Error names the layer that ONNX has
// no like of (a Slice along an axis whose size is left open), or says that it is above 2 GiB, the
// most that a file of protobuf holds.
std::string SerializeOnnx(const OnnxModel& model);

}  // namespace lseg
