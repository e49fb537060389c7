// IDRiD's folders: which files make an image, and what must not pass for an absent lesion.
#include "lseg/idrid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "kernels/runtime/check.h"
#include "tests/lseg/temp_folder.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr char kTop[] = "A. Segmentation/";
constexpr char kTrainPhotos[] = "A. Segmentation/1. Original Images/a. Training Set/";
constexpr char kTestPhotos[] = "A. Segmentation/1. Original Images/b. Testing Set/";
constexpr char kTrainMasks[] = "A. Segmentation/2. All Segmentation Groundtruths/a. Training Set/";
constexpr char kTestMasks[] = "A. Segmentation/2. All Segmentation Groundtruths/b. Testing Set/";

// Empty files suffice: only names are looked at.
void MakeTrainingPart(const TempFolder& root) {
  for (const char* stem : {"IDRiD_02", "IDRiD_01"}) {
    root.Write(kTrainPhotos + std::string(stem) + ".jpg", "");
    root.Write(kTrainMasks + std::string("1. Microaneurysms/") + stem + "_MA.tif", "");
    root.Write(kTrainMasks + std::string("2. Haemorrhages/") + stem + "_HE.tif", "");
    root.Write(kTrainMasks + std::string("3. Hard Exudates/") + stem + "_EX.tif", "");
    root.Write(kTrainMasks + std::string("5. Optic Disc/") + stem + "_OD.tif", "");
  }
  root.Write(kTrainMasks + std::string("4. Soft Exudates/IDRiD_02_SE.tif"), "");
}

void MakeTestingPart(const TempFolder& root) {
  root.Write(kTestPhotos + std::string("IDRiD_55.jpg"), "");
  for (const char* lesion : {"1. Microaneurysms", "2. Haemorrhages", "3. Hard Exudates"}) {
    fs::create_directories(root.Path(kTestMasks + std::string(lesion)));
  }
  root.Write(kTestMasks + std::string("4. Soft Exudates/IDRiD_55_SE.tif"), "");
}

TEST(FindIdrid, TrainingThenTestingWithMasksByLesion) {
  const TempFolder root;
  MakeTrainingPart(root);
  MakeTestingPart(root);
  const std::vector<SetImage> images = FindIdrid(root.Path(""));
  ASSERT_EQ(images.size(), 3u);
  EXPECT_EQ(images[0].stem, "IDRiD_01");
  EXPECT_EQ(images[0].photo, root.Path(kTrainPhotos + std::string("IDRiD_01.jpg")));
  EXPECT_THAT(images[0].masks[0], HasSubstr("3. Hard Exudates/IDRiD_01_EX.tif"));
  EXPECT_THAT(images[0].masks[1], HasSubstr("2. Haemorrhages/IDRiD_01_HE.tif"));
  EXPECT_THAT(images[0].masks[2], HasSubstr("1. Microaneurysms/IDRiD_01_MA.tif"));
  EXPECT_EQ(images[0].masks[3], "");
  EXPECT_EQ(images[0].part, Part::kTrain);
  EXPECT_THAT(images[1].masks[3], HasSubstr("IDRiD_02_SE.tif"));
  EXPECT_EQ(images[2].stem, "IDRiD_55");
  EXPECT_EQ(images[2].part, Part::kTest);
  EXPECT_EQ(images[2].masks[0], "");
}

TEST(FindIdrid, TakesOnePartAloneAndTheInnerFolder) {
  const TempFolder training, testing;
  MakeTrainingPart(training);
  EXPECT_EQ(FindIdrid(training.Path(kTop)).size(), 2u);
  MakeTestingPart(testing);
  ASSERT_EQ(FindIdrid(testing.Path("")).size(), 1u);
  EXPECT_EQ(FindIdrid(testing.Path(""))[0].part, Part::kTest);
}

TEST(FindIdrid, IgnoresWhatSystemsLeaveBeside) {
  const TempFolder root;
  MakeTrainingPart(root);
  root.Write(kTrainPhotos + std::string("._IDRiD_01.jpg"), "");
  root.Write(kTrainPhotos + std::string("Thumbs.db"), "");
  root.Write(kTrainMasks + std::string("2. Haemorrhages/._IDRiD_01_HE.tif"), "");
  EXPECT_EQ(FindIdrid(root.Path("")).size(), 2u);
}

TEST(FindIdrid, AMissingFolderOfMasksIsNoSetWithoutLesions) {
  const TempFolder root;
  MakeTrainingPart(root);
  fs::remove_all(root.Path(kTrainMasks + std::string("1. Microaneurysms")));
  EXPECT_THAT([&] { FindIdrid(root.Path("")); },
              ThrowsMessage<Error>(HasSubstr("a. Training Set/1. Microaneurysms")));
}

TEST(FindIdrid, AMaskWithoutAPhotographIsAnError) {
  const TempFolder root;
  MakeTrainingPart(root);
  const std::string mask =
      root.Write(kTrainMasks + std::string("2. Haemorrhages/IDRiD_03_HE.tif"), "");
  EXPECT_THAT([&] { FindIdrid(root.Path("")); }, ThrowsMessage<Error>(HasSubstr(mask)));
  fs::remove(mask);
  // A mask in the folder of another lesion: its name says so.
  const std::string other =
      root.Write(kTrainMasks + std::string("2. Haemorrhages/IDRiD_01_MA.tif"), "");
  EXPECT_THAT([&] { FindIdrid(root.Path("")); }, ThrowsMessage<Error>(HasSubstr(other)));
}

TEST(FindIdrid, TwoPhotographsOfOneNameAreAnError) {
  const TempFolder root;
  MakeTrainingPart(root);
  MakeTestingPart(root);
  const std::string twin = root.Write(kTestPhotos + std::string("IDRiD_01.jpg"), "");
  EXPECT_THAT([&] { FindIdrid(root.Path("")); }, ThrowsMessage<Error>(HasSubstr(twin)));
  fs::remove(twin);
  root.Write(kTrainPhotos + std::string("IDRiD_01.png"), "");
  EXPECT_THAT([&] { FindIdrid(root.Path("")); }, ThrowsMessage<Error>(HasSubstr("IDRiD_01")));
}

TEST(FindIdrid, SaysWhereItLooked) {
  const TempFolder root;
  EXPECT_THAT([&] { FindIdrid(root.Path("nowhere")); },
              ThrowsMessage<Error>(HasSubstr(root.Path("nowhere") + ": no such folder")));
  EXPECT_THAT([&] { FindIdrid(root.Path("")); },
              ThrowsMessage<Error>(HasSubstr("'A. Segmentation' with '1. Original Images'")));
  fs::create_directories(root.Path("1. Original Images"));
  EXPECT_THAT([&] { FindIdrid(root.Path("")); },
              ThrowsMessage<Error>(HasSubstr("there is no photograph")));
}

}  // namespace
}  // namespace lseg
