// The report of a photograph of 20 x 10 pixels whose numbers can be worked out by hand.
#include "lseg/lesion_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

namespace lseg {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

PhotoLesions Example() {
  PhotoLesions photo;
  photo.name = "eye, left";
  photo.file = "in/eye, left.png";
  photo.width = 20, photo.height = 10;
  photo.classes = {"EX", "HE"};
  photo.thresholds = {0.5f, 0.3f};
  photo.view = {9.5, 4.5, 5, true, 80, ""};
  photo.components = {
      {0, 6, 3, 1, 2, 0, 5, 2, 0.75, 0.875f},    // upper left
      {0, 2, 10.5, 5, 10, 5, 12, 6, 0.5, 0.5f},  // lower right
  };
  return photo;
}

TEST(LesionReport, TotalsOfALesion) {
  const std::vector<LesionTotal> totals = Totals(Example());
  ASSERT_EQ(totals.size(), 2u);
  EXPECT_EQ(totals[0].count, 2);
  EXPECT_EQ(totals[0].area, 8);
  EXPECT_DOUBLE_EQ(totals[0].area_percent, 10);
  EXPECT_DOUBLE_EQ(totals[0].mean_probability, (6 * 0.75 + 2 * 0.5) / 8);
  EXPECT_EQ(totals[0].max_probability, 0.875f);
  EXPECT_THAT(totals[0].quadrants, testing::ElementsAre(1, 0, 0, 1));
  EXPECT_EQ(totals[1].count, 0);
  EXPECT_EQ(totals[1].area_percent, 0);
}

TEST(LesionReport, Json) {
  PhotoLesions photo = Example();
  photo.landmarks = {ImagePoint{15, 4}, ImagePoint{6, 5}};  // a right eye
  const json report = json::parse(LesionsJson(photo));
  EXPECT_EQ(report["schema"], "lseg-report 1");
  EXPECT_EQ(report["image"], "eye, left");
  EXPECT_EQ(report["width"], 20);
  EXPECT_EQ(report["field_of_view"]["area"], 80);
  EXPECT_EQ(report["field_of_view"]["center"], json({9.5, 4.5}));
  EXPECT_TRUE(report["field_of_view"]["doubt"].is_null());
  EXPECT_EQ(report["landmarks"]["eye"], "right");
  EXPECT_EQ(report["thresholds"]["HE"], 0.3);  // not 0.30000001
  EXPECT_EQ(report["lesions"]["EX"]["count"], 2);
  EXPECT_EQ(report["lesions"]["EX"]["area_percent"], 10);
  EXPECT_EQ(report["lesions"]["EX"]["quadrants"]["lower right"], 1);
  EXPECT_TRUE(report["lesions"]["HE"]["mean_probability"].is_null());
  ASSERT_EQ(report["components"].size(), 2u);
  const json& part = report["components"][0];
  EXPECT_EQ(part["lesion"], "EX");
  EXPECT_EQ(part["id"], 1);
  EXPECT_EQ(part["area_percent"], 7.5);
  EXPECT_EQ(part["centroid"], json({3.0, 1.0}));
  EXPECT_EQ(part["box"], json({2, 0, 3, 2}));
  EXPECT_EQ(part["quadrant"], "upper left");
  EXPECT_EQ(part["disc_quadrant"], "superior temporal");
  EXPECT_EQ(part["fovea_quadrant"], "superior temporal");
  EXPECT_EQ(part["fovea_distance"], 5);  // 3, 4, 5
  EXPECT_EQ(report["components"][1]["fovea_quadrant"], "inferior nasal");
  EXPECT_EQ(json::parse(LesionsJsonLine(photo)), report);
  EXPECT_EQ(LesionsJsonLine(photo).find('\n'), std::string::npos);
}

TEST(LesionReport, WithoutLandmarksThereAreImageQuadrantsOnly) {
  const json report = json::parse(LesionsJson(Example()));
  EXPECT_FALSE(report["components"][0].contains("disc_quadrant"));
  EXPECT_FALSE(report["components"][0].contains("fovea_distance"));
  EXPECT_TRUE(report["landmarks"]["eye"].is_null());
}

TEST(LesionReport, CsvRowsHaveTheHeadersColumns) {
  PhotoLesions photo = Example();
  EXPECT_EQ(ImageCsvRows(photo),
            "lseg-report 1,\"eye, left\",\"in/eye, left.png\",ok,20,10,80,yes,EX,0.5,2,8,10.0,"
            "0.6875,0.875,1,0,0,1,\n"
            "lseg-report 1,\"eye, left\",\"in/eye, left.png\",ok,20,10,80,yes,HE,0.3,0,0,0.0,,,0,0,"
            "0,0,\n");
  EXPECT_EQ(ComponentCsvRows(photo),
            "lseg-report 1,\"eye, left\",EX,1,6,7.5,3.0,1.0,2,0,3,2,0.75,0.875,upper left,,,\n"
            "lseg-report 1,\"eye, left\",EX,2,2,2.5,10.5,5.0,10,5,2,1,0.5,0.5,lower right,,,\n");
  photo.name = "eye";
  photo.file = "eye.png";
  const auto commas = [](const std::string& text) {
    return std::count(text.begin(), text.begin() + static_cast<long>(text.find('\n')), ',');
  };
  EXPECT_EQ(commas(ImageCsvRows(photo)), commas(ImageCsvHeader()));
  EXPECT_EQ(commas(ComponentCsvRows(photo)), commas(ComponentCsvHeader()));
}

TEST(LesionReport, AFailureIsNamed) {
  PhotoLesions photo;
  photo.name = "broken";
  photo.file = "in/broken.jpg";
  photo.error = "in/broken.jpg: is \"empty\"";
  const json report = json::parse(LesionsJson(photo));
  EXPECT_EQ(report["schema"], "lseg-report 1");
  EXPECT_EQ(report["error"], photo.error);
  EXPECT_FALSE(report.contains("components"));
  const std::string row = ImageCsvRows(photo);
  EXPECT_THAT(row, StartsWith("lseg-report 1,broken,in/broken.jpg,failed,,"));
  EXPECT_THAT(row, HasSubstr(",\"in/broken.jpg: is \"\"empty\"\"\"\n"));
  const std::string header = ImageCsvHeader();
  EXPECT_EQ(std::count(row.begin(), row.end(), ','), std::count(header.begin(), header.end(), ','));
  EXPECT_EQ(ComponentCsvRows(photo), "");
}

TEST(LesionReport, NamesThatAreNoUtf8AndPicturesThatAreNoFundus) {
  PhotoLesions photo = Example();
  photo.name = "caf\xE9";
  photo.view.doubt = "no dark ground";
  const json report = json::parse(LesionsJson(photo));  // throws where it is no UTF-8
  EXPECT_EQ(report["image"], "caf\xEF\xBF\xBD");
  for (const std::string& rows : {ImageCsvRows(photo), ComponentCsvRows(photo)}) {
    EXPECT_THAT(rows, StartsWith("lseg-report 1,caf\xEF\xBF\xBD,"));
  }
  EXPECT_EQ(report["field_of_view"]["doubt"], "no dark ground");
  EXPECT_THAT(ImageCsvRows(photo), HasSubstr(",80,no,EX,"));
}

}  // namespace
}  // namespace lseg
