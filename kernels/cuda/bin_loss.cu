// Forward reads every logit once, and the label once for up to four channels (5 bytes a pixel and
// channel, 4.25 with four): counts and sums of all classes in registers, of a block in double, and
// a second kernel of one block adds the blocks in a fixed order, finds cut-offs and weights, and
// writes the loss. Backward reads the same and writes the gradient. Backward is bound by memory,
// forward by arithmetic: about 80 instructions a logit, fewer where a warp holds easy negatives.
// Losses against one label go by one launch, along the grid's z.
#include "kernels/bin_loss.h"
#include "kernels/bin_loss_cutoff.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/math.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

constexpr int kThreads = 256, kFinishThreads = 1024;
constexpr int kChannels = 4;  // that share a pixel's label
constexpr int kClasses = 6;   // the five bins of negatives, and the positives
constexpr int kPositive = 5;
constexpr int kPixels = static_cast<int>(BinLossParams::kBlockPixels) / kThreads;  // of a thread

// Partial sums of the blocks: sums[(plane * kClasses + class) * blocks + block], counts alike.
struct Parts {
  double* sums;
  int32_t* counts;
};

__device__ Parts PartsOf(const BinLossParams& params, BinLossStats* stats) {
  const int64_t planes = params.logits.n * params.logits.c;
  auto* sums = reinterpret_cast<double*>(stats + planes);
  static_assert(kClasses * (sizeof(double) + sizeof(int32_t)) <= sizeof(BinLossStats));
  return {sums, reinterpret_cast<int32_t*>(sums + planes * kClasses * params.Blocks())};
}

// What a launch takes.
template <class Task>
struct Tasks {
  Task at[kMostBinLosses];
};

// A thread's pixels, kWidth at a time; channels first..first + used - 1 of image n, of a task.
struct Place {
  int64_t n, first, plane;  // plane: pixels of one
  int used, task;

  __device__ explicit Place(const Shape& logits)
      : n(blockIdx.z % logits.n),
        first(int64_t{blockIdx.y} * kChannels),
        plane(logits.h * logits.w),
        used(static_cast<int>(min(int64_t{kChannels}, logits.c - first))),
        task(static_cast<int>(blockIdx.z / logits.n)) {}
};

// Labels of kWidth pixels for the channels of a block; kMasks: each has its own.
template <int kWidth, bool kMasks>
struct Labels {
  Vector<uint8_t, kWidth> of_channel[kMasks ? kChannels : 1];

  __device__ void Read(const BinLossParams& p, const Place& place, const uint8_t* label,
                       int64_t pixel) {
    for (int c = 0; c < (kMasks ? place.used : 1); ++c) {
      const int64_t plane = place.n * p.label.c + (kMasks ? place.first + c : 0);
      of_channel[c] = Load<kWidth>(label + plane * place.plane + pixel);
    }
  }
  __device__ bool IsPositive(const Place& place, int c, int i) const {
    return kMasks ? of_channel[c].at[i] == 1 : of_channel[0].at[i] == place.first + c + 1;
  }
  // left_out: channels of the block that do not count, a bit each.
  __device__ bool AnyAbove(const Place& place, int limit, uint32_t left_out) const {
    bool above = false;
    for (int c = 0; c < (kMasks ? place.used : 1); ++c) {
      if ((left_out >> c & 1) != 0) continue;
      for (const uint8_t value : of_channel[c].at) above = above || value > limit;
    }
    return above;
  }
};

// Channels of the block that the image is not annotated for, a bit each.
template <bool kMasks>
__device__ uint32_t LeftOut(const BinLossParams& p, const Place& place, const uint8_t* label) {
  uint32_t left_out = 0;
  for (int c = 0; kMasks && c < place.used; ++c) {
    const uint8_t value = label[(place.n * p.label.c + place.first + c) * place.plane];
    left_out |= static_cast<uint32_t>(value == kNotAnnotated) << c;
  }
  return left_out;
}

// What a thread gathers: sums by channel and class; counts packed, kBits each.
struct Gathered {
  static constexpr int kBits = 5;  // a thread counts to kPixels
  static_assert(kPixels < 1 << kBits && kBits * kClasses <= 32);
  float sums[kChannels][kClasses] = {};
  uint32_t counts[kChannels] = {};

