// Convolutions of which each reads what the one before writes, run together in strips of rows: maps
// between them are never whole in memory, and a strip's stay in the caches. A row is computed once:
// the last rows of a strip are kept for the next, so that nothing is paid for its borders. Bits are
// those of the convolutions run one after the other.
//
// Inputs: src; for each link its weight, its bias where it has one, its score weight where it has
// scores. Outputs: for each link its partial scores where it has scores; then the last link's map
// (pooled where it pools), unless only its scores are wanted. Forward, on the CPU.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/graph.h"
#include "kernels/conv.h"

namespace lseg {

struct ConvChainLink {
  std::string layer;
  ConvParams params;  // ReLU and stage end included
  ConvFormats formats;
  std::string engine;  // one that knows ConvArgs::rows
  int64_t grid;        // its, for these params
};

// Which rows each link computes in a strip, and what must lie in memory for it.
class ConvChainPlan {
 public:
  // strip_rows: rows of the last link's convolution a strip, rounded up to its grid.
  ConvChainPlan(const std::vector<ConvChainLink>& links, int64_t strip_rows);

  // strips()[s][i]: rows of link i's convolution; may be empty.
  const std::vector<std::vector<RowRange>>& strips() const { return strips_; }
  // Rows that the map between link i - 1 and link i has in memory, i from 1; and from which on they
  // lie there while link i runs in strip s.
  int64_t HeldRows(size_t i) const { return held_[i]; }
  int64_t HeldFrom(size_t s, size_t i) const;
  // Rows of that map that are there once link i - 1 has computed its rows of strip s.
  int64_t Produced(size_t s, size_t i) const;
  // Bytes of the map between link i - 1 and link i, a multiple of 64, and of all of them.
  int64_t MapBytes(size_t i) const;
  int64_t Bytes() const;

 private:
  std::vector<ConvParams> params_;
  std::vector<std::vector<RowRange>> strips_;
  std::vector<int64_t> held_;
  std::vector<int64_t> row_bytes_;  // of the map before link i: all channels of all images
};

std::unique_ptr<Op> MakeConvChainOp(std::vector<ConvChainLink> links, int64_t strip_rows);

}  // namespace lseg
