#include "kernels/cuda/conv_engines.h"

namespace lseg::cuda {

const std::vector<ConvEngine>& ConvEngines() {
  static const std::vector<ConvEngine> kEngines = {
      {"direct", SupportsConvDirect, MakeConvDirect},
  };
  return kEngines;
}

}  // namespace lseg::cuda
