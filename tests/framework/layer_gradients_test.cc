// Numeric gradients of every layer. Each net ends in a smooth loss, and lets the blob under test
// feed two readers where both gradient modes, write and add, shall be seen.
#include <gtest/gtest.h>

#include "tests/device.h"
#include "tests/framework/gradient_checker.h"

namespace lseg {
namespace {

// data (2 x channels x 7 x 9) -> layers -> `out`, whose mean over the batch of weighted values
// (a sigmoid cross entropy against random targets) is the loss.
std::string Net(const std::string& data_shape, const std::string& layers, const std::string& out,
                const std::string& label_shape) {
  return "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { " + data_shape +
         " } } }\nlayer { name: 'label' type: 'Input' top: 'label' input_param { shape { " +
         label_shape + " } } }\n" + layers + "\nlayer { type: 'SigmoidCrossEntropyLoss' bottom: '" +
         out + "' bottom: 'label' top: 'loss' }";
}

class LayerGradients : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override { LSEG_SKIP_WITHOUT(GetParam()); }
  void Check(const std::string& net_text, GradientCheck check = {}) {
    check.device = GetParam();
    if (check.device == Device::kCuda) check.samples = 15;  // softgpu takes its time
    CheckGradients(net_text, check);
  }
};
LSEG_ON_ALL_DEVICES(LayerGradients);

TEST_P(LayerGradients, ConvolutionStridePadDilationGroup) {
  Check(Net("dim: 2 dim: 4 dim: 7 dim: 9",
            "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' "
            "convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 stride_h: 2 "
            "stride_w: 1 pad_h: 2 pad_w: 1 dilation: 2 group: 2 } }",
            "c", "dim: 2 dim: 6 dim: 4 dim: 9"));
}

TEST_P(LayerGradients, BlockedConvolutionsWithReluAndTwoReaders) {
  // 16 and 32 channels take the blocked format; 'a' is read by a convolution and by a score layer,
  // so one of its gradients is added to the other.
  GradientCheck check;
  check.off_the_kinks = true;
  Check(Net("dim: 2 dim: 3 dim: 7 dim: 9",
            "layer { name: 'a' type: 'Convolution' bottom: 'data' top: 'a' convolution_param { "
            "num_output: 16 kernel_size: 3 pad: 1 } }"
            "layer { name: 'ra' type: 'ReLU' bottom: 'a' top: 'a' }"
            "layer { name: 'b' type: 'Convolution' bottom: 'a' top: 'b' convolution_param { "
            "num_output: 32 kernel_size: 3 pad: 1 } }"
            "layer { name: 's1' type: 'Convolution' bottom: 'a' top: 's1' convolution_param { "
            "num_output: 4 kernel_size: 1 } }"
            "layer { name: 's2' type: 'Convolution' bottom: 'b' top: 's2' convolution_param { "
            "num_output: 4 kernel_size: 1 } }"
            "layer { name: 'cat' type: 'Concat' bottom: 's1' bottom: 's2' top: 'cat' }",
            "cat", "dim: 2 dim: 8 dim: 7 dim: 9"),
        check);
}

TEST_P(LayerGradients, DeconvolutionGroupStridePad) {
  Check(Net("dim: 2 dim: 4 dim: 3 dim: 5",
            "layer { name: 'd' type: 'Deconvolution' bottom: 'data' top: 'd' "
            "convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 2 } }",
            "d", "dim: 2 dim: 6 dim: 6 dim: 10"));
}

TEST_P(LayerGradients, MaxPoolingRoundedUpWithOverlap) {
  // Distinct values a step apart at least: no difference crosses a change of the maximum.
  GradientCheck check;
  check.step = 1e-3f;
  check.fill = [](const std::string& blob, float* values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      values[i] = blob == "label" ? static_cast<float>(i % 2)
                                  : static_cast<float>((i * 37) % count) * 0.01f - 1;
    }
  };
  Check(Net("dim: 2 dim: 3 dim: 6 dim: 8",
            "layer { name: 'p' type: 'Pooling' bottom: 'data' top: 'p' pooling_param { "
            "pool: MAX kernel_size: 3 stride: 2 } }",
            "p", "dim: 2 dim: 3 dim: 3 dim: 4"),
        check);
}

