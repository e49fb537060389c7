// Convolutions of a part of the rows, whose sources and destinations lie in memory in part: put
// together they give the bits of one run over the whole, on every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/conv.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/random.h"
#include "tests/bf16.h"
#include "tests/kernels/for_each_target.h"

namespace lseg {
namespace {

using Floats = std::vector<float>;

constexpr float kUnset = std::numeric_limits<float>::quiet_NaN();

struct Case {
  std::string engine;
  ConvParams params;
  ConvFormats formats;
};

Floats Draw(uint64_t stream, int64_t count) {
  Random random(1, stream);
  Floats values(count);
  for (float& value : values) value = random.Uniform(-1, 1);
  return values;
}

// Rows [rows.begin, rows.end) of a tensor, cut out of memory in which all of them lie; or put back.
Floats CutRows(const Shape& s, Format format, const Floats& whole, RowRange rows) {
  const int64_t row = s.w * ChannelBlock(format, s.c);
  const int64_t planes = static_cast<int64_t>(whole.size()) / (row * s.h);
  Floats part;
  for (int64_t plane = 0; plane < planes; ++plane) {
    const auto from = whole.begin() + (plane * s.h + rows.begin) * row;
    part.insert(part.end(), from, from + (rows.end - rows.begin) * row);
  }
  return part;
}

void PutRows(const Shape& s, Format format, const Floats& part, RowRange rows, Floats* whole) {
  const int64_t row = s.w * ChannelBlock(format, s.c), count = (rows.end - rows.begin) * row;
  const int64_t planes = static_cast<int64_t>(whole->size()) / (row * s.h);
  for (int64_t plane = 0; plane < planes; ++plane) {
    std::copy_n(part.begin() + plane * count, count,
                whole->begin() + (plane * s.h + rows.begin) * row);
  }
}

// Values as elements of a type, and back; bf16 takes a float's place, of which it uses half.
Floats Stored(DType dtype, const Floats& values) {
  if (dtype == DType::kF32) return values;
  Floats stored(values.size());
  auto* to = reinterpret_cast<char*>(stored.data());
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = F32ToBF16(values[i]);
    std::memcpy(to + 2 * i, &bits, 2);
  }
  return stored;
}

Floats Values(DType dtype, const Floats& stored) {
  if (dtype == DType::kF32) return stored;
  Floats values(stored.size());
  const auto* from = reinterpret_cast<const char*>(stored.data());
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, from + 2 * i, 2);
    values[i] = BF16ToF32(bits);
  }
  return values;
}

int64_t GridOf(const Case& c) {
  for (const ConvEngine& engine : ConvEngines(Device::kCpu)) {
    if (engine.name == c.engine) return engine.row_grid(c.params);
  }
  return 0;
}

struct Result {
  Floats map, scores;
};

// Where to cut: row numbers of dst, from 0 to its height.
Result RunInParts(const Case& c, const std::vector<int64_t>& cuts) {
  Context context(Device::kCpu, 2);
  const ConvParams& p = c.params;
  const auto plan = MakeConvPlan(context, p, ConvDirection::kForward, c.formats, c.engine);
  const Shape map = p.pooled ? p.Pooled() : p.Dst();
  const Floats src = Draw(1, StorageCount(p.src, c.formats.src));
  const Floats weight = Draw(2, p.Weight().Count()), bias = Draw(3, p.out_channels);
  const Floats score_weight = Draw(4, p.score_channels * p.out_channels);
  Floats packed(plan->PackedWeightBytes() / 4), workspace(plan->WorkspaceBytes() / 4 + 16);
  plan->PackWeights(context, weight.data(), packed.data());
  Result result;
  result.map.assign(StorageCount(map, c.formats.dst), kUnset);
  result.scores.assign(plan->ScorePartials() * p.src.n * p.score_channels * p.src.h * p.src.w,
                       kUnset);
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    ConvRows rows;
    rows.dst = {cuts[i], cuts[i + 1]};
    rows.src_held = p.SrcRows(rows.dst);
    rows.dst_held = p.pooled ? RowRange{rows.dst.begin / 2, (rows.dst.end + 1) / 2} : rows.dst;
    const Floats part =
        Stored(c.formats.src_dtype, CutRows(p.src, c.formats.src, src, rows.src_held));
    Floats out =
        Stored(c.formats.dst_dtype, CutRows(map, c.formats.dst, result.map, rows.dst_held));
    ConvArgs args;
    args.src = part.data();
    args.weight = packed.data();
    args.bias = bias.data();
    args.workspace = workspace.data();
    if (p.HasStageEnd()) {
      args.pooled = p.pooled ? out.data() : nullptr;
      args.score_weight = score_weight.data();
      args.score_partials = result.scores.data();
    } else {
      args.dst = out.data();
    }
    args.rows = cuts.size() > 2 ? &rows : nullptr;
    plan->Run(context, args);
    PutRows(map, c.formats.dst, Values(c.formats.dst_dtype, out), rows.dst_held, &result.map);
  }
  return result;
}

