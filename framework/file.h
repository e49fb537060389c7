// Whole files, in and out. Writing never leaves half a file under the final name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "framework/descriptor.h"

namespace lseg {

// The content of a file. Throws Error with the path and the system's reason.
std::string ReadFile(const std::string& path);

// A file that stays open, so that it can be read again when its name is gone, or another file's.
class InputFile {
 public:
  explicit InputFile(const std::string& path);  // throws as ReadFile does

  // All of it. Throws as ReadFile does, and where the file was changed since it was first read.
  std::string Read();
  // A pipe cannot, nor can a terminal.
  bool CanBeReadAgain() const;

 private:
  struct State {        // another one where the content is another
    uint32_t type = 0;  // S_IFREG and so on
    int64_t size = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const State&) const = default;
  };
  State StateNow() const;
  void Check(bool good) const;

  std::string path_;
  Descriptor file_;
  bool was_read_ = false;
  State state_;  // when it was first read, or, before, opened
};

// Writes beside the final name (NewFile, framework/new_file.h), forces the bytes to the disk, then
// renames: a reader, and a run after a power cut, find the old file or the new one. Throws Error
// with the path and the system's reason (no space, no such folder); the old file is then untouched
// and the partial one gone. A link is followed; what is no file, as /dev/stdout and pipes are, is
// written to as it stands.
void WriteFile(const std::string& path, std::string_view bytes);
// Likewise, of several parts: large values need not be copied behind their header.
void WriteParts(const std::string& path, const std::vector<std::string_view>& parts);

// Text out of a file, fit to stand in a message of one line: control characters become '?', what is
// beyond 200 bytes is cut.
std::string Printable(const std::string& text);

// Where a relative path inside a definition points: into the folder of the definition's file where
// such a file or folder is there, else (as in Caffe) it is left relative to the working directory.
std::string ResolvePath(const std::string& path, const std::string& definition_file);

}  // namespace lseg
