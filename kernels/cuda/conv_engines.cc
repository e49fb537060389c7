#include "kernels/cuda/conv_engines.h"

#include "kernels/cuda/conv_gemm.h"

namespace lseg::cuda {

const std::vector<ConvEngine>& ConvEngines() {
  static const std::vector<ConvEngine> kEngines = [] {
    std::vector<ConvEngine> engines = {
        {"first_layer", SupportsConvFirst, MakeConvFirst},
        {"score", SupportsConvScore, MakeConvScore},
        {"planes", SupportsConvPlanes, MakeConvPlanes},
        {"implicit_gemm_weights", SupportsConvWeights, MakeConvWeights},
        {.name = "wgmma_weights",
         .supports = SupportsConvWeightsWgmma,
         .make = MakeConvWeightsWgmma,
         .unproven = true},
    };
    for (const ConvEngine& engine : ConvGemmEngines()) engines.push_back(engine);
    engines.push_back({"simt_weights", SupportsConvWeightsSimt, MakeConvWeightsSimt});
    engines.push_back({"direct", SupportsConvDirect, MakeConvDirect});
    return engines;
  }();
  return kEngines;
}

}  // namespace lseg::cuda
