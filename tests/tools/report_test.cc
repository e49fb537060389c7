// lseg_infer --report through the real binary, on photographs of a few pixels and the hand-worked
// model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "framework/file.h"
#include "kernels/runtime/random.h"
#include "lseg/image.h"
#include "tests/lseg/temp_folder.h"
#include "tests/lseg/tiny_model.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

class ReportTest : public testing::Test {
 protected:
  ReportTest() {
    fs::create_directories(folder_.Path("in"));
    TinyModel().Write(folder_.Path("tiny.safetensors"));
  }

  std::string Path(const std::string& name) const { return folder_.Path(name); }
  ProgramResult Infer(const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {LSEG_INFER, "--weights", Path("tiny.safetensors"),
                                          "--input",  Path("in"),  "--out",
                                          Path("out")};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return RunProgram(arguments, Path("log"));
  }
  json Report(const std::string& name) const {
    return json::parse(ReadFile(Path("report/json/" + name + ".json")));
  }
  std::vector<std::string> Lines(const std::string& name) const {
    std::vector<std::string> lines;
    std::istringstream stream(ReadFile(Path(name)));
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }
  std::map<std::string, std::string> Files(const std::string& folder) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(Path(folder))) {
      if (entry.is_regular_file()) {
        files[entry.path().lexically_relative(Path(folder))] = ReadFile(entry.path());
      }
    }
    return files;
  }

  TempFolder folder_;
};

// Left half: EX (R bright), right half: nothing; the model's working size is 8 x 6.
Image HalfExudate(int width, int height) {
  Image photo(width, height, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width / 2; ++x) photo.Row(y)[3 * x] = 200;
  }
  return photo;
}

Image Noise(int width, int height) {
  Random random(9, 1);
  Image photo(width, height, 3);
  for (uint8_t& sample : photo.pixels) sample = static_cast<uint8_t>(random.Below(256));
  return photo;
}

