// What tests of passes share: a net's definition in few words, and one forward and backward pass of
// it, with and without passes.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "framework/net.h"
#include "kernels/runtime/random.h"

namespace lseg {

// Of any number of bottoms and tops.
inline std::string JoinedText(const std::string& name, const std::string& type,
                              const std::vector<std::string>& bottoms,
                              const std::vector<std::string>& tops, const std::string& param = "") {
  std::string text = "layer { name: '" + name + "' type: '" + type + "'";
  for (const std::string& bottom : bottoms) text += " bottom: '" + bottom + "'";
  for (const std::string& top : tops) text += " top: '" + top + "'";
  return text + " " + param + " }\n";
}

inline std::string LayerText(const std::string& name, const std::string& type,
                             const std::string& bottom, const std::string& param) {
  return JoinedText(name, type, {bottom}, {name}, param);
}

// dims: "dim: 2 dim: 3 dim: 11 dim: 13"
inline std::string InputText(const std::string& name, const std::string& dims) {
  return "layer { name: '" + name + "' type: 'Input' top: '" + name + "' input_param { shape { " +
         dims + " } } }\n";
}

inline std::string ConvText(const std::string& name, const std::string& bottom,
                            const std::string& more, const std::string& params = "") {
  return LayerText(name, "Convolution", bottom,
                   params + " convolution_param { weight_filler { type: 'msra' } " + more + " }");
}

inline std::string Conv3x3Text(const std::string& name, const std::string& bottom) {
  return ConvText(name, bottom, "num_output: 16 kernel_size: 3 pad: 1");
}

inline std::string ReluText(const std::string& blob, const std::string& param = "") {
  return "layer { name: 'relu_" + blob + "' type: 'ReLU' bottom: '" + blob + "' top: '" + blob +
         "' " + param + " }\n";
}

inline std::string HalvingText(const std::string& name, const std::string& bottom) {
  return LayerText(name, "Pooling", bottom, "pooling_param { kernel_size: 2 stride: 2 }");
}

// Against an input, `label`.
inline std::string LossText(const std::string& name, const std::string& logits,
                            const std::string& label) {
  return "layer { type: 'SigmoidCrossEntropyLoss' bottom: '" + logits + "' bottom: '" + label +
         "' top: '" + name + "' }\n";
}

struct Trained {
  std::map<std::string, std::vector<float>> gradients;  // of parameters, by key
  std::map<std::string, int> ops;                       // how many nodes there are of each
  int nodes = 0;
};

// Inputs whose names begin with "label" become 0 or 1, others between -1 and 1; the same each time.
inline void FillInputs(const NetDefinition& definition, Net* net) {
  Random random(3, 0);
  for (const caffe::LayerParameter& layer : definition.net().layer()) {
    if (layer.type() != "Input") continue;
    const std::string& blob = layer.top(0);
    float* values = net->InputF32(blob);
    for (int64_t i = 0; i < net->Desc(blob).shape.Count(); ++i) {
      const float value = random.Uniform(-1, 1);
      values[i] = blob.rfind("label", 0) == 0 ? static_cast<float>(value > 0) : value;
    }
  }
}

// accumulate: all runs twice, and gradients add up.
inline Trained TrainOnce(const std::string& text, Device device, Precision precision,
                         const std::set<std::string>& without, bool accumulate = false) {
  Context context(device, 2);
  caffe::SolverParameter solver;
  solver.set_type("SGD");
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver;
  options.precision = precision;
  options.without_passes = without;
  const NetDefinition definition = NetDefinition::FromText(text, "test.prototxt");
  Net net(definition, BuiltinLayers(), context, std::make_shared<ParameterSet>(device), options);
  FillInputs(definition, &net);
  net.Forward();
  net.Backward();
  if (accumulate) {
    net.Forward();
    net.Backward(true);
  }
  Trained trained;
  for (const NetParam& param : net.params()) {
    if (param.lr_mult != 0) trained.gradients[param.key] = net.Gradient(param.key);
  }
  trained.nodes = static_cast<int>(net.graph().nodes.size());
  for (const Node& node : net.graph().nodes) ++trained.ops[node.op->Name()];
  return trained;
}

// Of what lies between two tensors, as a share of the first one's size.
inline double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double square = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    square += std::pow(double{a[i]} - b[i], 2);
    size += std::pow(double{a[i]}, 2);
  }
  return std::sqrt(square / size);
}

}  // namespace lseg
