// Convolutions of which each reads what the one before writes, run together in strips of rows: maps
// between them are never whole in memory, and a strip's stay in the caches. A row is computed once:
// the last rows of a strip are kept for the next, so that nothing is paid for its borders. Bits are
// those of the convolutions run one after the other.
//
// Where that costs little, each thread runs strips of bands of the image by itself: their maps stay
// in its own caches, and no thread waits for another but at the end. What a band's first rows read
// of the band above is computed twice.
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
  bool in_a_thread;    // ConvEngine's
};

// Which rows each link computes in a strip, and what must lie in memory for it.
class ConvChainPlan {
 public:
  // strip_rows: rows of the last link's convolution a strip, rounded up to its grid. band: the rows
  // of that convolution that are wanted, from a multiple of its grid to one, or to the last row.
  ConvChainPlan(const std::vector<ConvChainLink>& links, int64_t strip_rows, RowRange band);

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
  double MultiplyAdds() const;

 private:
  std::vector<ConvParams> params_;
  std::vector<std::vector<RowRange>> strips_;
  std::vector<int64_t> first_;  // row of the map before a link that the band computes
  std::vector<int64_t> held_;
  std::vector<int64_t> row_bytes_;  // of the map before link i: all channels of all images
};

// The bands that `threads` should run: as many for each as keep what is computed twice below a
// fortieth of all multiply-adds, but no more than four; one for all threads together where even one
// each costs more, or links before the last have scores, or engines that are not for single
// threads.
std::vector<RowRange> ConvChainBands(const std::vector<ConvChainLink>& links, int threads);

// One band is run by all threads together, several by one thread each.
std::unique_ptr<Op> MakeConvChainOp(std::vector<ConvChainLink> links, int64_t strip_rows,
                                    const std::vector<RowRange>& bands);

}  // namespace lseg
