#include "lseg/lesion_report.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace lseg {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kQuadrants[4] = {"upper left", "upper right", "lower left", "lower right"};

double Rounded(double value, double steps) { return std::round(value * steps) / steps; }
double Pixels(double value) { return Rounded(value, 100); }
double Probability(double value) { return Rounded(value, 1e4); }
double Percent(double value) { return Rounded(value, 1e5); }

ImagePoint CenterOf(const PhotoLesions& photo) {
  return {(photo.width - 1) / 2.0, (photo.height - 1) / 2.0};
}

ImagePoint CentroidOf(const Component& part) { return {part.centroid_x, part.centroid_y}; }

double ShareOf(const PhotoLesions& photo, int64_t area) {
  return 100.0 * static_cast<double>(area) / static_cast<double>(photo.view.area);
}

Json PointJson(const std::optional<ImagePoint>& point) {
  return point ? Json{Pixels(point->x), Pixels(point->y)} : Json();
}

// Where a component lies as seen from the landmarks; "" or null where these are unknown.
struct Place {
  std::string image, disc, fovea;
  std::optional<double> fovea_distance;
};

Place PlaceOf(const PhotoLesions& photo, const Component& part) {
  const ImagePoint at = CentroidOf(part);
  const Eye eye = EyeOf(photo.landmarks);
  const auto about = [&](const std::optional<ImagePoint>& center) {
    return center ? EyeQuadrant(at, *center, eye) : "";
  };
  Place place{ImageQuadrant(at, CenterOf(photo)), about(photo.landmarks.disc),
              about(photo.landmarks.fovea), std::nullopt};
  if (const auto& fovea = photo.landmarks.fovea) {
    place.fovea_distance = Pixels(std::hypot(at.x - fovea->x, at.y - fovea->y));
  }
  return place;
}

Json TotalJson(const LesionTotal& total) {
  Json json = {
      {"count", total.count},
      {"area", total.area},
      {"area_percent", Percent(total.area_percent)},
      {"mean_probability", total.count > 0 ? Json(Probability(total.mean_probability)) : Json()},
      {"max_probability", total.count > 0 ? Json(Probability(total.max_probability)) : Json()}};
  for (int i = 0; i < 4; ++i) json["quadrants"][kQuadrants[i]] = total.quadrants[i];
  return json;
}

Json ComponentJson(const PhotoLesions& photo, const Component& part, int64_t id) {
  const Place place = PlaceOf(photo, part);
  Json json = {{"lesion", photo.classes[part.lesion]},
               {"id", id},
               {"area", part.area},
               {"area_percent", Percent(ShareOf(photo, part.area))},
               {"centroid", PointJson(CentroidOf(part))},
               {"box", {part.left, part.top, part.right - part.left, part.bottom - part.top}},
               {"mean_probability", Probability(part.mean_probability)},
               {"max_probability", Probability(part.max_probability)},
               {"quadrant", place.image}};
  if (!place.disc.empty()) json["disc_quadrant"] = place.disc;
  if (!place.fovea.empty()) {
    json["fovea_quadrant"] = place.fovea;
    json["fovea_distance"] = *place.fovea_distance;
  }
  return json;
}

Json ToJson(const PhotoLesions& photo) {
  Json json = {{"schema", kReportSchema}, {"image", photo.name}, {"file", photo.file}};
  if (!photo.error.empty()) {
    json["error"] = photo.error;
    return json;
  }
  json["width"] = photo.width;
  json["height"] = photo.height;
  const FieldOfView& view = photo.view;
  json["field_of_view"] = {{"center", PointJson(ImagePoint{view.center_x, view.center_y})},
                           {"radius", Pixels(view.radius)},
                           {"circle_found", view.circle_found},
                           {"area", view.area},
                           {"doubt", view.IsFundus() ? Json() : Json(view.doubt)}};
  const std::string eye = EyeName(EyeOf(photo.landmarks));
  json["landmarks"] = {{"disc", PointJson(photo.landmarks.disc)},
                       {"fovea", PointJson(photo.landmarks.fovea)},
                       {"eye", eye.empty() ? Json() : Json(eye)}};
  for (size_t c = 0; c < photo.classes.size(); ++c) {
    json["thresholds"][photo.classes[c]] = Rounded(photo.thresholds[c], 1e6);
  }
  const std::vector<LesionTotal> totals = Totals(photo);
  for (size_t c = 0; c < totals.size(); ++c) {
    json["lesions"][photo.classes[c]] = TotalJson(totals[c]);
  }
  json["components"] = Json::array();
  int64_t id = 0;
  for (const Component& part : photo.components) {
    json["components"].push_back(ComponentJson(photo, part, ++id));
  }
  return json;
}

constexpr auto kReplace = Json::error_handler_t::replace;

// Bytes that are no UTF-8 replaced as in JSON.
std::string Utf8(const std::string& text) {
  return Json::parse(Json(text).dump(-1, ' ', false, kReplace)).get<std::string>();
}

