// lseg_prep build and check on DDR's folders, in small: what comes out, and every trap in them.
#include <nlohmann/json.hpp>

#include "tests/tools/prep_sets.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class Ddr : public LsegPrepSets {
 protected:
  static constexpr char kTop[] = "set/DDR-dataset/lesion_segmentation/";
  void SetUp() override {
    AddImage("train", "label", "007-1");
    AddImage("train", "label", "007-2");
    AddImage("valid", "segmentation label", "007-3");
    AddImage("test", "label", "007-4");
    Remove(kTop + std::string("train/label/SE/007-2.tif"));  // no such lesion
  }
  void AddImage(const std::string& part, const std::string& label, const std::string& stem) {
    Photo(kTop + part + "/image/" + stem + ".jpg", 80);
    int x = 0;
    for (const char* lesion : kLesionNames) {
      Mask(kTop + part + "/" + label + "/" + lesion + "/" + stem + ".tif", x);
      x += 8;
    }
  }
};

TEST_F(Ddr, TakesTheOfficialPartsAndBothSpellings) {
  ExpectBuilt(Build("ddr"));
  EXPECT_EQ(ReadFile(Out("train.txt")),
            "images/007-1.png labels/007-1.png\nimages/007-2.png labels/007-2.png\n");
  EXPECT_EQ(ReadFile(Out("val.txt")), "images/007-3.png labels/007-3.png\n");
  EXPECT_EQ(ReadFile(Out("test.txt")), "images/007-4.png labels/007-4.png\n");
  for (const char* lesion : {"EX", "HE", "MA", "SE"}) {
    EXPECT_EQ(Pixels(std::string("007-1_") + lesion + ".png"), 16) << lesion;  // 8x8, halved
  }
  EXPECT_EQ(Pixels("007-2_SE.png"), 0);
  EXPECT_EQ(Pixels("007-2_MA.png"), 16);
  // The masks of a photograph have one name, in four folders: the manifest tells them apart.
  const json manifest = json::parse(ReadFile(Out("manifest.json")));
  EXPECT_EQ(manifest["images"]["007-1"]["source"]["files"].size(), 5u);
  EXPECT_TRUE(manifest["images"]["007-1"]["source"]["files"].contains("SE/007-1.tif"));
}

TEST_F(Ddr, PhotographsOfOtherShapesGetBlackBorders) {
  Photo(kTop + std::string("train/image/square.jpg"), 200, 32, 32);
  Mask(kTop + std::string("train/label/EX/square.tif"), 12, 32, 32);
  ExpectBuilt(Build("ddr"));
  // 32x32 becomes 16x16 in the middle of 24x16.
  const Image photo = ReadPhoto(Out("images/square.png")),
              mask = ReadMask(Out("masks/square_EX.png"));
  ASSERT_EQ(photo.width, 24);
  ASSERT_EQ(photo.height, 16);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 24; ++x) {
      const bool inside = x >= 4 && x < 20;
      EXPECT_NEAR(photo.Row(y)[3 * x], inside ? 200 : 0, 1) << x << "," << y;  // through a JPEG
      const bool lesion = x >= 4 + 6 && x < 4 + 10 && y >= 4 && y < 8;
      EXPECT_EQ(mask.Row(y)[x], lesion ? 255 : 0) << x << "," << y;
    }
  }
  const json manifest = json::parse(ReadFile(Out("manifest.json")));
  EXPECT_EQ(manifest["images"]["square"]["source"]["placed"], json::array({4, 0, 16, 16}));
  EXPECT_FALSE(manifest["images"]["007-1"]["source"].contains("placed"));
}

TEST_F(Ddr, EveryTrapIsOneLineThatNamesIt) {
  const std::string top = kTop;
  ExpectRefused(Build("ddr", {"--split", "x.txt"}), "--split: DDR has a validation part", 2);
  fs::rename(folder_.Path(top + "valid/segmentation label"), folder_.Path(top + "valid/labels"));
  ExpectRefused(Build("ddr"),
                "valid: holds no folder of masks called 'label' or 'segmentation "
                "label', as published; there is 'labels'");
  fs::rename(folder_.Path(top + "valid/labels"), folder_.Path(top + "valid/label"));
  fs::create_directories(folder_.Path(top + "valid/segmentation label"));
  ExpectRefused(Build("ddr"), "valid/segmentation label: stands beside 'label'");
  Remove(top + "valid/segmentation label");
  fs::rename(folder_.Path(top + "test/label/MA"), folder_.Path("MA"));
  ExpectRefused(Build("ddr"), "test/label/MA: this folder of the set is missing");
  fs::rename(folder_.Path("MA"), folder_.Path(top + "test/label/MA"));
  Mask(top + "test/label/MA/007-9.tif", 0);
  ExpectRefused(Build("ddr"), "test/label/MA/007-9.tif: is the mask of no photograph");
  Remove(top + "test/label/MA/007-9.tif");
  Photo(top + "test/image/007-4.PNG", 10);
  ExpectRefused(Build("ddr"), ": there is another file of this stem, 007-4.");
  Remove(top + "test/image/007-4.PNG");
  Photo(top + "test/image/007-1.JPG", 10);
  ExpectRefused(Build("ddr"), "test/image/007-1.JPG: has the name of ");
  for (const char* part : {"train", "valid", "test"}) Remove(top + part + "/image");
  ExpectRefused(Build("ddr"), "set: holds no 'lesion_segmentation'");
  for (const char* part : {"train", "valid", "test"}) {
    fs::create_directories(folder_.Path(top + part + "/image"));
    Remove(top + part + "/label");
    for (const char* lesion : kLesionNames) {
      fs::create_directories(folder_.Path(top + part + "/label/" + lesion));
    }
  }
  ExpectRefused(Build("ddr"), "there is no photograph");
}

TEST_F(Ddr, AMaskOfAnotherSizeLeavesItsImageOut) {
  const std::string mask = kTop + std::string("train/label/HE/007-1.tif");
  Mask(mask, 0, 47, 32);
  const ProgramResult result = Build("ddr");
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err, "lseg_prep: " + folder_.Path(mask) +
                            ": is 47x32, its photograph 48x32; this image is left out\n");
  EXPECT_EQ(ReadList(Out("train.txt")).size(), 1u);
}

TEST_F(Ddr, IsCheckedAsPublished) {
  const ProgramResult result = Run({"check", folder_.Path("set")});
  // All photographs are alike, which is said of all but the first.
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 3) << result.err;
  for (const char* part :
       {"training part: 2 of 2", "validation part: 1 of 1", "testing part: 1 of 1"}) {
    EXPECT_THAT(result.out, HasSubstr(part));
  }
  EXPECT_THAT(result.out,
              HasSubstr("without a mask of SE, which stands for no such lesion: 007-2"));
}

}  // namespace
}  // namespace lseg