  // Most pixels are easy negatives, mostly whole warps of them, which skip the choice of a class.
  template <int kWidth>
  __device__ void Add(int channel, const Vector<float, kWidth>& z, const bool (&positive)[kWidth]) {
    constexpr float kBin1 = kBinEdges[0];
    bool easy = true;
    float terms[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      terms[i] = Softplus(positive[i] ? -z.at[i] : z.at[i]);
      easy = easy && !positive[i] && z.at[i] < kBin1;
    }
    if (easy) {
      for (const float term : terms) sums[channel][0] += term;
      counts[channel] += kWidth;
      return;
    }
    for (int i = 0; i < kWidth; ++i) {
      const int kind = positive[i] ? kPositive : BinOf(z.at[i]);
      for (int k = 0; k < kClasses; ++k) sums[channel][k] += kind == k ? terms[i] : 0.0f;
      counts[channel] += 1u << (kBits * kind);
    }
  }
  __device__ int Count(int channel, int kind) const {
    return counts[channel] >> (kBits * kind) & ((1u << kBits) - 1);
  }
};

// Adds the threads' sums and writes the block's part.
__device__ void WriteParts(const BinLossParams& params, const Place& place,
                           const Gathered& gathered, const Parts& parts) {
  constexpr int kWarps = kThreads / 32, kValues = kChannels * kClasses;
  __shared__ double sums[kWarps][kValues];
  __shared__ int32_t counts[kWarps][kValues];
  const int warp = threadIdx.x / 32;
  for (int c = 0; c < kChannels; ++c) {
    for (int k = 0; k < kClasses; ++k) {
      const double sum = WarpSum(static_cast<double>(gathered.sums[c][k]));
      const int count = __reduce_add_sync(kAllLanes, gathered.Count(c, k));
      if (threadIdx.x % 32 != 0) continue;
      sums[warp][c * kClasses + k] = sum;
      counts[warp][c * kClasses + k] = count;
    }
  }
  __syncthreads();
  if (threadIdx.x >= place.used * kClasses) return;
  double sum = 0;
  int32_t count = 0;
  for (int w = 0; w < kWarps; ++w) {
    sum += sums[w][threadIdx.x];
    count += counts[w][threadIdx.x];
  }
  const int64_t row = (place.n * params.logits.c + place.first) * kClasses + threadIdx.x;
  parts.sums[row * params.Blocks() + blockIdx.x] = sum;
  parts.counts[row * params.Blocks() + blockIdx.x] = count;
}

template <int kWidth, bool kMasks>
__global__ void __launch_bounds__(kThreads)
    SumBlocks(const __grid_constant__ BinLossParams params,
              const __grid_constant__ Tasks<BinLossTask> tasks, const uint8_t* label,
              int32_t* fault) {
  const Place place(params.logits);
  const BinLossTask& task = tasks.at[place.task];
  const float* z_of_channel = task.logits + (place.n * params.logits.c + place.first) * place.plane;
  const uint32_t left_out = LeftOut<kMasks>(params, place, label);
  Gathered gathered;
  bool bad = false;
  const int limit = kMasks ? 1 : static_cast<int>(params.logits.c);
#pragma unroll 1
  for (int round = 0; round < kPixels / kWidth; ++round) {
    const int64_t pixel = blockIdx.x * BinLossParams::kBlockPixels +
                          (round * kThreads + threadIdx.x) * int64_t{kWidth};
    if (pixel >= place.plane) break;
    Labels<kWidth, kMasks> labels;
    Vector<float, kWidth> z[kChannels];
    labels.Read(params, place, label, pixel);
    for (int c = 0; c < kChannels; ++c) {
      if (c < place.used) z[c] = Load<kWidth>(z_of_channel + c * place.plane + pixel);
    }
    bad = bad || labels.AnyAbove(place, limit, left_out);
    for (int c = 0; c < kChannels; ++c) {
      if (c >= place.used) break;
      if ((left_out >> c & 1) != 0) continue;
      bool positive[kWidth];
      for (int i = 0; i < kWidth; ++i) positive[i] = labels.IsPositive(place, c, i);
      gathered.Add(c, z[c], positive);
    }
  }
  if (bad) atomicCAS(fault, 0, static_cast<int32_t>(DeviceFault::kBadLabel));
  WriteParts(params, place, gathered, PartsOf(params, task.stats));
}

