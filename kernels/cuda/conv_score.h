// Engine "score": 1x1 convolution to at most kMostScores channels, from NHWC to NCHW in f32. What its kernels
// share. For .cu files.
#pragma once

#include "kernels/conv.h"

namespace lseg::cuda {

constexpr int kScoreThreads = 256;

struct ScoreArgs {
  int pixels;        // of all images
  int image_pixels;  // of one
  int channels, outputs;
};

ScoreArgs MakeScoreArgs(const ConvParams& params);
// dtype: of src.
void RunScoreForward(Context& context, const ConvParams& params, DType dtype, const ConvArgs& run);
void RunScoreData(Context& context, const ConvParams& params, DType dtype, const ConvArgs& run);
void RunScoreWeights(Context& context, const ConvParams& params, DType dtype, const ConvArgs& run);
int64_t ScoreWeightsWorkspace(const Context& context, const ConvParams& params, DType dtype);

}  // namespace lseg::cuda
