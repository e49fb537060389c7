// make_seeds DIR: writes the seeds that are no text, DIR/<target>/<name>: small files of each kind
// that the readers take, made by the project's own writers, libtiff, and byte by byte.
#include <tiffio.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>

#include "framework/caffemodel.h"
#include "framework/file.h"
#include "framework/proto/caffe.pb.h"
#include "lseg/image.h"
#include "lseg/npy.h"

namespace lseg {
namespace {

// <root>/<target>/<name>, its folder made.
std::string Place(const std::string& root, const char* target, const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(root) / target;
  std::filesystem::create_directories(folder);
  return (folder / name).string();
}

// Values 0 to `values` - 1, in slanted stripes.
Image Stripes(int width, int height, int channels, int values, int step = 1) {
  Image image(width, height, channels);
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    const size_t x = i / channels % width, y = i / channels / width;
    image.pixels[i] = static_cast<uint8_t>((x + 2 * y + i % channels) % values * step);
  }
  return image;
}

void WriteWeights(const std::string& root) {
  WeightsFile weights;
  weights.Add({"conv.weight", {2, 1, 1, 3}, {-1, 0.5, 2, INFINITY, 0, 3}});
  weights.Add({"conv.bias", {2}, {0.25, -0.25}});
  std::vector<std::string> left_out;
  WriteFile(Place(root, "caffemodel", "new.caffemodel"),
            SerializeCaffeModel(weights, {}, &left_out));
  weights.Add({"empty", {0, 4}, {}});
  weights.Add({"one", {}, {7}});
  weights.metadata["lseg.classes"] = "EX,HE";
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    weights.Write(Place(root, "safetensors", ToString(dtype) + ".safetensors"), dtype);
  }
  // As Caffe wrote before 2015: blobs of four dimensions, and layers that are skipped.
  caffe::NetParameter net;
  const auto layer_of = [&](caffe::V1LayerParameter::LayerType type, const char* name) {
    auto* layer = net.add_layers();
    layer->set_type(type);
    layer->set_name(name);
    for (const int width : {6, 2}) {
      auto* blob = layer->add_blobs();
      blob->set_num(1), blob->set_channels(1), blob->set_height(1), blob->set_width(width);
      for (int i = 0; i < width; ++i) blob->add_data(i);
    }
  };
  layer_of(caffe::V1LayerParameter::CONVOLUTION, "conv");
  layer_of(caffe::V1LayerParameter::INNER_PRODUCT, "fc6");
  WriteFile(Place(root, "caffemodel", "old.caffemodel"), net.SerializeAsString());
}

void WriteMeans(const std::string& root) {
  caffe::BlobProto blob;
  blob.set_num(1), blob.set_channels(3), blob.set_height(2), blob.set_width(4);
  for (int i = 0; i < 24; ++i) blob.add_data(i);
  WriteFile(Place(root, "mean_file", "old.binaryproto"), blob.SerializeAsString());
  for (const int dim : {3, 2, 4}) blob.mutable_shape()->add_dim(dim);
  WriteFile(Place(root, "mean_file", "new.binaryproto"), blob.SerializeAsString());
}

void WriteArrays(const std::string& root) {
  const std::vector<float> values(24, 0.5);
  WriteNpy(Place(root, "npy", "maps.npy"), {4, 2, 3}, values.data());
  WriteNpy(Place(root, "npy", "scalar.npy"), {}, values.data());
  WriteNpy(Place(root, "npy", "empty.npy"), {0, 3}, values.data());
  // Version 2, keys in another order.
  const std::string header = "{\"shape\":(2,),'fortran_order': False, 'descr':'<f4'}\n";
  WriteFile(Place(root, "npy", "version2.npy"),
            std::string("\x93NUMPY\2\0", 8) + static_cast<char>(header.size()) +
                std::string(3, '\0') + header + std::string(8, '\0'));
}

struct TiffKind {
  const char* name;
  int bits, samples, photometric, compression;
  bool tiled;
};

void WriteTiff(const std::string& path, const TiffKind& kind) {
  constexpr int kWidth = 19, kHeight = 17, kTile = 16;
  TIFF* tiff = TIFFOpen(path.c_str(), "w");
  LSEG_CHECK(tiff, path << ": cannot be written");
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, kWidth);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, kHeight);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, kind.bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, kind.samples);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, kind.compression);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, kind.photometric);
  if (kind.photometric == PHOTOMETRIC_PALETTE) {
    std::vector<uint16_t> red(1 << kind.bits, 65535), none(1 << kind.bits, 0);
    TIFFSetField(tiff, TIFFTAG_COLORMAP, red.data(), none.data(), none.data());
  }
  if (kind.samples == 4) {
    const uint16_t alpha = EXTRASAMPLE_UNASSALPHA;
    TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &alpha);
  }
  std::vector<uint8_t> bytes(kTile * kTile * 8, 0xff);
  if (kind.tiled) {
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, kTile);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, kTile);
    for (int i = 0; i < 4; ++i) TIFFWriteEncodedTile(tiff, i, bytes.data(), TIFFTileSize(tiff));
  } else {
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 7);
    for (int y = 0; y < kHeight; ++y) TIFFWriteScanline(tiff, bytes.data(), y, 0);
  }
  TIFFClose(tiff);
}

