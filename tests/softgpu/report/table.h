// The human report of one kernel, section by section.
#pragma once

#include <cstdint>
#include <string>

#include "tests/softgpu/machine/counters.h"
#include "tests/softgpu/report/roofline.h"

namespace softgpu {

class TableOf {
 public:
  explicit TableOf(const Counters& counters) : c_(counters) {}
  void Head(const std::string& name, uint64_t launches);
  void Instructions(const char* const* class_names);
  void Memory();
  void Occupancies(uint32_t threads, uint32_t registers, uint32_t shared);
  void Bounds(const Roofline& roofline);
  const std::string& text() const { return text_; }

 private:
  void Row(const std::string& name, const std::string& value);
  const Counters& c_;
  std::string text_;
};

// "1.23 M": three digits and a power of a thousand.
std::string Short(double value);

}  // namespace softgpu
