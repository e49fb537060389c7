// What cuDNN would run on a GPU that is not there: its own description of the GPU is enough to have
// the plans of the engine "cudnn" made. Whether they compute what they should, conv_cudnn_test sees
// on a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/cudnn/conv_graph.h"
#include "tests/error_of.h"
#include "tests/kernels/conv_cases.h"

namespace lseg::cudnn {
namespace {

using testing::AnyOf;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF16};
constexpr ConvDirection kDirections[] = {ConvDirection::kForward, ConvDirection::kBackwardData,
                                         ConvDirection::kBackwardWeights};

struct Gpu {
  const char* name;
  int version, multiprocessors, shared, threads, blocks, l2;
  int64_t memory;
};
constexpr Gpu kGpus[] = {
    {"NVIDIA A100-SXM4-80GB", 800, 108, 166912, 2048, 32, 41943040, 85899345920},
    {"NVIDIA H100 80GB HBM3", 900, 132, 232448, 2048, 32, 52428800, 85899345920}};

std::string Json(const Gpu& gpu) {
  const auto number = [](int64_t value) { return std::to_string(value); };
  return "{\"deviceName\": \"" + std::string(gpu.name) +
         "\", \"cudaDeviceId\": 0, \"deviceVer\": " + number(gpu.version) +
         ", \"driverVer\": 13000, \"multiProcessorCount\": " + number(gpu.multiprocessors) +
         ", \"maxSharedMemoryPerBlockOptin\": " + number(gpu.shared) +
         ", \"maxThreadsPerSM\": " + number(gpu.threads) +
         ", \"maxCtasPerSM\": " + number(gpu.blocks) + ", \"l2CacheSize\": " + number(gpu.l2) +
         ", \"totalGlobalMem\": " + number(gpu.memory) +
         ", \"maxGridSize\": [2147483647, 65535, 65535], \"maxBlockSize\": [1024, 1024, 64],"
         " \"maxSharedMemoryPerBlock\": 49152, \"reservedSharedMemoryPerBlock\": 1024,"
         " \"maxRegistersPerSM\": 65536, \"regsPerBlock\": 65536, \"warpSize\": 32,"
         " \"maxThreadsPerBlock\": 1024, \"pciDeviceId\": 0, \"isTccDriver\": 0,"
         " \"supportCoopLaunch\": 1, \"smClockRateKHz\": 1410000, \"memClockRateKHz\": 1593000}";
}

// L-Seg's at 1440x960, one of each kind; and those that conv_cudnn_test computes.
std::vector<ConvParams> Cases() {
  std::vector<ConvParams> cases = LibraryCases();
  for (const ConvParams& params :
       {Conv3x3({1, 3, 960, 1440}, 64), Conv3x3({1, 64, 960, 1440}, 64),
        Conv3x3({1, 64, 480, 720}, 128), Conv3x3({1, 256, 240, 360}, 256),
        Conv3x3({1, 512, 60, 90}, 512), ConvParams{.src = {1, 64, 960, 1440}, .out_channels = 4},
        ConvParams{.src = {4, 512, 30, 45}, .out_channels = 4}}) {
    cases.push_back(params);
  }
  return cases;
}

class ConvCudnnPlanTest : public testing::TestWithParam<Gpu> {
 protected:
  ConvGraph Graph(const ConvParams& params, ConvDirection direction, DType dtype,
                  Format format = Format::kNHWC, bool fused = false) const {
    return ConvGraph(target_, params, direction, Plane({format, format, dtype, dtype}), fused);
  }

  const Target target_{Json(GetParam())};
};

TEST_P(ConvCudnnPlanTest, EveryDirectionAndTypeHasAPlan) {
  for (const ConvParams& params : Cases()) {
    for (const DType dtype : kTypes) {
      for (const ConvDirection direction : kDirections) {
        for (const Format format : {Format::kNHWC, Format::kNCHW}) {
          const ConvGraph graph = Graph(params, direction, dtype, format);
          EXPECT_TRUE(graph.usable()) << ToString(params.src) << " to " << params.out_channels
                                      << ", " << ToString(direction) << " " << ToString(dtype)
                                      << " " << ToString(format) << ": " << graph.why();
          // It repeats bit for bit and sums the products as they are.
          EXPECT_THAT(graph.notes(), Each(AnyOf(CUDNN_NUMERICAL_NOTE_TENSOR_CORE,
                                                CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP)));
        }
      }
    }
  }
}

TEST_P(ConvCudnnPlanTest, TensorCoresWhereTheyMaySumAndNowhereElse) {
  ConvParams params = Conv3x3({1, 64, 240, 360}, 64);
  for (const ConvDirection direction : kDirections) {
    params.allow_tf32 = false;
    const auto on_tensor_cores = Contains(CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
    EXPECT_THAT(Graph(params, direction, DType::kF32).notes(), Not(on_tensor_cores));
    EXPECT_THAT(Graph(params, direction, DType::kBF16).notes(), on_tensor_cores);
    EXPECT_THAT(Graph(params, direction, DType::kF16).notes(), on_tensor_cores);
    params.allow_tf32 = true;
    EXPECT_THAT(Graph(params, direction, DType::kF32).notes(), on_tensor_cores);
  }
}

// A net's convolutions lie in NHWC: nothing needs to be brought to another layout first, which
// would show as a workspace of a map's size.
TEST_P(ConvCudnnPlanTest, ANetsOwnLayoutIsComputedWhereItLies) {
  for (const int64_t channels : {64, 256}) {
    const ConvParams params = Conv3x3({1, channels, 240, 360}, channels);
    for (const ConvDirection direction : kDirections) {
      EXPECT_LT(Graph(params, direction, DType::kBF16).workspace(), params.src.Count() * 2 / 2)
          << ToString(direction) << " " << channels;
    }
  }
}

TEST_P(ConvCudnnPlanTest, BiasAndReluAreFused) {
  for (const DType dtype : kTypes) {
    for (const bool relu : {true, false}) {
      ConvParams params = Conv3x3({1, 64, 240, 360}, 64);
      params.relu = relu;
      const ConvGraph graph = Graph(params, ConvDirection::kForward, dtype, Format::kNHWC, true);
      EXPECT_TRUE(graph.usable()) << ToString(dtype) << ", ReLU " << relu << ": " << graph.why();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Gpus, ConvCudnnPlanTest, testing::ValuesIn(kGpus), [](const auto& info) {
  return "sm" + std::to_string(info.param.version);
});

TEST(ConvCudnnPlan, ADescriptionThatIsNoneIsRefused) {
  EXPECT_THAT(ErrorOf([] { Target target("{}"); }), HasSubstr("cuDNN"));
}

}  // namespace
}  // namespace lseg::cudnn
