// Weights as .caffemodel. What is read must be the same after it was written and read again, in
// either format.
#include <cstring>

#include "framework/caffemodel.h"
#include "tests/fuzz/fuzz.h"

namespace {

void RequireSame(const lseg::WeightsFile& file, const lseg::WeightsFile& again) {
  using lseg::fuzz::Require;
  Require(again.tensors().size() == file.tensors().size(), "tensors survive");
  for (const lseg::WeightTensor& tensor : file.tensors()) {
    const lseg::WeightTensor* found = again.Find(tensor.key);
    Require(found && found->shape == tensor.shape && found->data.size() == tensor.data.size(),
            "a tensor survives");
    Require(tensor.data.empty() || std::memcmp(found->data.data(), tensor.data.data(),
                                               tensor.data.size() * sizeof(float)) == 0,
            "its values survive");
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lseg;
  CaffeModel model;
  if (!fuzz::Accepts(
          [&] { model = ParseCaffeModel(fuzz::Bytes(data, size), "weights.caffemodel"); })) {
    return 0;
  }
  for (const std::string& layer : model.skipped) fuzz::RequireOneLine(layer);
  RequireSame(model.weights, WeightsFile::Parse(model.weights.Serialize(), "again.safetensors"));
  std::vector<std::string> left_out;
  const std::string bytes = SerializeCaffeModel(model.weights, {}, &left_out);
  fuzz::Require(left_out.empty(), "all that was read can be written");
  RequireSame(model.weights, ParseCaffeModel(bytes, "again.caffemodel").weights);
  return 0;
}
