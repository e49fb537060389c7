// What the page's script gets: keys, data: URLs, and maps that can be read back to the last bit.
#include "lseg/report_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/file.h"
#include "kernels/runtime/random.h"
#include "lseg/base64.h"
#include "lseg/report_folder.h"
#include "tests/lseg/temp_folder.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;
using testing::ThrowsMessage;

// RFC 4648, section 10, and all bytes.
TEST(Base64, KnownAnswers) {
  const std::map<std::string, std::string> known = {{"", ""},
                                                    {"f", "Zg=="},
                                                    {"fo", "Zm8="},
                                                    {"foo", "Zm9v"},
                                                    {"foob", "Zm9vYg=="},
                                                    {"fooba", "Zm9vYmE="},
                                                    {"foobar", "Zm9vYmFy"},
                                                    {"\xff\xfe\xfd", "//79"}};
  for (const auto& [bytes, text] : known) EXPECT_EQ(Base64(bytes), text);
  EXPECT_EQ(Base64(std::string("\0\0\0", 3)), "AAAA");
}

TEST(PageKey, IsFitForUrlsAndTellsNamesApart) {
  EXPECT_EQ(PageKey("IDRiD_01"), "IDRiD_01");
  EXPECT_EQ(PageKey("a b#1"), "a~20b~231");
  EXPECT_EQ(PageKey("caf\xE9"), "caf~e9");
  EXPECT_EQ(PageKey("~20"), "~7e20");
  const std::string long_name(200, 'x');
  const std::set<std::string> keys = {PageKey("a b"), PageKey("a~20b"), PageKey(long_name),
                                      PageKey(long_name + "y"), PageKey(std::string(120, 'x'))};
  EXPECT_EQ(keys.size(), 5u);
  for (const std::string& key : keys) EXPECT_LE(key.size(), 120u);
}

// On file systems that do not tell case, too.
TEST(PageKey, OfOneReportDifferByMoreThanCase) {
  PageKeys keys;
  EXPECT_EQ(keys.Of("left"), "left");
  EXPECT_THAT(keys.Of("LEFT"), StartsWith("LEFT~~"));
  EXPECT_THAT(keys.Of("Left"), StartsWith("Left~~"));
  EXPECT_NE(keys.Of("LEFT").substr(6), keys.Of("Left").substr(6));
  EXPECT_EQ(keys.Of("left"), "left");
  EXPECT_EQ(keys.Of("Right"), "Right");
}

std::string Decoded(const std::string& url) {
  constexpr char kPrefix[] = "data:image/png;base64,";
  EXPECT_THAT(url, StartsWith(kPrefix));
  std::string bytes;
  uint32_t group = 0, count = 0;
  for (const char c : url.substr(sizeof(kPrefix) - 1)) {
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (c == '=') break;
    group = group << 6 | static_cast<uint32_t>(digits.find(c));
    if ((count += 6) >= 8) {
      count -= 8;
      bytes += static_cast<char>(group >> count & 255);
    }
  }
  return bytes;
}

struct PageTest : testing::Test {
  PageTest() {
    std::filesystem::create_directories(folder.Path("images"));
    lesions.name = "a";
    lesions.width = 30, lesions.height = 20;
    lesions.classes = {"EX", "HE", "MA", "SE"};
    lesions.thresholds = {0.5f, 0.5f, 0.5f, 0.5f};
    lesions.view.area = 600;
    Random random(1, 1);
    for (float& p : maps.values) p = random.Uniform();
  }
  json Data() const {
    const std::string text = ReadFile(folder.Path("images/a.js"));
    EXPECT_THAT(text, StartsWith("lsegImage("));
    return json::parse(text.substr(10, text.rfind(");") - 10));
  }
  Image Gray(const json& url) const {
    const std::string path = folder.Write("map.png", Decoded(url));
    const Image rgb = ReadPhoto(path);
    Image gray(rgb.width, rgb.height, 1);
    for (size_t i = 0; i < gray.pixels.size(); ++i) gray.pixels[i] = rgb.pixels[3 * i];
    return gray;
  }

  TempFolder folder;
  PhotoLesions lesions;
  Probabilities maps{15, 10, {"EX", "HE", "MA", "SE"}};
};

TEST_F(PageTest, MapsAreShippedToTheBit) {
  WritePageImage(folder.Path(""), "a", lesions, Image(30, 20, 3, 9), maps, Image(30, 20, 1), {});
  const json data = Data();
  EXPECT_EQ(data["schema"], "lseg-page 1");
  EXPECT_EQ(data["report"]["schema"], "lseg-report 1");
  EXPECT_EQ(data["photo"], "images/a.jpg");
  EXPECT_TRUE(data["truth"].is_null());
  EXPECT_EQ(data["map"]["width"], 15);
  for (size_t c = 0; c < 4; ++c) {
    EXPECT_EQ(Gray(data["map"]["png"][maps.classes[c]]).pixels, ToGray(maps, c).pixels);
  }
  EXPECT_EQ(ReadPhoto(folder.Path("images/a.jpg")).width, 30);
}

