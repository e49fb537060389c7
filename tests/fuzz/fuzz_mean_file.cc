// The image of a mean_file (.binaryproto).
#include "lseg/caffe_transform.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lseg;
  fuzz::Accepts([&] {
    caffe::TransformationParameter param;
    param.set_mean_file(fuzz::PathOf(data, size));
    const CaffeTransform transform(param, /*training=*/false, "net.prototxt");
    fuzz::Require(transform.ChannelMeans().size() == 3, "a mean for each of three channels");
  });
  return 0;
}
