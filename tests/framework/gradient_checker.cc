#include "tests/framework/gradient_checker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace lseg {
namespace {

const caffe::SolverParameter& PlainSgd() {
  static const caffe::SolverParameter solver = [] {
    caffe::SolverParameter s;
    s.set_type("SGD");
    s.set_base_lr(0);
    s.set_lr_policy("fixed");
    return s;
  }();
  return solver;
}

// Compares the gradient of `values` at `samples` places. `bring` takes them to the device.
void CheckTensor(Net& net, const std::string& name, float* values,
                 const std::function<void()>& bring, const std::vector<float>& gradient,
                 const GradientCheck& check) {
  const int64_t count = static_cast<int64_t>(gradient.size());
  const int64_t stride = std::max<int64_t>(1, count / check.samples);
  for (int64_t i = 0; i < count; i += stride) {
    const float original = values[i];
    auto loss_at = [&](float value) {
      values[i] = value;
      bring();
      net.Forward();
      return net.Loss();
    };
    const float above = original + check.step, below = original - check.step;
    const double numeric = (loss_at(above) - loss_at(below)) / (static_cast<double>(above) - below);
    values[i] = original;
    const double analytic = gradient[i];
    EXPECT_NEAR(analytic, numeric,
                check.tolerance * std::max({1.0, std::abs(analytic), std::abs(numeric)}))
        << name << "[" << i << "]: analytic " << analytic << ", numeric " << numeric;
  }
  bring();
}

// A learned tensor as values of the host.
struct HostParameter {
  Tensor* tensor = nullptr;
  std::vector<float> values;
};

}  // namespace

void FillUniform(float* values, int64_t count, Random& random) {
  for (int64_t i = 0; i < count; ++i) values[i] = random.Uniform(-1, 1);
}

std::unique_ptr<Net> MakeTrainableNet(const std::string& net_text, Context& context,
                                      std::shared_ptr<ParameterSet> parameters) {
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &PlainSgd();
  return std::make_unique<Net>(
      NetDefinition::FromText("force_backward: true\n" + net_text, "checked.prototxt"),
      BuiltinLayers(), context, std::move(parameters), options);
}

void CheckGradients(const std::string& net_text, const GradientCheck& check) {
  Context context(check.device);
  auto parameters = std::make_shared<ParameterSet>(check.device);
  const auto net = MakeTrainableNet(net_text, context, parameters);
  Random random(check.seed, 0);
  std::map<std::string, HostParameter> learned;
  for (const auto& [key, tensor] : parameters->tensors()) {
    // Scaled by the fan-in, so that values stay near 1 through the net and the loss, whose rounding
    // is the noise of the differences, stays small.
    const Shape& shape = tensor.desc().shape;
    HostParameter& host = learned[key];
    host.tensor = parameters->Find(key);
    host.values.resize(shape.Count());
    FillUniform(host.values.data(), shape.Count(), random);
    const float scale = std::sqrt(3.0f / static_cast<float>(shape.c * shape.h * shape.w));
    for (int64_t i = 0; i < shape.Count(); ++i) {
      if (shape.n > 1) {
        host.values[i] *= check.off_the_kinks ? scale / 4 : scale;
      } else if (check.off_the_kinks) {
        host.values[i] = i % 2 ? 1.0f : -1.0f;
      }
    }
    host.tensor->CopyFrom(host.values.data());
  }
  std::vector<std::string> inputs;
  for (const GraphTensor& tensor : net->graph().tensors) {
    if (tensor.kind != TensorKind::kInput) continue;
    const int64_t count = tensor.desc.shape.Count();
    float* values = net->InputF32(tensor.name);
    if (check.fill) {
      check.fill(tensor.name, values, count);
    } else if (tensor.name == "label") {
      for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(random.Below(2));
    } else {
      FillUniform(values, count, random);
    }
    if (tensor.name != "label" && tensor.name != "target" && tensor.name != "reference") {
      inputs.push_back(tensor.name);
    }
  }
  net->Forward();
  net->Backward();
  // Read before anything is perturbed: checking runs forward again, over the same arena.
  std::map<std::string, std::vector<float>> gradients;
  for (const std::string& input : inputs) gradients[input] = net->Gradient(input);
  for (const NetParam& param : net->params()) {
    if (param.lr_mult != 0) gradients[param.key] = net->Gradient(param.key);
  }
  ASSERT_FALSE(gradients.empty());
  for (const auto& [name, gradient] : gradients) {
    const auto parameter = learned.find(name);
    if (parameter == learned.end()) {
      CheckTensor(
          *net, name, net->InputF32(name), [] {}, gradient, check);
      continue;
    }
    HostParameter& host = parameter->second;
    const auto bring = [&] {
      host.tensor->CopyFrom(host.values.data());
      net->ParametersChanged();
    };
    CheckTensor(*net, name, host.values.data(), bring, gradient, check);
  }
}

}  // namespace lseg