TEST_F(PageTest, TruthIsBitsOfTheClasses) {
  std::vector<Image> truth(4, Image(30, 20, 1));
  for (int c = 0; c < 4; ++c) {  // one pixel of the map is 2 x 2 of the photograph
    for (int y = 4; y < 6; ++y) truth[c].Row(y)[2 * c] = truth[c].Row(y)[2 * c + 1] = 255;
  }
  truth[3].Row(4)[0] = truth[3].Row(5)[1] = 255;  // half of a pixel that is EX, too
  WritePageImage(folder.Path(""), "a", lesions, Image(30, 20, 3, 9), maps, Image(30, 20, 1), truth);
  const Image bits = Gray(Data()["truth"]);
  ASSERT_EQ(bits.width, 15);
  EXPECT_EQ(bits.Row(2)[0], 1 | 8);
  EXPECT_EQ(bits.Row(2)[1], 2);
  EXPECT_EQ(bits.Row(2)[2], 4);
  EXPECT_EQ(bits.Row(2)[3], 8);
  EXPECT_EQ(std::count(bits.pixels.begin(), bits.pixels.end(), 0), 146);
  EXPECT_THAT(
      [&] {
        WritePageImage(folder.Path(""), "a", lesions, Image(30, 20, 3), maps, Image(30, 20, 1),
                       std::vector<Image>(4, Image(20, 20, 1)));
      },
      ThrowsMessage<Error>(HasSubstr("truth is 20x20")));
}

TEST_F(PageTest, LargeOnesAreReducedAndThumbnailsShowSingleLesions) {
  lesions.width = 4320, lesions.height = 2880;
  Image class_map(4320, 2880, 1);
  class_map.Row(1444)[2164] = 2;
  WritePageImage(folder.Path(""), "a", lesions, Image(4320, 2880, 3, 90),
                 Probabilities(2160, 1440, maps.classes), class_map, {});
  const Image photo = ReadPhoto(folder.Path("images/a.jpg"));
  EXPECT_EQ(photo.width, kPagePhotoSide);
  EXPECT_EQ(photo.height, 1440);
  EXPECT_EQ(Data()["map"]["width"], kPageMapSide);
  EXPECT_EQ(Data()["map"]["height"], 960);
  const Image thumb = ReadPhoto(folder.Path("images/a~thumb.jpg"));
  ASSERT_EQ(thumb.width, kPageThumbSide);
  const uint8_t* pixel = thumb.Row(1444 / 12) + 3 * (2164 / 12);
  EXPECT_GT(pixel[2], pixel[0] + 60);  // blue, though JPEG blurs colours
}

// What it has replaced until then no longer fits an earlier run's page and tables.
TEST_F(PageTest, ARunThatStopsLeavesNoPage) {
  ReportOptions options;
  options.folder = folder.Path("report");
  ReportFolder whole(options);
  whole.Done({"b.jpg", "b"}, "is empty");
  whole.Finish();
  const char* names[] = {"index.html", "page/list.js", "report.csv", "components.csv"};
  for (const char* name : names) EXPECT_TRUE(fs::exists(folder.Path("report") + "/" + name));
  { ReportFolder not_begun(options); }
  EXPECT_TRUE(fs::exists(folder.Path("report/index.html")));
  { ReportFolder(options).Done({"c.jpg", "c"}, "is empty"); }
  for (const char* name : names) EXPECT_FALSE(fs::exists(folder.Path("report") + "/" + name));
  EXPECT_TRUE(fs::exists(folder.Path("report/json/b.json")));
}

TEST_F(PageTest, TheListHasAllPhotographs) {
  std::filesystem::create_directories(folder.Path("page"));
  lesions.components = {{1, 6, 3, 1, 2, 0, 5, 2, 0.75, 0.875f}};
  PhotoLesions failed;
  failed.name = failed.file = "b \"2\"</script>.jpg";
  failed.error = "is empty";
  WritePage(folder.Path(""), lesions.classes,
            {PageListItem("a", lesions), PageListItem("b", failed)});
  const std::string text = ReadFile(folder.Path("page/list.js"));
  ASSERT_THAT(text, StartsWith("lsegList("));
  const json list = json::parse(text.substr(9, text.rfind(");") - 9));
  EXPECT_EQ(list["classes"], json({"EX", "HE", "MA", "SE"}));
  EXPECT_EQ(list["colours"][1], json(kClassPalette[2]));
  EXPECT_EQ(list["images"][0]["count"], json({0, 1, 0, 0}));
  EXPECT_EQ(list["images"][0]["percent"], json({0.0, 1.0, 0.0, 0.0}));
  EXPECT_EQ(list["images"][1]["error"], "is empty");
  for (const char* file : {"index.html", "page/page.css", "page/page.js", "page/grid.js",
                           "page/view.js", "page/paint.js"}) {
    EXPECT_GT(ReadFile(folder.Path(file)).size(), 500u) << file;
  }
}

}  // namespace
}  // namespace lseg
