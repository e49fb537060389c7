// transform_param as Caffe applies it to an image: crop, mirror, subtract a mean, scale. Nothing is
// added to it: this is what reproduces a published definition (lseg/augment.h is what trains well).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/proto/caffe.pb.h"
#include "kernels/runtime/random.h"
#include "lseg/image.h"

namespace lseg {

class CaffeTransform {
 public:
  // Reads the parameters and, where there is one, the mean file (a binary BlobProto), which is
  // looked for beside `definition_file` first. Throws Error for mean_file beside mean_value, a
  // number of mean_value other than 1 and 3, force_gray, and a mean file that cannot be read.
  CaffeTransform(const caffe::TransformationParameter& param, bool training,
                 const std::string& definition_file);

  // Where a sample is cut and whether it is mirrored.
  struct Draw {
    int left = 0, top = 0;
    bool mirror = false;
  };

  // By Caffe's rules: in training a crop lies anywhere in the image, otherwise in its middle;
  // mirror is for half of the samples, in every phase. Throws Error where the image is smaller than
  // the crop.
  Draw Next(int width, int height, Random& random) const;

  // Size of what Apply writes, for an image of this size.
  int OutputWidth(int width) const { return crop_size_ > 0 ? crop_size_ : width; }
  int OutputHeight(int height) const { return crop_size_ > 0 ? crop_size_ : height; }

  // data (3, h, w), B G R = (value - mean) * scale; label (1, h, w): the classes as they are. A
  // mean file's values are those under the crop; its size must be the image's.
  void Apply(const Image& photo, const Image& class_map, const Draw& draw, float* data,
             uint8_t* label) const;

  // The mean of each channel, B G R; of a mean file, over its pixels.
  std::vector<float> ChannelMeans() const;
  float scale() const { return scale_; }
  bool has_mean_file() const { return !mean_image_.empty(); }

 private:
  bool training_, mirror_;
  int crop_size_;
  float scale_;
  float mean_value_[3] = {0, 0, 0};  // B G R
  int mean_width_ = 0, mean_height_ = 0;
  std::vector<float> mean_image_;  // (3, h, w), B G R; empty: mean_value_
};

}  // namespace lseg
