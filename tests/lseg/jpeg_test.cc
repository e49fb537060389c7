// The two decoders of JPEGs beside one another and beside what was encoded; what they refuse; and
// decoding at a fraction of the size. The files are written by libjpeg, where the build has it, in
// forms that the project itself does not write.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <string>

#include "framework/file.h"
#include "kernels/runtime/random.h"
#include "lseg/image_decode.h"
#include "tests/lseg/image_files.h"
#if LSEG_WITH_JPEG_TURBO
#include <jpeglib.h>
#endif

namespace lseg {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

// Slopes, waves and noise in every channel.
Image Photo(int width, int height, int channels) {
  Image photo(width, height, channels);
  Random random(6, 0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        const double value = 120 + 60 * std::sin(0.11 * x * (c + 1)) * std::cos(0.07 * y) +
                             static_cast<double>(random.Below(40));
        photo.Row(y)[channels * x + c] = static_cast<uint8_t>(value);
      }
    }
  }
  return photo;
}

std::string StbJpeg(const Image& photo, int quality) {
  const std::string path = TestFolder() + "/a.jpg";
  WriteJpeg(path, photo, quality);
  return ReadFile(path);
}

Image ByStb(const std::string& bytes) {
  return DecodeJpegByStb(bytes, ReadJpegFrame(bytes, kMaxPixels));
}

TEST(ReadJpegFrame, RefusesCmykAndOtherNumbersOfComponents) {
  std::string jpeg = StbJpeg(Photo(16, 8, 3), 90);
  const size_t frame = jpeg.find("\xff\xc0");  // marker, length, bits, height, width, components
  ASSERT_NE(frame, std::string::npos);
  EXPECT_EQ(ReadJpegFrame(jpeg, kMaxPixels).width, 16);
  EXPECT_EQ(ReadJpegFrame(jpeg, kMaxPixels).height, 8);
  for (const auto& [components, reason] : {std::pair{4, "CMYK"}, {2, "2 components"}}) {
    jpeg[frame + 9] = static_cast<char>(components);
    EXPECT_THAT([&] { DecodeJpeg(jpeg, kMaxPixels); }, ThrowsMessage<Error>(HasSubstr(reason)));
  }
}

TEST(JpegReduction, IsTheLargestThatLeavesTheSizeAskedFor) {
  EXPECT_EQ(JpegReduction(4288, 2848, 1440, 960), 2);
  EXPECT_EQ(JpegReduction(4288, 2848, 1072, 712), 4);
  EXPECT_EQ(JpegReduction(4288, 2848, 1072, 713), 2);
  EXPECT_EQ(JpegReduction(4288, 2848, 536, 356), 8);
  EXPECT_EQ(JpegReduction(1441, 961, 721, 481), 2);  // sides are rounded up
  EXPECT_EQ(JpegReduction(1441, 961, 722, 481), 1);
  EXPECT_EQ(JpegReduction(100, 100, 1, 1), 8);
  EXPECT_EQ(JpegReduction(100, 100, kWhole, kWhole), 1);
}

#if LSEG_WITH_JPEG_TURBO

struct Encoding {
  const char* name;
  int channels = 3, quality = 90;
  int across = 1, down = 1;  // pixels a sample of colour stands for
  bool progressive = false, separate_scans = false;
  int restart = 0;  // blocks between restart marks
};

std::string TurboJpeg(const Image& photo, const Encoding& encoding) {
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &data, &size);
  info.image_width = photo.width;
  info.image_height = photo.height;
  info.input_components = photo.channels;
  info.in_color_space = photo.channels == 4   ? JCS_CMYK
                        : photo.channels == 3 ? JCS_RGB
                                              : JCS_GRAYSCALE;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, encoding.quality, TRUE);
  info.comp_info[0].h_samp_factor = encoding.across;
  info.comp_info[0].v_samp_factor = encoding.down;
  info.restart_interval = encoding.restart;
  if (encoding.progressive) jpeg_simple_progression(&info);
  jpeg_scan_info scans[3] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
  if (encoding.separate_scans) info.scan_info = scans, info.num_scans = 3;
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < photo.height; ++y) {
    JSAMPROW row = const_cast<JSAMPROW>(photo.Row(y));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string bytes(reinterpret_cast<char*>(data), size);
  jpeg_destroy_compress(&info);
  std::free(data);
  return bytes;
}

