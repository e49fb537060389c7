// IDRiD's folders as prepared: pictures, truth, lists, manifest; what a damaged file, a second run
// and a full stop leave behind.
#include "lseg/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "framework/file.h"
#include "lseg/dataset.h"
#include "lseg/idrid.h"
#include "lseg/sha256.h"
#include "tests/lseg/image_files.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::ThrowsMessage;

const std::vector<std::string> kClasses = {"EX", "HE", "MA", "SE"};
const char* const kFolders[4] = {"3. Hard Exudates", "2. Haemorrhages", "1. Microaneurysms",
                                 "4. Soft Exudates"};

// Training images 1 and 2 and testing image 3 of IDRiD in small (48x32). Lesion c is a square of
// 8x8 pixels at (16, 8c); image 2 has neither haemorrhages nor soft exudates.
std::string MakeIdrid(const std::string& folder) {
  const fs::path top = fs::path(folder) / "A. Segmentation";
  for (int n = 1; n <= 3; ++n) {
    const char* part = n < 3 ? "a. Training Set" : "b. Testing Set";
    const fs::path photos = top / "1. Original Images" / part;
    const fs::path masks = top / "2. All Segmentation Groundtruths" / part;
    fs::create_directories(photos);
    const std::string stem = "IDRiD_0" + std::to_string(n);
    WriteJpeg((photos / (stem + ".jpg")).string(),
              Image(48, 32, 3, static_cast<uint8_t>(60 + 20 * n)), 90);
    for (int lesion = 0; lesion < 4; ++lesion) {
      fs::create_directories(masks / kFolders[lesion]);
      if (n == 2 && lesion % 2 == 1) continue;
      Image mask(48, 32, 1);
      for (int y = 0; y < 8; ++y) {
        for (int x = 0; x < 8; ++x) mask.Row(8 * lesion + y)[16 + x] = 255;
      }
      WriteMaskTiff((masks / kFolders[lesion] / (stem + "_" + kClasses[lesion] + ".tif")).string(),
                    mask, MaskEncoding::kPalette1);
    }
  }
  return folder;
}

class PrepareTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    images_ = FindIdrid(MakeIdrid(folder_));
    options_.out = folder_ + "/out";
    options_.width = 24;
    options_.height = 16;
  }
  PrepareReport Run() {
    return Prepare(images_, options_, [](const std::string&) {});
  }
  std::string Out(const std::string& name) const { return options_.out + "/" + name; }
  json Manifest() const { return json::parse(ReadFile(Out("manifest.json"))); }
  // Names of all files below the output folder.
  std::set<std::string> Files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(options_.out)) {
      if (entry.is_regular_file()) {
        names.insert(entry.path().lexically_relative(options_.out).string());
      }
    }
    return names;
  }

  std::string folder_;
  std::vector<SetImage> images_;
  PrepareOptions options_;
};

TEST_F(PrepareTest, WritesImagesTruthAndLists) {
  options_.validation = {"IDRiD_02"};
  const PrepareReport report = Run();
  EXPECT_EQ(report.train, 1);
  EXPECT_EQ(report.val, 1);
  EXPECT_EQ(report.test, 1);
  EXPECT_TRUE(report.failed.empty());
  // A lesion of 8x8 becomes 4x4 of 24x16; HE is in two of three images.
  EXPECT_DOUBLE_EQ(report.prevalence[0].value(), 16.0 / (24 * 16));
  EXPECT_DOUBLE_EQ(report.prevalence[1].value(), 16.0 / (24 * 16) * 2 / 3);
  EXPECT_EQ(ReadFile(Out("train.txt")), "images/IDRiD_01.png labels/IDRiD_01.png\n");
  EXPECT_EQ(ReadFile(Out("val.txt")), "images/IDRiD_02.png labels/IDRiD_02.png\n");
  EXPECT_EQ(ReadFile(Out("test.txt")), "images/IDRiD_03.png labels/IDRiD_03.png\n");
  const ListEntry entry = ReadList(Out("val.txt"))[0];
  const Image photo = ReadPhoto(entry.image);
  EXPECT_EQ(photo.width, 24);
  EXPECT_NEAR(photo.pixels[0], 100, 2);  // through a JPEG
  const std::vector<Image> masks = ReadTruth(entry, kClasses);
  const Image map = ReadClassMap(entry.label);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 24; ++x) {
      const int lesion = x >= 8 && x < 12 ? y / 4 : -1;
      const bool there = lesion == 0 || lesion == 2;
      EXPECT_EQ(map.Row(y)[x], there ? lesion + 1 : 0) << x << "," << y;
      for (int c = 0; c < 4; ++c) EXPECT_EQ(masks[c].Row(y)[x], there && c == lesion ? 255 : 0);
    }
  }
}

TEST_F(PrepareTest, TheManifestNamesEveryFileAndItsSource) {
  Run();
  const json manifest = Manifest();
  EXPECT_EQ(manifest["classes"], json(kClasses));
  EXPECT_EQ(manifest["width"], 24);
  std::set<std::string> named = {"manifest.json"};
  for (const auto& [name, list] : manifest["lists"].items()) {
    EXPECT_EQ(list["sha256"], Sha256(ReadFile(Out(name))));
    named.insert(name);
  }
  EXPECT_EQ(manifest["lists"]["train.txt"]["images"], 2);
  EXPECT_DOUBLE_EQ(manifest["lists"]["train.txt"]["prevalence"]["SE"], 8.0 / (24 * 16));
  for (const json& image : manifest["images"]) {
    for (const auto& [name, file] : image["files"].items()) {
      const std::string bytes = ReadFile(Out(name));
      EXPECT_EQ(file["bytes"], bytes.size()) << name;
      EXPECT_EQ(file["sha256"], Sha256(bytes)) << name;
      named.insert(name);
    }
  }
  EXPECT_EQ(named, Files());
  const json& source = manifest["images"]["IDRiD_02"]["source"];
  EXPECT_EQ(source["width"], 48);
  EXPECT_EQ(source["files"].size(), 3u);  // the photograph, EX and MA
  EXPECT_EQ(source["files"]["IDRiD_02.jpg"]["sha256"], Sha256(ReadFile(images_[1].photo)));
  EXPECT_THAT(ReadFile(Out("manifest.json")), testing::Not(HasSubstr(folder_)));
}

