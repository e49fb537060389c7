// The layer types that belong to this model rather than to the framework.
#pragma once

#include "framework/layer.h"

namespace lseg {

inline constexpr char kImageLabelmapData[] = "ImageLabelmapData";

void AddLayers(LayerRegistry& registry);

// Whether an ImageLabelmapData layer feeds the net in a phase.
bool HasDataLayer(const NetDefinition& definition, caffe::Phase phase);

}  // namespace lseg