Image ByTurbo(const std::string& bytes, int reduction = 1) {
  return DecodeJpegByTurbo(bytes, ReadJpegFrame(bytes, kMaxPixels), reduction);
}

const Encoding kEncodings[] = {
    {.name = "gray", .channels = 1},
    {.name = "4:4:4"},
    {.name = "4:2:2", .across = 2},
    {.name = "4:2:0", .across = 2, .down = 2},
    {.name = "4:2:0 progressive", .across = 2, .down = 2, .progressive = true},
    {.name = "4:4:4 with restart marks", .restart = 3},
    {.name = "4:2:0 in separate scans", .across = 2, .down = 2, .separate_scans = true},
};

// Both invert the transform in whole numbers, each within 1 of the exact sample, so that samples
// differ by 2 at most. Enlarging colours averages them and rounds by other rules: 3. Y, Cb, Cr
// become colours with weights of at most 1 and 1.772 (blue's), and each decoder rounds by a half.
// Of 4:2:2 the last column is left out: there stb weighs the last two samples of colour the wrong
// way round (stbi__resample_row_h_2).
TEST(JpegDecoders, DifferByRoundingOnly) {
  for (const Encoding& encoding : kEncodings) {
    const std::string jpeg = TurboJpeg(Photo(61, 47, encoding.channels), encoding);
    const Image turbo = ByTurbo(jpeg), stb = ByStb(jpeg);
    ASSERT_EQ(turbo.width, 61) << encoding.name;
    ASSERT_EQ(turbo.height, 47) << encoding.name;
    ASSERT_EQ(turbo.channels, encoding.channels) << encoding.name;
    ASSERT_EQ(stb.pixels.size(), turbo.pixels.size()) << encoding.name;
    const double colour = encoding.across > 1 ? 3 : 2;
    const double bound = encoding.channels == 1 ? 2 : 2 + 1.772 * colour + 1;
    const int pixel_size = encoding.channels,
              stb_errs_from = encoding.down < encoding.across ? 60 : 61;
    double largest = 0, sum = 0;
    for (size_t i = 0; i < turbo.pixels.size(); ++i) {
      if (static_cast<int>(i / pixel_size % 61) >= stb_errs_from) continue;
      const double difference = std::abs(int{turbo.pixels[i]} - int{stb.pixels[i]});
      largest = std::max(largest, difference);
      sum += difference;
    }
    EXPECT_LE(largest, bound) << encoding.name;
    // Rounding that is right more often than not is wrong by less than half a level on average.
    EXPECT_LT(sum / turbo.pixels.size(), 0.5) << encoding.name;
  }
}

// At quality 100 coefficients are rounded to whole numbers, an error of 1/sqrt(12) in the mean of
// squares, which the transform keeps; the samples' rounding adds as much, integer arithmetic less:
// together below 1/sqrt(12) * sqrt(3) = 0.5.
TEST(JpegDecoders, GiveWhatWasEncoded) {
  const Image photo = Photo(64, 48, 1);
  const std::string jpeg = TurboJpeg(photo, {.name = "gray", .channels = 1, .quality = 100});
  for (const Image& decoded : {ByTurbo(jpeg), ByStb(jpeg)}) {
    double squares = 0;
    for (size_t i = 0; i < photo.pixels.size(); ++i) {
      const double error = int{decoded.pixels[i]} - int{photo.pixels[i]};
      squares += error * error;
    }
    EXPECT_LT(std::sqrt(squares / photo.pixels.size()), 0.5);
  }
}

// A segment with its marker and length.
std::string Segment(char marker, const std::string& content) {
  const size_t length = content.size() + 2;
  return std::string{'\xff', marker, static_cast<char>(length >> 8), static_cast<char>(length)} +
         content;
}

