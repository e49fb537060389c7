// lseg_prep check through the real program: every kind of error and of note planted once in a clean
// set, so that each is found, named by its file, and nothing else is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "framework/file.h"
#include "lseg/dataset.h"
#include "tests/lseg/image_files.h"
#include "tests/lseg/temp_folder.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr int kWidth = 96, kHeight = 64;

// 8-bit gray with an alpha channel, which no writer of the project makes.
void WriteGrayAlphaTiff(const std::string& path, const Image& mask) {
  TIFF* tiff = TIFFOpen(path.c_str(), "w");
  ASSERT_NE(tiff, nullptr);
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, mask.width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, mask.height);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 2);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
  uint16_t kind = EXTRASAMPLE_UNASSALPHA;
  TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &kind);
  for (int y = 0; y < mask.height; ++y) {
    std::vector<uint8_t> row;
    for (int x = 0; x < mask.width; ++x) row.insert(row.end(), {mask.Row(y)[x], 255});
    ASSERT_EQ(TIFFWriteScanline(tiff, row.data(), y, 0), 1);
  }
  TIFFClose(tiff);
}

void Fill(Image& image, int left, int top, int width, int height, uint8_t value) {
  for (int y = top; y < top + height; ++y) {
    std::fill_n(image.Row(y) + image.channels * left, image.channels * width, value);
  }
}

Image ToRgb(const Image& gray) {
  Image rgb(gray.width, gray.height, 3);
  for (size_t i = 0; i < rgb.pixels.size(); ++i) rgb.pixels[i] = gray.pixels[i / 3];
  return rgb;
}

class LsegPrepCheck : public testing::Test {
 protected:
  // data/train.txt with a and b, data/test.txt with c. EX 12x8 pixels, HE 10x6, MA 2x2, and SE 6x6
  // in a and c only.
  void SetUp() override {
    for (const char* folder : {"data/images", "data/labels", "data/masks"}) {
      fs::create_directories(folder_.Path(folder));
    }
    AddImage("a", 40, Lesions());
    std::vector<Image> without_se = Lesions();
    without_se[3] = Image(kWidth, kHeight, 1);
    AddImage("b", 50, without_se);
    AddImage("c", 60, Lesions());
    folder_.Write("data/train.txt", Line("a") + Line("b"));
    folder_.Write("data/test.txt", Line("c"));
  }
  static std::vector<Image> Lesions() {
    std::vector<Image> masks(4, Image(kWidth, kHeight, 1));
    Fill(masks[0], 10, 10, 12, 8, 255);
    Fill(masks[1], 40, 10, 10, 6, 255);
    Fill(masks[2], 70, 10, 2, 2, 255);
    Fill(masks[3], 10, 40, 6, 6, 255);
    return masks;
  }
  static std::string Line(const std::string& stem) {
    return "images/" + stem + ".png labels/" + stem + ".png\n";
  }
  std::string Photo(const std::string& stem) {
    return folder_.Path("data/images/" + stem + ".png");
  }
  std::string Label(const std::string& stem) {
    return folder_.Path("data/labels/" + stem + ".png");
  }
  std::string Mask(const std::string& stem, const std::string& lesion) {
    return folder_.Path("data/masks/" + stem + "_" + lesion + ".png");
  }
  void AddImage(const std::string& stem, uint8_t gray, const std::vector<Image>& masks) {
    WritePng(Photo(stem), Image(kWidth, kHeight, 3, gray));
    WriteIndexedPng(Label(stem), ComposeClassMap(masks));
    for (size_t c = 0; c < masks.size(); ++c) WritePng(Mask(stem, kLesionNames[c]), masks[c]);
  }
  ProgramResult Check(std::vector<std::string> arguments = {}) {
    if (arguments.empty()) arguments = {folder_.Path("data")};
    arguments.insert(arguments.begin(), {LSEG_PREP, "check"});
    return RunProgram(arguments, folder_.Path("program"));
  }
  void ExpectOneError(const std::string& file, const std::string& text) {
    const ProgramResult result = Check();
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, AllOf(StartsWith("lseg_prep: " + file + ":"), HasSubstr(text)));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.out, HasSubstr("\n1 error, 0 notes\n"));
  }
  void ExpectOneNote(const std::string& text) {
    const ProgramResult result = Check();
    EXPECT_EQ(result.code, 0);
    EXPECT_EQ(result.err, "");
    EXPECT_THAT(result.out, AllOf(StartsWith("note: "), HasSubstr(text)));
    EXPECT_THAT(result.out, HasSubstr("\n0 errors, 1 note\n"));
  }

  TempFolder folder_;
};

