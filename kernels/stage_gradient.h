// The gradient of a stage's last map, which two layers read, the pooling behind it and its score
// layer (1x1, few outputs), together with the score layer's own gradients: one pass over the map,
// where the three ops it stands for make three, and write what they give to each other.
//
//   d_map[n,c,y,x] = [map > 0] ( sum over k of weight[k,c] d_score[n,k,y,x]
//                               + [argmax is here] d_pooled[n,c,y/2,x/2] )
//   d_weight[k,c]  = sum over n,y,x of d_score[n,k,y,x] map[n,c,y,x]
//   d_bias[k]      = sum over n,y,x of d_score[n,k,y,x]
//
// Memory bounds it: the map and d_pooled are read once, d_map is written. On a GPU only: a CPU's
// context is an Error.
#pragma once

#include <cstdint>

#include "kernels/conv.h"
#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/shape.h"

namespace lseg {

struct StageGradientParams {
  static constexpr int64_t kMostChannels = 512;

  Shape map;                  // at most kMostChannels
  int64_t scores = 0;         // outputs of the score layer, at most kMostScores
  bool pooled = false;        // maxima over windows of 2x2 with stride 2, sizes rounded up
  bool relu = false;          // the map came out of a ReLU, whose gradient is taken, too
  DType dtype = DType::kF32;  // of map, d_map, d_pooled

  // Throws Error with the rule that broke.
  void Validate() const;
  Shape Pooled() const { return {map.n, map.c, (map.h + 1) / 2, (map.w + 1) / 2}; }
  // Bytes that a run needs besides.
  int64_t WorkspaceBytes(const Context& context) const;
};

// Memory of the context's device. d_score: (N, scores, H, W), f32, NCHW. weight, d_weight: (scores,
// C). argmax: as PoolForward leaves it, laid out as d_pooled. All but d_score and d_bias are
// aligned to 16 bytes.
struct StageGradientArgs {
  const void* map = nullptr;
  const float* d_score = nullptr;
  const float* weight = nullptr;
  const void* d_pooled = nullptr;   // null where not pooled
  const uint8_t* argmax = nullptr;  // likewise
  void* d_map = nullptr;            // written
  float* d_weight = nullptr;        // by its mode, not kSkip
  float* d_bias = nullptr;          // by the same, may be null
  GradMode d_weight_mode = GradMode::kWrite;
  void* workspace = nullptr;
};

// An element of d_map is rounded once. The order of all sums depends on the shape and on the GPU's
// multiprocessors only.
void StageGradient(Context& context, const StageGradientParams& params,
                   const StageGradientArgs& args);

}  // namespace lseg
