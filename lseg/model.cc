#include "lseg/model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <span>
#include <system_error>

#include "framework/text.h"
#include "lseg/caffe_transform.h"
#include "lseg/class_names.h"
#include "lseg/layers.h"

namespace lseg {

extern const char kBuiltinNet[];  // from the prototxt files, by embed_text.cmake
extern const char kBuiltinSolver[];

std::string BuiltinNetText() { return kBuiltinNet; }
std::string BuiltinSolverText() { return kBuiltinSolver; }

namespace {

constexpr char kAnswer[] = "probability";

std::string ToText(float value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

std::string ToText(std::span<const float> values) {
  std::vector<std::string> texts;
  for (const float value : values) texts.push_back(ToText(value));
  return Join(texts, ",");
}

// Reads the whole text as a finite number; false where it is none.
template <typename T>
bool ReadNumber(const std::string& text, T* value) {
  const char* end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, *value);
  return result.ec == std::errc() && result.ptr == end && std::isfinite(*value);
}

bool IsLoss(const caffe::LayerParameter& layer) {
  const std::string& type = layer.type();
  return type.size() > 4 && type.compare(type.size() - 4, 4, "Loss") == 0;
}

bool IsData(const caffe::LayerParameter& layer) { return layer.bottom_size() == 0; }

// Where the answer comes from, and what has to be added to the net for it.
struct AnswerSource {
  std::string blob;
  bool sigmoid = false, softmax = false;  // of the blob
  bool without_background = false;        // the first channel is to go
};

// `all`: not filtered.
AnswerSource FindAnswer(const NetDefinition& test, const NetDefinition& all) {
  for (const caffe::LayerParameter& layer : test.net().layer()) {
    for (const std::string& top : layer.top()) {
      if (top == kAnswer) return {top};
    }
  }
  // Stages of which only a solver's train_state knows may select the losses.
  for (const NetDefinition& train : {all.Filtered(caffe::TRAIN), all}) {
    for (int i = train.layer_count() - 1; i >= 0; --i) {
      if (!IsLoss(train.layer(i)) || train.layer(i).bottom_size() == 0) continue;
      const bool softmax = train.layer(i).type() == "SoftmaxWithLoss";
      return {train.layer(i).bottom(0), !softmax, softmax, softmax};
    }
  }
  LSEG_CHECK(test.layer_count() > 0, test.name() << ": no layer is left in phase TEST");
  const caffe::LayerParameter& last = test.layer(test.layer_count() - 1);
  const bool softmax = last.type() == "Softmax";
  LSEG_CHECK((softmax || last.type() == "Sigmoid") && last.top_size() == 1,
             test.name() << ": the net has no answer: neither a blob '" << kAnswer
                         << "', nor a loss, nor a Sigmoid or Softmax as its last layer");
  return {last.top(0), false, false, softmax};
}

caffe::LayerParameter MakeLayer(const std::string& type, const std::string& bottom,
                                const std::vector<std::string>& tops) {
  caffe::LayerParameter layer;
  layer.set_name(tops.back());
  layer.set_type(type);
  layer.add_bottom(bottom);
  for (const std::string& top : tops) layer.add_top(top);
  return layer;
}

// The layers that make the answer of its source.
std::vector<caffe::LayerParameter> AnswerLayers(const AnswerSource& source) {
  std::vector<caffe::LayerParameter> layers;
  if (source.sigmoid) return {MakeLayer("Sigmoid", source.blob, {kAnswer})};
  const std::string all = source.softmax ? "class probability" : source.blob;
  if (source.softmax) layers.push_back(MakeLayer("Softmax", source.blob, {all}));
  if (source.without_background) {
    layers.push_back(MakeLayer("Slice", all, {"background probability", kAnswer}));
    layers.back().mutable_slice_param()->add_slice_point(1);
  }
  return layers;
}

// Layers of `test` that `wanted` depends on, in order. What none of them makes is left in `wanted`.
std::vector<caffe::LayerParameter> LayersFor(const NetDefinition& test,
                                             std::set<std::string>* wanted) {
  std::vector<caffe::LayerParameter> layers;
  for (int i = test.layer_count() - 1; i >= 0; --i) {
    const caffe::LayerParameter& layer = test.layer(i);
    bool needed = false;
    for (const std::string& top : layer.top()) needed = needed || wanted->count(top) > 0;
    if (!needed || IsData(layer) || IsLoss(layer)) continue;
    for (const std::string& top : layer.top()) wanted->erase(top);
    for (const std::string& bottom : layer.bottom()) wanted->insert(bottom);
    layers.insert(layers.begin(), layer);
  }
  return layers;
}

// Whether a tensor may be missing in a weights file: upsampling that does not learn is filled by
// rule, the same for everybody.
bool FilledByRule(const NetDefinition& definition, const NetParam& param) {
  if (param.lr_mult != 0) return false;
  for (const caffe::LayerParameter& layer : definition.net().layer()) {
    if (layer.type() == "Deconvolution" && param.key.rfind(layer.name() + ".", 0) == 0) return true;
  }
  return false;
}

}  // namespace

std::map<std::string, std::string> ToMetadata(const ModelInfo& info) {
  std::map<std::string, std::string> metadata = {{"lseg.net", info.net_text},
                                                 {"lseg.classes", Join(info.classes, ",")},
                                                 {"lseg.width", std::to_string(info.width)},
                                                 {"lseg.height", std::to_string(info.height)},
                                                 {"lseg.mean", ToText(info.mean_bgr)},
                                                 {"lseg.scale", ToText(info.scale)}};
  if (info.view_radius > 0) metadata["lseg.view_radius"] = ToText(info.view_radius);
  if (!info.thresholds.empty()) metadata["lseg.thresholds"] = ToText(info.thresholds);
  return metadata;
}

ModelInfo FromMetadata(const std::map<std::string, std::string>& metadata,
                       const std::string& file) {
  ModelInfo info;
  // Hands a key's text to `read`, which returns false where it is not what it should be.
  const auto take = [&](const std::string& key, const char* rule, const auto& read) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) return;
    LSEG_CHECK(read(found->second),
               file << ": metadata '" << key << "' is '" << found->second << "', not " << rule);
  };
  take("lseg.net", "a text", [&](const std::string& text) {
    info.net_text = text;
    return true;
  });
  if (metadata.count("lseg.classes") > 0) {
    info.classes = ParseClasses(metadata.at("lseg.classes"), file + ": metadata 'lseg.classes'");
  }
  take("lseg.width", "a positive number",
       [&](const std::string& text) { return ReadNumber(text, &info.width) && info.width > 0; });
  take("lseg.height", "a positive number",
       [&](const std::string& text) { return ReadNumber(text, &info.height) && info.height > 0; });
  take("lseg.mean", "three numbers (B,G,R)", [&](const std::string& text) {
    const std::vector<std::string> parts = SplitAtCommas(text);
    bool read = parts.size() == 3;
    for (int c = 0; read && c < 3; ++c) read = ReadNumber(parts[c], &info.mean_bgr[c]);
    return read;
  });
  take("lseg.scale", "a number",
       [&](const std::string& text) { return ReadNumber(text, &info.scale); });
  take("lseg.view_radius", "a positive number", [&](const std::string& text) {
    return ReadNumber(text, &info.view_radius) && info.view_radius > 0 && info.view_radius < 1e6f;
  });
  take("lseg.thresholds", "a number above 0 and at most 1 for each class",
       [&](const std::string& text) {
         for (const std::string& part : SplitAtCommas(text)) {
           float& value = info.thresholds.emplace_back();
           if (!ReadNumber(part, &value) || !(value > 0 && value <= 1)) return false;
         }
         return info.thresholds.size() == info.classes.size();
       });
  return info;
}