TEST_F(LsegPrepCheck, ACleanSetPassesWithItsPrevalence) {
  const ProgramResult result = Check();
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "");
  // Of 96x64 pixels: 96, 60 and 4 in each image; 36 in one of two, and in the one of the other
  // list.
  EXPECT_EQ(result.out,
            folder_.Path("data/train.txt") +
                ": 2 of 2 images without errors; % of pixels (images): EX 1.562 (2), HE 0.977 (2), "
                "MA 0.065 (2), SE 0.293 (1)\n" +
                folder_.Path("data/test.txt") +
                ": 1 of 1 images without errors; % of pixels (images): EX 1.562 (1), HE 0.977 (1), "
                "MA 0.065 (1), SE 0.586 (1)\n0 errors, 0 notes\n");
  EXPECT_EQ(Check({folder_.Path("data/train.txt"), folder_.Path("data/test.txt")}).out, result.out);
}

TEST_F(LsegPrepCheck, ALineMayNameMasks) {
  const std::string rest = "\t" + Mask("a", "MA") + "\t-\n";
  folder_.Write("data/train.txt", "images/a.png\tmasks/a_EX.png\t-" + rest);
  const ProgramResult result = Check({folder_.Path("data/train.txt")});
  EXPECT_EQ(result.code, 0) << result.err;
  // 96 and 4 of 96x64 pixels.
  EXPECT_THAT(result.out,
              HasSubstr("EX 1.562 (1), HE not annotated, MA 0.065 (1), SE not annotated"));
  EXPECT_THAT(result.out, HasSubstr("1 of 1 images not annotated for HE: a"));
  const auto error = [&](const std::string& line, const std::string& text) {
    folder_.Write("data/train.txt", line);
    const ProgramResult refused = Check({folder_.Path("data/train.txt")});
    EXPECT_EQ(refused.code, 1);
    EXPECT_THAT(refused.err, HasSubstr(text));
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  };
  error("images/a.png\tmasks/a_EX.png" + rest, "names 3 masks: give four");
  error("images/a.png\t-\t-\t-\t-\n", "give four, EX HE MA SE");
  error("images/a.png\tmasks/no.png\t-" + rest, "no.png: is listed, but there is no such file");
  WritePng(folder_.Path("data/small.png"), Image(8, 8, 1));
  error("images/a.png\tsmall.png\t-" + rest, "small.png: is 8x8, its photograph 96x64");
}

TEST_F(LsegPrepCheck, ClassMapsAloneAreASet) {
  const std::string with_masks = Check().out;
  fs::remove_all(folder_.Path("data/masks"));
  const ProgramResult result = Check();
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, with_masks);  // nothing overlaps
}

TEST_F(LsegPrepCheck, PhotographAndClassMapOfTwoSizes) {
  WriteIndexedPng(Label("b"), Image(kWidth / 2, kHeight / 2, 1));
  ExpectOneError(Label("b"), "is 48x32, its photograph 96x64");
}

TEST_F(LsegPrepCheck, PhotographAndMaskOfTwoSizes) {
  WritePng(Mask("b", "HE"), Image(kWidth, kHeight + 1, 1));
  ExpectOneError(Mask("b", "HE"), "is 96x65, its photograph 96x64");
}

TEST_F(LsegPrepCheck, AMaskOfMoreThanThirtyPerCent) {
  Image mask(kWidth, kHeight, 1);
  Fill(mask, 0, 0, kWidth, 19, 255);  // 29.7 %
  WritePng(Mask("c", "MA"), mask);
  EXPECT_EQ(Check().code, 0);
  Fill(mask, 0, 0, kWidth, 20, 255);  // 31.25 %
  WritePng(Mask("c", "MA"), mask);
  ExpectOneError(Mask("c", "MA"), "MA covers 31.2 % of the image, more than 30 %");
}

TEST_F(LsegPrepCheck, AClassOfAMapOfMoreThanThirtyPerCent) {
  fs::remove_all(folder_.Path("data/masks"));
  WriteIndexedPng(Label("c"), Image(kWidth, kHeight, 1, 2));
  ExpectOneError(Label("c"), "HE covers 100.0 % of the image");
}

TEST_F(LsegPrepCheck, ValuesThatAreNoClasses) {
  Image map(kWidth, kHeight, 1);
  map.Row(3)[5] = 4;
  map.Row(3)[6] = 7;
  map.Row(4)[0] = 5;
  WritePng(Label("a"), map);
  ExpectOneError(Label("a"), "no classes: 5, 7 (2 pixels, the first at (6, 3))");
}

