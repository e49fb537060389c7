#include "lseg/field_of_view.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

#include "kernels/runtime/random.h"

namespace lseg {
namespace {

struct Point {
  double x, y;
};

struct Circle {
  double x, y, radius;
};

// Brightness (the largest of R, G, B) averaged over blocks of whole pixels.
struct Grid {
  int width = 0, height = 0;
  double step_x = 1, step_y = 1;  // pixels of the photograph a cell
  std::vector<uint8_t> values;
  uint8_t At(int x, int y) const { return values[static_cast<size_t>(y) * width + x]; }
};

Grid Reduce(const Image& photo) {
  const double factor =
      std::max(1.0, std::max(photo.width, photo.height) / static_cast<double>(kViewGrid));
  Grid grid;
  grid.width = std::max(1, static_cast<int>(photo.width / factor));
  grid.height = std::max(1, static_cast<int>(photo.height / factor));
  grid.step_x = static_cast<double>(photo.width) / grid.width;
  grid.step_y = static_cast<double>(photo.height) / grid.height;
  grid.values.resize(static_cast<size_t>(grid.width) * grid.height);
  for (int y = 0; y < grid.height; ++y) {
    const int top = static_cast<int>(int64_t{photo.height} * y / grid.height);
    const int bottom = static_cast<int>(int64_t{photo.height} * (y + 1) / grid.height);
    for (int x = 0; x < grid.width; ++x) {
      const int left = static_cast<int>(int64_t{photo.width} * x / grid.width);
      const int right = static_cast<int>(int64_t{photo.width} * (x + 1) / grid.width);
      int64_t sum = 0;
      for (int v = top; v < bottom; ++v) {
        const uint8_t* row = photo.Row(v);
        for (int u = left; u < right; ++u) {
          sum += std::max({row[3 * u], row[3 * u + 1], row[3 * u + 2]});
        }
      }
      grid.values[static_cast<size_t>(y) * grid.width + x] =
          static_cast<uint8_t>(sum / (int64_t{bottom - top} * (right - left)));
    }
  }
  return grid;
}

// What is at least this bright is no ground. 256: all is ground; 0: none is, as nothing is near
// black.
int GroundThreshold(const Grid& grid) {
  std::array<int64_t, 256> histogram{};
  for (uint8_t value : grid.values) ++histogram[value];
  const auto quantile = [&](double share) {
    const double wanted = share * static_cast<double>(grid.values.size());
    int64_t sum = 0;
    for (int value = 0; value < 256; ++value) {
      if (sum += histogram[value]; sum >= wanted && sum > 0) return value;
    }
    return 255;
  };
  const int dark = quantile(0.01), bright = quantile(0.95);
  if (dark > 48) return 0;
  // Noise and JPEG's ringing on black reach a few grays.
  return bright < 16 ? 256 : dark + std::max(8, (bright - dark) / 8);
}

// Marks the part (4-connected) of cells equal to `from` around `seed` with `to`; returns its size.
int64_t Flood(const Grid& grid, size_t seed, uint8_t from, uint8_t to, std::vector<uint8_t>& mask) {
  std::vector<size_t> stack = {seed};
  mask[seed] = to;
  int64_t count = 0;
  const size_t width = grid.width;
  while (!stack.empty()) {
    const size_t at = stack.back();
    stack.pop_back();
    ++count;
    const size_t x = at % width;
    const auto visit = [&](bool inside, size_t next) {
      if (inside && mask[next] == from) mask[next] = to, stack.push_back(next);
    };
    visit(x > 0, at - 1);
    visit(x + 1 < width, at + 1);
    visit(at >= width, at - width);
    visit(at + width < mask.size(), at + width);
  }
  return count;
}

constexpr uint8_t kGround = 0, kBright = 1, kPart = 2, kOutside = 3, kDisc = 4;

// kDisc in the largest bright part and its holes, kOutside elsewhere; empty where nothing is
// bright.
std::vector<uint8_t> DiscMask(const Grid& grid) {
  const int threshold = GroundThreshold(grid);
  std::vector<uint8_t> mask(grid.values.size());
  for (size_t i = 0; i < mask.size(); ++i)
    mask[i] = grid.values[i] >= threshold ? kBright : kGround;
  int64_t largest = 0;
  size_t seed = 0;
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != kBright) continue;
    if (const int64_t size = Flood(grid, i, kBright, kPart, mask); size > largest) {
      largest = size;
      seed = i;
    }
  }
  if (largest == 0) return {};
  Flood(grid, seed, kPart, kDisc, mask);
  for (uint8_t& cell : mask) cell = cell == kDisc ? kDisc : kGround;  // other parts are ground
  for (int y = 0; y < grid.height; ++y) {
    const bool whole_row = y == 0 || y + 1 == grid.height;
    for (int x = 0; x < grid.width; x += whole_row ? 1 : std::max(1, grid.width - 1)) {
      const size_t at = static_cast<size_t>(y) * grid.width + x;
      if (mask[at] == kGround) Flood(grid, at, kGround, kOutside, mask);
    }
  }
  for (uint8_t& cell : mask) cell = cell == kOutside ? kOutside : kDisc;
  return mask;
}

