// A training step packs some 25 weights, most of them small beside what a launch costs: a launch
// takes many. Bound by memory: reads the weights once and writes them once.
#include "kernels/cuda/conv_gemm_kernel.h"
#include "kernels/cuda/conv_gemm_pack.h"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {
namespace {

struct PackJob {
  const float* weight;
  void* packed;
  int in_channels, out_channels, outputs, tile_outputs;  // outputs: those that fill tiles included
  int first_block;
  bool turned;
};

constexpr int kMostJobs = 32;
struct PackJobs {
  PackJob at[kMostJobs];
  int count;
};

// A block packs a chunk of the input channels for kPackOutputs outputs, all taps: weights lie tap
// by tap in memory, and change places in shared memory, so that both sides move whole sectors.
constexpr int kPackThreads = 256, kPackOutputs = 16;

template <int kChunk>
struct alignas(16) PackTile {
  static constexpr int kRow = kChunk + 4;  // keeps what neighbours store in other banks
  float values[kPackOutputs * kConvTaps][kRow];

  // Zero for channels that are only there to fill a tile or a chunk. first_input, first_output: of
  // the block. Rows of memory, a channel's weights for (or of) all others of the block, go by 16
  // bytes.
  __device__ void Load(const PackJob& job, int first_input, int first_output) {
    const bool turned = job.turned;
    const int inner = turned ? kPackOutputs : kChunk, outer = turned ? kChunk : kPackOutputs;
    const int inputs_left = job.in_channels - first_input;
    const int outputs_left = job.out_channels - first_output;
    const int elements = min(inner, turned ? outputs_left : inputs_left) * kConvTaps;
    const int rows = min(outer, turned ? inputs_left : outputs_left);
    const int64_t row_pairs = turned ? job.out_channels : job.in_channels;
    const float* from = job.weight + (turned ? first_input * row_pairs + first_output
                                             : first_output * row_pairs + first_input) *
                                         kConvTaps;
    const int vectors = inner * kConvTaps / 4;
    for (int i = threadIdx.x; i < outer * vectors; i += kPackThreads) {
      const int row = i / vectors, element = (i - row * vectors) * 4;
      Vector<float, 4> four = {};
      if (row < rows && element < elements) {
        four = cuda::Load<4>(from + row * row_pairs * kConvTaps + element);
      }
      int step = element / kConvTaps, tap = element % kConvTaps;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        float* to = turned ? &values[step * kConvTaps + kConvTaps - 1 - tap][row]
                           : &values[row * kConvTaps + tap][step];
        *to = four.at[k];
        if (++tap < kConvTaps) continue;
        tap = 0;
        ++step;
      }
    }
    __syncthreads();
  }
};

// kWidth neighbours in shared memory. Lanes that would meet in a bank read their halves in the
// other order.
template <int kWidth>
__device__ void ReadNeighbours(const float* from, bool other_order, float (&values)[kWidth]) {
  const float4* halves = reinterpret_cast<const float4*>(from);
  float4 low = halves[kWidth > 4 && other_order];
  if constexpr (kWidth > 4) {
    float4 high = halves[!other_order];
    if (other_order) {
      const float4 first = low;
      low = high;
      high = first;
    }
    values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
  }
  values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
}

// What a block packs.
struct PackPlace {
  const PackJob& job;
  int64_t chunk;
  int first_output;

  __device__ explicit PackPlace(const PackJobs& jobs) : job(JobOf(jobs)) {
    const int block = static_cast<int>(blockIdx.x) - job.first_block;
    chunk = block / (job.outputs / kPackOutputs);
    first_output = block % (job.outputs / kPackOutputs) * kPackOutputs;
  }
  __device__ static const PackJob& JobOf(const PackJobs& jobs) {
    int i = 0;
    while (i + 1 < jobs.count && jobs.at[i + 1].first_block <= static_cast<int>(blockIdx.x)) ++i;
    return jobs.at[i];
  }
};

