// Convolutions in strips: the rows that a plan has are there when they are read, and L-Seg gives
// the same bits whether its convolutions are chained or not.
#include "framework/layers/conv_chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "framework/net.h"
#include "kernels/runtime/random.h"
#include "lseg/model.h"

namespace lseg {
namespace {

ConvChainLink Link(int64_t height, bool pooled, int64_t grid = 4) {
  ConvParams p = {.src = {1, 16, height, 9},
                  .out_channels = 16,
                  .kernel_h = 3,
                  .kernel_w = 3,
                  .pad_h = 1,
                  .pad_w = 1};
  p.pooled = pooled;
  return {"conv", p, {Format::kNChw8c, Format::kNChw8c}, "winograd4x3", grid, true};
}

// Two stages of two convolutions, and one convolution more; all on a grid of 4 rows, or each on its
// own.
std::vector<ConvChainLink> Links(int64_t height, bool own_grids = false) {
  const int64_t half = (height + 1) / 2, quarter = (half + 1) / 2;
  if (own_grids) {
    return {Link(height, false), Link(height, true, 32), Link(half, false, 28),
            Link(half, true, 16), Link(quarter, false, 8)};
  }
  return {Link(height, false), Link(height, true), Link(half, false), Link(half, true),
          Link(quarter, false)};
}

void ExpectSound(const std::vector<ConvChainLink>& links, const ConvChainPlan& plan,
                 RowRange band) {
  for (size_t i = 0; i < links.size(); ++i) {
    const ConvParams& p = links[i].params;
    int64_t done = plan.strips()[0][i].begin;
    ASSERT_EQ(done % links[i].grid, 0);
    if (i > 0) {
      const int64_t first = plan.strips()[0][i - 1].begin;
      ASSERT_EQ(plan.HeldFrom(0, i), links[i - 1].params.pooled ? first / 2 : first)
          << "rows are written that have no place";
    }
    for (size_t s = 0; s < plan.strips().size(); ++s) {
      const RowRange rows = plan.strips()[s][i];
      ASSERT_EQ(rows.begin, done) << "a row is skipped or computed twice";
      ASSERT_GE(rows.end, rows.begin);
      ASSERT_TRUE(rows.end % links[i].grid == 0 || rows.end == p.src.h);
      done = rows.end;
      if (i == 0 || rows.begin == rows.end) continue;
      const RowRange reads = p.SrcRows(rows);
      ASSERT_LE(plan.HeldFrom(s, i), reads.begin) << "a row was thrown away too early";
      ASSERT_GE(plan.Produced(s, i), reads.end) << "a row is read before it is there";
      ASSERT_LE(plan.Produced(s, i) - plan.HeldFrom(s, i), plan.HeldRows(i));
    }
    if (band.begin == 0) {
      ASSERT_EQ(plan.strips()[0][i].begin, 0);
    }
    if (band.end == links.back().params.src.h) {
      ASSERT_EQ(done, p.src.h) << "rows are missing";
    }
  }
  EXPECT_EQ(plan.strips().front().back().begin, band.begin);
  EXPECT_EQ(plan.strips().back().back().end, band.end);
}

RowRange All(const std::vector<ConvChainLink>& links) { return {0, links.back().params.src.h}; }

TEST(ConvChainPlan, EveryRowOnceAndInTime) {
  for (const int64_t height : {1, 4, 5, 16, 37, 38, 63, 200}) {
    for (const int64_t strip : {1, 4, 8, 20, 1000}) {
      for (const bool own_grids : {false, true}) {
        SCOPED_TRACE(std::to_string(height) + " rows, strips of " + std::to_string(strip));
        const std::vector<ConvChainLink> links = Links(height, own_grids);
        const RowRange all = All(links);
        ExpectSound(links, ConvChainPlan(links, strip, all), all);
        for (int64_t begin = 0; begin < all.end; begin += 8) {  // multiples of both grids
          const RowRange band = {begin, std::min(begin + 8, all.end)};
          ExpectSound(links, ConvChainPlan(links, strip, band), band);
        }
      }
    }
  }
}

TEST(ConvChainBands, CoverTheImageAndCostLittle) {
  const std::vector<ConvChainLink> links = {Link(960, false), Link(960, true)};
  const double once = ConvChainPlan(links, 4, All(links)).MultiplyAdds();
  EXPECT_EQ(once, 2.0 * 960 * 9 * 16 * 16 * 9);
  for (const int threads : {2, 3, 5}) {
    const std::vector<RowRange> bands = ConvChainBands(links, threads);
    EXPECT_GE(std::ssize(bands), threads);
    EXPECT_EQ(std::ssize(bands) % threads, 0);
    int64_t done = 0;
    double sum = 0;
    for (const RowRange& band : bands) {
      EXPECT_EQ(band.begin, done);
      done = band.end;
      sum += ConvChainPlan(links, 4, band).MultiplyAdds();
    }
    EXPECT_EQ(done, 960);
    EXPECT_GT(sum, once);
    EXPECT_LE(sum, 1.025 * once);
  }
}

TEST(ConvChainBands, AreOneWhereTheyWouldNotDo) {
  const auto count = [](const std::vector<ConvChainLink>& links, int threads) {
    return ConvChainBands(links, threads).size();
  };
  std::vector<ConvChainLink> links = {Link(960, false), Link(960, true)};
  EXPECT_GT(count(links, 2), 1);
  EXPECT_EQ(count(links, 1), 1);
  EXPECT_EQ(count(links, 100), 1);
  EXPECT_EQ(count({Link(40, false), Link(40, true)}, 2), 1);
  links[1].params.score_channels = 4;
  EXPECT_GT(count(links, 2), 1);
  links[0].params.score_channels = 4;  // bands would write scores twice
  EXPECT_EQ(count(links, 2), 1);
  links[0].params.score_channels = 0;
  links[0].in_a_thread = false;
  EXPECT_EQ(count(links, 2), 1);
}

TEST(ConvChainPlan, LowStripsNeedLittle) {
  const std::vector<ConvChainLink> links = Links(4000);
  const ConvChainPlan low(links, 4, All(links)), whole(links, 4000, All(links));
  EXPECT_EQ(whole.strips().size(), 1);
  // A link's rows, the one above and what the grid rounds up: two grids for the last links, more
  // for the first, whose rows are four times as many.
  EXPECT_LE(low.HeldRows(4), 8);
  EXPECT_LE(low.HeldRows(1), 4 * 8 + 8);
  EXPECT_LT(low.Bytes(), whole.Bytes() / 50);
}

class ConvChainTest : public testing::Test {
 protected:
  ConvChainTest()
      : context_(Device::kCpu, 3),
        parameters_(std::make_shared<ParameterSet>()),
        inference_(MakeInferenceNet(
            NetDefinition::FromFile(std::string(LSEG_SOURCE_DIR) + "/lseg/lseg_net.prototxt"))) {}

