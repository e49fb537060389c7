// What a file is, by its first bytes. The answer for what is not read is as long as the list of
// what is, since people do have DICOM and camera RAW files and need to be told what to do with
// them.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iterator>
#include <utility>

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
    {4, "ftyphev"sv, "HEIC"},
    {4, "ftypmsf1"sv, "HEIC"},
    {4, "ftypmif1"sv, "HEIC"},
    {4, "ftypavif"sv, "AVIF"},
    {8, "WEBP"sv, "WebP"},
    {0, "GIF8"sv, "GIF"},
    {0, "\0\0\0\x0CjP  "sv, "JPEG 2000"},
    {0, "\xff\x4f\xff\x51"sv, "JPEG 2000"},
    {0, "%PDF"sv, "PDF"},
    {0, "8BPS"sv, "Photoshop"},
    {0, "\x1f\x8b"sv, "gzip archive"},
    {0, "\0\0\0\x0CJXL \r\n"sv, "JPEG XL"},
    {0, "\xff\x0a"sv, "JPEG XL"},
    {0, "PK\x03\x04"sv, "ZIP archive"},
    {0, "\x93NUMPY"sv, "NumPy"},
};
constexpr std::string_view kRawExtensions[] = {
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mos", ".mrw",
    ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"};

bool HasAt(std::string_view bytes, size_t at, std::string_view magic) {
  return bytes.size() >= at + magic.size() && bytes.substr(at, magic.size()) == magic;
}

// "a DICOM file", "an HTML page".
std::string WithArticle(std::string_view name) {
  const bool vowel = name == "HTML page" || name == "SVG" || name == "AVIF";  // as it is spoken
  const bool whole = name.ends_with("page") || name.ends_with("archive");
  return (vowel ? "an " : "a ") + std::string(name) + (whole ? "" : " file");
}

// What to do with a file that is not read.
std::string AdviceFor(std::string_view foreign) {
  if (foreign == "ZIP archive" || foreign == "gzip archive") return "unpack it";
  if (foreign == "NumPy") return "it holds an array; save its values as PNG";
  if (foreign == "PDF" || foreign == "SVG") return "draw it as PNG at the size that you want";
  if (foreign == "HTML page") return "the download failed; fetch the image itself";
  return "export it as PNG or TIFF";
}

// Text formats have no magic number: what comes first that is no blank.
const char* NameOfText(std::string_view bytes) {
  if (bytes.starts_with("\xef\xbb\xbf")) bytes.remove_prefix(3);  // byte order mark
  bytes.remove_prefix(std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size()));
  std::string start(bytes.substr(0, 512));
  std::transform(start.begin(), start.end(), start.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (start.starts_with("<!doctype html") || start.starts_with("<html")) return "HTML page";
  const bool xml = start.starts_with("<?xml") || start.starts_with("<!");
  if (start.starts_with("<svg") || (xml && start.find("<svg") != std::string::npos)) return "SVG";
  return nullptr;
}

std::string LowerExtension(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

std::string Refusal(std::string_view foreign) {
  return WithArticle(foreign) + ", which is not read: " + AdviceFor(foreign);
}

// What a file of this extension is, where its content does not tell; null: nothing special.
const char* NameOfExtension(const std::string& path) {
  const std::string extension = LowerExtension(path);
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
    foreign = NameOfText(bytes);
  }
  if (!foreign) {
    // From here on the name counts: RAW files of some cameras are TIFFs that show a thumbnail, and
    // old DICOM files begin without a mark.
    foreign = NameOfExtension(path);
  }
  LSEG_CHECK(!foreign, "is " << Refusal(foreign));
  for (std::string_view magic : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv}) {
    if (HasAt(bytes, 0, magic)) return ImageFormat::kTiff;
  }
  LSEG_FAIL("is not an image: neither JPEG, PNG, TIFF nor BMP by its content");
}

std::string UnreadByName(const std::string& path) {
  static constexpr std::pair<std::string_view, const char*> kNames[] = {
      {".heic", "HEIC"},   {".heif", "HEIC"},    {".avif", "AVIF"}, {".webp", "WebP"},
      {".gif", "GIF"},     {".pdf", "PDF"},      {".svg", "SVG"},   {".jp2", "JPEG 2000"},
      {".jxl", "JPEG XL"}, {".psd", "Photoshop"}};
  const char* foreign = NameOfExtension(path);
  for (const auto& [extension, name] : kNames) {
    if (LowerExtension(path) == extension) foreign = name;
  }
  return foreign ? Refusal(foreign) : "";
}

void CheckImageSize(int64_t width, int64_t height, int64_t max_pixels) {
  LSEG_CHECK(width > 0 && height > 0, "is damaged: its size is " << width << "x" << height);
  LSEG_CHECK(height <= max_pixels / width, "is " << width << "x" << height
                                                 << " pixels large: more than the limit of "
                                                 << max_pixels << " pixels (--max-pixels)");
  constexpr int64_t kMaxSide = 1'000'000;  // libpng's own limit
  LSEG_CHECK(
      width <= kMaxSide && height <= kMaxSide,
      "is " << width << "x" << height << " pixels large: no side may be longer than " << kMaxSide);
}

}  // namespace lseg
