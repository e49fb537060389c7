// Build functions of the layer types of this library, one file each, and what several of them
// share.
#pragma once

#include "framework/layer.h"
#include "kernels/box_copy.h"
#include "kernels/sigmoid_loss.h"

namespace lseg {

void BuildConcat(LayerBuilder& builder);
void BuildConvolution(LayerBuilder& builder);
void BuildCrop(LayerBuilder& builder);
void BuildDeconvolution(LayerBuilder& builder);
void BuildInput(LayerBuilder& builder);
void BuildMultiChannelBinLoss(LayerBuilder& builder);
void BuildPooling(LayerBuilder& builder);
void BuildRelu(LayerBuilder& builder);
void BuildSigmoid(LayerBuilder& builder);
void BuildSigmoidLoss(LayerBuilder& builder);
void BuildSlice(LayerBuilder& builder);

// Kernel, stride, pad and dilation of a ConvolutionParameter by Caffe's rules: the repeated field
// (once for both axes, or one value an axis) or the pair _h, _w, never both.
struct Geometry {
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
};
Geometry ReadGeometry(const LayerBuilder& builder, const caffe::ConvolutionParameter& param);

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

// `tensor` as the wanted element type (u8 labels, f32 targets), through a cast node where it
// differs.
TensorId AsType(LayerBuilder& builder, TensorId tensor, const TensorDesc& desc, DType wanted);

// The normalisation that loss_param asks for; `fallback` where it says nothing.
SigmoidLossParams::Normalization ReadNormalization(const LayerBuilder& builder,
                                                   SigmoidLossParams::Normalization fallback);

}  // namespace lseg
