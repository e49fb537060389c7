// Convolution engines of NVIDIA's libraries: "cudnn" and "cublas", on a GPU where these libraries
// are installed. They are in no table and never chosen by themselves: own kernels are the default,
// and nobody should wait for a library of hundreds of megabytes who did not ask for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/conv.h"

namespace lseg {

bool IsLibraryConvEngine(const std::string& name);

// Names of those that support a case. An Error where the libraries cannot be had: another device
// than a GPU, softgpu, not installed (kernels/cuda/engine_library.h).
std::vector<std::string> LibraryConvEngines(const Context& context, const ConvParams& params,
                                            ConvDirection direction, ConvFormats formats);

// What MakeConvPlan does with their names.
std::unique_ptr<ConvPlan> MakeLibraryConvPlan(const Context& context, const ConvParams& params,
                                              ConvDirection direction, ConvFormats formats,
                                              const std::string& engine);

}  // namespace lseg