// Where the disc borders on ground along rows and columns; the image's own edges do not count.
std::vector<Point> EdgePoints(const Grid& grid, const std::vector<uint8_t>& mask) {
  std::vector<Point> points;
  const auto walk = [&](int count, int length, auto at, auto point) {
    for (int line = 0; line < count; ++line) {
      int first = 0, last = length - 1;
      while (first < length && at(line, first) != kDisc) ++first;
      if (first == length) continue;
      while (at(line, last) != kDisc) --last;
      if (first > 0) points.push_back(point(line, first - 0.5));
      if (last + 1 < length) points.push_back(point(line, last + 0.5));
    }
  };
  const auto cell = [&](int x, int y) { return mask[static_cast<size_t>(y) * grid.width + x]; };
  walk(
      grid.height, grid.width, [&](int y, int x) { return cell(x, y); },
      [](int y, double x) {
        return Point{x, static_cast<double>(y)};
      });
  walk(
      grid.width, grid.height, [&](int x, int y) { return cell(x, y); },
      [](int x, double y) {
        return Point{static_cast<double>(x), y};
      });
  return points;
}

std::optional<Circle> Through(const Point& a, const Point& b, const Point& c) {
  const double bx = b.x - a.x, by = b.y - a.y, cx = c.x - a.x, cy = c.y - a.y;
  const double d = 2 * (bx * cy - by * cx);
  if (std::abs(d) < 1e-6) return std::nullopt;
  const double b2 = bx * bx + by * by, c2 = cx * cx + cy * cy;
  const double x = (cy * b2 - by * c2) / d, y = (bx * c2 - cx * b2) / d;
  return Circle{a.x + x, a.y + y, std::hypot(x, y)};
}

bool Near(const Circle& circle, const Point& point, double tolerance) {
  return std::abs(std::hypot(point.x - circle.x, point.y - circle.y) - circle.radius) <= tolerance;
}

// Least squares of (distance - radius) over the points near the circle, by Gauss and Newton.
Circle Refine(Circle circle, const std::vector<Point>& points, double tolerance) {
  for (int round = 0; round < 10; ++round) {
    double m[3][4] = {};
    for (const Point& point : points) {
      if (!Near(circle, point, tolerance)) continue;
      const double dx = point.x - circle.x, dy = point.y - circle.y, r = std::hypot(dx, dy);
      if (r == 0) continue;
      const double row[4] = {-dx / r, -dy / r, -1, circle.radius - r};
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 4; ++j) m[i][j] += row[i] * row[j];
      }
    }
    for (int i = 0; i < 3; ++i) {  // the matrix is positive definite: no pivots
      if (m[i][i] < 1e-9) return circle;
      for (int k = 0; k < 3; ++k) {
        if (k == i) continue;
        const double factor = m[k][i] / m[i][i];
        for (int j = i; j < 4; ++j) m[k][j] -= factor * m[i][j];
      }
    }
    circle.x += m[0][3] / m[0][0];
    circle.y += m[1][3] / m[1][1];
    circle.radius += m[2][3] / m[2][2];
  }
  return circle;
}

