#include "lseg/default_weights.h"

#include <filesystem>

namespace lseg {

std::string DefaultWeights() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path places[] = {program.parent_path().parent_path() / LSEG_INSTALLED_WEIGHTS,
                             LSEG_SOURCE_WEIGHTS};
  for (const fs::path& path : places) {
    if (fs::is_regular_file(path, error)) return path.string();
  }
  return "";
}

}  // namespace lseg
