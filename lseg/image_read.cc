// The readers: a file, its format, its decoder, and what is made of the samples.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <utility>

#include "framework/descriptor.h"
#include "lseg/image_decode.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

// stb counts bytes by int; no image within the limit of pixels is nearly as large.
constexpr int64_t kMaxBytes = std::numeric_limits<int>::max();

// The file's size, refusing early what cannot be one of an image's files (a device has no end).
int64_t SizeOfImageFile(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  LSEG_CHECK(status.type() != fs::file_type::not_found, "cannot be read: no such file");
  LSEG_CHECK(fs::exists(status), "cannot be read: " << error.message());
  LSEG_CHECK(!fs::is_directory(status), "is a folder, not an image");
  LSEG_CHECK(fs::is_regular_file(status), "is no regular file");
  const uintmax_t size = fs::file_size(path, error);
  LSEG_CHECK(!error && size <= static_cast<uintmax_t>(kMaxBytes),
             "is larger than " << kMaxBytes << " bytes");
  return static_cast<int64_t>(size);
}

// As far as the file's beginning, `start`, tells.
PhotoHeader HeaderOf(const std::string& path, std::string_view start, const Descriptor& file,
                     int64_t size, int64_t max_pixels) {
  switch (SniffImageFormat(path, start)) {
    case ImageFormat::kJpeg:
      return JpegHeader(start, max_pixels);
    case ImageFormat::kPng:
      return PngHeader(start, max_pixels);
    case ImageFormat::kTiff:
      return TiffHeader(file.number(), size, max_pixels);
    case ImageFormat::kBmp:
      return BmpHeader(start, max_pixels);
  }
  LSEG_FAIL("is of an unknown format");
}

// Calls decode(bytes) on the file; an Error that does not begin with the path gets it.
template <typename Decode>
auto DecodeFile(const std::string& path, const Decode& decode) {
  try {
    SizeOfImageFile(path);
    return decode(ReadFile(path));
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.rfind(path, 0) == 0) throw;
    throw Error(path + ": " + what);
  } catch (const std::bad_alloc&) {
    throw Error(path + ": needs more memory than there is");
  }
}

// Without an alpha channel, which must be opaque, and with three channels.
Image ToRgb(Image image) {
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

std::optional<PhotoHeader> ReadPhotoHeader(const std::string& path, int64_t max_pixels) {
  // Before a JPEG's header may stand colour profiles and previews.
  for (const int64_t most : {int64_t{1} << 20, int64_t{64} << 20}) {
    try {
      const int64_t size = SizeOfImageFile(path);
      const Descriptor file(path, O_RDONLY);
      std::string start(static_cast<size_t>(std::min(size, most)), '\0');
      const ssize_t got = pread(file.number(), start.data(), start.size(), 0);
      start.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
      PhotoHeader header = HeaderOf(path, start, file, size, max_pixels);
      header.decoding += size;
      return header;
    } catch (const Error&) {  // with more of it, or by the decoder, which says what is wrong
    }
  }
  return std::nullopt;
}

Image ReadPhoto(const std::string& path, int64_t max_pixels) {
  return ReadPhotoReduced(path, kWhole, kWhole, max_pixels).image;
}

ReducedPhoto ReadPhotoReduced(const std::string& path, int width, int height, int64_t max_pixels) {
  return DecodeFile(path, [&](const std::string& bytes) {
    ReducedPhoto photo;
    switch (SniffImageFormat(path, bytes)) {
      case ImageFormat::kJpeg:
        photo = DecodeJpeg(bytes, max_pixels, width, height);
        photo.image = ToRgb(std::move(photo.image));
        return photo;
      case ImageFormat::kPng:
        photo.image = ToRgb(DecodePng(bytes, max_pixels));
        break;
      case ImageFormat::kTiff:
        photo.image = ToRgb(DecodeTiff(bytes, max_pixels));
        break;
      case ImageFormat::kBmp:
        photo.image = ToRgb(DecodeBmp(bytes, max_pixels));
        break;
    }
    photo.width = photo.image.width;
    photo.height = photo.image.height;
    return photo;
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

Samples ReadMaskSamples(const std::string& path, int64_t max_pixels) {
  return DecodeFile(path, [&](const std::string& bytes) {
    return DecodeSamples(path, bytes, max_pixels, "a mask");
  });
}

Image ReadMask(const std::string& path, int64_t max_pixels) {
  return DecodeFile(path, [&](const std::string& bytes) {
    return MaskOf(DecodeSamples(path, bytes, max_pixels, "a mask"));
  });
}

}  // namespace lseg
