// The file of measured choices: what it keeps, and files that are none.
#include "framework/engine_cache.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "framework/file.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

class EngineCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    // Tests run at the same time, each in a process of its own.
    folder_ =
        std::filesystem::path(testing::TempDir()) /
        (std::string("lseg_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Path() const { return (folder_ / "below" / "engines.json").string(); }

  std::filesystem::path folder_;
};

TEST_F(EngineCacheTest, KeepsChoicesOfEachDevice) {
  EngineCache cache(Path());
  EXPECT_EQ(cache.Find("one", "case"), "");
  cache.Add("one", "case", "a");
  cache.Add("two", "case", "b");
  cache.Add("two", "case", "c");  // measured anew
  EXPECT_EQ(cache.Write(), "");
  const EngineCache again(Path());
  EXPECT_EQ(again.Find("one", "case"), "a");
  EXPECT_EQ(again.Find("two", "case"), "c");
  EXPECT_EQ(again.Find("one", "other"), "");
}

TEST_F(EngineCacheTest, WritesNothingWhereNothingWasMeasured) {
  EngineCache cache(Path());
  EXPECT_EQ(cache.Write(), "");
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(EngineCacheTest, ADamagedFileIsNamed) {
  std::filesystem::create_directories(folder_ / "below");
  for (const char* text : {"", "{", "[1]", "{\"one\": 1}"}) {
    WriteFile(Path(), text);
    EXPECT_NE(ErrorOf([&] { EngineCache cache(Path()); }).find(Path()), std::string::npos) << text;
  }
}

// The user's own stops no run: it is read where engines are measured, and done without where it is
// damaged, or in a folder that may not be seen.
TEST_F(EngineCacheTest, TheUsersIsDoneWithoutUnlessItWasNamed) {
  std::filesystem::create_directories(folder_ / "lseg");
  WriteFile((folder_ / "lseg/engines.json").string(), "{");
  unsetenv("LSEG_ENGINE_CACHE");
  setenv("XDG_CACHE_HOME", folder_.c_str(), 1);
  std::string problem;
  EngineCache::OfUser(/*measured=*/false, &problem);
  EXPECT_EQ(problem, "");
  EngineCache without = EngineCache::OfUser(/*measured=*/true, &problem);
  EXPECT_NE(problem.find("lseg/engines.json: is no cache of engines"), std::string::npos);
  without.Add("one", "case", "a");
  EXPECT_EQ(without.Write(), "");
  EXPECT_EQ(ReadFile((folder_ / "lseg/engines.json").string()), "{");
  // A link to itself: what stat() says of it is no "not there", as with a folder without
  // permission.
  std::filesystem::create_symlink("loop", folder_ / "loop");
  setenv("XDG_CACHE_HOME", (folder_ / "loop").c_str(), 1);
  EngineCache::OfUser(/*measured=*/true, &problem);
  EXPECT_NE(problem.find("loop/lseg/engines.json: cannot be read"), std::string::npos);
  setenv("LSEG_ENGINE_CACHE", (folder_ / "lseg/engines.json").c_str(), 1);
  EXPECT_THROW(EngineCache::OfUser(/*measured=*/true, &problem), Error);
  unsetenv("LSEG_ENGINE_CACHE");
  unsetenv("XDG_CACHE_HOME");
}

TEST_F(EngineCacheTest, SaysWhyItCannotWrite) {
  std::filesystem::create_directories(folder_);
  WriteFile((folder_ / "below").string(), "a file where the folder should be");
  EngineCache cache(Path());
  cache.Add("one", "case", "a");
  EXPECT_NE(cache.Write().find("not kept"), std::string::npos);
}

}  // namespace
}  // namespace lseg