TEST_F(ReportTest, AFolderWithAFailure) {
  WritePng(Path("in/a.png"), HalfExudate(8, 6));
  WritePng(Path("in/b #2.png"), Image(16, 12, 3));
  folder_.Write("in/broken, too.jpg", "no picture");
  folder_.Write("marks.csv", "image,disc_x,disc_y,fovea_x,fovea_y\na,7,3,4,2.5\nc,7,3,4,2.5\n");
  WriteIndexedPng(Path("in/a_truth.png"), Image(8, 6, 1, 1));
  fs::rename(Path("in/a_truth.png"), Path("truth.png"));
  folder_.Write("truth.txt", "in/a.png\ttruth.png\nin/c.png\ttruth.png\n");
  const ProgramResult result = Infer(
      {"--report", Path("report"), "--landmarks", Path("marks.csv"), "--truth", Path("truth.txt")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("broken, too.jpg"));
  EXPECT_THAT(result.out, HasSubstr("report: " + Path("report") + "/index.html"));
  EXPECT_THAT(result.out, HasSubstr("1 images of " + Path("truth.txt")));
  EXPECT_THAT(result.out, HasSubstr("landmarks of 1 images belong to none of the photographs, the "
                                    "first of c"));

  const json a = Report("a");
  EXPECT_EQ(a["schema"], "lseg-report 1");
  EXPECT_EQ(a["file"], Path("in/a.png"));
  EXPECT_EQ(a["field_of_view"]["area"], 48);  // no disc: all of it
  EXPECT_EQ(a["landmarks"]["eye"], "right");
  ASSERT_EQ(a["components"].size(), 1u);
  const json& part = a["components"][0];
  EXPECT_EQ(part["lesion"], "EX");
  EXPECT_EQ(part["area"], 24);
  EXPECT_EQ(part["area_percent"], 50);
  EXPECT_EQ(part["centroid"], json({1.5, 2.5}));
  EXPECT_EQ(part["box"], json({0, 0, 4, 6}));
  EXPECT_EQ(part["mean_probability"], 1.0);   // sigmoid(10), to 4 digits
  EXPECT_EQ(part["quadrant"], "lower left");  // on the axis
  EXPECT_EQ(part["fovea_quadrant"], "inferior temporal");
  EXPECT_EQ(part["disc_quadrant"], "superior temporal");
  EXPECT_EQ(part["fovea_distance"], 2.5);
  EXPECT_EQ(Report("b #2")["lesions"]["EX"]["count"], 0);
  EXPECT_THAT(Report("broken, too")["error"].get<std::string>(), HasSubstr("broken, too.jpg"));

  const std::vector<std::string> rows = Lines("report/report.csv");
  ASSERT_EQ(rows.size(), 1u + 4 + 4 + 1);
  EXPECT_THAT(rows[1], HasSubstr(",ok,8,6,48,no,EX,0.5,1,24,50.0,1.0,1.0,0,0,1,0,"));
  EXPECT_THAT(rows[9], HasSubstr("\"broken, too\""));
  EXPECT_THAT(rows[9], HasSubstr(",failed,"));
  EXPECT_EQ(Lines("report/components.csv").size(), 2u);

  const std::map<std::string, std::string> files = Files("report");
  for (const char* name : {"index.html", "page/list.js", "images/a.js", "images/a.jpg",
                           "images/a~thumb.jpg", "images/b~20~232.js"}) {
    EXPECT_EQ(files.count(name), 1u) << name;
  }
  for (const auto& [name, text] : files) EXPECT_THAT(name, testing::Not(HasSubstr("partial")));
  EXPECT_THAT(files.at("images/a.js"), HasSubstr("\"truth\":\"data:image/png;base64,"));
  EXPECT_THAT(files.at("images/b~20~232.js"), HasSubstr("\"truth\":null"));
}

TEST_F(ReportTest, ItAgreesWithTheLabelMapsAndWhateverTheirSize) {
  WritePng(Path("in/a.png"), Noise(37, 29));
  const std::vector<std::string> flags = {"--report", Path("report"), "--threshold",
                                          "0.6,0.5,0.3,0.2"};
  EXPECT_EQ(Infer(flags).code, 0);
  const json own = Report("a");
  const Image labels = ReadClassMap(Path("out/a.label.png"));
  int64_t found = 0;
  for (int c = 0; c < 4; ++c) {
    const char* names[] = {"EX", "HE", "MA", "SE"};
    const int64_t area = own["lesions"][names[c]]["area"];
    EXPECT_EQ(area, std::count(labels.pixels.begin(), labels.pixels.end(), c + 1)) << names[c];
    found += area;
  }
  EXPECT_GT(found, 0);
  int64_t parts = 0;
  for (const json& part : own["components"]) parts += part["area"].get<int64_t>();
  EXPECT_EQ(parts, found);
  std::vector<std::string> working = flags;
  working.insert(working.end(), {"--output-size", "working"});
  EXPECT_EQ(Infer(working).code, 0);
  EXPECT_EQ(ReadClassMap(Path("out/a.label.png")).width, 8);
  EXPECT_EQ(Report("a")["components"], own["components"]);
  EXPECT_EQ(Report("a")["width"], 37);
  EXPECT_EQ(ReadPhoto(Path("report/images/a.jpg")).width, 8);
}

// The net's frame is 8 x 6: a photograph of 8 x 3 has black above and below, which is no part of
// it.
TEST_F(ReportTest, WhatIsBesideAPhotographIsNotReported) {
  WritePng(Path("in/a.png"), HalfExudate(16, 6));
  for (const char* size : {"own", "working"}) {
    EXPECT_EQ(Infer({"--report", Path("report"), "--output-size", size}).code, 0);
    const json report = Report("a");
    ASSERT_EQ(report["components"].size(), 1u) << size;
    EXPECT_EQ(report["components"][0]["box"][1], 0) << size;
    EXPECT_EQ(report["components"][0]["box"][3], 6) << size;
    EXPECT_NEAR(report["components"][0]["centroid"][0].get<double>(), 3.5, 0.5) << size;
    EXPECT_EQ(report["field_of_view"]["area"], 96) << size;
    EXPECT_EQ(ReadPhoto(Path("report/images/a.jpg")).height, size[0] == 'o' ? 6 : 3);
  }
}

// A photograph called as another one's thumbnail, and two that differ in case alone.
TEST_F(ReportTest, PicturesOfSimilarNamesStayApart) {
  for (const char* name : {"eye.png", "eye.thumb.png", "eye~thumb.png", "EYE.png"}) {
    WritePng(Path("in/" + std::string(name)), HalfExudate(8, 6));
  }
  EXPECT_EQ(Infer({"--report", Path("report")}).code, 0);
  std::vector<std::string> lower_names;
  for (const auto& [name, text] : Files("report/images")) {
    std::string& copy = lower_names.emplace_back(name);
    std::transform(copy.begin(), copy.end(), copy.begin(), [](char c) { return std::tolower(c); });
  }
  const std::set<std::string> different(lower_names.begin(), lower_names.end());
  EXPECT_EQ(different.size(), 4u * 3) << testing::PrintToString(lower_names);
}

TEST_F(ReportTest, ANameTooLongForItsFilesIsThatPhotographsFailure) {
  const std::string name(251, 'x');  // with ".png" as long as a name may be
  WritePng(Path("in/a.png"), HalfExudate(8, 6));
  WritePng(Path("in/" + name + ".png"), HalfExudate(8, 6));
  WritePng(Path("in/y.png"), HalfExudate(8, 6));
  const ProgramResult result = Infer({"--report", Path("report")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("File name too long"));
  EXPECT_THAT(result.out, HasSubstr("2 of 3 photographs segmented"));
  const std::vector<std::string> rows = Lines("report/report.csv");
  ASSERT_EQ(rows.size(), 1u + 4 + 1 + 4);
  EXPECT_THAT(rows[5], HasSubstr(name + ".png,failed,"));
  EXPECT_FALSE(Report("y").contains("error"));
  EXPECT_TRUE(fs::exists(Path("report/index.html")));
}

// A photograph's name is longer where another one has its stem; its truth is found all the same.
// One of another copy is found by its name.
TEST_F(ReportTest, TruthIsThatOfTheFile) {
  for (const char* name : {"in/a.png", "in/b.png", "copy/b.png"}) {
    fs::create_directories(fs::path(Path(name)).parent_path());
    WritePng(Path(name), HalfExudate(8, 6));
  }
  WriteJpeg(Path("in/a.jpg"), Image(8, 6, 3), 90);
  WriteIndexedPng(Path("truth.png"), Image(8, 6, 1, 1));
  folder_.Write("truth.txt", "./in/a.png\ttruth.png\ncopy/b.png\ttruth.png\n");
  const ProgramResult result = Infer({"--report", Path("report"), "--truth", Path("truth.txt")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, testing::Not(HasSubstr("are not among the photographs")));
  const auto files = Files("report/images");
  EXPECT_THAT(files.at("a.png.js"), HasSubstr("\"truth\":\"data:"));
  EXPECT_THAT(files.at("a.jpg.js"), HasSubstr("\"truth\":null"));
  EXPECT_THAT(files.at("b.js"), HasSubstr("\"truth\":\"data:"));
}

TEST_F(ReportTest, TwoRunsGiveTheSameBytes) {
  WritePng(Path("in/a.png"), Noise(20, 14));
  EXPECT_EQ(Infer({"--report", Path("report")}).code, 0);
  const auto files = Files("report");
  EXPECT_EQ(Infer({"--report", Path("report")}).code, 0);
  EXPECT_EQ(Files("report"), files);
}

TEST_F(ReportTest, WhatCannotBeReportedIsSaidBeforeAnythingIsDone) {
  WritePng(Path("in/a.png"), HalfExudate(8, 6));
  for (const char* flag : {"--truth", "--landmarks"}) {
    const ProgramResult alone = Infer({flag, Path("x.txt")});
    EXPECT_EQ(alone.code, 2);
    EXPECT_THAT(alone.err, HasSubstr("it needs --report"));
    const ProgramResult missing = Infer({"--report", Path("report"), flag, Path("x.txt")});
    EXPECT_EQ(missing.code, 1);
    EXPECT_THAT(missing.err, HasSubstr("x.txt"));
    EXPECT_EQ(std::count(missing.err.begin(), missing.err.end(), '\n'), 1);
  }
  folder_.Write("file", "");
  const ProgramResult blocked = Infer({"--report", Path("file")});
  EXPECT_EQ(blocked.code, 1);
  EXPECT_THAT(blocked.err, HasSubstr("cannot create folder"));
  EXPECT_FALSE(fs::exists(Path("out/a.label.png")));
}

// The maps of a photograph that the report has no place for are not half there.
TEST_F(ReportTest, ATruthThatDoesNotFitIsThatPhotographsFailure) {
  WritePng(Path("in/a.png"), HalfExudate(8, 6));
  WritePng(Path("in/b.png"), HalfExudate(8, 6));
  WriteIndexedPng(Path("truth.png"), Image(6, 6, 1, 1));
  folder_.Write("truth.txt", "in/a.png\ttruth.png\n");
  const ProgramResult result = Infer({"--report", Path("report"), "--truth", Path("truth.txt")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("a.png: its truth is 6x6"));
  EXPECT_THAT(Report("a")["error"].get<std::string>(), HasSubstr("its truth is 6x6"));
  EXPECT_FALSE(Report("b").contains("error"));
  EXPECT_FALSE(fs::exists(Path("out/a.label.png")));
  EXPECT_TRUE(fs::exists(Path("out/b.label.png")));
}

}  // namespace
}  // namespace lseg
