// The folder of a report on a batch of photographs, written as they come:
//   index.html         the page, which shows all the rest
//   report.csv         a row a photograph and lesion; failures, too
//   components.csv     a row a connected component
//   json/NAME.json     all of a photograph
//   images/, page/     what the page is made of
// Files of photographs are written one by one, each as a whole; the page and the tables, which
// speak of all, at the end. One photograph's files are in memory at a time, and a line for the
// list. An earlier run's page and tables are removed before the first photograph's files, which may
// replace some that they speak of: a run that is stopped leaves no page. Two runs into one folder
// at a time leave whole files of either.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "framework/new_file.h"
#include "lseg/dataset.h"
#include "lseg/landmarks.h"
#include "lseg/lesion_report.h"
#include "lseg/photo_list.h"
#include "lseg/probabilities.h"
#include "lseg/report_page.h"

namespace lseg {

struct ReportOptions {
  std::string folder;  // made with its parents
  std::vector<std::string> classes;
  std::vector<float> thresholds;            // of the classes (ClassMap)
  std::vector<std::string> landmark_files;  // may be empty (ReadLandmarks)
  std::string truth_list;                   // a list (lseg/dataset.h), or empty
  int64_t max_pixels = kMaxPixels;          // larger truths are refused
};

// A list of photographs with their truth, and which of them came.
class TruthList {
 public:
  explicit TruthList(const std::string& list);  // empty: none. Errors as ReadList's
  bool empty() const { return entries_.empty(); }
  // Of a photograph; null where the list has none. It has come then.
  const ListEntry* Take(const PhotoFile& file);
  std::vector<std::string> Unused() const;  // names of those that did not come

 private:
  std::vector<ListEntry> entries_;
  std::vector<std::string> names_;                   // PhotoNames
  std::map<std::string, size_t> by_path_, by_name_;  // canonical paths
  std::set<size_t> used_;
};

class ReportFolder {
 public:
  // Reads landmarks and list and makes the folder: an Error says what is wrong with them before any
  // work is done.
  explicit ReportFolder(ReportOptions options);

  // A photograph of width x height that was segmented; photo and class_map may have been made at
  // another size, and are then both of that one: what is reported is the class map at the
  // photograph's own size, made by the same rule (ResizedClassMap). The truth is that of the list's
  // image that is the same file, else of that of the same name (PhotoNames).
  void Measure(const PhotoFile& file, int width, int height, const Image& photo,
               const Probabilities& probabilities, const Image& class_map);
  // Then, or instead of it, once for each photograph in the order in which they are told of. error:
  // why its maps are not there, or empty. Where its JSON cannot be written then, its row says so.
  void Done(const PhotoFile& file, const std::string& error);
  void Finish();

  // The most bytes that Measure takes for a photograph.
  int64_t Memory(int width, int height) const;

  // Names of the list's photographs that were not measured.
  std::vector<std::string> UnusedTruth() const { return truth_.Unused(); }
  // Of landmarks, those of which no photograph was told.
  const std::set<std::string>& UnusedLandmarks() const { return unused_landmarks_; }

 private:
  void Begin();  // before the first photograph
  std::string JsonPath(const PhotoFile& file) const;

  ReportOptions options_;
  LandmarkTable landmarks_;
  std::set<std::string> unused_landmarks_;  // their names
  TruthList truth_;
  bool begun_ = false;
  PhotoLesions measured_;  // by the last Measure, if Done has not come yet
  std::unique_ptr<NewFile> images_, components_;
  PageKeys keys_;
  std::vector<std::string> list_;
};

}  // namespace lseg
