// Look-ups in a parsed module.
#include "tests/softgpu/ptx/module.h"

#include "tests/softgpu/ptx/parser.h"

namespace softgpu::ptx {

const Function* Module::FindFunction(std::string_view name) const {
  for (const Function& f : functions) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

const Variable* Module::FindVariable(std::string_view name) const {
  for (const Variable& v : variables) {
    if (v.name == name) return &v;
  }
  return nullptr;
}

Module Parse(std::string_view text) {
  // Fat binaries fill the end of a text with zeros.
  while (!text.empty() && text.back() == '\0') text.remove_suffix(1);
  constexpr size_t kLargest = size_t{256} << 20;
  if (text.size() > kLargest) throw Error(1, "the text is larger than 256 MiB");
  Module module = Parser(text).Run();
  module.text = text;
  return module;
}

}  // namespace softgpu::ptx
