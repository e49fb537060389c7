// OnnxWriter: an ONNX graph, node by node. Values are their names; constants that are asked for
// again are the same ones.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "framework/proto/onnx.pb.h"

namespace lseg {

struct OnnxAttributes {
  std::vector<std::pair<std::string, std::vector<int64_t>>> ints = {};
  std::vector<std::pair<std::string, int64_t>> i = {};
  std::vector<std::pair<std::string, float>> f = {};
};

class OnnxWriter {
 public:
  // A name that no value has yet: `wanted`, or that with a number behind it.
  std::string NewName(const std::string& wanted);

  // Adds a node that gives `output`, a name of NewName's, and returns that.
  std::string Node(const std::string& op, const std::vector<std::string>& inputs,
                   const std::string& output, const OnnxAttributes& attributes = {});
  // The same, its output named after its layer.
  std::string Inner(const std::string& layer, const std::string& op,
                    const std::vector<std::string>& inputs, const OnnxAttributes& attributes = {});

  // Constants; `data` is dense.
  std::string Floats(const std::string& key, const std::vector<int64_t>& dims, const float* data);
  std::string Scalar(float value);
  std::string Ints(const std::vector<int64_t>& values);

  onnx::GraphProto& graph() { return graph_; }

 private:
  onnx::GraphProto graph_;
  std::set<std::string> names_;
  std::map<std::string, std::string> constants_;  // what they are -> name
};

}  // namespace lseg
