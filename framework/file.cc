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

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : number_(open(path.c_str(), flags)) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }
  bool Close() {
    const int number = number_;
    number_ = -1;
    return number < 0 || close(number) == 0;
  }

 private:
  int number_;
};

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
  Descriptor file(path, O_WRONLY | O_CLOEXEC);
  LSEG_CHECK(file.number() >= 0 && WriteAll(file.number(), parts) && file.Close(),
             path << ": cannot be written: " << std::strerror(errno));
}

}  // namespace

std::string ReadFile(const std::string& path) {
  Descriptor file(path, O_RDONLY | O_CLOEXEC);
  LSEG_CHECK(file.number() >= 0, path << ": cannot be read: " << std::strerror(errno));
  struct stat status = {};
  LSEG_CHECK(fstat(file.number(), &status) == 0,
             path << ": cannot be read: " << std::strerror(errno));
  LSEG_CHECK(!S_ISDIR(status.st_mode), path << ": is a folder, not a file");
  // The size is a hint only: pipes and files of /proc have none.
  std::string bytes(static_cast<size_t>(std::max<off_t>(status.st_size, 0)) + 1, '\0');
  size_t size = 0;
  while (true) {
    if (size == bytes.size()) bytes.resize(2 * size);
    const ssize_t got =
        read(file.number(), bytes.data() + size, std::min(bytes.size() - size, kChunk));
    if (got < 0 && errno == EINTR) continue;
    LSEG_CHECK(got >= 0, path << ": cannot be read: " << std::strerror(errno));
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  bytes.resize(size);
  return bytes;
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
    descriptor_ = open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  Check(descriptor_ >= 0);
}

NewFile::~NewFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!partial_.empty()) unlink(partial_.c_str());
}

void NewFile::Append(std::string_view bytes) { Check(WriteAll(descriptor_, bytes)); }

void NewFile::Commit() {
  Check(fsync(descriptor_) == 0);
  Check(close(std::exchange(descriptor_, -1)) == 0);
  Check(rename(partial_.c_str(), path_.c_str()) == 0);
  partial_.clear();
  // The new name reaches the disk with its folder. Some file systems refuse to sync folders; the
  // file itself is safe by then.
  const std::string folder = fs::path(path_).parent_path().string();
  Descriptor parent(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
