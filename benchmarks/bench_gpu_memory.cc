// bench_gpu's ops that move memory. Bytes counted: every array that an op must read or write, once
// each, at its element size.
#include <cstdio>

#include "benchmarks/bench_gpu.h"
#include "framework/filler.h"
#include "kernels/bin_loss.h"
#include "kernels/box_copy.h"
#include "kernels/deconv.h"
#include "kernels/elementwise.h"
#include "kernels/fuse_head.h"
#include "kernels/pool.h"
#include "kernels/preprocess.h"
#include "kernels/reorder.h"
#include "kernels/sigmoid_loss.h"
#include "kernels/stage_gradient.h"
#include "kernels/update.h"

namespace lseg {

int64_t BytesOf(const std::vector<TensorSpec>& specs) {
  int64_t bytes = 0;
  for (const TensorSpec& spec : specs) bytes += spec.count * SizeOf(spec.dtype);
  return bytes;
}

void Measure(GpuBench& bench, const std::string& name, const std::vector<TensorSpec>& specs,
             int64_t bytes, const std::function<void(const Tensors&, int)>& op) {
  if (!bench.Wanted(name)) return;
  const Tensors tensors(bench, specs);
  const double ms = bench.MedianMs([&](int run) { op(tensors, run); });
  if (bench.costs) return;
  const double gb_s = static_cast<double>(bytes) / ms / 1e6, share = gb_s / bench.copy_gb_s;
  std::printf("%-48s %9.1f us %8.0f GB/s %5.1f %% of copy\n", name.c_str(), 1e3 * ms, gb_s,
              100 * share);
  std::fflush(stdout);
  bench.memory_ops.push_back({{"op", name},
                              {"us", 1e3 * ms},
                              {"bytes", bytes},
                              {"gb_per_s", gb_s},
                              {"share_of_copy", share}});
}

namespace {

void BenchPool(GpuBench& bench, const Shape& stage, const std::string& at) {
  PoolParams params;
  params.src = stage;
  params.format = Format::kNHWC;
  params.dtype = DType::kBF16;
  const int64_t src = stage.Count(), dst = params.Dst().Count();
  const std::vector<TensorSpec> specs = {
      {src, DType::kBF16}, {dst, DType::kBF16}, {dst, params.ArgmaxDType(), 0, 3}};
  Measure(bench, "pool forward, inference" + at, {specs[0], specs[1]}, 2 * (src + dst),
          [&](const Tensors& t, int run) {
            PoolForward(bench.context, params, t.At(run, 0), t.At(run, 1), nullptr);
          });
  Measure(bench, "pool forward" + at, specs, BytesOf(specs), [&](const Tensors& t, int run) {
    PoolForward(bench.context, params, t.At(run, 0), t.At(run, 1), t.At(run, 2));
  });
  Measure(bench, "pool backward" + at, specs, BytesOf(specs), [&](const Tensors& t, int run) {
    PoolBackward(bench.context, params, t.At(run, 1), t.At(run, 2), t.At(run, 0), GradMode::kWrite);
  });
}

// A stage's end in training, with four scores, and the last stage's, which has no pooling.
void BenchStageGradient(GpuBench& bench, const Shape& stage, const std::string& at) {
  StageGradientParams params;
  params.map = stage;
  params.scores = 4;
  params.relu = true;
  params.dtype = DType::kBF16;
  const int64_t map = stage.Count(), pooled = params.Pooled().Count();
  const std::vector<TensorSpec> specs = {{map, DType::kBF16},
                                         {4 * stage.n * stage.h * stage.w},
                                         {4 * stage.c},
                                         {map, DType::kBF16},
                                         {4 * stage.c},
                                         {4},
                                         {params.WorkspaceBytes(bench.context), DType::kU8},
                                         {pooled, DType::kBF16},
                                         {pooled, DType::kU8, 0, 3}};
  for (const bool with_pooling : {true, false}) {
    params.pooled = with_pooling;
    const int64_t bytes = 4 * map + 4 * specs[1].count + (with_pooling ? 3 * pooled : 0);
    Measure(bench, (with_pooling ? "stage gradient" : "stage gradient without pooling") + at, specs,
            bytes, [&](const Tensors& t, int run) {
              StageGradientArgs args;
              args.map = t.At(run, 0);
              args.d_score = t.At<float>(run, 1);
              args.weight = t.At<float>(run, 2);
              args.d_map = t.At(run, 3);
              args.d_weight = t.At<float>(run, 4);
              args.d_bias = t.At<float>(run, 5);
              args.workspace = t.At(run, 6);
              args.d_pooled = t.At(run, 7);
              args.argmax = t.At<uint8_t>(run, 8);
              StageGradient(bench.context, params, args);
            });
  }
}

void BenchRelu(GpuBench& bench, const Shape& stage, const std::string& at) {
  const TensorSpec spec{stage.Count(), DType::kBF16};
  Measure(bench, "relu backward" + at, {spec, spec}, 3 * spec.count * 2,
          [&](const Tensors& t, int run) {
            ReluBackward(bench.context, spec.count, 0, t.At(run, 0), t.At(run, 1), t.At(run, 1),
                         GradMode::kWrite, DType::kBF16);
          });
}

void BenchReorder(GpuBench& bench, const Shape& stage, const std::string& at) {
  const std::vector<TensorSpec> specs = {{stage.Count(), DType::kF32},
                                         {stage.Count(), DType::kBF16}};
  Measure(bench, "reorder NCHW f32 to NHWC bf16" + at, specs, BytesOf(specs),
          [&](const Tensors& t, int run) {
            Reorder(bench.context, stage, Format::kNCHW, t.At(run, 0), Format::kNHWC, t.At(run, 1),
                    GradMode::kWrite, DType::kF32, DType::kBF16);
          });
  Measure(bench, "reorder NHWC bf16 to NCHW f32" + at, specs, BytesOf(specs),
          [&](const Tensors& t, int run) {
            Reorder(bench.context, stage, Format::kNHWC, t.At(run, 1), Format::kNCHW, t.At(run, 0),
                    GradMode::kWrite, DType::kBF16, DType::kF32);
          });
}

// A stage's upsampling, 4 channels to 4, and the crop behind it.
DeconvParams Upsampling(const Shape& map, int64_t stride) {
  DeconvParams params;
  params.src = {map.n, map.c, map.h / stride, map.w / stride};
  params.out_channels = map.c;
  params.kernel_h = params.kernel_w = 2 * stride;
  params.stride_h = params.stride_w = stride;
  return params;
}

// With the crop behind it as a part, as in a net; with the weights that a net has, and with any.
void BenchDeconv(GpuBench& bench, const Shape& map, int64_t stride, const std::string& at) {
  DeconvParams params = Upsampling(map, stride);
  params.pad_h = params.pad_w = stride / 2;
  params.rows = map.h;
  params.columns = map.w;
  const Shape shape = params.Weight();
  const std::vector<TensorSpec> specs = {
      {params.src.Count()}, {shape.Count()}, {params.Dst().Count()}, {map.c}};
  const std::string by = " x" + std::to_string(stride) + at;
  std::vector<float> bilinear(static_cast<size_t>(shape.Count()));
  FillBilinearDiagonal(shape, bilinear.data());
  const Buffer weight(bench.context.device(), bilinear.size() * sizeof(float));
  CopyToDevice(bench.context.device(), weight.data(), bilinear.data(), weight.bytes());
  const auto* taps = static_cast<const float*>(weight.data());
  Measure(bench, "deconv forward" + by, specs, BytesOf(specs), [&](const Tensors& t, int run) {
    DeconvForward(bench.context, params, t.At<float>(run, 0), taps, t.At<float>(run, 3),
                  t.At<float>(run, 2));
  });
  const auto backward = [&](const std::string& name, bool any) {
    Measure(bench, name + by, specs, BytesOf(specs), [&](const Tensors& t, int run) {
      DeconvBackwardData(bench.context, params, t.At<float>(run, 2),
                         any ? t.At<float>(run, 1) : taps, t.At<float>(run, 0), GradMode::kWrite);
    });
  };
  backward("deconv backward data", false);
  backward("deconv backward data, any weights", true);
}

void BenchBoxCopy(GpuBench& bench, const Shape& map, const std::string& at) {
  BoxCopyParams params;
  params.src = Upsampling(map, 16).Dst();
  params.dst = params.box = map;
  params.src_at = {0, 0, 8, 8};
  const std::vector<TensorSpec> specs = {{params.src.Count()}, {params.dst.Count()}};
  Measure(bench, "crop" + at, specs, 2 * 4 * map.Count(), [&](const Tensors& t, int run) {
    BoxCopy(bench.context, params, t.At<float>(run, 0), t.At<float>(run, 1), GradMode::kWrite);
  });
  Measure(bench, "crop, adding" + at, specs, 3 * 4 * map.Count(), [&](const Tensors& t, int run) {
    BoxCopy(bench.context, params, t.At<float>(run, 0), t.At<float>(run, 1), GradMode::kAdd);
  });
  BoxCopyParams slice;
  slice.src = map;
  slice.dst = slice.box = {map.n, 1, map.h, map.w};
  slice.src_at = {0, 2, 0, 0};
  Measure(bench, "slice of one channel" + at, {{slice.src.Count()}, {slice.dst.Count()}},
          2 * 4 * slice.dst.Count(), [&](const Tensors& t, int run) {
            BoxCopy(bench.context, slice, t.At<float>(run, 0), t.At<float>(run, 1),
                    GradMode::kWrite);
          });
}

// Five score maps to the fused probabilities, and the photograph's way into the net.
void BenchInference(GpuBench& bench, const Shape& map, const std::string& at) {
  FuseHeadParams params;
  params.dst = map;
  std::vector<TensorSpec> specs = {{map.Count()}, {map.c * 5}};
  // As many partial sums as stages' ends leave with tiles of 128 outputs.
  constexpr int64_t kPartials[] = {1, 1, 2, 4, 4};
  for (int64_t stride = 1; stride <= 16; stride *= 2) {
    FuseHeadParams::Level& level = params.level[static_cast<size_t>(params.levels++)];
    level.height = map.h / stride;
    level.width = map.w / stride;
    level.stride = stride;
    level.offset_h = level.offset_w = stride / 2;
    level.partials = kPartials[params.levels - 1];
    specs.push_back({level.partials * map.n * map.c * level.height * level.width});
  }
  Measure(bench, "fused head" + at, specs, BytesOf(specs), [&](const Tensors& t, int run) {
    FuseHeadArgs args;
    for (size_t i = 0; i < 5; ++i) args.level[i].score = t.At<float>(run, 2 + i);
    args.weight = t.At<float>(run, 1);
    args.probability = t.At<float>(run, 0);
    FuseHead(bench.context, params, args);
  });
  PreprocessParams preprocess;
  preprocess.src_height = preprocess.height = map.h;
  preprocess.src_width = preprocess.width = map.w;
  const int64_t pixels = 3 * map.h * map.w;
  Measure(bench, "preprocess" + at, {{pixels, DType::kU8, 0, 255}, {pixels}}, 5 * pixels,
          [&](const Tensors& t, int run) {
            Preprocess(bench.context, preprocess, t.At<uint8_t>(run, 0), nullptr,
                       t.At<float>(run, 1));
          });
}

void BenchBinLoss(GpuBench& bench, const Shape& map, bool masks, const std::string& at) {
  BinLossParams params;
  params.logits = map;
  params.label = {map.n, masks ? map.c : 1, map.h, map.w};
  params.num_label = map.c;
  params.key = 10;
  const TensorSpec logits{map.Count(), DType::kF32, -4, 4};
  const TensorSpec label{params.label.Count(), DType::kU8, 0,
                         masks ? 1.0f : static_cast<float>(map.c)};
  const TensorSpec stats{(params.StatsBytes() + 3) / 4}, loss{1};
  const std::string of = (masks ? ", masks" : ", class map") + at;
  const auto forward = [&](const Tensors& t, int run) {
    BinLossForward(bench.context, params, t.At<float>(run, 0), t.At<uint8_t>(run, 1),
                   t.At<BinLossStats>(run, 2), t.At<float>(run, 3));
  };
  Measure(bench, "bin loss forward" + of, {logits, label, stats, loss}, BytesOf({logits, label}),
          forward);
  Measure(bench, "bin loss forward and backward" + of, {logits, label, stats, loss, logits},
          2 * BytesOf({logits, label}) + BytesOf({logits}), [&](const Tensors& t, int run) {
            forward(t, run);
            BinLossBackward(bench.context, params, t.At<float>(run, 0), t.At<uint8_t>(run, 1),
                            t.At<BinLossStats>(run, 2), 1, t.At<float>(run, 4), GradMode::kWrite);
          });
  constexpr size_t kLosses = 6;  // of a training step
  std::vector<TensorSpec> all = {label};
  for (size_t i = 0; i < kLosses; ++i) all.insert(all.end(), {logits, stats, loss, logits});
  Measure(bench, "six bin losses forward and backward" + of, all,
          2 * BytesOf({label}) + kLosses * 3 * BytesOf({logits}), [&](const Tensors& t, int run) {
            std::vector<BinLossTask> tasks;
            std::vector<BinLossGradientTask> gradients;
            for (size_t at = 1; at < all.size(); at += 4) {
              auto* found = t.At<BinLossStats>(run, at + 1);
              tasks.push_back({t.At<float>(run, at), found, t.At<float>(run, at + 2)});
              gradients.push_back(
                  {t.At<float>(run, at), found, 1, t.At<float>(run, at + 3), GradMode::kWrite});
            }
            BinLossesForward(bench.context, params, t.At<uint8_t>(run, 0), tasks);
            BinLossesBackward(bench.context, params, t.At<uint8_t>(run, 0), gradients);
          });
}

void BenchSigmoid(GpuBench& bench, const Shape& map, const std::string& at) {
  const TensorSpec logits{map.Count(), DType::kF32, -4, 4};
  Measure(bench, "sigmoid" + at, {logits, logits}, 2 * BytesOf({logits}),
          [&](const Tensors& t, int run) {
            SigmoidForward(bench.context, map.Count(), t.At<float>(run, 0), t.At<float>(run, 1));
          });
  SigmoidLossParams params;
  params.count = map.Count();
  params.batch = map.n;
  const TensorSpec target{map.Count(), DType::kF32, 0, 1}, scalar{1};
  Measure(bench, "sigmoid loss forward" + at, {logits, target, scalar, scalar},
          BytesOf({logits, target}), [&](const Tensors& t, int run) {
            SigmoidLossForward(bench.context, params, t.At<float>(run, 0), t.At<float>(run, 1),
                               t.At<float>(run, 2), t.At<float>(run, 3));
          });
}

// Counts of L-Seg's parameters: the trunk's weights, and the many small ones.
std::vector<int64_t> ParameterCounts(bool costs) {
  constexpr int64_t kTrunk[][2] = {{3, 64},    {64, 64},   {64, 128},  {128, 128}, {128, 256},
                                   {256, 256}, {256, 256}, {256, 512}, {512, 512}, {512, 512},
                                   {512, 512}, {512, 512}, {512, 512}};
  std::vector<int64_t> counts;
  for (const auto& [in, out] : kTrunk) {
    counts.push_back(in * out * 9 / (costs ? 64 : 1));
    counts.push_back(out);
  }
  for (const int64_t in : {64, 128, 256, 512, 512}) {
    counts.push_back(4 * in);
    counts.push_back(4);
  }
  for (int lesion = 0; lesion < 4; ++lesion) {
    counts.push_back(5);
    counts.push_back(1);
  }
  return counts;
}

// The parameters in memory, and the solver's view of the part of it that a run works on.
void BenchUpdate(GpuBench& bench) {
  const std::vector<int64_t> counts = ParameterCounts(bench.costs);
  std::vector<int64_t> at;
  int64_t total = 0;
  for (const int64_t count : counts) {
    at.push_back(total);
    total += (count + 63) / 64 * 64;
  }
  const auto tensors = [&](const Tensors& t, int run) {
    std::vector<UpdateTensor> list;
    for (size_t i = 0; i < counts.size(); ++i) {
      list.push_back({counts[i], t.At<float>(run, 0) + at[i], t.At<float>(run, 1) + at[i],
                      t.At<float>(run, 2) + at[i], t.At<float>(run, 3) + at[i], 1, 1});
    }
    return list;
  };
  const std::vector<TensorSpec> specs = {{total},
                                         {total, DType::kF32, -1e-3f, 1e-3f},
                                         {total, DType::kF32, 0, 1e-3f},
                                         {total, DType::kF32, 0, 1e-6f}};
  const Buffer step(bench.context.device(), sizeof(StepState));
  const StepState state{1e-6f, 0};
  CopyToDevice(bench.context.device(), step.data(), &state, sizeof(state));
  Measure(bench, "gradient norm", specs, 4 * total, [&](const Tensors& t, int run) {
    GradientNorm(bench.context, tensors(t, run), t.At<float>(run, 0));
  });
  UpdateParams params;
  params.momentum = 0.9f;
  params.weight_decay = 2e-4f;
  // SGD reads three arrays and writes two of them; Adam four and three.
  for (const UpdateParams::Method method :
       {UpdateParams::Method::kSgd, UpdateParams::Method::kAdam}) {
    params.method = method;
    const bool sgd = method == UpdateParams::Method::kSgd;
    Measure(bench, sgd ? "update, SGD" : "update, Adam", specs, (sgd ? 5 : 7) * 4 * total,
            [&](const Tensors& t, int run) {
              Update(bench.context, params, tensors(t, run),
                     static_cast<const StepState*>(step.data()), nullptr);
            });
  }
}

}  // namespace

void BenchMemoryOps(GpuBench& bench) {
  const int64_t height = bench.costs ? 128 : 960, width = bench.costs ? 192 : 1440;
  const std::string size = " " + std::to_string(width) + "x" + std::to_string(height);
  const Shape stage1{1, 64, height, width}, stage3{1, 256, height / 4, width / 4};
  const Shape map{1, 4, height, width};  // a side map: one channel a lesion
  for (const Shape& stage : {stage1, stage3}) {
    const std::string at = " " + ToString(stage);
    BenchPool(bench, stage, at);
    BenchStageGradient(bench, stage, at);
    BenchRelu(bench, stage, at);
    BenchReorder(bench, stage, at);
  }
  for (const int64_t stride : {2, 4, 8, 16}) BenchDeconv(bench, map, stride, size);
  BenchBoxCopy(bench, map, size);
  BenchInference(bench, map, size);
  BenchBinLoss(bench, map, false, size);
  BenchBinLoss(bench, map, true, size);
  BenchSigmoid(bench, map, size);
  BenchUpdate(bench);
  BenchRareOps(bench, stage1, map, size);
}

}  // namespace lseg
