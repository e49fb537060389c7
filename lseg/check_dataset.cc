#include "lseg/check_dataset.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "lseg/check_masks.h"
#include "lseg/contact_sheet.h"
#include "lseg/dataset.h"
#include "lseg/ddr.h"
#include "lseg/eophtha.h"
#include "lseg/idrid.h"
#include "lseg/photo_list.h"
#include "lseg/sha256.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLesions = kLesionNames.size();

// An image and where its truth stands.
struct Item {
  std::string photo, label;                 // label: empty where there are only masks
  std::array<std::string, kLesions> masks;  // empty: there is no such file
  // Whether somebody has looked for the lesion; one that was not is neither there nor missing.
  std::array<bool, kLesions> annotated = {true, true, true, true};
  bool lists_masks = false;  // its line names them
};

struct Split {
  std::string name;
  bool published = false;
  std::vector<Item> items;
};

// What is noted once a split, with the images it is true of.
struct Tally {
  std::string what;
  std::vector<std::string> images;
};

std::string Names(const std::vector<std::string>& names) {
  constexpr size_t kMost = 5;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > kMost) text += " and " + std::to_string(names.size() - kMost) + " more";
  return text;
}

std::string Size(const Image& image) {
  return std::to_string(image.width) + "x" + std::to_string(image.height);
}