ModelInfo FromDefinition(const NetDefinition& net, ModelInfo info, bool with_mean) {
  info.net_text = net.text();
  if (net.net().class_name_size() > 0) {
    info.classes.assign(net.net().class_name().begin(), net.net().class_name().end());
    CheckClasses(info.classes, net.name() + ": class_name");
  }
  for (int i = 0; i < net.layer_count(); ++i) {
    const caffe::LayerParameter& layer = net.layer(i);
    if (layer.type() != kImageLabelmapData && !(IsData(layer) && layer.has_transform_param())) {
      continue;
    }
    info.scale = layer.transform_param().scale();
    if (!with_mean) continue;
    try {
      const CaffeTransform transform(layer.transform_param(), /*training=*/false, net.name());
      const std::vector<float> means = transform.ChannelMeans();
      std::copy(means.begin(), means.end(), info.mean_bgr.begin());
    } catch (const Error& error) {
      throw Error(net.Where(i, "transform_param") + ": " + error.what());
    }
  }
  return info;
}

InferenceNet MakeInferenceNet(const NetDefinition& definition) {
  const NetDefinition test = definition.Filtered(caffe::TEST);
  const AnswerSource source = FindAnswer(test, definition);
  const std::vector<caffe::LayerParameter> added = AnswerLayers(source);
  InferenceNet net{definition, "", added.empty() ? source.blob : kAnswer};
  std::set<std::string> wanted = {source.blob};
  std::vector<caffe::LayerParameter> layers = LayersFor(test, &wanted);
  layers.insert(layers.end(), added.begin(), added.end());
  std::string inputs;
  for (const std::string& blob : wanted) inputs += (inputs.empty() ? "'" : ", '") + blob + "'";
  LSEG_CHECK(wanted.size() == 1, definition.name()
                                     << ": for '" << net.answer << "' the net needs " << inputs
                                     << " as inputs, and not an image alone");
  net.input = *wanted.begin();

  caffe::NetParameter cut = test.net();
  cut.clear_layer();
  caffe::LayerParameter* input = cut.add_layer();
  input->set_name(net.input);
  input->set_type("Input");
  input->add_top(net.input);
  caffe::BlobShape* shape = input->mutable_input_param()->add_shape();
  for (const int64_t dim : {1, 3, 960, 1440}) shape->add_dim(dim);
  for (caffe::LayerParameter& layer : layers) {
    layer.clear_phase();
    layer.clear_include();
    layer.clear_exclude();
    *cut.add_layer() = std::move(layer);
  }
  net.definition = NetDefinition::FromMessage(cut, FieldLines(), definition.name());
  return net;
}

void CheckComplete(const InferenceNet& inference, const NetParts& net, const LoadReport& report,
                   const std::string& file) {
  std::vector<std::string> lacking;
  for (const NetParam& param : net.params) {
    if (std::find(report.missing.begin(), report.missing.end(), param.key) ==
            report.missing.end() ||
        FilledByRule(inference.definition, param)) {
      continue;
    }
    lacking.push_back(param.key);
  }
  LSEG_CHECK(lacking.empty(), file
                                  << ": the net has tensors that this file lacks: " << Join(lacking)
                                  << "; weights of a part of it are for lseg_train --weights");
}

}  // namespace lseg