// The circle with the most edge points near it.
std::optional<Circle> FitCircle(const Grid& grid, const std::vector<Point>& points) {
  constexpr int kTries = 500;  // half of the points outliers: all three good once in 8 tries
  const double smallest = 0.15 * std::min(grid.width, grid.height);
  const double largest = 2.0 * std::max(grid.width, grid.height);
  const double tolerance = std::max(0.75, 0.003 * std::max(grid.width, grid.height));
  if (points.size() < 12) return std::nullopt;
  Random random(1, points.size());
  std::optional<Circle> best;
  size_t most = 0;
  for (int i = 0; i < kTries; ++i) {
    const auto draw = [&] { return points[random.Below(static_cast<uint32_t>(points.size()))]; };
    const Point a = draw(), b = draw(), c = draw();
    const std::optional<Circle> circle = Through(a, b, c);
    if (!circle || circle->radius < smallest || circle->radius > largest) continue;
    const size_t near = std::count_if(points.begin(), points.end(), [&](const Point& point) {
      return Near(*circle, point, tolerance);
    });
    if (near > most) most = near, best = circle;
  }
  if (best) best = Refine(*best, points, 2 * tolerance);
  return best;
}

// Whether an eighth of the circle is in sight as the disc's edge, left and right, and the disc
// fills it: rows of the disc reach from the circle's one side to the other.
bool Supported(const Circle& circle, const Grid& grid, const std::vector<uint8_t>& mask,
               const std::vector<Point>& points) {
  constexpr int kSectors = 64;
  const double tolerance = std::max(1.5, 0.006 * std::max(grid.width, grid.height));
  std::array<bool, kSectors> seen{};
  int left = 0, right = 0;
  for (const Point& point : points) {
    if (!Near(circle, point, tolerance)) continue;
    const double angle = std::atan2(point.y - circle.y, point.x - circle.x);
    const double turn = angle / (2 * std::numbers::pi) + 0.5;
    seen[std::min(kSectors - 1, static_cast<int>(turn * kSectors))] = true;
    (point.x < circle.x ? left : right) += 1;
  }
  const auto sectors = std::count(seen.begin(), seen.end(), true);
  if (sectors < kSectors / 8 || left == 0 || right == 0) return false;
  int64_t expected = 0, filled = 0, disc = 0;
  for (int y = 0; y < grid.height; ++y) {
    const uint8_t* row = &mask[static_cast<size_t>(y) * grid.width];
    const auto cells = std::count(row, row + grid.width, kDisc);
    disc += cells;
    if (cells == 0) continue;  // a row that is cut off
    for (int x = 0; x < grid.width; ++x) {
      if (std::hypot(x - circle.x, y - circle.y) > circle.radius) continue;
      ++expected;
      filled += row[x] == kDisc;
    }
  }
  return filled >= 0.85 * static_cast<double>(expected) && disc <= 1.1 * filled;
}

// Mean of R, G, B over the disc.
std::array<double, 3> MeanColour(const Image& photo, const Grid& grid,
                                 const std::vector<uint8_t>& mask) {
  std::array<double, 3> sum{};
  int64_t count = 0;
  for (int y = 0; y < grid.height; ++y) {
    const uint8_t* row =
        photo.Row(std::min(photo.height - 1, static_cast<int>((y + .5) * grid.step_y)));
    for (int x = 0; x < grid.width; ++x) {
      if (mask[static_cast<size_t>(y) * grid.width + x] != kDisc) continue;
      const int at = 3 * std::min(photo.width - 1, static_cast<int>((x + .5) * grid.step_x));
      for (int c = 0; c < 3; ++c) sum[c] += row[at + c];
      ++count;
    }
  }
  for (double& value : sum) value /= static_cast<double>(std::max<int64_t>(count, 1));
  return sum;
}

std::string DoubtOf(bool circle_found, bool ground, double share,
                    const std::array<double, 3>& mean) {
  if (!ground) return "no dark ground around a bright disc";
  if (!circle_found) return "what is bright is no disc";
  if (share < 0.1) return "the bright disc is less than a tenth of the picture";
  if (!(mean[0] > 1.05 * mean[1] && mean[1] > 1.02 * mean[2])) {
    return "the disc has not the colours of a retina: redder than green, greener than blue";
  }
  return "";
}

}  // namespace

