// Build functions of the layer types of this library, one file each, and what several of them
// share.
#pragma once

#include "framework/layer.h"
#include "kernels/bin_loss.h"
#include "kernels/box_copy.h"
#include "kernels/conv.h"
#include "kernels/sigmoid_loss.h"

namespace lseg {

void BuildConcat(LayerBuilder& builder);
void BuildConvolution(LayerBuilder& builder);
void BuildCrop(LayerBuilder& builder);
void BuildDeconvolution(LayerBuilder& builder);
void BuildDropout(LayerBuilder& builder);
void BuildEltwise(LayerBuilder& builder);
void BuildInput(LayerBuilder& builder);
void BuildMultiChannelBinLoss(LayerBuilder& builder);
void BuildPooling(LayerBuilder& builder);
void BuildRelu(LayerBuilder& builder);
void BuildSigmoid(LayerBuilder& builder);
void BuildSigmoidLoss(LayerBuilder& builder);
void BuildSlice(LayerBuilder& builder);
void BuildSoftmax(LayerBuilder& builder);
void BuildSoftmaxLoss(LayerBuilder& builder);

// ConvParams or DeconvParams of a layer's bottom and convolution_param, checked. Kernel, stride,
// pad and dilation by Caffe's rules: the repeated field (once for both axes, or one value an axis)
// or the pair _h, _w, never both.
template <typename Params>
Params ReadConvolutionParam(const LayerBuilder& builder);
// Puts the bias behind the inputs of a convolution or deconvolution that has one.
void AddBias(LayerBuilder& builder, std::vector<TensorId>& inputs);

// A negative axis counts from the end; beyond 0..3 is an Error.
int ReadAxis(const LayerBuilder& builder, int64_t axis);
int64_t& AxisOf(Shape& shape, int axis);

// Copies boxes between its inputs and outputs: crop, slice and concat, and the gradients of all
// three.
struct BoxCopyPart {
  int input, output;
  BoxCopyParams params;
};
std::unique_ptr<Op> MakeBoxCopyOp(std::string name, std::vector<BoxCopyPart> parts);

// Writes its input to its output in the format and the element type that this has.
std::unique_ptr<Op> MakeReorderOp();

// Multi-channel bin losses of one shape against one label, each with its weight in the objective.
// Inputs: label, then the logits. Outputs: value and statistics of each.
struct BinLosses {
  BinLossParams params;
  std::vector<float> weights;
};
std::unique_ptr<Op> MakeBinLossOp(BinLosses losses);

// Bottom i as the wanted element type, through a cast node where it differs: a label may come as u8
// or as f32, and every op takes one of them. Class maps stay what they are either way.
TensorId BottomAs(LayerBuilder& builder, int i, DType wanted);

// A convolution whose engine nobody asked for. Inputs: src, weight, bias where it has one.
std::unique_ptr<Op> MakeConvForwardOp(std::string layer, const ConvParams& params);

// A convolution that ends a stage (ConvParams::HasStageEnd). Inputs: src, weight, bias where it has
// one, score weight where it has scores. Outputs: the pooled map, the partial scores, as params
// say.
std::unique_ptr<Op> MakeConvStageEndOp(std::string layer, const ConvParams& params);

// softmax_param's axis is that of channels, or an Error.
void CheckSoftmaxAxis(const LayerBuilder& builder);

// The normalisation that loss_param asks for; `fallback` where it says nothing.
SigmoidLossParams::Normalization ReadNormalization(const LayerBuilder& builder,
                                                   SigmoidLossParams::Normalization fallback);

}  // namespace lseg
