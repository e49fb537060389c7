// ImageLabelmapSource: what an ImageLabelmapData layer gives a net, to the letter of its
// definition.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/data_source.h"
#include "framework/definition.h"
#include "lseg/caffe_transform.h"
#include "lseg/dataset.h"
#include "lseg/sample_order.h"

namespace lseg {

// Blobs: data (N,3,H,W) f32 and label (N,1,H,W) u8, the classes of the label map.
//
// `source` is a list as in lseg/dataset.h, but both paths of a line are put behind root_folder, and
// looked for beside the list first, then from the working directory. Images come in the order of
// the list, or, with `shuffle`, in an order of its own for each pass over it. With new_height and
// new_width photographs are resampled with Resize and label maps with ResizeNearest: interpolated
// between two classes a label would name a third. One batch has one size, so without crop_size all
// images of the list must have the first one's.
class ImageLabelmapSource : public DataSource {
 public:
  // `definition_file` is where relative paths are looked for first. Reads the list and its first
  // image. Throws Error for fields that contradict one another, and naming the file at fault.
  ImageLabelmapSource(const caffe::LayerParameter& layer, const std::string& definition_file,
                      uint64_t seed);

  std::vector<TensorDesc> Blobs() const override;
  void Fill(int64_t iteration, std::span<void* const> blobs) override;

  int batch_size() const { return batch_size_; }
  int64_t images() const { return static_cast<int64_t>(entries_.size()); }
  const CaffeTransform& transform() const { return transform_; }
  // Of the images before they are cut to crop_size, going by the first.
  int image_width() const { return image_width_; }
  int image_height() const { return image_height_; }

 private:
  void ReadSource(const std::string& path, const std::string& root_folder);
  void Read(const ListEntry& entry, Image* photo, Image* class_map) const;
  CaffeTransform transform_;
  int batch_size_, new_width_, new_height_;
  uint64_t seed_;
  int64_t skip_ = 0;  // samples left out at the start (rand_skip)
  std::vector<ListEntry> entries_;
  std::optional<SampleOrder> order_;
  int image_width_ = 0, image_height_ = 0;
  int width_ = 0, height_ = 0;  // of a sample
};

// The source of layer `index` of a definition that is filtered for its phase. Errors name the
// layer.
std::unique_ptr<ImageLabelmapSource> MakeImageLabelmapSource(const NetDefinition& definition,
                                                             int index, int64_t seed);

}  // namespace lseg