  // Sizes that are no multiples of anything.
  std::unique_ptr<Net> Make(NetOptions options, int64_t height = 83, int64_t width = 70) {
    options.inputs[inference_.input] = TensorDesc{{1, 3, height, width}};
    return std::make_unique<Net>(inference_.definition, BuiltinLayers(), context_, parameters_,
                                 options);
  }

  std::vector<float> Run(Net& net) {
    Random random(7, 1);
    float* data = net.InputF32(inference_.input);
    const int64_t count = net.Desc(inference_.input).shape.Count();
    for (int64_t i = 0; i < count; ++i) data[i] = random.Uniform(-100, 100);
    net.Forward();
    return net.Read(inference_.answer);
  }

  static int Count(const Net& net, const std::string& op) {
    int count = 0;
    for (const Node& node : net.graph().nodes) count += node.op->Name() == op;
    return count;
  }

  Context context_;
  std::shared_ptr<ParameterSet> parameters_;
  InferenceNet inference_;
};

TEST_F(ConvChainTest, GivesTheBitsOfTheOpsOneByOne) {
  NetOptions apart;
  apart.without_passes = {"chain_convs"};
  const std::unique_ptr<Net> plain = Make(apart);
  EXPECT_EQ(Count(*plain, "conv_chain"), 0);
  EXPECT_EQ(Count(*plain, "conv_stage_end"), 5);
  const std::vector<float> want = Run(*plain);
  EXPECT_NE(want.front(), want.back()) << "the case tells nothing apart";
  for (const ChainOptions& chain :
       {ChainOptions{1, 1024}, ChainOptions{1, 1}, ChainOptions{2, 40}, ChainOptions{5, 1}}) {
    SCOPED_TRACE(std::to_string(chain.stages) + " stages, " + std::to_string(chain.strip_tiles) +
                 " tiles");
    NetOptions options;
    options.chains = {chain};
    const std::unique_ptr<Net> chained = Make(options);
    EXPECT_EQ(Count(*chained, "conv_chain"), (5 + chain.stages - 1) / chain.stages);
    EXPECT_EQ(Count(*chained, "conv_forward") + Count(*chained, "conv_stage_end"), 0);
    EXPECT_EQ(Run(*chained), want);
  }
}

// Blocks of 32 rows in the first stage and of 8 in the last: nine of the one, three of the other.
TEST_F(ConvChainTest, GivesTheBitsOfTheOpsOneByOneInBf16) {
  constexpr int64_t kHeight = 277, kWidth = 45;
  NetOptions apart;
  apart.precision = Precision::kBF16;
  apart.without_passes = {"chain_convs"};
  const std::unique_ptr<Net> plain = Make(apart, kHeight, kWidth);
  EXPECT_EQ(Count(*plain, "conv_chain"), 0);
  EXPECT_EQ(Count(*plain, "conv_stage_end"), 5);
  const std::vector<float> want = Run(*plain);
  EXPECT_NE(want.front(), want.back()) << "the case tells nothing apart";
  for (const ChainOptions& chain : {ChainOptions{1, 1024}, ChainOptions{1, 1}, ChainOptions{2, 400},
                                    ChainOptions{3, 1}, ChainOptions{5, 1}}) {
    SCOPED_TRACE(std::to_string(chain.stages) + " stages, " + std::to_string(chain.strip_tiles) +
                 " tiles");
    NetOptions options;
    options.precision = Precision::kBF16;
    options.chains = {chain};
    const std::unique_ptr<Net> chained = Make(options, kHeight, kWidth);
    EXPECT_EQ(Count(*chained, "conv_chain"), (5 + chain.stages - 1) / chain.stages);
    EXPECT_EQ(Count(*chained, "conv_forward") + Count(*chained, "conv_stage_end"), 0);
    EXPECT_EQ(Run(*chained), want);
  }
}

// An image so high that the first two stages run in bands.
TEST_F(ConvChainTest, GivesTheBitsOfTheOpsOneByOneInBands) {
  for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
    SCOPED_TRACE(ToString(precision));
    const auto workspaces = [](const Net& net) {
      std::vector<int64_t> bytes;
      for (const Node& node : net.graph().nodes) bytes.push_back(node.op->WorkspaceBytes());
      return bytes;
    };
    NetOptions options;
    options.precision = precision;
    options.without_passes = {"chain_convs"};
    const std::vector<float> want = Run(*Make(options, 1000, 45));
    EXPECT_NE(want.front(), want.back()) << "the case tells nothing apart";
    options.without_passes = {};
    options.chains = {{1, 64, false}};
    const std::unique_ptr<Net> together = Make(options, 1000, 45);
    options.chains = {{1, 64, true}};
    const std::unique_ptr<Net> bands = Make(options, 1000, 45);
    EXPECT_NE(workspaces(*bands), workspaces(*together)) << "there are no bands";
    EXPECT_EQ(Run(*bands), want);
    EXPECT_EQ(Run(*together), want);
  }
}

TEST_F(ConvChainTest, NeedsLessMemoryTheLongerItIsAndTheLowerItsStrips) {
  const auto bytes = [&](const NetOptions& options) {
    const MemoryPlan plan = Make(options, 1000)->memory();
    return plan.arena + plan.workspace;
  };
  NetOptions apart, chained, low, long_and_low;
  apart.without_passes = {"chain_convs"};
  low.chains = {{1, 1}};
  long_and_low.chains = {{2, 1}};
  EXPECT_LT(bytes(chained), bytes(apart));
  EXPECT_LT(bytes(low), bytes(chained));
  EXPECT_LT(bytes(long_and_low), bytes(low));
}

TEST_F(ConvChainTest, TheFirstThatFitsTheLimitIsTaken) {
  NetOptions options;
  options.chains = {{1, 1024}, {1, 1}, {2, 1}};
  std::vector<int64_t> needs;
  for (const ChainOptions& chain : options.chains) {
    NetOptions one;
    one.chains = {chain};
    needs.push_back(Make(one, 1000)->memory().Total());
  }
  ASSERT_GT(needs[0], needs[1]);
  ASSERT_GT(needs[1], needs[2]);
  for (size_t i = 0; i < needs.size(); ++i) {
    options.memory_limit = needs[i];
    EXPECT_EQ(Make(options, 1000)->memory().Total(), needs[i]);
  }
  std::reverse(options.chains.begin(), options.chains.end());  // the least is told, not the last
  options.memory_limit = needs.back() - 1;
  try {
    Make(options, 1000);
    ADD_FAILURE() << "fits less than the least";
  } catch (const OutOfMemory& error) {
    EXPECT_NE(std::string(error.what()).find(Megabytes(needs.back())), std::string::npos)
        << error.what();
  }
}

TEST_F(ConvChainTest, AnotherEngineStaysAlone) {
  NetOptions options;
  options.engines = {{"conv3_2 forward", "reference"}};
  options.without_passes = {"fuse_stage_ends"};
  const std::unique_ptr<Net> net = Make(options);
  for (const Node& node : net->graph().nodes) {
    if (node.op->Name() == "conv_chain") {
      EXPECT_EQ(node.layer.find("conv3_2"), std::string::npos) << node.layer;
    }
  }
  EXPECT_EQ(net->engines().at("conv3_2 forward"), "reference");
}

}  // namespace
}  // namespace lseg