TEST_F(LsegPrepCheck, AMaskInAClassMapsPlace) {
  WritePng(Label("a"), Lesions()[0]);
  ExpectOneError(Label("a"), "no classes: 255 (96 pixels, the first at (10, 10))");
}

TEST_F(LsegPrepCheck, AClassMapInColour) {
  WritePng(Label("a"), Image(kWidth, kHeight, 3));
  ExpectOneError(Label("a"), "colours or alpha");
}

TEST_F(LsegPrepCheck, MasksInColourOrWithAlpha) {
  WritePng(Mask("a", "EX"), ToRgb(Lesions()[0]));
  ExpectOneError(Mask("a", "EX"), "has colours or alpha");
  WriteMaskTiff(Mask("a", "EX"), Lesions()[0], MaskEncoding::kRgbaLzw);
  ExpectOneError(Mask("a", "EX"), "has colours or alpha");
  WriteGrayAlphaTiff(Mask("a", "EX"), Lesions()[0]);
  ExpectOneError(Mask("a", "EX"), "has colours or alpha");
}

TEST_F(LsegPrepCheck, MasksOfWrongGrays) {
  Image smooth = Lesions()[0];
  smooth.Row(10)[10] = 128;
  smooth.Row(10)[11] = 64;
  WritePng(Mask("a", "EX"), smooth);
  ExpectOneError(Mask("a", "EX"), "64, 128, 255; its edges look smoothed");
  Image red_to_gray(kWidth, kHeight, 1);
  Fill(red_to_gray, 10, 10, 12, 8, 76);
  WritePng(Mask("a", "EX"), red_to_gray);
  ExpectOneError(Mask("a", "EX"), "its other values are 76; it looks like a coloured mask");
  WriteIndexedPng(Mask("a", "EX"), ComposeClassMap(Lesions()));
  ExpectOneError(Mask("a", "EX"), "1, 2, 3, 4; it looks like a class map");
}

TEST_F(LsegPrepCheck, MasksOfZeroAndOneAndOfPalettesAreMasks) {
  WriteMaskTiff(Mask("a", "EX"), Lesions()[0], MaskEncoding::kGray01);
  WriteMaskTiff(Mask("a", "HE"), Lesions()[1], MaskEncoding::kPalette1);
  const ProgramResult result = Check();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("EX 1.562 (2), HE 0.977 (2), MA"));
}

TEST_F(LsegPrepCheck, TruncatedAndUnreadableFiles) {
  for (const std::string& path : {Photo("b"), Label("b"), Mask("b", "SE")}) {
    const std::string whole = ReadFile(path);
    WriteFile(path, whole.substr(0, whole.size() - 20));
    ExpectOneError(path, "is truncated or damaged");
    WriteFile(path, "");
    ExpectOneError(path, "is empty");
    WriteFile(path, "text");
    ExpectOneError(path, "is not an image");
    WriteFile(path, whole);
  }
  EXPECT_EQ(Check().code, 0);
}

TEST_F(LsegPrepCheck, ListedFilesThatAreNotThere) {
  fs::rename(Photo("b"), folder_.Path("away"));
  ExpectOneError(Photo("b"), "is listed, but there is no such file");
  fs::rename(folder_.Path("away"), Photo("b"));
  fs::remove(Label("b"));
  ExpectOneError(Label("b"), "take its image out of " + folder_.Path("data/train.txt"));
}

TEST_F(LsegPrepCheck, SomeMasksOfFour) {
  fs::remove(Mask("b", "SE"));
  ExpectOneError(Mask("b", "SE"), "is missing, while other masks of the image are there");
}

TEST_F(LsegPrepCheck, ALineThatIsNotTwoPaths) {
  const std::string list =
      folder_.Write("data/train.txt", "images/b.png\n" + Line("a") + Line("b"));
  ExpectOneError(list + ":1", "no way to read 'images/b.png'");
}

TEST_F(LsegPrepCheck, TheSamePixelsTwice) {
  std::vector<Image> others = Lesions();
  others[0] = Image(kWidth, kHeight, 1);
  AddImage("d", 40, others);  // as a, in the other list
  folder_.Write("data/test.txt", Line("c") + Line("d"));
  ExpectOneError(Photo("d"), "has the same pixels as " + Photo("a"));
}

