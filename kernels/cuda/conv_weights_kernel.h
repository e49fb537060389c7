// What the kernels of engines "implicit_gemm_weights" and "wgmma_weights" and their launcher agree
// on. For .cu files.
#pragma once

#include <cstdint>

#include "kernels/runtime/dtype.h"

namespace lseg::cuda {

constexpr int kWeightsPixels = 32;  // of a row, that a block takes
// With mma.sync, a block: channels of dst and of src, and four warps, each of which has all outputs
// and a quarter of the inputs.
constexpr int kWeightsOutputs = 64, kWeightsInputs = 32;
constexpr int kWeightsThreads = 128;
constexpr int kWeightsTaps = 9;
// Rows on their way, and rows in the rings: besides these, the one (of src: three) being read, and
// none that the copies overwrite while others may still read it.
constexpr int kWeightsAhead = 2;
constexpr int kWeightsGradientRows = kWeightsAhead + 1;
constexpr int kWeightsSourceRows = kWeightsAhead + 3;

struct ConvWeightsArgs {
  int in_height, in_width, inputs;
  int out_height, out_width, outputs;
  int pad_y, pad_x;
  int input_tiles;
  // The pixels: strips of kWeightsPixels columns, in segments of so many rows.
  int strips, segments_y, segment_rows, segments;
  const void* src;
  const void* d_dst;
  float* partials;        // [block y][part_elements]
  int64_t part_elements;  // kWeightsTaps * outputs * inputs + outputs
  bool bias;
};

struct ConvWeightsKernel {
  void (*run)(ConvWeightsArgs);
  int outputs, inputs, threads;  // of a block
  int blocks;                    // that a multiprocessor holds
  int shared_bytes;
};

ConvWeightsKernel ConvWeightsKernelWgmma(DType dtype);  // bf16, f16; for sm_90a

}  // namespace lseg::cuda
