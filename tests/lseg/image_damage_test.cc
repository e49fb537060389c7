// Files that are cut off, claim sizes that they do not have, or are something else: an Error that
// names the file and what is wrong, never a half-gray picture and never memory for what is not
// there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <tuple>
#include <utility>

#include "framework/file.h"
#include "kernels/runtime/random.h"
#include "lseg/image.h"
#include "tests/lseg/image_files.h"

namespace lseg {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using testing::ThrowsMessage;

Image RandomPhoto(int width, int height) {
  Image photo(width, height, 3);
  Random random(4, 0);
  for (uint8_t& value : photo.pixels) value = static_cast<uint8_t>(random.Below(256));
  return photo;
}

std::string LittleEndian(uint32_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i);
  return text;
}

// A 24-bit BMP of one gray level; rows are multiples of 4 bytes for widths that are.
std::string Bmp(int width, int height) {
  const std::string pixels(static_cast<size_t>(3) * width * height, '\x60');
  return "BM" + LittleEndian(54 + pixels.size(), 4) + std::string(4, '\0') + LittleEndian(54, 4) +
         LittleEndian(40, 4) + LittleEndian(width, 4) + LittleEndian(height, 4) +
         LittleEndian(1, 2) + LittleEndian(24, 2) + std::string(24, '\0') + pixels;
}

// Big-endian CRC-32 of a PNG chunk's name and content, bit by bit.
std::string PngChecksum(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  const std::string little = LittleEndian(~crc, 4);
  return {little.rbegin(), little.rend()};
}

// The same photograph in each format that is read.
struct Sample {
  std::string name, bytes;
};
std::vector<Sample> Samples(const std::string& folder) {
  const Image photo = RandomPhoto(64, 48);
  WriteJpeg(folder + "/a.jpg", photo, 90);
  WritePng(folder + "/a.png", photo);
  WriteMaskTiff(folder + "/packed.tif", Image(64, 48, 1, 255), MaskEncoding::kRgbaLzw);
  WriteMaskTiff(folder + "/plain.tif", Image(64, 48, 1, 255), MaskEncoding::kGray255);
  std::vector<Sample> samples = {{"a.bmp", Bmp(64, 48)}};
  for (const char* name : {"a.jpg", "a.png", "packed.tif", "plain.tif"}) {
    samples.push_back({name, ReadFile(folder + "/" + name)});
  }
  return samples;
}

void ExpectRefused(const std::string& path, const std::string& bytes, const std::string& reason) {
  WriteFile(path, bytes);
  EXPECT_THAT([&] { ReadPhoto(path); },
              ThrowsMessage<Error>(AllOf(StartsWith(path + ": "), HasSubstr(reason))))
      << bytes.size() << " bytes";
}

TEST(ReadPhoto, WholeFilesOfEveryFormatAreRead) {
  const std::string folder = TestFolder();
  for (const Sample& sample : Samples(folder)) {
    const std::string path = folder + "/" + sample.name;
    WriteFile(path, sample.bytes);
    const Image photo = ReadPhoto(path);
    EXPECT_EQ(photo.width, 64) << sample.name;
    EXPECT_EQ(photo.height, 48) << sample.name;
    EXPECT_EQ(photo.channels, 3) << sample.name;
  }
  EXPECT_EQ(ReadPhoto(folder + "/a.bmp").pixels, std::vector<uint8_t>(64 * 48 * 3, 0x60));
}

// Every length but the whole, short of what follows the picture: a PNG's last chunk has no content
// (but without it the file is not whole), a TIFF's directory stands at its end.
TEST(ReadPhoto, AFileCutAnywhereIsRefused) {
  const std::string folder = TestFolder();
  for (const Sample& sample : Samples(folder)) {
    const std::string path = folder + "/cut_" + sample.name;
    for (size_t size = 1; size < sample.bytes.size(); size += 1 + sample.bytes.size() / 40) {
      ExpectRefused(path, sample.bytes.substr(0, size), "");
    }
    ExpectRefused(path, sample.bytes.substr(0, sample.bytes.size() - 1), "truncated");
    ExpectRefused(path, "", "is empty");
  }
}

