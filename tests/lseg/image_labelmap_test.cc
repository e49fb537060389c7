// The ImageLabelmapData layer: what its fields do, in a net built from text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/net.h"
#include "lseg/layers.h"
#include "tests/error_of.h"
#include "tests/lseg/tiny_dataset.h"

namespace lseg {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class ImageLabelmapData : public testing::Test {
 protected:
  // A net of the data layer alone, from a file in the test's folder.
  std::unique_ptr<Net> Make(const std::string& image_data, const std::string& transform = "",
                            caffe::Phase phase = caffe::TRAIN) {
    const std::string path =
        folder_.Write("net.prototxt",
                      "name: \"data\"\nlayer { name: \"d\" type: \"ImageLabelmapData\"\n"
                      "top: \"data\" top: \"label\"\ntransform_param { " +
                          transform + " }\nimage_data_param { " + image_data + " } }\n");
    LayerRegistry registry = BuiltinLayers();
    AddLayers(registry);
    NetOptions options;
    options.phase = phase;
    return std::make_unique<Net>(NetDefinition::FromFile(path), registry, context_,
                                 std::make_shared<ParameterSet>(), options);
  }

  // The image whose photograph, as it is, the first sample of the batch shows; -1: none of them.
  int Shown(Net& net, int images) const {
    const std::vector<float> data = net.Read("data");
    for (int i = 0; i < images; ++i) {
      const Image photo = ReadPhoto(folder_.Path("images/t" + std::to_string(i) + ".png"));
      bool same = true;
      for (size_t p = 0; p < photo.pixels.size() / 3; ++p) {
        same = same && data[p] == photo.pixels[3 * p + 2];
      }
      if (same) return i;
    }
    return -1;
  }

