// What a Net tells: where its inputs are, and after a run losses, blobs, gradients, the solver's
// memory, and where a value is not finite.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "framework/net.h"
#include "kernels/reorder.h"

namespace lseg {
namespace {

// Dense NCHW floats of what a tensor's memory, brought to the host, holds.
std::vector<float> ToPlainFloats(const TensorDesc& desc, const std::vector<char>& memory) {
  const Shape& s = desc.shape;
  const auto value = [&](int64_t at) -> float {
    const char* element = memory.data() + at * SizeOf(desc.dtype);
    uint16_t half;
    float single;
    switch (desc.dtype) {
      case DType::kU8:
        return static_cast<float>(static_cast<uint8_t>(*element));
      case DType::kF16:
        std::memcpy(&half, element, sizeof(half));
        return F16ToF32(half);
      case DType::kBF16:
        std::memcpy(&half, element, sizeof(half));
        return BF16ToF32(half);
      case DType::kF32:
        std::memcpy(&single, element, sizeof(single));
        return single;
      default:
        LSEG_FAIL("a tensor of " << ToString(desc.dtype) << " cannot be read as floats");
    }
  };
  std::vector<float> plain(s.Count());
  int64_t at = 0;
  for (int64_t n = 0; n < s.n; ++n) {
    for (int64_t c = 0; c < s.c; ++c) {
      for (int64_t y = 0; y < s.h; ++y) {
        for (int64_t x = 0; x < s.w; ++x) plain[at++] = value(Offset(s, desc.format, n, c, y, x));
      }
    }
  }
  return plain;
}

}  // namespace

float Net::GradientNorm() const { return Scalar(static_cast<int>(parts_.losses.size())); }

float Net::Scalar(int i) const {
  if (scalars_stale_) {
    context_.Synchronize();
    CopyToHost(context_.device(), host_scalars_.data(), scalars_.data(), scalars_.bytes());
    scalars_stale_ = false;
  }
  return host_scalars_[i];
}

float Net::LossValue(int i) const { return Scalar(i); }

double Net::Loss() const {
  double sum = 0;
  for (size_t i = 0; i < parts_.losses.size(); ++i) {
    sum += double{parts_.losses[i].weight} * LossValue(static_cast<int>(i));
  }
  return sum;
}

TensorId Net::InputTensor(const std::string& blob) const {
  const std::vector<GraphTensor>& tensors = parts_.graph.tensors;
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const GraphTensor& tensor) {
    return tensor.kind == TensorKind::kInput && tensor.name == blob;
  });
  return found == tensors.end() ? kNoTensor : static_cast<TensorId>(found - tensors.begin());
}

std::vector<float> Net::ReadTensor(TensorId id) const {
  const TensorDesc& desc = parts_.graph.tensors[id].desc;
  if (context_.device() != Device::kCpu) {
    std::vector<char> memory(desc.Bytes());
    context_.Synchronize();
    CopyToHost(context_.device(), memory.data(), memory_[id], desc.Bytes());
    return ToPlainFloats(desc, memory);
  }
  std::vector<float> values(desc.shape.Count());
  if (desc.dtype == DType::kU8) {
    CastToF32(context_, desc.shape.Count(), static_cast<const uint8_t*>(memory_[id]),
              values.data());
  } else {
    LSEG_CHECK(IsFloat(desc.dtype),
               "a tensor of " << ToString(desc.dtype) << " cannot be read as floats");
    Reorder(context_, desc.shape, desc.format, memory_[id], Format::kNCHW, values.data(),
            GradMode::kWrite, desc.dtype);
  }
  return values;
}

std::vector<float> Net::Read(const std::string& blob) const {
  const TensorId id = BlobTensor(blob);
  const GraphTensor& tensor = parts_.graph.tensors[id];
  LSEG_CHECK(tensor.keep || tensor.kind != TensorKind::kActivation,
             "blob '" << blob << "' is no output: name it in NetOptions.keep to read it");
  return ReadTensor(id);
}

const float* Net::Output(const std::string& blob) {
  const TensorId id = BlobTensor(blob);
  const GraphTensor& tensor = parts_.graph.tensors[id];
  LSEG_CHECK(tensor.keep && tensor.desc.dtype == DType::kF32 && tensor.desc.format == Format::kNCHW,
             "blob '" << blob << "' is no dense f32 output of the net");
  if (context_.device() == Device::kCpu) return static_cast<const float*>(memory_[id]);
  const HostBuffer& host =
      host_outputs_.try_emplace(id, context_.device(), tensor.desc.Bytes()).first->second;
  context_.Synchronize();
  CopyToHost(context_.device(), host.data(), memory_[id], host.bytes());
  return static_cast<const float*>(host.data());
}

const TensorDesc& Net::Desc(const std::string& blob) const {
  return parts_.graph.tensors[BlobTensor(blob)].desc;
}

std::vector<float> Net::Gradient(const std::string& key) const {
  TensorId primal = kNoTensor;
  for (const NetParam& param : parts_.params) {
    if (param.key == key) primal = param.tensor;
  }
  if (primal == kNoTensor) primal = InputTensor(key);
  LSEG_CHECK(primal != kNoTensor, "the net has no parameter and no input '" << key << "'");
  const auto found = parts_.graph.gradient_of.find(primal);
  LSEG_CHECK(found != parts_.graph.gradient_of.end(), "'" << key << "' has no gradient");
  const GraphTensor& gradient = parts_.graph.tensors[found->second];
  LSEG_CHECK(gradient.keep || gradient.kind == TensorKind::kParamGrad,
             "the gradient of '" << key << "' is not kept");
  std::vector<float> values = ReadTensor(found->second);
  for (float& value : values) value /= loss_scale_;
  return values;
}

std::map<std::string, std::vector<float>> Net::SolverState() const {
  std::map<std::string, std::vector<float>> state;
  for (const auto& [name, id] : update_.state) state[name] = ReadTensor(id);
  return state;
}

void Net::SetSolverState(const std::string& name, const std::vector<float>& values) {
  const auto found = update_.state.find(name);
  LSEG_CHECK(found != update_.state.end(), "this solver has no memory '" << name << "'");
  const TensorDesc& desc = parts_.graph.tensors[found->second].desc;
  LSEG_CHECK(static_cast<int64_t>(values.size()) == desc.shape.Count(),
             "'" << name << "' has " << values.size() << " values in the checkpoint, "
                 << desc.shape.Count() << " in the net");
  CopyToDevice(context_.device(), memory_[found->second], values.data(), desc.Bytes());
}

std::string Net::FindNonFinite() {
  for (const Stage stage : {Stage::kForward, Stage::kBackward}) {
    for (const Node& node : parts_.graph.nodes) {
      if (node.stage != stage) continue;
      RunNode(node, false);
      for (TensorId id : node.outputs) {
        if (id == kNoTensor) continue;
        const TensorDesc& desc = parts_.graph.tensors[id].desc;
        if (desc.format == Format::kOpaque || desc.dtype == DType::kU8 ||
            desc.dtype == DType::kI32) {
          continue;
        }
        for (const float value : ReadTensor(id)) {
          if (!std::isfinite(value)) return "layer '" + node.layer + "' (" + node.op->Name() + ")";
        }
      }
    }
  }
  return "";
}

}  // namespace lseg
