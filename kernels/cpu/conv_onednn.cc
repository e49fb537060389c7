// Convolution by oneDNN. Primitives, reorders and memory objects are made once in the plan; a run
// sets pointers and executes. The library chooses the layout of weights; activations keep the
// format they come in, so that nothing is reordered between two convolutions.
#include "kernels/cpu/conv_onednn.h"

#include "kernels/cpu/conv_engines.h"
#include "kernels/cpu/float_types.h"
#include "kernels/cpu/loops.h"

namespace lseg {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

Tag ToTag(Format format) {
  switch (format) {
    case Format::kNCHW:
      return Tag::nchw;
    case Format::kNHWC:
      return Tag::nhwc;
    case Format::kNChw8c:
      return Tag::nChw8c;
    case Format::kNChw16c:
      return Tag::nChw16c;
    case Format::kOpaque:
      break;
  }
  LSEG_FAIL("oneDNN: no tag for format " << ToString(format));
}

memory::data_type ToType(DType dtype) {
  LSEG_CHECK(dtype == DType::kF32 || dtype == DType::kBF16,
             "oneDNN: convolutions of " << ToString(dtype) << " are not made here");
  return dtype == DType::kBF16 ? memory::data_type::bf16 : memory::data_type::f32;
}

memory::dims WeightDims(const ConvParams& p) {
  const Shape w = p.Weight();
  if (p.group == 1) return {w.n, w.c, w.h, w.w};
  return {p.group, w.n / p.group, w.c, w.h, w.w};
}

// Weights in the library's own layout.
memory::desc PackedWeights(const ConvParams& p, DType dtype) {
  return {WeightDims(p), ToType(dtype), Tag::any};
}

}  // namespace

namespace onednn {

memory::desc Activation(const Shape& s, Format format, DType dtype) {
  return {{s.n, s.c, s.h, s.w}, ToType(dtype), ToTag(format)};
}

memory::desc PlainWeights(const ConvParams& p) {
  return {WeightDims(p), memory::data_type::f32, p.group == 1 ? Tag::oihw : Tag::goihw};
}

ConvCase MakeCase(const ConvParams& p, ConvDirection direction, ConvFormats formats,
                  dnnl::algorithm algorithm) {
  const Shape dst = p.Dst();
  ConvCase c;
  c.algorithm = algorithm;
  c.src = Activation(p.src, formats.src, formats.src_dtype);
  c.dst = Activation(dst, formats.dst, formats.dst_dtype);
  const DType products = formats.AllF32() ? DType::kF32 : DType::kBF16;
  const bool backward_weights = direction == ConvDirection::kBackwardWeights;
  c.weight = PackedWeights(p, backward_weights ? DType::kF32 : products);
  c.forward_weight = PackedWeights(p, products);
  if (p.bias && direction != ConvDirection::kBackwardData) {
    c.bias = {{p.out_channels}, memory::data_type::f32, Tag::x};
  }
  c.strides = {p.stride_h, p.stride_w};
  c.dilates = {p.dilation_h - 1, p.dilation_w - 1};  // oneDNN counts the gaps
  c.pad_l = {p.pad_h, p.pad_w};
  c.pad_r = c.pad_l;
  c.relu = p.relu && direction == ConvDirection::kForward;
  return c;
}

}  // namespace onednn

namespace {

using onednn::Bound;
using onednn::MakeCase;
using onednn::OnednnConv;

int64_t Align(int64_t bytes) { return (bytes + 63) / 64 * 64; }

float* At(void* workspace, int64_t offset) {
  return reinterpret_cast<float*>(static_cast<char*>(workspace) + offset);
}

LSEG_MULTIVERSION void AddChunk(int64_t count, const float* from, float* to) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

LSEG_MULTIVERSION void AddChunk(int64_t count, const BFloat16* from, BFloat16* to) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i)
    to[i] = FromFloat<BFloat16>(ToFloat(to[i]) + ToFloat(from[i]));
}

void Add(const Context& context, int64_t count, DType dtype, const void* from, void* to) {
  WithFloatType(dtype, "sum", [&](auto type) {
    using T = decltype(type);
    ForChunks(context, count, [=](int64_t begin, int64_t size) {
      AddChunk(size, static_cast<const T*>(from) + begin, static_cast<T*>(to) + begin);
    });
  });
}

