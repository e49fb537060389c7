// A lane's .local memory: lanes' words lie side by side, as a GPU has them.
#include <algorithm>
#include <cstring>

#include "tests/softgpu/machine/ops_memory.h"

namespace softgpu {
namespace {

// Calls f(offset in local memory, bytes done before, bytes) for the parts of a lane's range that
// lie in one word each.
template <class F>
void ForLocalWords(int lane, uint64_t offset, uint32_t bytes, F f) {
  for (uint32_t done = 0; done < bytes;) {
    const uint64_t at = offset + done;
    const uint32_t n = std::min<uint32_t>(bytes - done, 4 - at % 4);
    f(((at / 4) * kLanes + static_cast<size_t>(lane)) * 4 + at % 4, done, n);
    done += n;
  }
}

}  // namespace

void ReadLocal(const Warp& w, int lane, uint64_t offset, uint32_t bytes, uint8_t* data,
               uint8_t* state) {
  ForLocalWords(lane, offset, bytes, [&](size_t at, uint32_t done, uint32_t n) {
    std::memcpy(data + done, &w.local[at], n);
    std::memcpy(state + done, &w.local_state[at], n);
  });
}

void WriteLocal(Warp& w, int lane, uint64_t offset, uint32_t bytes, const uint8_t* data,
                const uint8_t* state) {
  ForLocalWords(lane, offset, bytes, [&](size_t at, uint32_t done, uint32_t n) {
    std::memcpy(&w.local[at], data + done, n);
    std::memcpy(&w.local_state[at], state + done, n);
  });
}

}  // namespace softgpu