// stb of 2022 would write behind the table: seen by AddressSanitizer only.
TEST(JpegByStb, HuffmanTablesOfTooManyCodesAreRefused) {
  const std::string jpeg = StbJpeg(Photo(40, 24, 3), 90);
  const std::vector<uint8_t> pixels = ByStb(jpeg).pixels;
  const auto table = [](int codes) {  // the last of the tables for AC, which no scan uses
    std::string counts(16, '\0');
    for (int i = 0; i < codes; ++i) ++counts[15 - i % 8];
    return Segment('\xc4', '\x13' + counts + std::string(codes, '\x01'));
  };
  for (const size_t at : {size_t{2}, jpeg.size() - 2}) {  // before the frame, behind the scan
    const std::string start = jpeg.substr(0, at), rest = jpeg.substr(at);
    EXPECT_EQ(ByStb(start + table(256) + rest).pixels, pixels) << at;
    EXPECT_THAT([&] { ByStb(start + table(257) + rest); },
                ThrowsMessage<Error>(HasSubstr("a Huffman table of 257 codes")))
        << at;
    // What a camera has put into its own segment is no table.
    EXPECT_EQ(ByStb(start + Segment('\xe5', table(257)) + rest).pixels, pixels) << at;
  }
}

TEST(JpegByTurbo, AFileCutAnywhereIsRefused) {
  for (const Encoding& encoding : kEncodings) {
    const std::string jpeg = TurboJpeg(Photo(61, 47, encoding.channels), encoding);
    for (size_t size = 1; size < jpeg.size(); size += 1 + jpeg.size() / 60) {
      EXPECT_THROW(ByTurbo(jpeg.substr(0, size)), Error) << encoding.name << " " << size;
    }
    for (size_t lost = 1; lost <= 3; ++lost) {
      EXPECT_THAT([&] { ByTurbo(jpeg.substr(0, jpeg.size() - lost)); },
                  ThrowsMessage<Error>(HasSubstr("is truncated")));
    }
  }
}

// Some cameras fill up with zeros before the end mark; other bytes are left over by a broken code.
TEST(JpegByTurbo, ZerosBehindThePictureAreNoDamageAndOtherBytesAre) {
  const std::string jpeg = TurboJpeg(Photo(61, 47, 3), {.name = "4:4:4"});
  const auto with = [&](const std::string& filler) {
    return jpeg.substr(0, jpeg.size() - 2) + filler + jpeg.substr(jpeg.size() - 2);
  };
  EXPECT_EQ(ByTurbo(with(std::string(100, '\0'))).pixels, ByTurbo(jpeg).pixels);
  EXPECT_THAT([&] { ByTurbo(with(std::string(100, '\x5a'))); },
              ThrowsMessage<Error>(HasSubstr("damaged")));
}

