// A folder of files that is replaced as one: everything is written aside, in a folder of its own
// below, and moved into place only when all of it is there. A run that fails or is killed leaves
// what an earlier one made, and no half of each.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace lseg {

class StagedFolder {
 public:
  // Makes `folder`, with its parents, and the place aside. Throws Error where it cannot, or while
  // another process has it.
  explicit StagedFolder(const std::string& folder);
  // Removes what was not committed.
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  // Where to write the file `name` ("images/a.png"); its folder is made. From any thread.
  std::string Path(const std::string& name) const;

  // Moves every staged file to its name, those of `last` after all others and in that order, and
  // then removes the files `obsolete`. Throws Error with the file where one cannot be moved.
  void Commit(const std::vector<std::string>& last, const std::set<std::string>& obsolete);

 private:
  std::string folder_, stage_;
  int lock_ = -1;
};

}  // namespace lseg
