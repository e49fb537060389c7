// Each layer type has a function that writes its nodes. What the layer's text means was settled by
// its build function: parameters come from the op that it made.
#include "framework/onnx_export.h"

#include <algorithm>
#include <climits>
#include <limits>

#include "framework/layers/layers.h"
#include "framework/onnx_writer.h"
#include "kernels/box_copy.h"
#include "kernels/conv.h"
#include "kernels/deconv.h"
#include "kernels/pool.h"

namespace lseg {
namespace {

constexpr int kOpset = 17, kIrVersion = 8;

// One layer on its way into the graph.
struct LayerExport {
  const NetDefinition& definition;
  int index;
  const NetParts& parts;
  const ParameterSet& parameters;
  OnnxWriter& writer;
  std::map<TensorId, std::string>& names;  // values that are there

  const caffe::LayerParameter& param() const { return definition.layer(index); }
  const LayerParts& tensors() const { return parts.layers[index]; }
  std::string Label() const {
    const caffe::LayerParameter& layer = param();
    return layer.name().empty() ? layer.type() + " " + layer.top(0) : layer.name();
  }
  const std::string& Bottom(int i) const { return names.at(tensors().bottoms[i]); }
  const Op& MadeOp() const { return *parts.graph.Writer(tensors().tops[0])->op; }
  [[noreturn]] void Fail(const std::string& why) const {
    LSEG_FAIL(definition.Describe(index) << " cannot be written as ONNX: " << why);
  }

