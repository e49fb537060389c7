// ImageLabelmapData: photographs and their label maps from a list, as the layer says and no more.
#include "lseg/image_labelmap_source.h"
#include "lseg/layers.h"

namespace lseg {
namespace {

void BuildImageLabelmapData(LayerBuilder& builder) {
  std::unique_ptr<ImageLabelmapSource> source;
  try {
    source = std::make_unique<ImageLabelmapSource>(builder.param(), builder.file(), builder.seed());
  } catch (const Error& error) {
    builder.Fail(error.what(), "image_data_param");
  }
  const std::vector<TensorDesc> blobs = source->Blobs();
  std::vector<TensorId> tensors;
  for (int i = 0; i < 2; ++i) {
    tensors.push_back(builder.AddTop(i, blobs[i].shape, blobs[i].dtype, TensorKind::kInput));
  }
  builder.AddSource(std::move(source), std::move(tensors));
}

}  // namespace

void AddLayers(LayerRegistry& registry) {
  registry.Add({kImageLabelmapData, BuildImageLabelmapData, 0, 0, 2, 2});
}

int FindDataLayer(const NetDefinition& definition) {
  for (int i = 0; i < definition.layer_count(); ++i) {
    if (definition.layer(i).type() == kImageLabelmapData) return i;
  }
  return -1;
}

}  // namespace lseg
