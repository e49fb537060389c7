// What is told of the lesions of one photograph, and its text: JSON, and rows of two CSVs. The
// schema "lseg-report 1" is described in lseg/report/README.md; a field that changes its meaning or
// goes makes it 2, one that is added does not.
#pragma once

#include <string>
#include <vector>

#include "lseg/components.h"
#include "lseg/field_of_view.h"
#include "lseg/landmarks.h"

namespace lseg {

inline constexpr char kReportSchema[] = "lseg-report 1";

struct PhotoLesions {
  std::string name, file;  // as outputs are called; as it was given
  std::string error;       // why there is nothing else; empty where there is
  int width = 0, height = 0;
  std::vector<std::string> classes;
  std::vector<float> thresholds;  // of the classes
  FieldOfView view;
  Landmarks landmarks;
  std::vector<Component> components;  // FindComponents'
};

// Of one class.
struct LesionTotal {
  int64_t count = 0, area = 0;
  double area_percent = 0;      // of the field of view
  double mean_probability = 0;  // over all its pixels; 0 where there are none
  float max_probability = 0;
  int64_t quadrants[4] = {0, 0, 0,
                          0};  // components: upper left, upper right, lower left, lower right
};
std::vector<LesionTotal> Totals(const PhotoLesions& photo);

// Pretty-printed, a component a line. Coordinates are rounded to 0.01 pixels, probabilities to
// 0.0001, per cent to 1e-5. Bytes of names that are no UTF-8 are replaced.
std::string LesionsJson(const PhotoLesions& photo);
// The same in one line, for programs.
std::string LesionsJsonLine(const PhotoLesions& photo);

// CSV (RFC 4180, but lines end in LF), UTF-8 as the JSON is: a row an image and lesion, one for a
// photograph that failed.
std::string ImageCsvHeader();
std::string ImageCsvRows(const PhotoLesions& photo);
// A row a component.
std::string ComponentCsvHeader();
std::string ComponentCsvRows(const PhotoLesions& photo);

}  // namespace lseg
