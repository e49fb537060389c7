// The three readers, and the decoders of JPEG and BMP.
#include <stb/stb_image.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

#include "lseg/exif.h"
#include "lseg/image_decode.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

// stb counts bytes by int; no image within the limit of pixels is nearly as large.
constexpr int64_t kMaxBytes = std::numeric_limits<int>::max();

// The file's bytes, refusing early what cannot be one of an image's files (a device has no end).
std::string ReadImageFile(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  LSEG_CHECK(fs::exists(status), "cannot be read: no such file");
  LSEG_CHECK(!fs::is_directory(status), "is a folder, not an image");
  LSEG_CHECK(fs::is_regular_file(status), "is no regular file");
  const uintmax_t size = fs::file_size(path, error);
  LSEG_CHECK(!error && size <= static_cast<uintmax_t>(kMaxBytes),
             "is larger than " << kMaxBytes << " bytes");
  return ReadFile(path);
}

// Calls decode(bytes) on the file; an Error that does not begin with the path gets it.
template <typename Decode>
auto DecodeFile(const std::string& path, const Decode& decode) {
  try {
    return decode(ReadImageFile(path));
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.rfind(path, 0) == 0) throw;
    throw Error(path + ": " + what);
  } catch (const std::bad_alloc&) {
    throw Error(path + ": needs more memory than there is");
  }
}

Image DecodeByStb(std::string_view bytes, int64_t max_pixels, const char* format) {
  const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
  const int size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  LSEG_CHECK(stbi_info_from_memory(data, size, &width, &height, &channels),
             "is truncated or damaged: no " << format << " header is found ("
                                            << stbi_failure_reason() << ")");
  CheckImageSize(width, height, max_pixels);
  // Every 8x8 block of a JPEG's finest component takes at least one bit; BMP takes far more.
  LSEG_CHECK(
      static_cast<int64_t>(width) * height / 512 <= size,
      "is truncated: " << size << " bytes cannot hold " << width << "x" << height << " pixels");
  const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
      stbi_load_from_memory(data, size, &width, &height, &channels, 0), stbi_image_free);
  LSEG_CHECK(decoded,
             "is truncated or damaged (" << format << ": " << stbi_failure_reason() << ")");
  Image image;
  image.width = width;
  image.height = height;
  image.channels = channels;
  image.pixels.assign(decoded.get(),
                      decoded.get() + static_cast<size_t>(width) * height * channels);
  return image;
}

// Without an alpha channel, which must be opaque, and with three channels.
Image ToRgb(const Image& image) {
  if (image.channels == 3) return image;
  const int channels = image.channels;
  const bool has_alpha = channels == 2 || channels == 4;
  Image rgb(image.width, image.height, 3);
  const uint8_t* in = image.pixels.data();
  uint8_t* out = rgb.pixels.data();
  uint8_t opaque = 255;
  const size_t count = static_cast<size_t>(image.width) * image.height;
  for (size_t i = 0; i < count; ++i, in += channels, out += 3) {
    if (has_alpha) opaque &= in[channels - 1];
    out[0] = in[0];
    out[1] = in[channels < 3 ? 0 : 1];
    out[2] = in[channels < 3 ? 0 : 2];
  }
  LSEG_CHECK(opaque == 255, "has transparent pixels: save it without transparency");
  return rgb;
}

Samples DecodeSamples(const std::string& path, std::string_view bytes, int64_t max_pixels,
                      const char* what) {
  switch (SniffImageFormat(path, bytes)) {
    case ImageFormat::kPng:
      return DecodePngSamples(bytes, max_pixels);
    case ImageFormat::kTiff:
      return DecodeTiffSamples(bytes, max_pixels);
    case ImageFormat::kJpeg:
      LSEG_FAIL("is a JPEG, which changes values: " << what << " must be PNG or TIFF");
    case ImageFormat::kBmp:
      LSEG_FAIL("is a BMP: " << what << " must be PNG or TIFF");
  }
  LSEG_FAIL("is of an unknown format");
}

