// The outermost message is taken apart here, and protobuf gets one layer at a time: values lie in
// memory but twice, the file may be larger than protobuf's 2 GiB, and an error can name the byte.
#include "framework/caffemodel.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/common.h>
#include <google/protobuf/unknown_field_set.h>
#if GOOGLE_PROTOBUF_VERSION < 4022000
#include <google/protobuf/stubs/logging.h>
#endif

#include <algorithm>
#include <climits>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "framework/file.h"
#include "framework/proto/caffe.pb.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

constexpr char kEnding[] = ".caffemodel";
constexpr char kWeight[] = ".weight", kBias[] = ".bias";
constexpr int kMaxDims = 32;   // Caffe's own limit
constexpr int kMaxDepth = 32;  // of messages in a layer; Caffe's own definitions have 4

// protobuf prints what it thinks of a text that is not UTF-8 on stderr.
#if GOOGLE_PROTOBUF_VERSION < 4022000
using Silence = google::protobuf::LogSilencer;
#else
struct Silence {};
#endif

// As a safetensors file, whose header is JSON, demands it of keys.
bool IsUtf8(const std::string& text) {
  try {
    nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// A field of the outermost message. Its bytes are empty where it is a number.
struct Field {
  uint64_t number = 0;
  size_t at = 0;  // where it starts in the file
  std::string_view bytes;
};

// protobuf's wire format: a field is a varint (number << 3 | kind) and, by its kind, a varint, 8
// bytes, a length and so many bytes, or 4 bytes. Kinds 3 and 4, groups, no file of Caffe has.
class FieldReader {
 public:
  FieldReader(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  std::optional<Field> Next() {
    if (at_ == bytes_.size()) return std::nullopt;
    Field field;
    field.at = at_;
    const uint64_t tag = Varint(field);
    field.number = tag >> 3;
    const uint64_t kind = tag & 7;
    LSEG_CHECK(field.number > 0 && tag <= UINT32_MAX && (kind <= 2 || kind == 5),
               name_ << ": not a .caffemodel: byte " << field.at << " starts no field of one");
    if (kind == 0) {
      Varint(field);
    } else {
      const uint64_t size = kind == 1 ? 8 : kind == 5 ? 4 : Varint(field);
      const uint64_t rest = bytes_.size() - at_;
      LSEG_CHECK(size <= rest, name_ << ": not a whole .caffemodel: field " << field.number
                                     << " at byte " << field.at << " announces " << size
                                     << " bytes, " << rest << " follow");
      if (kind == 2) field.bytes = bytes_.substr(at_, size);
      at_ += size;
    }
    return field;
  }

 private:
  uint64_t Varint(const Field& field) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && at_ < bytes_.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes_[at_++]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    LSEG_FAIL(name_ << ": not a whole .caffemodel: a number of the field at byte " << field.at
                    << " does not end");
  }

  std::string_view bytes_;
  const std::string& name_;
  size_t at_ = 0;
};

template <typename Layer>
Layer ParseLayer(const Field& field, const std::string& where) {
  [[maybe_unused]] const Silence silence;
  LSEG_CHECK(field.bytes.size() <= INT_MAX,
             where << " has " << field.bytes.size() << " bytes, more than 2 GiB");
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(field.bytes.data()),
                                               static_cast<int>(field.bytes.size()));
  input.SetTotalBytesLimit(INT_MAX);
  input.SetRecursionLimit(kMaxDepth);
  Layer layer;
  LSEG_CHECK(layer.ParseFromCodedStream(&input) && input.ConsumedEntireMessage(),
             where << " is damaged: its bytes are no layer of Caffe's");
  return layer;
}

std::vector<int64_t> ShapeOf(const caffe::BlobProto& blob) {
  if (blob.has_num() || blob.has_channels() || blob.has_height() || blob.has_width()) {
    return {blob.num(), blob.channels(), blob.height(), blob.width()};
  }
  return {blob.shape().dim().begin(), blob.shape().dim().end()};
}

WeightTensor TensorOf(const caffe::BlobProto& blob, const std::string& key,
                      const std::string& where) {
  LSEG_CHECK(blob.shape().dim_size() <= kMaxDims,
             where << ": '" << Printable(key) << "' has " << blob.shape().dim_size()
                   << " dimensions, above Caffe's limit of " << kMaxDims);
  WeightTensor tensor{key, ShapeOf(blob), {}};
  const bool doubles = blob.double_data_size() > 0;
  const int64_t count = doubles ? blob.double_data_size() : blob.data_size();
  LSEG_CHECK(ElementCount(tensor.shape) == count,
             where << ": '" << Printable(key) << "' has " << count
                   << " values, which do not fill its shape " << ShapeText(tensor.shape));
  if (doubles) {
    tensor.data.reserve(static_cast<size_t>(count));
    for (const double value : blob.double_data()) {
      tensor.data.push_back(static_cast<float>(value));
    }
  } else {
    tensor.data.assign(blob.data().begin(), blob.data().end());
  }
  const auto is_one = [](int64_t dim) { return dim == 1; };
  const auto last = tensor.shape.end() - (tensor.shape.empty() ? 0 : 1);
  if (EndsWith(key, kBias) && std::all_of(tensor.shape.begin(), last, is_one)) {
    tensor.shape = {count};
  }
  return tensor;
}

template <typename Layer>
void TakeLayer(const Layer& layer, const std::string& type, bool known, const std::string& where,
               CaffeModel* model) {
  if (layer.blobs_size() == 0) return;
  const std::string shown = Printable(layer.name()) + " (" + Printable(type) + ")";
  if (!known) {
    model->skipped.push_back(shown);
    return;
  }
  LSEG_CHECK(!layer.name().empty(), where << " has weights, but no name");
  LSEG_CHECK(IsUtf8(layer.name()), where << " has a name that is not UTF-8");
  LSEG_CHECK(layer.blobs_size() <= 2, where << ", " << shown << ", has " << layer.blobs_size()
                                            << " blobs, where a weight and a bias can be");
  for (int i = 0; i < layer.blobs_size(); ++i) {
    const std::string key = layer.name() + (i == 0 ? kWeight : kBias);
    LSEG_CHECK(model->weights.Find(key) == nullptr,
               where << ": '" << Printable(key) << "' was in an earlier layer already");
    model->weights.Add(TensorOf(layer.blobs(i), key, where));
  }
}

void TakeNewLayer(const Field& field, const std::string& where, CaffeModel* model) {
  const auto layer = ParseLayer<caffe::LayerParameter>(field, where);
  const bool known = layer.type() == "Convolution" || layer.type() == "Deconvolution";
  TakeLayer(layer, layer.type(), known, where, model);
}

void TakeOldLayer(const Field& field, const std::string& where, CaffeModel* model) {
  using Type = caffe::V1LayerParameter;
  const auto layer = ParseLayer<Type>(field, where);
  const auto& unknown = layer.unknown_fields();
  for (int i = 0; i < unknown.field_count(); ++i) {
    LSEG_CHECK(unknown.field(i).number() != 1,
               where << " is in Caffe's oldest form, of 2013: Caffe's upgrade_net_proto_binary "
                        "makes a newer one of it");
  }
  const bool known = layer.type() == Type::CONVOLUTION || layer.type() == Type::DECONVOLUTION;
  TakeLayer(layer, Type::LayerType_Name(layer.type()), known, where, model);
}

void SetBlob(const WeightTensor& tensor, caffe::BlobProto* blob) {
  caffe::BlobShape* shape = blob->mutable_shape();
  for (const int64_t dim : tensor.shape) shape->add_dim(dim);
  blob->mutable_data()->Add(tensor.data.begin(), tensor.data.end());
}

void CheckFits(const std::string& bytes, size_t more) {
  LSEG_CHECK(bytes.size() + more <= INT_MAX,
             "the weights are too large for a .caffemodel, which has 2 GiB at the most");
}

}  // namespace