FieldOfView FindFieldOfView(const Image& photo) {
  LSEG_CHECK(photo.channels == 3 && photo.width > 0 && photo.height > 0,
             "a field of view is found in RGB, not in " << photo.width << "x" << photo.height << "x"
                                                        << photo.channels);
  FieldOfView view;
  view.center_x = (photo.width - 1) / 2.0;
  view.center_y = (photo.height - 1) / 2.0;
  view.radius = std::hypot(photo.width, photo.height) / 2;
  view.area = int64_t{photo.width} * photo.height;
  const Grid grid = Reduce(photo);
  const std::vector<uint8_t> mask = DiscMask(grid);
  if (mask.empty()) {
    view.doubt = "the picture is black";
    return view;
  }
  const auto cells = static_cast<double>(std::count(mask.begin(), mask.end(), kDisc));
  const std::vector<Point> points = EdgePoints(grid, mask);
  const std::optional<Circle> circle = FitCircle(grid, points);
  view.circle_found = circle && Supported(*circle, grid, mask, points);
  if (view.circle_found) {
    view.center_x = (circle->x + 0.5) * grid.step_x - 0.5;
    view.center_y = (circle->y + 0.5) * grid.step_y - 0.5;
    view.radius = circle->radius * std::sqrt(grid.step_x * grid.step_y);
    view.area = std::llround(cells * grid.step_x * grid.step_y);
  }
  const double share = cells / static_cast<double>(mask.size());
  view.doubt = DoubtOf(view.circle_found, share < 0.995, share, MeanColour(photo, grid, mask));
  return view;
}

Framing FrameFieldOfView(const FieldOfView& view, int width, int height, double radius,
                         int frame_width, int frame_height) {
  constexpr int kStep = 32;  // of a frame's sides: few sizes, as each has a net of its own
  constexpr double kMostFrames = 8;
  const Framing plain{FitInto(width, height, frame_width, frame_height), frame_width, frame_height};
  if (radius <= 0 || !view.circle_found || !view.IsFundus()) return plain;
  const double fitted = view.radius * std::sqrt(double(plain.fit.width) * plain.fit.height /
                                                (double(width) * height));
  if (std::abs(fitted / radius - 1) <= kRadiusTolerance) return plain;
  const double scale = radius / view.radius;
  if (scale * scale * width * height > kMostFrames * frame_width * frame_height) return plain;

  Framing framing{{}, frame_width, frame_height, true};
  Fit& fit = framing.fit;
  fit.width = std::max(1, static_cast<int>(std::lround(width * scale)));
  fit.height = std::max(1, static_cast<int>(std::lround(height * scale)));
  // Along an axis: the part of the scaled photograph that the view takes, put into the middle.
  const auto place = [&](double centre, int length, int frame, int* size) {
    const double middle = (centre + 0.5) * scale;
    const double begin = std::max(0.0, middle - radius);
    const double end = std::min(static_cast<double>(length), middle + radius);
    const int needed = static_cast<int>(std::ceil(end - begin));
    *size = needed <= frame ? frame : (needed + kStep - 1) / kStep * kStep;
    return static_cast<int>(std::lround(*size / 2.0 - (begin + end) / 2));
  };
  fit.left = place(view.center_x, fit.width, frame_width, &framing.width);
  fit.top = place(view.center_y, fit.height, frame_height, &framing.height);
  // A frame that grows along one axis need not keep what it does not need along the other.
  if (framing.height > frame_height || framing.width > frame_width) {
    const int tight = (static_cast<int>(std::ceil(2 * radius)) + kStep - 1) / kStep * kStep;
    const auto shrink = [&](int* size, int* at) {
      if (*size <= tight) return;
      *at -= (*size - tight) / 2;
      *size = tight;
    };
    shrink(&framing.width, &fit.left);
    shrink(&framing.height, &fit.top);
  }
  return framing;
}

FieldOfView ScaleFieldOfView(const FieldOfView& view, double scale_x, double scale_y) {
  FieldOfView scaled = view;
  scaled.center_x = (view.center_x + 0.5) * scale_x - 0.5;
  scaled.center_y = (view.center_y + 0.5) * scale_y - 0.5;
  scaled.radius = view.radius * std::sqrt(scale_x * scale_y);
  scaled.area = std::llround(static_cast<double>(view.area) * scale_x * scale_y);
  return scaled;
}

}  // namespace lseg
