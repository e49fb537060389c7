// Crop: bottom 0 cut to the size of bottom 1 along `axis` and the axes after it.
//
// Without an offset the two are aligned by coordinates: both are followed back to their common
// ancestor through the geometry of convolutions, poolings and deconvolutions. (BVLC Caffe would
// take offset 0, which shifts L-Seg's side maps by half a stride.)
#include <cmath>

#include "framework/layers/layers.h"

namespace lseg {
namespace {

int64_t AlignedOffset(LayerBuilder& builder, bool vertical) {
  const AxisMap map = builder.MapBetween(builder.Bottom(1), builder.Bottom(0), vertical);
  LSEG_LAYER_CHECK(builder, std::abs(map.scale - 1) < 1e-9,
                   "bottom 0 has "
                       << 1 / map.scale << " times the resolution of bottom 1 along the "
                       << (vertical ? "height" : "width") << ": Crop needs equal resolutions");
  const double offset = std::round(map.shift);
  LSEG_LAYER_CHECK(
      builder, std::abs(map.shift - offset) < 1e-6,
      "aligning the bottoms needs an offset of " << map.shift << ", which is no whole pixel");
  return static_cast<int64_t>(offset);
}

}  // namespace

void BuildCrop(LayerBuilder& builder) {
  const caffe::CropParameter& param = builder.param().crop_param();
  const int axis = ReadAxis(builder, param.axis());
  const int axes = 4 - axis;
  LSEG_LAYER_CHECK(builder, param.offset_size() <= 1 || param.offset_size() == axes,
                   param.offset_size() << " offsets for " << axes
                                       << " cropped axes: give one for all, or " << axes);
  LSEG_LAYER_CHECK(builder, param.offset_size() > 0 || axis >= 2,
                   "axis " << axis
                           << " needs explicit offsets: only height and width are aligned by "
                              "coordinates");
  BoxCopyParams copy;
  copy.src = builder.BottomShape(0);
  copy.dst = copy.src;
  Shape reference = builder.BottomShape(1);
  for (int a = axis; a < 4; ++a) {
    const int64_t offset = param.offset_size() == 0   ? AlignedOffset(builder, a == 2)
                           : param.offset_size() == 1 ? param.offset(0)
                                                      : param.offset(a - axis);
    const int64_t size = AxisOf(reference, a), whole = AxisOf(copy.src, a);
    LSEG_LAYER_CHECK(builder, offset >= 0 && offset + size <= whole,
                     "offset " << offset << " and size " << size << " do not fit into the " << whole
                               << " of bottom 0 (" << ToString(copy.src) << " cropped to "
                               << ToString(reference) << " along axis " << a << ")");
    AxisOf(copy.dst, a) = size;
    AxisOf(copy.src_at, a) = offset;
  }
  copy.box = copy.dst;
  const TensorId src = BottomAs(builder, 0, DType::kF32);
  const TensorId dst = builder.AddTop(0, copy.dst);
  builder.AddNode(MakeBoxCopyOp("crop", {{0, 0, copy}}), {src}, {dst});
}

}  // namespace lseg
