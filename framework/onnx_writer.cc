#include "framework/onnx_writer.h"

#include <bit>

namespace lseg {
namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little endian");

onnx::TensorProto MakeTensor(const std::string& name, const std::vector<int64_t>& dims,
                             onnx::TensorProto::DataType type, const void* data, size_t bytes) {
  onnx::TensorProto tensor;
  tensor.set_name(name);
  for (int64_t dim : dims) tensor.add_dims(dim);
  tensor.set_data_type(type);
  tensor.set_raw_data(data, bytes);
  return tensor;
}

}  // namespace

std::string OnnxWriter::NewName(const std::string& wanted) {
  std::string name = wanted;
  for (int i = 2; !names_.insert(name).second; ++i) name = wanted + "_" + std::to_string(i);
  return name;
}

std::string OnnxWriter::Node(const std::string& op, const std::vector<std::string>& inputs,
                             const std::string& output, const OnnxAttributes& attributes) {
  onnx::NodeProto& node = *graph_.add_node();
  node.set_op_type(op);
  node.set_name(output);
  for (const std::string& input : inputs) node.add_input(input);
  node.add_output(output);
  const auto add = [&](const std::string& name, onnx::AttributeProto::AttributeType type) {
    onnx::AttributeProto* attribute = node.add_attribute();
    attribute->set_name(name);
    attribute->set_type(type);
    return attribute;
  };
  for (const auto& [name, values] : attributes.ints) {
    onnx::AttributeProto* attribute = add(name, onnx::AttributeProto::INTS);
    for (int64_t value : values) attribute->add_ints(value);
  }
  for (const auto& [name, value] : attributes.i) add(name, onnx::AttributeProto::INT)->set_i(value);
  for (const auto& [name, value] : attributes.f) {
    add(name, onnx::AttributeProto::FLOAT)->set_f(value);
  }
  return output;
}

std::string OnnxWriter::Inner(const std::string& layer, const std::string& op,
                              const std::vector<std::string>& inputs,
                              const OnnxAttributes& attributes) {
  return Node(op, inputs, NewName(layer + "/" + op), attributes);
}

std::string OnnxWriter::Floats(const std::string& key, const std::vector<int64_t>& dims,
                               const float* data) {
  std::string& name = constants_["floats " + key];
  if (!name.empty()) return name;
  name = NewName(key);
  size_t count = 1;
  for (int64_t dim : dims) count *= static_cast<size_t>(dim);
  *graph_.add_initializer() =
      MakeTensor(name, dims, onnx::TensorProto::FLOAT, data, count * sizeof(float));
  return name;
}

std::string OnnxWriter::Scalar(float value) {
  return Floats("constant " + std::to_string(std::bit_cast<uint32_t>(value)), {}, &value);
}

std::string OnnxWriter::Ints(const std::vector<int64_t>& values) {
  std::string key = "constant";
  for (int64_t value : values) key += " " + std::to_string(value);
  std::string& name = constants_["ints " + key];
  if (!name.empty()) return name;
  name = NewName(key);
  *graph_.add_initializer() =
      MakeTensor(name, {static_cast<int64_t>(values.size())}, onnx::TensorProto::INT64,
                 values.data(), values.size() * sizeof(int64_t));
  return name;
}

}  // namespace lseg
