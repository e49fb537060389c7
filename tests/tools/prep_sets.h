// Datasets of a few small images in published layouts, made by the tests of lseg_prep, and what
// becomes of them through the real program.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "framework/file.h"
#include "lseg/dataset.h"
#include "tests/lseg/image_files.h"
#include "tests/lseg/temp_folder.h"
#include "tests/tools/run_program.h"

namespace lseg {

class LsegPrepSets : public testing::Test {
 protected:
  std::string Place(const std::string& name) {
    const std::string path = folder_.Path(name);
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    return path;
  }
  // A photograph of one colour.
  void Photo(const std::string& name, uint8_t value, int width = 48, int height = 32) {
    const std::string path = Place(name);
    const Image photo(width, height, 3, value);
    name.ends_with(".png") ? WritePng(path, photo) : WriteJpeg(path, photo, 95);
  }
  // A mask with an 8x8 square at (x, 8), 0 and 255; x < 0: without one.
  void Mask(const std::string& name, int x, int width = 48, int height = 32) {
    const std::string path = Place(name);
    Image mask(width, height, 1);
    for (int y = 8; y < 16 && x >= 0; ++y) std::fill_n(mask.Row(y) + x, 8, uint8_t{255});
    name.ends_with(".tif") ? WriteMaskTiff(path, mask, MaskEncoding::kGray255)
                           : WritePng(path, mask);
  }
  ProgramResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), LSEG_PREP);
    return RunProgram(arguments, folder_.Path("program"));
  }
  ProgramResult Build(const std::string& from, std::vector<std::string> more = {}) {
    std::vector<std::string> all = {"build",   "--from", from,       "--out", folder_.Path("out"),
                                    "--width", "24",     "--height", "16"};
    if (from != "folders") all.insert(all.end(), {"--root", folder_.Path("set")});
    all.insert(all.end(), more.begin(), more.end());
    return Run(all);
  }
  void ExpectBuilt(const ProgramResult& result) {
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
  }
  // One line that holds the texts, and no folder --out.
  void ExpectRefused(const ProgramResult& result, const std::string& text, int code = 1) {
    EXPECT_EQ(result.code, code) << text;
    EXPECT_THAT(result.err,
                testing::AllOf(testing::StartsWith("lseg_prep: "), testing::HasSubstr(text)));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_FALSE(std::filesystem::exists(folder_.Path("out"))) << text;
  }
  std::string Out(const std::string& name) { return folder_.Path("out/" + name); }
  int Pixels(const std::string& mask) {
    const Image image = ReadMask(Out("masks/" + mask));
    return static_cast<int>(std::count(image.pixels.begin(), image.pixels.end(), 255));
  }
  void Remove(const std::string& name) { std::filesystem::remove_all(folder_.Path(name)); }

  TempFolder folder_;
};

}  // namespace lseg