TEST_P(LayerGradients, AveragePoolingWithPad) {
  Check(Net("dim: 2 dim: 3 dim: 7 dim: 9",
            "layer { name: 'p' type: 'Pooling' bottom: 'data' top: 'p' pooling_param { "
            "pool: AVE kernel_size: 3 stride: 2 pad: 1 } }",
            "p", "dim: 2 dim: 3 dim: 4 dim: 5"));
}

TEST_P(LayerGradients, LeakyReluAndSigmoid) {
  GradientCheck check;
  check.fill = [](const std::string& blob, float* values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {  // off the kink by more than a step
      values[i] = blob == "label" ? static_cast<float>(i % 2)
                                  : (i % 2 ? 0.2f : -0.2f) + 0.02f * static_cast<float>(i % 7 - 3);
    }
  };
  check.step = 1e-3f;
  Check(Net("dim: 2 dim: 3 dim: 4 dim: 5",
            "layer { name: 'r' type: 'ReLU' bottom: 'data' top: 'r' relu_param { "
            "negative_slope: 0.2 } }"
            "layer { name: 's' type: 'Sigmoid' bottom: 'r' top: 's' }",
            "s", "dim: 2 dim: 3 dim: 4 dim: 5"),
        check);
}

TEST_P(LayerGradients, SliceConcatCropOfABlobWithSeveralReaders) {
  // 'data' feeds the slice and the crop; one slice goes nowhere, so its part of the gradient is 0.
  Check(Net("dim: 2 dim: 3 dim: 6 dim: 7",
            "layer { type: 'Slice' bottom: 'data' top: 'a' top: 'b' top: 'unused' "
            "slice_param { axis: 1 } }"
            "layer { type: 'Input' top: 'reference' input_param { shape { dim: 2 dim: 1 "
            "dim: 4 dim: 5 } } }"
            "layer { type: 'Crop' bottom: 'data' bottom: 'reference' top: 'whole' "
            "crop_param { axis: 2 offset: 1 offset: 2 } }"
            "layer { type: 'Crop' bottom: 'a' bottom: 'reference' top: 'ca' crop_param { "
            "offset: 0 } }"
            "layer { type: 'Crop' bottom: 'b' bottom: 'reference' top: 'cb' crop_param { "
            "offset: 2 } }"
            "layer { type: 'Concat' bottom: 'ca' bottom: 'whole' bottom: 'cb' top: 'cat' "
            "concat_param { concat_dim: 1 } }",
            "cat", "dim: 2 dim: 5 dim: 4 dim: 5"));
}

TEST_P(LayerGradients, SigmoidLossWithIgnoredLabels) {
  GradientCheck check;
  check.fill = [](const std::string& blob, float* values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      values[i] =
          blob == "label" ? static_cast<float>(i % 3) : 0.07f * static_cast<float>(i % 29 - 14);
    }
  };
  Check(
      "layer { type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 2 dim: 3 dim: 5 } } }"
      "layer { type: 'Input' top: 'label' input_param { shape { dim: 2 dim: 2 dim: 3 dim: 5 } } }"
      "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' convolution_param { "
      "num_output: 2 kernel_size: 1 } }"
      "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'c' bottom: 'label' top: 'loss' "
      "loss_weight: 3 loss_param { ignore_label: 2 normalization: VALID } }",
      check);
}

