// Discs whose circle is known because they were drawn: whole, cut off, with marks beside them, at
// sizes that are reduced and that are not; and pictures that are no fundus.
#include "lseg/field_of_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <numbers>

#include "kernels/runtime/random.h"

namespace lseg {
namespace {

using testing::HasSubstr;

struct Drawn {
  int width, height;
  double x, y, radius;
  int top = 0, bottom = 1 << 20;  // rows of the disc: from, to
};

// Noise of up to 6 on black, as JPEG leaves; a disc that darkens to its edge, with dark vessels.
Image Draw(const Drawn& drawn, std::array<int, 3> color = {170, 90, 45}) {
  Random random(3, drawn.width);
  Image photo(drawn.width, drawn.height, 3);
  for (uint8_t& sample : photo.pixels) sample = static_cast<uint8_t>(random.Below(7));
  for (int y = std::max(0, drawn.top); y < std::min(drawn.height, drawn.bottom); ++y) {
    for (int x = 0; x < drawn.width; ++x) {
      const double r = std::hypot(x - drawn.x, y - drawn.y) / drawn.radius;
      if (r > 1) continue;
      const double light = (1 - 0.5 * r * r) * (x % 37 == 5 ? 0.4 : 1);
      for (int c = 0; c < 3; ++c) photo.Row(y)[3 * x + c] = static_cast<uint8_t>(color[c] * light);
    }
  }
  return photo;
}

int64_t DiscPixels(const Drawn& drawn) {
  int64_t count = 0;
  for (int y = std::max(0, drawn.top); y < std::min(drawn.height, drawn.bottom); ++y) {
    for (int x = 0; x < drawn.width; ++x) {
      count += std::hypot(x - drawn.x, y - drawn.y) <= drawn.radius;
    }
  }
  return count;
}

// Tolerances: a cell of the grid (see the header), and for the area half a cell along the edge.
void ExpectFound(const Drawn& drawn, const Image& photo, int64_t beside = 0) {
  const FieldOfView view = FindFieldOfView(photo);
  const double cell = std::max(1.0, std::max(drawn.width, drawn.height) / double{kViewGrid});
  EXPECT_TRUE(view.IsFundus()) << view.doubt;
  ASSERT_TRUE(view.circle_found);
  EXPECT_NEAR(view.center_x, drawn.x, cell);
  EXPECT_NEAR(view.center_y, drawn.y, cell);
  EXPECT_NEAR(view.radius, drawn.radius, cell);
  EXPECT_NEAR(view.area, DiscPixels(drawn) + beside, std::numbers::pi * drawn.radius * cell);
}

TEST(FieldOfView, WholeDiscs) {
  for (const Drawn& drawn : {Drawn{101, 99, 50, 49, 40}, Drawn{511, 401, 250.3, 200.6, 150},
                             Drawn{1503, 1001, 760, 480, 420}, Drawn{700, 2101, 340, 1500, 300}}) {
    SCOPED_TRACE(drawn.width);
    ExpectFound(drawn, Draw(drawn));
  }
}

TEST(FieldOfView, CutOffByTheCameraOrByACrop) {
  for (const Drawn& drawn : {Drawn{900, 700, 450, 350, 400, 60, 640},    // with black margins
                             Drawn{900, 600, 450, 300, 400},             // at top and bottom
                             Drawn{800, 800, 400, 400, 420},             // only corners are dark
                             Drawn{640, 480, 300, 460, 260, 0, 430}}) {  // less than half of it
    SCOPED_TRACE(drawn.radius);
    ExpectFound(drawn, Draw(drawn));
  }
}

TEST(FieldOfView, TextNotchesAndStampsDoNotMoveIt) {
  const Drawn drawn{1200, 900, 600, 450, 400};
  Image photo = Draw(drawn);
  const auto box = [&](int left, int top, int width, int height, uint8_t value) {
    for (int y = top; y < top + height; ++y) {
      std::fill_n(photo.Row(y) + 3 * left, 3 * width, value);
    }
  };
  for (int i = 0; i < 20; ++i) box(20 + 14 * i, 20, 9, 30, 255);  // text beside the disc
  box(600, 450, 30, 30, 0);                                       // a hole
  box(880, 140, 60, 40, 180);                                     // a notch at the edge
  int64_t notch = 0;
  for (int y = 140; y < 180; ++y) {
    for (int x = 880; x < 940; ++x) notch += std::hypot(x - drawn.x, y - drawn.y) > drawn.radius;
  }
  ExpectFound(drawn, photo, notch);
}

TEST(FieldOfView, IsScaledWithThePhotograph) {
  const FieldOfView view = ScaleFieldOfView({9.5, 4.5, 5, true, 80, ""}, 2, 2);
  EXPECT_EQ(view.center_x, 19.5);
  EXPECT_EQ(view.center_y, 9.5);
  EXPECT_EQ(view.radius, 10);
  EXPECT_EQ(view.area, 320);
}

TEST(FieldOfView, SaysWhyAPictureIsNoFundus) {
  Image holiday(800, 600, 3);
  for (int y = 0; y < 600; ++y) {
    for (int x = 0; x < 800; ++x) {
      uint8_t* pixel = holiday.Row(y) + 3 * x;
      const bool sky = y < 300;
      pixel[0] = sky ? 120 : 200;
      pixel[1] = sky ? 170 : 180;
      pixel[2] = sky ? 230 : 120;
    }
  }
  const FieldOfView sky = FindFieldOfView(holiday);
  EXPECT_THAT(sky.doubt, HasSubstr("no dark ground"));
  EXPECT_FALSE(sky.circle_found);
  EXPECT_EQ(sky.area, 800 * 600);
  EXPECT_DOUBLE_EQ(sky.radius, 500);

  Image window(800, 600, 3);  // bright, but no disc
  for (int y = 100; y < 400; ++y) std::fill_n(window.Row(y) + 3 * 200, 3 * 350, uint8_t{200});
  EXPECT_THAT(FindFieldOfView(window).doubt, HasSubstr("no disc"));

  const Drawn moon{800, 600, 400, 300, 200};
  EXPECT_THAT(FindFieldOfView(Draw(moon, {180, 180, 180})).doubt, HasSubstr("colours"));
  EXPECT_TRUE(FindFieldOfView(Draw(moon, {180, 180, 180})).circle_found);
  EXPECT_THAT(FindFieldOfView(Draw({800, 600, 400, 300, 95})).doubt, HasSubstr("tenth"));
  EXPECT_THAT(FindFieldOfView(Image(300, 200, 3, 2)).doubt, HasSubstr("black"));
  EXPECT_THAT(FindFieldOfView(Image(1, 1, 3, 200)).doubt, HasSubstr("no dark ground"));
}

// 1440x960, of fields of view of radius 574.
TEST(FrameFieldOfView, BringsAViewToTheRadiusAndTheMiddle) {
  const auto framed = [](const FieldOfView& view, int width, int height) {
    return FrameFieldOfView(view, width, height, 574, 1440, 960);
  };
  // A whole disc of 1148 is higher than the frame: 36 * 32 = 1152, and no wider than that.
  Framing framing = framed({499.5, 519.5, 400, true, 1, ""}, 1000, 1100);
  EXPECT_TRUE(framing.normalised);
  EXPECT_EQ(framing.width, 1152);
  EXPECT_EQ(framing.height, 1152);
  EXPECT_EQ(framing.fit.width, 1435);   // 1000 * 574 / 400
  EXPECT_EQ(framing.fit.height, 1579);  // 1578.5
  EXPECT_NEAR(framing.fit.left + 500 * 1.435, 576, 1);
  EXPECT_NEAR(framing.fit.top + 520 * 1.435, 576, 1);
  // Cut off at top and bottom as IDRiD's, but smaller: the frame stays.
  framing = framed({399.5, 199.5, 250, true, 1, ""}, 800, 400);
  EXPECT_TRUE(framing.normalised);
  EXPECT_EQ(framing.width, 1440);
  EXPECT_EQ(framing.height, 960);
  EXPECT_EQ(framing.fit.width, 1837);  // 800 * 574 / 250
  EXPECT_EQ(framing.fit.height, 918);
  EXPECT_EQ(framing.fit.left, -198);  // 720 - 400 * 2.296
  EXPECT_EQ(framing.fit.top, 21);
}

TEST(FrameFieldOfView, LeavesAloneWhatIsAlikeUnknownOrTooLarge) {
  const FieldOfView half{719.5, 479.5, 287, true, 1, ""};
  const auto left = [](const FieldOfView& view, double radius, int width, int height) {
    const Framing framing = FrameFieldOfView(view, width, height, radius, 1440, 960);
    return !framing.normalised && framing.width == 1440 && framing.height == 960 &&
           framing.fit.Fills(1440, 960);
  };
  EXPECT_FALSE(left(half, 574, 1440, 960));
  EXPECT_TRUE(left(half, 0, 1440, 960)) << "the weights say nothing";
  EXPECT_TRUE(left(half, 287 * 1.09, 1440, 960));
  EXPECT_TRUE(left(half, 143.5 / 1.09, 2880, 1920)) << "the photograph is fitted at half its size";
  EXPECT_TRUE(left({719.5, 479.5, 287, true, 1, "no fundus"}, 574, 1440, 960));
  EXPECT_TRUE(left({719.5, 479.5, 287, false, 1, ""}, 574, 1440, 960));
  // A disc of radius 100 would take 8266x5510.
  EXPECT_TRUE(left({719.5, 479.5, 100, true, 1, ""}, 574, 1440, 960));
}

TEST(FieldOfView, RefusesGray) { EXPECT_THROW(FindFieldOfView(Image(3, 3, 1)), Error); }

}  // namespace
}  // namespace lseg