// A thread writes 16 bytes of an output and tap, swizzled.
template <class T>
__global__ void __launch_bounds__(kPackThreads)
    PackConvGemmWeights(const __grid_constant__ PackJobs jobs) {
  constexpr int kWidth = kVectorWidth<T>, kChunk = kRowBytes / sizeof(T);
  __shared__ PackTile<kChunk> tile;
  const PackPlace place(jobs);
  tile.Load(place.job, static_cast<int>(place.chunk) * kChunk, place.first_output);
  for (int i = threadIdx.x; i < kConvTaps * kPackOutputs * 8; i += kPackThreads) {
    const int segment = i % 8, output = i / 8 % kPackOutputs, tap = i / 8 / kPackOutputs;
    float values[kWidth];
    ReadNeighbours(&tile.values[output * kConvTaps + tap][segment * kWidth], segment >= 4, values);
    Vector<T, kWidth> rounded;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      rounded.at[k] = FromFloat<T>(sizeof(T) == 4 ? RoundToTf32(values[k]) : values[k]);
    }
    const int64_t row = (place.chunk * kConvTaps + tap) * place.job.outputs + place.first_output;
    T* to = static_cast<T*>(place.job.packed) + (row + output) * kChunk;
    Store(to + SwizzledByte(output, segment * 16) / sizeof(T), rounded);
  }
}

// The same without tensor cores: of four outputs that lie side by side.
__global__ void __launch_bounds__(kPackThreads)
    PackConvGemmSimtWeights(const __grid_constant__ PackJobs jobs) {
  constexpr int kChunk = kRowBytes / 4, kQuads = kPackOutputs / 4;
  __shared__ PackTile<kChunk> tile;
  const PackPlace place(jobs);
  const PackJob& job = place.job;
  tile.Load(job, static_cast<int>(place.chunk) * kChunk, place.first_output);
  const int output_tile = place.first_output / job.tile_outputs;
  const int in_tile = place.first_output % job.tile_outputs;
  for (int i = threadIdx.x; i < kConvTaps * kChunk * kQuads; i += kPackThreads) {
    const int quad = i % kQuads, channel = i / kQuads % kChunk, tap = i / kQuads / kChunk;
    Vector<float, 4> values;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      values.at[k] = tile.values[(quad * 4 + k) * kConvTaps + tap][channel];
    }
    const int64_t tiles = job.outputs / job.tile_outputs;
    const int64_t row = ((place.chunk * kConvTaps + tap) * tiles + output_tile) * kChunk + channel;
    Store(static_cast<float*>(job.packed) + row * job.tile_outputs + in_tile + quad * 4, values);
  }
}

// Jobs of one kernel on their way to a launch.
class Batch {
 public:
  Batch(const Context& context, bool simt, DType dtype)
      : context_(context), simt_(simt), dtype_(dtype) {}

  void Add(const ConvGemmPacking& packing, const ConvPack& pack) {
    LSEG_CHECK(IsAligned(pack.weight, 16), "weights to be packed must be aligned to 16 bytes");
    if (jobs_.count == kMostJobs) Launch();
    jobs_.at[jobs_.count++] = {pack.weight,
                               pack.packed,
                               packing.in_channels,
                               packing.out_channels,
                               packing.Outputs(),
                               packing.tile_outputs,
                               blocks_,
                               packing.turned};
    blocks_ += packing.chunks * (packing.Outputs() / kPackOutputs);
  }
  void Launch() {
    if (blocks_ == 0) return;
    const auto launch = [&](auto kernel) {
      kernel<<<static_cast<unsigned>(blocks_), kPackThreads, 0, StreamOf(context_)>>>(jobs_);
    };
    if (simt_) {
      launch(PackConvGemmSimtWeights);
    } else {
      WithElementType(dtype_,
                      [&](auto element) { launch(PackConvGemmWeights<decltype(element)>); });
    }
    CheckLaunch("PackConvGemmWeights");
    jobs_.count = blocks_ = 0;
  }

 private:
  const Context& context_;
  bool simt_;
  DType dtype_;
  PackJobs jobs_ = {};
  int blocks_ = 0;
};

}  // namespace

void PackConvWeights(Context& context, std::span<const ConvPack> packs) {
  for (const bool simt : {false, true}) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      Batch batch(context, simt, dtype);
      for (const ConvPack& pack : packs) {
        const ConvGemmPacking* packing = pack.plan->GemmPacking();
        if (packing == nullptr || packing->simt != simt || packing->dtype != dtype) continue;
        batch.Add(*packing, pack);
      }
      batch.Launch();
    }
  }
  for (const ConvPack& pack : packs) {
    if (pack.plan->GemmPacking() == nullptr) {
      pack.plan->PackWeights(context, pack.weight, pack.packed);
    }
  }
}

}  // namespace lseg::cuda