  // The value of top i by the node that gives it.
  void Top(int i, const std::string& op, const std::vector<std::string>& inputs,
           const OnnxAttributes& attributes = {}) {
    writer.Node(op, inputs, names.at(tensors().tops[i]), attributes);
  }
  std::string Inner(const std::string& op, const std::vector<std::string>& inputs,
                    const OnnxAttributes& attributes = {}) {
    return writer.Inner(Label(), op, inputs, attributes);
  }
  // Height and width of a value, int64.
  std::string Size(const std::string& value) {
    return Inner("Shape", {value}, {.i = {{"start", 2}}});
  }
  // Learned tensor i of the layer; a bias has one dimension.
  std::string Learned(int i) {
    const TensorId id = tensors().params[i];
    for (const NetParam& learned : parts.params) {
      if (learned.tensor != id) continue;
      const Tensor& tensor = *parameters.Find(learned.key);
      const Shape& s = tensor.desc().shape;
      const std::vector<int64_t> dims =
          i == 0 ? std::vector<int64_t>{s.n, s.c, s.h, s.w} : std::vector<int64_t>{s.Count()};
      return writer.Floats(learned.key, dims, tensor.f32());
    }
    Fail("it has no tensor " + std::to_string(i));
  }
};

template <typename Params>
void ExportConvolution(LayerExport& layer, const std::string& op, const Params& p) {
  std::vector<std::string> inputs = {layer.Bottom(0), layer.Learned(0)};
  if (p.bias) inputs.push_back(layer.Learned(1));
  layer.Top(0, op, inputs,
            {.ints = {{"dilations", {p.dilation_h, p.dilation_w}},
                      {"kernel_shape", {p.kernel_h, p.kernel_w}},
                      {"pads", {p.pad_h, p.pad_w, p.pad_h, p.pad_w}},
                      {"strides", {p.stride_h, p.stride_w}}},
             .i = {{"group", p.group}}});
}

// Rows and columns behind the image's end that Caffe's windows reach, from its height and width:
// the last window starts at last * stride - pad, last the smaller of (size + 2 pad - kernel) /
// stride, rounded up, and of the last start within size + pad.
std::string EndPad(LayerExport& layer, const PoolParams& p, const std::string& size) {
  const auto ints = [&](int64_t h, int64_t w) { return layer.writer.Ints({h, w}); };
  const std::string stride = ints(p.stride_h, p.stride_w);
  const std::string room =
      layer.Inner("Add", {size, ints(2 * p.pad_h - p.kernel_h + p.stride_h - 1,
                                     2 * p.pad_w - p.kernel_w + p.stride_w - 1)});
  const std::string within = layer.Inner("Add", {size, ints(p.pad_h - 1, p.pad_w - 1)});
  const std::string last = layer.Inner(
      "Min", {layer.Inner("Div", {room, stride}), layer.Inner("Div", {within, stride})});
  const std::string end = layer.Inner("Add", {layer.Inner("Mul", {last, stride}),
                                              ints(p.kernel_h - p.pad_h, p.kernel_w - p.pad_w)});
  return layer.Inner("Max", {layer.Inner("Sub", {end, size}), ints(0, 0)});
}

// `value` with so many rows and columns before, and `end` (a value) behind.
std::string PadWith(LayerExport& layer, const std::string& value, int64_t before_h,
                    int64_t before_w, const std::string& end, float filling) {
  const std::string pads = layer.Inner(
      "Concat", {layer.writer.Ints({0, 0, before_h, before_w, 0, 0}), end}, {.i = {{"axis", 0}}});
  return layer.Inner("Pad", {value, pads, layer.writer.Scalar(filling)});
}

OnnxAttributes PoolAttributes(const PoolParams& p) {
  return {
      .ints = {{"kernel_shape", {p.kernel_h, p.kernel_w}}, {"strides", {p.stride_h, p.stride_w}}}};
}

void ExportMaximum(LayerExport& layer, const PoolParams& p) {
  OnnxAttributes attributes = PoolAttributes(p);
  // Then no window starts behind the end of the padded image, where ONNX's rules have changed.
  const bool plain =
      !p.round_up || (p.pad_h + p.stride_h <= p.kernel_h && p.pad_w + p.stride_w <= p.kernel_w);
  std::string input = layer.Bottom(0);
  if (plain) {
    attributes.ints.push_back({"pads", {p.pad_h, p.pad_w, p.pad_h, p.pad_w}});
    attributes.i.push_back({"ceil_mode", p.round_up});
  } else {
    input = PadWith(layer, input, p.pad_h, p.pad_w, EndPad(layer, p, layer.Size(input)),
                    -std::numeric_limits<float>::infinity());
  }
  layer.Top(0, "MaxPool", {input}, attributes);
}

// Caffe divides by what of a window lies within the image and its padding. Rounded up, windows may
// reach beyond: the average of zeros there is put right by the average of a mask.
void ExportAverage(LayerExport& layer, const PoolParams& p) {
  OnnxAttributes attributes = PoolAttributes(p);
  const std::string& input = layer.Bottom(0);
  if (!p.round_up) {
    attributes.ints.push_back({"pads", {p.pad_h, p.pad_w, p.pad_h, p.pad_w}});
    attributes.i.push_back({"count_include_pad", 1});
    layer.Top(0, "AveragePool", {input}, attributes);
    return;
  }
  const std::string size = layer.Size(input), end = EndPad(layer, p, size);
  const std::string padding = layer.Inner("Min", {end, layer.writer.Ints({p.pad_h, p.pad_w})});
  const std::string shape =
      layer.Inner("Concat", {layer.writer.Ints({1, 1}), size}, {.i = {{"axis", 0}}});
  const std::string ones = layer.Inner("Expand", {layer.writer.Scalar(1), shape});
  const std::string within = PadWith(layer, ones, p.pad_h, p.pad_w, padding, 1);
  const std::string mask = PadWith(layer, within, 0, 0, layer.Inner("Sub", {end, padding}), 0);
  const std::string sum =
      layer.Inner("AveragePool", {PadWith(layer, input, p.pad_h, p.pad_w, end, 0)}, attributes);
  layer.Top(0, "Div", {sum, layer.Inner("AveragePool", {mask}, attributes)});
}

void ExportPooling(LayerExport& layer) {
  const PoolParams& p = *layer.MadeOp().AsPool();
  const bool max = p.method == PoolParams::Method::kMax;
  if (layer.param().pooling_param().global_pooling()) {
    layer.Top(0, max ? "GlobalMaxPool" : "GlobalAveragePool", {layer.Bottom(0)});
  } else if (max) {
    ExportMaximum(layer, p);
  } else {
    ExportAverage(layer, p);
  }
}

void ExportRelu(LayerExport& layer) {
  const float slope = layer.param().relu_param().negative_slope();
  if (slope == 0) return layer.Top(0, "Relu", {layer.Bottom(0)});
  layer.Top(0, "LeakyRelu", {layer.Bottom(0)}, {.f = {{"alpha", slope}}});
}

void ExportEltwise(LayerExport& layer) {
  const auto& coefficients = layer.param().eltwise_param().coeff();
  std::vector<std::string> terms;
  for (int i = 0; i < layer.param().bottom_size(); ++i) {
    const bool scaled = !coefficients.empty() && coefficients[i] != 1;
    terms.push_back(
        scaled ? layer.Inner("Mul", {layer.Bottom(i), layer.writer.Scalar(coefficients[i])})
               : layer.Bottom(i));
  }
  layer.Top(0, "Sum", terms);
}

// Along its axis and those behind it: from the offset on, so much as the other bottom has.
void ExportCrop(LayerExport& layer) {
  const int64_t axis = layer.param().crop_param().axis();
  const int64_t first = axis < 0 ? axis + 4 : axis;
  const Shape& at = layer.MadeOp().AsBoxCopies()->front().params.src_at;
  const int64_t offsets[] = {at.n, at.c, at.h, at.w};
  std::vector<int64_t> starts, axes;
  for (int64_t a = first; a < 4; ++a) starts.push_back(offsets[a]), axes.push_back(a);
  const std::string begin = layer.writer.Ints(starts);
  const std::string size = layer.Inner("Shape", {layer.Bottom(1)}, {.i = {{"start", first}}});
  const std::string end = layer.Inner("Add", {size, begin});
  layer.Top(0, "Slice", {layer.Bottom(0), begin, end, layer.writer.Ints(axes)});
}

void ExportSlice(LayerExport& layer) {
  const caffe::SliceParameter& param = layer.param().slice_param();
  const int64_t axis = param.has_slice_dim() ? param.slice_dim() : param.axis();
  if (axis != 1 && axis != -3) {
    layer.Fail("it cuts along axis " + std::to_string(axis) +
               ", whose size the file leaves open; along channels, axis 1, it can be");
  }
  for (const BoxCopyPart& part : *layer.MadeOp().AsBoxCopies()) {
    const int64_t begin = part.params.src_at.c;
    layer.Top(part.output, "Slice",
              {layer.Bottom(0), layer.writer.Ints({begin}),
               layer.writer.Ints({begin + part.params.box.c}), layer.writer.Ints({1})});
  }
}

void ExportConcat(LayerExport& layer) {
  const caffe::ConcatParameter& param = layer.param().concat_param();
  std::vector<std::string> inputs;
  for (int i = 0; i < layer.param().bottom_size(); ++i) inputs.push_back(layer.Bottom(i));
  const int64_t axis = param.has_concat_dim() ? param.concat_dim() : param.axis();
  layer.Top(0, "Concat", inputs, {.i = {{"axis", axis}}});
}

std::map<std::string, void (*)(LayerExport&)> Exporters() {
  return {
      {"Concat", ExportConcat},
      {"Convolution", [](LayerExport& l) { ExportConvolution(l, "Conv", *l.MadeOp().AsConv()); }},
      {"Crop", ExportCrop},
      {"Deconvolution",
       [](LayerExport& l) { ExportConvolution(l, "ConvTranspose", *l.MadeOp().AsDeconv()); }},
      {"Dropout", [](LayerExport&) {}},  // its top is its bottom
      {"Eltwise", ExportEltwise},
      {"Input", [](LayerExport&) {}},
      {"Pooling", ExportPooling},
      {"ReLU", ExportRelu},
      {"Sigmoid", [](LayerExport& l) { l.Top(0, "Sigmoid", {l.Bottom(0)}); }},
      {"Slice", ExportSlice},
      {"Softmax",
       [](LayerExport& l) {
         l.Top(0, "Softmax", {l.Bottom(0)}, {.i = {{"axis", 1}}});
       }},
  };
}

// Every tensor's name: that of its blob; of what a layer in place has replaced, with the layer that
// made it behind it.
std::map<TensorId, std::string> NameTensors(const OnnxModel& model, OnnxWriter& writer) {
  std::map<TensorId, std::string> names;
  for (const std::string& blob : {model.input, model.answer}) {
    names.try_emplace(model.parts.blobs.at(blob), writer.NewName(blob));
  }
  for (const auto& [blob, id] : model.parts.blobs) {
    if (names.count(id) == 0) names[id] = writer.NewName(blob);
  }
  for (int i = 0; i < model.definition.layer_count(); ++i) {
    const caffe::LayerParameter& layer = model.definition.layer(i);
    for (int t = 0; t < layer.top_size(); ++t) {
      const TensorId id = model.parts.layers[i].tops[t];
      if (names.count(id) == 0) names[id] = writer.NewName(layer.top(t) + " of " + layer.type());
    }
  }
  return names;
}

void Describe(const std::string& name, const Shape& shape, const std::string& height,
              const std::string& width, const std::string& doc, onnx::ValueInfoProto* value) {
  value->set_name(name);
  value->set_doc_string(doc);
  auto* tensor = value->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(onnx::TensorProto::FLOAT);
  onnx::TensorShapeProto* dims = tensor->mutable_shape();
  dims->add_dim()->set_dim_param("batch");
  dims->add_dim()->set_dim_value(shape.c);
  dims->add_dim()->set_dim_param(height);
  dims->add_dim()->set_dim_param(width);
}

}  // namespace

std::string SerializeOnnx(const OnnxModel& model) {
  OnnxWriter writer;
  std::map<TensorId, std::string> names = NameTensors(model, writer);
  const auto exporters = Exporters();
  for (int i = 0; i < model.definition.layer_count(); ++i) {
    LayerExport layer{model.definition, i, model.parts, model.parameters, writer, names};
    const auto found = exporters.find(layer.param().type());
    if (found == exporters.end()) layer.Fail("there is no rule for its type");
    found->second(layer);
  }
  onnx::ModelProto file;
  file.set_ir_version(kIrVersion);
  file.set_producer_name("L-Seg");
  file.set_producer_version(model.producer_version);
  file.set_doc_string(model.doc);
  file.add_opset_import()->set_version(kOpset);
  for (const auto& [key, value] : model.metadata) {
    onnx::StringStringEntryProto* entry = file.add_metadata_props();
    entry->set_key(key);
    entry->set_value(value);
  }
  const TensorId in = model.parts.blobs.at(model.input), out = model.parts.blobs.at(model.answer);
  const auto& tensors = model.parts.graph.tensors;
  const Shape &from = tensors[in].desc.shape, &to = tensors[out].desc.shape;
  const bool same = from.h == to.h && from.w == to.w;
  Describe(names.at(in), from, "height", "width", model.input_doc, writer.graph().add_input());
  Describe(names.at(out), to, same ? "height" : "answer_height", same ? "width" : "answer_width",
           model.answer_doc, writer.graph().add_output());
  writer.graph().set_name(model.definition.net().name().empty() ? "net"
                                                                : model.definition.net().name());
  file.mutable_graph()->Swap(&writer.graph());
  LSEG_CHECK(file.ByteSizeLong() <= INT_MAX,
             "the weights are too large for an .onnx file, which has 2 GiB at the most");
  return file.SerializeAsString();
}

}  // namespace lseg
