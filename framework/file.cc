// POSIX calls rather than streams where it is written: only they tell why, and only they reach the
// disk.
#include "framework/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "kernels/runtime/check.h"

namespace lseg {
namespace {

// One call moves at most 2 GiB.
constexpr size_t kChunk = size_t{1} << 30;

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : number_(open(path.c_str(), flags, 0666)) {}
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

void WriteParts(const std::string& named, const std::vector<std::string_view>& parts) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(named, ignored);
  LSEG_CHECK(!std::filesystem::is_directory(status),
             named << ": cannot be written: " << std::strerror(EISDIR));
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    return WriteThrough(named, parts);
  }
  // Through a link, which a rename would replace.
  const std::string path =
      std::filesystem::is_symlink(named, ignored) && std::filesystem::exists(status)
          ? std::filesystem::canonical(named).string()
          : named;
  const std::string partial = path + ".partial";
  {
    Descriptor file(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
    LSEG_CHECK(file.number() >= 0, path << ": cannot be written: " << std::strerror(errno));
    if (!WriteAll(file.number(), parts) || fsync(file.number()) != 0 || !file.Close()) {
      const int reason = errno;
      unlink(partial.c_str());
      LSEG_FAIL(path << ": cannot be written: " << std::strerror(reason));
    }
  }
  if (rename(partial.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    unlink(partial.c_str());
    LSEG_FAIL(path << ": cannot be written: " << std::strerror(reason));
  }
  // The new name reaches the disk with its folder. Some file systems refuse to sync folders; the
  // file itself is safe by then.
  const std::string folder = std::filesystem::path(path).parent_path().string();
  Descriptor parent(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent.number() >= 0) fsync(parent.number());
}

std::string Printable(const std::string& text) {
  std::string out = text.substr(0, 200);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 32) c = '?';
  }
  return text.size() > 200 ? out + "..." : out;
}

std::string ResolvePath(const std::string& path, const std::string& definition_file) {
  namespace fs = std::filesystem;
  if (path.empty() || fs::path(path).is_absolute()) return path;
  const fs::path beside = fs::path(definition_file).parent_path() / path;
  std::error_code ignored;
  return fs::exists(beside, ignored) ? beside.string() : path;
}

}  // namespace lseg