TEST_F(PrepareTest, ASecondRunLeavesWhatAFreshOneWould) {
  options_.validation = {"IDRiD_02"};
  Run();
  const std::set<std::string> files = Files();
  const std::string manifest = ReadFile(Out("manifest.json"));
  options_.threads = 1;
  Run();
  EXPECT_EQ(ReadFile(Out("manifest.json")), manifest);
  EXPECT_EQ(Files(), files);
  // Another size, no split, one image less: nothing of the first run is left, what is not of it is.
  WriteFile(Out("images/my own.png"), "kept");
  options_.validation.clear();
  options_.width = 12;
  options_.height = 8;
  images_.erase(images_.begin());
  Run();
  std::set<std::string> expected = {"images/my own.png", "manifest.json", "test.txt", "train.txt"};
  for (const char* stem : {"IDRiD_02", "IDRiD_03"}) {
    expected.insert(std::string("images/") + stem + ".png");
    expected.insert(std::string("labels/") + stem + ".png");
    for (const std::string& lesion : kClasses) {
      expected.insert(std::string("masks/") + stem + "_" + lesion + ".png");
    }
  }
  EXPECT_EQ(Files(), expected);
  EXPECT_EQ(ReadPhoto(Out("images/IDRiD_02.png")).width, 12);
}

TEST_F(PrepareTest, NamesWhatIsDamagedAndDoesTheRest) {
  WriteFile(images_[0].photo, "no image");
  WriteMaskTiff(images_[2].masks[1], Image(47, 32, 1), MaskEncoding::kGray255);
  const PrepareReport report = Run();
  ASSERT_EQ(report.failed.size(), 2u);
  EXPECT_THAT(report.failed[0], HasSubstr(images_[0].photo));
  EXPECT_THAT(report.failed[1],
              HasSubstr(images_[2].masks[1] + ": is 47x32, its photograph 48x32"));
  EXPECT_EQ(report.train, 1);
  EXPECT_EQ(report.test, 0);
  EXPECT_FALSE(fs::exists(Out("images/IDRiD_01.png")));
  EXPECT_FALSE(fs::exists(Out("test.txt")));
}

TEST_F(PrepareTest, AFailureLeavesTheEarlierRunAsItWas) {
  Run();
  const std::string manifest = ReadFile(Out("manifest.json"));
  const std::set<std::string> files = Files();
  options_.width = 12;
  options_.validation = {"IDRiD_03"};  // of the testing part
  EXPECT_THAT([&] { Run(); }, ThrowsMessage<Error>(HasSubstr("'IDRiD_03'")));
  options_.validation.clear();
  EXPECT_THROW(Prepare(images_, options_, [](const std::string&) { throw Error("no space"); }),
               Error);
  for (const SetImage& image : images_) WriteFile(image.photo, "no image");
  EXPECT_THAT([&] { Run(); }, ThrowsMessage<Error>(HasSubstr("none of the 3 images")));
  EXPECT_EQ(ReadFile(Out("manifest.json")), manifest);
  EXPECT_EQ(Files(), files);
}

TEST_F(PrepareTest, NeverDeletesWhatADamagedManifestNames) {
  Run();
  const std::string outside = folder_ + "/precious.png";
  WriteFile(outside, "precious");
  json manifest = Manifest();
  manifest["images"]["x"]["files"] = {{"../precious.png", {}}, {"images/../../precious.png", {}}};
  WriteFile(Out("manifest.json"), manifest.dump());
  Run();
  EXPECT_TRUE(fs::exists(outside));
  for (const char* text :
       {"{", "[1]", "{\"images\": 3}", "{\"images\": {\"x\": {\"files\": 3}}}"}) {
    WriteFile(Out("manifest.json"), text);
    EXPECT_EQ(Run().failed.size(), 0u) << text;
  }
}

TEST(ReadSplit, ReadsStemsAndComments) {
  const std::string path = TestFolder() + "/split.txt";
  WriteFile(path, "\xef\xbb\xbf# held out\nIDRiD_45\n\n  IDRiD_46 # with its reason\r\n");
  EXPECT_THAT(ReadSplit(path), testing::ElementsAre("IDRiD_45", "IDRiD_46"));
  WriteFile(path, "# nobody\n");
  EXPECT_THAT([&] { ReadSplit(path); }, ThrowsMessage<Error>(HasSubstr("names no image")));
}

// The list that is shipped: IDRiD's training images 45 to 54.
TEST(ReadSplit, TheShippedListIsTheLastTenTrainingImages) {
  std::vector<std::string> expected;
  for (int n = 45; n <= 54; ++n) expected.push_back("IDRiD_" + std::to_string(n));
  EXPECT_EQ(ReadSplit(LSEG_SOURCE_DIR "/datasets/idrid_val.txt"), expected);
}

}  // namespace
}  // namespace lseg
