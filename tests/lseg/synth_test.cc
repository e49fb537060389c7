// The synthetic fundus generator: that a sample is a function of its arguments, that the folders
// and files are IDRiD's, and that the pictures are neither easy nor unlike the real ones in what
// counts.
#include "datasets/synth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tiffio.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "lseg/colour_baseline.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const char* const kLesions[] = {"EX", "HE", "MA", "SE"};

int64_t Count(const Image& mask) {
  return std::count_if(mask.pixels.begin(), mask.pixels.end(), [](uint8_t v) { return v != 0; });
}

bool Same(const SyntheticFundus& a, const SyntheticFundus& b) {
  for (int k = 0; k < 4; ++k) {
    if (a.lesions[k].pixels != b.lesions[k].pixels) return false;
  }
  return a.photo.pixels == b.photo.pixels && a.disc.pixels == b.disc.pixels;
}

std::string ErrorOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// A folder of the test's own, removed at its end.
struct TempFolder {
  TempFolder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path = fs::path(::testing::TempDir()) / (std::string("synth_test_") + test->name());
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~TempFolder() { fs::remove_all(path); }
  fs::path path;
};

// Every file below a folder, as relative path -> bytes.
std::map<std::string, std::string> FilesBelow(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    files[fs::relative(entry.path(), folder).generic_string()] =
        std::string(std::istreambuf_iterator<char>(in), {});
  }
  return files;
}

TEST(RenderFundus, IsAFunctionOfItsArguments) {
  const SyntheticFundus first = RenderFundus(3, 5, 240, 160);
  SyntheticFundus elsewhere;
  std::thread([&] { elsewhere = RenderFundus(3, 5, 240, 160); }).join();
  EXPECT_TRUE(Same(first, RenderFundus(3, 5, 240, 160)));
  EXPECT_TRUE(Same(first, elsewhere));
  EXPECT_NE(first.photo.pixels, RenderFundus(3, 6, 240, 160).photo.pixels);
  EXPECT_NE(first.photo.pixels, RenderFundus(4, 5, 240, 160).photo.pixels);
}

TEST(RenderFundus, GivesMasksOf0And255InThePhotosSize) {
  for (auto [width, height] : {std::pair{48, 32}, {97, 65}, {64, 64}, {200, 70}, {60, 130}}) {
    const SyntheticFundus sample = RenderFundus(1, 0, width, height);
    EXPECT_EQ(sample.photo.channels, 3);
    EXPECT_EQ(sample.photo.pixels.size(), static_cast<size_t>(width) * height * 3);
    std::vector<const Image*> masks = {&sample.disc};
    for (const Image& lesion : sample.lesions) masks.push_back(&lesion);
    for (const Image* mask : masks) {
      EXPECT_EQ(mask->width, width);
      EXPECT_EQ(mask->height, height);
      EXPECT_EQ(mask->channels, 1);
      EXPECT_TRUE(std::all_of(mask->pixels.begin(), mask->pixels.end(),
                              [](uint8_t v) { return v == 0 || v == 255; }));
    }
    EXPECT_GT(Count(sample.disc), 0) << width << "x" << height;
  }
}

// Lengths scale with the picture: the disc's centre and area and the soft exudates' area are the
// same shares of the picture at three times the size. Tolerance: the outline of the disc (180
// pixels round at the small size) is known to about a quarter of a pixel.
TEST(RenderFundus, ShowsTheSameEyeAtAnySize) {
  const auto centre_and_share = [](const Image& mask) {
    double x = 0, y = 0;
    for (int row = 0; row < mask.height; ++row) {
      for (int column = 0; column < mask.width; ++column) {
        if (mask.Row(row)[column] == 0) continue;
        x += (column + 0.5) / mask.width;
        y += (row + 0.5) / mask.height;
      }
    }
    const double n = static_cast<double>(Count(mask));
    return std::array{x / n, y / n, n / (static_cast<double>(mask.width) * mask.height)};
  };
  for (uint64_t index = 0; index < 3; ++index) {
    const auto small = centre_and_share(RenderFundus(9, index, 480, 320).disc);
    const auto large = centre_and_share(RenderFundus(9, index, 1200, 800).disc);
    EXPECT_NEAR(small[0], large[0], 0.25 / 480);
    EXPECT_NEAR(small[1], large[1], 0.25 / 320);
    EXPECT_NEAR(small[2] / large[2], 1, 180 * 0.25 / (small[2] * 480 * 320));
  }
}

