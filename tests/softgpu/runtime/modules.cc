#include "tests/softgpu/runtime/modules.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>

#include "tests/softgpu/runtime/fatbin.h"
#include "tests/softgpu/runtime/runtime.h"

namespace softgpu {
namespace {

std::string FileOf(const void* address) {
  Dl_info info;
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "the program";
  return info.dli_fname;
}

}  // namespace

Image* Modules::AddImage(const void* fatbin) {
  auto image = std::make_unique<Image>();
  image->fatbin = fatbin;
  image->file = FileOf(fatbin);
  images_.push_back(std::move(image));
  return images_.back().get();
}

void Modules::RemoveImage(Image* image) {
  std::erase_if(functions_, [&](const auto& f) { return f.second->image == image; });
  std::erase_if(variables_, [&](const auto& v) { return v.second.image == image; });
  // The module stays: what ran is still to be reported.
  image->fatbin = nullptr;
  image->error = cudaErrorCudartUnloading;
}

void Modules::AddFunction(Image* image, const void* host, const char* name) {
  auto function = std::make_unique<KernelFunction>();
  function->image = image;
  function->name = name;
  functions_[host] = std::move(function);
}

void Modules::AddVariable(Image* image, const void* host, const char* name, uint64_t bytes,
                          void** managed) {
  variables_[host] = {image, name, bytes, managed};
}

KernelFunction* Modules::Find(const void* function) {
  const auto found = functions_.find(function);
  if (found != functions_.end()) return found->second.get();
  for (const auto& [host, kernel] : functions_) {
    if (kernel.get() == function) return kernel.get();
  }
  return nullptr;
}

DeviceVariable* Modules::FindVariable(const void* symbol) {
  const auto found = variables_.find(symbol);
  return found == variables_.end() ? nullptr : &found->second;
}

std::map<std::string, uint64_t> Modules::PlaceManaged(Runtime& runtime, const Image& image,
                                                      const ptx::Module& parsed) {
  std::map<std::string, uint64_t> placed;
  for (auto& [symbol, variable] : variables_) {
    if (variable.image != &image || variable.managed == nullptr) continue;
    const ptx::Variable* in_ptx = parsed.FindVariable(variable.name);
    if (in_ptx == nullptr) continue;
    auto& block = managed_blocks_.emplace_back(new uint8_t[variable.bytes + 64]());
    // As far as any type needs it.
    uint8_t* start = block.get() + (64 - reinterpret_cast<uintptr_t>(block.get()) % 64);
    std::copy(in_ptx->initial.begin(), in_ptx->initial.end(), start);
    runtime.memory().AddHost(start, variable.bytes, "managed variable " + variable.name);
    runtime.managed.insert(reinterpret_cast<uintptr_t>(start));
    *variable.managed = start;
    placed[variable.name] = reinterpret_cast<uintptr_t>(start);
  }
  return placed;
}

Module* Modules::Load(Runtime& runtime, Image& image) {
  if (image.module != nullptr || image.error != cudaSuccess) return image.module.get();
  const std::string_view bytes(static_cast<const char*>(image.fatbin), FatbinBytes(image.fatbin));
  try {
    const std::vector<FatbinEntry> entries = ParseFatbin(bytes);
    const FatbinEntry* ptx = ChoosePtx(entries, runtime.arch());
    if (ptx == nullptr) {
      SayOnce("softgpu: " + image.file + ": " + WhyNoPtx(entries, runtime.arch()));
      image.error = cudaErrorNoKernelImageForDevice;
      return nullptr;
    }
    ptx::Module parsed = ptx::Parse(ptx->text);
    std::map<std::string, uint64_t> placed = PlaceManaged(runtime, image, parsed);
    image.module = std::make_unique<Module>(runtime.device(), std::move(parsed), std::move(placed));
  } catch (const ptx::Error& e) {
    SayOnce("softgpu: " + image.file + ": its PTX, " + e.what());
    image.error = cudaErrorInvalidPtx;
  } catch (const std::runtime_error& e) {
    SayOnce("softgpu: " + image.file + ": " + e.what());
    image.error = cudaErrorInvalidKernelImage;
  }
  return image.module.get();
}

cudaError_t Modules::Decode(Runtime& runtime, KernelFunction& function, const Code** code) {
  Module* module = Load(runtime, *function.image);
  runtime.refused_kernels |= module == nullptr;
  if (module == nullptr) return function.image->error;
  const ptx::Function* parsed = module->parsed().FindFunction(function.name);
  if (parsed == nullptr || !parsed->is_entry) return cudaErrorInvalidDeviceFunction;
  try {
    *code = &module->Decode(function.name);
  } catch (const ptx::Error& e) {
    SayOnce("softgpu: kernel " + Demangled(function.name) + ": PTX " + e.what());
    runtime.refused_kernels = true;
    return cudaErrorNotSupported;
  }
  return cudaSuccess;
}

uint64_t Modules::Address(Runtime& runtime, const DeviceVariable& variable) {
  Module* module = Load(runtime, *variable.image);
  return module == nullptr ? 0 : module->VariableAddress(variable.name);
}

void Modules::Reset() {
  for (const std::unique_ptr<Image>& image : images_) {
    if (image->fatbin == nullptr) continue;
    if (image->module) retired_.push_back(std::move(image->module));
    image->error = cudaSuccess;
  }
}

}  // namespace softgpu
