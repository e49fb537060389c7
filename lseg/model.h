// What a model is beside its weights: the net's text, the lesions it tells apart, and how its input
// is made. A weights file carries all of it in its metadata, so that the file alone suffices to
// infer.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "framework/definition.h"
#include "framework/layer.h"

namespace lseg {

// The built-in L-Seg (lseg/lseg_net.prototxt) and how it is trained (lseg/lseg_solver.prototxt).
std::string BuiltinNetText();
std::string BuiltinSolverText();

struct ModelInfo {
  std::string net_text = BuiltinNetText();
  // Of the answer's channels, in order; class c + 1 of class maps.
  std::vector<std::string> classes = {"EX", "HE", "MA", "SE"};
  int width = 1440, height = 960;  // the size of image that it was made for
  // Network input = (value - mean) * scale, value 0..255, channels B G R.
  std::array<float, 3> mean_bgr = {16.3090f, 56.4373f, 116.5132f};
  float scale = 1;
  // Of the field of view of the photographs that it was trained on, at that size; 0: not known.
  float view_radius = 0;
  // At which a class is taken for there, one a class, each in (0, 1]; empty: 0.5.
  std::vector<float> thresholds;
};

// What a definition says of its model: its text, its class_name where it has any, and scale and,
// with_mean, mean of its ImageLabelmapData layer, or another data layer with a transform_param,
// where it has one: no mean is 0, as in Caffe, and of a mean_file it is that of each channel. For
// the rest what `otherwise` says. An Error names the layer whose mean, or mean file, cannot be
// read.
ModelInfo FromDefinition(const NetDefinition& net, ModelInfo otherwise = {}, bool with_mean = true);

// Keys of a weights file's metadata (all optional: what is missing is the built-in model's):
//   lseg.net      the net definition, prototxt with comments
//   lseg.classes  "EX,HE,MA,SE"
//   lseg.width, lseg.height   "1440", "960"
//   lseg.mean     "16.309,56.4373,116.5132", B G R of 0..255
//   lseg.scale    "1"
//   lseg.view_radius   "574.2", pixels; lseg_infer brings other cameras' photographs to it
//   lseg.thresholds    "0.5,0.4,0.3,0.5", in the classes' order
// Numbers are the shortest text that reads back as the same float: the same model, the same bytes.
std::map<std::string, std::string> ToMetadata(const ModelInfo& info);
// An Error names `file`, the key and the value that cannot be read.
ModelInfo FromMetadata(const std::map<std::string, std::string>& metadata, const std::string& file);

// A definition cut down to what its answer needs.
struct InferenceNet {
  NetDefinition definition;
  std::string input;   // blob of an Input layer: (N,3,H,W), set the size by NetOptions.inputs
  std::string answer;  // blob of probabilities: (N,classes,H,W)
};

// The answer is the blob `probability` of the TEST phase where there is one; else the sigmoid of
// the logits of the last loss (of the TRAIN phase, else of any state), or, where that is
// SoftmaxWithLoss, their softmax without class 0, the background; else what the last layer gives,
// which must be a Sigmoid, or a Softmax, again without class 0. Layers that it does not need are
// left out (a Dropout does nothing in an answer), and the data layer that feeds it becomes an
// Input. Layers of `definition` are as read, not filtered. Throws Error where there is no such
// answer, or where it needs more than one input.
InferenceNet MakeInferenceNet(const NetDefinition& definition);

// An Error names `file` and the tensors of the net that are missing in it, but for upsampling that
// does not learn, which is filled by rule. `net`: what BuildLayers made of the inference net;
// `report`: of loading the file into its parameters.
void CheckComplete(const InferenceNet& inference, const NetParts& net, const LoadReport& report,
                   const std::string& file);

}  // namespace lseg
