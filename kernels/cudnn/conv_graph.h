// A convolution as cuDNN's graph API describes it, with the plan by which it runs. For the sources
// of liblseg_cudnn.so and their tests.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "kernels/conv.h"
#include "kernels/cudnn/descriptor.h"

namespace lseg::cudnn {

// The layout and the type that cuDNN computes in: one for both sides and the weights.
struct Plane {
  Format layout;
  DType dtype;

  explicit Plane(ConvFormats formats)
      : layout(formats.src == formats.dst ? formats.src : Format::kNHWC),
        dtype(formats.src_dtype == DType::kF32 ? formats.dst_dtype : formats.src_dtype) {}
  bool Differs(Format format, DType type) const { return format != layout || type != dtype; }
};

// The GPU that plans are made for.
class Target {
 public:
  explicit Target(cudnnHandle_t handle) : handle_(handle) {}
  // A GPU that need not be there, described as cuDNN does it in JSON: what would run there can be
  // seen.
  explicit Target(const std::string& json);

  // By the one of the two attributes that fits, where the descriptor has it.
  void SetOn(Descriptor& descriptor, std::optional<cudnnBackendAttributeName_t> by_handle,
             std::optional<cudnnBackendAttributeName_t> by_properties) const;

 private:
  cudnnHandle_t handle_ = nullptr;
  std::optional<Descriptor> properties_;
};

// Pointers of one run, in the plane's layout and type, aligned to 16 bytes; the gradients in their
// maps' places.
struct ConvData {
  const void *src, *weight, *dst;
  const void* bias;  // where ConvGraph::fused()
};

class ConvGraph {
 public:
  // Chooses the first by cuDNN's heuristics of those that repeat bit for bit and sum the products
  // as they are (no Winograd, no FFT, no narrower type; no tensor cores for exact f32). `fused`:
  // forward, with the bias, in the plane's type, and the ReLU of `params`.
  ConvGraph(const Target& target, const ConvParams& params, ConvDirection direction, Plane plane,
            bool fused);

  bool usable() const { return plan_.has_value(); }
  // Where it is not: what cuDNN said, or what it offered.
  const std::string& why() const { return why_; }
  bool fused() const { return fused_; }
  // What cuDNN says of the way that was chosen.
  const std::vector<cudnnBackendNumericalNote_t>& notes() const { return notes_; }
  int64_t workspace() const { return workspace_; }

  void Run(cudnnHandle_t handle, const ConvData& data, void* workspace) const;

 private:
  Descriptor& Keep(cudnnBackendDescriptorType_t type) { return kept_.emplace_back(type); }
  const Descriptor& Tensor(int64_t id, const Shape& shape, DType dtype, bool is_virtual = false);
  const Descriptor& Convolution();
  std::vector<cudnnBackendDescriptor_t> Operations(ConvDirection direction);
  const Descriptor& Pointwise(cudnnPointwiseMode_t mode, const Descriptor& in,
                              const Descriptor* bias, const Descriptor& out);
  void Choose(const Target& target, const Descriptor& graph, bool exact);
  bool Take(const Target& target, const Descriptor& config, bool exact);

  ConvParams p_;
  Plane plane_;
  bool fused_;
  std::deque<Descriptor> kept_;  // what the plan is made of; a deque, for they refer to each other
  std::optional<Descriptor> plan_;
  std::vector<cudnnBackendNumericalNote_t> notes_;
  int64_t workspace_ = 0;
  std::string why_;
};

}  // namespace lseg::cudnn
