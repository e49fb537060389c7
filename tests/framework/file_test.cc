// Writing whole files: the old file or the new one, never half of one.
#include "framework/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "framework/new_file.h"
#include "framework/weights.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  FileTest() : folder_(testing::TempDir() + "/file_test_" + std::to_string(getpid())) {
    fs::create_directory(folder_);
  }
  ~FileTest() override { fs::remove_all(folder_); }

  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }

  const std::string folder_;
};

TEST_F(FileTest, ReadsBackWhatWasWritten) {
  const std::string path = folder_ + "/a", bytes("\0\n\r\xff text", 9);
  WriteFile(path, bytes);
  EXPECT_EQ(ReadFile(path), bytes);
  WriteFile(path, "");
  EXPECT_EQ(ReadFile(path), "");
  EXPECT_EQ(Names(), std::set<std::string>{"a"});
}

TEST_F(FileTest, WhatIsOpenIsReadAgainAsItWas) {
  const std::string path = folder_ + "/a";
  WriteFile(path, "first");
  InputFile file(path);
  EXPECT_TRUE(file.CanBeReadAgain());
  EXPECT_EQ(file.Read(), "first");
  WriteFile(path, "second");  // another file by that name
  EXPECT_EQ(file.Read(), "first");
  fs::remove(path);
  EXPECT_EQ(file.Read(), "first");
}

TEST_F(FileTest, WhatWasChangedInItsPlaceIsNotReadAgain) {
  const std::string path = folder_ + "/a";
  WriteFile(path, "first");
  InputFile file(path);
  EXPECT_EQ(file.Read(), "first");
  fs::resize_file(path, 3);
  EXPECT_EQ(ErrorOf([&] { file.Read(); }), path + ": was changed while it was in use");
}

TEST_F(FileTest, APipeIsReadOnce) {
  const std::string path = folder_ + "/pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(path) << "through"; });
  InputFile file(path);
  EXPECT_FALSE(file.CanBeReadAgain());
  EXPECT_EQ(file.Read(), "through");
  writer.join();
  EXPECT_EQ(ErrorOf([&] { file.Read(); }), path + ": cannot be read twice");
}

TEST_F(FileTest, NamesFileAndReason) {
  EXPECT_EQ(ErrorOf([&] { WriteFile(folder_ + "/none/a", "x"); }),
            folder_ + "/none/a: cannot be written: No such file or directory");
  EXPECT_EQ(ErrorOf([&] { ReadFile(folder_ + "/none"); }),
            folder_ + "/none: cannot be read: No such file or directory");
  EXPECT_EQ(ErrorOf([&] { ReadFile(folder_); }), folder_ + ": is a folder, not a file");
  fs::create_directory(folder_ + "/taken");
  EXPECT_EQ(ErrorOf([&] { WriteFile(folder_ + "/taken", "x"); }),
            folder_ + "/taken: cannot be written: Is a directory");
  EXPECT_EQ(Names(), std::set<std::string>{"taken"});
}

TEST_F(FileTest, OfTwoWritersTheLastOnesFileStandsWhole) {
  const std::string path = folder_ + "/a";
  NewFile first(path), second(path);
  first.Append("fi");
  second.Append("second");
  first.Append("rst, longer");
  second.Commit();
  EXPECT_EQ(ReadFile(path), "second");
  first.Commit();
  EXPECT_EQ(ReadFile(path), "first, longer");
  { NewFile(path).Append("given up"); }
  EXPECT_EQ(ReadFile(path), "first, longer");
  EXPECT_EQ(Names(), std::set<std::string>{"a"});
}

TEST_F(FileTest, ANameMayBeAsLongAsNamesCanBe) {
  const std::string path = folder_ + "/" + std::string(255, 'x');
  WriteFile(path, "long");
  EXPECT_EQ(ReadFile(path), "long");
}

TEST_F(FileTest, HasTheModeOfAnyNewFile) {
  const mode_t old_mask = umask(027);
  WriteFile(folder_ + "/a", "");
  umask(old_mask);
  struct stat status = {};
  ASSERT_EQ(stat((folder_ + "/a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

TEST_F(FileTest, FollowsALink) {
  WriteFile(folder_ + "/a", "old");
  fs::create_symlink("a", folder_ + "/link");
  WriteFile(folder_ + "/link", "new");
  EXPECT_EQ(ReadFile(folder_ + "/a"), "new");
  EXPECT_TRUE(fs::is_symlink(folder_ + "/link"));
}

// A limit on file size stands in for a full disk: the write fails part of the way.
TEST_F(FileTest, KeepsTheOldFileWhereThereIsNoSpaceForTheNew) {
  const std::string path = folder_ + "/w.safetensors";
  WeightsFile small, large;
  small.Add({"w", {1}, {1}});
  large.Add({"w", {100000}, std::vector<float>(100000, 2.0f)});
  small.Write(path);

  rlimit old_limit;
  getrlimit(RLIMIT_FSIZE, &old_limit);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit = {65536, old_limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  const std::string error = ErrorOf([&] { large.Write(path); });
  setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);

  EXPECT_EQ(error, path + ": cannot be written: File too large");
  EXPECT_EQ(Names(), std::set<std::string>{"w.safetensors"});
  EXPECT_EQ(WeightsFile::Read(path).Find("w")->data, std::vector<float>{1});
  large.Write(path);
  EXPECT_EQ(WeightsFile::Read(path).Find("w")->data.size(), 100000u);
}

TEST(Printable, KeepsMessagesOnOneLine) {
  EXPECT_EQ(Printable("conv\n1\t\x1b[0m"), "conv?1??[0m");
  EXPECT_EQ(Printable(std::string(200, 'x')), std::string(200, 'x'));
  EXPECT_EQ(Printable(std::string(201, 'x')), std::string(200, 'x') + "...");
}

TEST_F(FileTest, ResolvesPathsBesideTheDefinitionFirst) {
  WriteFile(folder_ + "/net.prototxt", "");
  EXPECT_EQ(ResolvePath("net.prototxt", folder_ + "/solver.prototxt"), folder_ + "/net.prototxt");
  EXPECT_EQ(ResolvePath("other.prototxt", folder_ + "/solver.prototxt"), "other.prototxt");
  EXPECT_EQ(ResolvePath("/abs/net.prototxt", folder_ + "/solver.prototxt"), "/abs/net.prototxt");
  EXPECT_EQ(ResolvePath("", folder_ + "/solver.prototxt"), "");
}

}  // namespace
}  // namespace lseg