TEST_F(LsegPrepCheck, AnImageInTwoSplits) {
  folder_.Write("data/test.txt", Line("c") + "images/../images/a.png labels/a.png\n");
  ExpectOneError(folder_.Path("data/images/../images/a.png"),
                 "is in two splits, " + folder_.Path("data/train.txt") + " and " +
                     folder_.Path("data/test.txt"));
}

TEST_F(LsegPrepCheck, ACopyInTwoSplitsIsComparedOnce) {
  AddImage("d", 40, Lesions());  // as a
  folder_.Write("data/train.txt", Line("a") + Line("b") + Line("d"));
  folder_.Write("data/test.txt", Line("c") + Line("d"));
  const ProgramResult result = Check();
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 2) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr(Photo("d") + ": has the same pixels as " + Photo("a")),
                                HasSubstr(Photo("d") + ": is in two splits")));
}

TEST_F(LsegPrepCheck, AnImageListedTwice) {
  folder_.Write("data/train.txt", Line("a") + Line("b") + Line("a"));
  ExpectOneError(Photo("a"), "is listed twice in " + folder_.Path("data/train.txt"));
}

TEST_F(LsegPrepCheck, InputsThatAreNoDataset) {
  const ProgramResult result =
      Check({folder_.Path("nowhere"), folder_.Path("data/images"),
             folder_.Write("empty.txt", "# nothing\n"), Photo("a"), folder_.Path("data/test.txt")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr(folder_.Path("nowhere")),
                                HasSubstr("data/images: holds neither train.txt"),
                                HasSubstr("empty.txt: lists no image"),
                                HasSubstr(Photo("a") + ": is an image by its name")));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 4) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("test.txt: 1 of 1 images"), HasSubstr("4 errors")));
}

TEST_F(LsegPrepCheck, AllProblemsAreReported) {
  WritePng(Mask("a", "HE"), Image(kWidth, kHeight, 1, 255));
  WritePng(Mask("a", "SE"), Image(kWidth, kHeight, 1, 76));
  WriteFile(Label("a"), "text");
  fs::remove(Photo("b"));
  WritePng(Mask("b", "EX"), ToRgb(Lesions()[0]));  // not looked at: the image is not there
  WritePng(Mask("c", "EX"), ToRgb(Lesions()[0]));
  const ProgramResult result = Check();
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr(Mask("a", "HE")), HasSubstr(Mask("a", "SE")),
                                HasSubstr(Label("a")), HasSubstr(Photo("b")),
                                HasSubstr(Mask("c", "EX")), Not(HasSubstr(Mask("b", "EX")))));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 5) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("train.txt: 0 of 2 images without errors\n"),
                                HasSubstr("5 errors, 0 notes\n")));
}

TEST_F(LsegPrepCheck, ImagesWithoutLesionsAreANote) {
  AddImage("b", 50, std::vector<Image>(4, Image(kWidth, kHeight, 1)));
  ExpectOneNote("train.txt: 1 of 2 images without any lesion: b\n");
}

TEST_F(LsegPrepCheck, OverlapIsANote) {
  std::vector<Image> masks = Lesions();
  Fill(masks[2], 20, 16, 4, 4, 255);  // 2x2 of it on EX
  AddImage("c", 60, masks);
  ExpectOneNote("test.txt: 1 of 1 images with lesions that overlap: c (4 px)\n");
}

TEST_F(LsegPrepCheck, AnImageWithoutMasksBesideOthersIsANote) {
  for (const char* lesion : kLesionNames) fs::remove(Mask("a", lesion));
  ExpectOneNote("train.txt: 1 of 2 images with a class map but no masks");
}

