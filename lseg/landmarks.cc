#include "lseg/landmarks.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "framework/file.h"
#include "framework/text.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

// Letters and digits alone, lower case.
std::string Plain(const std::string& text) {
  std::string plain;
  for (const unsigned char c : text) {
    if (std::isalnum(c)) plain += static_cast<char>(std::tolower(c));
  }
  return plain;
}

std::string Trim(const std::string& text) {
  constexpr char kBlanks[] = " \t\r\"";
  const size_t begin = text.find_first_not_of(kBlanks);
  return begin == std::string::npos
             ? ""
             : text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::vector<std::string> Fields(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream stream(line);
  for (std::string field; std::getline(stream, field, ',');) fields.push_back(Trim(field));
  return fields;
}

// Columns of a CSV; -1 where it lacks one.
struct Columns {
  int image = -1, disc_x = -1, disc_y = -1, fovea_x = -1, fovea_y = -1;
};

Columns ReadHeader(const std::string& path, const std::string& line) {
  Columns columns;
  int x = -1, y = -1;
  const std::vector<std::string> names = Fields(line);
  for (int i = 0; i < static_cast<int>(names.size()); ++i) {
    const std::string name = Plain(names[i]);
    if (name == "image" || name == "imageno" || name == "name") columns.image = i;
    if (name == "discx") columns.disc_x = i;
    if (name == "discy") columns.disc_y = i;
    if (name == "foveax") columns.fovea_x = i;
    if (name == "foveay") columns.fovea_y = i;
    if (name == "xcoordinate") x = i;
    if (name == "ycoordinate") y = i;
  }
  if (x >= 0 && y >= 0) {
    const std::string file = fs::path(path).filename().string();
    const bool fovea = Plain(file).find("fovea") != std::string::npos;
    const bool disc =
        Plain(file).find("disc") != std::string::npos || file.find("OD") != std::string::npos;
    LSEG_CHECK(fovea != disc, path << ": X and Y of what? Its name has to say OD or Fovea");
    (fovea ? columns.fovea_x : columns.disc_x) = x;
    (fovea ? columns.fovea_y : columns.disc_y) = y;
  }
  LSEG_CHECK(columns.image >= 0 && (columns.disc_x >= 0) == (columns.disc_y >= 0) &&
                 (columns.fovea_x >= 0) == (columns.fovea_y >= 0) &&
                 (columns.disc_x >= 0 || columns.fovea_x >= 0),
             path << ":1: no landmarks: the header must be image,disc_x,disc_y,fovea_x,fovea_y (or "
                     "some of it), or IDRiD's Image No,X- Coordinate,Y - Coordinate");
  return columns;
}

// The point of two columns; none where both are missing or empty.
std::optional<ImagePoint> PointOf(const std::vector<std::string>& fields, int x, int y,
                                  const std::string& where) {
  const auto field = [&](int i) {
    return i >= 0 && i < static_cast<int>(fields.size()) ? fields[i] : "";
  };
  if (field(x).empty() && field(y).empty()) return std::nullopt;
  const auto number = [&](const std::string& text) {
    std::istringstream stream(text);
    double value = 0;
    LSEG_CHECK(stream >> value && stream.eof() && std::isfinite(value),
               where << ": '" << Printable(text) << "' is no coordinate");
    return value;
  };
  return ImagePoint{number(field(x)), number(field(y))};
}

void Merge(const std::string& name, const Landmarks& found, LandmarkTable* table) {
  Landmarks& entry = (*table)[name];
  if (found.disc) entry.disc = found.disc;
  if (found.fovea) entry.fovea = found.fovea;
}

void ReadCsv(const std::string& path, LandmarkTable* table) {
  std::istringstream lines(ReadFile(path));
  std::string line;
  std::getline(lines, line);
  DropByteOrderMark(&line);
  const Columns columns = ReadHeader(path, line);
  for (int number = 2; std::getline(lines, line); ++number) {
    const std::vector<std::string> fields = Fields(line);
    if (columns.image >= static_cast<int>(fields.size()) || fields[columns.image].empty()) continue;
    const std::string where = path + ":" + std::to_string(number);
    Merge(fields[columns.image],
          {PointOf(fields, columns.disc_x, columns.disc_y, where),
           PointOf(fields, columns.fovea_x, columns.fovea_y, where)},
          table);
  }
}

void ReadJson(const std::string& path, LandmarkTable* table) {
  const auto json = nlohmann::json::parse(ReadFile(path), nullptr, false);
  LSEG_CHECK(json.is_object(), path << ": is no JSON object of images");
  for (const auto& [name, value] : json.items()) {
    const auto point = [&](const char* key) -> std::optional<ImagePoint> {
      if (!value.is_object() || !value.contains(key) || value[key].is_null()) return std::nullopt;
      const auto& pair = value[key];
      LSEG_CHECK(pair.is_array() && pair.size() == 2 && pair[0].is_number() && pair[1].is_number(),
                 path << ": " << Printable(name) << ": '" << key << "' is not [x, y]");
      return ImagePoint{pair[0].get<double>(), pair[1].get<double>()};
    };
    Merge(name, {point("disc"), point("fovea")}, table);
  }
}

}  // namespace

LandmarkTable ReadLandmarks(const std::vector<std::string>& files) {
  LandmarkTable table;
  for (const std::string& path : files) {
    fs::path(path).extension() == ".json" ? ReadJson(path, &table) : ReadCsv(path, &table);
  }
  return table;
}

Landmarks LandmarksOf(const LandmarkTable& table, const std::string& path) {
  for (const fs::path& name : {fs::path(path).filename(), fs::path(path).stem()}) {
    if (const auto found = table.find(name.string()); found != table.end()) return found->second;
  }
  return {};
}

Eye EyeOf(const Landmarks& landmarks) {
  if (!landmarks.disc || !landmarks.fovea || landmarks.disc->x == landmarks.fovea->x) {
    return Eye::kUnknown;
  }
  return landmarks.disc->x > landmarks.fovea->x ? Eye::kRight : Eye::kLeft;
}

const char* EyeName(Eye eye) {
  return eye == Eye::kRight ? "right" : eye == Eye::kLeft ? "left" : "";
}

std::string ImageQuadrant(const ImagePoint& point, const ImagePoint& center) {
  return std::string(point.y < center.y ? "upper" : "lower") +
         (point.x < center.x ? " left" : " right");
}

std::string EyeQuadrant(const ImagePoint& point, const ImagePoint& center, Eye eye) {
  if (eye == Eye::kUnknown) return ImageQuadrant(point, center);
  const bool right = point.x >= center.x;  // in the image; nasal in a right eye's
  return std::string(point.y < center.y ? "superior" : "inferior") +
         (right == (eye == Eye::kRight) ? " nasal" : " temporal");
}

}  // namespace lseg
