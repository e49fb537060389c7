// Lists, truth in both its forms, class maps from overlapping masks; IDRiD's folders as prepared.
#include "lseg/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/file.h"
#include "lseg/prepare.h"
#include "tests/lseg/image_files.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;

const std::vector<std::string> kClasses = {"EX", "HE", "MA", "SE"};

TEST(ReadList, IsRelativeToItsFolder) {
  const std::string folder = TestFolder();
  WriteFile(folder + "/list.txt",
            "# images\nimages/a.png labels/a.png\n\n  images/b.png\tlabels/b.png\r\n");
  const std::vector<ListEntry> entries = ReadList(folder + "/list.txt");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].image, folder + "/images/a.png");
  EXPECT_EQ(entries[1].label, folder + "/labels/b.png");
  EXPECT_EQ(Stem(entries[1].image), "b");
}

TEST(ReadList, NamesTheLineAtFault) {
  const std::string path = TestFolder() + "/list.txt";
  WriteFile(path, "a.png a_label.png\nb.png\n");
  EXPECT_THAT([&] { ReadList(path); }, ThrowsMessage<Error>(HasSubstr(path + ":2")));
  WriteFile(path, "# nothing\n");
  EXPECT_THAT([&] { ReadList(path); }, ThrowsMessage<Error>(HasSubstr("empty")));
}

TEST(ComposeClassMap, LetsTheSmallerLesionStayVisible) {
  // Pixel i has lesion l where bit l of i is set: all sixteen cases of EX HE MA SE.
  std::vector<Image> masks(4, Image(16, 1, 1));
  for (int i = 0; i < 16; ++i) {
    for (int lesion = 0; lesion < 4; ++lesion) {
      masks[lesion].pixels[i] = (i >> lesion & 1) ? 255 : 0;
    }
  }
  const Image map = ComposeClassMap(masks);
  for (int i = 0; i < 16; ++i) {
    const int expected = i & 4 ? 3 : i & 2 ? 2 : i & 8 ? 4 : i & 1 ? 1 : 0;  // MA, HE, SE, EX
    EXPECT_EQ(map.pixels[i], expected) << i;
  }
}

TEST(ReadTruth, PrefersMasksAndSplitsClassMaps) {
  const std::string folder = TestFolder();
  fs::create_directories(folder + "/labels");
  fs::create_directories(folder + "/masks");
  Image map(6, 1, 1);
  map.pixels = {0, 1, 2, 3, 4, 1};
  WriteIndexedPng(folder + "/labels/x.png", map);
  const ListEntry entry{folder + "/images/x.png", folder + "/labels/x.png"};
  const std::vector<Image> split = ReadTruth(entry, kClasses);
  EXPECT_EQ(split[0].pixels, (std::vector<uint8_t>{0, 255, 0, 0, 0, 255}));
  EXPECT_EQ(split[3].pixels, (std::vector<uint8_t>{0, 0, 0, 0, 255, 0}));
  EXPECT_THAT([&] { ReadTruth(entry, {"EX", "HE"}); }, ThrowsMessage<Error>(HasSubstr("class 3")));
  for (const std::string& name : kClasses) {
    // Some masks, but not all: refused.
    if (name != "EX") {
      EXPECT_THROW(ReadTruth(entry, kClasses), Error);
    }
    WritePng(folder + "/masks/x_" + name + ".png", Image(6, 1, 1, name == "HE" ? 255 : 0));
  }
  const std::vector<Image> masks = ReadTruth(entry, kClasses);
  EXPECT_EQ(masks[1].pixels, std::vector<uint8_t>(6, 255));
  EXPECT_EQ(masks[0].pixels, std::vector<uint8_t>(6, 0));
}

