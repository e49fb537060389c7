// Lists, truth in both its forms, class maps from overlapping masks.
#include "lseg/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/file.h"
#include "tests/error_of.h"
#include "tests/lseg/image_files.h"
#include "tests/lseg/temp_folder.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
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
  EXPECT_THAT([&] { ReadList(path); }, ThrowsMessage<Error>(HasSubstr("lists no image")));
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

// A line of image and mask, where there is one class, is one of image and label.
TEST(ReadTruth, TakesAMaskForTheMapOfOneClass) {
  const TempFolder folder;
  const auto truth = [&](const std::vector<uint8_t>& pixels, std::vector<std::string> classes) {
    Image map(3, 1, 1);
    map.pixels = pixels;
    WritePng(folder.Path("x.png"), map);
    return ReadTruth({"i.png", folder.Path("x.png")}, classes)[0].pixels;
  };
  EXPECT_EQ(truth({0, 255, 0}, {"EX"}), (std::vector<uint8_t>{0, 255, 0}));
  EXPECT_EQ(truth({0, 1, 0}, {"EX"}), (std::vector<uint8_t>{0, 255, 0}));
  EXPECT_EQ(truth({0, 0, 0}, {"EX"}), (std::vector<uint8_t>{0, 0, 0}));
  // Whatever 255 means beside 1, or beside another class, it is not the class.
  EXPECT_THAT([&] { truth({1, 255, 0}, {"EX"}); }, ThrowsMessage<Error>(HasSubstr("class 255")));
  EXPECT_THAT(
      [&] {
        truth({0, 255, 0}, {"EX", "HE"});
      },
      ThrowsMessage<Error>(HasSubstr("class 255")));
}

TEST(ReadList, IsTextWithOrWithoutAByteOrderMark) {
  const TempFolder folder;
  const std::string list = folder.Write("list.txt",
                                        "\xef\xbb\xbf"
                                        "a.png b.png\n");
  EXPECT_EQ(ReadList(list)[0].image, folder.Path("a.png"));
  folder.Write("list.txt", std::string("a\0.\0p\0", 6));
  EXPECT_THAT([&] { ReadList(list); },
              ThrowsMessage<Error>(HasSubstr("list.txt: is no text file")));
}

// What is quoted of a file must leave a message one line, and a terminal as it is.
TEST(ReadList, LinesThatAreNoTextOfPathsAreRefused) {
  const TempFolder folder;
  const std::string list = folder.Write("list.txt", "a.png b.png\na.\x1b[2Jpng\rb.png\n");
  EXPECT_THAT([&] { ReadList(list); },
              ThrowsMessage<Error>(list + ":2: control characters in 'a.?[2Jpng?b.png', which no "
                                          "path has"));
  // A large file that is no list: half of this are blanks, at each of which it could be cut.
  std::string line;
  for (int i = 0; i < 1'000'000; ++i) line += "x ";
  folder.Write("list.txt", line);
  EXPECT_THAT([&] { ReadList(list); },
              ThrowsMessage<Error>(list + ":1: a line of 1999999 bytes, which is none of paths"));
  line.resize(8000);
  folder.Write("list.txt", line);
  const std::string message = ErrorOf([&] { ReadList(list); });
  EXPECT_THAT(message, StartsWith(list + ":1: no way to read 'x x"));
  EXPECT_LT(message.size(), list.size() + 400);
}

TEST(ReadList, ALineMayNameAMaskAClass) {
  const TempFolder folder;
  folder.Write("a.png", "");
  // Without tabs the words count once the first of them is an image; masks are looked for later.
  const std::string list = folder.Write("list.txt",
                                        "a.png m/ex.png - m/ma.png -\n"
                                        "a.png \t my masks/ex.png\t-\tm.png\t-\r\n"
                                        "a.png label.png\n");
  const std::vector<ListEntry> entries = ReadList(list);
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].image, folder.Path("a.png"));
  EXPECT_EQ(entries[0].label, "");
  EXPECT_THAT(entries[0].masks,
              testing::ElementsAre(folder.Path("m/ex.png"), "", folder.Path("m/ma.png"), ""));
  EXPECT_THAT(entries[1].masks,
              testing::ElementsAre(folder.Path("my masks/ex.png"), "", folder.Path("m.png"), ""));
  EXPECT_EQ(entries[2].label, folder.Path("label.png"));
  EXPECT_TRUE(entries[2].masks.empty());
  EXPECT_EQ(TruthPath(entries[0]), folder.Path("m/ex.png"));
  EXPECT_THAT(ReadImageList(list), testing::Each(folder.Path("a.png")));
}