TEST(RenderFundus, KeepsLesionsInsideTheFieldOfView) {
  for (uint64_t index = 0; index < 12; ++index) {
    const SyntheticFundus sample = RenderFundus(2, index, 480, 320);
    // Outside, a pixel's red is at most 3.6 plus noise of deviation 0.54; the darkest blood in the
    // darkest corner inside has about 40.
    const auto red = [&](size_t i) { return sample.photo.pixels[3 * i]; };
    EXPECT_LT(red(0), 12);
    EXPECT_LT(red(sample.disc.pixels.size() - 1), 12);
    for (int k = 0; k < 4; ++k) {
      for (size_t i = 0; i < sample.disc.pixels.size(); ++i) {
        if (sample.lesions[k].pixels[i] == 0) continue;
        ASSERT_GT(red(i), 20) << kLesions[k] << " of sample " << index << " at pixel " << i;
        ASSERT_EQ(sample.disc.pixels[i], 0) << kLesions[k] << " on the disc";
      }
    }
  }
}

// IDRiD's prevalences at 1440x960 are, per cent, EX 0.81, HE 0.99, MA 0.11, SE 0.19; SE is absent
// from 28 of 54 training images. The shares drawn have a deviation of 0.76 of their mean (SE 1.4,
// being absent from half), over 60 samples 0.10 (0.18): bounds are about four of those away.
TEST(RenderFundus, HasIdridsPrevalencesAndAbsences) {
  constexpr int kSamples = 60;
  double percent[4] = {};
  int absent[4] = {};
  for (int index = 0; index < kSamples; ++index) {
    const SyntheticFundus sample = RenderFundus(11, index, 360, 240);
    for (int k = 0; k < 4; ++k) {
      const int64_t pixels = Count(sample.lesions[k]);
      percent[k] += 100.0 * pixels / (360 * 240) / kSamples;
      absent[k] += pixels == 0;
    }
  }
  const double want[4] = {0.81, 0.99, 0.11, 0.19};
  for (int k = 0; k < 4; ++k) {
    EXPECT_NEAR(percent[k] / want[k], 1, k == 3 ? 0.7 : 0.4) << kLesions[k] << " " << percent[k];
  }
  EXPECT_EQ(absent[0], 0);
  EXPECT_EQ(absent[2], 0);
  EXPECT_THAT(absent[1], ::testing::AllOf(::testing::Ge(1), ::testing::Le(14)));   // 6 +- 2.3
  EXPECT_THAT(absent[3], ::testing::AllOf(::testing::Ge(18), ::testing::Le(42)));  // 30 +- 3.9
}

// A microaneurysm is between width/300 and width/115 across, and a haemorrhage's dot is larger.
TEST(RenderFundus, DrawsMicroaneurysmsOfTheRightSize) {
  const SyntheticFundus sample = RenderFundus(5, 1, 1440, 960);
  Image mask = sample.lesions[2];
  std::vector<double> diameters;
  for (size_t start = 0; start < mask.pixels.size(); ++start) {
    if (mask.pixels[start] == 0) continue;
    std::vector<size_t> open = {start};
    mask.pixels[start] = 0;
    int64_t area = 0;
    while (!open.empty()) {
      const size_t at = open.back();
      open.pop_back();
      ++area;
      for (size_t next : {at - 1, at + 1, at - 1440, at + 1440}) {
        if (mask.pixels[next] == 0) continue;
        mask.pixels[next] = 0;
        open.push_back(next);
      }
    }
    diameters.push_back(std::sqrt(area * 4 / 3.14159));
  }
  ASSERT_GE(diameters.size(), 5u);
  EXPECT_GT(*std::min_element(diameters.begin(), diameters.end()), 1440.0 / 300);
  EXPECT_LT(*std::max_element(diameters.begin(), diameters.end()), 1440.0 / 115);
}

// What a threshold on a colour channel reaches: 0.15, 0.012, 0.001 and 0.024 were measured over 30
// samples at 1440x960. The bounds leave room for another seed and size, and stay far below what a
// picture that colour alone can segment would give (near 1).
TEST(RenderFundus, DefeatsColourThresholds) {
  ColourBaseline baseline(4);
  for (uint64_t index = 0; index < 24; ++index) {
    const SyntheticFundus sample = RenderFundus(21, index, 480, 320);
    std::vector<uint8_t> truth;
    for (const Image& mask : sample.lesions) {
      truth.insert(truth.end(), mask.pixels.begin(), mask.pixels.end());
    }
    baseline.Add(sample.photo, truth.data(), std::vector<bool>(4, true));
  }
  const double bound[4] = {0.20, 0.03, 0.01, 0.06};
  const std::vector<ColourAreas> areas = baseline.Areas();
  for (int k = 0; k < 4; ++k) {
    ASSERT_GE(areas[k].best, 0) << kLesions[k];
    EXPECT_LT(*areas[k].aupr[areas[k].best], bound[k])
        << kLesions[k] << " by " << kColourMaps[areas[k].best];
  }
}

