// TIFF by libtiff: the format of IDRiD's masks, as 1-bit palettes, gray or colour.
//
// Photographs go through libtiff's own conversion to RGBA, which knows every layout. Class maps and
// masks must not (a palette's colours are not its indices), so single samples are unpacked here.
#include <tiffio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>

#include "framework/file.h"
#include "lseg/exif.h"
#include "lseg/image_decode.h"

namespace lseg {
namespace {

// A file in memory, or an open one, as libtiff's callbacks see it, and the first thing that libtiff
// said about it.
struct Source {
  std::string_view bytes;
  int file = -1;  // where it is not in memory
  uint64_t size = bytes.size();
  uint64_t at = 0;
  char reason[160] = "";
};

// libtiff has one error handler a process. Files that were opened elsewhere must not be taken for
// ours, hence the record of the one that this thread reads.
thread_local const void* current_source = nullptr;

void OnError(thandle_t handle, const char*, const char* format, va_list arguments) {
  if (!handle || handle != current_source) return;
  auto* source = static_cast<Source*>(handle);
  if (!source->reason[0]) {
    std::vsnprintf(source->reason, sizeof(source->reason), format, arguments);
  }
}

tmsize_t OnRead(thandle_t handle, void* out, tmsize_t size) {
  auto* source = static_cast<Source*>(handle);
  const uint64_t left = source->size - std::min(source->at, source->size);
  auto count = static_cast<tmsize_t>(std::min<uint64_t>(size, left));
  if (source->file >= 0) {
    count = std::max<tmsize_t>(pread(source->file, out, count, static_cast<off_t>(source->at)), 0);
  } else if (count > 0) {
    std::memcpy(out, source->bytes.data() + source->at, count);
  }
  source->at += count;
  return count;
}
tmsize_t OnWrite(thandle_t, void*, tmsize_t) { return 0; }
toff_t OnSeek(thandle_t handle, toff_t offset, int whence) {
  auto* source = static_cast<Source*>(handle);
  source->at = offset + (whence == SEEK_CUR ? source->at : whence == SEEK_END ? source->size : 0);
  return source->at;
}
int OnClose(thandle_t) { return 0; }
toff_t OnSize(thandle_t handle) { return static_cast<Source*>(handle)->size; }
int OnMap(thandle_t handle, void** base, toff_t* size) {
  auto* source = static_cast<Source*>(handle);
  if (source->file >= 0) return 0;
  *base = const_cast<char*>(source->bytes.data());
  *size = source->bytes.size();
  return 1;
}
void OnUnmap(thandle_t, void*, toff_t) {}

class TiffReader {
 public:
  TiffReader(const Source& source, int64_t max_pixels) : source_(source) {
    static std::once_flag once;
    std::call_once(once, [] {
      TIFFSetErrorHandler(nullptr);  // both print otherwise
      TIFFSetWarningHandler(nullptr);
      TIFFSetErrorHandlerExt(OnError);
    });
    tiff_.reset(TIFFClientOpen("", "r", &source_, OnRead, OnWrite, OnSeek, OnClose, OnSize, OnMap,
                               OnUnmap));
    if (!tiff_) Fail();
    uint32_t w = 0, h = 0;
    TIFFGetField(tiff_.get(), TIFFTAG_IMAGEWIDTH, &w);
    TIFFGetField(tiff_.get(), TIFFTAG_IMAGELENGTH, &h);
    CheckImageSize(w, h, max_pixels);
    width = static_cast<int>(w);
    height = static_cast<int>(h);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_BITSPERSAMPLE, &bits);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_ORIENTATION, &orientation);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_PLANARCONFIG, &planar);
    LSEG_CHECK(TIFFGetField(tiff_.get(), TIFFTAG_PHOTOMETRIC, &photometric),
               "is damaged: the TIFF does not say what its samples mean");
    constexpr uint16_t kColourFilter = 32803, kLinearRaw = 34892;
    LSEG_CHECK(photometric != kColourFilter && photometric != kLinearRaw,
               "is a camera RAW file, which is not read: export it as PNG or TIFF");
    LSEG_CHECK(photometric != PHOTOMETRIC_SEPARATED, "is a CMYK TIFF: save it as RGB");
    LSEG_CHECK(samples >= 1 && samples <= 8 && bits <= 64,
               "has " << samples << " samples of " << bits << " bits a pixel: no known image");
    CheckBytes();
  }
  // Whole numbers from 0 on: others would be taken for these.
  void CheckSampleFormat() const {
    uint16_t format = SAMPLEFORMAT_UINT;
    TIFFGetFieldDefaulted(get(), TIFFTAG_SAMPLEFORMAT, &format);
    const char* name = format == SAMPLEFORMAT_INT             ? "signed"
                       : format == SAMPLEFORMAT_IEEEFP        ? "floating-point"
                       : format == SAMPLEFORMAT_COMPLEXINT    ? "complex"
                       : format == SAMPLEFORMAT_COMPLEXIEEEFP ? "complex"
                                                              : nullptr;
    LSEG_CHECK(!name, "is a TIFF of " << name << " samples: unsigned ones are read");
  }

  TIFF* get() const { return tiff_.get(); }
  bool HasAlpha() const {
    uint16_t count = 0;
    const uint16_t* kinds = nullptr;
    return TIFFGetField(get(), TIFFTAG_EXTRASAMPLES, &count, &kinds) && count > 0;
  }
  bool IsGray() const {
    return photometric == PHOTOMETRIC_MINISBLACK || photometric == PHOTOMETRIC_MINISWHITE;
  }
  // A strip or tile, unpacked.
  int64_t BlockBytes() const {
    return TIFFIsTiled(get()) ? TIFFTileSize64(get()) : TIFFStripSize64(get());
  }
  bool IsGray16() const { return bits == 16 && IsGray(); }
  [[noreturn]] void Fail() const {
    LSEG_FAIL("is truncated or damaged (TIFF: "
              << (source_.reason[0] ? Printable(source_.reason) : "no reason given") << ")");
  }

  int width = 0, height = 0;
  uint16_t bits = 1, samples = 1, orientation = 1, planar = PLANARCONFIG_CONTIG, photometric = 0;

 private:
  struct Close {
    void operator()(TIFF* tiff) const { TIFFClose(tiff); }
  };
  struct Current {
    explicit Current(const Source* source) { current_source = source; }
    ~Current() { current_source = nullptr; }
  };

  // Whether the picture can be in the file, before memory is taken for it.
  void CheckBytes() const {
    const int64_t pixel_bits = int64_t{samples} * bits, pixels = int64_t{width} * height;
    // A strip or tile is unpacked as a whole; tiles may reach beyond the picture, but not far.
    const int64_t block = BlockBytes();
    LSEG_CHECK(block > 0 && block / 2 <= (pixels + (1 << 20)) * (pixel_bits / 8 + 1),
               "is damaged: a strip or tile of " << block << " bytes");
    uint16_t compression = COMPRESSION_NONE;
    TIFFGetFieldDefaulted(get(), TIFFTAG_COMPRESSION, &compression);
    const bool general = compression == COMPRESSION_NONE || compression == COMPRESSION_LZW ||
                         compression == COMPRESSION_DEFLATE ||
                         compression == COMPRESSION_PACKBITS ||
                         compression == COMPRESSION_ADOBE_DEFLATE;
    // None of these packs 4096 bytes into one; those for documents and JPEG have other bounds.
    const int64_t wanted = pixels * pixel_bits / 8 /
                           (compression == COMPRESSION_NONE ? 1
                            : general                       ? 4096
                                                            : 1 << 20);
    LSEG_CHECK(static_cast<int64_t>(source_.size) >= wanted,
               "is truncated: " << source_.size << " bytes cannot hold " << width << "x" << height
                                << " pixels");
  }

  Source source_;
  Current current_{&source_};
  std::unique_ptr<TIFF, Close> tiff_;
};

