// Slice: one bottom cut into several tops along an axis, at slice_point or into equal parts.
#include "framework/layers/layers.h"

namespace lseg {

void BuildSlice(LayerBuilder& builder) {
  const caffe::SliceParameter& param = builder.param().slice_param();
  LSEG_LAYER_CHECK(builder, !(param.has_axis() && param.has_slice_dim()),
                   "axis and slice_dim (its old name) are both given");
  const int axis = ReadAxis(builder, param.has_slice_dim() ? param.slice_dim() : param.axis());
  Shape src = builder.BottomShape(0);
  const int64_t size = AxisOf(src, axis);
  const int tops = builder.tops();
  std::vector<int64_t> points = {0};
  if (param.slice_point_size() > 0) {
    LSEG_LAYER_CHECK(builder, param.slice_point_size() == tops - 1,
                     param.slice_point_size()
                         << " slice points cut into " << param.slice_point_size() + 1
                         << " parts, but there are " << tops << " tops");
    points.insert(points.end(), param.slice_point().begin(), param.slice_point().end());
    points.push_back(size);
  } else {
    LSEG_LAYER_CHECK(builder, size % tops == 0,
                     size << " does not divide into " << tops << " equal tops along axis " << axis);
    for (int i = 1; i <= tops; ++i) points.push_back(size / tops * i);
  }
  const TensorId bottom = BottomAs(builder, 0, DType::kF32);
  std::vector<BoxCopyPart> parts;
  std::vector<TensorId> outputs;
  for (int i = 0; i < tops; ++i) {
    LSEG_LAYER_CHECK(builder, points[i] < points[i + 1] && points[i + 1] <= size,
                     "slice points must grow and stay below " << size << " along axis " << axis);
    BoxCopyParams copy;
    copy.src = copy.dst = src;
    AxisOf(copy.dst, axis) = points[i + 1] - points[i];
    copy.box = copy.dst;
    AxisOf(copy.src_at, axis) = points[i];
    parts.push_back({0, i, copy});
    outputs.push_back(builder.AddTop(i, copy.dst));
  }
  builder.AddNode(MakeBoxCopyOp("slice", std::move(parts)), {bottom}, std::move(outputs));
}

}  // namespace lseg
