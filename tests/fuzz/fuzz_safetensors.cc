// Weights as safetensors. What is read must be the same after it was written and read again.
#include <cstring>

#include "framework/weights.h"
#include "tests/fuzz/fuzz.h"

namespace {

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lseg;
  WeightsFile file;
  const auto read = [&] {
    file = WeightsFile::Parse(fuzz::Bytes(data, size), "weights.safetensors");
  };
  if (!fuzz::Accepts(read)) return 0;
  for (const WeightTensor& tensor : file.tensors()) {
    const ValueRange range = RangeOf(tensor.data);
    fuzz::Require(range.min <= range.max && range.Finite() >= 0, "a range is one");
  }
  fuzz::Accepts([&] { file.Serialize(DType::kF16); });
  fuzz::Accepts([&] { file.Serialize(DType::kBF16); });
  const WeightsFile again = WeightsFile::Parse(file.Serialize(), "again");
  fuzz::Require(again.metadata == file.metadata, "metadata survive");
  fuzz::Require(again.tensors().size() == file.tensors().size(), "tensors survive");
  for (const WeightTensor& tensor : file.tensors()) {
    const WeightTensor* found = again.Find(tensor.key);
    fuzz::Require(found && found->shape == tensor.shape && SameBits(found->data, tensor.data),
                  "a tensor survives");
  }
  return 0;
}
