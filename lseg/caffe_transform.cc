#include "lseg/caffe_transform.h"

#include <algorithm>
#include <numeric>

#include "framework/file.h"

namespace lseg {
namespace {

// The shape of a blob that stands for one image, in either of Caffe's spellings.
std::vector<int64_t> ImageShape(const caffe::BlobProto& blob) {
  std::vector<int64_t> shape(blob.shape().dim().begin(), blob.shape().dim().end());
  if (!blob.has_shape()) shape = {blob.num(), blob.channels(), blob.height(), blob.width()};
  if (shape.size() == 4 && shape[0] == 1) shape.erase(shape.begin());
  return shape;
}

}  // namespace

CaffeTransform::CaffeTransform(const caffe::TransformationParameter& param, bool training,
                               const std::string& definition_file)
    : training_(training),
      mirror_(param.mirror()),
      crop_size_(static_cast<int>(param.crop_size())),
      scale_(param.scale()) {
  LSEG_CHECK(!param.force_gray(), "force_gray is not supported: photographs are in colour");
  LSEG_CHECK(!param.has_mean_file() || param.mean_value_size() == 0,
             "mean_file and mean_value are both given: use one of them");
  const int values = param.mean_value_size();
  LSEG_CHECK(values == 0 || values == 1 || values == 3,
             "mean_value is given " << values << " times: once, or once a channel (B, G, R)");
  for (int c = 0; c < 3 && values > 0; ++c) mean_value_[c] = param.mean_value(values == 1 ? 0 : c);
  if (!param.has_mean_file()) return;

  const std::string path = ResolvePath(param.mean_file(), definition_file);
  caffe::BlobProto blob;
  LSEG_CHECK(blob.ParseFromString(ReadFile(path)),
             path << ": is no BlobProto (a mean image as Caffe "
                     "writes it)");
  const std::vector<int64_t> shape = ImageShape(blob);
  const bool image = shape.size() == 3 && shape[0] == 3 && shape[1] > 0 && shape[2] > 0 &&
                     shape[1] < 65536 && shape[2] < 65536;
  LSEG_CHECK(image && blob.data_size() == 3 * shape[1] * shape[2],
             path << ": a mean image must be 3 x height x width, with as many values; this has "
                  << blob.data_size() << " values");
  mean_height_ = static_cast<int>(shape[1]);
  mean_width_ = static_cast<int>(shape[2]);
  mean_image_.assign(blob.data().begin(), blob.data().end());
}

CaffeTransform::Draw CaffeTransform::Next(int width, int height, Random& random) const {
  Draw draw;
  // All three are drawn, so that a sample's numbers do not depend on what is switched on.
  const uint32_t mirror = random.Below(2), top = random.Bits(), left = random.Bits();
  draw.mirror = mirror_ && mirror == 1;
  if (crop_size_ == 0) return draw;
  LSEG_CHECK(width >= crop_size_ && height >= crop_size_,
             "is " << width << "x" << height << ", smaller than crop_size " << crop_size_);
  const int room_x = width - crop_size_, room_y = height - crop_size_;
  const auto place = [&](uint32_t bits, int room) {
    return training_ ? static_cast<int>((uint64_t{bits} * (room + 1)) >> 32) : room / 2;
  };
  draw.left = place(left, room_x);
  draw.top = place(top, room_y);
  return draw;
}

void CaffeTransform::Apply(const Image& photo, const Image& class_map, const Draw& draw,
                           float* data, uint8_t* label) const {
  LSEG_CHECK(mean_image_.empty() || (mean_width_ == photo.width && mean_height_ == photo.height),
             "is " << photo.width << "x" << photo.height << ", the image of mean_file "
                   << mean_width_ << "x" << mean_height_);
  const int width = OutputWidth(photo.width), height = OutputHeight(photo.height);
  const int64_t plane = int64_t{width} * height;
  const int64_t mean_plane = int64_t{mean_width_} * mean_height_;
  for (int y = 0; y < height; ++y) {
    const uint8_t* source = photo.Row(draw.top + y);
    const uint8_t* classes = class_map.Row(draw.top + y);
    for (int x = 0; x < width; ++x) {
      const int from = draw.left + x;
      const int64_t to = int64_t{y} * width + (draw.mirror ? width - 1 - x : x);
      label[to] = classes[from];
      for (int c = 0; c < 3; ++c) {
        const int64_t at = c * mean_plane + int64_t{draw.top + y} * mean_width_ + from;
        const float mean = mean_image_.empty() ? mean_value_[c] : mean_image_[at];
        data[c * plane + to] = (static_cast<float>(source[3 * from + 2 - c]) - mean) * scale_;
      }
    }
  }
}

std::vector<float> CaffeTransform::ChannelMeans() const {
  if (mean_image_.empty()) return {mean_value_, mean_value_ + 3};
  std::vector<float> means;
  const auto plane = static_cast<int64_t>(mean_image_.size() / 3);
  for (int c = 0; c < 3; ++c) {
    const auto begin = mean_image_.begin() + c * plane;
    means.push_back(static_cast<float>(std::accumulate(begin, begin + plane, 0.0) /
                                       static_cast<double>(plane)));
  }
  return means;
}

}  // namespace lseg
