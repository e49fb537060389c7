// What the readers of datasets' layouts share.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "lseg/set_image.h"

namespace lseg {

// Extensions, in lower case.
inline const std::set<std::string> kPhotoFiles = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"};
inline const std::set<std::string> kTruthFiles = {".tif", ".tiff", ".png"};

// The extension in lower case: ".jpg" of "a.JPG".
std::string LowerExtension(const std::filesystem::path& path);

// Paths of the folder's files with one of the extensions in any case, by stem. Hidden files, as
// some systems leave beside every file, do not count. An Error where the folder is missing, or two
// files have one stem.
std::map<std::string, std::filesystem::path> FilesByStem(const std::filesystem::path& folder,
                                                         const std::set<std::string>& extensions);

// The folder's own folders, by name. An Error where it is missing.
std::set<std::filesystem::path> FoldersOf(const std::filesystem::path& folder);

// An Error where two images have one stem, or there is none at all in `root`.
void CheckStems(const std::string& root, const std::vector<SetImage>& images);

}  // namespace lseg
