#include "lseg/train_memory.h"

#include <algorithm>

namespace lseg {

int64_t TrainMemory::Total() const {
  return program + net.Total() + batches + kept + std::max(validation, Checkpoint());
}

std::string ToString(const TrainMemory& memory) {
  std::string text = "memory in all: at most " + Megabytes(memory.Total()) + ", images " +
                     Megabytes(memory.batches + memory.kept) + ", program " +
                     Megabytes(memory.program) + ", a checkpoint's copy " +
                     Megabytes(memory.Checkpoint());
  if (memory.validation > 0) text += " or validation " + Megabytes(memory.validation);
  return text;
}

// RGB, and the places of lesion pixels, which are a few in a hundred.
int64_t ImageBytes(int64_t width, int64_t height) { return width * height * 13 / 4; }

// Reading ends with a copy, turned upright; masks are decoded beside the image and joined.
int64_t ReadingBytes(int64_t width, int64_t height, int64_t classes) {
  return width * height * (3 + std::max<int64_t>(3, 2 * classes));
}

}  // namespace lseg
