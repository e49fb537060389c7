#include "lseg/staged_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "kernels/runtime/check.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

void MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  LSEG_CHECK(!error, folder.string() << ": the folder cannot be made: " << error.message());
}

}  // namespace

StagedFolder::StagedFolder(const std::string& folder)
    : folder_(folder), stage_((fs::path(folder) / ".partial").string()) {
  MakeFolder(folder_);
  // The lock goes with the process, so that one that was killed is in nobody's way.
  lock_ = open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0 || flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    const bool busy = lock_ >= 0 && errno == EWOULDBLOCK;
    if (lock_ >= 0) close(lock_);
    LSEG_CHECK(!busy, folder_ << ": another process is writing to this folder");
    LSEG_FAIL(folder_ << ": the folder cannot be locked against a second run");
  }
  std::error_code error;
  fs::remove_all(stage_, error);  // of a run that was killed
  MakeFolder(stage_);
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;
  fs::remove_all(stage_, ignored);
  close(lock_);
}

std::string StagedFolder::Path(const std::string& name) const {
  const fs::path path = fs::path(stage_) / name;
  MakeFolder(path.parent_path());
  return path.string();
}

void StagedFolder::Commit(const std::vector<std::string>& last,
                          const std::set<std::string>& obsolete) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(stage_)) {
    if (!entry.is_regular_file()) continue;
    const std::string name = entry.path().lexically_relative(stage_).string();
    if (std::find(last.begin(), last.end(), name) == last.end()) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  names.insert(names.end(), last.begin(), last.end());
  for (const std::string& name : names) {
    const fs::path target = fs::path(folder_) / name;
    MakeFolder(target.parent_path());
    std::error_code error;
    fs::rename(fs::path(stage_) / name, target, error);
    LSEG_CHECK(!error, target.string() << ": cannot be replaced: " << error.message());
  }
  for (const std::string& name : obsolete) {
    std::error_code ignored;
    fs::remove(fs::path(folder_) / name, ignored);
  }
}

}  // namespace lseg
