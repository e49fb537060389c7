// lseg_infer through the real binary, on photographs of a few pixels and the hand-worked model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "lseg/image.h"
#include "lseg/npy.h"
#include "tests/lseg/tiny_model.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class LsegInferTest : public testing::Test {
 protected:
  LsegInferTest() {
    const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::path(testing::TempDir()) / ("lseg infer " + test);  // with blanks, on purpose
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "in");
    TinyModel().Write(Path("tiny.safetensors"));
  }
  ~LsegInferTest() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  bool Exists(const std::string& name) const { return fs::exists(folder_ / name); }

  ProgramResult Infer(const std::vector<std::string>& flags, const std::string& input = "in") {
    std::vector<std::string> arguments = {LSEG_INFER, "--weights", Path("tiny.safetensors"),
                                          "--input",  Path(input), "--out",
                                          Path("out")};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return RunProgram(arguments, Path("log"));
  }

  fs::path folder_;
};

// Left half: EX (R bright), right half: nothing; the model's working size is 8 x 6.
Image HalfExudate(int width, int height) {
  Image photo(width, height, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width / 2; ++x) photo.Row(y)[3 * x] = 200;
  }
  return photo;
}

TEST_F(LsegInferTest, APhotographOfAnotherShapeIsNotDistorted) {
  Image photo(32, 12, 3);  // 8x3 in the model's 8x6, with a black row above and two below
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 32; ++x) photo.Row(y)[3 * x] = 200;
  }
  WritePng(Path("in/wide.png"), photo);
  ASSERT_EQ(Infer({"--output-size", "working"}).code, 0);
  EXPECT_EQ(ReadClassMap(Path("out/wide.label.png")).pixels,
            std::vector<uint8_t>({0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  // Brought back to its own size, the borders are gone: a third of the rows, less what the steps of
  // four rows blur.
  ASSERT_EQ(Infer({"--prob", "npy"}).code, 0);
  const Image map = ReadClassMap(Path("out/wide.label.png"));
  ASSERT_EQ(map.height, 12);
  for (int y = 0; y < 12; ++y) {
    if (y == 3 || y == 4) continue;
    for (int x = 0; x < 32; ++x) EXPECT_EQ(map.Row(y)[x], y < 3 ? 1 : 0) << x << "," << y;
  }
  EXPECT_EQ(ReadNpy(Path("out/wide.prob.npy")).shape, (std::vector<int64_t>{4, 12, 32}));
}

TEST_F(LsegInferTest, AFolderWithADamagedAndAForeignFile) {
  WritePng(Path("in/a.png"), HalfExudate(8, 6));
  WritePng(Path("in/b.png"), HalfExudate(16, 12));
  std::ofstream(Path("in/broken.jpg")) << "no picture";
  std::ofstream(Path("in/notes.md")) << "text";
  const ProgramResult result = Infer({});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("broken.jpg"));
  EXPECT_THAT(result.err, HasSubstr("skipped"));
  EXPECT_THAT(result.out, HasSubstr("notes.md"));
  EXPECT_THAT(result.out, HasSubstr("2 of 3 photographs"));
  EXPECT_EQ(ReadClassMap(Path("out/a.label.png")).pixels,
            std::vector<uint8_t>({1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0,
                                  1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0,
                                  1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0}));
  const Image big = ReadClassMap(Path("out/b.label.png"));
  EXPECT_EQ(big.width, 16);
  EXPECT_EQ(big.height, 12);
  EXPECT_EQ(big.Row(6)[2], 1);
  EXPECT_EQ(big.Row(6)[13], 0);
  const Image overlay = ReadPhoto(Path("out/b.overlay.png"));
  EXPECT_EQ(overlay.width, 16);
  EXPECT_EQ(overlay.Row(6)[3 * 2], 200);  // inside the lesion the photograph shows
  EXPECT_FALSE(Exists("out/broken.label.png"));
  EXPECT_FALSE(Exists("out/a.prob.npy"));
}

TEST_F(LsegInferTest, ProbabilitiesAtWorkingSizeAreNotResampled) {
  Image photo(8, 6, 3);
  for (size_t i = 0; i < photo.pixels.size(); ++i) photo.pixels[i] = (i * 53 + 7) % 256;
  WritePng(Path("in/a.png"), photo);
  EXPECT_EQ(Infer({"--prob", "npy,png"}).code, 0);
  const NpyArray array = ReadNpy(Path("out/a.prob.npy"));
  ASSERT_EQ(array.shape, (std::vector<int64_t>{4, 6, 8}));
  const char* names[] = {"EX", "HE", "MA", "SE"};
  const int means[] = {100, 50, 150};
  for (int c = 0; c < 4; ++c) {
    const Image gray = ReadPhoto(Path("out/a." + std::string(names[c]) + ".prob.png"));
    for (int i = 0; i < 48; ++i) {
      const double logit = c < 3 ? 0.1 * (photo.pixels[3 * i + c] - means[c]) : -1;
      const float p = array.values[c * 48 + i];
      // f32 rounding of one product and of the sigmoid.
      ASSERT_NEAR(p, Sigmoid(logit), 1e-6) << names[c] << " pixel " << i;
      ASSERT_EQ(gray.pixels[3 * i], std::lround(255 * p)) << names[c] << " pixel " << i;
    }
  }
}

TEST_F(LsegInferTest, SizesOfNetAndOutput) {
  WritePng(Path("in/a.png"), HalfExudate(40, 24));
  const auto shape_of = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> all = {"--prob", "npy"};
    all.insert(all.end(), flags.begin(), flags.end());
    const ProgramResult result = Infer(all);
    EXPECT_EQ(result.code, 0) << result.err;
    return ReadNpy(Path("out/a.prob.npy")).shape;
  };
  EXPECT_EQ(shape_of({}), (std::vector<int64_t>{4, 24, 40}));
  EXPECT_EQ(shape_of({"--output-size", "working"}), (std::vector<int64_t>{4, 6, 8}));
  EXPECT_EQ(shape_of({"--width", "20", "--height", "10", "--output-size", "working"}),
            (std::vector<int64_t>{4, 10, 20}));
  EXPECT_EQ(shape_of({"--native", "--output-size", "working"}), (std::vector<int64_t>{4, 24, 40}));
  const Image overlay = ReadPhoto(Path("out/a.overlay.png"));
  EXPECT_EQ(overlay.width, 40);
}