// RGBA as stored, not turned.
Image ReadColours(const TiffReader& reader) {
  char reason[1024] = "";
  LSEG_CHECK(TIFFRGBAImageOK(reader.get(), reason),
             "is a TIFF of a kind that is not read: " << reason);
  TIFFRGBAImage converter = {};
  if (!TIFFRGBAImageBegin(&converter, reader.get(), 1, reason)) reader.Fail();
  const std::unique_ptr<TIFFRGBAImage, void (*)(TIFFRGBAImage*)> end(&converter, TIFFRGBAImageEnd);
  converter.req_orientation = converter.orientation;  // Orient turns; libtiff mirrors only
  std::vector<uint32_t> raster(static_cast<size_t>(reader.width) * reader.height);
  if (!TIFFRGBAImageGet(&converter, raster.data(), reader.width, reader.height)) reader.Fail();
  Image image(reader.width, reader.height, 4);
  uint8_t* out = image.pixels.data();
  for (const uint32_t pixel : raster) {
    *out++ = static_cast<uint8_t>(TIFFGetR(pixel));
    *out++ = static_cast<uint8_t>(TIFFGetG(pixel));
    *out++ = static_cast<uint8_t>(TIFFGetB(pixel));
    *out++ = static_cast<uint8_t>(TIFFGetA(pixel));
  }
  return image;
}

