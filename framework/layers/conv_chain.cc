#include "framework/layers/conv_chain.h"

#include <algorithm>
#include <cstring>

namespace lseg {
namespace {

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Rows of a link's map once rows [0, end) of its convolution are computed.
int64_t MapRows(const ConvParams& p, int64_t end) {
  if (!p.pooled) return end;
  return end == p.src.h ? p.Pooled().h : end / 2;
}

// Rows of a link's convolution that give rows [0, rows) of its map, on the grid.
int64_t ConvRowsFor(const ConvChainLink& link, int64_t rows) {
  const ConvParams& p = link.params;
  return std::min(RoundUp(p.pooled ? 2 * rows : rows, link.grid), p.src.h);
}

}  // namespace

ConvChainPlan::ConvChainPlan(const std::vector<ConvChainLink>& links, int64_t strip_rows) {
  LSEG_CHECK(!links.empty() && strip_rows > 0,
             "a chain of " << links.size() << " convolutions in strips of " << strip_rows
                           << " rows: both must be at least 1");
  for (const ConvChainLink& link : links) params_.push_back(link.params);
  const size_t count = links.size();
  const int64_t height = params_.back().src.h, step = RoundUp(strip_rows, links.back().grid);
  std::vector<int64_t> done(count, 0);
  for (int64_t end = std::min(step, height);; end = std::min(end + step, height)) {
    std::vector<RowRange> strip(count);
    int64_t wanted = end;
    for (size_t i = count; i-- > 0;) {
      strip[i] = {done[i], wanted};
      done[i] = wanted;
      // A row of the convolution reads the row below it.
      if (i > 0) wanted = ConvRowsFor(links[i - 1], std::min(wanted + 1, params_[i].src.h));
    }
    strips_.push_back(std::move(strip));
    if (end == height) break;
  }
  held_.assign(count, 0);
  row_bytes_.assign(count, 0);
  for (size_t i = 1; i < count; ++i) {
    Shape row = params_[i].src;
    row.h = 1;
    row_bytes_[i] = StorageCount(row, links[i].formats.src) * SizeOf(links[i].formats.src_dtype);
    for (size_t s = 0; s < strips_.size(); ++s) {
      held_[i] = std::max(held_[i], Produced(s, i) - HeldFrom(s, i));
    }
  }
}

int64_t ConvChainPlan::HeldFrom(size_t s, size_t i) const {
  return std::max<int64_t>(strips_[s][i].begin - 1, 0);
}

int64_t ConvChainPlan::Produced(size_t s, size_t i) const {
  return MapRows(params_[i - 1], strips_[s][i - 1].end);
}

int64_t ConvChainPlan::MapBytes(size_t i) const { return RoundUp(held_[i] * row_bytes_[i], 64); }

int64_t ConvChainPlan::Bytes() const {
  int64_t bytes = 0;
  for (size_t i = 1; i < params_.size(); ++i) bytes += MapBytes(i);
  return bytes;
}

namespace {

class ConvChainOp : public Op {
 public:
  ConvChainOp(std::vector<ConvChainLink> links, int64_t strip_rows)
      : links_(std::move(links)), plan_(links_, strip_rows) {
    int input = 1;
    for (const ConvChainLink& link : links_) {
      Places at;
      at.weight = input++;
      if (link.params.bias) at.bias = input++;
      if (link.params.score_channels > 0) at.score_weight = input++;
      places_.push_back(at);
    }
    int output = 0;
    for (size_t i = 0; i < links_.size(); ++i) {
      if (links_[i].params.score_channels > 0) places_[i].scores = output++;
    }
    const ConvParams& last = links_.back().params;
    if (last.pooled || !last.HasStageEnd()) map_output_ = output;
  }

  std::string Name() const override { return "conv_chain"; }
  void ChooseFormats(const FormatPolicy&, std::span<TensorDesc>,
                     std::span<TensorDesc>) const override {
    LSEG_FAIL("convolutions are chained when their formats are settled");
  }
  void Prepare(PrepareContext& prepare, std::span<const TensorDesc>,
               std::span<const TensorDesc>) override {
    for (const ConvChainLink& link : links_) {
      convs_.push_back(MakeConvPlan(prepare.context, link.params, ConvDirection::kForward,
                                    link.formats, link.engine));
      prepare.engines[link.layer + " forward"] = link.engine;
      conv_bytes_ = std::max(conv_bytes_, RoundUp(convs_.back()->WorkspaceBytes(), 64));
    }
  }
  void SettleOutputs(std::span<TensorDesc> out) const override {
    for (size_t i = 0; i < links_.size(); ++i) {
      if (places_[i].scores < 0) continue;
      out[places_[i].scores].shape.n = convs_[i]->ScorePartials() * links_[i].params.src.n;
    }
  }
  int64_t WorkspaceBytes() const override { return conv_bytes_ + plan_.Bytes(); }
  const ConvPlan* PackedFor(int input) const override {
    for (size_t i = 0; i < places_.size(); ++i) {
      if (places_[i].weight != input) continue;
      return convs_[i]->PackedWeightBytes() > 0 ? convs_[i].get() : nullptr;
    }
    return nullptr;
  }

