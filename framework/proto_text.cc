// TextFormat::Parser with its ParseInfoTree. The tree addresses values by field and index; a list
// in brackets has one entry for all its values, which is why lookups fall back to earlier indices.
#include "framework/proto_text.h"

#include <google/protobuf/io/tokenizer.h>

#include "framework/file.h"
#include "framework/text.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

// protobuf's own words for its commonest complaint, made shorter: the reader wrote a field, and
// knows nothing of message types in a package.
std::string Plain(std::string message) {
  const std::string head = "Message type \"caffe.", middle = "\" has no field named \"";
  const size_t at = message.find(middle);
  if (message.rfind(head, 0) == 0 && at != std::string::npos) {
    const std::string type = message.substr(head.size(), at - head.size());
    std::string field = message.substr(at + middle.size());
    field = field.substr(0, field.find('"'));
    return "unknown field '" + field + "' in " + type;
  }
  if (!message.empty() && message.back() == '.') message.pop_back();
  return message;
}

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber /*column*/,
                const std::string& message) override {
    if (!error) error = TextError{line + 1, Printable(Plain(message))};
  }
  std::optional<TextError> error;
};

int TreeIndex(const google::protobuf::FieldDescriptor* field, int index) {
  return field->is_repeated() ? index : -1;
}

}  // namespace

int FieldLines::Line(const std::string& path, int index) const {
  if (tree_ == nullptr) return 0;
  const size_t dot = path.find('.');
  const auto* field = type_->FindFieldByName(path.substr(0, dot));
  LSEG_CHECK(field != nullptr, "no field '" << path << "' in " << type_->full_name());
  int line = 0;
  for (int i = dot == std::string::npos ? index : 0; i >= 0 && line == 0; --i) {
    line = tree_->GetLocation(field, TreeIndex(field, i)).line + 1;
  }
  if (dot == std::string::npos || line == 0) return line;
  const int inner = Nested(field->name()).Line(path.substr(dot + 1), index);
  return inner > 0 ? inner : line;
}

bool FieldLines::Complete(const std::string& field_name, int index) const {
  if (tree_ == nullptr) return false;
  const auto* field = type_->FindFieldByName(field_name);
  LSEG_CHECK(field != nullptr, "no field '" << field_name << "' in " << type_->full_name());
  return tree_->GetLocation(field, TreeIndex(field, index)).line >= 0;
}

FieldLines FieldLines::Nested(const std::string& field_name, int index) const {
  FieldLines nested;
  if (tree_ == nullptr) return nested;
  const auto* field = type_->FindFieldByName(field_name);
  LSEG_CHECK(field != nullptr && field->message_type() != nullptr,
             "no message '" << field_name << "' in " << type_->full_name());
  nested.root_ = root_;
  nested.tree_ = tree_->GetTreeForNested(field, TreeIndex(field, index));
  nested.type_ = field->message_type();
  return nested;
}

ParsedText ParseProtoText(const std::string& text, google::protobuf::Message* message) {
  ParsedText parsed;
  FirstError errors;
  auto tree = std::make_shared<FieldLines::Tree>();
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  parser.WriteLocationsTo(tree.get());
  std::string plain = text;
  DropByteOrderMark(&plain);
  const bool good = parser.ParseFromString(plain, message);
  parsed.error = errors.error;
  if (!good && !parsed.error) parsed.error = TextError{1, "not a prototxt"};
  parsed.lines.tree_ = tree.get();
  parsed.lines.root_ = std::move(tree);
  parsed.lines.type_ = message->GetDescriptor();
  return parsed;
}

std::string TextPosition(const std::string& name, int line) {
  return line > 0 ? name + ":" + std::to_string(line) : name;
}

}  // namespace lseg
