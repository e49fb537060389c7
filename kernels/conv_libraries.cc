#include "kernels/conv_libraries.h"

#if LSEG_WITH_CUDA
#include "kernels/cuda/engine_library.h"
#endif

namespace lseg {
namespace {

const std::vector<ConvEngine>& Engines(const Context& context) {
#if LSEG_WITH_CUDA
  if (context.device() == Device::kCuda) return cuda::LibraryEngines(context);
#endif
  LSEG_FAIL("convolution engines cudnn and cublas are of device cuda, not of "
            << ToString(context.device()));
}

// What an engine says itself of a case that it does not support; it may say nothing.
std::string WhyNot(const ConvEngine& engine, const Context& context, const ConvParams& params,
                   ConvDirection direction, ConvFormats formats) {
  if (params.HasStageEnd()) return "";
  try {
    engine.make(context, params, direction, formats);
  } catch (const Error& error) {
    return std::string(": ") + error.what();
  }
  return "";
}

}  // namespace

bool IsLibraryConvEngine(const std::string& name) { return name == "cudnn" || name == "cublas"; }

std::vector<std::string> LibraryConvEngines(const Context& context, const ConvParams& params,
                                            ConvDirection direction, ConvFormats formats) {
  params.Validate();
  std::vector<std::string> names;
  for (const ConvEngine& engine : Engines(context)) {
    if (params.HasStageEnd() && !engine.stage_end) continue;
    if (engine.supports(context, params, direction, formats)) names.push_back(engine.name);
  }
  return names;
}

std::unique_ptr<ConvPlan> MakeLibraryConvPlan(const Context& context, const ConvParams& params,
                                              ConvDirection direction, ConvFormats formats,
                                              const std::string& engine) {
  params.Validate();
  for (const ConvEngine& e : Engines(context)) {
    if (e.name != engine) continue;
    const bool fits =
        (!params.HasStageEnd() || e.stage_end) && e.supports(context, params, direction, formats);
    LSEG_CHECK(fits, "convolution engine '"
                         << engine << "' does not support " << ToString(direction) << " from "
                         << ToString(params.src) << " " << ToString(formats.src) << " "
                         << ToString(formats.src_dtype) << " with weights "
                         << ToString(params.Weight()) << " to " << ToString(formats.dst) << " "
                         << ToString(formats.dst_dtype)
                         << (params.HasStageEnd() ? ", as the end of a stage" : "")
                         << WhyNot(e, context, params, direction, formats));
    return e.make(context, params, direction, formats);
  }
  LSEG_FAIL("convolution engine '" << engine << "' is not in the library of engines");
}

}  // namespace lseg
