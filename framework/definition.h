// NetDefinition: a net as its prototxt says it, with the line of everything, so that whoever builds
// the net can refuse a layer by file, line and name.
//
//   NetDefinition net = NetDefinition::FromFile("train.prototxt").Filtered(caffe::TRAIN);
//   for (int i = 0; i < net.layer_count(); ++i) Build(net.layer(i));
//   LSEG_FAIL(net.Where(i, "convolution_param.kernel_size") << ": kernel 0 must be positive");
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/proto/caffe.pb.h"
#include "framework/proto_text.h"

namespace lseg {

class NetDefinition {
 public:
  // Throws Error "file:line: ..." for what the text format or this definition language refuses:
  // syntax, unknown fields, `layers { }` (the language before 2015), include beside exclude, inputs
  // without shapes, no layer at all. `input`, `input_shape` and `input_dim` become one Input layer
  // named "input" in front, as in Caffe.
  static NetDefinition FromFile(const std::string& path);
  // `name` stands for the file in messages.
  static NetDefinition FromText(const std::string& text, const std::string& name);
  // A net inside another text (a solver's net_param), parsed already.
  static NetDefinition FromMessage(const caffe::NetParameter& net, const FieldLines& lines,
                                   const std::string& name);

  const std::string& name() const { return name_; }  // path as given, or name of the text
  // The text as it was read, comments included; of a net inside a solver, printed anew.
  const std::string& text() const { return *text_; }

  // Layers in order. Deprecated inputs and `layers` are gone from it.
  const caffe::NetParameter& net() const { return net_; }
  int layer_count() const { return net_.layer_size(); }
  const caffe::LayerParameter& layer(int layer) const { return net_.layer(layer); }

  // Fields of the net itself that have no effect here, one line each, for the log.
  const std::vector<std::string>& notes() const { return notes_; }

  // The layers that belong to a state, by Caffe's rules: include given: one of its rules must be
  // met; exclude given: none may. A rule is met where phase, min_level <= level <= max_level, all
  // of its stages and none of its not_stages fit. The net's own `state` adds its stages, and its
  // level where `level` is 0. Layers get the phase; a layer's `phase` of the other kind is an Error
  // (it selects nothing in Caffe: include { phase: ... } does). Lines stay.
  NetDefinition Filtered(caffe::Phase phase, int level = 0,
                         const std::vector<std::string>& stages = {}) const;
  NetDefinition Filtered(const caffe::NetState& state) const;

  // Puts another message in a layer's place (a data source that the caller chooses); its lines
  // stay.
  void ReplaceLayer(int layer, const caffe::LayerParameter& message) {
    *net_.mutable_layer(layer) = message;
  }

  // The line, from 1, on which the layer starts; with `field` that of its field, which may be
  // nested
  // ("param.lr_mult") and has an index where it repeats ("bottom", 1). A field that the text does
  // not have gives the line of the layer.
  int LineOf(int layer) const { return layers_[layer].line; }
  int LineOf(int layer, const std::string& field, int index = 0) const;

  // "net.prototxt:12: layer 'conv1_1' (Convolution)", with the line of the layer or of its field.
  // A layer without a name: "net.prototxt:40: layer (EuclideanLoss, top 'loss')".
  std::string Where(int layer) const;
  std::string Where(int layer, const std::string& field, int index = 0) const;
  // The part of it after the line.
  std::string Describe(int layer) const;

 private:
  struct LayerLines {
    int line = 0;
    FieldLines fields;
  };

  void TakeLayers(const caffe::NetParameter& net, const FieldLines& lines);
  void TakeInputs(const caffe::NetParameter& net, const FieldLines& lines);
  std::string At(int line) const;  // "net.prototxt:12"

  std::string name_;
  std::shared_ptr<const std::string> text_;
  caffe::NetParameter net_;
  std::vector<LayerLines> layers_;  // one a layer of net_
  int state_line_ = 0;
  std::vector<std::string> notes_;
};

}  // namespace lseg