// Whatever is in a file: an Error or a picture of the size that the header says.
TEST(JpegByTurbo, DamagedFilesAreRefusedOrReadButNeverCrash) {
  Random random(5, 0);
  int refused = 0;
  for (const Encoding& encoding : kEncodings) {
    const std::string jpeg = TurboJpeg(Photo(61, 47, encoding.channels), encoding);
    for (int i = 0; i < 150; ++i) {
      std::string damaged = jpeg;
      for (int k = 0; k < 3; ++k) {
        damaged[2 + random.Below(jpeg.size() - 2)] = static_cast<char>(random.Below(256));
      }
      try {
        const JpegFrame frame = ReadJpegFrame(damaged, 1'000'000);
        const Image image = DecodeJpegByTurbo(damaged, frame, 1);
        EXPECT_EQ(image.width, frame.width);
        EXPECT_EQ(image.height, frame.height);
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 300);  // of 1050: most changes break a header or leave the code out of step
}

// Each scan costs a pass over the picture: a small file must not ask for thousands.
TEST(JpegByTurbo, ScansWithoutEndAreRefused) {
  const std::string jpeg =
      TurboJpeg(Photo(16, 16, 3), {.name = "separate scans", .separate_scans = true});
  const size_t last = jpeg.rfind("\xff\xda"), end = jpeg.size() - 2;
  std::string many = jpeg.substr(0, end);
  for (int i = 0; i < 600; ++i) many += jpeg.substr(last, end - last);
  many += jpeg.substr(end);
  EXPECT_THAT([&] { ByTurbo(many); }, ThrowsMessage<Error>(HasSubstr("scans")));
}

TEST(JpegByTurbo, CmykIsRefused) {
  const std::string jpeg = TurboJpeg(Photo(16, 16, 4), {.name = "CMYK"});
  EXPECT_THAT([&] { DecodeJpeg(jpeg, kMaxPixels); }, ThrowsMessage<Error>(HasSubstr("CMYK")));
}

// The mean over 2x2, 4x4, 8x8 pixels is what a scaled transform gives of a slope; the slope is
// gentle enough that the quantisation of quality 100 and rounding are all that is left: each within
// half a level at the transform and at the sample, one more for the decoder's integers.
TEST(JpegByTurbo, DecodesAtAFraction) {
  Image slope(83, 61, 1);
  for (int y = 0; y < slope.height; ++y) {
    for (int x = 0; x < slope.width; ++x) slope.Row(y)[x] = static_cast<uint8_t>(20 + 2 * x + y);
  }
  const std::string jpeg = TurboJpeg(slope, {.name = "gray", .channels = 1, .quality = 100});
  for (const int reduction : {2, 4, 8}) {
    const Image small = ByTurbo(jpeg, reduction);
    ASSERT_EQ(small.width, (83 + reduction - 1) / reduction);
    ASSERT_EQ(small.height, (61 + reduction - 1) / reduction);
    for (int y = 0; y < 61 / reduction; ++y) {
      for (int x = 0; x < 83 / reduction; ++x) {
        const double mean = 20 + 2 * (reduction * (x + 0.5) - 0.5) + reduction * (y + 0.5) - 0.5;
        ASSERT_NEAR(small.Row(y)[x], mean, 2) << x << "," << y << " at 1/" << reduction;
      }
    }
  }
}

TEST(ReadPhotoReduced, IsNoSmallerThanAskedForAndTurned) {
  const std::string path = TestFolder() + "/a.jpg";
  const std::string jpeg = TurboJpeg(Photo(96, 64, 3), {.name = "4:4:4"});
  // Orientation 6: to be turned by a quarter, so 64x96.
  const std::string exif(
      "Exif\0\0II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 32);
  const std::string turned =
      jpeg.substr(0, 2) + std::string("\xff\xe1\0\x22", 4) + exif + jpeg.substr(2);
  const auto read = [&](const std::string& bytes, int width, int height) {
    WriteFile(path, bytes);
    const ReducedPhoto photo = ReadPhotoReduced(path, width, height);
    return std::array{photo.width, photo.height, photo.image.width, photo.image.height};
  };
  EXPECT_EQ(read(jpeg, 48, 32), (std::array{96, 64, 48, 32}));
  EXPECT_EQ(read(jpeg, 49, 32), (std::array{96, 64, 96, 64}));
  EXPECT_EQ(read(turned, 32, 48), (std::array{64, 96, 32, 48}));
  EXPECT_EQ(read(turned, 48, 32), (std::array{64, 96, 64, 96}));
  EXPECT_EQ(read(turned, 16, 24), (std::array{64, 96, 16, 24}));
  WritePng(path, Photo(96, 64, 3));
  const ReducedPhoto whole = ReadPhotoReduced(path, 12, 8);
  EXPECT_EQ(whole.image.width, 96);
  EXPECT_EQ(whole.height, 64);
}

#else

TEST(ReadPhotoReduced, IsTheWholeWithoutLibjpegTurbo) {
  EXPECT_FALSE(ReducesJpegs());
  const std::string jpeg = StbJpeg(Photo(96, 64, 3), 95);
  const ReducedPhoto photo = DecodeJpeg(jpeg, kMaxPixels, 12, 8);
  EXPECT_EQ(photo.image.pixels, ByStb(jpeg).pixels);
  EXPECT_EQ(photo.image.width, 96);
}

#endif  // LSEG_WITH_JPEG_TURBO

}  // namespace
}  // namespace lseg