TEST_P(LayerGradients, MultiChannelBinLossThroughItsTextForm) {
  // A second loss reads 'pred' too, since a net needs something that learns; its gradient is added.
  // Logits stay off the bin edges (+-1.386, +-0.405) by more than a step: membership is a step
  // function. Batch 2, three lesions, one of them absent from image 1.
  GradientCheck check;
  check.step = 5e-3f;
  check.fill = [](const std::string& blob, float* values, int64_t count) {
    constexpr float kCentres[5] = {-2.0f, -0.9f, 0.0f, 0.9f, 2.0f};
    for (int64_t i = 0; i < count; ++i) {
      if (blob == "label") {
        values[i] = static_cast<float>(i % 11 == 0                   ? 1
                                       : i % 13 == 0                 ? 2
                                       : i % 7 == 0 && i > count / 2 ? 3
                                                                     : 0);
      } else {
        values[i] = kCentres[(i * 7 + i / 5) % 5] + 0.02f * static_cast<float>(i % 9 - 4);
      }
    }
  };
  Check(
      "layer { type: 'Input' top: 'pred' input_param { shape { dim: 2 dim: 3 dim: 6 dim: 9 } } }"
      "layer { type: 'Input' top: 'label' input_param { shape { dim: 2 dim: 1 dim: 6 dim: 9 } } }"
      "layer { type: 'Input' top: 'target' input_param { shape { dim: 2 dim: 3 dim: 6 dim: 9 } } }"
      "layer { name: 'other' type: 'Convolution' bottom: 'pred' top: 'z' convolution_param { "
      "num_output: 3 kernel_size: 1 group: 3 } }"
      "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'z' bottom: 'target' top: 'other' }"
      "layer { name: 'loss' type: 'MultiChannelBinSigmoidCrossEntropyLoss' bottom: 'pred' bottom: "
      "'label' top: 'loss' loss_weight: 1.0 mcbsce_loss_param { key: 2 num_label: 3 } }",
      check);
}

TEST_P(LayerGradients, EltwiseOfBlockedMapsAndOfOneBlobTwice) {
  // 'a' and 'b' are blocked; 'a' is a bottom twice, so one of its gradients is added.
  Check(Net("dim: 2 dim: 3 dim: 7 dim: 9",
            "layer { name: 'a' type: 'Convolution' bottom: 'data' top: 'a' convolution_param { "
            "num_output: 16 kernel_size: 3 pad: 1 } }"
            "layer { name: 'b' type: 'Convolution' bottom: 'a' top: 'b' convolution_param { "
            "num_output: 16 kernel_size: 1 } }"
            "layer { type: 'Eltwise' bottom: 'a' bottom: 'b' bottom: 'a' top: 'sum' "
            "eltwise_param { operation: SUM coeff: 1 coeff: -0.5 coeff: 2 } }"
            "layer { name: 's' type: 'Convolution' bottom: 'sum' top: 's' convolution_param { "
            "num_output: 2 kernel_size: 1 } }",
            "s", "dim: 2 dim: 2 dim: 7 dim: 9"));
}

TEST_P(LayerGradients, DropoutOfABlobWithTwoReaders) {
  // In phase TRAIN, with batch 0 for all evaluations: the same elements are dropped each time.
  Check(Net("dim: 2 dim: 3 dim: 7 dim: 9",
            "layer { name: 'a' type: 'Convolution' bottom: 'data' top: 'a' convolution_param { "
            "num_output: 4 kernel_size: 3 pad: 1 } }"
            "layer { name: 'd' type: 'Dropout' bottom: 'a' top: 'd' dropout_param { "
            "dropout_ratio: 0.3 } }"
            "layer { type: 'Eltwise' bottom: 'd' bottom: 'a' top: 'sum' }",
            "sum", "dim: 2 dim: 4 dim: 7 dim: 9"));
}

TEST_P(LayerGradients, Softmax) {
  Check(Net("dim: 2 dim: 5 dim: 3 dim: 7",
            "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' convolution_param { "
            "num_output: 5 kernel_size: 1 } }"
            "layer { name: 'p' type: 'Softmax' bottom: 'c' top: 'p' }",
            "p", "dim: 2 dim: 5 dim: 3 dim: 7"));
}

TEST_P(LayerGradients, SoftmaxLossWithIgnoredLabels) {
  GradientCheck check;
  check.fill = [](const std::string& blob, float* values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      values[i] = blob == "label" ? static_cast<float>(i % 5 == 4 ? 255 : i % 5 % 3)
                                  : 0.07f * static_cast<float>(i % 29 - 14);
    }
  };
  Check(
      "layer { type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 2 dim: 3 dim: 5 } } }"
      "layer { type: 'Input' top: 'label' input_param { shape { dim: 2 dim: 1 dim: 3 dim: 5 } } }"
      "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' convolution_param { "
      "num_output: 3 kernel_size: 1 } }"
      "layer { type: 'SoftmaxWithLoss' bottom: 'c' bottom: 'label' top: 'loss' loss_weight: 3 "
      "loss_param { ignore_label: 255 normalize: false } }",
      check);
}

}  // namespace
}  // namespace lseg
