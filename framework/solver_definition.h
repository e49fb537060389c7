// SolverDefinition: how to train, as a solver prototxt says it, checked: every field of the text is
// used, refused with its line and the reason, or named in notes() as ignored.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/definition.h"
#include "framework/proto/caffe.pb.h"
#include "framework/proto_text.h"

namespace lseg {

class SolverDefinition {
 public:
  // Throws Error "file:line: ..." for syntax, unknown fields, values out of range, a type other
  // than SGD and Adam, an unknown lr_policy, more than one training or test net.
  static SolverDefinition FromFile(const std::string& path);
  // `name` stands for the file: in messages, and for the folder of relative paths.
  static SolverDefinition FromText(const std::string& text, const std::string& name);

  // As read, but solver_type (the old spelling) has become type.
  const caffe::SolverParameter& solver() const { return solver_; }
  const std::string& name() const { return name_; }
  const std::string& text() const { return text_; }

  // "solver.prototxt:7: solver_mode is ignored: the device is chosen by --device", one a field.
  const std::vector<std::string>& notes() const { return notes_; }

  // The line of a field, from 1; 0 where the text does not have it.
  int LineOf(const std::string& field, int index = 0) const { return lines_.Line(field, index); }
  // "solver.prototxt:7"
  std::string Where(const std::string& field, int index = 0) const;

  // The net of training: net, net_param, train_net or train_net_param; nothing where none is given.
  // Not yet filtered: Filtered(TrainState()). A relative path is looked for in the folder of the
  // solver's file first, then (Caffe's rule) in the working directory.
  std::optional<NetDefinition> TrainNet() const;
  // The net of tests: test_net or test_net_param, else net or net_param.
  std::optional<NetDefinition> TestNet() const;

  // train_state with phase TRAIN, test_state with phase TEST.
  caffe::NetState TrainState() const;
  caffe::NetState TestState() const;

 private:
  void CheckType();
  void CheckRates() const;
  void CheckNumbers() const;
  void CheckNets() const;
  void NoteIgnored();
  NetDefinition Load(const std::string& path, const std::string& field) const;

  std::string name_, text_;
  caffe::SolverParameter solver_;
  FieldLines lines_;
  std::vector<std::string> notes_;
};

}  // namespace lseg
