// See onednn.h. Every difference between releases 2.x and 3.x that matters here is in this file.
#include "kernels/cpu/onednn.h"

#include <cstdlib>

#include "oneapi/dnnl/dnnl_version.h"

namespace lseg::onednn {
namespace {

using dnnl::prop_kind;

dnnl::primitive_attr Attributes() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

dnnl::primitive_attr ForwardAttributes(const ConvCase& c) {
  dnnl::primitive_attr attr = Attributes();
  if (c.relu) {
    dnnl::post_ops ops;
#if DNNL_VERSION_MAJOR >= 3
    ops.append_eltwise(dnnl::algorithm::eltwise_relu, 0.f, 0.f);
#else
    ops.append_eltwise(1.f, dnnl::algorithm::eltwise_relu, 0.f, 0.f);
#endif
    attr.set_post_ops(ops);
  }
  return attr;
}

#if DNNL_VERSION_MAJOR >= 3

dnnl::convolution_forward::primitive_desc MakeForward(const dnnl::engine& engine, prop_kind kind,
                                                      const ConvCase& c) {
  return {engine,
          kind,
          c.algorithm,
          c.src,
          c.weight,
          c.bias,
          c.dst,
          c.strides,
          c.dilates,
          c.pad_l,
          c.pad_r,
          ForwardAttributes(c),
          /*allow_empty=*/true};
}

#else

dnnl::convolution_forward::primitive_desc MakeForward(const dnnl::engine& engine, prop_kind kind,
                                                      const ConvCase& c) {
  try {
    const dnnl::convolution_forward::desc desc(kind, c.algorithm, c.src, c.weight, c.bias, c.dst,
                                               c.strides, c.dilates, c.pad_l, c.pad_r);
    return {desc, ForwardAttributes(c), engine, /*allow_empty=*/true};
  } catch (const dnnl::error&) {  // 2.x refuses some cases before it looks for an implementation
    return {};
  }
}

#endif

// Backward descriptors want a forward one as a hint, though it may be of another implementation.
dnnl::convolution_forward::primitive_desc MakeHint(const dnnl::engine& engine, const ConvCase& c) {
  ConvCase forward = c;
  forward.weight = c.forward_weight;
  return MakeForward(engine, prop_kind::forward_training, forward);
}

// Works until the library is used first.
void LeaveAmxOut() {
  [[maybe_unused]] static const auto status =
      std::getenv("DNNL_MAX_CPU_ISA") != nullptr || std::getenv("ONEDNN_MAX_CPU_ISA") != nullptr
          ? dnnl::status::success
          : dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_bf16);
}

}  // namespace

dnnl::engine MakeEngine() {
  LeaveAmxOut();
  return {dnnl::engine::kind::cpu, 0};
}

dnnl::convolution_forward::primitive_desc Forward(const dnnl::engine& engine, const ConvCase& c) {
  return MakeForward(engine, prop_kind::forward_inference, c);
}

dnnl::convolution_backward_data::primitive_desc BackwardData(const dnnl::engine& engine,
                                                             const ConvCase& c) {
  const auto hint = MakeHint(engine, c);
  if (!hint) return {};
#if DNNL_VERSION_MAJOR >= 3
  return {engine,    c.algorithm, c.src,   c.weight, c.dst,        c.strides,
          c.dilates, c.pad_l,     c.pad_r, hint,     Attributes(), /*allow_empty=*/true};
#else
  const dnnl::convolution_backward_data::desc desc(c.algorithm, c.src, c.weight, c.dst, c.strides,
                                                   c.dilates, c.pad_l, c.pad_r);
  return {desc, Attributes(), engine, hint, /*allow_empty=*/true};
#endif
}

dnnl::convolution_backward_weights::primitive_desc BackwardWeights(const dnnl::engine& engine,
                                                                   const ConvCase& c) {
  const auto hint = MakeHint(engine, c);
  if (!hint) return {};
#if DNNL_VERSION_MAJOR >= 3
  return {engine,
          c.algorithm,
          c.src,
          c.weight,
          c.bias,
          c.dst,
          c.strides,
          c.dilates,
          c.pad_l,
          c.pad_r,
          hint,
          Attributes(),
          /*allow_empty=*/true};
#else
  const dnnl::convolution_backward_weights::desc desc(c.algorithm, c.src, c.weight, c.bias, c.dst,
                                                      c.strides, c.dilates, c.pad_l, c.pad_r);
  return {desc, Attributes(), engine, hint, /*allow_empty=*/true};
#endif
}

dnnl::reorder::primitive_desc Reorder(const dnnl::engine& engine, const dnnl::memory::desc& from,
                                      const dnnl::memory::desc& to, bool add) {
  dnnl::primitive_attr attr;  // its scratchpad, where it wants one, is the library's: it is small
  if (add) {
    dnnl::post_ops ops;
    ops.append_sum(1.f);
    attr.set_post_ops(ops);
  }
  return {engine, from, engine, to, attr};
}

}  // namespace lseg::onednn