// A block a task: a warp adds one class of one plane, a thread finishes an image.
__global__ void __launch_bounds__(kFinishThreads)
    Finish(const __grid_constant__ BinLossParams params,
           const __grid_constant__ Tasks<BinLossTask> tasks) {
  BinLossStats* stats = tasks.at[blockIdx.x].stats;
  const Parts parts = PartsOf(params, stats);
  const int64_t planes = params.logits.n * params.logits.c, blocks = params.Blocks();
  for (int64_t row = threadIdx.x / 32; row < planes * kClasses; row += kFinishThreads / 32) {
    double sum = 0;
    int64_t count = 0;
    for (int64_t block = threadIdx.x % 32; block < blocks; block += 32) {
      sum += parts.sums[row * blocks + block];
      count += parts.counts[row * blocks + block];
    }
    sum = WarpSum(sum);
    count = WarpSum(count);
    if (threadIdx.x % 32 != 0) continue;
    BinLossStats& s = stats[row / kClasses];
    const int kind = static_cast<int>(row % kClasses);
    (kind == kPositive ? s.positives : s.negatives[kind]) = count;
    (kind == kPositive ? s.loss_positive : s.loss_negative[kind]) = sum;
  }
  __syncthreads();
  double sum = 0;
  for (int64_t n = threadIdx.x; n < params.logits.n; n += kFinishThreads) {
    sum += FinishImage(params, stats + n * params.logits.c);
  }
  sum = BlockSum<kFinishThreads>(sum);
  if (threadIdx.x == 0) *tasks.at[blockIdx.x].loss = static_cast<float>(sum);
}

struct Gradient {
  float edge;  // negatives from this logit on are taken
  float weight_positive, weight_negative;

  __device__ float Of(float z, bool is_positive) const {
    const SigmoidPair sigmoid = SigmoidBothWays(z);
    const float negative = z < edge ? 0.0f : weight_negative * sigmoid.p;
    return is_positive ? -weight_positive * sigmoid.one_minus_p : negative;
  }
};

template <int kWidth, bool kMasks>
__global__ void __launch_bounds__(kThreads)
    GradientOfPixels(const __grid_constant__ BinLossParams params,
                     const __grid_constant__ Tasks<BinLossGradientTask> tasks, const uint8_t* label,
                     const float* loss_scale) {
  const Place place(params.logits);
  const BinLossGradientTask& task = tasks.at[place.task];
  const bool add = task.mode == GradMode::kAdd;
  const int64_t first_plane = place.n * params.logits.c + place.first;
  const int64_t pixel = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWidth;
  __shared__ Gradient gradients[kChannels];
  if (threadIdx.x < place.used) {
    const BinLossStats& s = task.stats[first_plane + threadIdx.x];
    const bool left_out = (LeftOut<kMasks>(params, place, label) >> threadIdx.x & 1) != 0;
    const float given = loss_scale == nullptr ? task.loss_weight : task.loss_weight * *loss_scale;
    const float factor = left_out ? 0 : given;
    gradients[threadIdx.x] = {GradientEdge(params, s), s.weight_positive * factor,
                              s.weight_negative * factor};
  }
  Labels<kWidth, kMasks> labels;
  Vector<float, kWidth> z[kChannels];
  if (pixel < place.plane) {  // loaded before the wait below
    labels.Read(params, place, label, pixel);
    for (int c = 0; c < kChannels; ++c) {
      if (c < place.used) {
        z[c] = Load<kWidth>(task.logits + (first_plane + c) * place.plane + pixel);
      }
    }
  }
  __syncthreads();
  if (pixel >= place.plane) return;
  for (int c = 0; c < kChannels; ++c) {
    if (c >= place.used) break;
    float* to = task.d_logits + (first_plane + c) * place.plane + pixel;
    Vector<float, kWidth> result;
    if (add) result = Load<kWidth>(to);
    for (int i = 0; i < kWidth; ++i) {
      const float value = gradients[c].Of(z[c].at[i], labels.IsPositive(place, c, i));
      result.at[i] = add ? result.at[i] + value : value;
    }
    Store(to, result);
  }
}

