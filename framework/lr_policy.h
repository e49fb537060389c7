// The learning rate of an iteration: Caffe's policies, and a cosine and a warm-up of our own.
//
//   fixed      base_lr
//   step       base_lr * gamma ^ floor(i / stepsize)
//   multistep  base_lr * gamma ^ (number of stepvalues <= i)
//   exp        base_lr * gamma ^ i
//   inv        base_lr * (1 + gamma * i) ^ -power
//   poly       base_lr * (1 - i / max_iter) ^ power, 0 from max_iter on
//   sigmoid    base_lr / (1 + exp(-gamma * (i - stepsize)))
//   cosine     min_lr + (base_lr - min_lr) * (1 + cos(pi * i / max_iter)) / 2, min_lr from max_iter
//   on
//
// While i < warmup_iter the policy's rate is multiplied by
//   warmup_factor + (1 - warmup_factor) * (i + 1) / warmup_iter,
// which reaches 1 with the last iteration of the warm-up. The policy's own count is not moved by
// it.
#pragma once

#include <cstdint>

#include "framework/proto/caffe.pb.h"

namespace lseg {

// The rate of iteration i, counted from 0; worked out in double. Fields have passed the checks of
// SolverDefinition. Throws Error where poly or cosine have no max_iter.
float LearningRate(const caffe::SolverParameter& solver, int64_t iteration);

}  // namespace lseg
