// More of bench_gpu's cases, so that every kernel is measured: gradients of what does not learn in
// L-Seg, windows and strides other than VGG's, labels in floats, training crops, side maps,
// what nets of other hands have.
#include "benchmarks/bench_gpu.h"
#include "kernels/box_copy.h"
#include "kernels/crop_resample.h"
#include "kernels/cuda/conv_bias.h"
#include "kernels/deconv.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/fuse_sides.h"
#include "kernels/pool.h"
#include "kernels/reorder.h"
#include "kernels/sigmoid_loss.h"
#include "kernels/softmax.h"

namespace lseg {
namespace {

void BenchWindows(GpuBench& bench, const Shape& stage, const std::string& at) {
  PoolParams params;
  params.src = stage;
  params.kernel_h = params.kernel_w = 3;
  params.format = Format::kNHWC;
  params.dtype = DType::kBF16;
  const int64_t src = stage.Count(), dst = params.Dst().Count();
  const std::vector<TensorSpec> specs = {
      {src, DType::kBF16}, {dst, DType::kBF16}, {dst, params.ArgmaxDType(), 0, 3}};
  for (const PoolParams::Method method : {PoolParams::Method::kMax, PoolParams::Method::kAverage}) {
    params.method = method;
    const bool max = method == PoolParams::Method::kMax;
    const std::string of = std::string(max ? "pool 3x3, maximum" : "pool 3x3, average");
    const int64_t bytes = max ? BytesOf(specs) : BytesOf({specs[0], specs[1]});
    Measure(bench, of + at, specs, bytes, [&](const Tensors& t, int run) {
      PoolForward(bench.context, params, t.At(run, 0), t.At(run, 1), max ? t.At(run, 2) : nullptr);
    });
    Measure(bench, of + ", backward" + at, specs, bytes, [&](const Tensors& t, int run) {
      PoolBackward(bench.context, params, t.At(run, 1), max ? t.At(run, 2) : nullptr, t.At(run, 0),
                   GradMode::kWrite);
    });
  }
}

void BenchDeconvolutions(GpuBench& bench, const Shape& map, const std::string& at) {
  DeconvParams params;
  params.src = {map.n, map.c, map.h / 2, map.w / 2};
  params.out_channels = map.c;
  params.stride_h = params.stride_w = 2;
  for (const int64_t kernel : {3, 4}) {
    params.kernel_h = params.kernel_w = kernel;
    const std::vector<TensorSpec> specs = {
        {params.src.Count()}, {params.Weight().Count()}, {params.Dst().Count()}, {map.c}};
    const std::string of = " " + std::to_string(kernel) + "x" + std::to_string(kernel) + at;
    if (kernel == 3) {
      Measure(bench, "deconv forward" + of, specs, BytesOf(specs), [&](const Tensors& t, int run) {
        DeconvForward(bench.context, params, t.At<float>(run, 0), t.At<float>(run, 1),
                      t.At<float>(run, 3), t.At<float>(run, 2));
      });
    }
    Measure(bench, "deconv backward weights" + of, specs, BytesOf(specs),
            [&](const Tensors& t, int run) {
              DeconvBackwardWeights(bench.context, params, t.At<float>(run, 0), t.At<float>(run, 2),
                                    t.At<float>(run, 1), GradMode::kWrite, t.At<float>(run, 3),
                                    GradMode::kWrite);
            });
  }
}

void BenchElements(GpuBench& bench, const Shape& stage, const Shape& map, const std::string& at) {
  const TensorSpec trunk{stage.Count(), DType::kBF16}, logits{map.Count()},
      label{map.Count(), DType::kU8, 0, 4}, scalar{1, DType::kF32, 1, 2};
  Measure(bench, "relu forward" + at, {trunk, trunk}, 2 * BytesOf({trunk}),
          [&](const Tensors& t, int run) {
            ReluForward(bench.context, trunk.count, 0, t.At(run, 0), t.At(run, 1), DType::kBF16);
          });
  Measure(bench, "sigmoid backward" + at, {logits, logits}, 3 * BytesOf({logits}),
          [&](const Tensors& t, int run) {
            SigmoidBackward(bench.context, logits.count, t.At<float>(run, 0), t.At<float>(run, 1),
                            t.At<float>(run, 1), GradMode::kWrite);
          });
  SigmoidLossParams params;
  params.count = map.Count();
  params.batch = map.n;
  Measure(bench, "sigmoid loss backward" + at, {logits, logits, logits, scalar},
          3 * BytesOf({logits}), [&](const Tensors& t, int run) {
            SigmoidLossBackward(bench.context, params, t.At<float>(run, 0), t.At<float>(run, 1),
                                t.At<float>(run, 3), 1, t.At<float>(run, 2), GradMode::kWrite);
          });
  Measure(bench, "labels to floats and back" + at, {label, logits}, 2 * BytesOf({label, logits}),
          [&](const Tensors& t, int run) {
            CastToF32(bench.context, label.count, t.At<uint8_t>(run, 0), t.At<float>(run, 1));
            CastToU8(bench.context, label.count, t.At<float>(run, 1), t.At<uint8_t>(run, 0));
          });
}

void BenchCrops(GpuBench& bench, const Shape& map, const std::string& at) {
  BoxCopyParams box;
  box.src = box.box = map;
  box.dst = {map.n, map.c, map.h + 16, map.w + 16};
  box.dst_at = {0, 0, 8, 8};
  const TensorSpec whole{box.dst.Count()};
  Measure(bench, "zeros around a crop" + at, {whole}, 4 * (box.dst.Count() - map.Count()),
          [&](const Tensors& t, int run) { ZeroOutside(bench.context, box, t.At<float>(run, 0)); });
  CropResampleParams crop;
  crop.src_height = map.h;
  crop.src_width = map.w;
  crop.scaled_height = map.h * 5 / 4;
  crop.scaled_width = map.w * 5 / 4;
  crop.height = map.h * 3 / 4;
  crop.width = map.w * 3 / 4;
  crop.top = crop.left = 8;
  crop.flip_x = true;
  crop.classes = static_cast<int>(map.c);
  const int64_t pixels = map.h * map.w, made = crop.height * crop.width;
  const std::vector<TensorSpec> specs = {{3 * pixels, DType::kU8, 0, 255},
                                         {pixels, DType::kU8, 0, 15},
                                         {3 * made},
                                         {map.c * made, DType::kU8, 0, 1}};
  Measure(bench, "training crop" + at, specs, BytesOf(specs), [&](const Tensors& t, int run) {
    CropResample(bench.context, crop, t.At<uint8_t>(run, 0), t.At<uint8_t>(run, 1),
                 t.At<float>(run, 2), t.At<uint8_t>(run, 3));
  });
}

// L-Seg's five side maps to one, in training; gradients are added, since those of losses come
// first.
void BenchSides(GpuBench& bench, const Shape& map, const std::string& at) {
  constexpr int kSides = 5;
  const FuseSidesParams params = {map, kSides};
  const int64_t classes = map.c;
  std::vector<TensorSpec> specs(2 * kSides + 1, {map.Count()});  // sides, gradients, dst
  specs.push_back({4 * classes * (kSides + 1)});
  const auto args = [&](const Tensors& t, int run) {
    FuseSidesArgs fuse;
    for (size_t s = 0; s < kSides; ++s) fuse.side[s] = t.At<float>(run, s);
    for (int64_t c = 0; c < classes; ++c) {
      fuse.weight[c] = t.At<float>(run, 2 * kSides + 1) + c * kSides;
      fuse.bias[c] = fuse.weight[0] + classes * kSides + c;
    }
    return fuse;
  };
  const int64_t bytes = 4 * map.Count();
  Measure(bench, "side maps fused" + at, specs, (kSides + 1) * bytes,
          [&](const Tensors& t, int run) {
            FuseSidesForward(bench.context, params, args(t, run), t.At<float>(run, 2 * kSides));
          });
  Measure(bench, "side maps fused, gradients" + at, specs, (3 * kSides + 1) * bytes,
          [&](const Tensors& t, int run) {
            FuseSidesGradients gradients;
            float* weights = t.At<float>(run, 2 * kSides + 1) + 2 * classes * (kSides + 1);
            for (size_t i = 0; i < kSides; ++i) {
              gradients.d_side[i] = t.At<float>(run, kSides + i);
              gradients.d_side_mode[i] = GradMode::kAdd;
            }
            for (int64_t c = 0; c < classes; ++c) {
              gradients.d_weight[c] = weights + c * kSides;
              gradients.d_bias[c] = weights + classes * kSides + c;
              gradients.d_weight_mode[c] = gradients.d_bias_mode[c] = GradMode::kWrite;
            }
            FuseSidesBackward(bench.context, params, args(t, run), t.At<float>(run, 2 * kSides),
                              gradients);
          });
}

// What nets of other hands have: softmax of the background and the classes, sums, dropout.
void BenchClasses(GpuBench& bench, const Shape& stage, const Shape& map, const std::string& at) {
  const Shape scores{map.n, map.c + 1, map.h, map.w};
  const TensorSpec logits{scores.Count()}, scalar{1, DType::kF32, 1, 2};
  const TensorSpec label{map.n * map.h * map.w, DType::kU8, 0, 4};
  Measure(bench, "softmax" + at, {logits, logits}, 2 * BytesOf({logits}),
          [&](const Tensors& t, int run) {
            SoftmaxForward(bench.context, scores, t.At<float>(run, 0), t.At<float>(run, 1));
          });
  Measure(bench, "softmax backward" + at, {logits, logits, logits}, 3 * BytesOf({logits}),
          [&](const Tensors& t, int run) {
            SoftmaxBackward(bench.context, scores, t.At<float>(run, 0), t.At<float>(run, 1),
                            t.At<float>(run, 2), GradMode::kWrite);
          });
  SoftmaxLossParams params;
  params.logits = scores;
  params.label = {map.n, 1, map.h, map.w};
  Measure(bench, "softmax loss" + at, {logits, label, scalar, scalar}, BytesOf({logits, label}),
          [&](const Tensors& t, int run) {
            SoftmaxLossForward(bench.context, params, t.At<float>(run, 0), t.At<uint8_t>(run, 1),
                               t.At<float>(run, 2), t.At<float>(run, 3));
          });
  Measure(bench, "softmax loss backward" + at, {logits, label, scalar, logits},
          2 * BytesOf({logits}) + BytesOf({label}), [&](const Tensors& t, int run) {
            SoftmaxLossBackward(bench.context, params, t.At<float>(run, 0), t.At<uint8_t>(run, 1),
                                t.At<float>(run, 2), 1, t.At<float>(run, 3), GradMode::kWrite);
          });
  const TensorSpec trunk{stage.Count(), DType::kBF16}, number{1, DType::kI32, 0, 0};
  Measure(bench, "sum of three" + at, {trunk, trunk, trunk, trunk}, 4 * BytesOf({trunk}),
          [&](const Tensors& t, int run) {
            const SumTerm terms[] = {{t.At(run, 0), 1}, {t.At(run, 1), 1}, {t.At(run, 2), 1}};
            WeightedSum(bench.context, trunk.count, terms, t.At(run, 3), GradMode::kWrite,
                        DType::kBF16);
          });
  Measure(bench, "dropout" + at, {trunk, trunk, number}, 2 * BytesOf({trunk}),
          [&](const Tensors& t, int run) {
            Dropout(bench.context, {trunk.count, 0.5f, 1}, t.At<int32_t>(run, 2), t.At(run, 0),
                    t.At(run, 1), GradMode::kWrite, DType::kBF16);
          });
}

// What engines of libraries lack.
void BenchBias(GpuBench& bench, const Shape& stage, const std::string& at) {
  const TensorSpec trunk{stage.Count(), DType::kBF16}, bias{stage.c};
  Measure(bench, "bias and relu" + at, {trunk, bias}, 2 * BytesOf({trunk}),
          [&](const Tensors& t, int run) {
            cuda::AddBiasRelu(bench.context, stage, Format::kNHWC, DType::kBF16, t.At(run, 0),
                              t.At<float>(run, 1), true);
          });
  for (const Format format : {Format::kNHWC, Format::kNCHW}) {
    const cuda::BiasGradient gradient(bench.context, stage, format, DType::kBF16);
    const TensorSpec partials{gradient.WorkspaceBytes() / 4};
    Measure(bench, "gradient of a bias, " + ToString(format) + at, {trunk, bias, partials},
            BytesOf({trunk}), [&](const Tensors& t, int run) {
              gradient.Run(bench.context, t.At(run, 0), t.At<float>(run, 1), false, t.At(run, 2));
            });
  }
}

}  // namespace

void BenchRareOps(GpuBench& bench, const Shape& stage, const Shape& map, const std::string& at) {
  BenchWindows(bench, stage, at);
  BenchDeconvolutions(bench, map, at);
  BenchElements(bench, stage, map, at);
  BenchCrops(bench, map, at);
  BenchSides(bench, map, at);
  BenchClasses(bench, stage, map, at);
  BenchBias(bench, stage, at);
}

}  // namespace lseg
