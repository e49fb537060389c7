// Layer: a type of the prototxt. It does not run: it adds nodes to the graph, through a
// LayerBuilder.
//
// To add a type: write framework/layers/<type>.cc with a build function, declare it in
// framework/layers/layers.h, and name it in the table of BuiltinLayers() (framework/layer.cc).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/data_source.h"
#include "framework/definition.h"
#include "framework/graph.h"
#include "framework/parameter_set.h"
#include "kernels/runtime/random.h"

namespace lseg {

class LayerBuilder;

struct LayerType {
  std::string name;  // as in the prototxt: "Convolution"
  void (*build)(LayerBuilder&) = nullptr;
  int min_bottoms = 1, max_bottoms = 1;
  int min_tops = 1, max_tops = 1;
};

class LayerRegistry {
 public:
  // A name that is there already is an Error.
  void Add(LayerType type);
  const LayerType* Find(const std::string& name) const;
  std::string Names() const;  // "Concat, Convolution, ..."

 private:
  std::map<std::string, LayerType> types_;
};

// The types of this library. The model's own come by lseg::AddLayers (lseg/layers.h).
LayerRegistry BuiltinLayers();

// A learned tensor as the graph sees it.
struct NetParam {
  std::string key;  // "conv1_1.weight"
  TensorId tensor = kNoTensor;
  float lr_mult = 1, decay_mult = 1;
};

// A loss top and its weight in the objective.
struct NetLoss {
  std::string name;             // of the top
  TensorId tensor = kNoTensor;  // one f32
  float weight = 1;
};

struct NetSource {
  std::unique_ptr<DataSource> source;
  std::vector<TensorId> tensors;
};

// What one layer of the definition took and made.
struct LayerParts {
  std::vector<TensorId> bottoms, tops, params;
};

// What a net is while layers add themselves to it, and afterwards.
struct NetParts {
  Graph graph;
  std::map<std::string, TensorId>
      blobs;  // name -> its latest version (in-place layers make new ones)
  std::vector<NetParam> params;
  std::vector<NetLoss> losses;
  std::vector<NetSource> sources;
  std::vector<LayerParts> layers;  // one a layer of the definition
  std::vector<std::string> notes;  // for the log: what was chosen where the definition is silent
};

// What a build function sees: its layer's text, its bottoms, and the graph to add to.
class LayerBuilder {
 public:
  LayerBuilder(const NetDefinition& definition, int layer, Context& context, uint64_t seed,
               ParameterSet& parameters, const std::map<std::string, TensorDesc>& inputs,
               NetParts& parts);

  const caffe::LayerParameter& param() const { return param_; }
  Context& context() { return context_; }
  uint64_t seed() const { return seed_; }
  // The file of the definition: relative paths in it are looked for beside it (ResolvePath).
  const std::string& file() const { return definition_.name(); }
  bool training_phase() const;

  int bottoms() const { return param_.bottom_size(); }
  int tops() const { return param_.top_size(); }
  TensorId Bottom(int i) const;  // a name that nothing before gives is an Error
  // Before the layer adds itself: bottoms of propagate_down: false become marks behind which
  // gradients stop, in phase TRAIN. As in Caffe it is given for every bottom or for none.
  void StopGradients();
  const TensorDesc& BottomDesc(int i) const;
  const Shape& BottomShape(int i) const { return BottomDesc(i).shape; }

  // Makes top i, of fewer than 2^48 elements or an Error. A top of a bottom's name replaces it for
  // the layers that follow.
  TensorId AddTop(int i, const Shape& shape, DType dtype = DType::kF32,
                  TensorKind kind = TensorKind::kActivation);
  // Makes top i another name of a tensor that is there, for a layer that does nothing.
  void AliasTop(int i, TensorId tensor);
  // A tensor between the nodes of this layer.
  TensorId AddTemporary(const std::string& name, const Shape& shape, DType dtype = DType::kF32);
  // Learned tensor `index` of this layer, "<layer>.<suffix>", filled by `filler` unless the
  // ParameterSet has it already.
  TensorId AddParam(int index, const std::string& suffix, const Shape& shape,
                    const std::function<void(float*, Random&)>& filler);
  void AddNode(std::unique_ptr<Op> op, std::vector<TensorId> inputs, std::vector<TensorId> outputs);
  // The layer's loss_weight (1 where it gives none) for top 0, which is a loss.
  float AddLoss(TensorId top);
  void AddSource(std::unique_ptr<DataSource> source, std::vector<TensorId> tensors);
  void Note(const std::string& text);
  // The number of the batch that runs (Net::Fetch), i32 (1,1,1,1), for what is drawn anew each
  // time.
  TensorId BatchNumber();
  // Of this layer's own random numbers.
  uint64_t LayerSeed() const;

  // What the caller of the net asks for in an input's place, else f32 of `shape`.
  TensorDesc InputDesc(int top, const Shape& shape) const;
  // Learning-rate multiplier of the layer's tensor `index`, as Caffe: 1 where not given.
  float LrMult(int index) const;
  // Coordinates of `to` in terms of `from` (centres), through their nearest common ancestor.
  AxisMap MapBetween(TensorId from, TensorId to, bool vertical) const;

  // Throws "file:line: layer 'name' (Type): message"; the line is that of `field` where given.
  [[noreturn]] void Fail(const std::string& message, const std::string& field = "") const;

 private:
  // Fails where counts and bytes of tensors like this might overflow.
  void CheckCount(const std::string& what, const Shape& shape) const;
  void FillParam(const std::string& key, const std::function<void(float*, Random&)>& filler,
                 Tensor& tensor) const;

  const NetDefinition& definition_;
  int layer_;
  const caffe::LayerParameter& param_;
  Context& context_;
  uint64_t seed_;
  ParameterSet& parameters_;
  const std::map<std::string, TensorDesc>& inputs_;
  NetParts& parts_;
  std::map<int, TensorId> stopped_;  // bottoms of propagate_down: false
};

// Checks inside build functions: LSEG_LAYER_CHECK(builder, n > 0, "num_output " << n << " ...").
#define LSEG_LAYER_CHECK(builder, condition, message) \
  do {                                                \
    if (!(condition)) {                               \
      std::ostringstream lseg_layer_stream;           \
      lseg_layer_stream << message;                   \
      (builder).Fail(lseg_layer_stream.str());        \
    }                                                 \
  } while (false)

// Builds all layers of a definition that is filtered for its phase already.
NetParts BuildLayers(const NetDefinition& definition, const LayerRegistry& registry,
                     Context& context, uint64_t seed, ParameterSet& parameters,
                     const std::map<std::string, TensorDesc>& inputs);

}  // namespace lseg
