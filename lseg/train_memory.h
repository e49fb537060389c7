// What a training needs of memory at the most, on the CPU: told before it is taken.
#pragma once

#include <cstdint>
#include <string>

#include "framework/passes/passes.h"
#include "lseg/training_crops.h"

namespace lseg {

// In bytes, but for code and tables of libraries that are touched on the way. A validation and the
// writing of a checkpoint come between steps, one at a time; what a step has used is still there.
struct TrainMemory {
  int64_t program = 0;     // what was there before
  MemoryPlan net;          // of the training
  int64_t batches = 0;     // made beforehand, and the image that they are being made from
  int64_t kept = 0;        // decoded images
  int64_t validation = 0;  // its net beside the parameters, and an image with its truth; 0: none

  // A checkpoint's copy of the parameters and of the solver's memory.
  int64_t Checkpoint() const { return net.parameters + net.states; }
  int64_t Total() const;
};

// "memory in all: at most 1110 MB, ..."
std::string ToString(const TrainMemory& memory);

// A decoded image with its truth: kept; and while it is read, the buffers of that included.
int64_t ImageBytes(int64_t width, int64_t height);
int64_t ReadingBytes(int64_t width, int64_t height, int64_t classes);

}  // namespace lseg
