#include "lseg/landmarks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/runtime/check.h"
#include "tests/lseg/temp_folder.h"

namespace lseg {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(Landmarks, OfOneTable) {
  TempFolder folder;
  const LandmarkTable table = ReadLandmarks(
      {folder.Write("marks.csv",
                    "\xEF\xBB\xBFimage,disc_x,disc_y,fovea_x,fovea_y\r\na,10,20.5,30,40\r\n"
                    "b.png,,,7,8\r\n,,,,\r\n\r\n\"c d\",1,2\r\n")});
  ASSERT_EQ(table.size(), 3u);
  const Landmarks a = LandmarksOf(table, "x/a.jpg");
  EXPECT_EQ(a.disc->x, 10);
  EXPECT_EQ(a.disc->y, 20.5);
  EXPECT_EQ(a.fovea->x, 30);
  EXPECT_EQ(a.fovea->y, 40);
  EXPECT_FALSE(LandmarksOf(table, "b.png").disc);
  EXPECT_EQ(LandmarksOf(table, "b.png").fovea->y, 8);
  EXPECT_FALSE(LandmarksOf(table, "b.jpg").fovea);  // another file
  EXPECT_EQ(LandmarksOf(table, "c d.tif").disc->y, 2);
  EXPECT_FALSE(LandmarksOf(table, "nobody.png").disc);
}

// The columns and the empty lines of the publishers' files, with other numbers.
TEST(Landmarks, OfIdridsTwoFiles) {
  TempFolder folder;
  const LandmarkTable table = ReadLandmarks(
      {folder.Write("a. IDRiD_OD_Center_Training Set_Markups.csv",
                    "Image No,X- Coordinate,Y - Coordinate,,,\nIDRiD_001,2809,1330,,,\n,,,,,\n"),
       folder.Write("IDRiD_Fovea_Center_Training Set_Markups.csv",
                    "Image No,X- Coordinate,Y - Coordinate\nIDRiD_001,1800,1400\n")});
  ASSERT_EQ(table.size(), 1u);
  const Landmarks marks = LandmarksOf(table, "IDRiD_001.jpg");
  EXPECT_EQ(marks.disc->x, 2809);
  EXPECT_EQ(marks.fovea->y, 1400);
  EXPECT_EQ(EyeOf(marks), Eye::kRight);
}

TEST(Landmarks, OfJson) {
  TempFolder folder;
  const LandmarkTable table = ReadLandmarks({folder.Write(
      "marks.json", R"({"a": {"disc": [1, 2], "fovea": [3.5, 4]}, "b": {"fovea": null}})")});
  EXPECT_EQ(LandmarksOf(table, "a.png").fovea->x, 3.5);
  EXPECT_EQ(EyeOf(LandmarksOf(table, "a.png")), Eye::kLeft);
  EXPECT_EQ(EyeOf(LandmarksOf(table, "b.png")), Eye::kUnknown);
}

TEST(Landmarks, WhatIsWrongIsNamed) {
  TempFolder folder;
  const auto message = [&](const char* name, const char* text, const char* expected) {
    const std::string path = folder.Write(name, text);
    EXPECT_THAT([&] { ReadLandmarks({path}); }, ThrowsMessage<Error>(HasSubstr(expected))) << text;
  };
  message("a.csv", "image,x,y\na,1,2\n", "a.csv:1: no landmarks");
  message("a.csv", "", "a.csv:1: no landmarks");
  message("a.csv", "image,disc_x,disc_y\na,1,2\nb,1,here\n", "a.csv:3: 'here' is no coordinate");
  message("a.csv", "image,disc_x,disc_y\na,1,\n", "a.csv:2: '' is no coordinate");
  message("marks.csv", "Image No,X- Coordinate,Y - Coordinate\na,1,2\n", "OD or Fovea");
  message("a.json", "[1]", "no JSON object");
  message("a.json", R"({"a": {"disc": [1]}})", "a: 'disc' is not [x, y]");
}

TEST(Quadrants, OfTheImageAndOfBothEyes) {
  const ImagePoint center{10, 10};
  EXPECT_EQ(ImageQuadrant({9, 9}, center), "upper left");
  EXPECT_EQ(ImageQuadrant({10, 9}, center), "upper right");
  EXPECT_EQ(ImageQuadrant({9, 10}, center), "lower left");
  EXPECT_EQ(ImageQuadrant({11, 11}, center), "lower right");
  // In a right eye's photograph the nose is to the right.
  EXPECT_EQ(EyeQuadrant({12, 3}, center, Eye::kRight), "superior nasal");
  EXPECT_EQ(EyeQuadrant({2, 13}, center, Eye::kRight), "inferior temporal");
  EXPECT_EQ(EyeQuadrant({12, 3}, center, Eye::kLeft), "superior temporal");
  EXPECT_EQ(EyeQuadrant({2, 13}, center, Eye::kLeft), "inferior nasal");
  EXPECT_EQ(EyeQuadrant({2, 13}, center, Eye::kUnknown), "lower left");
  EXPECT_EQ(EyeOf({ImagePoint{5, 1}, ImagePoint{5, 9}}), Eye::kUnknown);
}

}  // namespace
}  // namespace lseg
