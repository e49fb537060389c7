// lseg_prep through the real program: what it writes, says and returns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "framework/file.h"
#include "lseg/dataset.h"
#include "tests/lseg/temp_folder.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

class LsegPrep : public testing::Test {
 protected:
  ProgramResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), LSEG_PREP);
    return RunProgram(arguments, folder_.Path("program"));
  }
  // A synthetic set of 3 images, 2 of them for training, below `name`.
  void Synth(const std::string& name, const std::string& seed) {
    const ProgramResult result = Run({"synth", "--out", folder_.Path(name), "--images", "3",
                                      "--seed", seed, "--width", "96", "--height", "64"});
    ASSERT_EQ(result.code, 0) << result.err;
  }
  ProgramResult Build(const std::string& root, const std::string& out,
                      std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {
        "build",   "--from", "synth",    "--root", folder_.Path(root), "--out", folder_.Path(out),
        "--width", "48",     "--height", "32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }
  std::map<std::string, std::string> Contents(const std::string& name) {
    std::map<std::string, std::string> contents;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.Path(name))) {
      if (!entry.is_regular_file()) continue;
      contents[entry.path().lexically_relative(folder_.Path(name)).string()] =
          ReadFile(entry.path().string());
    }
    return contents;
  }
  void ExpectOneLine(const ProgramResult& result, int code, const std::string& text) {
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_THAT(result.err, testing::AllOf(StartsWith("lseg_prep: "), HasSubstr(text)));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }

  TempFolder folder_;
};

TEST_F(LsegPrep, BuildsASetOfItsOwnMaking) {
  Synth("made", "1");
  const std::string split = folder_.Write("split.txt", "IDRiD_02  # of the training part\n");
  const ProgramResult result = Build("made", "data", {"--split", split});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, HasSubstr("(3 of 3)"));
  EXPECT_THAT(result.out, HasSubstr("1 for training, 1 for validation, 1 for testing"));
  for (const char* list : {"train.txt", "val.txt", "test.txt"}) {
    const std::vector<ListEntry> entries = ReadList(folder_.Path(std::string("data/") + list));
    ASSERT_EQ(entries.size(), 1u) << list;
    EXPECT_EQ(ReadPhoto(entries[0].image).width, 48);
    const std::vector<Image> masks = ReadTruth(entries[0], {"EX", "HE", "MA", "SE"});
    EXPECT_EQ(ComposeClassMap(masks).pixels, ReadClassMap(entries[0].label).pixels) << list;
  }
  // 3 photographs, 3 class maps, 12 masks, 3 lists, the manifest; nothing else.
  EXPECT_EQ(Contents("data").size(), 3u + 3 + 12 + 3 + 1);
}

TEST_F(LsegPrep, SameSeedSameBytesFromEndToEnd) {
  Synth("made", "7");
  Synth("again", "7");
  Synth("other", "8");
  EXPECT_EQ(Contents("made"), Contents("again"));
  EXPECT_NE(Contents("made"), Contents("other"));
  ASSERT_EQ(Build("made", "data").code, 0);
  ASSERT_EQ(Build("again", "data2").code, 0);
  EXPECT_EQ(Contents("data"), Contents("data2"));
  // Over an earlier run of other data: as if that had never been.
  ASSERT_EQ(Build("other", "data2").code, 0);
  ASSERT_EQ(Build("made", "data2").code, 0);
  EXPECT_EQ(Contents("data"), Contents("data2"));
}

TEST_F(LsegPrep, ADamagedImageIsNamedAndLeftOut) {
  Synth("made", "1");
  const std::string photo =
      folder_.Path("made/A. Segmentation/1. Original Images/a. Training Set/IDRiD_02.jpg");
  WriteFile(photo, ReadFile(photo).substr(0, 500));
  ExpectOneLine(Build("made", "data"), 1, photo + ": is truncated");
  EXPECT_EQ(ReadList(folder_.Path("data/train.txt")).size(), 1u);
  EXPECT_FALSE(fs::exists(folder_.Path("data/images/IDRiD_02.png")));
}

TEST_F(LsegPrep, WhatCannotBeDoneIsOneLineAndCodeOne) {
  Synth("made", "1");
  ExpectOneLine(Build("nowhere", "data"), 1, "nowhere: no such folder");
  const std::string split = folder_.Write("split.txt", "IDRiD_77\n");
  ExpectOneLine(Build("made", "data", {"--split", split}), 1, "IDRiD_77");
  ExpectOneLine(Build("made", "data", {"--split", folder_.Path("no.txt")}), 1, "no.txt");
  EXPECT_FALSE(fs::exists(folder_.Path("data")));
  folder_.Write("file", "");
  ExpectOneLine(Build("made", "file/data"), 1, "file/data");
  // Where another set may be the real one, nothing is drawn over it.
  folder_.Write("real/A. Segmentation/CC-BY-4.0.txt", "");
  ExpectOneLine(Run({"synth", "--out", folder_.Path("real"), "--images", "1"}), 1, "real");
}

TEST_F(LsegPrep, WrongCommandLinesAreCodeTwo) {
  const std::string root = folder_.Path("r"), out = folder_.Path("o");
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "a command is missing"},
      {{"biuld"}, "unknown command 'biuld'"},
      {{"build", "--out", out}, "--root is missing"},
      {{"build", "--root", root}, "--out is missing"},
      {{"build", "--root", root, "--out", out, "--from", "drd"}, "--from 'drd'"},
      {{"build", "--root", root, "--out", out, "--width", "wide"}, "--width 'wide'"},
      {{"check"}, "a folder or list to check is missing"},
      {{"check", root, "--sheet", "sheet.jpg"}, "--sheet 'sheet.jpg'"},
      {{"build", "stray", "--root", root, "--out", out}, "stray argument 'stray'"},
      {{"synth", "--out", out, "--images", "0"}, "--images '0'"},
      {{"synth", "--out", out, "--seed", "-1"}, "--seed '-1'"},
  };
  for (const auto& [arguments, text] : cases) ExpectOneLine(Run(arguments), 2, text);
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(LsegPrep, HelpTeachesWithExamplesAndExitCodes) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--help"}, "lseg_prep synth --out made_up --images 36 --seed 1\n"},
      {{"-h"}, "lseg_prep build --from idrid --root IDRiD --out data"},
      {{"build", "--help"}, "--split FILE"},
      {{"check", "--help"}, "--sheet FILE.png"},
      {{"synth", "--help"}, "--seed S"},
  };
  for (const auto& [arguments, text] : cases) {
    const ProgramResult result = Run(arguments);
    EXPECT_EQ(result.code, 0);
    EXPECT_THAT(result.out, HasSubstr(text));
    EXPECT_THAT(result.out, HasSubstr("Example"));
    EXPECT_THAT(result.out, HasSubstr("Exit codes: 0 "));
    EXPECT_EQ(result.err, "");
  }
  EXPECT_THAT(Run({"--version"}).out, MatchesRegex("lseg_prep [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

}  // namespace
}  // namespace lseg