// Two training images of IDRiD in small; the second has no haemorrhages, and no soft exudates.
std::string MakeIdrid(const std::string& folder) {
  const fs::path base = fs::path(folder) / "A. Segmentation";
  const fs::path photos = base / "1. Original Images" / "a. Training Set";
  const fs::path masks = base / "2. All Segmentation Groundtruths" / "a. Training Set";
  fs::create_directories(photos);
  const char* folders[4] = {"3. Hard Exudates", "2. Haemorrhages", "1. Microaneurysms",
                            "4. Soft Exudates"};
  for (int lesion = 0; lesion < 4; ++lesion) fs::create_directories(masks / folders[lesion]);
  for (int n = 1; n <= 2; ++n) {
    const std::string stem = "IDRiD_0" + std::to_string(n);
    WriteJpeg((photos / (stem + ".jpg")).string(), Image(48, 32, 3, 90), 90);
    for (int lesion = 0; lesion < 4; ++lesion) {
      if (n == 2 && lesion % 2 == 1) continue;
      Image mask(48, 32, 1);
      for (int y = 0; y < 8; ++y) {
        for (int x = 0; x < 8; ++x) mask.Row(8 * lesion + y)[16 + x] = 255;
      }
      WriteMaskTiff((masks / folders[lesion] / (stem + "_" + kClasses[lesion] + ".tif")).string(),
                    mask, MaskEncoding::kPalette1);
    }
  }
  return folder;
}

TEST(Prepare, WritesImagesTruthListsAndManifest) {
  const std::string folder = TestFolder();
  const std::vector<IdridImage> images = FindIdrid(MakeIdrid(folder));
  ASSERT_EQ(images.size(), 2u);
  EXPECT_EQ(images[1].masks[1], "");
  PrepareOptions options;
  options.out = folder + "/out";
  options.width = 24;
  options.height = 16;
  options.validation = {"IDRiD_02"};
  const PrepareReport report = Prepare(images, options, [](const std::string&) {});
  EXPECT_EQ(report.train, 1);
  EXPECT_EQ(report.val, 1);
  EXPECT_TRUE(report.failed.empty());
  // A lesion of 8x8 becomes 4x4 of 24x16; HE is in one of two images.
  EXPECT_DOUBLE_EQ(report.prevalence[0], 16.0 / (24 * 16));
  EXPECT_DOUBLE_EQ(report.prevalence[1], 8.0 / (24 * 16));
  EXPECT_EQ(ReadFile(options.out + "/train.txt"), "images/IDRiD_01.png labels/IDRiD_01.png\n");
  EXPECT_FALSE(fs::exists(options.out + "/test.txt"));
  const ListEntry entry = ReadList(options.out + "/val.txt")[0];
  const std::vector<Image> masks = ReadTruth(entry, kClasses);
  const Image map = ReadClassMap(entry.label);
  EXPECT_EQ(ComposeClassMap(masks).pixels, map.pixels);
  EXPECT_EQ(map.Row(2)[9], 1);
  EXPECT_EQ(map.Row(10)[9], 3);
  EXPECT_EQ(map.Row(6)[9], 0);
  // A second run writes the same bytes, so the hashes of the manifest are the same too.
  const std::string manifest = ReadFile(options.out + "/manifest.json");
  Prepare(images, options, [](const std::string&) {});
  EXPECT_EQ(ReadFile(options.out + "/manifest.json"), manifest);
}

TEST(Prepare, NamesWhatIsDamagedAndDoesTheRest) {
  const std::string folder = TestFolder();
  const std::vector<IdridImage> images = FindIdrid(MakeIdrid(folder));
  WriteFile(images[0].photo, "no image");
  PrepareOptions options;
  options.out = folder + "/out";
  options.width = 24;
  options.height = 16;
  const PrepareReport report = Prepare(images, options, [](const std::string&) {});
  ASSERT_EQ(report.failed.size(), 1u);
  EXPECT_THAT(report.failed[0], HasSubstr(images[0].photo));
  EXPECT_EQ(report.train, 1);
  options.validation = {"IDRiD_99"};
  EXPECT_THAT([&] { Prepare(images, options, [](const std::string&) {}); },
              ThrowsMessage<Error>(HasSubstr("IDRiD_99")));
}

TEST(FindIdrid, SaysWhichFolderIsMissing) {
  const std::string folder = TestFolder();
  EXPECT_THAT([&] { FindIdrid(folder); }, ThrowsMessage<Error>(HasSubstr("1. Original Images")));
  EXPECT_THAT([&] { FindIdrid(folder + "/nowhere"); },
              ThrowsMessage<Error>(HasSubstr("no such folder")));
}

}  // namespace
}  // namespace lseg