std::vector<Case> Cases() {
  ConvParams first = {.src = {2, 3, 22, 19},
                      .out_channels = 48,
                      .kernel_h = 3,
                      .kernel_w = 3,
                      .pad_h = 1,
                      .pad_w = 1,
                      .relu = true};
  ConvParams inner = first, end = first, scores = first;
  inner.src = {2, 32, 22, 19};
  inner.out_channels = 80;
  end.src = {1, 48, 21, 26};
  end.out_channels = 144;
  end.pooled = true;
  end.score_channels = 4;
  scores.src = {1, 16, 23, 13};
  scores.score_channels = 3;
  std::vector<Case> cases;
  for (const Format format : {Format::kNChw8c, Format::kNChw16c}) {
    cases.push_back({"first_layer", first, {Format::kNCHW, format}});
    for (const ConvParams& p : {inner, end, scores}) {
      cases.push_back({"winograd4x3", p, {format, format}});
      cases.push_back({"winograd2x3", p, {format, format}});
    }
  }
  return cases;
}

// Blocks of 32, 16 and 8 rows, several and a part of one, several and no part, less than one.
std::vector<Case> Bf16Cases() {
  const auto params = [](Shape src, int64_t out_channels, bool pooled, int64_t score_channels) {
    ConvParams p = {.src = src,
                    .out_channels = out_channels,
                    .kernel_h = 3,
                    .kernel_w = 3,
                    .pad_h = 1,
                    .pad_w = 1,
                    .relu = true};
    p.pooled = pooled;
    p.score_channels = score_channels;
    return p;
  };
  std::vector<Case> cases;
  for (const ConvParams& p :
       {params({2, 24, 150, 13}, 64, false, 0), params({1, 8, 97, 5}, 128, false, 0),
        params({2, 32, 85, 21}, 144, true, 4), params({1, 8, 57, 10}, 144, true, 0),
        params({2, 16, 37, 7}, 512, false, 3), params({1, 64, 16, 9}, 520, true, 1),
        params({2, 16, 5, 6}, 64, true, 8)}) {
    cases.push_back({"onednn_rows", p, {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16}});
  }
  return cases;
}

bool SameBits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) {
           return x == y;  // which what was never written is not
         });
}

// Rows one grid at a time, and in parts of several heights.
void ExpectPartsMakeTheWhole(const Case& c) {
  SCOPED_TRACE(c.engine + " " + ToString(c.params.src) + " " + ToString(c.formats.dst));
  const int64_t height = c.params.src.h, grid = GridOf(c);
  ASSERT_GT(grid, 0);
  const Result whole = RunInParts(c, {0, height});
  std::vector<int64_t> all;
  for (int64_t y = 0; y < height; y += grid) all.push_back(y);
  for (std::vector<int64_t> cuts : {all, {0, 3 * grid}, {0, 2 * grid, 5 * grid}, {0, grid}}) {
    std::erase_if(cuts, [&](int64_t y) { return y >= height; });
    cuts.push_back(height);
    const Result parts = RunInParts(c, cuts);
    if (c.params.pooled || !c.params.HasStageEnd()) {
      EXPECT_TRUE(SameBits(parts.map, whole.map));
    }
    EXPECT_TRUE(SameBits(parts.scores, whole.scores));
  }
}

TEST(ConvRows, PartsMakeTheWhole) {
  ForEachTarget([] {
    for (const Case& c : Cases()) ExpectPartsMakeTheWhole(c);
  });
}

TEST(ConvRows, PartsMakeTheWholeInBf16) {
  LSEG_SKIP_WITHOUT_AVX512_BF16();
  for (const Case& c : Bf16Cases()) ExpectPartsMakeTheWhole(c);
}

void ExpectPartsMakeTheWholeInBf16(const std::string& engine) {
  for (Case c : Bf16Cases()) {
    if (c.params.src.c % 16 != 0 || c.params.out_channels % 16 != 0) continue;
    c.engine = engine;
    ExpectPartsMakeTheWhole(c);
  }
}

TEST(ConvRows, PartsMakeTheWholeInBf16ByWinograd) {
  LSEG_SKIP_WITHOUT_AVX512_BF16();
  ExpectPartsMakeTheWholeInBf16("winograd2x3_bf16");
}

TEST(ConvRows, PartsMakeTheWholeInBf16ByProductsInF32) {
  ForEachTarget([] { ExpectPartsMakeTheWholeInBf16("winograd4x3_bf16"); });
}

TEST(ConvRows, PartsMakeTheWholeInBf16ByAmx) {
  LSEG_SKIP_WITHOUT_AMX_BF16();
  for (Case c : Bf16Cases()) {
    if (c.params.src.c % 32 != 0 || c.params.out_channels % 32 != 0) continue;
    c.engine = "implicit_gemm_amx";
    ExpectPartsMakeTheWhole(c);
  }
}

TEST(ConvRows, OffTheGridIsRefused) {
  const Case c = Cases()[1];
  ASSERT_EQ(c.engine, "winograd4x3");
  EXPECT_THROW(RunInParts(c, {0, 6, c.params.src.h}), Error);
}

TEST(ConvRows, OffTheGridIsRefusedInBf16) {
  LSEG_SKIP_WITHOUT_AVX512_BF16();
  const Case c = Bf16Cases()[0];
  EXPECT_THROW(RunInParts(c, {0, 60, c.params.src.h}), Error);
}

}  // namespace
}  // namespace lseg
