// The memory-bound ops at the sizes of L-Seg on 1440x960 images, in GB/s. Bytes counted: every
// array that an op must read or write, once each, at its element size; that caches fetch a line
// before it is overwritten is not counted. Compare with "copy", which moves memory and does nothing
// else.
//
//   bench_ops --benchmark_filter=pool
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/bin_loss.h"
#include "kernels/box_copy.h"
#include "kernels/cpu/loops.h"
#include "kernels/deconv.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/pool.h"
#include "kernels/reorder.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/random.h"
#include "kernels/sigmoid_loss.h"
#include "kernels/softmax.h"
#include "kernels/update.h"

namespace lseg {
namespace {

constexpr int64_t kHeight = 960, kWidth = 1440;
const Shape kStage1{1, 64, kHeight, kWidth};  // the largest activation
const Shape kMap{1, 4, kHeight, kWidth};      // a side map: one channel a lesion

// Memory filled with numbers in [-4, 4): both signs, all bins of the loss. Filled also where it is
// only written, so that no page is touched for the first time while the clock runs.
class Floats {
 public:
  explicit Floats(int64_t count) : buffer_(Device::kCpu, count * 4), count_(count) {
    Random random(1, 0);
    std::vector<float> period(4099);
    for (float& value : period) value = random.Uniform(-4, 4);
    for (int64_t i = 0; i < count; ++i) data()[i] = period[i % 4099];
  }
  float* data() { return static_cast<float*>(buffer_.data()); }
  int64_t bytes() const { return count_ * 4; }

