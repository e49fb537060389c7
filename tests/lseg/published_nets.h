// Definitions of nets that others have published on VGG16, in their spellings, with `divisor` times
// fewer channels so that tests can train them: HED (Xie and Tu, ICCV 2015), RCF (Liu et al., CVPR
// 2017), FCN-32s, 16s and 8s (Long et al., CVPR 2015). Inputs are `data` and `label`.
#pragma once

#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace lseg {

class PublishedNet {
 public:
  // The inputs of a net to train on crops that the program draws.
  explicit PublishedNet(int divisor, int labels, int height = 32, int width = 32)
      : divisor_(divisor) {
    text_ << "input: 'data' input_dim: 1 input_dim: 3 input_dim: " << height
          << " input_dim: " << width << "\ninput: \"label\" input_dim: 1 input_dim: " << labels
          << " input_dim: " << height << " input_dim: " << width << "\n";
  }

  std::string Text() const { return text_.str(); }
  // Channels of a published number.
  int Channels(int published) const { return published / divisor_ > 0 ? published / divisor_ : 1; }

  // The top is named as the layer.
  void Conv(const std::string& name, const std::string& bottom, int channels, int kernel, int pad,
            const std::string& more = "") {
    text_ << "layer { bottom: '" << bottom << "' top: '" << name << "' name: '" << name
          << "' type: \"Convolution\"\n  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 "
          << "decay_mult: 0}  # as published\n  convolution_param { engine: CAFFE num_output: "
          << channels << " kernel_size: " << kernel << " pad: " << pad << " " << more << " } }\n";
  }
  void Relu(const std::string& blob) {
    text_ << "layer { bottom: '" << blob << "' top: '" << blob << "' name: 'relu_" << blob
          << "' type: \"ReLU\" }\n";
  }
  void Pool(const std::string& name, const std::string& bottom, int stride = 2) {
    text_ << "layer { name: '" << name << "' bottom: '" << bottom << "' top: '" << name
          << "' type: 'Pooling' pooling_param { pool: MAX kernel_size: 2 stride: " << stride
          << " } }\n";
  }
  // As FCN has them, without a bias; a rate of 0: bilinear, not learned.
  void Upsample(const std::string& name, const std::string& bottom, int channels, int stride,
                const std::string& more = "bias_term: false") {
    text_ << "layer { type: \"Deconvolution\" name: '" << name << "' bottom: '" << bottom
          << "' top: '" << name << "' param { lr_mult: 0 decay_mult: 1 }\n"
          << "  convolution_param { kernel_size: " << 2 * stride << " stride: " << stride
          << " num_output: " << channels << " " << more << " } }\n";
  }
  void Crop(const std::string& top, const std::string& bottom, const std::string& like,
            const std::string& more = "") {
    text_ << "layer { type: \"Crop\" name: 'crop' bottom: '" << bottom << "' bottom: '" << like
          << "' top: '" << top << "' " << more << " }\n";
  }
  void Add(const std::string& text) { text_ << text << "\n"; }
  void Sum(const std::string& top, const std::vector<std::string>& bottoms) {
    text_ << "layer { name: '" << top << "' type: \"Eltwise\" top: '" << top << "'";
    for (const std::string& bottom : bottoms) text_ << " bottom: '" << bottom << "'";
    text_ << " eltwise_param { operation: SUM } }\n";
  }

  // conv1_1 to conv5_3 with their pools; the last pool where `pool5`, stages' last maps in order.
  std::vector<std::string> Vgg16(int first_pad, bool pool5, int stage5_dilation = 1,
                                 int pool4_stride = 2) {
    std::vector<std::string> ends;
    std::string blob = "data";
    const std::vector<std::pair<int, int>> stages = {
        {64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}};
    for (size_t s = 0; s < stages.size(); ++s) {
      const std::string stage = std::to_string(s + 1);
      const bool dilated = s == 4 && stage5_dilation > 1;
      for (int i = 1; i <= stages[s].second; ++i) {
        const std::string name = "conv" + stage + "_" + std::to_string(i);
        const int pad = s == 0 && i == 1 ? first_pad : dilated ? stage5_dilation : 1;
        Conv(name, blob, Channels(stages[s].first), 3, pad,
             "weight_filler { type: 'msra' }" +
                 (dilated ? " dilation: " + std::to_string(stage5_dilation) : std::string()));
        Relu(name);
        blob = name;
      }
      ends.push_back(blob);
      if (s == 4 && !pool5) break;
      Pool("pool" + stage, blob, s == 3 ? pool4_stride : 2);
      blob = "pool" + stage;
    }
    return ends;
  }

 private:
  int divisor_;
  std::ostringstream text_;
};