class OnednnForward : public OnednnConv {
 public:
  OnednnForward(const ConvParams& params, const onednn::ConvCase& c)
      : OnednnConv(params, ConvDirection::kForward) {
    const auto pd = onednn::Forward(engine_, c);
    weight_ = pd.weights_desc();
    scratch_bytes_ = pd.scratchpad_desc().get_size();
    conv_ = Bound(engine_, dnnl::convolution_forward(pd),
                  {{DNNL_ARG_SRC, pd.src_desc()},
                   {DNNL_ARG_WEIGHTS, weight_},
                   {DNNL_ARG_BIAS, c.bias},
                   {DNNL_ARG_DST, pd.dst_desc()},
                   {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}});
  }

  int64_t WorkspaceBytes(GradMode) const override { return scratch_bytes_; }

  void Run(Context&, const ConvArgs& args) const override {
    CheckConvArgs(p_, direction_, args);
    conv_.Set(DNNL_ARG_SRC, args.src);
    conv_.Set(DNNL_ARG_WEIGHTS, args.weight);
    conv_.Set(DNNL_ARG_BIAS, args.bias);
    conv_.Set(DNNL_ARG_DST, args.dst);
    conv_.Set(DNNL_ARG_SCRATCHPAD, args.workspace);
    conv_.Execute(stream_);
  }

 private:
  mutable Bound conv_;
  int64_t scratch_bytes_ = 0;
};

// oneDNN writes d_src; where it is to be added, it goes through the workspace (and in bf16 is
// rounded before and after the addition).
class OnednnBackwardData : public OnednnConv {
 public:
  OnednnBackwardData(const ConvParams& params, ConvFormats formats, const onednn::ConvCase& c)
      : OnednnConv(params, ConvDirection::kBackwardData), formats_(formats) {
    const auto pd = onednn::BackwardData(engine_, c);
    weight_ = pd.weights_desc();
    scratch_bytes_ = Align(pd.scratchpad_desc().get_size());
    d_src_bytes_ = pd.diff_src_desc().get_size();
    conv_ = Bound(engine_, dnnl::convolution_backward_data(pd),
                  {{DNNL_ARG_DIFF_DST, pd.diff_dst_desc()},
                   {DNNL_ARG_WEIGHTS, weight_},
                   {DNNL_ARG_DIFF_SRC, pd.diff_src_desc()},
                   {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}});
  }

  int64_t WorkspaceBytes(GradMode mode) const override {
    return scratch_bytes_ + (mode == GradMode::kAdd ? d_src_bytes_ : 0);
  }

  void Run(Context& context, const ConvArgs& args) const override {
    if (args.d_src_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, direction_, args);
    const bool add = args.d_src_mode == GradMode::kAdd;
    void* written = add ? At(args.workspace, scratch_bytes_) : args.d_src;
    conv_.Set(DNNL_ARG_DIFF_DST, args.d_dst);
    conv_.Set(DNNL_ARG_WEIGHTS, args.weight);
    conv_.Set(DNNL_ARG_DIFF_SRC, written);
    conv_.Set(DNNL_ARG_SCRATCHPAD, args.workspace);
    conv_.Execute(stream_);
    const DType dtype = formats_.src_dtype;
    if (add) Add(context, d_src_bytes_ / SizeOf(dtype), dtype, written, args.d_src);
    TakeReluGradient(context, p_, formats_, args);
  }

 private:
  ConvFormats formats_;
  mutable Bound conv_;
  int64_t scratch_bytes_ = 0, d_src_bytes_ = 0;
};

// The gradient comes out in the library's layout into the workspace, and is unpacked from there.
class OnednnBackwardWeights : public OnednnConv {
 public:
  OnednnBackwardWeights(const ConvParams& params, const onednn::ConvCase& c)
      : OnednnConv(params, ConvDirection::kBackwardWeights) {
    const auto pd = onednn::BackwardWeights(engine_, c);
    weight_ = pd.diff_weights_desc();
    bias_at_ = Align(pd.scratchpad_desc().get_size());
    weight_at_ = bias_at_ + (p_.bias ? Align(p_.out_channels * 4) : 0);
    conv_ = Bound(engine_, dnnl::convolution_backward_weights(pd),
                  {{DNNL_ARG_SRC, pd.src_desc()},
                   {DNNL_ARG_DIFF_DST, pd.diff_dst_desc()},
                   {DNNL_ARG_DIFF_WEIGHTS, weight_},
                   {DNNL_ARG_DIFF_BIAS, c.bias},
                   {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}});
    write_ = MakeReorder(weight_, plain_, /*add=*/false);
    add_ = MakeReorder(weight_, plain_, /*add=*/true);
  }

