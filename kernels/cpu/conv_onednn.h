// What the plans that convolve by oneDNN share: a case in its terms, a primitive that is bound to
// memory, and weights between this project's layout and the library's.
#pragma once

#include <string_view>
#include <unordered_map>
#include <utility>

#include "kernels/conv.h"
#include "kernels/cpu/onednn.h"

namespace lseg::onednn {

dnnl::memory::desc Activation(const Shape& s, Format format, DType dtype);
// Weights as this project stores them.
dnnl::memory::desc PlainWeights(const ConvParams& params);

// Weights in a layout that the library chooses.
ConvCase MakeCase(const ConvParams& params, ConvDirection direction, ConvFormats formats,
                  dnnl::algorithm algorithm);

// Not where all the library has is its reference code: this project's own takes such cases, under a
// name that says so. Nor its code for AMX (MakeEngine).
template <typename Descriptor>
bool IsUsable(const Descriptor& descriptor) {
  if (!descriptor) return false;
  const std::string_view name = descriptor.impl_info_str();
  return !name.starts_with("ref") && name.find("amx") == name.npos;
}

// A primitive with the memory objects it reads and writes. Pointers are set before Execute.
class Bound {
 public:
  Bound() = default;
  Bound(const dnnl::engine& engine, dnnl::primitive primitive,
        std::unordered_map<int, dnnl::memory::desc> descs)
      : primitive_(std::move(primitive)) {
    for (const auto& [name, desc] : descs) {
      if (desc.get_size() > 0) args_[name] = dnnl::memory(desc, engine, DNNL_MEMORY_NONE);
    }
  }

  void Set(int name, const void* data) {
    const auto found = args_.find(name);
    if (found != args_.end()) found->second.set_data_handle(const_cast<void*>(data));
  }
  void Execute(dnnl::stream& stream) {
    primitive_.execute(stream, args_);
    stream.wait();
  }

 private:
  dnnl::primitive primitive_;
  std::unordered_map<int, dnnl::memory> args_;
};

// What the three directions share: engine, stream, and weights between layouts.
class OnednnConv : public ConvPlan {
 public:
  OnednnConv(const ConvParams& params, ConvDirection direction)
      : p_(params),
        direction_(direction),
        engine_(MakeEngine()),
        stream_(engine_),
        plain_(PlainWeights(params)) {}

  int64_t PackedWeightBytes() const override {
    const bool reads_weights = direction_ != ConvDirection::kBackwardWeights;
    return reads_weights && weight_ != plain_ ? static_cast<int64_t>(weight_.get_size()) : 0;
  }

  void PackWeights(Context&, const float* weight, void* packed) const override {
    if (PackedWeightBytes() == 0) return;
    Bound pack = MakeReorder(plain_, weight_, /*add=*/false);
    pack.Set(DNNL_ARG_FROM, weight);
    pack.Set(DNNL_ARG_TO, packed);
    pack.Execute(stream_);
  }

 protected:
  Bound MakeReorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to, bool add) const {
    const auto pd = onednn::Reorder(engine_, from, to, add);
    return Bound(engine_, dnnl::reorder(pd), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
  }

  ConvParams p_;
  ConvDirection direction_;
  dnnl::engine engine_;
  mutable dnnl::stream stream_;
  dnnl::memory::desc plain_, weight_;
};

}  // namespace lseg::onednn