TEST(ReadPhoto, AJpegWithoutItsEndMarkerIsTruncated) {
  const std::string folder = TestFolder();
  WriteJpeg(folder + "/a.jpg", RandomPhoto(64, 48), 90);
  const std::string jpeg = ReadFile(folder + "/a.jpg");
  ASSERT_EQ(jpeg.substr(jpeg.size() - 2), "\xff\xd9");
  ExpectRefused(folder + "/b.jpg", jpeg.substr(0, jpeg.size() - 2), "is truncated");
  // What some programs leave behind the end is no damage.
  WriteFile(folder + "/c.jpg", jpeg + std::string(100, '\0'));
  EXPECT_EQ(ReadPhoto(folder + "/c.jpg").pixels, ReadPhoto(folder + "/a.jpg").pixels);
}

TEST(ReadPhoto, ADamagedPngIsRefusedByItsChecksum) {
  const std::string folder = TestFolder();
  WritePng(folder + "/a.png", RandomPhoto(64, 48));
  std::string png = ReadFile(folder + "/a.png");
  png[png.size() / 2] ^= 1;
  ExpectRefused(folder + "/b.png", png, "damaged");
}

// Sizes stand in the headers; each is set to 30000x30000 (900 million pixels) and to 14000x14000,
// which is within the limit but cannot be in so few bytes. A test that took the memory would be
// seen by its 2.7 GB.
TEST(ReadPhoto, HostileSizesAreRefusedBeforeMemoryIsTaken) {
  const std::string folder = TestFolder();
  const auto big_endian = [](std::string bytes, size_t at, uint32_t value) {
    bytes[at] = static_cast<char>(value >> 8);
    bytes[at + 1] = static_cast<char>(value);
    return bytes;
  };
  WriteJpeg(folder + "/a.jpg", RandomPhoto(64, 48), 90);
  const std::string jpeg = ReadFile(folder + "/a.jpg");
  const size_t frame = jpeg.find("\xff\xc0");  // marker, length, bits, height, width
  ASSERT_NE(frame, std::string::npos);
  WritePng(folder + "/a.png", Image(64, 48, 3));
  const std::string png = ReadFile(folder + "/a.png");
  for (const auto& [size, reason] : {std::pair{30000u, "30000x30000"}, {14000u, "cannot hold"}}) {
    ExpectRefused(folder + "/b.jpg", big_endian(big_endian(jpeg, frame + 5, size), frame + 7, size),
                  reason);
    std::string header = big_endian(big_endian(png, 18, size), 22, size);
    // The header's checksum: libpng looks at it before anything else.
    std::string sum = PngChecksum(header.substr(12, 17));
    header.replace(29, 4, sum);
    ExpectRefused(folder + "/b.png", header, reason);
    std::string bmp = Bmp(64, 48);
    bmp.replace(18, 8, LittleEndian(size, 4) + LittleEndian(size, 4));
    ExpectRefused(folder + "/b.bmp", bmp, size == 30000 ? reason : "truncated");
  }
  WriteMaskTiff(folder + "/a.tif", Image(64, 48, 1), MaskEncoding::kGray255);
  std::string tiff = ReadFile(folder + "/a.tif");
  // Entries of 12 bytes: tag, type, count, value. 256 is the width, 257 the height.
  for (const char* tag : {"\x00\x01", "\x01\x01"}) {
    const size_t entry = tiff.find(std::string(tag, 2) + std::string("\x03\0\x01\0\0\0", 6));
    ASSERT_NE(entry, std::string::npos);
    tiff.replace(entry + 8, 4, LittleEndian(30000, 4));
  }
  ExpectRefused(folder + "/b.tif", tiff, "30000x30000");
  for (const char* tag : {"\x00\x01", "\x01\x01"}) {
    const size_t entry = tiff.find(std::string(tag, 2) + std::string("\x03\0\x01\0\0\0", 6));
    tiff.replace(entry + 8, 4, LittleEndian(14000, 4));
  }
  ExpectRefused(folder + "/b.tif", tiff, "cannot hold");
}

TEST(ReadPhoto, TheLimitIsInPixels) {
  const std::string path = TestFolder() + "/a.png";
  WritePng(path, RandomPhoto(20, 10));
  EXPECT_EQ(ReadPhoto(path, 200).width, 20);
  EXPECT_THAT([&] { ReadPhoto(path, 199); },
              ThrowsMessage<Error>(HasSubstr("is 20x10 pixels large: more than the limit of 199 "
                                             "pixels (--max-pixels)")));
  EXPECT_THAT([&] { ReadMask(path, 199); }, ThrowsMessage<Error>(HasSubstr("limit of 199")));
}

