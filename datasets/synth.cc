// The order of the layers, and the writer of IDRiD's folders and encodings.
#include "datasets/synth.h"

#include <tiffio.h>

#include <atomic>
#include <cstring>
#include <exception>
#include <filesystem>

#include "datasets/synth_scene.h"
#include "framework/file.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

constexpr int kJpegQuality = 92;
constexpr const char* kTop = "A. Segmentation";
constexpr const char* kPhotos = "1. Original Images";
constexpr const char* kMasks = "2. All Segmentation Groundtruths";
constexpr const char* kParts[] = {"a. Training Set", "b. Testing Set"};
// Folder, suffix, and index into SyntheticFundus::lesions (-1: the disc).
struct MaskKind {
  const char* folder;
  const char* suffix;
  int lesion;
};
constexpr MaskKind kMaskKinds[] = {{"1. Microaneurysms", "MA", 2},
                                   {"2. Haemorrhages", "HE", 1},
                                   {"3. Hard Exudates", "EX", 0},
                                   {"4. Soft Exudates", "SE", 3},
                                   {"5. Optic Disc", "OD", -1}};
constexpr const char* kNote = "SYNTHETIC.txt";
constexpr const char* kNoteText =
    "These pictures are drawn by a program (lseg_prep synth). They are not IDRiD, whose folders "
    "and\n"
    "names they use, and they show no patient. Another run of the program with this output folder\n"
    "replaces everything in the two folders beside this file.\n";

// A file in memory for libtiff, so that disk errors are met, and named, in one place.
struct MemoryFile {
  std::vector<uint8_t> bytes;
  size_t at = 0;

  static MemoryFile& Of(thandle_t handle) { return *static_cast<MemoryFile*>(handle); }
  static tmsize_t Read(thandle_t handle, void* data, tmsize_t size) {
    MemoryFile& file = Of(handle);
    const size_t left = file.bytes.size() - std::min(file.at, file.bytes.size());
    const size_t n = std::min(left, static_cast<size_t>(size));
    std::memcpy(data, file.bytes.data() + file.at, n);
    file.at += n;
    return static_cast<tmsize_t>(n);
  }
  static tmsize_t Write(thandle_t handle, void* data, tmsize_t size) {
    MemoryFile& file = Of(handle);
    const size_t end = file.at + static_cast<size_t>(size);
    if (end > file.bytes.size()) file.bytes.resize(end);
    std::memcpy(file.bytes.data() + file.at, data, static_cast<size_t>(size));
    file.at = end;
    return size;
  }
  static toff_t Seek(thandle_t handle, toff_t offset, int whence) {
    MemoryFile& file = Of(handle);
    const size_t base = whence == SEEK_CUR ? file.at : whence == SEEK_END ? file.bytes.size() : 0;
    file.at = base + static_cast<size_t>(offset);
    return file.at;
  }
  static int Close(thandle_t) { return 0; }
  static toff_t Size(thandle_t handle) { return Of(handle).bytes.size(); }
};

// The mask as IDRiD's masks are encoded: one bit a pixel, uncompressed, a palette in which 1 is
// red.
std::vector<uint8_t> EncodeMask(const Image& mask) {
  MemoryFile file;
  TIFF* tiff =
      TIFFClientOpen("mask", "w", &file, MemoryFile::Read, MemoryFile::Write, MemoryFile::Seek,
                     MemoryFile::Close, MemoryFile::Size, nullptr, nullptr);
  LSEG_CHECK(tiff != nullptr, "libtiff cannot start a TIFF in memory");
  uint16_t red[2] = {0, 65535}, none[2] = {0, 0};
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, mask.width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, mask.height);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 1);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_PALETTE);
  TIFFSetField(tiff, TIFFTAG_COLORMAP, red, none, none);
  TIFFSetField(tiff, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, TIFFDefaultStripSize(tiff, 0));
  bool good = true;
  std::vector<uint8_t> bits((mask.width + 7) / 8);
  for (int y = 0; good && y < mask.height; ++y) {
    std::fill(bits.begin(), bits.end(), 0);
    for (int x = 0; x < mask.width; ++x) bits[x / 8] |= (mask.Row(y)[x] != 0) << (7 - x % 8);
    good = TIFFWriteScanline(tiff, bits.data(), static_cast<uint32_t>(y), 0) == 1;
  }
  good = TIFFFlush(tiff) == 1 && good;
  TIFFClose(tiff);
  LSEG_CHECK(good, "libtiff cannot encode a mask of " << mask.width << "x" << mask.height);
  return std::move(file.bytes);
}

void MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  LSEG_CHECK(!error, "cannot make the folder " << folder.string() << ": " << error.message());
}

// Empty folders and the note below out_dir; returns their parent.
fs::path PrepareFolders(const std::string& out_dir) {
  const fs::path top = fs::path(out_dir) / kTop;
  std::error_code error;
  if (fs::exists(top, error)) {
    LSEG_CHECK(fs::exists(top / kNote, error),
               top.string() << " exists and has no " << kNote
                            << ": it may hold real pictures; choose another output folder");
    for (const char* folder : {kPhotos, kMasks}) {
      fs::remove_all(top / folder, error);
      LSEG_CHECK(!error, "cannot empty " << (top / folder).string() << ": " << error.message());
    }
  }
  MakeFolder(top);
  WriteFile((top / kNote).string(), kNoteText);
  for (const char* part : kParts) {
    MakeFolder(top / kPhotos / part);
    for (const MaskKind& kind : kMaskKinds) MakeFolder(top / kMasks / part / kind.folder);
  }
  return top;
}

void WriteSample(const SyntheticFundus& sample, const fs::path& top, const char* part, int number) {
  const std::string stem =
      std::string("IDRiD_") + (number < 10 ? "0" : "") + std::to_string(number);
  WriteJpeg((top / kPhotos / part / (stem + ".jpg")).string(), sample.photo, kJpegQuality);
  for (const MaskKind& kind : kMaskKinds) {
    const Image& mask = kind.lesion < 0 ? sample.disc : sample.lesions[kind.lesion];
    const bool present = std::any_of(mask.pixels.begin(), mask.pixels.end(),
                                     [](uint8_t value) { return value != 0; });
    if (!present) continue;
    const std::vector<uint8_t> tiff = EncodeMask(mask);
    const fs::path path = top / kMasks / part / kind.folder / (stem + "_" + kind.suffix + ".tif");
    WriteFile(path.string(), {reinterpret_cast<const char*>(tiff.data()), tiff.size()});
  }
}

void CheckSize(int width, int height) {
  LSEG_CHECK(
      width >= 48 && height >= 32 && width <= 16384 && height <= 16384,
      "synthetic fundus: size " << width << "x" << height << " is outside 48x32 .. 16384x16384");
}

}  // namespace

SyntheticFundus RenderFundus(uint64_t seed, uint64_t index, int width, int height) {
  CheckSize(width, height);
  using synth::Part;
  const auto random = [&](Part part) { return synth::PartRandom(seed, index, part); };
  SyntheticFundus sample;
  for (Image& lesion : sample.lesions) lesion = Image(width, height, 1);
  sample.disc = Image(width, height, 1);

  const synth::Eye eye(random(Part::kEye), width, height);
  synth::Canvas canvas(eye, width, height);
  synth::DrawGround(eye, random(Part::kGround), canvas);
  synth::DrawDisc(eye, random(Part::kDisc), canvas, sample.disc);
  const synth::Vessels vessels = synth::GrowVessels(eye, random(Part::kVessels), canvas);
  synth::DrawVessels(eye, vessels, canvas);
  synth::DrawDecoys(eye, random(Part::kDecoys), canvas);
  synth::DrawLesions(eye, random(Part::kLesions), vessels, canvas, sample.lesions);
  sample.photo = synth::Photograph(eye, random(Part::kCamera), canvas);
  return sample;
}

void WriteSyntheticIdrid(const std::string& out_dir, int images, uint64_t seed, int width,
                         int height) {
  LSEG_CHECK(images >= 1, "a synthetic set of " << images << " images: at least 1 is needed");
  CheckSize(width, height);  // before anything is replaced
  const fs::path top = PrepareFolders(out_dir);
  const int training = images - images / 3;
  std::atomic<bool> failed = false;
  std::exception_ptr failure;  // the first: an exception must not leave a parallel region
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < images; ++i) {
    if (failed) continue;
    try {
      WriteSample(RenderFundus(seed, i, width, height), top, kParts[i >= training], i + 1);
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace lseg