  int64_t WorkspaceBytes(GradMode) const override { return weight_at_ + weight_.get_size(); }

  void Run(Context&, const ConvArgs& args) const override {
    if (args.d_weight_mode == GradMode::kSkip) return;
    CheckConvArgs(p_, direction_, args);
    const bool add = args.d_weight_mode == GradMode::kAdd;
    float* d_bias = add ? At(args.workspace, bias_at_) : args.d_bias;
    const bool direct = !add && weight_ == plain_;
    float* d_weight = direct ? args.d_weight : At(args.workspace, weight_at_);
    conv_.Set(DNNL_ARG_SRC, args.src);
    conv_.Set(DNNL_ARG_DIFF_DST, args.d_dst);
    conv_.Set(DNNL_ARG_DIFF_WEIGHTS, d_weight);
    conv_.Set(DNNL_ARG_DIFF_BIAS, d_bias);
    conv_.Set(DNNL_ARG_SCRATCHPAD, args.workspace);
    conv_.Execute(stream_);
    if (p_.bias && add) AddChunk(p_.out_channels, d_bias, args.d_bias);
    if (direct) return;
    Bound& unpack = add ? add_ : write_;
    unpack.Set(DNNL_ARG_FROM, d_weight);
    unpack.Set(DNNL_ARG_TO, args.d_weight);
    unpack.Execute(stream_);
  }

 private:
  mutable Bound conv_, write_, add_;
  int64_t bias_at_ = 0, weight_at_ = 0;
};

bool Supports(const ConvParams& params, ConvDirection direction, ConvFormats formats,
              dnnl::algorithm algorithm) {
  for (const DType dtype : {formats.src_dtype, formats.dst_dtype}) {
    if (dtype != DType::kF32 && dtype != DType::kBF16) return false;
  }
  const dnnl::engine engine = onednn::MakeEngine();
  const onednn::ConvCase c = MakeCase(params, direction, formats, algorithm);
  switch (direction) {
    case ConvDirection::kForward:
      return onednn::IsUsable(onednn::Forward(engine, c));
    case ConvDirection::kBackwardData:
      return onednn::IsUsable(onednn::BackwardData(engine, c));
    case ConvDirection::kBackwardWeights:
      return onednn::IsUsable(onednn::BackwardWeights(engine, c));
  }
  return false;
}

std::unique_ptr<ConvPlan> Make(const ConvParams& params, ConvDirection direction,
                               ConvFormats formats, dnnl::algorithm algorithm) {
  const onednn::ConvCase c = MakeCase(params, direction, formats, algorithm);
  switch (direction) {
    case ConvDirection::kForward:
      return std::make_unique<OnednnForward>(params, c);
    case ConvDirection::kBackwardData:
      return std::make_unique<OnednnBackwardData>(params, formats, c);
    case ConvDirection::kBackwardWeights:
      return std::make_unique<OnednnBackwardWeights>(params, c);
  }
  LSEG_FAIL("unknown convolution direction " << static_cast<int>(direction));
}

}  // namespace

bool SupportsConvOnednn(const Context&, const ConvParams& params, ConvDirection direction,
                        ConvFormats formats) {
  return Supports(params, direction, formats, dnnl::algorithm::convolution_direct);
}

std::unique_ptr<ConvPlan> MakeConvOnednn(const Context&, const ConvParams& params,
                                         ConvDirection direction, ConvFormats formats) {
  return Make(params, direction, formats, dnnl::algorithm::convolution_direct);
}

bool SupportsConvOnednnWinograd(const Context&, const ConvParams& params, ConvDirection direction,
                                ConvFormats formats) {
  return Supports(params, direction, formats, dnnl::algorithm::convolution_winograd);
}

std::unique_ptr<ConvPlan> MakeConvOnednnWinograd(const Context&, const ConvParams& params,
                                                 ConvDirection direction, ConvFormats formats) {
  return Make(params, direction, formats, dnnl::algorithm::convolution_winograd);
}

}  // namespace lseg
