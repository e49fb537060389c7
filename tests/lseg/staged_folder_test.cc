// A folder that is replaced as one: nothing shows before Commit, all of it after, and what others
// put there stays.
#include "lseg/staged_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "framework/file.h"
#include "kernels/runtime/check.h"
#include "tests/lseg/temp_folder.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(StagedFolder, ShowsNothingBeforeCommitAndEverythingAfter) {
  const TempFolder temp;
  const std::string folder = temp.Path("a/b");
  temp.Write("a/b/list.txt", "old");
  temp.Write("a/b/images/gone.png", "old");
  temp.Write("a/b/images/foreign.png", "mine");
  {
    StagedFolder staged(folder);
    WriteFile(staged.Path("images/new.png"), "new");
    WriteFile(staged.Path("list.txt"), "new");
    EXPECT_EQ(ReadFile(folder + "/list.txt"), "old");
    EXPECT_FALSE(fs::exists(folder + "/images/new.png"));
    staged.Commit({"list.txt"}, {"images/gone.png", "images/never_there.png"});
  }
  EXPECT_EQ(ReadFile(folder + "/list.txt"), "new");
  EXPECT_EQ(ReadFile(folder + "/images/new.png"), "new");
  EXPECT_EQ(ReadFile(folder + "/images/foreign.png"), "mine");
  EXPECT_FALSE(fs::exists(folder + "/images/gone.png"));
  EXPECT_FALSE(fs::exists(folder + "/.partial"));
}

TEST(StagedFolder, WithoutCommitTheFolderStaysAsItWas) {
  const TempFolder temp;
  temp.Write("list.txt", "old");
  {
    StagedFolder staged(temp.Path(""));
    WriteFile(staged.Path("list.txt"), "new");
  }
  EXPECT_EQ(ReadFile(temp.Path("list.txt")), "old");
  EXPECT_FALSE(fs::exists(temp.Path(".partial")));
}

TEST(StagedFolder, WhatAKilledRunLeftIsNotCommitted) {
  const TempFolder temp;
  temp.Write(".partial/images/half.png", "half");
  StagedFolder staged(temp.Path(""));
  WriteFile(staged.Path("images/whole.png"), "whole");
  staged.Commit({}, {});
  EXPECT_TRUE(fs::exists(temp.Path("images/whole.png")));
  EXPECT_FALSE(fs::exists(temp.Path("images/half.png")));
}

TEST(StagedFolder, OneRunAtATime) {
  const TempFolder temp;
  auto first = std::make_unique<StagedFolder>(temp.Path("out"));
  WriteFile(first->Path("a.txt"), "first");
  EXPECT_THAT([&] { StagedFolder second(temp.Path("out")); },
              ThrowsMessage<Error>(HasSubstr("another process")));
  first->Commit({"a.txt"}, {});  // the second did not touch what the first had staged
  EXPECT_EQ(ReadFile(temp.Path("out/a.txt")), "first");
  first.reset();
  EXPECT_NO_THROW(StagedFolder(temp.Path("out")));
}

TEST(StagedFolder, SaysWhyAFolderCannotBeMade) {
  const TempFolder temp;
  temp.Write("file", "");
  EXPECT_THAT([&] { StagedFolder staged(temp.Path("file/out")); },
              ThrowsMessage<Error>(
                  testing::AllOf(HasSubstr(temp.Path("file/out")), HasSubstr("Not a directory"))));
}

}  // namespace
}  // namespace lseg
