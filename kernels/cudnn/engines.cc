// The one symbol by which liblseg_cudnn.so is used: its table of engines.
#include "kernels/cudnn/engines.h"

extern "C" const std::vector<lseg::ConvEngine>* LsegConvEngines() {
  static const std::vector<lseg::ConvEngine> kEngines = {
      {"cudnn", lseg::cudnn::SupportsConvCudnn, lseg::cudnn::MakeConvCudnn},
      {"cublas", lseg::cudnn::SupportsConvCublas, lseg::cudnn::MakeConvCublas},
  };
  return &kEngines;
}