CaffeModel ParseCaffeModel(std::string_view bytes, const std::string& name) {
  CaffeModel model;
  FieldReader reader(bytes, name);
  int new_layers = 0, old_layers = 0;
  while (const std::optional<Field> field = reader.Next()) {
    const bool is_new = field->number == caffe::NetParameter::kLayerFieldNumber;
    if (!is_new && field->number != caffe::NetParameter::kLayersFieldNumber) continue;
    ++(is_new ? new_layers : old_layers);
    LSEG_CHECK(new_layers == 0 || old_layers == 0,
               name << ": has both `layer` and `layers`, Caffe's newer and older form");
    const std::string where = name + ": layer " + std::to_string(new_layers + old_layers) +
                              " at byte " + std::to_string(field->at);
    (is_new ? TakeNewLayer : TakeOldLayer)(*field, where, &model);
  }
  const int layers = new_layers + old_layers;
  LSEG_CHECK(layers > 0,
             name << ": not a .caffemodel: no layer in its " << bytes.size() << " bytes");
  LSEG_CHECK(!model.weights.tensors().empty(),
             name << ": none of its " << layers
                  << " layers is a Convolution or Deconvolution with weights");
  return model;
}

std::string SerializeCaffeModel(const WeightsFile& weights,
                                const std::map<std::string, std::string>& types,
                                std::vector<std::string>* left_out) {
  [[maybe_unused]] const Silence silence;
  std::string bytes;
  for (const WeightTensor& tensor : weights.tensors()) {
    const bool is_bias = EndsWith(tensor.key, kBias);
    if (!is_bias && !EndsWith(tensor.key, kWeight)) {
      left_out->push_back(tensor.key);
      continue;
    }
    const std::string layer = tensor.key.substr(0, tensor.key.rfind('.'));
    LSEG_CHECK(!layer.empty(), "'" << tensor.key << "' is of a layer without a name");
    if (is_bias) {
      LSEG_CHECK(weights.Find(layer + kWeight) != nullptr,
                 "'" << Printable(tensor.key)
                     << "' is a bias without its weight, which no .caffemodel can hold");
      continue;
    }
    // Repeated fields of concatenated protobufs are concatenated: this is one net of all layers.
    caffe::NetParameter net;
    caffe::LayerParameter* message = net.add_layer();
    message->set_name(layer);
    const auto type = types.find(layer);
    message->set_type(type == types.end() ? "Convolution" : type->second);
    const WeightTensor* bias = weights.Find(layer + kBias);
    // First by the values, since protobuf does not count beyond its limit.
    CheckFits(bytes, (tensor.data.size() + (bias ? bias->data.size() : 0)) * sizeof(float));
    SetBlob(tensor, message->add_blobs());
    if (bias != nullptr) SetBlob(*bias, message->add_blobs());
    CheckFits(bytes, net.ByteSizeLong());
    LSEG_CHECK(net.AppendToString(&bytes), "layer '" << Printable(layer) << "' is no protobuf");
  }
  return bytes;
}

bool IsCaffeModel(const std::string& path) { return EndsWith(path, kEnding); }

WeightsFile ParseWeights(std::string_view bytes, const std::string& name,
                         std::vector<std::string>* skipped) {
  if (!IsCaffeModel(name)) return WeightsFile::Parse(bytes, name);
  CaffeModel model = ParseCaffeModel(bytes, name);
  *skipped = std::move(model.skipped);
  return std::move(model.weights);
}

WeightsFile ReadWeights(const std::string& path, std::vector<std::string>* skipped) {
  return ParseWeights(ReadFile(path), path, skipped);
}

}  // namespace lseg
