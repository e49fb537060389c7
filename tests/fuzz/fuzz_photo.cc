// Photographs: JPEG, BMP, PNG and TIFF, whole and reduced; JPEG by the decoder of other builds,
// too.
#include "lseg/image_decode.h"
#include "tests/fuzz/image_target.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lseg;
  const std::string path = fuzz::PathOf(data, size);
  Image whole;
  const bool read = fuzz::Accepts([&] { whole = ReadPhoto(path, fuzz::kMaxPixels); });
  if (read) fuzz::RequireImage(whole, 3);
  fuzz::Accepts([&] {
    const ReducedPhoto reduced = ReadPhotoReduced(path, 5, 3, fuzz::kMaxPixels);
    fuzz::RequireImage(reduced.image, 3);
    fuzz::Require(!read || (reduced.width == whole.width && reduced.height == whole.height),
                  "a reduced photograph knows its size");
  });
  const std::string_view bytes = fuzz::Bytes(data, size);
  fuzz::Accepts([&] {
    if (SniffImageFormat(path, bytes) != ImageFormat::kJpeg) return;
    const JpegFrame frame = ReadJpegFrame(bytes, fuzz::kMaxPixels);
    fuzz::RequireImage(DecodeJpegByStb(bytes, frame), frame.components);
  });
  return 0;
}