TEST_F(LsegInferTest, ThresholdsAreOfTheClasses) {
  WritePng(Path("in/a.png"), Image(8, 6, 3));  // p: EX and MA about 0, HE 0.0067, SE 0.27
  EXPECT_EQ(Infer({}).code, 0);
  EXPECT_EQ(ReadClassMap(Path("out/a.label.png")).pixels, std::vector<uint8_t>(48, 0));
  EXPECT_EQ(Infer({"--threshold", "0.5,0.5,0.5,0.2"}).code, 0);
  EXPECT_EQ(ReadClassMap(Path("out/a.label.png")).pixels, std::vector<uint8_t>(48, 4));
  const ProgramResult result = Infer({"--threshold", "0.5,0.5"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("EX HE MA SE"));
  // The weights' own are of the weights' classes: it is these that are too few.
  WeightsFile model = TinyModel();
  model.metadata["lseg.thresholds"] = "0.5,0.5,0.5,0.2";
  model.Write(Path("tiny.safetensors"));
  const ProgramResult fewer = Infer({"--classes", "EX,HE"});
  EXPECT_EQ(fewer.code, 1);
  EXPECT_THAT(fewer.err, HasSubstr("its classes are EX, HE"));
}

TEST_F(LsegInferTest, OneStemTwiceIsWrittenTwice) {
  WritePng(Path("in/eye.png"), HalfExudate(8, 6));
  WriteJpeg(Path("in/eye.jpg"), Image(8, 6, 3), 95);
  EXPECT_EQ(Infer({}).code, 0);
  EXPECT_EQ(ReadClassMap(Path("out/eye.png.label.png")).pixels[0], 1);
  EXPECT_EQ(ReadClassMap(Path("out/eye.jpg.label.png")).pixels[0], 0);
}

TEST_F(LsegInferTest, AListMeansItsImages) {
  WritePng(Path("in/a.png"), HalfExudate(8, 6));
  WritePng(Path("in/b.png"), HalfExudate(8, 6));
  std::ofstream(Path("val.txt")) << "in/b.png labels/b.png\n";
  EXPECT_EQ(Infer({}, "val.txt").code, 0);
  EXPECT_TRUE(Exists("out/b.label.png"));
  EXPECT_FALSE(Exists("out/a.label.png"));
}

TEST_F(LsegInferTest, TwoRunsGiveTheSameBytes) {
  WritePng(Path("in/a.png"), HalfExudate(20, 14));
  EXPECT_EQ(Infer({"--prob", "npy"}).code, 0);
  const std::string label = ReadFile(Path("out/a.label.png"));
  const std::string npy = ReadFile(Path("out/a.prob.npy"));
  EXPECT_EQ(Infer({"--prob", "npy"}).code, 0);
  EXPECT_EQ(ReadFile(Path("out/a.label.png")), label);
  EXPECT_EQ(ReadFile(Path("out/a.prob.npy")), npy);
}

TEST_F(LsegInferTest, WrongCommandLinesDoNothing) {
  WritePng(Path("in/a.png"), HalfExudate(8, 6));
  for (const auto& flags :
       std::vector<std::vector<std::string>>{{"--native", "--width", "8", "--height", "6"},
                                             {"--width", "8"},
                                             {"--prob", "tiff"},
                                             {"--threshold", "0"},
                                             {"--threshold", "half"},
                                             {"--output-size", "big"},
                                             {"--scaled-decoding"},
                                             {"--whatever"}}) {
    const ProgramResult result = Infer(flags);
    EXPECT_EQ(result.code, 2) << flags[0];
    EXPECT_THAT(result.err, HasSubstr(flags[0].substr(2))) << flags[0];
    EXPECT_FALSE(Exists("out/a.label.png")) << flags[0];
  }
  const ProgramResult same = RunProgram({LSEG_INFER, "--weights", Path("tiny.safetensors"),
                                         "--input", Path("in"), "--out", Path("in/../in")},
                                        Path("log"));
  EXPECT_EQ(same.code, 2);
  EXPECT_THAT(same.err, HasSubstr("--out is the input folder"));
}

// OMP_DISPLAY_ENV makes libgomp say on stderr what it goes by.
TEST_F(LsegInferTest, ThreadsWaitAwakeForAShortTimeUnlessItIsSetOtherwise) {
  const auto settings = [&](const char* policy) {
    setenv("OMP_DISPLAY_ENV", "verbose", 1);
    unsetenv("GOMP_SPINCOUNT");
    policy != nullptr ? setenv("OMP_WAIT_POLICY", policy, 1) : unsetenv("OMP_WAIT_POLICY");
    const ProgramResult result = RunProgram({LSEG_INFER, "--version"}, Path("log"));
    unsetenv("OMP_DISPLAY_ENV");
    return result;
  };
  const ProgramResult result = settings(nullptr);
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, HasSubstr("lseg_infer"));
  EXPECT_THAT(result.err, HasSubstr("GOMP_SPINCOUNT = '5000'"));
  EXPECT_THAT(settings("passive").err, Not(HasSubstr("GOMP_SPINCOUNT = '5000'")));
}

TEST_F(LsegInferTest, WhatIsMissingIsNamedInOneLine) {
  WritePng(Path("in/a.png"), HalfExudate(8, 6));
  const ProgramResult no_input = Infer({}, "nowhere");
  EXPECT_EQ(no_input.code, 1);
  EXPECT_THAT(no_input.err, HasSubstr("nowhere"));
  EXPECT_EQ(std::count(no_input.err.begin(), no_input.err.end(), '\n'), 1);
  fs::remove(folder_ / "tiny.safetensors");
  const ProgramResult no_weights = Infer({});
  EXPECT_EQ(no_weights.code, 1);
  EXPECT_THAT(no_weights.err, HasSubstr("tiny.safetensors"));
  EXPECT_THAT(no_weights.err, Not(HasSubstr("skipped")));
}

}  // namespace
}  // namespace lseg
