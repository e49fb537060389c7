#include "lseg/model.h"

#include <charconv>
#include <set>
#include <sstream>
#include <system_error>

#include "kernels/runtime/check.h"

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

std::vector<std::string> Split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream stream(list);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

// Reads the whole text as a number; false where it is none.
template <typename T>
bool ReadNumber(const std::string& text, T* value) {
  const char* end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, *value);
  return result.ec == std::errc() && result.ptr == end;
}

bool IsLoss(const caffe::LayerParameter& layer) {
  const std::string& type = layer.type();
  return type.size() > 4 && type.compare(type.size() - 4, 4, "Loss") == 0;
}

bool IsData(const caffe::LayerParameter& layer) { return layer.bottom_size() == 0; }

// The blob of the answer; `logits` is set where a Sigmoid of it has to be added.
std::string FindAnswer(const NetDefinition& test, const NetDefinition& train, std::string* logits) {
  for (const caffe::LayerParameter& layer : test.net().layer()) {
    for (const std::string& top : layer.top()) {
      if (top == kAnswer) return top;
    }
  }
  for (int i = train.layer_count() - 1; i >= 0; --i) {
    if (!IsLoss(train.layer(i)) || train.layer(i).bottom_size() == 0) continue;
    *logits = train.layer(i).bottom(0);
    return kAnswer;
  }
  LSEG_CHECK(test.layer_count() > 0, test.name() << ": no layer is left in phase TEST");
  const caffe::LayerParameter& last = test.layer(test.layer_count() - 1);
  LSEG_CHECK(last.type() == "Sigmoid" && last.top_size() == 1,
             test.name() << ": the net has no answer: neither a blob '" << kAnswer
                         << "', nor a loss, nor a Sigmoid as its last layer");
  return last.top(0);
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

}  // namespace

std::map<std::string, std::string> ToMetadata(const ModelInfo& info) {
  std::string classes;
  for (const std::string& name : info.classes) classes += (classes.empty() ? "" : ",") + name;
  return {{"lseg.net", info.net_text},
          {"lseg.classes", classes},
          {"lseg.width", std::to_string(info.width)},
          {"lseg.height", std::to_string(info.height)},
          {"lseg.mean", ToText(info.mean_bgr[0]) + "," + ToText(info.mean_bgr[1]) + "," +
                            ToText(info.mean_bgr[2])},
          {"lseg.scale", ToText(info.scale)}};
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
  take("lseg.classes", "names with commas between", [&](const std::string& text) {
    info.classes = Split(text);
    bool named = !info.classes.empty();
    for (const std::string& name : info.classes) named = named && !name.empty();
    return named;
  });
  take("lseg.width", "a positive number",
       [&](const std::string& text) { return ReadNumber(text, &info.width) && info.width > 0; });
  take("lseg.height", "a positive number",
       [&](const std::string& text) { return ReadNumber(text, &info.height) && info.height > 0; });
  take("lseg.mean", "three numbers (B,G,R)", [&](const std::string& text) {
    const std::vector<std::string> parts = Split(text);
    bool read = parts.size() == 3;
    for (int c = 0; read && c < 3; ++c) read = ReadNumber(parts[c], &info.mean_bgr[c]);
    return read;
  });
  take("lseg.scale", "a number",
       [&](const std::string& text) { return ReadNumber(text, &info.scale); });
  return info;
}

InferenceNet MakeInferenceNet(const NetDefinition& definition) {
  const NetDefinition test = definition.Filtered(caffe::TEST);
  std::string logits;
  InferenceNet net{definition, "", FindAnswer(test, definition.Filtered(caffe::TRAIN), &logits)};
  std::set<std::string> wanted = {logits.empty() ? net.answer : logits};
  std::vector<caffe::LayerParameter> layers = LayersFor(test, &wanted);
  if (!logits.empty()) {
    caffe::LayerParameter& sigmoid = layers.emplace_back();
    sigmoid.set_name(kAnswer);
    sigmoid.set_type("Sigmoid");
    sigmoid.add_bottom(logits);
    sigmoid.add_top(kAnswer);
  }
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

}  // namespace lseg