TEST(ReadPhoto, ACompressedBmpIsNamed) {
  std::string bmp = Bmp(64, 48);
  bmp.replace(30, 4, LittleEndian(1, 4));  // RLE8
  bmp.resize(500);
  ExpectRefused(TestFolder() + "/a.bmp", bmp, "is a compressed BMP");
}

TEST(ReadPhoto, NoSideIsLongerThanAMillion) {
  ExpectRefused(TestFolder() + "/a.bmp", Bmp(1000004, 1), "no side may be longer than 1000000");
}

TEST(ReadPhotoHeader, TellsSizeAndWhatDecodingTakes) {
  const std::string folder = TestFolder();
  for (const Sample& sample : Samples(folder)) {
    const std::string path = folder + "/" + sample.name;
    WriteFile(path, sample.bytes);
    const auto header = ReadPhotoHeader(path);
    ASSERT_TRUE(header) << path;
    EXPECT_EQ(header->width, 64) << path;
    EXPECT_EQ(header->height, 48) << path;
    // The file and its pixels, once, at the least, and nothing that only a mistake could give.
    const int64_t least = static_cast<int64_t>(sample.bytes.size()) + 3 * 64 * 48;
    EXPECT_GE(header->decoding, least) << path;
    EXPECT_LE(header->decoding, 5 * least) << path;
    EXPECT_FALSE(ReadPhotoHeader(path, 64 * 48 - 1)) << path;
    WriteFile(path, sample.bytes.substr(0, 9));
    EXPECT_FALSE(ReadPhotoHeader(path)) << path;
  }
  EXPECT_FALSE(ReadPhotoHeader(folder + "/none.jpg"));
}

TEST(ReadPhoto, ForeignFormatsAreNamed) {
  const std::string folder = TestFolder();
  WriteMaskTiff(folder + "/a.tif", Image(8, 8, 1), MaskEncoding::kGray255);
  const std::string tiff = ReadFile(folder + "/a.tif");
  const std::vector<std::tuple<const char*, std::string, const char*>> cases = {
      {"a.dcm", std::string(128, '\0') + "DICM" + std::string(50, '\0'), "DICOM"},
      {"no_extension", std::string(128, '\0') + "DICM" + std::string(50, '\0'), "DICOM"},
      {"old.DCM", std::string(200, '\x08'), "DICOM"},
      {"a.NEF", tiff, "camera RAW"},
      {"a.cr2", "II*" + std::string("\0\x10\0\0\0", 5) + "CR\x02" + std::string(60, '\0'),
       "camera RAW"},
      {"a.heic", std::string("\0\0\0\x18", 4) + "ftypheic" + std::string(60, '\0'), "HEIC"},
      {"a.webp", "RIFF1234WEBPVP8 " + std::string(60, '\0'), "WebP"},
      {"a.gif", "GIF89a" + std::string(60, '\0'), "GIF"},
      {"a.jxl", "\xff\x0a" + std::string(60, '\1'), "JPEG XL"},
      {"a.jpg.gz", "\x1f\x8b" + std::string(60, '\1'), "a gzip archive, which is not read: unpack"},
      {"a.pdf", "%PDF-1.7" + std::string(60, ' '), "a PDF file, which is not read: draw it as PNG"},
      {"a.svg", "<?xml version=\"1.0\"?>\n<!-- drawn -->\n<svg xmlns=", "an SVG file"},
      {"b.svg", "\n <svg width='3'>", "an SVG file"},
      {"a.jpg", "<html>Please sign in</html>", "an HTML page, which is not read: the download"},
      {"b.jpg", "<!DOCTYPE HTML><p>", "an HTML page"},
      {"c.jpg", "<?xml version='1.0'?><other/>", "is not an image"},
  };
  for (const auto& [name, bytes, reason] : cases) {
    ExpectRefused(folder + "/" + name, bytes, reason);
  }
}

TEST(ReadPhoto, WhatIsNoFileIsSaidToBeNone) {
  const std::string folder = TestFolder();
  const auto refused = [](const std::string& path, const std::string& reason) {
    EXPECT_THAT([&] { ReadPhoto(path); },
                ThrowsMessage<Error>(AllOf(StartsWith(path), HasSubstr(reason))));
  };
  refused(folder + "/nowhere.jpg", "no such file");
  refused(folder, "is a folder");
  ASSERT_EQ(mkfifo((folder + "/pipe").c_str(), 0600), 0);
  refused(folder + "/pipe", "no regular file");  // reading it would wait for ever
}

}  // namespace
}  // namespace lseg