  TempFolder folder_;
  Context context_;
};

TEST_F(ImageLabelmapData, GivesImagesAndClassesInTheOrderOfTheList) {
  WriteTinyDataset(folder_, "t", 3, 20, 12);
  const auto net = Make("source: \"t.txt\" batch_size: 2");
  EXPECT_EQ(net->Desc("data"), (TensorDesc{{2, 3, 12, 20}}));
  EXPECT_EQ(net->Desc("label"), (TensorDesc{{2, 1, 12, 20}, DType::kU8}));
  for (int i = 0; i < 4; ++i) {
    net->Fetch(i);
    EXPECT_EQ(Shown(*net, 3), 2 * i % 3);
    const Image classes =
        ReadClassMap(folder_.Path("labels/t" + std::to_string(2 * i % 3) + ".png"));
    const std::vector<float> label = net->Read("label");
    for (size_t p = 0; p < classes.pixels.size(); ++p) ASSERT_EQ(label[p], classes.pixels[p]);
  }
}

TEST_F(ImageLabelmapData, RefusesALineThatNamesMasks) {
  WriteTinyDataset(folder_, "t", 1, 20, 12);
  folder_.Write("m.txt", "images/t0.png\tmasks/t0_EX.png\t-\n");
  EXPECT_THAT(ErrorOf([&] { Make("source: \"m.txt\""); }),
              testing::HasSubstr("ImageLabelmapData reads a class map an image"));
}

TEST_F(ImageLabelmapData, ShufflesEachPassByItself) {
  WriteTinyDataset(folder_, "t", 5, 20, 12);
  const auto net = Make("source: \"t.txt\" shuffle: true");
  std::vector<int> first, second;
  for (int i = 0; i < 10; ++i) {
    net->Fetch(i);
    (i < 5 ? first : second).push_back(Shown(*net, 5));
  }
  EXPECT_THAT(first, testing::UnorderedElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(second, testing::UnorderedElementsAre(0, 1, 2, 3, 4));
  EXPECT_NE(first, second);
}

TEST_F(ImageLabelmapData, ResamplesToANewSize) {
  WriteTinyDataset(folder_, "t", 1, 20, 12);
  const auto net = Make("source: \"t.txt\" new_width: 30 new_height: 18",
                        "mean_value: 1 mean_value: 2 mean_value: 3 scale: 2");
  net->Fetch(0);
  const Image photo = Resize(ReadPhoto(folder_.Path("images/t0.png")), 30, 18);
  const Image classes = ResizeNearest(ReadClassMap(folder_.Path("labels/t0.png")), 30, 18);
  const std::vector<float> data = net->Read("data"), label = net->Read("label");
  for (int p = 0; p < 30 * 18; ++p) {
    ASSERT_EQ(label[p], classes.pixels[p]);
    for (int c = 0; c < 3; ++c) {
      ASSERT_EQ(data[c * 540 + p], (photo.pixels[3 * p + 2 - c] - (c + 1.0f)) * 2);
    }
  }
}

TEST_F(ImageLabelmapData, CropsImagesOfAnySize) {
  WriteTinyDataset(folder_, "t", 2, 20, 12);
  WritePng(folder_.Path("images/t1.png"), Image(31, 17, 3));
  WriteIndexedPng(folder_.Path("labels/t1.png"), Image(31, 17, 1));
  const auto net = Make("source: \"t.txt\"", "crop_size: 10");
  EXPECT_EQ(net->Desc("data").shape, (Shape{1, 3, 10, 10}));
  net->Fetch(0);
  net->Fetch(1);
  EXPECT_THAT(net->Read("data"), testing::Each(0));
}

TEST_F(ImageLabelmapData, PutsTheRootFolderInFront) {
  WriteTinyDataset(folder_, "t", 1, 20, 12);
  folder_.Write("lists/bare.txt", "t0.png t0.png\n\n");
  EXPECT_THAT(ErrorOf([&] { Make("source: \"lists/bare.txt\" root_folder: \"nowhere/\""); }),
              HasSubstr("nowhere/t0.png"));
  folder_.Write("lists/split.txt", "images/t0.png labels/t0.png\n");
  const std::string root = folder_.Path("") + "/";
  const auto net = Make("source: \"lists/split.txt\" root_folder: \"" + root + "\"");
  net->Fetch(0);
  EXPECT_EQ(Shown(*net, 1), 0);
}

TEST_F(ImageLabelmapData, PathsMayHoldSpaces) {
  WriteTinyDataset(folder_, "t", 1, 20, 12);
  std::filesystem::rename(folder_.Path("labels"), folder_.Path("my labels"));
  folder_.Write("blank.txt", "images/t0.png my labels/t0.png\n");
  folder_.Write("tab.txt", "t0.png\t../my labels/t0.png\n");
  const std::string root = folder_.Path("images") + "/";
  const std::string sources[] = {"source: \"blank.txt\"",
                                 "source: \"tab.txt\" root_folder: \"" + root + "\""};
  for (const std::string& source : sources) {
    const auto net = Make(source);
    net->Fetch(0);
    EXPECT_EQ(Shown(*net, 1), 0) << source;
  }
}

TEST_F(ImageLabelmapData, ErrorsNameTheLayerAndTheRule) {
  WriteTinyDataset(folder_, "t", 2, 20, 12);
  folder_.Write("bad.txt", "images/t0.png labels/t0.png\nimages/t1.png\n");
  folder_.Write("empty.txt", "\n");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "source"},
      {"source: \"missing.txt\"", "missing.txt"},
      {"source: \"bad.txt\"", "bad.txt:2"},
      {"source: \"empty.txt\"", "lists no image"},
      {"source: \"t.txt\" batch_size: 0", "batch_size 0"},
      {"source: \"t.txt\" new_width: 5", "go together"},
      {"source: \"t.txt\" rand_skip: 100", "rand_skip 100"},
      {"source: \"t.txt\" is_color: false", "is_color"},
      {"source: \"t.txt\" mirror: true", "transform_param"}};
  for (const auto& [text, rule] : cases) {
    EXPECT_THAT(ErrorOf([&] { Make(text); }),
                AllOf(HasSubstr("net.prototxt:5: layer 'd' (ImageLabelmapData)"), HasSubstr(rule)));
  }
}

TEST_F(ImageLabelmapData, AnImageOfAnotherSizeIsNamed) {
  WriteTinyDataset(folder_, "t", 2, 20, 12);
  WritePng(folder_.Path("images/t1.png"), Image(31, 17, 3));
  EXPECT_THAT(ErrorOf([&] {
                const auto net = Make("source: \"t.txt\"");
                net->Fetch(0);
                net->Fetch(1);
              }),
              AllOf(HasSubstr("images/t1.png is 31x17"), HasSubstr("labels/t1.png 20x12")));
  WriteIndexedPng(folder_.Path("labels/t1.png"), Image(31, 17, 1));
  EXPECT_THAT(ErrorOf([&] {
                const auto net = Make("source: \"t.txt\"");
                net->Fetch(0);
                net->Fetch(1);
              }),
              AllOf(HasSubstr("images/t1.png: is 31x17"), HasSubstr("crop_size")));
}

}  // namespace
}  // namespace lseg
