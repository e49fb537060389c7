#include "kernels/box_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

using testing::HasSubstr;

size_t At(const Shape& s, int64_t n, int64_t c, int64_t y, int64_t x) {
  return static_cast<size_t>(((n * s.c + c) * s.h + y) * s.w + x);
}

template <class Each>
void ForBox(const Shape& box, const Each& each) {
  for (int64_t n = 0; n < box.n; ++n)
    for (int64_t c = 0; c < box.c; ++c)
      for (int64_t y = 0; y < box.h; ++y)
        for (int64_t x = 0; x < box.w; ++x) each(n, c, y, x);
}

class BoxCopyTest : public DeviceTest {};
LSEG_ON_ALL_DEVICES(BoxCopyTest);

// Copies element by element, and checks the whole of dst, with that outside the box untouched.
void CheckBoxCopy(Device device, const BoxCopyParams& p, const std::string& what) {
  Context context(device);
  const std::vector<float> src = Draw(1, p.src.Count()), before = Draw(2, p.dst.Count());
  const Memory<float> from_memory(context, src);
  for (const GradMode mode : {GradMode::kSkip, GradMode::kWrite, GradMode::kAdd}) {
    std::vector<float> expected = before;
    ForBox(p.box, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
      const float from =
          src[At(p.src, p.src_at.n + n, p.src_at.c + c, p.src_at.h + y, p.src_at.w + x)];
      float& to =
          expected[At(p.dst, p.dst_at.n + n, p.dst_at.c + c, p.dst_at.h + y, p.dst_at.w + x)];
      if (mode == GradMode::kWrite) to = from;
      if (mode == GradMode::kAdd) to += from;
    });
    const Memory<float> dst(context, before);
    BoxCopy(context, p, from_memory.data(), mode == GradMode::kSkip ? nullptr : dst.data(), mode);
    EXPECT_EQ(dst.Values(), expected) << what << ", mode " << static_cast<int>(mode);
  }
}

TEST_P(BoxCopyTest, CropSliceConcatAndAnyBox) {
  CheckBoxCopy(GetParam(), {{2, 4, 9, 11}, {2, 4, 5, 6}, {2, 4, 5, 6}, {0, 0, 1, 2}}, "crop");
  CheckBoxCopy(GetParam(), {{2, 4, 9, 11}, {2, 1, 9, 11}, {2, 1, 9, 11}, {0, 2, 0, 0}}, "slice");
  CheckBoxCopy(GetParam(),
               {{2, 1, 9, 11}, {2, 5, 9, 11}, {2, 1, 9, 11}, {0, 0, 0, 0}, {0, 3, 0, 0}}, "concat");
  CheckBoxCopy(GetParam(), {{3, 4, 5, 6}, {2, 7, 8, 9}, {2, 3, 2, 4}, {1, 0, 3, 1}, {0, 2, 1, 5}},
               "any box");
  CheckBoxCopy(GetParam(), {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}}, "one element");
  CheckBoxCopy(GetParam(),
               {{1, 2, 300, 150}, {1, 3, 300, 150}, {1, 2, 299, 150}, {0, 0, 0, 0}, {0, 1, 1, 0}},
               "several runs a channel");
  CheckBoxCopy(GetParam(), {{2, 4, 9, 12}, {2, 4, 5, 8}, {2, 4, 5, 8}, {0, 0, 1, 4}},
               "crop in vectors of 4");
  CheckBoxCopy(GetParam(),
               {{2, 1, 6, 12}, {2, 5, 6, 12}, {2, 1, 6, 12}, {0, 0, 0, 0}, {0, 3, 0, 0}},
               "concat in vectors of 4");
}

// More boxes than a launch takes, some of which fit vectors, some added, some left out.
TEST_P(BoxCopyTest, ManyAtOnce) {
  Context context(GetParam());
  constexpr int kBoxes = 19;
  const Shape whole{2, kBoxes, 6, 12}, one{2, 1, 6, 12};
  const std::vector<float> before = Draw(1, whole.Count());
  std::vector<float> expected = before;
  const Memory<float> dst(context, before);
  std::vector<Memory<float>> sources;
  std::vector<BoxCopyJob> jobs;
  for (int i = 0; i < kBoxes; ++i) {
    const std::vector<float> src = Draw(2 + static_cast<uint64_t>(i), one.Count());
    sources.emplace_back(context, src);
    const Shape box{2, 1, 6 - i % 2, 12 - (i == 3)};
    const GradMode mode = i % 5 == 4   ? GradMode::kSkip
                          : i % 2 == 0 ? GradMode::kWrite
                                       : GradMode::kAdd;
    jobs.push_back({{one, whole, box, {0, 0, i % 2, 0}, {0, i, 0, 0}},
                    sources.back().data(),
                    dst.data(),
                    mode});
    if (mode == GradMode::kSkip) continue;
    ForBox(box, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
      float& to = expected[At(whole, n, i + c, y, x)];
      const float from = src[At(one, n, c, y + i % 2, x)];
      to = mode == GradMode::kAdd ? to + from : from;
    });
  }
  BoxCopies(context, jobs);
  EXPECT_EQ(dst.Values(), expected);
  BoxCopies(context, {});
}

TEST_P(BoxCopyTest, ZeroOutsideLeavesTheBox) {
  Context context(GetParam());
  const BoxCopyParams p{{1, 2, 3, 2}, {2, 4, 6, 5}, {1, 2, 3, 2}, {0, 0, 0, 0}, {1, 1, 2, 3}};
  const std::vector<float> before = Draw(1, p.dst.Count());
  const Memory<float> dst(context, before);
  std::vector<float> expected(before.size());
  ForBox(p.box, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
    const size_t at = At(p.dst, 1 + n, 1 + c, 2 + y, 3 + x);
    expected[at] = before[at];
  });
  ZeroOutside(context, p, dst.data());
  EXPECT_EQ(dst.Values(), expected);
}

TEST_P(BoxCopyTest, ABoxThatDoesNotFitIsRefused) {
  Context context(GetParam());
  const auto message = [&](const BoxCopyParams& p) {
    return ErrorOf([&] { BoxCopy(context, p, nullptr, nullptr, GradMode::kSkip); });
  };
  EXPECT_THAT(message({{1, 1, 4, 4}, {1, 1, 4, 4}, {1, 1, 4, 3}, {0, 0, 0, 2}}),
              HasSubstr("W 2..5 is not a part of src's 4"));
  EXPECT_THAT(message({{1, 3, 4, 4}, {1, 2, 4, 4}, {1, 3, 4, 4}}),
              HasSubstr("C 0..3 is not a part of dst's 2"));
  EXPECT_THAT(message({{1, 1, 4, 4}, {1, 1, 4, 4}, {1, 1, 0, 4}}), HasSubstr("1 or more"));
  EXPECT_THAT(message({{1, 1, 4, 4}, {1, 1, 4, 4}, {1, 1, 1, 1}, {-1, 0, 0, 0}}),
              HasSubstr("N -1..0"));
}

}  // namespace
}  // namespace lseg
