// Two passes: keys of the positives, sorted once; then the negatives merged in, chunk by chunk.
#include "lseg/exact_ap.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "kernels/runtime/check.h"

namespace lseg {
namespace {

// Adding zero turns -0, whose pattern would be the largest of all, into 0.
uint32_t Key(float probability) { return std::bit_cast<uint32_t>(probability + 0.0f); }

// Radix sort, least significant digit first. Keys are at most that of 1.0f, 0x3F800000, so three
// digits of ten bits hold them; std::sort takes some ten times as long on a chunk.
void SortKeys(std::vector<uint32_t>* keys, std::vector<uint32_t>* scratch) {
  scratch->resize(keys->size());
  for (int shift = 0; shift < 30; shift += 10) {
    std::array<size_t, 1024> start = {};
    for (uint32_t key : *keys) ++start[(key >> shift) & 1023];
    size_t sum = 0;
    for (size_t& s : start) sum += std::exchange(s, sum);
    for (uint32_t key : *keys) (*scratch)[start[(key >> shift) & 1023]++] = key;
    keys->swap(*scratch);
  }
}

}  // namespace

void ExactAp::AddPositives(const float* prob, const uint8_t* truth, int64_t pixels) {
  for (int64_t i = 0; i < pixels; ++i) {
    if (truth[i]) keys_.push_back(Key(prob[i]));
  }
}

void ExactAp::CountDistinct() {
  counted_ = true;
  {
    std::vector<uint32_t> scratch;
    SortKeys(&keys_, &scratch);
  }
  size_t distinct = 0;
  for (size_t i = 0; i < keys_.size(); ++i) {
    if (distinct == 0 || keys_[i] != keys_[distinct - 1]) {
      keys_[distinct++] = keys_[i];
      positives_.push_back(0);
    }
    ++positives_.back();
  }
  keys_.resize(distinct);
  negatives_.assign(distinct, 0);
}

void ExactAp::AddNegatives(const float* prob, const uint8_t* truth, int64_t pixels) {
  if (!counted_) CountDistinct();
  if (keys_.empty()) return;
  std::vector<uint32_t> chunk, scratch;
  chunk.reserve(std::min<size_t>(kChunk, static_cast<size_t>(pixels)));
  for (int64_t i = 0; i < pixels; ++i) {
    if (truth[i]) continue;
    const uint32_t key = Key(prob[i]);
    if (key < keys_.front()) continue;  // below every step of recall
    chunk.push_back(key);
    if (chunk.size() == kChunk) MergeChunk(&chunk, &scratch);
  }
  MergeChunk(&chunk, &scratch);
}

void ExactAp::MergeChunk(std::vector<uint32_t>* chunk, std::vector<uint32_t>* scratch) {
  SortKeys(chunk, scratch);
  size_t at = 0;
  for (uint32_t key : *chunk) {
    while (at + 1 < keys_.size() && keys_[at + 1] <= key) ++at;
    ++negatives_[at];
  }
  chunk->clear();
}

PrCurve ExactAp::Curve(size_t max_points) const {
  LSEG_CHECK(counted_ || keys_.empty(),
             "average precision wants every image shown a second time: call AddNegatives");
  PrCurve curve;
  const size_t steps = positives_.size();
  if (steps == 0) return curve;
  int64_t all = 0;
  for (int64_t count : positives_) all += count;

  const size_t kept = std::min(max_points, steps);
  double area = 0;
  int64_t hits = 0, predicted = 0;
  for (size_t i = 0; i < steps; ++i) {  // i steps down from the highest probability
    const size_t at = steps - 1 - i;
    hits += positives_[at];
    predicted += positives_[at] + negatives_[at];
    const double precision = static_cast<double>(hits) / static_cast<double>(predicted);
    area += static_cast<double>(positives_[at]) / static_cast<double>(all) * precision;
    const size_t next = curve.points.size();  // wanted at step next * (steps - 1) / (kept - 1)
    if (next < kept && (kept == 1 || i * (kept - 1) >= next * (steps - 1))) {
      curve.points.push_back({std::bit_cast<float>(keys_[at]),
                              static_cast<double>(hits) / static_cast<double>(all), precision});
    }
  }
  curve.aupr = area;
  return curve;
}

}  // namespace lseg
