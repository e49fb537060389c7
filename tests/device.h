// Tests that take the device as a parameter:
//
//   class PoolTest : public testing::TestWithParam<Device> {};
//   LSEG_ON_ALL_DEVICES(PoolTest);
//   TEST_P(PoolTest, ...) { LSEG_SKIP_WITHOUT(GetParam()); Context context(GetParam()); ... }
//
// The GPU is a real one where the program is started plainly, softgpu where ctest starts it.
#pragma once

#include <gtest/gtest.h>

#include "kernels/runtime/context.h"

#define LSEG_ON_ALL_DEVICES(suite)                                                  \
  INSTANTIATE_TEST_SUITE_P(On, suite, testing::Values(Device::kCpu, Device::kCuda), \
                           [](const auto& info) { return ToString(info.param); })

#define LSEG_SKIP_WITHOUT(device)                                                              \
  do {                                                                                         \
    if ((device) == Device::kCuda && !BuiltWithCuda()) {                                       \
      GTEST_SKIP() << "built without CUDA: no nvcc (tools/cuda_toolkit.sh), or LSEG_CUDA=OFF"; \
    }                                                                                          \
  } while (false)
