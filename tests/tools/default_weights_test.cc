// The weights that come with the project: that their card is about them, that they say what they
// are, and that lseg_infer takes them, and their thresholds, where none are given.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "framework/file.h"
#include "framework/weights.h"
#include "lseg/image.h"
#include "lseg/model.h"
#include "lseg/sha256.h"
#include "tests/lseg/temp_folder.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kFolder = LSEG_SOURCE_DIR "/lseg/weights/";
const std::string kWeights = kFolder + "lseg_idrid.safetensors";

// Half of the width of what is not black in the photograph, which its field of view crosses whole.
double HalfWidthOfEye() {
  const Image photo = ReadPhoto(kFolder + "IDRiD_49.jpg");
  int left = photo.width, right = 0;
  for (int y = photo.height / 3; y < photo.height * 2 / 3; ++y) {
    for (int x = 0; x < photo.width; ++x) {
      if (photo.Row(y)[3 * x] < 30) continue;
      left = std::min(left, x);
      right = std::max(right, x);
    }
  }
  return (right + 1 - left) / 2.;
}

TEST(DefaultWeights, AreThoseOfTheirCard) {
  const std::string sum = Sha256(ReadFile(kWeights));
  EXPECT_NE(ReadFile(kFolder + "README.md").find(sum), std::string::npos)
      << "lseg/weights/README.md does not name the sum of the weights beside it, " << sum;
}

TEST(DefaultWeights, SayWhatTheyAreAndHowTheyMayBeUsed) {
  const WeightsFile file = WeightsFile::Read(kWeights);
  for (const char* key : {"license", "attribution", "source", "recipe", "figures", "use"}) {
    ASSERT_EQ(file.metadata.count(key), 1u) << key;
    EXPECT_FALSE(file.metadata.at(key).empty()) << key;
  }
  EXPECT_THAT(file.metadata.at("license"), HasSubstr("CC BY 4.0"));
  const ModelInfo model = FromMetadata(file.metadata, kWeights);
  EXPECT_THAT(model.classes, ElementsAre("EX", "HE", "MA", "SE"));
  EXPECT_EQ(model.width, 1440);
  EXPECT_EQ(model.height, 960);
  EXPECT_EQ(model.thresholds.size(), 4u);
  EXPECT_NEAR(model.view_radius, HalfWidthOfEye() * model.width / 4288, 0.02 * model.view_radius);
}

TEST(DefaultWeights, AreTakenWithTheirThresholdsWhereNoneAreGiven) {
  const TempFolder folder;
  const std::string thresholds = WeightsFile::Read(kWeights).metadata.at("lseg.thresholds");
  const auto infer = [&](const std::string& out, std::vector<std::string> more) {
    const std::vector<std::string> start = {LSEG_INFER, "--input",        kFolder + "IDRiD_49.jpg",
                                            "--out",    folder.Path(out), "--output-size",
                                            "working"};
    more.insert(more.begin(), start.begin(), start.end());
    const ProgramResult result = RunProgram(more, folder.Path("log"));
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return ReadFile(folder.Path(out + "/IDRiD_49.label.png"));
  };
  const std::string by_default = infer("default", {});
  EXPECT_EQ(by_default, infer("named", {"--weights", kWeights, "--threshold", thresholds}));
  // Of a photograph that has all four lesions they find some of each.
  std::vector<int> pixels(5);
  const Image map = ReadClassMap(folder.Path("default/IDRiD_49.label.png"));
  for (const uint8_t value : map.pixels) ++pixels.at(value);
  EXPECT_THAT(pixels, testing::Each(testing::Gt(20)));
}

}  // namespace
}  // namespace lseg