// Fields of a row of CSV, joined; text is quoted where it has to be.
class Row {
 public:
  Row& operator<<(const std::string& given) {
    Next();
    const std::string text = Utf8(given);
    if (text.find_first_of(",\"\r\n") == std::string::npos) {
      row_ += text;
      return *this;
    }
    row_ += '"';
    for (const char c : text) row_ += c == '"' ? std::string("\"\"") : std::string(1, c);
    row_ += '"';
    return *this;
  }
  Row& operator<<(const char* text) { return *this << std::string(text); }
  Row& operator<<(int64_t value) { return *this << std::to_string(value); }
  Row& operator<<(int value) { return *this << int64_t{value}; }
  Row& operator<<(double value) { return *this << Json(value).dump(); }
  std::string Line() const { return row_ + "\n"; }

 private:
  void Next() {
    if (!first_) row_ += ',';
    first_ = false;
  }
  std::string row_;
  bool first_ = true;
};

}  // namespace

std::vector<LesionTotal> Totals(const PhotoLesions& photo) {
  std::vector<LesionTotal> totals(photo.classes.size());
  for (const Component& part : photo.components) {
    LesionTotal& total = totals[part.lesion];
    ++total.count;
    total.area += part.area;
    total.mean_probability += part.mean_probability * static_cast<double>(part.area);
    total.max_probability = std::max(total.max_probability, part.max_probability);
    const std::string quadrant = ImageQuadrant(CentroidOf(part), CenterOf(photo));
    for (int i = 0; i < 4; ++i) total.quadrants[i] += quadrant == kQuadrants[i];
  }
  for (LesionTotal& total : totals) {
    if (total.area > 0) total.mean_probability /= static_cast<double>(total.area);
    total.area_percent = ShareOf(photo, total.area);
  }
  return totals;
}

std::string LesionsJson(const PhotoLesions& photo) {
  Json json = ToJson(photo);
  Json parts = Json::array();
  if (json.contains("components")) parts.swap(json["components"]);
  std::string text = json.dump(1, ' ', false, kReplace);
  if (!parts.empty()) {  // there are many: a line each
    text.resize(text.rfind("[]"));
    text += "[";
    for (size_t i = 0; i < parts.size(); ++i) {
      text += (i == 0 ? "\n  " : ",\n  ") + parts[i].dump(-1, ' ', false, kReplace);
    }
    text += "\n ]\n}";
  }
  return text + "\n";
}

std::string LesionsJsonLine(const PhotoLesions& photo) {
  return ToJson(photo).dump(-1, ' ', false, kReplace);
}

std::string ImageCsvHeader() {
  return "schema,image,file,status,width,height,field_of_view_area,fundus,lesion,threshold,count,"
         "area,area_percent,mean_probability,max_probability,upper_left,upper_right,lower_left,"
         "lower_right,error\n";
}

std::string ImageCsvRows(const PhotoLesions& photo) {
  if (!photo.error.empty()) {
    Row row;
    row << kReportSchema << photo.name << photo.file << "failed";
    for (int i = 0; i < 15; ++i) row << "";
    return (row << photo.error).Line();
  }
  std::string rows;
  const std::vector<LesionTotal> totals = Totals(photo);
  for (size_t c = 0; c < totals.size(); ++c) {
    const LesionTotal& total = totals[c];
    Row row;
    row << kReportSchema << photo.name << photo.file << "ok" << photo.width << photo.height
        << photo.view.area << (photo.view.IsFundus() ? "yes" : "no") << photo.classes[c]
        << Rounded(photo.thresholds[c], 1e6) << total.count << total.area
        << Percent(total.area_percent);
    if (total.count > 0) {
      row << Probability(total.mean_probability) << Probability(total.max_probability);
    } else {
      row << ""
          << "";
    }
    for (const int64_t count : total.quadrants) row << count;
    rows += (row << "").Line();
  }
  return rows;
}

std::string ComponentCsvHeader() {
  return "schema,image,lesion,id,area,area_percent,centroid_x,centroid_y,left,top,width,height,"
         "mean_probability,max_probability,quadrant,disc_quadrant,fovea_quadrant,fovea_distance\n";
}

std::string ComponentCsvRows(const PhotoLesions& photo) {
  std::string rows;
  int64_t id = 0;
  for (const Component& part : photo.components) {
    const Place place = PlaceOf(photo, part);
    Row row;
    row << kReportSchema << photo.name << photo.classes[part.lesion] << ++id << part.area
        << Percent(ShareOf(photo, part.area)) << Pixels(part.centroid_x) << Pixels(part.centroid_y)
        << part.left << part.top << part.right - part.left << part.bottom - part.top
        << Probability(part.mean_probability) << Probability(part.max_probability) << place.image
        << place.disc << place.fovea;
    if (place.fovea_distance) {
      row << *place.fovea_distance;
    } else {
      row << "";
    }
    rows += row.Line();
  }
  return rows;
}

}  // namespace lseg
