// What stands in the table of the CPU's convolution engines: one pair of functions an engine.
#pragma once

#include <memory>

#include "kernels/conv.h"

namespace lseg {

// Throws where a pointer that the direction needs is null.
void CheckConvArgs(const ConvParams& params, ConvDirection direction, const ConvArgs& args);

// ConvParams::relu_gradient as a pass of its own over d_src, for engines that do not take it where
// they store.
void TakeReluGradient(Context& context, const ConvParams& params, ConvFormats formats,
                      const ConvArgs& args);

// 1x1, stride 1, no padding, one group, to at most kMostScores channels in NCHW, f32: bound by
// memory bandwidth.
bool SupportsConvPointwise(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvPointwise(const Context&, const ConvParams&, ConvDirection,
                                            ConvFormats);

// 3x3 of an image's few planes to blocks of channels or NHWC, forward and backward weights: the
// first layer of a net.
bool SupportsConvFirstLayer(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvFirstLayer(const Context&, const ConvParams&, ConvDirection,
                                             ConvFormats);

// oneDNN's direct or GEMM-based algorithms, as it sees fit, but not its reference.
bool SupportsConvOnednn(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvOnednn(const Context&, const ConvParams&, ConvDirection,
                                         ConvFormats);

// oneDNN's direct algorithm for 3x3, stride 1, pad 1 in bf16 and NHWC, forward, in blocks of
// ConvOnednnRowGrid rows.
bool SupportsConvOnednnRows(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvOnednnRows(const Context&, const ConvParams&, ConvDirection,
                                             ConvFormats);
int64_t ConvOnednnRowGrid(const ConvParams& params);

// oneDNN's Winograd algorithm, which releases 2.x have on some processors with AVX-512.
bool SupportsConvOnednnWinograd(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvOnednnWinograd(const Context&, const ConvParams&, ConvDirection,
                                                 ConvFormats);

// F(4x4, 3x3) and its adjoint by own code, all directions.
bool SupportsConvWinograd4x3(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvWinograd4x3(const Context&, const ConvParams&, ConvDirection,
                                              ConvFormats);

// Parts begin and end on multiples of the larger tile's rows, 4.
int64_t ConvWinogradRowGrid(const ConvParams& params);

// F(2x2, 3x3), forward and backward data: fewer products saved, smaller errors, and small integers
// come out exactly.
bool SupportsConvWinograd2x3(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvWinograd2x3(const Context&, const ConvParams&, ConvDirection,
                                              ConvFormats);

// F(4x4, 3x3) and its adjoint for maps in bf16 and NHWC, products in f32, all directions; multiples
// of 16 channels.
bool SupportsConvWinograd4x3Bf16(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvWinograd4x3Bf16(const Context&, const ConvParams&, ConvDirection,
                                                  ConvFormats);

// F(2x2, 3x3) and its adjoint in bf16 and NHWC, all directions, on processors with AVX512-BF16;
// multiples of 16 channels.
bool SupportsConvWinograd2x3Bf16(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvWinograd2x3Bf16(const Context&, const ConvParams&, ConvDirection,
                                                  ConvFormats);

// An implicit GEMM on AMX's tiles, in bf16 and NHWC; multiples of 32 channels.
bool SupportsConvAmx(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvAmx(const Context&, const ConvParams&, ConvDirection,
                                      ConvFormats);
int64_t ConvAmxRowGrid(const ConvParams& params);
// Its part for backward weights.
std::unique_ptr<ConvPlan> MakeConvAmxWeights(const Context&, const ConvParams&);

// The part of Winograd's for backward weights.
std::unique_ptr<ConvPlan> MakeConvWinogradWeights(const Context&, const ConvParams&, ConvFormats,
                                                  DType products);

// Plain loops, every case.
bool SupportsConvReference(const Context&, const ConvParams&, ConvDirection, ConvFormats);
std::unique_ptr<ConvPlan> MakeConvReference(const Context&, const ConvParams&, ConvDirection,
                                            ConvFormats);

}  // namespace lseg
