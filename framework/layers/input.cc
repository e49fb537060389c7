// Input: blobs that the caller of the net fills.
#include "framework/layers/layers.h"

namespace lseg {

void BuildInput(LayerBuilder& builder) {
  const caffe::InputParameter& param = builder.param().input_param();
  LSEG_LAYER_CHECK(builder, param.shape_size() == 1 || param.shape_size() == builder.tops(),
                   param.shape_size() << " shapes for " << builder.tops()
                                      << " tops: give one for all, or one each");
  for (int i = 0; i < builder.tops(); ++i) {
    const caffe::BlobShape& blob = param.shape(param.shape_size() == 1 ? 0 : i);
    LSEG_LAYER_CHECK(builder, blob.dim_size() >= 1 && blob.dim_size() <= 4,
                     "a shape of " << blob.dim_size() << " dimensions: blobs have one to four");
    Shape shape;
    for (int d = 0; d < blob.dim_size(); ++d) AxisOf(shape, d) = blob.dim(d);
    const TensorDesc desc = builder.InputDesc(i, shape);
    shape = desc.shape;
    LSEG_LAYER_CHECK(builder, shape.n > 0 && shape.c > 0 && shape.h > 0 && shape.w > 0,
                     "the shape " << ToString(shape) << " is empty");
    builder.AddTop(i, shape, desc.dtype, TensorKind::kInput);
  }
}

}  // namespace lseg
