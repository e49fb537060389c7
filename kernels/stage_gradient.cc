#include "kernels/stage_gradient.h"

#include "kernels/runtime/dispatch.h"

namespace lseg {

void StageGradientParams::Validate() const {
  LSEG_CHECK(map.n > 0 && map.c > 0 && map.h > 0 && map.w > 0,
             "stage's gradient: the map " << ToString(map) << " is empty");
  LSEG_CHECK(map.c % 8 == 0 && map.c <= kMostChannels,
             "stage's gradient: " << map.c << " channels; known are multiples of 8 up to "
                                  << kMostChannels);
  LSEG_CHECK(scores >= 1 && scores <= kMostScores,
             "stage's gradient: " << scores << " score channels, known are 1 to " << kMostScores);
}

int64_t StageGradientParams::WorkspaceBytes(const Context& context) const {
  LSEG_ON_CUDA(context, StageGradientWorkspace(context, *this));
  LSEG_FAIL("a stage's gradient is one op on a GPU only");
}

void StageGradient(Context& context, const StageGradientParams& params,
                   const StageGradientArgs& args) {
  params.Validate();
  LSEG_CHECK(!params.pooled || (args.d_pooled != nullptr && args.argmax != nullptr),
             "stage's gradient: what comes from the pooling is missing");
  LSEG_ON_CUDA(context, StageGradient(context, params, args));
  LSEG_FAIL("a stage's gradient is one op on a GPU only");
}

}  // namespace lseg