  void Run(Context& context, const OpArgs& args) const override {
    std::vector<char*> maps(links_.size() + 1);  // before each link, and behind the last
    maps[0] = static_cast<char*>(args.in[0]);
    char* next = static_cast<char*>(args.workspace) + conv_bytes_;
    for (size_t i = 1; i < links_.size(); ++i) {
      maps[i] = next;
      next += plan_.MapBytes(i);
    }
    maps.back() = map_output_ < 0 ? nullptr : static_cast<char*>(args.out[map_output_]);
    for (size_t s = 0; s < plan_.strips().size(); ++s) {
      for (size_t i = 1; i < links_.size(); ++i) KeepRows(s, i, maps[i]);
      for (size_t i = 0; i < links_.size(); ++i) RunLink(context, args, s, i, maps);
    }
  }

 private:
  // Among inputs and outputs; negative: not there.
  struct Places {
    int weight = -1, bias = -1, score_weight = -1, scores = -1;
  };

  // Of the map before link i: planes (blocks of channels of all images), and a plane's row.
  int64_t Planes(size_t i) const {
    const Shape& s = links_[i].params.src;
    const int64_t block = ChannelBlock(links_[i].formats.src, s.c);
    return s.n * ((s.c + block - 1) / block);
  }
  int64_t RowBytes(size_t i) const {
    const Shape& s = links_[i].params.src;
    const ConvFormats& formats = links_[i].formats;
    return s.w * ChannelBlock(formats.src, s.c) * SizeOf(formats.src_dtype);
  }

  // Moves the rows of the map before link i that the strip still reads to the front.
  void KeepRows(size_t s, size_t i, char* map) const {
    if (s == 0) return;
    const int64_t from = plan_.HeldFrom(s - 1, i), keep = plan_.HeldFrom(s, i);
    const int64_t rows = plan_.Produced(s - 1, i) - keep;
    if (rows <= 0 || keep == from) return;
    const int64_t row = RowBytes(i), plane = plan_.HeldRows(i) * row, planes = Planes(i);
#pragma omp parallel for
    for (int64_t p = 0; p < planes; ++p) {
      std::memmove(map + p * plane, map + p * plane + (keep - from) * row, rows * row);
    }
  }

  void RunLink(Context& context, const OpArgs& args, size_t s, size_t i,
               const std::vector<char*>& maps) const {
    const ConvParams& p = links_[i].params;
    const Places& at = places_[i];
    ConvRows rows;
    rows.dst = plan_.strips()[s][i];
    if (rows.dst.begin == rows.dst.end) return;
    rows.src_held = {0, p.src.h};
    if (i > 0) {
      const int64_t from = plan_.HeldFrom(s, i);
      rows.src_held = {from, from + plan_.HeldRows(i)};
    }
    rows.dst_held = {0, p.pooled ? p.Pooled().h : p.src.h};
    if (i + 1 < links_.size()) {
      const int64_t from = plan_.HeldFrom(s, i + 1);
      rows.dst_held = {from, from + plan_.HeldRows(i + 1)};
    }
    ConvArgs conv;
    conv.src = maps[i];
    conv.weight = args.in[at.weight];
    conv.bias = at.bias < 0 ? nullptr : args.f32_in(at.bias);
    conv.workspace = args.workspace;
    conv.rows = &rows;
    if (p.HasStageEnd()) {
      conv.pooled = maps[i + 1];
      conv.score_weight = at.score_weight < 0 ? nullptr : args.f32_in(at.score_weight);
      conv.score_partials = at.scores < 0 ? nullptr : static_cast<float*>(args.out[at.scores]);
    } else {
      conv.dst = maps[i + 1];
    }
    convs_[i]->Run(context, conv);
  }

  std::vector<ConvChainLink> links_;
  ConvChainPlan plan_;
  std::vector<Places> places_;
  int map_output_ = -1;
  std::vector<std::unique_ptr<ConvPlan>> convs_;
  int64_t conv_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Op> MakeConvChainOp(std::vector<ConvChainLink> links, int64_t strip_rows) {
  return std::make_unique<ConvChainOp>(std::move(links), strip_rows);
}

}  // namespace lseg