void WriteTiffs(const std::string& root) {
  const TiffKind kMasks[] = {
      {"palette1.tif", 1, 1, PHOTOMETRIC_PALETTE, COMPRESSION_NONE, false},
      {"gray8.tif", 8, 1, PHOTOMETRIC_MINISBLACK, COMPRESSION_PACKBITS, false},
      {"white4.tif", 4, 1, PHOTOMETRIC_MINISWHITE, COMPRESSION_NONE, false},
      {"rgba.tif", 8, 4, PHOTOMETRIC_RGB, COMPRESSION_LZW, false},
      {"tiles.tif", 8, 1, PHOTOMETRIC_MINISBLACK, COMPRESSION_ADOBE_DEFLATE, true},
      {"fax.tif", 1, 1, PHOTOMETRIC_MINISWHITE, COMPRESSION_CCITTFAX4, false}};
  for (const TiffKind& kind : kMasks) WriteTiff(Place(root, "tiff_mask", kind.name), kind);
  const TiffKind kPhotos[] = {
      {"rgb8.tif", 8, 3, PHOTOMETRIC_RGB, COMPRESSION_LZW, false},
      {"rgb16.tif", 16, 3, PHOTOMETRIC_RGB, COMPRESSION_NONE, true},
      {"gray16.tif", 16, 1, PHOTOMETRIC_MINISBLACK, COMPRESSION_NONE, false}};
  for (const TiffKind& kind : kPhotos) WriteTiff(Place(root, "photo", kind.name), kind);
}

std::string LittleEndian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i);
  return text;
}

// Of 5x3 pixels; `bits` 8 with a palette of two colours, or 24.
std::string Bmp(int bits) {
  const std::string palette = bits == 8 ? std::string("\0\0\0\0\0\0\xff\0", 8) : "";
  const std::string pixels((bits * 5 + 31) / 32 * 4 * 3, '\1');
  const auto start = static_cast<uint32_t>(54 + palette.size());
  return "BM" + LittleEndian(start + pixels.size(), 4) + LittleEndian(0, 4) +
         LittleEndian(start, 4) + LittleEndian(40, 4) + LittleEndian(5, 4) + LittleEndian(3, 4) +
         LittleEndian(1, 2) + LittleEndian(bits, 2) + LittleEndian(0, 4) +
         LittleEndian(pixels.size(), 4) + LittleEndian(0, 8) + LittleEndian(palette.size() / 4, 4) +
         LittleEndian(0, 4) + palette + pixels;
}

void WriteImages(const std::string& root) {
  WriteIndexedPng(Place(root, "png_label", "classes.png"), Stripes(9, 7, 1, 5));
  WritePng(Place(root, "png_label", "gray_classes.png"), Stripes(9, 7, 1, 5));
  WritePng(Place(root, "png_label", "mask.png"), Stripes(9, 7, 1, 2, 255));
  WritePng(Place(root, "png_label", "colours.png"), Stripes(9, 7, 3, 2, 255));
  WriteTiffs(root);
  WriteJpeg(Place(root, "photo", "rgb.jpg"), Stripes(17, 11, 3, 40, 6), 80);
  WriteJpeg(Place(root, "photo", "gray.jpg"), Stripes(17, 11, 1, 40, 6), 50);
  WritePng(Place(root, "photo", "rgb.png"), Stripes(17, 11, 3, 40, 6));
  WriteFile(Place(root, "photo", "palette.bmp"), Bmp(8));
  WriteFile(Place(root, "photo", "rgb.bmp"), Bmp(24));
  // A JPEG that EXIF turns by 90 degrees: the segment behind the start of image.
  const std::string jpeg = ReadFile(Place(root, "photo", "rgb.jpg"));
  const std::string exif = std::string("Exif\0\0MM\0*\0\0\0\x08\0\1", 16) +
                           std::string("\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0", 16);
  WriteFile(Place(root, "photo", "turned.jpg"), jpeg.substr(0, 2) + std::string("\xff\xe1\0", 3) +
                                                    static_cast<char>(exif.size() + 2) + exif +
                                                    jpeg.substr(2));
}

}  // namespace
}  // namespace lseg

int main(int argc, char** argv) {
  try {
    LSEG_CHECK(argc == 2, "usage: make_seeds DIR");
    lseg::WriteWeights(argv[1]);
    lseg::WriteMeans(argv[1]);
    lseg::WriteArrays(argv[1]);
    lseg::WriteImages(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_seeds: %s\n", error.what());
    return 1;
  }
}