TEST(ReadTruth, TakesTheMasksThatALineNames) {
  const TempFolder folder;
  Image mask(3, 1, 1);
  mask.pixels = {255, 255, 0};
  WritePng(folder.Path("ex.png"), mask);
  mask.pixels = {0, 255, 0};
  WritePng(folder.Path("ma.png"), mask);
  WritePng(folder.Path("wide.png"), Image(4, 1, 1));
  const std::string ex = folder.Path("ex.png"), ma = folder.Path("ma.png");
  const std::vector<Image> masks = ReadTruth({"i.png", "", {"", ex, ma, ""}}, kClasses);
  EXPECT_EQ(masks[1].pixels, (std::vector<uint8_t>{255, 255, 0}));
  EXPECT_EQ(masks[2].pixels, (std::vector<uint8_t>{0, 255, 0}));
  EXPECT_EQ(AnyMask(masks).width, 3);
  EXPECT_EQ(Annotated(masks), (std::vector<bool>{false, true, true, false}));
  const auto error = [&](const std::vector<std::string>& paths, const std::string& text) {
    EXPECT_THAT(
        [&] {
          ReadTruth({"i.png", "", paths}, kClasses);
        },
        ThrowsMessage<Error>(HasSubstr(text)));
  };
  error({ex, ma, ex}, "i.png: its line has 3 masks, the classes are 4");
  error({"", "", "", ""}, "i.png: its line has - in the place of every mask");
  error({"", ex, folder.Path("wide.png"), ""}, "wide.png: is 4x1, the mask of HE is 3x1");
  error({ex, ma, folder.Path("no.png"), ""}, "no.png: cannot be read: no such file");
}

TEST(ReadList, PathsMayHoldSpacesWhereTheLineIsClear) {
  const TempFolder folder;
  folder.Write("my images/a b.png", "");
  folder.Write("my labels/a b.png", "");
  const auto read = [&](const std::string& line) {
    const ListEntry entry = ReadList(folder.Write("list.txt", line + "\n"))[0];
    EXPECT_EQ(entry.image, folder.Path("my images/a b.png")) << line;
    EXPECT_EQ(entry.label, folder.Path("my labels/a b.png")) << line;
  };
  read("my images/a b.png my labels/a b.png");
  read("my images/a b.png\tmy labels/a b.png");
  read("  my images/a b.png \t my labels/a b.png\r");
  // Cut one blank later the line names two other files: it could mean either.
  folder.Write("my images/a b.png my", "");
  folder.Write("labels/a b.png", "");
  const std::string list =
      folder.Write("list.txt", "x.png y.png\nmy images/a b.png my labels/a b.png\n");
  EXPECT_THAT([&] { ReadList(list); },
              ThrowsMessage<Error>(
                  AllOf(HasSubstr(list + ":2: more than one way"), HasSubstr("tabs between"))));
  read("my images/a b.png\tmy labels/a b.png");
  folder.Write("list.txt", "not there.png nor this.png\n");
  EXPECT_THAT([&] { ReadList(list); }, ThrowsMessage<Error>(HasSubstr(":1: no way")));
}

TEST(ReadImageList, LabelsMayBeMissingOrLeftOut) {
  const TempFolder folder;
  const auto read = [&](const std::string& line) {
    return ReadImageList(folder.Write("list.txt", line + "\n"))[0];
  };
  EXPECT_EQ(read("gone.png"), folder.Path("gone.png"));
  EXPECT_EQ(read("gone.png gone_label.png"), folder.Path("gone.png"));
  const std::string image = folder.Write("my images/a b.png", "");
  EXPECT_EQ(read("my images/a b.png"), image);
  EXPECT_EQ(read("my images/a b.png gone/a b.png"), image);
  EXPECT_EQ(read("my images/a b.png\tgone.png"), image);
  folder.Write("labels/a b.png", "");
  EXPECT_EQ(read("my images/a b.png labels/a b.png"), image);
  // With a file of that name the line has two readings, of which one has its label.
  folder.Write("my images/a", "");
  EXPECT_EQ(read("my images/a b.png labels/a b.png"), image);
  EXPECT_THAT([&] { read("my images/a b.png gone.png"); },
              ThrowsMessage<Error>(HasSubstr(":1: more than one way")));
  EXPECT_THAT([&] { read("three words here"); }, ThrowsMessage<Error>(HasSubstr(":1: no way")));
}

}  // namespace
}  // namespace lseg
