// Which files an input means and what they are called, in folders made for each test.
#include "lseg/photo_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "kernels/runtime/check.h"
#include "lseg/image.h"

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

class PhotoListTest : public testing::Test {
 protected:
  PhotoListTest() {
    const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::path(testing::TempDir()) / ("photo_list_" + test);
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~PhotoListTest() override { fs::remove_all(folder_); }

  void Touch(const std::string& name, const std::string& text = "") {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  fs::path folder_;
};

std::vector<std::string> Names(const PhotoList& list) {
  std::vector<std::string> names;
  for (const PhotoFile& photo : list.photos) names.push_back(photo.name);
  return names;
}

TEST_F(PhotoListTest, FolderIsSortedAndOthersAreNamed) {
  for (const char* name : {"b.JPG", "a.png", "c.tiff", "d.bmp", "e.jpeg", "f.TIF"}) Touch(name);
  Touch("notes.txt");
  Touch("Thumbs.db");
  Touch("below/g.jpg");
  const PhotoList list = ListPhotos(folder_.string());
  EXPECT_THAT(Names(list), ElementsAre("a", "b", "c", "d", "e", "f"));
  EXPECT_EQ(list.photos[1].path, Path("b.JPG"));
  EXPECT_THAT(list.skipped, ElementsAre("Thumbs.db: no photograph by its name",
                                        "notes.txt: no photograph by its name"));
}

// What cannot be read is not passed over: the reader names it.
TEST_F(PhotoListTest, LinksThatLeadNowhereAndPipesAreTaken) {
  Touch("eye.jpg");
  fs::create_symlink("loop.jpg", Path("loop.jpg"));
  fs::create_symlink("none", Path("gone.jpg"));
  fs::create_directory(Path("folder.jpg"));
  ASSERT_EQ(mkfifo(Path("pipe.jpg").c_str(), 0600), 0);
  EXPECT_THAT(Names(ListPhotos(folder_.string())), ElementsAre("eye", "gone", "loop", "pipe"));
  for (const char* name : {"gone.jpg", "loop.jpg", "pipe.jpg"}) {
    EXPECT_THROW(ReadPhoto(Path(name)), Error) << name;
  }
}

TEST_F(PhotoListTest, FilesOfOneStemKeepTheirExtension) {
  for (const char* name : {"a.jpg", "a.png", "b.jpg"}) Touch(name);
  EXPECT_THAT(Names(ListPhotos(folder_.string())), ElementsAre("a.jpg", "a.png", "b"));
}

TEST_F(PhotoListTest, AStemThatLooksLikeAFileNameMakesWay) {
  // a.jpg and a.png become "a.jpg" and "a.png"; the stem of a.jpg.png is "a.jpg" as well.
  for (const char* name : {"a.jpg", "a.jpg.png", "a.png"}) Touch(name);
  const std::vector<std::string> names = Names(ListPhotos(folder_.string()));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 3u)
      << testing::PrintToString(names);
}

TEST_F(PhotoListTest, ListIsRelativeToItself) {
  Touch("set/train.txt",
        "# held out\nimages/x.png labels/x.png\n\n  images/y.png\r\n./images/x.png\n");
  const PhotoList list = ListPhotos(Path("set/train.txt"));
  EXPECT_THAT(Names(list), ElementsAre("x", "y"));
  EXPECT_EQ(list.photos[0].path, Path("set/images/x.png"));
}

TEST_F(PhotoListTest, PathsOfAListMayHoldSpaces) {
  Touch("my images/left eye.png");
  Touch("my labels/left eye.png");
  Touch("list.txt", "my images/left eye.png my labels/left eye.png\n");
  const PhotoList list = ListPhotos(Path("list.txt"));
  EXPECT_THAT(Names(list), ElementsAre("left eye"));
  EXPECT_EQ(list.photos[0].path, Path("my images/left eye.png"));
}

TEST_F(PhotoListTest, OneFileNameInTwoFoldersIsWrittenWithItsPath) {
  Touch("both.txt", "left/a.png\nright/a.png\n");
  const std::vector<std::string> names = Names(ListPhotos(Path("both.txt")));
  EXPECT_THAT(names[0], HasSubstr("left_a.png"));
  EXPECT_THAT(names[1], HasSubstr("right_a.png"));
}

TEST_F(PhotoListTest, NamesThatCannotBeToldApartAreRefused) {
  Touch("both.txt", "x/a.png\ny/a.png\nx_a.png\nz/x_a.png\n");
  try {
    ListPhotos(Path("both.txt"));
    FAIL() << "two photographs were given one name";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("x_a.png"));
  }
}

TEST_F(PhotoListTest, AFileIsTakenWhateverItsExtension) {
  Touch("scan.dcm");
  EXPECT_THAT(Names(ListPhotos(Path("scan.dcm"))), ElementsAre("scan"));
}

TEST_F(PhotoListTest, NothingToDoIsAnError) {
  EXPECT_THROW(ListPhotos(Path("missing")), Error);
  // What stat() cannot tell, as behind a folder without permission, is not missing.
  fs::create_symlink("loop", Path("loop"));
  EXPECT_THAT([&] { ListPhotos(Path("loop")); },
              testing::ThrowsMessage<Error>(HasSubstr("cannot be read: Too many levels")));
  EXPECT_THAT([&] { ReadPhoto(Path("loop")); },
              testing::ThrowsMessage<Error>(HasSubstr("cannot be read: Too many levels")));
  EXPECT_THROW(ListPhotos(folder_.string()), Error);
  Touch("empty.txt", "\n \n");
  EXPECT_THROW(ListPhotos(Path("empty.txt")), Error);
}

}  // namespace
}  // namespace lseg
