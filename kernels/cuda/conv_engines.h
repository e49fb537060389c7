// The GPU's convolution engines, in order of preference, and what stands in their table: one pair
// of functions an engine. No CUDA header is needed to include this.
#pragma once

#include <memory>
#include <vector>

#include "kernels/conv.h"

namespace lseg::cuda {

const std::vector<ConvEngine>& ConvEngines();

// 3x3 from an image of at most 4 channels in NCHW, forward and backward weights: conv_first.cu.
bool SupportsConvFirst(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvFirst(const Context&, const ConvParams&, ConvDirection,
                                        ConvFormats);

// 1x1 to at most 8 channels, from NHWC to NCHW in f32: conv_score.cu.
bool SupportsConvScore(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvScore(const Context&, const ConvParams&, ConvDirection,
                                        ConvFormats);

// 1x1 between at most 8 and at most 8 channels, NCHW f32: conv_planes.cu.
bool SupportsConvPlanes(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvPlanes(const Context&, const ConvParams&, ConvDirection,
                                         ConvFormats);

// Backward weights of 3x3 with stride 1 in NHWC, on the tensor cores: conv_weights.cu.
bool SupportsConvWeights(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvWeights(const Context&, const ConvParams&, ConvDirection,
                                          ConvFormats);

// The same with wgmma, bf16 and f16 on compute capability 9.0: conv_weights_wgmma.cu.
bool SupportsConvWeightsWgmma(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvWeightsWgmma(const Context&, const ConvParams&, ConvDirection,
                                               ConvFormats);

// Backward weights in one group with products in f32, every case in NCHW and NHWC:
// conv_weights_simt.cu.
bool SupportsConvWeightsSimt(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvWeightsSimt(const Context&, const ConvParams&, ConvDirection,
                                              ConvFormats);

// By the definition, every case in NCHW and NHWC: conv_direct.cu.
bool SupportsConvDirect(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvDirect(const Context&, const ConvParams&, ConvDirection,
                                         ConvFormats);

}  // namespace lseg::cuda