// Five side outputs of one channel and their weighted sum, each with a loss.
inline std::string HedNet(int divisor) {
  PublishedNet net(divisor, 1);
  const std::vector<std::string> ends = net.Vgg16(35, false);
  std::string concat =
      "layer { name: \"concat\" type: \"Concat\" concat_param { concat_dim: 1} "
      "top: 'concat-upscore'";
  const auto loss = [&](const std::string& blob, const std::string& top) {
    net.Add("layer { type: \"SigmoidCrossEntropyLoss\" bottom: \"" + blob +
            "\" bottom: \"label\" top:\"" + top +
            "\" loss_weight: 1 loss_param { normalization: FULL } }");
  };
  for (int s = 1; s <= 5; ++s) {
    const std::string n = std::to_string(s);
    net.Conv("score-dsn" + n, ends[s - 1], 1, 1, 0);
    std::string side = "score-dsn" + n;
    if (s > 1) {
      net.Upsample("upsample_" + n, side, 1, 1 << (s - 1), "");
      side = "upsample_" + n;
    }
    net.Crop("upscore-dsn" + n, side, "data");
    loss("upscore-dsn" + n, "dsn" + n + "_loss");
    concat += " bottom: \"upscore-dsn" + n + "\"";
  }
  net.Add(concat + " }");
  net.Conv("upscore-fuse", "concat-upscore", 1, 1, 0,
           "weight_filler {type: \"constant\" value: 0.2}");
  loss("upscore-fuse", "fuse_loss");
  return net.Text();
}

// A 1x1 convolution of every map of a stage, their sum, one side output a stage; stage 5 dilated
// behind a pooling of stride 1.
inline std::string RcfNet(int divisor) {
  PublishedNet net(divisor, 1);
  net.Vgg16(1, false, 2, 1);
  std::string concat = "layer { name: 'concat' type: 'Concat' top: 'concat-upscore'";
  for (int s = 1; s <= 5; ++s) {
    const std::string n = std::to_string(s);
    std::vector<std::string> downs;
    for (int i = 1; i <= (s < 3 ? 2 : 3); ++i) {
      const std::string map = n + "_" + std::to_string(i);
      net.Conv("conv" + map + "_down", "conv" + map, net.Channels(21), 1, 0,
               "weight_filler { type: \"gaussian\" std: 0.01 }");
      downs.push_back("conv" + map + "_down");
    }
    net.Sum("dsn" + n, downs);
    net.Conv("score-dsn" + n, "dsn" + n, 1, 1, 0, "weight_filler { type: \"gaussian\" std: 0.01 }");
    std::string side = "score-dsn" + n;
    const int stride = 1 << (s == 5 ? 3 : s - 1);
    if (stride > 1) {
      net.Upsample("upsample_" + n, side, 1, stride);
      side = "upsample_" + n;
    }
    net.Crop("upscore-dsn" + n, side, "data");
    concat += " bottom: 'upscore-dsn" + n + "'";
  }
  net.Add(concat + " }");
  net.Conv("upscore-fuse", "concat-upscore", 1, 1, 0,
           "weight_filler { type: 'constant' value: 0.2 }");
  net.Add(
      "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'upscore-fuse' bottom: 'label' "
      "top: 'fuse_loss' loss_param { normalization: FULL } }");
  return net.Text();
}

// FCN-<stride>s of 32, 16 or 8, `classes` with the background. offsets: Crop says them, as
// published, else they follow from coordinates. phases: a TEST-phase answer beside the loss.
inline std::string FcnNet(int divisor, int stride, int classes, int label_channels,
                          bool offsets = true) {
  PublishedNet net(divisor, label_channels);
  net.Vgg16(100, true);
  const auto fc = [&](const std::string& name, const std::string& bottom, int kernel) {
    net.Conv(name, bottom, net.Channels(4096), kernel, 0, "weight_filler { type: 'msra' }");
    net.Relu(name);
    net.Add("layer { name: \"drop_" + name + "\" type: \"Dropout\" bottom: \"" + name +
            "\" top: \"" + name + "\" dropout_param { dropout_ratio: 0.5 } }");
  };
  fc("fc6", "pool5", 7);
  fc("fc7", "fc6", 1);
  net.Conv("score_fr", "fc7", classes, 1, 0);
  const auto crop = [&](int offset) {
    return offsets ? "crop_param { axis: 2 offset: " + std::to_string(offset) + " }"
                   : std::string();
  };
  std::string blob = "score_fr";
  int rest = 32;
  for (const auto& [pool, offset] :
       std::vector<std::pair<std::string, int>>{{"pool4", 5}, {"pool3", 9}}) {
    if (rest == stride) break;
    net.Upsample("upscore_" + pool, blob, classes, 2);
    net.Conv("score_" + pool, pool, classes, 1, 0);
    net.Crop("score_" + pool + "c", "score_" + pool, "upscore_" + pool, crop(offset));
    net.Sum("fuse_" + pool, {"upscore_" + pool, "score_" + pool + "c"});
    blob = "fuse_" + pool;
    rest /= 2;
  }
  net.Upsample("upscore", blob, classes, stride);
  net.Crop("score", "upscore", "data", crop(stride == 32 ? 19 : stride == 16 ? 27 : 31));
  net.Add(
      "layer { name: \"loss\" type: \"SoftmaxWithLoss\" bottom: \"score\" bottom: \"label\" "
      "top: \"loss\" include { phase: TRAIN } loss_param { ignore_label: 255 normalize: true "
      "} }");
  return net.Text();
}

}  // namespace lseg
