#include "lseg/image_labelmap_source.h"

#include "framework/file.h"
#include "framework/text.h"

namespace lseg {
namespace {

constexpr uint64_t kSkipStream = uint64_t{1} << 63;

void CheckFields(const caffe::ImageDataParameter& param) {
  LSEG_CHECK(param.has_source(), "image_data_param needs source: a list with `image label` a line");
  LSEG_CHECK(param.batch_size() > 0 && param.batch_size() < 65536,
             "batch_size " << param.batch_size() << " must be from 1 to 65535");
  LSEG_CHECK((param.new_width() > 0) == (param.new_height() > 0),
             "new_width and new_height go together");
  LSEG_CHECK(param.new_width() < 65536 && param.new_height() < 65536,
             "new_width and new_height must be below 65536");
  LSEG_CHECK(param.is_color(), "is_color: false is not supported: photographs are in colour");
  for (const char* field : {"scale", "mean_file", "crop_size", "mirror"}) {
    const auto* descriptor = param.GetDescriptor()->FindFieldByName(field);
    LSEG_CHECK(!param.GetReflection()->HasField(param, descriptor),
               "image_data_param." << field << " is the spelling before 2014: write it in "
                                   << "transform_param");
  }
}

}  // namespace

ImageLabelmapSource::ImageLabelmapSource(const caffe::LayerParameter& layer,
                                         const std::string& definition_file, uint64_t seed)
    : transform_(layer.transform_param(), layer.phase() == caffe::TRAIN, definition_file),
      batch_size_(static_cast<int>(layer.image_data_param().batch_size())),
      new_width_(static_cast<int>(layer.image_data_param().new_width())),
      new_height_(static_cast<int>(layer.image_data_param().new_height())),
      seed_(seed) {
  const caffe::ImageDataParameter& param = layer.image_data_param();
  CheckFields(param);
  ReadSource(ResolvePath(param.source(), definition_file), param.root_folder());
  order_.emplace(seed, images(), param.shuffle());
  if (param.rand_skip() > 0) {
    Random random(seed, kSkipStream);
    skip_ = random.Below(param.rand_skip());
    LSEG_CHECK(skip_ < images(), "rand_skip " << param.rand_skip() << " would leave out all of the "
                                              << images() << " images");
  }
  Image photo, class_map;
  Read(entries_[0], &photo, &class_map);
  image_width_ = photo.width;
  image_height_ = photo.height;
  width_ = transform_.OutputWidth(photo.width);
  height_ = transform_.OutputHeight(photo.height);
}

void ImageLabelmapSource::ReadSource(const std::string& path, const std::string& root_folder) {
  entries_ = ReadList(
      path, [&](const std::string& listed) { return ResolvePath(root_folder + listed, path); });
  for (const ListEntry& entry : entries_) {
    LSEG_CHECK(entry.masks.empty(), path << ": names masks for " << entry.image
                                         << "; ImageLabelmapData reads a class map an image");
  }
}

void ImageLabelmapSource::Read(const ListEntry& entry, Image* photo, Image* class_map) const {
  *photo = ReadPhoto(entry.image);
  *class_map = ReadClassMap(entry.label);
  LSEG_CHECK(photo->width == class_map->width && photo->height == class_map->height,
             entry.image << " is " << photo->width << "x" << photo->height << ", its label "
                         << entry.label << " " << class_map->width << "x" << class_map->height);
  if (new_width_ == 0) return;
  *photo = Resize(*photo, new_width_, new_height_);
  *class_map = ResizeNearest(*class_map, new_width_, new_height_);
}

std::vector<TensorDesc> ImageLabelmapSource::Blobs() const {
  return {{Shape{batch_size_, 3, height_, width_}},
          {Shape{batch_size_, 1, height_, width_}, DType::kU8}};
}

void ImageLabelmapSource::Fill(int64_t iteration, std::span<void* const> blobs) {
  float* data = static_cast<float*>(blobs[0]);
  uint8_t* label = static_cast<uint8_t*>(blobs[1]);
  const int64_t plane = int64_t{width_} * height_;
  for (int64_t b = 0; b < batch_size_; ++b) {
    const int64_t sample = iteration * batch_size_ + b;
    const ListEntry& entry = entries_[order_->ImageOf(sample + skip_)];
    Image photo, class_map;
    Read(entry, &photo, &class_map);
    NamingFile(entry.image, [&] {
      Random random(seed_, static_cast<uint64_t>(sample));
      const CaffeTransform::Draw draw = transform_.Next(photo.width, photo.height, random);
      LSEG_CHECK(transform_.OutputWidth(photo.width) == width_ &&
                     transform_.OutputHeight(photo.height) == height_,
                 "is " << photo.width << "x" << photo.height << ", the first image of the list "
                       << width_ << "x" << height_
                       << ": give crop_size, or new_width and new_height");
      transform_.Apply(photo, class_map, draw, data + 3 * b * plane, label + b * plane);
    });
  }
}

std::unique_ptr<ImageLabelmapSource> MakeImageLabelmapSource(const NetDefinition& definition,
                                                             int index, int64_t seed) {
  try {
    return std::make_unique<ImageLabelmapSource>(definition.layer(index), definition.name(),
                                                 static_cast<uint64_t>(seed));
  } catch (const Error& error) {
    throw Error(definition.Where(index, "image_data_param") + ": " + error.what());
  }
}

}  // namespace lseg