TEST(RenderFundus, RefusesSizesOutOfRange) {
  EXPECT_THAT(ErrorOf([] { RenderFundus(1, 0, 47, 32); }), HasSubstr("47x32"));
  EXPECT_THAT(ErrorOf([] { RenderFundus(1, 0, 48, 31); }), HasSubstr("48x31"));
  EXPECT_THAT(ErrorOf([] { RenderFundus(1, 0, 16385, 32); }), HasSubstr("16385"));
}

// --- The set on disk ---------------------------------------------------------------------------

constexpr const char* kPhotoFolder = "A. Segmentation/1. Original Images/";
constexpr const char* kMaskFolder = "A. Segmentation/2. All Segmentation Groundtruths/";

std::string MaskPath(const std::string& part, const std::string& stem, int lesion) {
  const char* folders[] = {"3. Hard Exudates/", "2. Haemorrhages/", "1. Microaneurysms/",
                           "4. Soft Exudates/", "5. Optic Disc/"};
  const char* suffixes[] = {"_EX.tif", "_HE.tif", "_MA.tif", "_SE.tif", "_OD.tif"};
  return kMaskFolder + part + folders[lesion] + stem + suffixes[lesion];
}

TEST(WriteSyntheticIdrid, LaysOutFoldersAndNamesAsIdridDoes) {
  TempFolder out;
  constexpr int kImages = 7;  // 5 for training, 2 for testing
  WriteSyntheticIdrid(out.path.string(), kImages, 8, 192, 128);
  std::set<std::string> want = {"A. Segmentation/SYNTHETIC.txt"};
  int absent = 0;
  for (int i = 0; i < kImages; ++i) {
    const std::string part = i < 5 ? "a. Training Set/" : "b. Testing Set/";
    const std::string stem = "IDRiD_0" + std::to_string(i + 1);
    const SyntheticFundus sample = RenderFundus(8, i, 192, 128);
    want.insert(kPhotoFolder + part + stem + ".jpg");
    want.insert(MaskPath(part, stem, 4));
    for (int k = 0; k < 4; ++k) {
      if (Count(sample.lesions[k]) > 0) {
        want.insert(MaskPath(part, stem, k));
      } else {
        ++absent;
      }
    }
  }
  EXPECT_GT(absent, 0) << "choose a seed with a sample that lacks a lesion";
  std::set<std::string> found;
  for (const auto& [path, bytes] : FilesBelow(out.path)) found.insert(path);
  EXPECT_EQ(found, want);
}

TEST(WriteSyntheticIdrid, NumbersPast99WithThreeDigits) {
  TempFolder out;
  WriteSyntheticIdrid(out.path.string(), 101, 8, 48, 32);
  const auto files = FilesBelow(out.path);
  EXPECT_EQ(files.count(std::string(kPhotoFolder) + "b. Testing Set/IDRiD_99.jpg"), 1u);
  EXPECT_EQ(files.count(std::string(kPhotoFolder) + "b. Testing Set/IDRiD_101.jpg"), 1u);
  EXPECT_EQ(files.count(std::string(kPhotoFolder) + "a. Training Set/IDRiD_68.jpg"), 1u);
}

