// The sums are taken in bands of rows, each by one thread into its own place behind the statistics,
// and added in the bands' order.
#include "kernels/bin_loss.h"

#include "kernels/bin_loss_cutoff.h"
#include "kernels/cpu/loops.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/runtime/dispatch.h"

namespace lseg {
namespace {

constexpr int64_t kChunk = 256;  // pixels whose terms lie on the stack and are summed in float
constexpr int kPositive = 5;     // the class behind the five bins

int64_t Bands(const Shape& logits) { return std::min<int64_t>(logits.h, 32); }

// The label values of channel c, and where its plane starts.
struct LabelView {
  const uint8_t* plane;
  int32_t positive;
  bool left_out;
};
LabelView LabelOf(const BinLossParams& params, const uint8_t* label, int64_t n, int64_t c) {
  const int64_t plane = params.label.h * params.label.w;
  if (params.label.c == 1) return {label + n * plane, static_cast<int32_t>(c + 1), false};
  const uint8_t* of_channel = label + (n * params.label.c + c) * plane;
  return {of_channel, 1, *of_channel == kNotAnnotated};
}

// Adds `count` pixels to stats' counts and sums.
LSEG_MULTIVERSION void AddPixels(int64_t count, const float* z, const uint8_t* label,
                                 int32_t positive, BinLossStats* stats) {
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t size = std::min(kChunk, count - begin);
    float terms[kChunk];
    int32_t classes[kChunk];
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) {
      const float logit = z[begin + i];
      const bool is_positive = label[begin + i] == positive;
      terms[i] = Softplus(is_positive ? -logit : logit);
      classes[i] = is_positive ? kPositive : BinOf(logit);
    }
    // Most chunks lie in the background, all in one or two bins: the others are passed over.
    int32_t present = 0;
#pragma omp simd reduction(| : present)
    for (int64_t i = 0; i < size; ++i) present |= 1 << classes[i];
    for (int k = 0; k <= kPositive; ++k) {
      if ((present >> k & 1) == 0) continue;
      float sum = 0;
      int32_t members = 0;
#pragma omp simd reduction(+ : sum, members)
      for (int64_t i = 0; i < size; ++i) {
        sum += classes[i] == k ? terms[i] : 0.0f;
        members += classes[i] == k;
      }
      (k == kPositive ? stats->positives : stats->negatives[k]) += members;
      (k == kPositive ? stats->loss_positive : stats->loss_negative[k]) += sum;
    }
  }
}

struct Gradient {
  int32_t positive;  // the label of this channel
  float edge;        // negatives from this logit on are taken
  float weight_positive, weight_negative;
};

LSEG_INLINE float GradientOf(float z, int32_t label, const Gradient& g) {
  const float e = ExpOfMinusAbs(z);
  const float share = 1.0f / (1.0f + e), rest = e / (1.0f + e);
  const float p = z < 0 ? rest : share;
  const float one_minus_p = z < 0 ? share : rest;  // without cancellation
  const float negative = z < g.edge ? 0.0f : g.weight_negative * p;
  return label == g.positive ? -g.weight_positive * one_minus_p : negative;
}

LSEG_MULTIVERSION void GradientPixels(int64_t count, const Gradient& gradient, const float* z,
                                      const uint8_t* label, float* d_z, bool add) {
  const Gradient g = gradient;
  if (add) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) d_z[i] += GradientOf(z[i], label[i], g);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) d_z[i] = GradientOf(z[i], label[i], g);
  }
}

LSEG_MULTIVERSION bool AnyAbove(int64_t count, const uint8_t* label, uint8_t limit) {
  uint8_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, label[i]);
  return largest > limit;
}

void CheckLabels(Context& context, const BinLossParams& params, const uint8_t* label) {
  const Shape& shape = params.label;
  const auto limit = static_cast<uint8_t>(shape.c == 1 ? params.logits.c : 1);
  const int64_t rows = shape.n * shape.c * shape.h;
  const auto left_out = [&](int64_t row) {
    return shape.c > 1 && label[row / shape.h * shape.h * shape.w] == kNotAnnotated;
  };
  bool bad = false;
#pragma omp parallel for schedule(static) num_threads(context.threads()) reduction(|| : bad)
  for (int64_t row = 0; row < rows; ++row) {
    bad = bad || (!left_out(row) && AnyAbove(shape.w, label + row * shape.w, limit));
  }
  if (!bad) return;
  const uint8_t* wrong = label;
  while (*wrong <= limit || left_out((wrong - label) / shape.w)) ++wrong;
  const int64_t at = wrong - label;
  LSEG_FAIL("bin loss: label " << int{*wrong} << " at image " << at / (shape.c * shape.h * shape.w)
                               << ", row " << at / shape.w % shape.h << ", column " << at % shape.w
                               << " is above " << int{limit} << ", the largest that "
                               << params.logits.c << " channels and a label of " << shape.c
                               << " channel" << (shape.c == 1 ? "" : "s") << " allow");
}

void AddStats(const BinLossStats& part, BinLossStats* sum) {
  sum->positives += part.positives;
  sum->loss_positive += part.loss_positive;
  for (int bin = 0; bin < 5; ++bin) {
    sum->negatives[bin] += part.negatives[bin];
    sum->loss_negative[bin] += part.loss_negative[bin];
  }
}