TEST_F(LsegPrepCheck, APublishedSetMayLackMasksAndHaveThemInColour) {
  const std::string photos = "set/A. Segmentation/1. Original Images/a. Training Set/";
  const std::string truth = "set/A. Segmentation/2. All Segmentation Groundtruths/a. Training Set/";
  folder_.Write(photos + "IDRiD_01.jpg", "");
  WriteJpeg(folder_.Path(photos + "IDRiD_01.jpg"), Image(kWidth, kHeight, 3, 40), 90);
  const char* const folders[4] = {"3. Hard Exudates", "2. Haemorrhages", "1. Microaneurysms",
                                  "4. Soft Exudates"};
  for (int c = 0; c < 4; ++c) fs::create_directories(folder_.Path(truth + folders[c]));
  WriteMaskTiff(folder_.Path(truth + folders[0] + "/IDRiD_01_EX.tif"), Lesions()[0],
                MaskEncoding::kRgbaLzw);
  WriteMaskTiff(folder_.Path(truth + folders[2] + "/IDRiD_01_MA.tif"), Lesions()[2],
                MaskEncoding::kPalette1);
  const ProgramResult result = Check({folder_.Path("set")});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(
      result.out,
      AllOf(HasSubstr("IDRiD_01_EX.tif: is in colour; what is not black is the lesion\n"),
            HasSubstr("training part: 1 of 1 images without a mask of HE, which stands for no such "
                      "lesion: IDRiD_01\n"),
            HasSubstr("without a mask of SE"), Not(HasSubstr("without a mask of MA")),
            HasSubstr("1 of 1 images without errors; % of pixels (images): EX 1.562 (1), HE 0.000 "
                      "(0), MA 0.065 (1), SE 0.000 (0)\n"),
            HasSubstr("0 errors, 3 notes\n")));
  // Two colours besides black: no rule says which is the lesion.
  Image colours = ToRgb(Lesions()[0]);
  colours.Row(0)[0] = 255;
  WritePng(folder_.Path(truth + folders[0] + "/IDRiD_01_EX.tif"), colours);
  EXPECT_EQ(Check({folder_.Path("set")}).code, 1);
}

TEST_F(LsegPrepCheck, TheSheetShowsOutlinesRoundTheSmallestLesion) {
  // 720x480 becomes 360x240: a single pixel of MA falls on (50, 60).
  std::vector<Image> masks(4, Image(720, 480, 1));
  masks[2].Row(121)[100] = 255;
  WritePng(Photo("a"), Image(720, 480, 3, 90));
  WriteIndexedPng(Label("a"), ComposeClassMap(masks));
  for (int c = 0; c < 4; ++c) WritePng(Mask("a", kLesionNames[c]), masks[c]);
  WriteFile(Label("b"), "text");  // shown without its truth
  const std::string path = folder_.Path("sheet.png");
  EXPECT_EQ(Check({"--sheet", path, folder_.Path("data/train.txt")}).code, 1);
  const Image sheet = ReadPhoto(path);
  ASSERT_EQ(sheet.width, 2 * 368);
  ASSERT_EQ(sheet.height, 266);
  const auto pixel = [&](int x, int y) {
    const uint8_t* at = sheet.Row(4 + y) + 3 * (4 + x);
    return std::array<uint8_t, 3>{at[0], at[1], at[2]};
  };
  const std::array<uint8_t, 3> gray = {90, 90, 90};
  EXPECT_EQ(pixel(50, 60), gray);
  for (const auto& [x, y] : {std::pair{49, 60}, {51, 60}, {50, 59}, {50, 61}}) {
    EXPECT_EQ(pixel(x, y), kClassPalette[3]) << x << " " << y;
  }
  EXPECT_EQ(pixel(45, 60), gray);
  // b stands at its own size in the middle of the second tile, without outlines.
  EXPECT_EQ(pixel(368 + 180, 120), (std::array<uint8_t, 3>{50, 50, 50}));
  EXPECT_EQ(pixel(368 + 180 - 48 + 9, 120 - 32 + 12), (std::array<uint8_t, 3>{50, 50, 50}));
}

TEST_F(LsegPrepCheck, OneImageIsInMemoryAtATime) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer holds back what is freed";
#endif
  constexpr int kImages = 10, kPhoto = 1200 * 800 * 3;  // bytes
  std::string list;
  for (int i = 0; i < kImages; ++i) {
    const std::string stem = "large" + std::to_string(i);
    WritePng(Photo(stem), Image(1200, 800, 3, static_cast<uint8_t>(i)));
    WriteIndexedPng(Label(stem), Image(1200, 800, 1));
    list += Line(stem);
  }
  const std::string one = folder_.Write("data/one.txt", Line("large0"));
  const std::string all = folder_.Write("data/all.txt", list);
  const ProgramResult of_one = Check({one}), of_all = Check({all});
  ASSERT_EQ(of_one.code, 0) << of_one.err;
  ASSERT_EQ(of_all.code, 0) << of_all.err;
  // Kept photographs would be nine more; what the allocator holds back differs by less than three.
  EXPECT_LT(of_all.peak_bytes, of_one.peak_bytes + 3 * kPhoto);
}

TEST_F(LsegPrepCheck, ASheetThatCannotBeWrittenIsAnError) {
  const ProgramResult result = Check({folder_.Path("data"), "--sheet", folder_.Path("no/s.png")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("no/s.png"));
  EXPECT_THAT(result.out, HasSubstr("0 errors, 0 notes\n"));  // what was found is said before
}

}  // namespace
}  // namespace lseg