// Calls on_row(samples, stride, x, y, count) for the pixels from (x, y) on that stand in one row of
// a strip or tile: the first sample of each, `stride` samples apart.
template <typename OnRow>
void ReadFirstSamples(const TiffReader& reader, const OnRow& on_row) {
  TIFF* tiff = reader.get();
  const bool tiled = TIFFIsTiled(tiff);
  uint32_t block_width = reader.width, block_height = reader.height;
  if (tiled) {
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &block_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &block_height);
  } else {
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &block_height);
    block_height = std::min<uint32_t>(block_height, reader.height);
  }
  LSEG_CHECK(block_width > 0 && block_height > 0, "is damaged: strips or tiles of no size");
  const int stride = reader.planar == PLANARCONFIG_CONTIG ? reader.samples : 1;
  const tmsize_t row_bytes = tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff);
  std::vector<uint8_t> block(tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff));
  for (int64_t top = 0; top < reader.height; top += block_height) {
    const int rows = static_cast<int>(std::min<int64_t>(block_height, reader.height - top));
    for (int64_t left = 0; left < reader.width; left += block_width) {
      const tmsize_t wanted = tiled ? static_cast<tmsize_t>(block.size()) : row_bytes * rows;
      const tmsize_t got =
          tiled ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, left, top, 0, 0), block.data(),
                                      wanted)
                : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, top, 0), block.data(), wanted);
      if (got < wanted) reader.Fail();
      const int count = static_cast<int>(std::min<int64_t>(block_width, reader.width - left));
      for (int y = 0; y < rows; ++y) {
        on_row(block.data() + y * row_bytes, stride, static_cast<int>(left),
               static_cast<int>(top) + y, count);
      }
    }
  }
}

// Samples of 1, 2, 4 or 8 bits, as stored.
Image ReadSamples(const TiffReader& reader) {
  Image image(reader.width, reader.height, 1);
  const int bits = reader.bits, mask = (1 << bits) - 1;
  ReadFirstSamples(reader, [&](const uint8_t* row, int stride, int x, int y, int count) {
    uint8_t* out = image.Row(y) + x;
    for (int i = 0; i < count; ++i) {
      const size_t bit = static_cast<size_t>(i) * stride * bits;
      out[i] = static_cast<uint8_t>(row[bit / 8] >> (8 - bits - bit % 8) & mask);
    }
  });
  return image;
}

// 16-bit gray, rounded to 8: libtiff's own conversion cuts it off.
Image ReadGray16(const TiffReader& reader) {
  Image image(reader.width, reader.height, 1);
  const bool inverted = reader.photometric == PHOTOMETRIC_MINISWHITE;
  ReadFirstSamples(reader, [&](const uint8_t* row, int stride, int x, int y, int count) {
    uint8_t* out = image.Row(y) + x;
    for (int i = 0; i < count; ++i) {
      uint16_t value;
      std::memcpy(&value, row + 2 * static_cast<size_t>(i) * stride, 2);
      const auto rounded = static_cast<uint8_t>((value + 128) / 257);
      out[i] = inverted ? 255 - rounded : rounded;
    }
  });
  return image;
}

}  // namespace

PhotoHeader TiffHeader(int file, int64_t size, int64_t max_pixels) {
  const TiffReader reader(Source{{}, file, static_cast<uint64_t>(size)}, max_pixels);
  const int64_t pixels = int64_t{reader.width} * reader.height;
  const int64_t block =
      reader.BlockBytes() * (reader.planar == PLANARCONFIG_CONTIG ? 1 : reader.samples);
  PhotoHeader header{reader.width, reader.height, 0};
  if (reader.orientation >= 5) std::swap(header.width, header.height);
  // A strip and the picture, which becomes RGB; or that as libtiff's RGBA and in order.
  header.decoding =
      reader.IsGray16() ? std::max(block + pixels, 4 * pixels) : block + 2 * 4 * pixels;
  return header;
}

Image DecodeTiff(std::string_view bytes, int64_t max_pixels) {
  const TiffReader reader(Source{bytes}, max_pixels);
  reader.CheckSampleFormat();
  if (reader.IsGray16()) {
    LSEG_CHECK(reader.samples == 1, "is a TIFF of a kind that is not read: 16-bit gray with "
                                        << reader.samples << " samples a pixel");
    return Orient(ReadGray16(reader), reader.orientation);
  }
  return Orient(ReadColours(reader), reader.orientation);
}

Samples DecodeTiffSamples(std::string_view bytes, int64_t max_pixels) {
  const TiffReader reader(Source{bytes}, max_pixels);
  Samples result;
  result.alpha = reader.HasAlpha();
  const bool palette = reader.photometric == PHOTOMETRIC_PALETTE;
  LSEG_CHECK(reader.bits <= 8, "has " << reader.bits << " bits a sample: 8 or fewer are read");
  if (palette || reader.IsGray()) {
    LSEG_CHECK(reader.bits == 1 || reader.bits == 2 || reader.bits == 4 || reader.bits == 8,
               "has " << reader.bits << " bits a sample: 1, 2, 4 or 8 are read");
    result.kind = palette ? Samples::Kind::kIndex : Samples::Kind::kGray;
    result.white = (1 << reader.bits) - 1;
    result.image = ReadSamples(reader);
    if (reader.photometric == PHOTOMETRIC_MINISWHITE) {
      for (uint8_t& value : result.image.pixels) value = result.white - value;
    }
  } else {
    result.kind = Samples::Kind::kColour;
    const Image rgba = ReadColours(reader);
    result.image = Image(rgba.width, rgba.height, 3);
    for (size_t i = 0; i < rgba.pixels.size() / 4; ++i) {
      std::memcpy(&result.image.pixels[3 * i], &rgba.pixels[4 * i], 3);
    }
  }
  result.image = Orient(std::move(result.image), reader.orientation);
  return result;
}

}  // namespace lseg