bool IsFile(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string Canonical(const std::string& path) {
  std::error_code error;
  const fs::path canonical = fs::weakly_canonical(path, error);
  return error ? path : canonical.string();
}

class Doctor {
 public:
  Doctor(int64_t max_pixels, const std::function<void(const Finding&)>& on_finding)
      : max_pixels_(max_pixels), on_finding_(on_finding) {}

  void AddInput(const std::string& path) {
    std::error_code ignored;
    try {
      if (fs::is_directory(path, ignored)) {
        AddFolder(path);
      } else {
        LSEG_CHECK(!HasPhotoExtension(path), path
                                                 << ": is an image by its name: name the folder or "
                                                    "the list that it belongs to");
        AddList(path);
      }
    } catch (const std::exception& error) {  // a file system's errors, too
      Fault(error.what());
    }
  }

  CheckReport Check(bool sheet) {
    int64_t images = 0;
    for (const Split& split : splits_) images += static_cast<int64_t>(split.items.size());
    if (sheet) sheet_.emplace(images);
    for (const Split& split : splits_) CheckSplit(split);
    if (sheet) report_.sheet = sheet_->Draw();
    return std::move(report_);
  }

 private:
  void Fault(const std::string& text) {
    ++report_.errors;
    on_finding_({true, text});
  }
  void Note(const std::string& text) {
    ++report_.notes;
    on_finding_({false, text});
  }

  void AddList(const std::string& path) {
    std::vector<std::string> problems;
    Split split = {path, false, {}};
    for (const ListEntry& entry : ReadList(path, &problems)) {
      Item item = {entry.image, entry.label, {}};
      if (!entry.masks.empty() && !TakeMasks(path, entry, item)) continue;
      for (size_t c = 0; c < kLesions && entry.masks.empty(); ++c) {
        const std::string mask = MaskPath(entry.label, kLesionNames[c]);
        if (fs::exists(mask)) item.masks[c] = mask;
      }
      split.items.push_back(std::move(item));
    }
    for (const std::string& problem : problems) Fault(problem);
    splits_.push_back(std::move(split));
  }

  // The masks that a line names.
  bool TakeMasks(const std::string& list, const ListEntry& entry, Item& item) {
    if (entry.masks.size() != kLesions || TruthPath(entry).empty()) {
      Fault(entry.image + ": its line in " + list + " names " + std::to_string(entry.masks.size()) +
            " masks: give four, EX HE MA SE, with - for a lesion that nobody has looked for, and "
            "one that is none at the least");
      return false;
    }
    item.lists_masks = true;
    for (size_t c = 0; c < kLesions; ++c) {
      item.masks[c] = entry.masks[c];
      item.annotated[c] = !entry.masks[c].empty();
    }
    return true;
  }

  void AddFolder(const std::string& path) {
    bool any = false;
    for (const char* name : {"train.txt", "val.txt", "test.txt"}) {
      const std::string list = (fs::path(path) / name).string();
      if (!IsFile(list)) continue;
      any = true;
      AddInput(list);
    }
    if (any) return;
    const bool idrid = IsIdrid(path), ddr = IsDdr(path);
    LSEG_CHECK(idrid || ddr || IsEophtha(path),
               path << ": holds neither train.txt, val.txt or test.txt nor IDRiD's 'A. "
                       "Segmentation', DDR's 'lesion_segmentation' or e-ophtha's 'e_optha_EX' or "
                       "'e_optha_MA': name a list, or prepare the set with lseg_prep build");
    Split parts[3] = {{path + ", training part", true, {}},
                      {path + ", validation part", true, {}},
                      {path + ", testing part", true, {}}};
    for (const SetImage& image : idrid ? FindIdrid(path)
                                 : ddr ? FindDdr(path)
                                       : FindEophtha(path)) {
      Item item = {image.photo, "", image.masks};
      item.annotated = image.annotated;
      parts[static_cast<int>(image.part)].items.push_back(std::move(item));
    }
    for (Split& part : parts) {
      if (!part.items.empty()) splits_.push_back(std::move(part));
    }
  }

  void CheckSplit(const Split& split) {
    SplitSummary& summary = report_.splits.emplace_back();
    summary.name = split.name;
    summary.listed = static_cast<int>(split.items.size());
    without_lesions_ = {"without any lesion", {}};
    overlapping_ = {"with lesions that overlap", {}};
    for (size_t c = 0; c < kLesions; ++c) {
      no_mask_[c] = {
          std::string("without a mask of ") + kLesionNames[c] + ", which stands for no such lesion",
          {}};
      not_annotated_[c] = {std::string("not annotated for ") + kLesionNames[c], {}};
    }
    any_masks_ = false;
    class_map_only_ = {"with a class map but no masks, unlike others of the split", {}};
    for (const Item& item : split.items) CheckItem(split, item, summary);
    if (!any_masks_) class_map_only_.images.clear();  // a set of class maps, as it may be
    const auto note = [&](const Tally& tally) {
      if (tally.images.empty()) return;
      Note(split.name + ": " + std::to_string(tally.images.size()) + " of " +
           std::to_string(summary.listed) + " images " + tally.what + ": " + Names(tally.images));
    };
    note(without_lesions_);
    note(overlapping_);
    for (const Tally& tally : no_mask_) note(tally);
    for (const Tally& tally : not_annotated_) note(tally);
    note(class_map_only_);
  }

  void CheckItem(const Split& split, const Item& item, SplitSummary& summary) {
    if (!IsNew(split, item.photo)) return;
    const std::string hint = "; restore the file, or take its image out of " + split.name;
    bool there = true;
    std::vector<std::string> listed = {item.photo, item.label};
    if (item.lists_masks) listed.insert(listed.end(), item.masks.begin(), item.masks.end());
    for (const std::string& path : listed) {
      if (path.empty() || IsFile(path)) continue;
      Fault(path + ": is listed, but there is no such file" + hint);
      there = false;
    }
    std::optional<Image> photo;
    if (IsFile(item.photo)) photo = ReadPhotoOnce(item.photo, hint);
    const std::optional<std::vector<Image>> masks =
        there ? CheckTruth(split, item, photo, hint) : std::nullopt;
    if (!photo) return;
    if (!masks) {
      if (sheet_) sheet_->Add(*photo, nullptr, Stem(item.photo));
      return;
    }
    AddUp(item, *masks, summary);
    if (sheet_) {
      const Image map = ComposeClassMap(*masks);
      sheet_->Add(*photo, &map, Stem(item.photo));
    }
  }

  // False where the split lists the image for the second time.
  bool IsNew(const Split& split, const std::string& photo) {
    const auto [other, added] = split_of_.emplace(Canonical(photo), split.name);
    if (added) return true;
    if (other->second == split.name) {
      Fault(photo + ": is listed twice in " + split.name + "; remove one of the lines");
      return false;
    }
    Fault(photo + ": is in two splits, " + other->second + " and " + split.name +
          "; remove it from one of them");
    return true;
  }

  // What read() gives; nothing, and an error that ends in the hint, where it throws.
  template <typename Read>
  std::optional<Image> Readable(const Read& read, const std::string& hint) {
    try {
      return read();
    } catch (const Error& error) {
      Fault(error.what() + hint);
      return std::nullopt;
    }
  }

  std::optional<Image> ReadPhotoOnce(const std::string& path, const std::string& hint) {
    std::optional<Image> photo =
        Readable([&] { return std::optional(ReadPhoto(path, max_pixels_)); }, hint);
    if (!photo) return photo;
    const std::string sum =
        Size(*photo) + " " +
        Sha256({reinterpret_cast<const char*>(photo->pixels.data()), photo->pixels.size()});
    const std::string& other = photo_of_.emplace(sum, path).first->second;
    // An image in two splits is compared once.
    if (compared_.insert(Canonical(path)).second && Canonical(other) != Canonical(path)) {
      Fault(path + ": has the same pixels as " + other + "; keep one of the two");
    }
    return photo;
  }

  // All four masks, or nothing where any part of the truth is at fault.
  std::optional<std::vector<Image>> CheckTruth(const Split& split, const Item& item,
                                               const std::optional<Image>& photo,
                                               const std::string& hint) {
    const int64_t errors = report_.errors;
    const OnProblem fault = [&](const std::string& text) { Fault(text); };
    const OnProblem note = [&](const std::string& text) { Note(text); };
    const auto fits = [&](const Image& image, const std::string& path) {
      if (!photo || (image.width == photo->width && image.height == photo->height)) return;
      Fault(path + ": is " + Size(image) + ", its photograph " + Size(*photo) +
            "; they must be of one size");
    };
    std::vector<Image> masks;
    const size_t missing = std::count(item.masks.begin(), item.masks.end(), "");
    const bool has_masks = item.label.empty() || missing < kLesions;
    any_masks_ |= has_masks;
    if (!item.label.empty()) {
      const std::optional<Image> map =
          Readable([&] { return CheckClassMap(item.label, max_pixels_, fault); }, hint);
      if (map) fits(*map, item.label);
      if (map && !has_masks) {
        masks = SplitMap(*map);
        for (size_t c = 0; c < kLesions; ++c) CheckShare(masks[c], c, item.label);
      }
      if (!has_masks) class_map_only_.images.push_back(Stem(item.photo));
    }
    for (size_t c = 0; c < kLesions && has_masks; ++c) {
      if (item.masks[c].empty()) {
        if (!item.annotated[c]) {
          not_annotated_[c].images.push_back(Stem(item.photo));
        } else {
          Missing(split, item, c);
        }
        if (photo) masks.emplace_back(photo->width, photo->height, 1);
        continue;
      }
      std::optional<Image> mask = Readable(
          [&] { return CheckMask(item.masks[c], max_pixels_, split.published, fault, note); },
          hint);
      if (!mask) continue;
      fits(*mask, item.masks[c]);
      CheckShare(*mask, c, item.masks[c]);
      masks.push_back(std::move(*mask));
    }
    if (!photo || report_.errors != errors) return std::nullopt;
    return masks;
  }

  // A published set has no file where the eye has no such lesion; a list means four, or none.
  void Missing(const Split& split, const Item& item, size_t lesion) {
    if (split.published) {
      no_mask_[lesion].images.push_back(Stem(item.photo));
    } else {
      Fault(MaskPath(item.label, kLesionNames[lesion]) +
            ": is missing, while other masks of the image are there; give a mask for every lesion "
            "(all 0 where there is none), or none at all");
    }
  }

  void CheckShare(const Image& mask, size_t lesion, const std::string& path) {
    const int64_t lesion_pixels = std::count(mask.pixels.begin(), mask.pixels.end(), 255);
    const double share = static_cast<double>(lesion_pixels) / mask.pixels.size();
    if (share <= kLargestShare) return;
    char text[160];
    std::snprintf(text, sizeof(text),
                  ": %s covers %.1f %% of the image, more than %.0f %%: look whether the mask is "
                  "inverted, or marks something else",
                  kLesionNames[lesion], 100 * share, 100 * kLargestShare);
    Fault(path + text);
  }

  static std::vector<Image> SplitMap(const Image& map) {
    std::vector<Image> masks(kLesions, Image(map.width, map.height, 1));
    for (size_t i = 0; i < map.pixels.size(); ++i) {
      if (map.pixels[i] != 0) masks[map.pixels[i] - 1].pixels[i] = 255;
    }
    return masks;
  }

  void AddUp(const Item& item, const std::vector<Image>& masks, SplitSummary& summary) {
    const std::string stem = Stem(item.photo);
    int64_t any = 0, more_than_one = 0;
    std::array<int64_t, kLesions> counts = {};
    for (size_t i = 0; i < masks[0].pixels.size(); ++i) {
      int here = 0;
      for (size_t c = 0; c < kLesions; ++c) {
        const int lesion = masks[c].pixels[i] != 0;
        counts[c] += lesion;
        here += lesion;
      }
      any += here > 0;
      more_than_one += here > 1;
    }
    ++summary.images;
    for (size_t c = 0; c < kLesions; ++c) {
      if (item.annotated[c]) summary.pixels[c] += static_cast<int64_t>(masks[c].pixels.size());
      summary.lesion_pixels[c] += counts[c];
      summary.with_lesion[c] += counts[c] > 0;
    }
    if (any == 0) without_lesions_.images.push_back(stem);
    if (more_than_one > 0) {
      overlapping_.images.push_back(stem + " (" + std::to_string(more_than_one) + " px)");
    }
  }

  const int64_t max_pixels_;
  const std::function<void(const Finding&)>& on_finding_;
  std::vector<Split> splits_;
  CheckReport report_;
  std::optional<ContactSheet> sheet_;
  std::map<std::string, std::string> split_of_;  // by a photograph's canonical path
  std::map<std::string, std::string> photo_of_;  // by the sum of its pixels
  std::set<std::string> compared_;               // canonical paths
  // Of the split that is being checked.
  bool any_masks_ = false;
  Tally without_lesions_, overlapping_, class_map_only_;
  std::array<Tally, kLesions> no_mask_, not_annotated_;
};

}  // namespace

CheckReport CheckDataset(const std::vector<std::string>& inputs, bool sheet, int64_t max_pixels,
                         const std::function<void(const Finding&)>& on_finding) {
  Doctor doctor(max_pixels, on_finding);
  for (const std::string& input : inputs) doctor.AddInput(input);
  return doctor.Check(sheet);
}

}  // namespace lseg
