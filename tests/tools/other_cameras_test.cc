// lseg_infer on photographs of other cameras than the weights were trained on, through the real
// binary: brought to the trained scale by the field of view, and back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "framework/file.h"
#include "lseg/image.h"
#include "tests/lseg/temp_folder.h"
#include "tests/lseg/tiny_model.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kBrought[] = "brought to the trained scale";

// Retina's colours, too dark for any lesion of the tiny model; at (x, y) a spot of EX, 13 pixels
// wide, with a probability of 1 / (1 + e^-2).
Image Eye(int width, int height, double centre_x, double centre_y, double radius, int x, int y) {
  Image photo(width, height, 3);
  for (int v = 0; v < height; ++v) {
    for (int u = 0; u < width; ++u) {
      if (std::hypot(u - centre_x, v - centre_y) > radius) continue;
      uint8_t* pixel = photo.Row(v) + 3 * u;
      pixel[0] = 80, pixel[1] = 40, pixel[2] = 20;
      if (std::abs(u - x) <= 6 && std::abs(v - y) <= 6) pixel[0] = 120;
    }
  }
  return photo;
}

class OtherCameras : public testing::Test {
 protected:
  // The tiny model, of 144x96 with fields of view of radius 57, cut off at top and bottom.
  OtherCameras() {
    WeightsFile model = TinyModel();
    model.metadata["lseg.width"] = "144";
    model.metadata["lseg.height"] = "96";
    model.metadata["lseg.view_radius"] = "57";
    model.Write(Path("tiny.safetensors"));
  }
  std::string Path(const std::string& name) const { return folder_.Path(name); }
  ProgramResult Infer(const Image& photo, std::vector<std::string> more = {}) {
    WritePng(Path("eye.png"), photo);
    const std::vector<std::string> start = {LSEG_INFER,   "--weights",     Path("tiny.safetensors"),
                                            "--input",    Path("eye.png"), "--out",
                                            Path("maps"), "--prob",        "npy"};
    more.insert(more.begin(), start.begin(), start.end());
    ProgramResult result = RunProgram(more, Path("log"));
    EXPECT_EQ(result.code, 0) << result.err;
    return result;
  }
  // Checks that class 1 of the map is one spot about (x, y), so many pixels wide.
  void ExpectSpot(double x, double y, double width, double tolerance) const {
    const Image map = ReadClassMap(Path("maps/eye.label.png"));
    double count = 0, sum_x = 0, sum_y = 0;
    for (int v = 0; v < map.height; ++v) {
      for (int u = 0; u < map.width; ++u) {
        if (map.Row(v)[u] != 1) continue;
        ++count, sum_x += u, sum_y += v;
      }
    }
    ASSERT_GT(count, 0);
    EXPECT_NEAR(sum_x / count, x, tolerance);
    EXPECT_NEAR(sum_y / count, y, tolerance);
    EXPECT_NEAR(std::sqrt(count), width, 2 * tolerance);
  }

  TempFolder folder_;
};

// A whole disc, larger than the working height; a small disc within wide black borders; an upright
// photograph. Tolerances are a pixel of the working size, or what that is of the photograph's.
TEST_F(OtherCameras, AreBroughtToTheTrainedScaleAndBack) {
  ProgramResult result = Infer(Eye(300, 300, 149, 151, 140, 206, 90));
  EXPECT_THAT(result.out, HasSubstr(kBrought));
  EXPECT_THAT(result.err, Not(HasSubstr("no fundus")));
  ExpectSpot(206, 90, 13, 140 / 57.0);

  result = Infer(Eye(400, 300, 130, 160, 90, 100, 140));
  EXPECT_THAT(result.out, HasSubstr(kBrought));
  ExpectSpot(100, 140, 13, 90 / 57.0);

  result = Infer(Eye(300, 450, 150, 225, 145, 150, 100));
  EXPECT_THAT(result.out, HasSubstr(kBrought));
  ExpectSpot(150, 100, 13, 145 / 57.0);
}

TEST_F(OtherCameras, MapsOfTheWorkingSizeShowThePhotographAsItFits) {
  const ProgramResult result =
      Infer(Eye(300, 300, 149, 151, 140, 206, 90), {"--output-size", "working"});
  EXPECT_THAT(result.out, HasSubstr(kBrought));
  // 96x96 in 144x96, 24 from the left.
  ExpectSpot(24 + 206 * 0.32, 90 * 0.32, 13 * 0.32, 1);
}

// What lseg_prep wrote, whatever its field of view; and a camera like the one of the training.
TEST_F(OtherCameras, PreparedAndLikePhotographsStayAsTheyAreBitForBit) {
  for (const Image& photo :
       {Eye(144, 96, 70, 47, 30, 70, 47), Eye(288, 192, 143, 95, 114 * 1.08, 100, 100)}) {
    EXPECT_THAT(Infer(photo).out, Not(HasSubstr(kBrought)));
    const std::string normalised = ReadFile(Path("maps/eye.prob.npy"));
    Infer(photo, {"--no-normalise"});
    EXPECT_EQ(ReadFile(Path("maps/eye.prob.npy")), normalised);
  }
  const Image other = Eye(300, 300, 149, 151, 140, 206, 90);
  Infer(other);
  const std::string normalised = ReadFile(Path("maps/eye.prob.npy"));
  EXPECT_THAT(Infer(other, {"--no-normalise"}).out, Not(HasSubstr(kBrought)));
  EXPECT_NE(ReadFile(Path("maps/eye.prob.npy")), normalised);
}

TEST_F(OtherCameras, APictureThatIsNoFundusIsNamedAndDone) {
  Image meadow(200, 150, 3);
  for (size_t i = 0; i < meadow.pixels.size(); ++i) {
    meadow.pixels[i] = static_cast<uint8_t>(i % 3 == 1 ? 170 : 90 + i % 40);
  }
  const ProgramResult result = Infer(meadow);
  EXPECT_THAT(result.err, HasSubstr("eye.png: looks like no fundus photograph (no dark ground"));
  EXPECT_EQ(ReadClassMap(Path("maps/eye.label.png")).width, 200);
}

TEST_F(OtherCameras, TheWeightsThresholdsHoldUnlessAFlagSaysOthers) {
  WeightsFile model = WeightsFile::Read(Path("tiny.safetensors"));
  model.metadata["lseg.thresholds"] = "0.9,0.5,0.5,0.5";  // the spot has 0.88
  model.Write(Path("tiny.safetensors"));
  const Image photo = Eye(144, 96, 70, 47, 46, 70, 47);
  Infer(photo);
  const auto exudates = [&] {
    const Image map = ReadClassMap(Path("maps/eye.label.png"));
    return std::count(map.pixels.begin(), map.pixels.end(), 1);
  };
  EXPECT_EQ(exudates(), 0);
  Infer(photo, {"--threshold", "0.87"});
  EXPECT_EQ(exudates(), 13 * 13);
}

}  // namespace
}  // namespace lseg
