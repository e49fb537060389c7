// Prepared datasets: lists of photographs with their labels, and the truth in its two forms.
//
// A list is a text file; a line is `images/x.png labels/x.png`, relative to the list's folder.
// Between the two stands a tab or a space; paths with spaces are read where there is a tab, or
// where only one way to cut the line in two gives files that exist. Empty lines and lines that
// begin with # do not count. The label is a class map (0 background, c + 1 for class c). Where
// masks/<stem>_<class>.png stand beside the folder of the label, for every class, they are the
// truth: classes may then overlap.
//
// Or a line names a mask for each class, in the classes' order, in the label's place:
// `images/x.png m/x_EX.png m/x_HE.png m/x_MA.png m/x_SE.png`. A `-` in a mask's place says that
// nobody has looked for that lesion in the image, which is not the same as a mask without pixels:
// evaluation and training then leave it out. Of one class a line of masks is a line of a label, and
// the label may be a mask: 255 is then the class, unless the map has pixels of 1.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "lseg/image.h"

namespace lseg {

// Classes 1 to 4 of class maps, and the order of masks and channels everywhere: hard exudates,
// haemorrhages, microaneurysms, soft exudates. (Other toolkits put SE before MA.)
inline constexpr std::array<const char*, 4> kLesionNames = {"EX", "HE", "MA", "SE"};

struct ListEntry {
  std::string image, label;  // paths, the list's folder included
  // In the label's place, a path a class; empty: the image is not annotated for it.
  std::vector<std::string> masks = {};
};

// Throws Error with the list and the line for a line that is neither of the two, and for an empty
// list.
// Whether the files exist is found out when they are read (but see above for spaces).
std::vector<ListEntry> ReadList(const std::string& path);

// From a path as it is listed to the file that it means.
using PathResolver = std::function<std::string(const std::string&)>;
// As above, but what the paths are relative to is the resolver's affair.
std::vector<ListEntry> ReadList(const std::string& path, const PathResolver& resolve);

// As the first, but a line that cannot be read is left out and said in `problems`, one line of
// text each; an Error where the list itself cannot be read or has no line.
std::vector<ListEntry> ReadList(const std::string& path, std::vector<std::string>* problems);

// The images alone: labels need not exist, and may be left out. A line with spaces but no tab is
// then read as the one way, of a cut in two or none, that gives files that exist.
std::vector<std::string> ReadImageList(const std::string& path);

// Stem of a path: "out/images/IDRiD_01.png" -> "IDRiD_01".
std::string Stem(const std::string& path);

// Where a class' mask stands, if there is one: "out/labels/x.png", "EX" -> "out/masks/x_EX.png".
std::string MaskPath(const std::string& label, const std::string& name);

// One mask (0 or 255) a class, all of one size: from the masks that the line names, or those beside
// the label, or else from the class map. Of a class that the image is not annotated for, an Image
// without pixels; one has pixels at the least. Throws Error where only some of the masks are there,
// where sizes differ, and where the class map has a class beyond the last.
std::vector<Image> ReadTruth(const ListEntry& entry, const std::vector<std::string>& classes,
                             int64_t max_pixels = kMaxPixels);

// One mask a class from a class map alone, or of one class from a mask, whatever stands beside it.
std::vector<Image> MasksOfClassMap(const std::string& path, size_t classes,
                                   int64_t max_pixels = kMaxPixels);

// Of a truth: the first mask with pixels, which has the size of all; which classes have them.
const Image& AnyMask(const std::vector<Image>& masks);
std::vector<bool> Annotated(const std::vector<Image>& masks);
// What a message calls the truth: the label, or the first mask.
std::string TruthPath(const ListEntry& entry);
// An Error where the truth has another size than its photograph.
void CheckTruthFits(const ListEntry& entry, const std::vector<Image>& masks, const Image& photo);
// A truth that fits as planes, one after another; zeros for a class that the image is not annotated
// for.
std::vector<uint8_t> TruthPlanes(const ListEntry& entry, const std::vector<Image>& masks,
                                 const Image& photo);

// Class map of masks in the order EX HE MA SE. Where they overlap, MA stands over HE over SE over
// EX: the smaller thing stays visible.
Image ComposeClassMap(const std::vector<Image>& masks);

}  // namespace lseg