Image MaskOf(const Samples& samples) {
  Image mask(samples.image.width, samples.image.height, 1);
  const std::vector<uint8_t>& in = samples.image.pixels;
  std::vector<uint8_t>& out = mask.pixels;
  switch (samples.kind) {
    case Samples::Kind::kIndex:
      std::transform(in.begin(), in.end(), out.begin(), [](uint8_t v) { return v ? 255 : 0; });
      break;
    case Samples::Kind::kGray: {
      const int largest = in.empty() ? 0 : *std::max_element(in.begin(), in.end());
      const int half = samples.white / 2;
      LSEG_CHECK(largest <= 1 || largest > half, "is no mask: its largest gray value is "
                                                     << largest
                                                     << "; a mask has 0 and 1, or black and white");
      const int above = largest <= 1 ? 0 : half;
      std::transform(in.begin(), in.end(), out.begin(),
                     [above](uint8_t v) { return v > above ? 255 : 0; });
      break;
    }
    case Samples::Kind::kColour:
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] = std::max({in[3 * i], in[3 * i + 1], in[3 * i + 2]}) > 127 ? 255 : 0;
      }
      break;
  }
  return mask;
}

}  // namespace

Image DecodeJpeg(std::string_view bytes, int64_t max_pixels) {
  return Orient(DecodeByStb(bytes, max_pixels, "JPEG"), ExifOrientation(bytes));
}

Image DecodeBmp(std::string_view bytes, int64_t max_pixels) {
  const auto number = [&](size_t at, int size) {
    uint32_t value = 0;
    for (int i = 0; i < size; ++i) {
      if (at + i < bytes.size()) value |= uint32_t{static_cast<uint8_t>(bytes[at + i])} << 8 * i;
    }
    return static_cast<int32_t>(value);
  };
  // stb reads zeros beyond the end, so what is missing must be found here.
  const bool old_header = number(14, 4) == 12;
  const int64_t width = old_header ? number(18, 2) : number(18, 4);
  const int64_t height = std::abs(int64_t{old_header ? number(20, 2) : number(22, 4)});
  const int64_t bits = old_header ? number(24, 2) : number(28, 2);
  CheckImageSize(width, height, max_pixels);
  const int64_t wanted = number(10, 4) + (width * bits + 31) / 32 * 4 * height;
  LSEG_CHECK(static_cast<int64_t>(bytes.size()) >= wanted,
             "is truncated: it has " << bytes.size() << " of " << wanted << " bytes");
  return DecodeByStb(bytes, max_pixels, "BMP");
}

Image ReadPhoto(const std::string& path, int64_t max_pixels) {
  return DecodeFile(path, [&](const std::string& bytes) {
    switch (SniffImageFormat(path, bytes)) {
      case ImageFormat::kJpeg:
        return ToRgb(DecodeJpeg(bytes, max_pixels));
      case ImageFormat::kPng:
        return ToRgb(DecodePng(bytes, max_pixels));
      case ImageFormat::kTiff:
        return ToRgb(DecodeTiff(bytes, max_pixels));
      case ImageFormat::kBmp:
        return ToRgb(DecodeBmp(bytes, max_pixels));
    }
    LSEG_FAIL("is of an unknown format");
  });
}

Image ReadClassMap(const std::string& path, int64_t max_pixels) {
  return DecodeFile(path, [&](const std::string& bytes) {
    Samples samples = DecodeSamples(path, bytes, max_pixels, "a class map");
    LSEG_CHECK(samples.kind != Samples::Kind::kColour && !samples.alpha,
               "is no class map: it has colours or alpha; palette indices or gray values are read");
    return std::move(samples.image);
  });
}

Image ReadMask(const std::string& path, int64_t max_pixels) {
  return DecodeFile(path, [&](const std::string& bytes) {
    return MaskOf(DecodeSamples(path, bytes, max_pixels, "a mask"));
  });
}

}  // namespace lseg
