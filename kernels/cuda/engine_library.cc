#include "kernels/cuda/engine_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "kernels/cuda/device.h"
#include "kernels/runtime/check.h"

namespace lseg::cuda {
namespace {

namespace fs = std::filesystem;

// By soname, what others need first. Loaded ahead of the engines, so that the loader need not find
// them by itself.
constexpr const char* kNeeded[] = {"libcublasLt.so.13", "libcublas.so.13", "libcudnn.so.9"};

std::vector<std::string> Split(const char* list) {
  std::vector<std::string> parts;
  std::istringstream stream(list == nullptr ? "" : list);
  for (std::string part; std::getline(stream, part, ':');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

std::vector<fs::path> FoldersIn(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code absent;  // then there are none
  for (fs::directory_iterator at(folder, absent), end; !absent && at != end; at.increment(absent)) {
    if (at->is_directory(absent)) folders.push_back(at->path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

// PREFIX/lib/python3.*/{site,dist}-packages/nvidia/*/lib of each python3 on the path: of a virtual
// environment, and of the Python that it was made from.
std::vector<fs::path> PythonFolders() {
  std::vector<fs::path> found;
  for (const std::string& folder : Split(std::getenv("PATH"))) {
    const fs::path python = fs::path(folder) / "python3";
    std::error_code absent;
    if (!fs::exists(python, absent)) continue;
    const fs::path real = fs::canonical(python, absent);
    for (const fs::path& prefix :
         {python.parent_path().parent_path(), real.parent_path().parent_path()}) {
      for (const fs::path& version : FoldersIn(prefix / "lib")) {
        if (!version.filename().string().starts_with("python3")) continue;
        for (const char* packages : {"site-packages", "dist-packages"}) {
          for (const fs::path& package : FoldersIn(version / packages / "nvidia")) {
            const fs::path lib = package / "lib";
            if (std::find(found.begin(), found.end(), lib) == found.end()) found.push_back(lib);
          }
        }
      }
    }
  }
  return found;
}

// The folder of the library that holds this function.
fs::path OwnFolder() {
  Dl_info info = {};
  LSEG_CHECK(dladdr(reinterpret_cast<const void*>(&LibraryEngines), &info) != 0,
             "engine library: the loader does not know where this program's kernels are");
  return fs::path(info.dli_fname).parent_path();
}

std::string LastError() {
  const char* words = dlerror();
  return words == nullptr ? "no reason given" : words;
}

// Keeps what it loads, for good: the engines go on using it.
void LoadNeeded(const char* name) {
  if (dlopen(name, RTLD_NOW | RTLD_GLOBAL) != nullptr) return;
  std::string tried = "the library path (" + LastError() + ")";
  std::vector<fs::path> folders;
  for (const std::string& folder : Split(std::getenv("LSEG_NVIDIA_LIBRARIES"))) {
    folders.push_back(folder);
  }
  const std::vector<fs::path> python = PythonFolders();
  folders.insert(folders.end(), python.begin(), python.end());
  for (const fs::path& folder : folders) {
    const fs::path file = folder / name;
    std::error_code absent;
    if (!fs::exists(file, absent)) {
      tried += ", " + folder.string();
      continue;
    }
    if (dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return;
    tried += ", " + file.string() + " (" + LastError() + ")";
  }
  if (python.empty()) tried += ", no nvidia packages beside python3";
  LSEG_FAIL("engines cudnn and cublas: "
            << name << " was not found. Looked for in: " << tried
            << ". Install cuDNN 9 and cuBLAS 13 (pip install nvidia-cudnn-cu13 nvidia-cublas), or "
               "name their folders in LSEG_NVIDIA_LIBRARIES");
}

}  // namespace

const std::vector<ConvEngine>& LoadEngineLibrary(const std::string& file_name) {
  const fs::path beside = OwnFolder() / file_name;
  std::error_code absent;
  const bool is_beside = fs::exists(beside, absent);
  if (is_beside) {
    for (const char* name : kNeeded) LoadNeeded(name);
  }
  void* library = dlopen(is_beside ? beside.c_str() : file_name.c_str(), RTLD_NOW | RTLD_LOCAL);
  LSEG_CHECK(library != nullptr,
             "engines cudnn and cublas: "
                 << file_name << " could not be loaded: " << LastError() << ". Looked for in "
                 << beside.parent_path().string()
                 << " and on the library path. It is built where CMake finds cuDNN and cuBLAS");
  using Table = const std::vector<ConvEngine>* (*)();
  const auto table = reinterpret_cast<Table>(dlsym(library, "LsegConvEngines"));
  LSEG_CHECK(table != nullptr, "engines cudnn and cublas: " << file_name << ": " << LastError());
  return *table();
}

const std::vector<ConvEngine>& LibraryEngines(const Context& context) {
  const std::string device = Describe(*context.stream());
  LSEG_CHECK(
      !device.starts_with("softgpu"),
      "engines cudnn and cublas: the device is softgpu, which runs PTX; cuDNN and cuBLAS are "
      "machine code of a GPU: it has neither");
  static const std::vector<ConvEngine>& engines = LoadEngineLibrary("liblseg_cudnn.so");
  return engines;
}

}  // namespace lseg::cuda