 private:
  Buffer buffer_;
  int64_t count_;
};

// Such numbers as elements of a type, f32 or bf16.
Buffer Numbers(int64_t count, DType dtype) {
  Floats floats(count);
  Buffer numbers(Device::kCpu, count * SizeOf(dtype));
  Context context;
  Reorder(context, {1, 1, 1, count}, Format::kNCHW, floats.data(), Format::kNCHW, numbers.data(),
          GradMode::kWrite, DType::kF32, dtype);
  return numbers;
}

// Runs `op` once an iteration and reports `bytes` of traffic each.
template <class Op>
void Measure(benchmark::State& state, int64_t bytes, const Op& op) {
  for (auto _ : state) {
    op();
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * bytes);
}

void Copy(benchmark::State& state) {
  Context context;
  Floats src(kStage1.Count()), dst(kStage1.Count());
  Measure(state, 2 * src.bytes(), [&] {
    ForChunks(context, kStage1.Count(), [&](int64_t begin, int64_t size) {
      std::memcpy(dst.data() + begin, src.data() + begin, size * 4);
    });
  });
}

void Relu(benchmark::State& state) {
  Context context;
  Floats data(kStage1.Count());
  Measure(state, 2 * data.bytes(),
          [&] { ReluForward(context, kStage1.Count(), 0, data.data(), data.data()); });
}

void ReluGradient(benchmark::State& state) {
  Context context;
  Floats dst(kStage1.Count()), gradient(kStage1.Count());
  Measure(state, 3 * dst.bytes(), [&] {
    ReluBackward(context, kStage1.Count(), 0, dst.data(), gradient.data(), gradient.data(),
                 GradMode::kWrite);
  });
}

void SigmoidOfMap(benchmark::State& state) {
  Context context;
  Floats data(kMap.Count()), dst(kMap.Count());
  Measure(state, 2 * data.bytes(),
          [&] { SigmoidForward(context, kMap.Count(), data.data(), dst.data()); });
}

PoolParams Pool2x2(Format format, DType dtype) {
  PoolParams params;
  params.src = kStage1;
  params.format = format;
  params.dtype = dtype;
  return params;
}

// What pooling of the first stage reads and writes.
struct PoolMemory {
  explicit PoolMemory(const PoolParams& params)
      : src(Numbers(StorageCount(kStage1, params.format), params.dtype)),
        dst(Numbers(StorageCount(params.Dst(), params.format), params.dtype)),
        argmax(StorageCount(params.Dst(), params.format) * SizeOf(params.ArgmaxDType())) {}
  Buffer src, dst;
  std::vector<char> argmax;
};

void Pool(benchmark::State& state, Format format, DType dtype, bool argmax) {
  Context context;
  const PoolParams params = Pool2x2(format, dtype);
  PoolMemory m(params);
  const int64_t bytes = m.src.bytes() + m.dst.bytes();
  Measure(state, bytes + (argmax ? static_cast<int64_t>(m.argmax.size()) : 0), [&] {
    PoolForward(context, params, m.src.data(), m.dst.data(), argmax ? m.argmax.data() : nullptr);
  });
}

void PoolGradient(benchmark::State& state, Format format, DType dtype) {
  Context context;
  const PoolParams params = Pool2x2(format, dtype);
  PoolMemory m(params);
  PoolForward(context, params, m.src.data(), m.dst.data(), m.argmax.data());
  Measure(state, m.src.bytes() + m.dst.bytes() + static_cast<int64_t>(m.argmax.size()), [&] {
    PoolBackward(context, params, m.dst.data(), m.argmax.data(), m.src.data(), GradMode::kWrite);
  });
}

// The upsampling of a stage: kernel 2 * stride, 4 channels to 4.
DeconvParams Upsampling(int64_t stride) {
  DeconvParams params;
  params.src = {1, 4, kHeight / stride, kWidth / stride};
  params.out_channels = 4;
  params.kernel_h = params.kernel_w = 2 * stride;
  params.stride_h = params.stride_w = stride;
  return params;
}

void Deconv(benchmark::State& state) {
  Context context;
  const DeconvParams params = Upsampling(state.range(0));
  Floats src(params.src.Count()), weight(params.Weight().Count()), bias(4);
  Floats dst(params.Dst().Count());
  Measure(state, src.bytes() + weight.bytes() + dst.bytes(), [&] {
    DeconvForward(context, params, src.data(), weight.data(), bias.data(), dst.data());
  });
}

void DeconvGradient(benchmark::State& state) {
  Context context;
  const DeconvParams params = Upsampling(state.range(0));
  Floats d_src(params.src.Count()), weight(params.Weight().Count()), d_dst(params.Dst().Count());
  Measure(state, d_src.bytes() + weight.bytes() + d_dst.bytes(), [&] {
    DeconvBackwardData(context, params, d_dst.data(), weight.data(), d_src.data(),
                       GradMode::kWrite);
  });
}

void Crop(benchmark::State& state) {
  Context context;
  BoxCopyParams params;
  params.src = Upsampling(16).Dst();
  params.dst = params.box = kMap;
  params.src_at = {0, 0, 8, 8};
  Floats src(params.src.Count()), dst(kMap.Count());
  Measure(state, 2 * dst.bytes(),
          [&] { BoxCopy(context, params, src.data(), dst.data(), GradMode::kWrite); });
}

// One pixel in 64 belongs to a lesion; L-Seg's key.
struct BinLossCase {
  BinLossCase() {
    params.logits = kMap;
    params.label = {1, 1, kHeight, kWidth};
    params.num_label = 4;
    label.resize(params.label.Count());
    for (size_t i = 0; i < label.size(); i += 64) label[i] = 1 + i / 64 % 4;
    stats = Buffer(Device::kCpu, params.StatsBytes());
  }
  BinLossStats* Stats() { return static_cast<BinLossStats*>(stats.data()); }
  BinLossParams params;
  std::vector<uint8_t> label;
  Buffer stats;
};

void BinLoss(benchmark::State& state) {
  Context context;
  BinLossCase c;
  Floats logits(kMap.Count());
  float loss;
  // The label is read once a channel, and once to be checked.
  Measure(state, logits.bytes() + 5 * c.params.label.Count(), [&] {
    BinLossForward(context, c.params, logits.data(), c.label.data(), c.Stats(), &loss);
  });
}

void BinLossGradient(benchmark::State& state) {
  Context context;
  BinLossCase c;
  Floats logits(kMap.Count()), d_logits(kMap.Count());
  float loss;
  BinLossForward(context, c.params, logits.data(), c.label.data(), c.Stats(), &loss);
  Measure(state, 2 * logits.bytes() + 4 * c.params.label.Count(), [&] {
    BinLossBackward(context, c.params, logits.data(), c.label.data(), c.Stats(), 1, d_logits.data(),
                    GradMode::kWrite);
  });
}

void SigmoidLoss(benchmark::State& state) {
  Context context;
  SigmoidLossParams params;
  params.count = kMap.Count();
  Floats logits(params.count), target(params.count);
  float loss, normalizer;
  Measure(state, 2 * logits.bytes(), [&] {
    SigmoidLossForward(context, params, logits.data(), target.data(), &normalizer, &loss);
  });
}

// A background and the four classes of the map.
const Shape kScores{1, 5, kHeight, kWidth};

void SoftmaxOfScores(benchmark::State& state) {
  Context context;
  Floats src(kScores.Count()), dst(kScores.Count());
  Measure(state, 2 * src.bytes(),
          [&] { SoftmaxForward(context, kScores, src.data(), dst.data()); });
}

void SoftmaxLoss(benchmark::State& state) {
  Context context;
  SoftmaxLossParams params;
  params.logits = kScores;
  params.label = {1, 1, kHeight, kWidth};
  Floats logits(kScores.Count());
  const std::vector<uint8_t> label(params.Pixels(), 1);
  float loss, normalizer;
  Measure(state, logits.bytes() + params.Pixels(), [&] {
    SoftmaxLossForward(context, params, logits.data(), label.data(), &normalizer, &loss);
  });
}

void SumOfThree(benchmark::State& state) {
  Context context;
  Floats a(kStage1.Count()), b(kStage1.Count()), c(kStage1.Count()), dst(kStage1.Count());
  const SumTerm terms[] = {{a.data(), 1}, {b.data(), 1}, {c.data(), 1}};
  Measure(state, 4 * a.bytes(),
          [&] { WeightedSum(context, kStage1.Count(), terms, dst.data(), GradMode::kWrite); });
}

void DropoutOfStage1(benchmark::State& state) {
  Context context;
  Floats src(kStage1.Count()), dst(kStage1.Count());
  const int32_t batch = 0;
  Measure(state, 2 * src.bytes(), [&] {
    Dropout(context, {kStage1.Count(), 0.5f, 1}, &batch, src.data(), dst.data(), GradMode::kWrite);
  });
}

void ReorderStage1(benchmark::State& state, Format from, Format to) {
  Context context;
  Floats src(StorageCount(kStage1, from)), dst(StorageCount(kStage1, to));
  Measure(state, src.bytes() + dst.bytes(),
          [&] { Reorder(context, kStage1, from, src.data(), to, dst.data(), GradMode::kWrite); });
}

// L-Seg's parameters, nearly all of them in the 13 convolutions.
constexpr int64_t kParameters = 14'700'000;

void Step(benchmark::State& state, UpdateParams::Method method) {
  Context context;
  Floats value(kParameters), grad(kParameters), state1(kParameters), state2(kParameters);
  std::memset(state2.data(), 0, state2.bytes());
  UpdateParams params;
  params.method = method;
  params.momentum = 0.9f;
  params.weight_decay = 2e-4f;
  const StepState step{1e-6f, 0};
  const std::vector<UpdateTensor> tensors{
      {kParameters, value.data(), grad.data(), state1.data(), state2.data(), 1, 1}};
  // SGD reads three arrays and writes two of them; Adam four and three.
  const int64_t arrays = method == UpdateParams::Method::kSgd ? 5 : 7;
  Measure(state, arrays * value.bytes(), [&] { Update(context, params, tensors, &step, nullptr); });
}

void Norm(benchmark::State& state) {
  Context context;
  Floats grad(kParameters);
  const std::vector<UpdateTensor> tensors{{kParameters, nullptr, grad.data()}};
  float norm;
  Measure(state, grad.bytes(), [&] { GradientNorm(context, tensors, &norm); });
}

#define LSEG_BENCH(...) __VA_ARGS__->Unit(benchmark::kMillisecond)->UseRealTime()
LSEG_BENCH(BENCHMARK(Copy)->Name("copy"));
LSEG_BENCH(BENCHMARK(Relu)->Name("relu"));
LSEG_BENCH(BENCHMARK(ReluGradient)->Name("relu_gradient"));
LSEG_BENCH(BENCHMARK(SigmoidOfMap)->Name("sigmoid"));
LSEG_BENCH(BENCHMARK_CAPTURE(Pool, nChw8c, Format::kNChw8c, DType::kF32, true));
LSEG_BENCH(BENCHMARK_CAPTURE(Pool, nChw16c, Format::kNChw16c, DType::kF32, true));
LSEG_BENCH(BENCHMARK_CAPTURE(Pool, nChw16c_bf16, Format::kNChw16c, DType::kBF16, true));
LSEG_BENCH(BENCHMARK_CAPTURE(Pool, nChw16c_inference, Format::kNChw16c, DType::kF32, false));
LSEG_BENCH(BENCHMARK_CAPTURE(Pool, NCHW, Format::kNCHW, DType::kF32, true));
LSEG_BENCH(BENCHMARK_CAPTURE(PoolGradient, nChw8c, Format::kNChw8c, DType::kF32));
LSEG_BENCH(BENCHMARK_CAPTURE(PoolGradient, nChw16c, Format::kNChw16c, DType::kF32));
LSEG_BENCH(BENCHMARK_CAPTURE(PoolGradient, nChw16c_bf16, Format::kNChw16c, DType::kBF16));
LSEG_BENCH(BENCHMARK_CAPTURE(PoolGradient, NCHW, Format::kNCHW, DType::kF32));
LSEG_BENCH(BENCHMARK(Deconv)->Name("deconv_stride")->Arg(2)->Arg(4)->Arg(8)->Arg(16));
LSEG_BENCH(
    BENCHMARK(DeconvGradient)->Name("deconv_gradient_stride")->Arg(2)->Arg(4)->Arg(8)->Arg(16));
LSEG_BENCH(BENCHMARK(Crop)->Name("crop"));
LSEG_BENCH(BENCHMARK(BinLoss)->Name("bin_loss"));
LSEG_BENCH(BENCHMARK(BinLossGradient)->Name("bin_loss_gradient"));
LSEG_BENCH(BENCHMARK(SigmoidLoss)->Name("sigmoid_loss"));
LSEG_BENCH(BENCHMARK(SoftmaxOfScores)->Name("softmax"));
LSEG_BENCH(BENCHMARK(SoftmaxLoss)->Name("softmax_loss"));
LSEG_BENCH(BENCHMARK(SumOfThree)->Name("sum_of_three"));
LSEG_BENCH(BENCHMARK(DropoutOfStage1)->Name("dropout"));
LSEG_BENCH(BENCHMARK_CAPTURE(ReorderStage1, NCHW_nChw8c, Format::kNCHW, Format::kNChw8c));
LSEG_BENCH(BENCHMARK_CAPTURE(ReorderStage1, NCHW_nChw16c, Format::kNCHW, Format::kNChw16c));
LSEG_BENCH(BENCHMARK_CAPTURE(ReorderStage1, nChw8c_NCHW, Format::kNChw8c, Format::kNCHW));
LSEG_BENCH(BENCHMARK_CAPTURE(ReorderStage1, nChw16c_NCHW, Format::kNChw16c, Format::kNCHW));
LSEG_BENCH(BENCHMARK_CAPTURE(ReorderStage1, nChw8c_nChw16c, Format::kNChw8c, Format::kNChw16c));
LSEG_BENCH(BENCHMARK_CAPTURE(ReorderStage1, NCHW_NHWC, Format::kNCHW, Format::kNHWC));
LSEG_BENCH(BENCHMARK_CAPTURE(Step, sgd, UpdateParams::Method::kSgd));
LSEG_BENCH(BENCHMARK_CAPTURE(Step, adam, UpdateParams::Method::kAdam));
LSEG_BENCH(BENCHMARK(Norm)->Name("gradient_norm"));

}  // namespace
}  // namespace lseg

BENCHMARK_MAIN();