// Tags as tiffinfo shows them for a mask of the published set.
TEST(WriteSyntheticIdrid, WritesMasksAsOneBitPaletteTiffs) {
  TempFolder out;
  constexpr int kWidth = 195, kHeight = 130;  // a row ends inside a byte
  WriteSyntheticIdrid(out.path.string(), 1, 8, kWidth, kHeight);
  const SyntheticFundus sample = RenderFundus(8, 0, kWidth, kHeight);
  for (int k = 0; k < 5; ++k) {
    const Image& mask = k < 4 ? sample.lesions[k] : sample.disc;
    if (Count(mask) == 0) continue;
    const std::string path = (out.path / MaskPath("a. Training Set/", "IDRiD_01", k)).string();
    TIFF* tiff = TIFFOpen(path.c_str(), "r");
    ASSERT_NE(tiff, nullptr) << path;
    uint32_t width = 0, height = 0;
    uint16_t bits = 0, samples = 0, photometric = 0, compression = 0, *red, *green, *blue;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetField(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    TIFFGetField(tiff, TIFFTAG_COMPRESSION, &compression);
    ASSERT_EQ(TIFFGetField(tiff, TIFFTAG_COLORMAP, &red, &green, &blue), 1);
    EXPECT_EQ(width, static_cast<uint32_t>(kWidth));
    EXPECT_EQ(height, static_cast<uint32_t>(kHeight));
    EXPECT_EQ(bits, 1);
    EXPECT_EQ(samples, 1);
    EXPECT_EQ(photometric, PHOTOMETRIC_PALETTE);
    EXPECT_EQ(compression, COMPRESSION_NONE);
    EXPECT_EQ(std::vector<int>({red[0], green[0], blue[0]}), std::vector<int>({0, 0, 0}));
    EXPECT_EQ(std::vector<int>({red[1], green[1], blue[1]}), std::vector<int>({65535, 0, 0}));
    std::vector<uint8_t> row(TIFFScanlineSize(tiff));
    for (int y = 0; y < kHeight; ++y) {
      ASSERT_EQ(TIFFReadScanline(tiff, row.data(), y), 1);
      for (int x = 0; x < kWidth; ++x) {
        ASSERT_EQ((row[x / 8] >> (7 - x % 8)) & 1, mask.Row(y)[x] / 255) << x << "," << y;
      }
    }
    TIFFClose(tiff);
  }
}

// At quality 92 an encoder errs by about the size of the camera noise: the mean error stays below 3
// levels, while another sample's picture would differ by tens.
TEST(WriteSyntheticIdrid, WritesPhotosAsJpeg) {
  TempFolder out;
  WriteSyntheticIdrid(out.path.string(), 1, 8, 240, 160);
  const fs::path path = out.path / kPhotoFolder / "a. Training Set/IDRiD_01.jpg";
  std::ifstream in(path, std::ios::binary);
  EXPECT_EQ(in.get(), 0xFF);
  EXPECT_EQ(in.get(), 0xD8);
  const Image read = ReadPhoto(path.string());
  const SyntheticFundus sample = RenderFundus(8, 0, 240, 160);
  ASSERT_EQ(read.pixels.size(), sample.photo.pixels.size());
  double error = 0;
  for (size_t i = 0; i < read.pixels.size(); ++i) {
    error += std::abs(int{read.pixels[i]} - int{sample.photo.pixels[i]});
  }
  EXPECT_LT(error / read.pixels.size(), 3);
  EXPECT_GT(error, 0);
}

TEST(WriteSyntheticIdrid, RepeatsByteForByteAndReplacesItsOwnSet) {
  TempFolder a, b;
  b.path += "_again";
  WriteSyntheticIdrid(a.path.string(), 3, 8, 96, 64);
  WriteSyntheticIdrid(b.path.string(), 9, 5, 120, 80);
  WriteSyntheticIdrid(b.path.string(), 3, 8, 96, 64);
  EXPECT_TRUE(FilesBelow(a.path) == FilesBelow(b.path));
}

TEST(WriteSyntheticIdrid, NeverTouchesASetThatMayBeReal) {
  TempFolder out;
  const fs::path folder = out.path / kPhotoFolder / "a. Training Set";
  fs::create_directories(folder);
  std::ofstream(folder / "IDRiD_01.jpg") << "real";
  EXPECT_THAT(ErrorOf([&] { WriteSyntheticIdrid(out.path.string(), 3, 8, 96, 64); }),
              HasSubstr("it may hold real pictures"));
  const auto files = FilesBelow(out.path);
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files.begin()->second, "real");
}

TEST(WriteSyntheticIdrid, SaysWhatIsWrong) {
  TempFolder out;
  EXPECT_THAT(ErrorOf([&] { WriteSyntheticIdrid(out.path.string(), 0, 8, 96, 64); }),
              HasSubstr("0 images"));
  EXPECT_THAT(ErrorOf([&] { WriteSyntheticIdrid(out.path.string(), 3, 8, 9, 64); }),
              HasSubstr("9x64"));
  std::ofstream(out.path / "file") << "in the way";
  EXPECT_THAT(ErrorOf([&] { WriteSyntheticIdrid((out.path / "file").string(), 3, 8, 96, 64); }),
              HasSubstr("cannot make the folder"));
}

}  // namespace
}  // namespace lseg
