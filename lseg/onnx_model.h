// A weights file as an ONNX model that stands for itself.
#pragma once

#include <string>
#include <vector>

#include "framework/weights.h"

namespace lseg {

// The net for inference that the metadata hold (else the built-in L-Seg), with these weights, as
// the bytes of an .onnx file (framework/onnx_export.h): input (batch, 3, height, width), B G R less
// mean, times scale; output the probabilities of the classes. metadata_props are the file's own
// metadata, and what ToMetadata adds. `notes`: what was chosen where the definition is silent. An
// Error names `file` and the layer or the tensor at fault.
std::string MakeOnnx(const WeightsFile& weights, const std::string& file,
                     const std::string& program_version, std::vector<std::string>* notes);

}  // namespace lseg
