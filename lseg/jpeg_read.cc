// What is the same for a JPEG by whichever decoder: what its frame header says, what is refused
// before memory is taken, and which way up it is.
#include <algorithm>
#include <utility>

#include "lseg/exif.h"
#include "lseg/image_decode.h"

namespace lseg {
namespace {

// Frame headers are markers C0 to CF, but for tables of Huffman codes and arithmetic coding's.
bool IsFrameMarker(int marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

bool IsProgressive(int marker) {
  return marker == 0xc2 || marker == 0xc6 || marker == 0xca || marker == 0xce;
}

}  // namespace

JpegFrame ReadJpegFrame(std::string_view bytes, int64_t max_pixels) {
  const auto byte = [&](size_t at) {
    LSEG_CHECK(at < bytes.size(), "is truncated or damaged: no JPEG header is found");
    return int{static_cast<uint8_t>(bytes[at])};
  };
  const auto number = [&](size_t at) { return byte(at) << 8 | byte(at + 1); };
  size_t at = 2;  // behind the start of image
  int marker = 0;
  for (;;) {
    while (byte(at) != 0xff) ++at;  // decoders pass over what lies between segments
    while (byte(at) == 0xff) ++at;
    marker = byte(at++);
    if (IsFrameMarker(marker)) break;
    LSEG_CHECK(marker != 0xda && marker != 0xd9,
               "is truncated or damaged: no JPEG header stands before its picture");
    const bool alone = marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8);
    if (!alone) at += std::max(number(at), 2);
  }
  JpegFrame frame;  // length, bits a sample, height, width, components
  frame.height = number(at + 3);
  frame.width = number(at + 5);
  frame.components = byte(at + 7);
  CheckImageSize(frame.width, frame.height, max_pixels);
  LSEG_CHECK(frame.components != 4, "is a CMYK JPEG: save it as RGB");
  LSEG_CHECK(frame.components == 1 || frame.components == 3,
             "is a JPEG of " << frame.components << " components: gray and colours are read");
  if (IsProgressive(marker)) {  // two bytes a sample, of as many samples as each component has
    int samples = 0, most = 1;
    for (int c = 0; c < frame.components; ++c) {
      const int factors = byte(at + 9 + 3 * c), count = (factors >> 4) * (factors & 15);
      samples += count;
      most = std::max(most, count);
    }
    frame.coefficients = 2.0 * samples / most;
  }
  // Every 8x8 block of a JPEG's finest component takes at least one bit.
  LSEG_CHECK(static_cast<uint64_t>(frame.width) * frame.height / 512 <= bytes.size(),
             "is truncated: " << bytes.size() << " bytes cannot hold " << frame.width << "x"
                              << frame.height << " pixels");
  return frame;
}

void CheckSameFrame(const JpegFrame& frame, int64_t width, int64_t height, int components) {
  LSEG_CHECK(width == frame.width && height == frame.height && components == frame.components,
             "is damaged: it has several JPEG headers that differ");
}

int JpegReduction(int width, int height, int min_width, int min_height) {
  const auto fits = [&](int reduction) {
    return (width + reduction - 1) / reduction >= min_width &&
           (height + reduction - 1) / reduction >= min_height;
  };
  return fits(8) ? 8 : fits(4) ? 4 : fits(2) ? 2 : 1;
}

#if LSEG_WITH_JPEG_TURBO
bool ReducesJpegs() { return true; }
std::string JpegDecoder() { return JpegTurboName(); }
#else
bool ReducesJpegs() { return false; }
std::string JpegDecoder() { return "stb_image"; }
Image DecodeJpegByTurbo(std::string_view, const JpegFrame&, int) {
  LSEG_FAIL("libjpeg-turbo is not in this build");
}
#endif

PhotoHeader JpegHeader(std::string_view start, int64_t max_pixels) {
  const JpegFrame frame = ReadJpegFrame(start, max_pixels);
  const int orientation = ExifOrientation(start);
  const int64_t pixels = int64_t{frame.width} * frame.height;
  PhotoHeader header{frame.width, frame.height, 0};
  if (orientation >= 5) std::swap(header.width, header.height);
  // Coefficients and the picture; for stb its components, too, of which the picture is made, and
  // then copied. Then the picture and itself in three channels, or turned.
  const int64_t picture = frame.components * pixels;
  const auto kept = static_cast<int64_t>(frame.coefficients * static_cast<double>(pixels));
  const int64_t copy = frame.components == 1 ? 3 * pixels : orientation == 1 ? 0 : picture;
  header.decoding = std::max(kept + (ReducesJpegs() ? 1 : 2) * picture, picture + copy);
  return header;
}

ReducedPhoto DecodeJpeg(std::string_view bytes, int64_t max_pixels, int min_width, int min_height) {
  const JpegFrame frame = ReadJpegFrame(bytes, max_pixels);
  const int orientation = ExifOrientation(bytes);
  const bool transposed = orientation >= 5;
  if (transposed) std::swap(min_width, min_height);
  ReducedPhoto photo;
  photo.width = transposed ? frame.height : frame.width;
  photo.height = transposed ? frame.width : frame.height;
  const int reduction = JpegReduction(frame.width, frame.height, min_width, min_height);
  photo.image = Orient(
      ReducesJpegs() ? DecodeJpegByTurbo(bytes, frame, reduction) : DecodeJpegByStb(bytes, frame),
      orientation);
  return photo;
}

}  // namespace lseg
