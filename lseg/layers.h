// The layer types that belong to this model rather than to the framework.
#pragma once

#include "framework/layer.h"

namespace lseg {

inline constexpr char kImageLabelmapData[] = "ImageLabelmapData";

void AddLayers(LayerRegistry& registry);

// The first ImageLabelmapData layer of a net that is filtered for its state; -1: there is none.
int FindDataLayer(const NetDefinition& definition);

}  // namespace lseg
