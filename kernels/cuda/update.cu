// Bound by memory: the norm reads 4 bytes a parameter, SGD moves 20 (gradient read; value and
// velocity read and written), Adam 28. A net has many small parameters: all of them are one launch,
// their table an argument of the kernel, a block a chunk of one of them.
#include <algorithm>
#include <array>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/update.h"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 256, kFinishThreads = 1024;
constexpr int kTensors = 128;             // of a launch
constexpr int64_t kStep = kThreads * 16;  // elements; chunks are multiples of it

struct Table {
  int tensors = 0;
  bool vectors = true;  // all memory is aligned to 16 bytes
  int64_t chunk = kStep;
  int32_t end[kTensors];  // the block behind each tensor's last
  UpdateTensor tensor[kTensors];

  int Blocks() const { return tensors == 0 ? 0 : end[tensors - 1]; }
};

// What a block works on.
struct Chunk {
  const UpdateTensor& tensor;
  int64_t begin, end;
};

__device__ Chunk ChunkOfBlock(const Table& table) {
  const int block = static_cast<int>(blockIdx.x);
  int low = 0, high = table.tensors - 1;  // the first tensor whose end is behind the block
  while (low < high) {
    const int middle = (low + high) / 2;
    if (table.end[middle] > block) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  const int64_t begin = (block - (low == 0 ? 0 : table.end[low - 1])) * table.chunk;
  return {table.tensor[low], begin, min(begin + table.chunk, table.tensor[low].count)};
}

// Calls run(width, at) for the chunk's elements, in vectors of kWidth and then one by one.
template <int kWidth, class Run>
__device__ void ForChunk(const Chunk& chunk, Run run) {
  const int64_t vectors_end = chunk.begin + (chunk.end - chunk.begin) / kWidth * kWidth;
#pragma unroll 4
  for (int64_t at = chunk.begin + threadIdx.x * kWidth; at < vectors_end; at += kThreads * kWidth) {
    run(std::integral_constant<int, kWidth>{}, at);
  }
  const int64_t rest = vectors_end + threadIdx.x;
  if (kWidth > 1 && rest < chunk.end) run(std::integral_constant<int, 1>{}, rest);
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    SumSquares(const __grid_constant__ Table table, double* parts) {
  const Chunk chunk = ChunkOfBlock(table);
  double sum = 0;
  ForChunk<kWidth>(chunk, [&](auto width, int64_t at) {
    const auto grad = Load<decltype(width)::value>(chunk.tensor.grad + at);
    for (const float g : grad.at) sum += static_cast<double>(g) * g;
  });
  sum = BlockSum<kThreads>(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

struct Losses {
  int count = 0;
  const float* loss[kMostLosses];
};

__global__ void __launch_bounds__(kFinishThreads)
    FinishNorm(int count, const double* parts, const float* loss_scale,
               const __grid_constant__ Losses losses, float* norm) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += kFinishThreads) sum += parts[i];
  sum = BlockSum<kFinishThreads>(sum);
  if (threadIdx.x == 0) {
    float value = static_cast<float>(sqrt(sum) / (loss_scale == nullptr ? 1.0f : *loss_scale));
    for (int i = 0; i < losses.count; ++i) {
      if (!isfinite(*losses.loss[i])) value = NAN;
    }
    *norm = value;
  }
}

// What a step does to every element of one tensor.
struct Factors {
  float gradient;  // clipping, and 1 / (iter_size * loss scale)
  float decay;
  float rate;  // learning rate * lr_mult, Adam's correction included
};

// sqrt(1 - beta2^t) / (1 - beta1^t)
__device__ double AdamCorrection(const UpdateParams& params, int iteration) {
  const double t = iteration + 1.0;
  return sqrt(1.0 - pow(static_cast<double>(params.momentum2), t)) /
         (1.0 - pow(static_cast<double>(params.momentum), t));
}

__device__ Factors FactorsOf(const UpdateParams& params, const UpdateTensor& tensor,
                             const StepState& step, const float* norm, const float* loss_scale) {
  const bool clips = params.clip_gradients >= 0 && *norm > params.clip_gradients;
  const double correction =
      params.method == UpdateParams::Method::kAdam ? AdamCorrection(params, step.iteration) : 1.0;
  const float divisor =
      static_cast<float>(params.iter_size) * (loss_scale == nullptr ? 1.0f : *loss_scale);
  return {(clips ? params.clip_gradients / *norm : 1.0f) / divisor,
          params.weight_decay * tensor.decay_mult,
          static_cast<float>(step.learning_rate * tensor.lr_mult * correction)};
}

template <int kWidth, bool kAdam, bool kL1>
__global__ void __launch_bounds__(kThreads)
    UpdateChunks(const __grid_constant__ Table table, const __grid_constant__ UpdateParams params,
                 const StepState* step, const float* norm, const float* loss_scale) {
  if (norm != nullptr && !isfinite(*norm)) return;
  const Chunk chunk = ChunkOfBlock(table);
  const UpdateTensor& tensor = chunk.tensor;
  __shared__ Factors shared_factors;  // powers in double: once a block
  if (threadIdx.x == 0) shared_factors = FactorsOf(params, tensor, *step, norm, loss_scale);
  __syncthreads();
  const Factors f = shared_factors;
  ForChunk<kWidth>(chunk, [&](auto width, int64_t at) {
    constexpr int kElements = decltype(width)::value;
    const auto grad = Load<kElements>(tensor.grad + at);
    auto value = Load<kElements>(tensor.value + at);
    auto state1 = Load<kElements>(tensor.state1 + at), state2 = state1;
    if constexpr (kAdam) state2 = Load<kElements>(tensor.state2 + at);
    for (int i = 0; i < kElements; ++i) {
      float& w = value.at[i];
      const float sign = w > 0 ? 1.0f : w < 0 ? -1.0f : 0.0f;
      const float g = grad.at[i] * f.gradient + f.decay * (kL1 ? sign : w);
      float& m = state1.at[i];
      if constexpr (kAdam) {
        float& v = state2.at[i];
        m = params.momentum * m + (1.0f - params.momentum) * g;
        v = params.momentum2 * v + (1.0f - params.momentum2) * (g * g);
        w -= f.rate * (m / (sqrtf(v) + params.delta));
      } else {
        m = params.momentum * m + f.rate * g;
        w -= m;
      }
    }
    Store(tensor.value + at, value);
    Store(tensor.state1 + at, state1);
    if constexpr (kAdam) Store(tensor.state2 + at, state2);
  });
}

bool AllAligned(const UpdateTensor& t) {
  return IsAligned(t.value, 16) && IsAligned(t.grad, 16) && IsAligned(t.state1, 16) &&
         IsAligned(t.state2, 16);
}

// Tables of all tensors with a gradient, so that `most_blocks` suffice for all chunks.
std::vector<Table> TablesOf(const std::vector<UpdateTensor>& tensors, int64_t most_blocks) {
  int64_t elements = 0, used = 0;
  for (const UpdateTensor& t : tensors) {
    if (t.grad == nullptr || t.count == 0) continue;
    elements += t.count;
    ++used;
  }
  LSEG_CHECK(used < most_blocks,
             "update: " << used << " parameters; a GPU's step takes fewer than " << most_blocks);
  const int64_t chunk =
      std::max<int64_t>(1, CeilDiv(elements, kStep * (most_blocks - used))) * kStep;
  std::vector<Table> tables;
  for (const UpdateTensor& t : tensors) {
    if (t.grad == nullptr || t.count == 0) continue;
    if (tables.empty() || tables.back().tensors == kTensors) tables.emplace_back().chunk = chunk;
    Table& table = tables.back();
    table.vectors = table.vectors && AllAligned(t);
    table.end[table.tensors] = table.Blocks() + static_cast<int32_t>(CeilDiv(t.count, chunk));
    table.tensor[table.tensors++] = t;
  }
  return tables;
}

}  // namespace

void GradientNorm(Context& context, const std::vector<UpdateTensor>& tensors, float* norm,
                  const float* loss_scale, const std::vector<const float*>& losses) {
  auto* parts = static_cast<double*>(Scratch(context));
  int count = 0;
  for (const Table& table : TablesOf(tensors, kScratchBytes / sizeof(double))) {
    const auto launch = [&](auto kernel) {
      kernel<<<table.Blocks(), kThreads, 0, StreamOf(context)>>>(table, parts + count);
    };
    table.vectors ? launch(SumSquares<4>) : launch(SumSquares<1>);
    CheckLaunch("sums of squares");
    count += table.Blocks();
  }
  Losses table;
  for (const float* loss : losses) table.loss[table.count++] = loss;
  FinishNorm<<<1, kFinishThreads, 0, StreamOf(context)>>>(count, parts, loss_scale, table, norm);
  CheckLaunch("gradient norm");
}

void Update(Context& context, const UpdateParams& params, const std::vector<UpdateTensor>& tensors,
            const StepState* step, const float* norm, const float* loss_scale) {
  const bool adam = params.method == UpdateParams::Method::kAdam;
  const bool l1 = params.regularization == UpdateParams::Regularization::kL1;
  for (const Table& table : TablesOf(tensors, INT32_MAX)) {
    const auto launch = [&](auto kernel) {
      kernel<<<table.Blocks(), kThreads, 0, StreamOf(context)>>>(table, params, step, norm,
                                                                 loss_scale);
    };
    const auto with_width = [&](auto width) {
      if (adam) {
        l1 ? launch(UpdateChunks<width(), true, true>) : launch(UpdateChunks<width(), true, false>);
      } else {
        l1 ? launch(UpdateChunks<width(), false, true>)
           : launch(UpdateChunks<width(), false, false>);
      }
    };
    if (table.vectors) {
      with_width(std::integral_constant<int, 4>{});
    } else {
      with_width(std::integral_constant<int, 1>{});
    }
    CheckLaunch("update");
  }
}

}  // namespace lseg::cuda
