// POSIX calls rather than streams where it is written: only they tell why, and only they reach the
// disk.
#include "framework/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>
#include <system_error>
#include <utility>

#include "framework/new_file.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

// One call moves at most 2 GiB.
constexpr size_t kChunk = size_t{1} << 30;

bool WriteAll(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(descriptor, bytes.data(), std::min(bytes.size(), kChunk));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

bool WriteAll(int descriptor, const std::vector<std::string_view>& parts) {
  return std::all_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return WriteAll(descriptor, part); });
}

// What is no regular file, such as /dev/stdout or a pipe, has no place for a second file beside it,
// and a rename would put a file in its stead.
void WriteThrough(const std::string& path, const std::vector<std::string_view>& parts) {
  Descriptor file(path, O_WRONLY);
  LSEG_CHECK(file.number() >= 0 && WriteAll(file.number(), parts) && file.Close(),
             path << ": cannot be written: " << std::strerror(errno));
}

}  // namespace

std::string ReadFile(const std::string& path) { return InputFile(path).Read(); }

InputFile::InputFile(const std::string& path) : path_(path), file_(path, O_RDONLY) {
  Check(file_.number() >= 0);
  state_ = StateNow();
  LSEG_CHECK(!S_ISDIR(state_.type), path << ": is a folder, not a file");
}

bool InputFile::CanBeReadAgain() const { return S_ISREG(state_.type); }

std::string InputFile::Read() {
  const bool again = std::exchange(was_read_, true);
  LSEG_CHECK(!again || CanBeReadAgain(), path_ << ": cannot be read twice");
  Check(!again || lseek(file_.number(), 0, SEEK_SET) == 0);
  if (!again) state_ = StateNow();
  // The size is a hint only: pipes and files of /proc have none.
  std::string bytes(static_cast<size_t>(std::max<int64_t>(state_.size, 0)) + 1, '\0');
  size_t size = 0;
  while (true) {
    if (size == bytes.size()) bytes.resize(2 * size);
    const ssize_t got =
        read(file_.number(), bytes.data() + size, std::min(bytes.size() - size, kChunk));
    if (got < 0 && errno == EINTR) continue;
    Check(got >= 0);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  LSEG_CHECK(!again || StateNow() == state_, path_ << ": was changed while it was in use");
  bytes.resize(size);
  return bytes;
}

InputFile::State InputFile::StateNow() const {
  struct stat status = {};
  Check(fstat(file_.number(), &status) == 0);
  return {status.st_mode & S_IFMT, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

void InputFile::Check(bool good) const {
  LSEG_CHECK(good, path_ << ": cannot be read: " << std::strerror(errno));
}

void WriteFile(const std::string& path, std::string_view bytes) { WriteParts(path, {bytes}); }

void WriteParts(const std::string& path, const std::vector<std::string_view>& parts) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  LSEG_CHECK(!fs::is_directory(status), path << ": cannot be written: " << std::strerror(EISDIR));
  if (fs::exists(status) && !fs::is_regular_file(status)) return WriteThrough(path, parts);
  NewFile file(path);
  for (const std::string_view part : parts) file.Append(part);
  file.Commit();
}

NewFile::NewFile(const std::string& path) : path_(path) {
  std::error_code ignored;
  // A rename would replace a link.
  if (fs::is_symlink(path, ignored) && fs::exists(path, ignored)) {
    path_ = fs::canonical(path).string();
  }
  // The name is short and not made of the file's, which may be as long as a name can be.
  std::random_device random;
  do {
    char name[32];
    std::snprintf(name, sizeof(name), "lseg-%08x.partial", random());
    partial_ = (fs::path(path_).parent_path() / name).string();
    file_ = Descriptor(partial_, O_WRONLY | O_CREAT | O_EXCL, 0666);
  } while (file_.number() < 0 && errno == EEXIST);
  Check(file_.number() >= 0);
}

NewFile::~NewFile() {
  if (!partial_.empty()) unlink(partial_.c_str());
}

void NewFile::Append(std::string_view bytes) { Check(WriteAll(file_.number(), bytes)); }

void NewFile::Commit() {
  Check(fsync(file_.number()) == 0);
  Check(file_.Close());
  Check(rename(partial_.c_str(), path_.c_str()) == 0);
  partial_.clear();
  // The new name reaches the disk with its folder. Some file systems refuse to sync folders; the
  // file itself is safe by then.
  const std::string folder = fs::path(path_).parent_path().string();
  Descriptor parent(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY);
  if (parent.number() >= 0) fsync(parent.number());
}

void NewFile::Check(bool good) const {
  LSEG_CHECK(good, path_ << ": cannot be written: " << std::strerror(errno));
}

std::string Printable(const std::string& text) {
  std::string out = text.substr(0, 200);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 32) c = '?';
  }
  return text.size() > 200 ? out + "..." : out;
}

std::string ResolvePath(const std::string& path, const std::string& definition_file) {
  if (path.empty() || fs::path(path).is_absolute()) return path;
  const fs::path beside = fs::path(definition_file).parent_path() / path;
  std::error_code ignored;
  return fs::exists(beside, ignored) ? beside.string() : path;
}

}  // namespace lseg
