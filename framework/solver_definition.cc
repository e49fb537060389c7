// The fate of each field stands in the tables below; a field of caffe.proto that is in none of them
// fails, so that a new one cannot be forgotten.
#include "framework/solver_definition.h"

#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <vector>

#include "framework/file.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

const std::set<std::string>& UsedFields() {
  static const auto& fields = *new std::set<std::string>{"average_loss",
                                                         "base_lr",
                                                         "clip_gradients",
                                                         "display",
                                                         "iter_size",
                                                         "lr_policy",
                                                         "max_iter",
                                                         "momentum",
                                                         "net",
                                                         "net_param",
                                                         "random_seed",
                                                         "snapshot",
                                                         "regularization_type",
                                                         "solver_type",
                                                         "snapshot_prefix",
                                                         "test_iter",
                                                         "test_net",
                                                         "test_interval",
                                                         "test_state",
                                                         "test_net_param",
                                                         "train_net",
                                                         "train_state",
                                                         "train_net_param",
                                                         "type",
                                                         "warmup_iter",
                                                         "weight_decay"};
  return fields;
}

const std::map<std::string, std::string>& IgnoredFields() {
  static const auto& fields = *new std::map<std::string, std::string>{
      {"debug_info", "a value that is not finite is always reported with its layer"},
      {"device_id", "the device is chosen by --device"},
      {"layer_wise_reduce", "one device trains, nothing is reduced"},
      {"rms_decay", "only the solver RMSProp reads it"},
      {"snapshot_after_train", "the final weights are always written"},
      {"snapshot_diff", "gradients are not part of a checkpoint"},
      {"snapshot_format", "weights are written as safetensors"},
      {"solver_mode", "the device is chosen by --device"},
      {"test_compute_loss", "tests report the figures of the lesions"},
      {"test_initialization", "the first test comes after test_interval iterations"}};
  return fields;
}

// Fields that only some policies read.
const std::map<std::string, std::set<std::string>>& PolicyFields() {
  static const auto& policies =
      *new std::map<std::string, std::set<std::string>>{{"fixed", {}},
                                                        {"step", {"gamma", "stepsize"}},
                                                        {"multistep", {"gamma", "stepvalue"}},
                                                        {"exp", {"gamma"}},
                                                        {"inv", {"gamma", "power"}},
                                                        {"poly", {"power"}},
                                                        {"sigmoid", {"gamma", "stepsize"}},
                                                        {"cosine", {"min_lr"}}};
  return policies;
}

// Why a field that is not always used has no effect in this solver; empty where it has one.
std::string Unused(const caffe::SolverParameter& solver, const std::string& field) {
  for (const auto& [policy, fields] : PolicyFields()) {
    if (fields.count(field) == 0) continue;
    const bool read = PolicyFields().at(solver.lr_policy()).count(field) > 0;
    return read ? "" : "lr_policy \"" + solver.lr_policy() + "\" does not read it";
  }
  if (field == "momentum2" || field == "delta") {
    return solver.type() == "Adam" ? "" : "only the solver Adam reads it";
  }
  if (field == "warmup_factor") return solver.warmup_iter() > 0 ? "" : "warmup_iter is 0";
  LSEG_FAIL("solver field '" << field << "' is in no table of solver_definition.cc");
}

}  // namespace

SolverDefinition SolverDefinition::FromFile(const std::string& path) {
  return FromText(ReadFile(path), path);
}

SolverDefinition SolverDefinition::FromText(const std::string& text, const std::string& name) {
  SolverDefinition definition;
  definition.name_ = name;
  definition.text_ = text;
  const ParsedText parsed = ParseProtoText(text, &definition.solver_);
  if (parsed.error) {
    LSEG_FAIL(TextPosition(name, parsed.error->line) << ": " << parsed.error->message);
  }
  definition.lines_ = parsed.lines;
  definition.CheckType();
  definition.CheckRates();
  definition.CheckNumbers();
  definition.CheckNets();
  definition.NoteIgnored();
  return definition;
}

std::string SolverDefinition::Where(const std::string& field, int index) const {
  return TextPosition(name_, LineOf(field, index));
}

