// Engines of NVIDIA's libraries, in a library of their own (kernels/cudnn): loaded by the first
// that asks for one by name, so that nobody else needs cuDNN or cuBLAS, or waits for them.
#pragma once

#include <string>
#include <vector>

#include "kernels/conv.h"

namespace lseg::cuda {

// The library's engines. An Error says what is missing and where it was looked for, and where the
// device is softgpu that it has neither library.
const std::vector<ConvEngine>& LibraryEngines(const Context& context);

// Loads the library from this program's kernels' folder or the library path, whatever the device.
// cuDNN and cuBLAS themselves are looked for on the library path, in the folders of
// $LSEG_NVIDIA_LIBRARIES (colons between), and in Python's nvidia packages beside the python3s of
// $PATH.
const std::vector<ConvEngine>& LoadEngineLibrary(const std::string& file_name);

}  // namespace lseg::cuda
