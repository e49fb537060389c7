// A file on its way to its final name.
#pragma once

#include <string>
#include <string_view>

#include "framework/descriptor.h"

namespace lseg {

// It grows beside the final name as lseg-XXXXXXXX.partial, which no other writer has, and is
// renamed when it is whole: of several writers of one file the last one's stands. Throws Error with
// the path and the system's reason (no space, no such folder). A run that is killed leaves the
// partial file behind: nothing reads it, it may be deleted.
class NewFile {
 public:
  explicit NewFile(const std::string& path);  // through a link, to the file behind it
  ~NewFile();  // what was not committed is removed; the old file is then untouched
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void Append(std::string_view bytes);
  // Forces the bytes to the disk, then renames: a reader, and a run after a power cut, find the old
  // file or the new one.
  void Commit();

 private:
  void Check(bool good) const;
  std::string path_, partial_;
  Descriptor file_;
};

}  // namespace lseg
