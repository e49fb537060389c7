// What a file is, by its first bytes. The answer for what is not read is as long as the list of
// what is, since people do have DICOM and camera RAW files and need to be told what to do with
// them.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iterator>

#include "lseg/image_decode.h"

namespace lseg {
namespace {

using std::string_view_literals::operator""sv;

struct Magic {
  size_t at;
  std::string_view bytes;
  const char* name;
};

constexpr const char* kRaw = "camera RAW";
const Magic kForeign[] = {
    {128, "DICM"sv, "DICOM"},
    {0, "FUJIFILMCCD-RAW"sv, kRaw},
    {8, "CR\x02"sv, kRaw},  // Canon, in a TIFF
    {0, "IIRO"sv, kRaw},    // Olympus
    {0, "IIRS"sv, kRaw},
    {0, "IIU\0"sv, kRaw},  // Panasonic
    {4, "ftypcrx "sv, kRaw},
    {4, "ftyphei"sv, "HEIC"},
    {4, "ftypmif1"sv, "HEIC"},
    {4, "ftypavif"sv, "AVIF"},
    {8, "WEBP"sv, "WebP"},
    {0, "GIF8"sv, "GIF"},
    {0, "\0\0\0\x0CjP  "sv, "JPEG 2000"},
    {0, "\xff\x4f\xff\x51"sv, "JPEG 2000"},
    {0, "%PDF"sv, "PDF"},
    {0, "8BPS"sv, "Photoshop"},
    {0, "PK\x03\x04"sv, "ZIP archive"},
    {0, "\x93NUMPY"sv, "NumPy"},
};
constexpr std::string_view kRawExtensions[] = {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf",
                                               ".iiq", ".kdc", ".mos", ".mrw", ".nef", ".nrw",
                                               ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw"};

bool HasAt(std::string_view bytes, size_t at, std::string_view magic) {
  return bytes.size() >= at + magic.size() && bytes.substr(at, magic.size()) == magic;
}

// What a file of this extension is, where its content does not tell; null: nothing special.
const char* NameOfExtension(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (extension == ".dcm" || extension == ".dicom") return "DICOM";
  const bool raw = std::find(std::begin(kRawExtensions), std::end(kRawExtensions), extension) !=
                   std::end(kRawExtensions);
  return raw ? kRaw : nullptr;
}

}  // namespace

ImageFormat SniffImageFormat(const std::string& path, std::string_view bytes) {
  LSEG_CHECK(!bytes.empty(), "is empty");
  const char* foreign = nullptr;
  for (const Magic& magic : kForeign) {
    if (HasAt(bytes, magic.at, magic.bytes)) foreign = magic.name;
  }
  if (!foreign) {
    if (HasAt(bytes, 0, "\xff\xd8\xff"sv)) return ImageFormat::kJpeg;
    if (HasAt(bytes, 0, "\x89PNG\r\n\x1a\n"sv)) return ImageFormat::kPng;
    if (HasAt(bytes, 0, "BM"sv)) return ImageFormat::kBmp;
    // From here on the name counts: RAW files of some cameras are TIFFs that show a thumbnail, and
    // old DICOM files begin without a mark.
    foreign = NameOfExtension(path);
  }
  LSEG_CHECK(!foreign, "is a " << foreign << " file, which is not read: export it as PNG or TIFF");
  for (std::string_view magic : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv}) {
    if (HasAt(bytes, 0, magic)) return ImageFormat::kTiff;
  }
  LSEG_FAIL("is not an image: neither JPEG, PNG, TIFF nor BMP by its content");
}

void CheckImageSize(int64_t width, int64_t height, int64_t max_pixels) {
  LSEG_CHECK(width > 0 && height > 0, "is damaged: its size is " << width << "x" << height);
  LSEG_CHECK(height <= max_pixels / width, "is " << width << "x" << height
                                                 << " pixels large: more than the limit of "
                                                 << max_pixels << " pixels");
}

}  // namespace lseg