void SolverDefinition::CheckType() {
  std::string field = "type";
  if (solver_.has_solver_type()) {
    LSEG_CHECK(!solver_.has_type(), Where("solver_type")
                                        << ": type and solver_type (its old spelling): give one");
    field = "solver_type";
    const std::string old = caffe::SolverParameter::SolverType_Name(solver_.solver_type());
    solver_.set_type(old == "ADAM" ? "Adam" : old);
    solver_.clear_solver_type();
  }
  LSEG_CHECK(solver_.type() == "SGD" || solver_.type() == "Adam",
             Where(field) << ": solver type '" << Printable(solver_.type())
                          << "' is not supported: \"SGD\" and \"Adam\" are");
  LSEG_CHECK(
      solver_.weights_size() == 0,
      Where("weights") << ": weights to start from are given by --weights, not in the solver");
}

void SolverDefinition::CheckRates() const {
  LSEG_CHECK(solver_.has_base_lr(), name_ << ": base_lr is missing");
  LSEG_CHECK(solver_.has_lr_policy(), name_ << ": lr_policy is missing, \"fixed\" for instance");
  const auto policy = PolicyFields().find(solver_.lr_policy());
  if (policy == PolicyFields().end()) {
    std::string names;
    for (const auto& [known, fields] : PolicyFields()) names += (names.empty() ? "" : ", ") + known;
    LSEG_FAIL(Where("lr_policy") << ": lr_policy '" << Printable(solver_.lr_policy())
                                 << "' is unknown: " << names << " are known");
  }
  const auto* type = solver_.GetDescriptor();
  for (const std::string& field : policy->second) {
    const auto* descriptor = type->FindFieldByName(field);
    const bool given = descriptor->is_repeated()
                           ? solver_.GetReflection()->FieldSize(solver_, descriptor) > 0
                           : solver_.GetReflection()->HasField(solver_, descriptor);
    LSEG_CHECK(given || field == "min_lr",
               Where("lr_policy") << ": lr_policy '" << policy->first << "' needs " << field);
  }
  LSEG_CHECK(!solver_.has_stepsize() || solver_.stepsize() > 0,
             Where("stepsize") << ": stepsize " << solver_.stepsize() << " must be positive");
  for (int i = 1; i < solver_.stepvalue_size(); ++i) {
    LSEG_CHECK(solver_.stepvalue(i) > solver_.stepvalue(i - 1),
               Where("stepvalue", i)
                   << ": stepvalue " << solver_.stepvalue(i)
                   << " must be larger than the one before, " << solver_.stepvalue(i - 1));
  }
}

void SolverDefinition::CheckNumbers() const {
  const auto* reflection = solver_.GetReflection();
  const auto* type = solver_.GetDescriptor();
  // low <= value < high
  const auto in = [&](const std::string& field, double low, double high, const char* rule) {
    const auto* descriptor = type->FindFieldByName(field);
    if (!reflection->HasField(solver_, descriptor)) return;
    const bool real = descriptor->cpp_type() == descriptor->CPPTYPE_FLOAT;
    const double value = real ? reflection->GetFloat(solver_, descriptor)
                              : reflection->GetInt32(solver_, descriptor);
    LSEG_CHECK(value >= low && value < high,
               Where(field) << ": " << field << " " << value << " must be " << rule);
  };
  for (const char* field : {"base_lr", "gamma", "power", "weight_decay", "min_lr"}) {
    in(field, 0, INFINITY, "a number from 0");
  }
  in("clip_gradients", -INFINITY, INFINITY, "a finite number (below 0: no clipping)");
  for (const char* field : {"momentum", "momentum2", "warmup_factor"}) {
    in(field, 0, 1, "in [0, 1)");
  }
  in("delta", 1e-30, INFINITY, "positive");
  for (const char* field : {"display", "snapshot", "test_interval", "warmup_iter"}) {
    in(field, 0, INFINITY, "0 or more");
  }
  for (const char* field : {"average_loss", "iter_size", "max_iter"}) {
    in(field, 1, INFINITY, "1 or more");
  }
  LSEG_CHECK(solver_.min_lr() <= solver_.base_lr() || solver_.lr_policy() != "cosine",
             Where("min_lr") << ": min_lr " << solver_.min_lr() << " is above base_lr "
                             << solver_.base_lr());
  LSEG_CHECK(solver_.regularization_type() == "L2" || solver_.regularization_type() == "L1",
             Where("regularization_type")
                 << ": regularization_type '" << Printable(solver_.regularization_type())
                 << "' is unknown: \"L2\" and \"L1\" are known");
}

