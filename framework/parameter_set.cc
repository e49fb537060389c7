#include "framework/parameter_set.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "framework/text.h"

namespace lseg {
namespace {

// Shapes without their leading ones: a bias of 64 is 1x1x1x64 in old files, 64 in new ones.
std::vector<int64_t> Stripped(const std::vector<int64_t>& shape) {
  const auto first = std::find_if(shape.begin(), shape.end(), [](int64_t d) { return d != 1; });
  return {first, shape.end()};
}

std::vector<int64_t> Dims(const Shape& shape) { return {shape.n, shape.c, shape.h, shape.w}; }

bool IsBias(const std::string& key) {
  return key.size() >= 5 && key.compare(key.size() - 5, 5, ".bias") == 0;
}

}  // namespace

std::string LoadReport::Summary() const {
  std::ostringstream out;
  out << "loaded " << loaded.size() << " tensors";
  if (!loaded.empty()) out << " (" << loaded.front() << " .. " << loaded.back() << ")";
  if (!skipped.empty()) out << "\nnot in this net, skipped: " << Join(skipped);
  if (!missing.empty()) out << "\nnot in the file, left to their filler: " << Join(missing);
  return out.str();
}

Tensor* ParameterSet::Find(const std::string& key) {
  const auto found = tensors_.find(key);
  return found == tensors_.end() ? nullptr : &found->second;
}

const Tensor* ParameterSet::Find(const std::string& key) const {
  const auto found = tensors_.find(key);
  return found == tensors_.end() ? nullptr : &found->second;
}

Tensor& ParameterSet::Add(const std::string& key, const Shape& shape) {
  const auto [place, added] = tensors_.try_emplace(key, device_, TensorDesc{shape});
  LSEG_CHECK(added, "parameter '" << key << "' is there already");
  return place->second;
}

void ParameterSet::Await(const WeightsFile& file) {
  for (const WeightTensor& tensor : file.tensors()) awaited_.insert(tensor.key);
}

int64_t ParameterSet::Bytes() const {
  int64_t bytes = 0;
  for (const auto& [key, tensor] : tensors_) bytes += tensor.desc().Bytes();
  return bytes;
}

void ParameterSet::Release(const std::string& key) { tensors_.at(key).Release(); }

bool ParameterSet::HasReleased() const {
  return std::any_of(tensors_.begin(), tensors_.end(),
                     [](const auto& entry) { return entry.second.IsReleased(); });
}

LoadReport ParameterSet::Load(const WeightsFile& file) {
  LSEG_CHECK(!HasReleased(), "parameters were to be loaded whose memory was given back");
  LoadReport report;
  for (const WeightTensor& tensor : file.tensors()) {
    Tensor* target = Find(tensor.key);
    if (target == nullptr) {
      report.skipped.push_back(tensor.key);
      continue;
    }
    const std::vector<int64_t> wanted = Dims(target->desc().shape);
    LSEG_CHECK(tensor.shape == wanted || Stripped(tensor.shape) == Stripped(wanted),
               "weights '" << tensor.key << "' are " << ShapeText(tensor.shape)
                           << " in the file and " << ToString(target->desc().shape)
                           << " in the net");
    const auto strange = std::find_if_not(tensor.data.begin(), tensor.data.end(),
                                          [](float value) { return std::isfinite(value); });
    LSEG_CHECK(strange == tensor.data.end(),
               "weights '" << tensor.key << "' have a " << *strange << " among them, at element "
                           << strange - tensor.data.begin()
                           << ": the file is damaged, or its training went astray");
    target->CopyFrom(tensor.data.data());
    report.loaded.push_back(tensor.key);
  }
  for (const auto& [key, tensor] : tensors_) {
    if (std::find(report.loaded.begin(), report.loaded.end(), key) == report.loaded.end()) {
      report.missing.push_back(key);
    }
  }
  return report;
}

void ParameterSet::Store(WeightsFile& file) const {
  LSEG_CHECK(!HasReleased(), "parameters were to be stored whose memory was given back");
  for (const auto& [key, tensor] : tensors_) {
    const Shape& shape = tensor.desc().shape;
    std::vector<int64_t> dims = Dims(shape);
    if (IsBias(key)) dims = {shape.Count()};
    std::vector<float> values(shape.Count());
    tensor.CopyTo(values.data());
    file.Add({key, std::move(dims), std::move(values)});
  }
}

}  // namespace lseg
