// kernels/runtime on a GPU: what a failed call leaves behind for the next one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/elementwise.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/recording.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

using testing::HasSubstr;

constexpr int64_t kCount = 4;

// An op that runs, after all: throws what is wrong.
void RunAnOp(Context& context) {
  const Buffer memory(Device::kCuda, kCount * 4);
  SetZero(Device::kCuda, memory.data(), memory.bytes());
  auto* values = static_cast<float*>(memory.data());
  SigmoidForward(context, kCount, values, values);
  context.Synchronize();
  float host[kCount];
  CopyToHost(Device::kCuda, host, values, sizeof(host));
  EXPECT_THAT(host, testing::Each(0.5f));
}

TEST(RuntimeCudaTest, MemoryThatCannotBeHad) {
  Context context(Device::kCuda);
  constexpr int64_t kTooMuch = int64_t{1} << 46;
  EXPECT_THROW(Buffer(Device::kCuda, kTooMuch), OutOfMemory);
  EXPECT_NO_THROW(RunAnOp(context));
  try {
    HostBuffer(Device::kCuda, kTooMuch);
    ADD_FAILURE() << "2^46 bytes were given";
  } catch (const OutOfMemory& error) {
    EXPECT_THAT(error.what(), HasSubstr("70368744177664 bytes of page-locked memory"));
  }
  EXPECT_NO_THROW(RunAnOp(context));
}

TEST(RuntimeCudaTest, WhatCannotBeRecorded) {
  Context context(Device::kCuda);
  EXPECT_THAT(ErrorOf([&] { Recording(context, [&] { context.Synchronize(); }); }),
              HasSubstr("cudaErrorStreamCapture"));
  EXPECT_NO_THROW(RunAnOp(context));
}

}  // namespace
}  // namespace lseg
