#include "lseg/checkpoint.h"

#include <nlohmann/json.hpp>

#include "kernels/runtime/check.h"

namespace lseg {
namespace {

using nlohmann::json;

constexpr char kPlan[] = "lseg.plan", kEngines[] = "lseg.engines", kList[] = "lseg.list";
constexpr char kBest[] = "lseg.best_mean", kValidated[] = "lseg.validated_at";

}  // namespace

void Checkpoint::Write(const std::string& path) {
  tensors.metadata[kPlan] = plan.ToJson();
  tensors.metadata[kEngines] = json(engines).dump();
  tensors.metadata[kList] = list_text;
  tensors.metadata[kBest] = json(best_mean).dump();
  tensors.metadata[kValidated] = json(validated_at).dump();
  tensors.Write(path);
}

Checkpoint Checkpoint::Read(const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.tensors = WeightsFile::Read(path);
  const auto& metadata = checkpoint.tensors.metadata;
  for (const char* key : {kPlan, kEngines, kList, kBest, kValidated}) {
    LSEG_CHECK(metadata.count(key) > 0,
               path << ": is no checkpoint of lseg_train: its metadata have no " << key);
  }
  try {
    checkpoint.plan = TrainPlan::FromJson(metadata.at(kPlan));
    checkpoint.engines = json::parse(metadata.at(kEngines));
    checkpoint.list_text = metadata.at(kList);
    checkpoint.best_mean = json::parse(metadata.at(kBest)).get<double>();
    checkpoint.validated_at = json::parse(metadata.at(kValidated)).get<int64_t>();
  } catch (const json::exception& error) {
    LSEG_FAIL(path << ": the checkpoint's metadata cannot be read: " << error.what());
  }
  return checkpoint;
}

}  // namespace lseg
