#include "framework/layers/conv_chain.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

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

ConvChainPlan::ConvChainPlan(const std::vector<ConvChainLink>& links, int64_t strip_rows,
                             RowRange band) {
  LSEG_CHECK(!links.empty() && strip_rows > 0,
             "a chain of " << links.size() << " convolutions in strips of " << strip_rows
                           << " rows: both must be at least 1");
  for (const ConvChainLink& link : links) params_.push_back(link.params);
  const size_t count = links.size();
  std::vector<int64_t> done(count);
  first_.assign(count, 0);
  int64_t wanted_from = band.begin;
  for (size_t i = count; i-- > 0;) {
    done[i] = wanted_from;
    if (i == 0) break;
    // A row of the convolution reads the row above it.
    const bool pooled = params_[i - 1].pooled;
    const int64_t above = std::max<int64_t>(wanted_from - 1, 0);
    wanted_from = (pooled ? 2 * above : above) / links[i - 1].grid * links[i - 1].grid;
    first_[i] = MapRows(params_[i - 1], wanted_from);
  }
  const int64_t step = RoundUp(strip_rows, links.back().grid);
  for (int64_t end = std::min(band.begin + step, band.end);; end = std::min(end + step, band.end)) {
    std::vector<RowRange> strip(count);
    int64_t wanted = end;
    for (size_t i = count; i-- > 0;) {
      strip[i] = {done[i], wanted};
      done[i] = wanted;
      // A row of the convolution reads the row below it.
      if (i > 0) wanted = ConvRowsFor(links[i - 1], std::min(wanted + 1, params_[i].src.h));
    }
    strips_.push_back(std::move(strip));
    if (end == band.end) break;
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
  return s == 0 ? first_[i] : std::max<int64_t>(strips_[s][i].begin - 1, 0);
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

double ConvChainPlan::MultiplyAdds() const {
  double sum = 0;
  for (size_t i = 0; i < params_.size(); ++i) {
    const ConvParams& p = params_[i];
    const double a_row =
        static_cast<double>(p.src.n * p.src.w * p.src.c * p.kernel_h * p.kernel_w) *
        static_cast<double>(p.out_channels) / static_cast<double>(p.group);
    sum += a_row * static_cast<double>(strips_.back()[i].end - strips_.front()[i].begin);
  }
  return sum;
}

std::vector<RowRange> ConvChainBands(const std::vector<ConvChainLink>& links, int threads) {
  const int64_t height = links.back().params.src.h, grid = links.back().grid;
  const RowRange all = {0, height};
  bool apart = threads > 1;
  for (const ConvChainLink& link : links) {
    apart = apart && link.in_a_thread;
    if (&link != &links.back()) apart = apart && link.params.score_channels == 0;
  }
  if (!apart) return {all};
  const double once = ConvChainPlan(links, height, all).MultiplyAdds();
  for (const int64_t count : {4 * threads, 2 * threads, threads}) {
    const int64_t rows = RoundUp(CeilDiv(height, count), grid);
    std::vector<RowRange> bands;
    double sum = 0;
    for (int64_t begin = 0; begin < height; begin += rows) {
      bands.push_back({begin, std::min(begin + rows, height)});
      sum += ConvChainPlan(links, height, bands.back()).MultiplyAdds();
    }
    const bool even = std::ssize(bands) == count;
    if (even && sum <= once * (1 + 1.0 / 40)) return bands;
  }
  return {all};
}

namespace {

class ConvChainOp : public Op {
 public:
  ConvChainOp(std::vector<ConvChainLink> links, int64_t strip_rows,
              const std::vector<RowRange>& bands)
      : links_(std::move(links)) {
    for (const RowRange& band : bands) {
      plans_.emplace_back(links_, strip_rows, band);
      map_bytes_ = std::max(map_bytes_, plans_.back().Bytes());
    }
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
    // These pack the weights, and run where there is one band.
    convs_ = MakeConvs(prepare.context);
    for (const ConvChainLink& link : links_) {
      prepare.engines[link.layer + " forward"] = link.engine;
    }
    if (plans_.size() == 1) return;
    threads_ = prepare.context.threads();
    thread_convs_ = MakeConvs(prepare.context.OfOneThread());
  }
  void SettleOutputs(std::span<TensorDesc> out) const override {
    for (size_t i = 0; i < links_.size(); ++i) {
      if (places_[i].scores < 0) continue;
      out[places_[i].scores].shape.n = convs_[i]->ScorePartials() * links_[i].params.src.n;
    }
  }
  int64_t WorkspaceBytes() const override { return threads_ * BandBytes(); }
  const ConvPlan* PackedFor(int input) const override {
    for (size_t i = 0; i < places_.size(); ++i) {
      if (places_[i].weight != input) continue;
      return convs_[i]->PackedWeightBytes() > 0 ? convs_[i].get() : nullptr;
    }
    return nullptr;
  }

  void Run(Context& context, const OpArgs& args) const override {
    auto* workspace = static_cast<char*>(args.workspace);
    if (plans_.size() == 1) return RunBand(context, args, plans_[0], workspace);
#pragma omp parallel for num_threads(threads_) schedule(dynamic)
    for (size_t band = 0; band < plans_.size(); ++band) {
      RunBand(context, args, plans_[band], workspace + omp_get_thread_num() * BandBytes());
    }
  }

 private:
  using Convs = std::vector<std::unique_ptr<ConvPlan>>;

  // Among inputs and outputs; negative: not there.
  struct Places {
    int weight = -1, bias = -1, score_weight = -1, scores = -1;
  };

  Convs MakeConvs(const Context& context) const {
    Convs convs;
    for (const ConvChainLink& link : links_) {
      convs.push_back(
          MakeConvPlan(context, link.params, ConvDirection::kForward, link.formats, link.engine));
    }
    return convs;
  }

  // Those that run.
  const Convs& Running() const { return plans_.size() == 1 ? convs_ : thread_convs_; }

  // What a band has of the workspace while it runs: the convolutions', then the maps between them.
  int64_t ConvBytes() const {
    int64_t bytes = 0;
    for (const auto& conv : Running()) {
      bytes = std::max(bytes, RoundUp(conv->WorkspaceBytes(), 64));
    }
    return bytes;
  }
  int64_t BandBytes() const { return ConvBytes() + map_bytes_; }

  void RunBand(Context& context, const OpArgs& args, const ConvChainPlan& plan,
               char* workspace) const {
    std::vector<char*> maps(links_.size() + 1);  // before each link, and behind the last
    maps[0] = static_cast<char*>(args.in[0]);
    char* next = workspace + ConvBytes();
    for (size_t i = 1; i < links_.size(); ++i) {
      maps[i] = next;
      next += plan.MapBytes(i);
    }
    maps.back() = map_output_ < 0 ? nullptr : static_cast<char*>(args.out[map_output_]);
    for (size_t s = 0; s < plan.strips().size(); ++s) {
      for (size_t i = 1; i < links_.size(); ++i) KeepRows(context, plan, s, i, maps[i]);
      for (size_t i = 0; i < links_.size(); ++i) {
        ConvRows rows;
        ConvArgs conv = LinkArgs(args, plan, s, i, maps, &rows);
        conv.workspace = workspace;
        if (rows.dst.begin < rows.dst.end) Running()[i]->Run(context, conv);
      }
    }
  }

  // Of the map before link i: planes (blocks of channels of all images), and a plane's row.
  int64_t Planes(size_t i) const {
    const Shape& s = links_[i].params.src;
    const int64_t block = ChannelBlock(links_[i].formats.src, s.c);
    return s.n * CeilDiv(s.c, block);
  }
  int64_t RowBytes(size_t i) const {
    const Shape& s = links_[i].params.src;
    const ConvFormats& formats = links_[i].formats;
    return s.w * ChannelBlock(formats.src, s.c) * SizeOf(formats.src_dtype);
  }

  // Moves the rows of the map before link i that the strip still reads to the front.
  void KeepRows(const Context& context, const ConvChainPlan& plan, size_t s, size_t i,
                char* map) const {
    if (s == 0) return;
    const int64_t from = plan.HeldFrom(s - 1, i), keep = plan.HeldFrom(s, i);
    const int64_t rows = plan.Produced(s - 1, i) - keep;
    if (rows <= 0 || keep == from) return;
    const int64_t row = RowBytes(i), plane = plan.HeldRows(i) * row, planes = Planes(i);
#pragma omp parallel for num_threads(context.threads()) if (plans_.size() == 1)
    for (int64_t p = 0; p < planes; ++p) {
      std::memmove(map + p * plane, map + p * plane + (keep - from) * row, rows * row);
    }
  }

  // Of link i in strip s, but the workspace; they point to `rows`.
  ConvArgs LinkArgs(const OpArgs& args, const ConvChainPlan& plan, size_t s, size_t i,
                    const std::vector<char*>& maps, ConvRows* rows) const {
    const ConvParams& p = links_[i].params;
    const Places& at = places_[i];
    rows->dst = plan.strips()[s][i];
    rows->src_held = {0, p.src.h};
    if (i > 0) {
      const int64_t from = plan.HeldFrom(s, i);
      rows->src_held = {from, from + plan.HeldRows(i)};
    }
    rows->dst_held = {0, p.pooled ? p.Pooled().h : p.src.h};
    if (i + 1 < links_.size()) {
      const int64_t from = plan.HeldFrom(s, i + 1);
      rows->dst_held = {from, from + plan.HeldRows(i + 1)};
    }
    ConvArgs conv;
    conv.src = maps[i];
    conv.weight = args.in[at.weight];
    conv.bias = at.bias < 0 ? nullptr : args.f32_in(at.bias);
    conv.rows = rows;
    if (p.HasStageEnd()) {
      conv.pooled = maps[i + 1];
      conv.score_weight = at.score_weight < 0 ? nullptr : args.f32_in(at.score_weight);
      conv.score_partials = at.scores < 0 ? nullptr : static_cast<float*>(args.out[at.scores]);
    } else {
      conv.dst = maps[i + 1];
    }
    return conv;
  }

  std::vector<ConvChainLink> links_;
  std::vector<ConvChainPlan> plans_;  // one a band
  std::vector<Places> places_;
  int map_output_ = -1;
  Convs convs_, thread_convs_;  // thread_convs_: of several bands
  int threads_ = 1;             // that run bands
  int64_t map_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Op> MakeConvChainOp(std::vector<ConvChainLink> links, int64_t strip_rows,
                                    const std::vector<RowRange>& bands) {
  return std::make_unique<ConvChainOp>(std::move(links), strip_rows, bands);
}

}  // namespace lseg