void Forward(const Context& context, const BinLossParams& params, const uint8_t* label,
             const BinLossTask& task) {
  const Shape& shape = params.logits;
  const int64_t planes = shape.n * shape.c, bands = Bands(shape);
  BinLossStats *const stats = task.stats, *const parts = stats + planes;
#pragma omp parallel for collapse(2) schedule(static) num_threads(context.threads())
  for (int64_t plane = 0; plane < planes; ++plane) {
    for (int64_t band = 0; band < bands; ++band) {
      const LabelView view = LabelOf(params, label, plane / shape.c, plane % shape.c);
      const int64_t begin = shape.h * band / bands * shape.w;
      const int64_t end = shape.h * (band + 1) / bands * shape.w;
      BinLossStats sum{};
      if (!view.left_out) {
        AddPixels(end - begin, task.logits + plane * shape.h * shape.w + begin, view.plane + begin,
                  view.positive, &sum);
      }
      parts[plane * bands + band] = sum;
    }
  }
  for (int64_t plane = 0; plane < planes; ++plane) {
    stats[plane] = BinLossStats{};
    for (int64_t band = 0; band < bands; ++band) {
      AddStats(parts[plane * bands + band], &stats[plane]);
    }
  }
  double sum = 0;
  for (int64_t n = 0; n < shape.n; ++n) sum += FinishImage(params, stats + n * shape.c);
  *task.loss = static_cast<float>(sum);
}

void Backward(const Context& context, const BinLossParams& params, const uint8_t* label,
              const BinLossGradientTask& task, const float* loss_scale) {
  const float factor = loss_scale == nullptr ? task.loss_weight : task.loss_weight * *loss_scale;
  const Shape& shape = params.logits;
  const int64_t planes = shape.n * shape.c;
#pragma omp parallel for collapse(2) schedule(static) num_threads(context.threads())
  for (int64_t plane = 0; plane < planes; ++plane) {
    for (int64_t row = 0; row < shape.h; ++row) {
      const LabelView view = LabelOf(params, label, plane / shape.c, plane % shape.c);
      const BinLossStats& s = task.stats[plane];
      const bool counts = !view.left_out;
      const Gradient gradient{view.positive, GradientEdge(params, s),
                              counts ? s.weight_positive * factor : 0,
                              counts ? s.weight_negative * factor : 0};
      const int64_t at = plane * shape.h * shape.w + row * shape.w;
      GradientPixels(shape.w, gradient, task.logits + at, view.plane + row * shape.w,
                     task.d_logits + at, task.mode == GradMode::kAdd);
    }
  }
}

}  // namespace

void BinLossParams::Validate() const {
  LSEG_CHECK(logits.n > 0 && logits.c > 0 && logits.h > 0 && logits.w > 0,
             "bin loss: the logits " << ToString(logits) << " are empty");
  LSEG_CHECK(logits.c <= 255,
             "bin loss: " << logits.c << " channels; labels are bytes, so 255 is the limit");
  LSEG_CHECK(label.n == logits.n && label.h == logits.h && label.w == logits.w &&
                 (label.c == 1 || label.c == logits.c),
             "bin loss: the label " << ToString(label) << " does not fit the logits "
                                    << ToString(logits) << ": it must have the same N, H, W, and "
                                    << "1 channel (classes) or " << logits.c << " (masks)");
  LSEG_CHECK(key >= 0, "bin loss: key " << key << " must be 0 or more");
  LSEG_CHECK(num_label >= 1, "bin loss: num_label " << num_label << " must be 1 or more");
}

int64_t BinLossParams::StatsBytes() const {
  return logits.n * logits.c * (1 + std::max(Bands(logits), Blocks())) *
         static_cast<int64_t>(sizeof(BinLossStats));
}

void BinLossForward(Context& context, const BinLossParams& params, const float* logits,
                    const uint8_t* label, BinLossStats* stats, float* loss) {
  const BinLossTask task = {logits, stats, loss};
  BinLossesForward(context, params, label, {&task, 1});
}

void BinLossesForward(Context& context, const BinLossParams& params, const uint8_t* label,
                      std::span<const BinLossTask> tasks) {
  params.Validate();
  LSEG_ON_CUDA(context, BinLossesForward(context, params, label, tasks));
  CheckLabels(context, params, label);
  for (const BinLossTask& task : tasks) Forward(context, params, label, task);
}

void BinLossBackward(Context& context, const BinLossParams& params, const float* logits,
                     const uint8_t* label, const BinLossStats* stats, float loss_weight,
                     float* d_logits, GradMode d_logits_mode, const float* loss_scale) {
  const BinLossGradientTask task = {logits, stats, loss_weight, d_logits, d_logits_mode};
  BinLossesBackward(context, params, label, {&task, 1}, loss_scale);
}

void BinLossesBackward(Context& context, const BinLossParams& params, const uint8_t* label,
                       std::span<const BinLossGradientTask> tasks, const float* loss_scale) {
  params.Validate();
  LSEG_ON_CUDA(context, BinLossesBackward(context, params, label, tasks, loss_scale));
  for (const BinLossGradientTask& task : tasks) {
    if (task.mode != GradMode::kSkip) Backward(context, params, label, task, loss_scale);
  }
}

}  // namespace lseg