void SolverDefinition::CheckNets() const {
  std::vector<std::string> train;
  if (solver_.has_net()) train.push_back("net");
  if (solver_.has_net_param()) train.push_back("net_param");
  if (solver_.has_train_net()) train.push_back("train_net");
  if (solver_.has_train_net_param()) train.push_back("train_net_param");
  LSEG_CHECK(train.size() <= 1, Where(train[1]) << ": " << train[0] << " and " << train[1]
                                                << " both say which net to train: give one");
  const bool second_file = solver_.test_net_size() > 1;
  LSEG_CHECK(solver_.test_net_size() + solver_.test_net_param_size() <= 1,
             Where(second_file ? "test_net" : "test_net_param", second_file ? 1 : 0)
                 << ": one test net is supported");
  for (const char* field : {"test_iter", "test_state"}) {
    const int count =
        std::string(field) == "test_iter" ? solver_.test_iter_size() : solver_.test_state_size();
    LSEG_CHECK(count <= 1, Where(field, 1) << ": " << field
                                           << " is given for more than one test net: one is "
                                              "supported");
  }
  LSEG_CHECK(solver_.test_iter_size() == 0 || solver_.test_iter(0) >= 0,
             Where("test_iter") << ": test_iter " << solver_.test_iter(0) << " must be 0 or more");
  LSEG_CHECK(!solver_.train_state().has_phase() || solver_.train_state().phase() == caffe::TRAIN,
             Where("train_state.phase") << ": the phase of train_state must be TRAIN");
  LSEG_CHECK(solver_.test_state_size() == 0 || solver_.test_state(0).phase() == caffe::TEST,
             Where("test_state.phase") << ": the phase of test_state must be TEST");
}

void SolverDefinition::NoteIgnored() {
  std::vector<const google::protobuf::FieldDescriptor*> given;
  solver_.GetReflection()->ListFields(solver_, &given);
  for (const auto* descriptor : given) {
    const std::string& field = descriptor->name();
    if (UsedFields().count(field) > 0) continue;
    const auto ignored = IgnoredFields().find(field);
    const std::string reason =
        ignored != IgnoredFields().end() ? ignored->second : Unused(solver_, field);
    if (reason.empty()) continue;
    notes_.push_back(Where(field) + ": " + field + " is ignored: " + reason);
  }
}

NetDefinition SolverDefinition::Load(const std::string& path, const std::string& field) const {
  const std::string found = ResolvePath(path, name_);
  std::error_code ignored;
  LSEG_CHECK(
      std::filesystem::exists(found, ignored),
      Where(field) << ": " << field << " '" << Printable(path)
                   << "' is neither in the folder of the solver nor in the working directory");
  return NetDefinition::FromFile(found);
}

std::optional<NetDefinition> SolverDefinition::TrainNet() const {
  if (solver_.has_net()) return Load(solver_.net(), "net");
  if (solver_.has_train_net()) return Load(solver_.train_net(), "train_net");
  for (const char* field : {"net_param", "train_net_param"}) {
    const bool shared = std::string(field) == "net_param";
    if (shared ? !solver_.has_net_param() : !solver_.has_train_net_param()) continue;
    return NetDefinition::FromMessage(shared ? solver_.net_param() : solver_.train_net_param(),
                                      lines_.Nested(field), name_);
  }
  return std::nullopt;
}

std::optional<NetDefinition> SolverDefinition::TestNet() const {
  if (solver_.test_net_size() > 0) return Load(solver_.test_net(0), "test_net");
  if (solver_.test_net_param_size() > 0) {
    return NetDefinition::FromMessage(solver_.test_net_param(0), lines_.Nested("test_net_param"),
                                      name_);
  }
  return solver_.has_net() || solver_.has_net_param() ? TrainNet() : std::nullopt;
}

caffe::NetState SolverDefinition::TrainState() const {
  caffe::NetState state = solver_.train_state();
  state.set_phase(caffe::TRAIN);
  return state;
}

caffe::NetState SolverDefinition::TestState() const {
  caffe::NetState state;
  if (solver_.test_state_size() > 0) state = solver_.test_state(0);
  state.set_phase(caffe::TEST);
  return state;
}

}  // namespace lseg
