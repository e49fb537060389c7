// The one place that knows which release of oneDNN is used: 2.x builds primitives from operation
// descriptors, 3.x from primitive descriptors alone. What both releases share (memory, primitives,
// streams, reorders) is used directly from dnnl.hpp.
#pragma once

#include "dnnl.hpp"
#include "kernels/conv.h"

namespace lseg::onednn {

// The library's engine. Its code for AMX is left out: release 2.6 computes gradients of weights
// with it that are wrong (64 to 64 channels of 240x159 pixels: by more than they are), and reads
// its scratchpad before it has written there. DNNL_MAX_CPU_ISA in the environment has the last
// word, but primitives that use AMX are not taken even then.
dnnl::engine MakeEngine();

// One convolution in oneDNN's terms. A bias descriptor of zero dimensions means no bias.
struct ConvCase {
  dnnl::algorithm algorithm = dnnl::algorithm::convolution_direct;
  dnnl::memory::desc src, weight, bias, dst;
  dnnl::memory::desc forward_weight;  // of the forward pass; weight's gradient may be wider
  dnnl::memory::dims strides, dilates, pad_l, pad_r;
  bool relu = false;  // forward only, as a post-op
};

// Descriptors of primitives whose scratchpad the caller provides. Empty (their operator bool is
// false) where the library has no implementation for the case on this processor.
dnnl::convolution_forward::primitive_desc Forward(const dnnl::engine& engine, const ConvCase& c);
dnnl::convolution_backward_data::primitive_desc BackwardData(const dnnl::engine& engine,
                                                             const ConvCase& c);
dnnl::convolution_backward_weights::primitive_desc BackwardWeights(const dnnl::engine& engine,
                                                                   const ConvCase& c);

// Copies between two descriptors of one shape; adds to the destination where `add` is set.
dnnl::reorder::primitive_desc Reorder(const dnnl::engine& engine, const dnnl::memory::desc& from,
                                      const dnnl::memory::desc& to, bool add);

}  // namespace lseg::onednn
