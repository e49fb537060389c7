#include "kernels/runtime/buffer.h"

#include <cstdlib>

namespace lseg {

Buffer::Buffer(Device, int64_t bytes) : bytes_(bytes) {
  LSEG_CHECK(bytes >= 0, "a buffer of " << bytes << " bytes was asked for");
  if (bytes == 0) return;
  // Whole pages for big buffers: the kernel can then back them with huge pages.
  const int64_t alignment = bytes >= (int64_t{1} << 21) ? int64_t{1} << 21 : 64;
  data_.reset(std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment));
  LSEG_CHECK(data_ != nullptr, "out of memory: " << bytes << " bytes could not be allocated");
}

void Buffer::Free::operator()(void* memory) const { std::free(memory); }

}  // namespace lseg