bool InVectors(const BinLossParams& params, const uint8_t* label) {
  return params.logits.h * params.logits.w % 4 == 0 && IsAligned(label, 4);
}

dim3 GridOf(const BinLossParams& params, int64_t blocks, int tasks) {
  LSEG_CHECK(params.logits.n * kMostBinLosses <= 65535, "bin loss on a GPU: a batch of "
                                                            << params.logits.n << ", the limit is "
                                                            << 65535 / kMostBinLosses);
  return dim3(static_cast<unsigned>(blocks),
              static_cast<unsigned>(CeilDiv(params.logits.c, kChannels)),
              static_cast<unsigned>(params.logits.n * tasks));
}

void Forward(const Context& context, const BinLossParams& params, const uint8_t* label,
             const Tasks<BinLossTask>& tasks, int count) {
  bool vectors = InVectors(params, label);
  for (int i = 0; i < count; ++i) vectors = vectors && IsAligned(tasks.at[i].logits, 16);
  const auto launch = [&](auto kernel) {
    kernel<<<GridOf(params, params.Blocks(), count), kThreads, 0, StreamOf(context)>>>(
        params, tasks, label, FaultWord(context));
  };
  const bool masks = params.label.c > 1;
  if (vectors) {
    masks ? launch(SumBlocks<4, true>) : launch(SumBlocks<4, false>);
  } else {
    masks ? launch(SumBlocks<1, true>) : launch(SumBlocks<1, false>);
  }
  CheckLaunch("bin loss");
  Finish<<<static_cast<unsigned>(count), kFinishThreads, 0, StreamOf(context)>>>(params, tasks);
  CheckLaunch("bin loss' cut-offs");
}

void Backward(const Context& context, const BinLossParams& params, const uint8_t* label,
              const Tasks<BinLossGradientTask>& tasks, int count, const float* loss_scale) {
  bool vectors = InVectors(params, label);
  for (int i = 0; i < count; ++i) {
    const BinLossGradientTask& task = tasks.at[i];
    vectors = vectors && IsAligned(task.logits, 16) && IsAligned(task.d_logits, 16);
  }
  const int64_t blocks = CeilDiv(params.logits.h * params.logits.w, kThreads * (vectors ? 4 : 1));
  const auto launch = [&](auto kernel) {
    kernel<<<GridOf(params, blocks, count), kThreads, 0, StreamOf(context)>>>(params, tasks, label,
                                                                              loss_scale);
  };
  const bool masks = params.label.c > 1;
  if (vectors) {
    masks ? launch(GradientOfPixels<4, true>) : launch(GradientOfPixels<4, false>);
  } else {
    masks ? launch(GradientOfPixels<1, true>) : launch(GradientOfPixels<1, false>);
  }
  CheckLaunch("bin loss backward");
}

// Calls launch(tasks, count) for as many at a time as a launch takes.
template <class Task, class Launch>
void InLaunches(std::span<const Task> tasks, Launch launch) {
  Tasks<Task> some = {};
  int count = 0;
  for (const Task& task : tasks) {
    some.at[count++] = task;
    if (count < kMostBinLosses) continue;
    launch(some, count);
    count = 0;
  }
  if (count > 0) launch(some, count);
}

}  // namespace

void BinLossesForward(Context& context, const BinLossParams& params, const uint8_t* label,
                      std::span<const BinLossTask> tasks) {
  InLaunches(tasks, [&](const Tasks<BinLossTask>& some, int count) {
    Forward(context, params, label, some, count);
  });
}

void BinLossesBackward(Context& context, const BinLossParams& params, const uint8_t* label,
                       std::span<const BinLossGradientTask> tasks, const float* loss_scale) {
  std::vector<BinLossGradientTask> wanted;
  for (const BinLossGradientTask& task : tasks) {
    if (task.mode != GradMode::kSkip) wanted.push_back(task);
  }
  InLaunches(std::span<const BinLossGradientTask>(wanted),
             [&](const Tasks<BinLossGradientTask>& some, int count) {
               Backward(context, params, label, some, count, loss_scale);
             });
}

}  // namespace lseg::cuda
