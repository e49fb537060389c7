// The files of a report's page (lseg/report/): what it shows of each photograph, and the page
// itself. Scripts, not JSON: pages from file:// may load scripts and pictures, but neither fetch
// files nor read the pixels of pictures that are files.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "lseg/image.h"
#include "lseg/lesion_report.h"
#include "lseg/probabilities.h"

namespace lseg {

// Sides of the pictures that a page gets are reduced to these at most, in pixels: the photograph,
// its maps, and its thumbnail.
inline constexpr int kPagePhotoSide = 2160, kPageMapSide = 1440, kPageThumbSide = 360;

// What a photograph's files of the page are called, fit for any URL and file system: letters,
// digits, '.', '-' and '_' of its name, ~ and two hexadecimal digits for each other byte; a long
// name is cut and ends in a part of its SHA-256. Names that differ have keys that differ; no key is
// another one with "~thumb" behind it.
std::string PageKey(const std::string& name);

// The keys of one report: PageKey's, but that of a name whose key is an earlier name's in other
// case ends in a part of its SHA-256, too: there are file systems that do not tell them apart.
class PageKeys {
 public:
  const std::string& Of(const std::string& name);  // the same each time

 private:
  std::map<std::string, std::string> keys_;  // by name
  std::set<std::string> lower_case_;
};

// Writes images/<key>.jpg, <key>~thumb.jpg and <key>.js into the folder. photo and class_map are of
// one size; probabilities may have another one; truth: ReadTruth's, or empty.
// The script calls lsegImage with
//   {"schema": "lseg-page 1", "report": LesionsJson, "photo": "images/<key>.jpg",
//    "map": {"width", "height", "png": {"EX": "data:image/png;base64,...", ...}},
//    "truth": null, or "data:..." of a gray PNG of the map's size, bit c set for class c,
//    "annotated": [...]}, with a truth: for which classes it is one
// Gray of the maps: GrayOf. Throws Error where truth has another shape than the photograph.
void WritePageImage(const std::string& folder, const std::string& key, const PhotoLesions& lesions,
                    const Image& photo, const Probabilities& probabilities, const Image& class_map,
                    const std::vector<Image>& truth);

// The line of a photograph in the list, a JSON object: {"name", "key", "count": [...] and
// "percent": [...] by class, "doubt", or "error"}.
std::string PageListItem(const std::string& key, const PhotoLesions& lesions);

// Writes page/list.js, the page's own style and scripts beside it, and last index.html.
void WritePage(const std::string& folder, const std::vector<std::string>& classes,
               const std::vector<std::string>& list_items);

}  // namespace lseg
