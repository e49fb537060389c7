// transform_param by Caffe's rules, on arrays worked out by hand.
#include "lseg/caffe_transform.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "framework/proto_text.h"
#include "tests/error_of.h"
#include "tests/lseg/temp_folder.h"

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

caffe::TransformationParameter Param(const std::string& text) {
  caffe::TransformationParameter param;
  EXPECT_FALSE(ParseProtoText(text, &param).error) << text;
  return param;
}

CaffeTransform Transform(const std::string& text, bool training = true,
                         const std::string& file = "net.prototxt") {
  return CaffeTransform(Param(text), training, file);
}

// A photograph whose red channel counts the pixels from 0, green 100 + that, blue 200 + that.
Image Counted(int width, int height) {
  Image photo(width, height, 3);
  for (int i = 0; i < width * height; ++i) {
    for (int c = 0; c < 3; ++c) photo.pixels[3 * i + c] = static_cast<uint8_t>(100 * c + i);
  }
  return photo;
}

struct Sample {
  std::vector<float> data;
  std::vector<uint8_t> label;
};

Sample Apply(const CaffeTransform& transform, const Image& photo, const Image& classes,
             const CaffeTransform::Draw& draw) {
  const int pixels = transform.OutputWidth(photo.width) * transform.OutputHeight(photo.height);
  Sample sample{std::vector<float>(3 * pixels), std::vector<uint8_t>(pixels)};
  transform.Apply(photo, classes, draw, sample.data.data(), sample.label.data());
  return sample;
}

TEST(CaffeTransform, SubtractsTheMeanOfEachChannelThenScales) {
  Image classes(2, 1, 1);
  classes.pixels = {3, 4};
  const Sample sample = Apply(Transform("mean_value: 10 mean_value: 20 mean_value: 30 scale: 0.5"),
                              Counted(2, 1), classes, {});
  // Blue 200, 201; green 100, 101; red 0, 1.
  EXPECT_THAT(sample.data, ElementsAre(95, 95.5, 40, 40.5, -15, -14.5));
  EXPECT_THAT(sample.label, ElementsAre(3, 4));
}

TEST(CaffeTransform, OneMeanValueServesAllChannels) {
  EXPECT_THAT(Transform("mean_value: 7").ChannelMeans(), ElementsAre(7, 7, 7));
  EXPECT_THAT(Transform("").ChannelMeans(), ElementsAre(0, 0, 0));
}

TEST(CaffeTransform, CropsAndMirrorsImageAndLabelAlike) {
  Image classes(4, 3, 1);
  for (int i = 0; i < 12; ++i) classes.pixels[i] = static_cast<uint8_t>(i);
  const Sample sample = Apply(Transform("crop_size: 2"), Counted(4, 3), classes,
                              {.left = 1, .top = 1, .mirror = true});
  EXPECT_THAT(sample.label, ElementsAre(6, 5, 10, 9));
  EXPECT_THAT(std::vector<float>(sample.data.begin() + 8, sample.data.end()),
              ElementsAre(6, 5, 10, 9));
}

TEST(CaffeTransform, DrawsCropsAnywhereInTrainingAndInTheMiddleInTests) {
  std::set<std::pair<int, int>> places;
  int mirrored = 0;
  for (int i = 0; i < 400; ++i) {
    Random random(1, i);
    const auto draw = Transform("crop_size: 3 mirror: true").Next(5, 4, random);
    places.insert({draw.left, draw.top});
    mirrored += draw.mirror;
    ASSERT_TRUE(draw.left >= 0 && draw.left <= 2 && draw.top >= 0 && draw.top <= 1);
  }
  EXPECT_EQ(places.size(), 6u);
  EXPECT_NEAR(mirrored, 200, 50);  // five standard deviations of a binomial count
  Random random(1, 1);
  const auto middle = Transform("crop_size: 3", false).Next(6, 4, random);
  EXPECT_EQ(middle.left, 1);
  EXPECT_EQ(middle.top, 0);
  EXPECT_FALSE(middle.mirror);
}

TEST(CaffeTransform, MeanFileIsCutLikeTheImage) {
  const TempFolder folder;
  caffe::BlobProto blob;
  for (const int dim : {1, 3, 2, 3}) blob.mutable_shape()->add_dim(dim);
  for (int i = 0; i < 18; ++i) blob.add_data(static_cast<float>(i));
  folder.Write("mean.binaryproto", blob.SerializeAsString());
  const CaffeTransform transform =
      Transform("mean_file: \"mean.binaryproto\" crop_size: 1", true, folder.Path("net.prototxt"));
  const Image classes(3, 2, 1);
  const Sample sample = Apply(transform, Counted(3, 2), classes, {.left = 2, .top = 1});
  EXPECT_THAT(sample.data, ElementsAre(205 - 5, 105 - 11, 5 - 17));
  EXPECT_THAT(transform.ChannelMeans(), ElementsAre(2.5f, 8.5f, 14.5f));
  EXPECT_THAT(ErrorOf([&] { Apply(transform, Counted(4, 2), Image(4, 2, 1), {}); }),
              HasSubstr("is 4x2, the image of mean_file 3x2"));
}

// Files older than `shape` give num, channels, height and width.
TEST(CaffeTransform, ReadsOldMeanFiles) {
  const TempFolder folder;
  caffe::BlobProto blob;
  blob.set_num(1);
  blob.set_channels(3);
  blob.set_height(1);
  blob.set_width(1);
  for (const float mean : {1.f, 2.f, 3.f}) blob.add_data(mean);
  const std::string path = folder.Write("mean.binaryproto", blob.SerializeAsString());
  EXPECT_THAT(Transform("mean_file: \"" + path + "\"").ChannelMeans(), ElementsAre(1, 2, 3));
}

TEST(CaffeTransform, RefusesWhatDoesNotGoTogether) {
  const TempFolder folder;
  folder.Write("short", "no blob at all");
  caffe::BlobProto blob;
  for (const int dim : {3, 2, 2}) blob.mutable_shape()->add_dim(dim);
  blob.add_data(1);
  folder.Write("few", blob.SerializeAsString());
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"mean_value: 1 mean_file: \"x\"", "both given"},
      {"mean_value: 1 mean_value: 2", "2 times"},
      {"force_gray: true", "force_gray"},
      {"mean_file: \"missing\"", "missing"},
      {"mean_file: \"short\"", "no BlobProto"},
      {"mean_file: \"few\"", "1 values"}};
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(ErrorOf([&] { Transform(text, true, folder.Path("net.prototxt")); }),
                HasSubstr(message))
        << text;
  }
  Random random(1, 1);
  EXPECT_THAT(ErrorOf([&] { Transform("crop_size: 5").Next(4, 9, random); }),
              HasSubstr("is 4x9, smaller than crop_size 5"));
}

}  // namespace
}  // namespace lseg
