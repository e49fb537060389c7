// Prototxt through protobuf's text parser, with what that parser keeps to itself: the line on which
// each field stands, so that an error found long after parsing can name file and line.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <memory>
#include <optional>
#include <string>

namespace lseg {

// Where the fields of one message stand in the text that it was parsed from. Cheap to copy; an
// instance keeps the whole text's table alive. Default: of a message that no text gave.
class FieldLines {
 public:
  FieldLines() = default;

  // The line, from 1, on which a field starts; 0 where the message has no such field in the text.
  // `path` may go into nested messages: "convolution_param.weight_filler.type"; where the text ends
  // on the way, the line of the innermost message that is there. `index` counts the values of a
  // repeated field (0 for singular ones) and belongs to the last name of the path; the names before
  // it mean the first value.
  int Line(const std::string& path, int index = 0) const;

  // Whether value `index` of a field was read to its end (an error may have stopped within it).
  bool Complete(const std::string& field, int index) const;

  // The same for a message within this one.
  FieldLines Nested(const std::string& field, int index = 0) const;

 private:
  friend struct ParsedText ParseProtoText(const std::string&, google::protobuf::Message*);
  using Tree = google::protobuf::TextFormat::ParseInfoTree;

  std::shared_ptr<const Tree> root_;
  const Tree* tree_ = nullptr;
  const google::protobuf::Descriptor* type_ = nullptr;
};

struct TextError {
  int line = 0;  // from 1
  std::string message;
};

struct ParsedText {
  FieldLines lines;
  std::optional<TextError> error;  // the first; `message` then holds what stood before it
};

// Parses text into `message`, which is cleared first. An unknown field, an unknown enumeration
// value and a singular field given twice are errors, as in Caffe.
ParsedText ParseProtoText(const std::string& text, google::protobuf::Message* message);

// "net.prototxt:12"; the name alone where the line is not known (0).
std::string TextPosition(const std::string& name, int line);

}  // namespace lseg
