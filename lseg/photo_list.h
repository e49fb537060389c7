// Which photographs an argument means, and what the files made from each are called.
#pragma once

#include <string>
#include <vector>

namespace lseg {

struct PhotoFile {
  std::string path;
  std::string name;  // outputs are <name>.label.png and so on
};

struct PhotoList {
  std::vector<PhotoFile> photos;
  // Files of a folder whose extension is none of a photograph, each with why it is passed over:
  // "a.dcm: a DICOM file, which is not read: export it as PNG or TIFF".
  std::vector<std::string> skipped;
};

// Extensions that a folder is searched for, in any case: .jpg .jpeg .png .tif .tiff .bmp
bool HasPhotoExtension(const std::string& path);

// `input` is one photograph (whatever its extension), a folder (all in it but folders, sorted by
// name; what is no photograph by its extension is named in `skipped`), or a list (.txt, as in
// lseg/dataset.h, the labels may be left out), whose images are taken. A path that is listed
// twice, as eye.jpg and ./eye.jpg, is taken once. Throws Error where `input` is not there, or holds
// no photograph.
PhotoList ListPhotos(const std::string& input);

// What photographs are called that are taken together. A photograph's name is its stem. Where
// several photographs share it, as a.jpg and a.png do, each of them is named with its extension
// ("a.jpg"); where they still share it, as x/a.jpg and y/a.jpg of a list do, with its whole path,
// '/' written as '_'. No two photographs have the same name, so that nothing is overwritten: where
// that cannot be had, an Error names both.
std::vector<std::string> PhotoNames(const std::vector<std::string>& paths);

}  // namespace lseg
