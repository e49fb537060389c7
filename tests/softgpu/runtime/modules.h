// The program's device code: containers, kernels and variables as nvcc's stubs register them before
// main. PTX is parsed when something of it is first used, so that a program that never touches the
// GPU pays nothing, and a fault is the answer to a call.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/softgpu/machine/launch.h"

namespace softgpu {

class Runtime;
struct Image;

struct KernelFunction {
  Image* image = nullptr;
  std::string name;                 // mangled
  uint32_t max_dynamic_shared = 0;  // cudaFuncAttributeMaxDynamicSharedMemorySize; 0: never set
  int carveout = -1;
};

struct DeviceVariable {
  Image* image = nullptr;
  std::string name;
  uint64_t bytes = 0;
  void** managed = nullptr;  // the host's pointer to a __managed__ variable
};

// One container.
struct Image {
  const void* fatbin = nullptr;
  std::string file;  // the program or library that holds it
  std::unique_ptr<Module> module;
  cudaError_t error = cudaSuccess;  // why there is no module
};

class Modules {
 public:
  Image* AddImage(const void* fatbin);
  void RemoveImage(Image* image);
  void AddFunction(Image* image, const void* host, const char* name);
  void AddVariable(Image* image, const void* host, const char* name, uint64_t bytes,
                   void** managed);

  // A kernel by its host address or by its handle. nullptr: unknown.
  KernelFunction* Find(const void* function);
  DeviceVariable* FindVariable(const void* symbol);
  // The image's module, loaded if need be; nullptr: image.error says why, a line has been printed.
  Module* Load(Runtime& runtime, Image& image);
  // The kernel's code; the error, said on stderr, where it can't run here.
  cudaError_t Decode(Runtime& runtime, KernelFunction& function, const Code** code);
  // 0: unknown, or no module.
  uint64_t Address(Runtime& runtime, const DeviceVariable& variable);
  // Drops all modules; they are loaded anew when next used.
  void Reset();

 private:
  // Memory of the image's __managed__ variables, which the host reaches, too.
  std::map<std::string, uint64_t> PlaceManaged(Runtime& runtime, const Image& image,
                                               const ptx::Module& parsed);

  std::vector<std::unique_ptr<Image>> images_;
  std::vector<std::unique_ptr<uint8_t[]>> managed_blocks_;
  std::map<const void*, std::unique_ptr<KernelFunction>> functions_;
  std::map<const void*, DeviceVariable> variables_;
  std::vector<std::unique_ptr<Module>> retired_;  // of before a reset: what ran is reported later
};

}  // namespace softgpu
