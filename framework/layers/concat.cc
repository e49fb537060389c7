// Concat: several bottoms one after the other along an axis.
#include "framework/layers/layers.h"

namespace lseg {

void BuildConcat(LayerBuilder& builder) {
  const caffe::ConcatParameter& param = builder.param().concat_param();
  LSEG_LAYER_CHECK(builder, !(param.has_axis() && param.has_concat_dim()),
                   "axis and concat_dim (its old name) are both given");
  const int axis = ReadAxis(builder, param.has_concat_dim() ? param.concat_dim() : param.axis());
  Shape dst = builder.BottomShape(0);
  AxisOf(dst, axis) = 0;
  for (int i = 0; i < builder.bottoms(); ++i) {
    Shape src = builder.BottomShape(i), others = src;
    AxisOf(dst, axis) += AxisOf(src, axis);
    AxisOf(others, axis) = AxisOf(dst, axis);
    LSEG_LAYER_CHECK(builder, others == dst,
                     "bottom '" << builder.param().bottom(i) << "' is " << ToString(src)
                                << ", bottom '" << builder.param().bottom(0) << "' is "
                                << ToString(builder.BottomShape(0)) << ": only axis " << axis
                                << " may differ");
  }
  std::vector<BoxCopyPart> parts;
  std::vector<TensorId> inputs;
  int64_t at = 0;
  for (int i = 0; i < builder.bottoms(); ++i) {
    BoxCopyParams copy;
    copy.src = copy.box = builder.BottomShape(i);
    copy.dst = dst;
    AxisOf(copy.dst_at, axis) = at;
    at += AxisOf(copy.src, axis);
    parts.push_back({i, 0, copy});
    inputs.push_back(BottomAs(builder, i, DType::kF32));
  }
  const TensorId top = builder.AddTop(0, dst);
  builder.AddNode(MakeBoxCopyOp("concat", std::move(parts)), std::move(inputs), {top});
}

}  // namespace lseg
