// What the parts of the synthetic fundus generator share: arithmetic, noise, the eye, the canvas.
// Lengths are in units of min(width, 1.5 * height): IDRiD's pictures are 1 unit wide.
//
// Everything is built from + - * / and sqrt, which IEEE 754 rounds alike everywhere; exp, sin and
// pow differ between versions of libm and would change pixels.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "datasets/synth.h"
#include "kernels/runtime/random.h"

namespace lseg::synth {

struct Vec {
  float x = 0, y = 0;
};
inline Vec operator+(Vec a, Vec b) { return {a.x + b.x, a.y + b.y}; }
inline Vec operator-(Vec a, Vec b) { return {a.x - b.x, a.y - b.y}; }
inline Vec operator*(float s, Vec a) { return {s * a.x, s * a.y}; }
inline float Dot(Vec a, Vec b) { return a.x * b.x + a.y * b.y; }
inline float Length(Vec a) { return std::sqrt(Dot(a, a)); }
inline Vec Perpendicular(Vec a) { return {-a.y, a.x}; }
inline Vec Normalized(Vec a) { return (1.0f / std::max(Length(a), 1e-9f)) * a; }

struct Color {
  float r = 0, g = 0, b = 0;
};
inline Color operator*(Color a, Color b) { return {a.r * b.r, a.g * b.g, a.b * b.b}; }
inline Color operator*(float s, Color a) { return {s * a.r, s * a.g, s * a.b}; }
inline Color Mix(Color a, Color b, float t) {
  return {a.r + t * (b.r - a.r), a.g + t * (b.g - a.g), a.b + t * (b.b - a.b)};
}

inline float Square(float x) { return x * x; }
// Smooth from 0 at x <= low to 1 at x >= high.
inline float Step(float low, float high, float x) {
  const float t = std::clamp((x - low) / (high - low), 0.0f, 1.0f);
  return t * t * (3 - 2 * t);
}
// A bell of the squared distance: 1 at 0, 0 from 1 on.
inline float Bell(float d2) { return d2 < 1 ? Square(1 - d2) : 0.0f; }

Vec RandomDirection(Random& random);
float Gaussian(Random& random);                         // about normal, within +-3.5
float PowerLaw(Random& random, float low, float high);  // density ~ 1 / x^2

// Smooth noise in about [-1, 1] with features of size 1; Fbm adds octaves of half the size and half
// the height.
float Noise(uint32_t seed, Vec at);
float Fbm(uint32_t seed, Vec at, int octaves);

// The parts of a sample draw from streams of their own: changing one leaves the others as they
// were.
enum class Part { kEye, kGround, kDisc, kVessels, kLesions, kDecoys, kCamera };
Random PartRandom(uint64_t seed, uint64_t index, Part part);

// Where things are in one eye, and its colour before illumination.
struct Eye {
  Eye(Random random, int width, int height);

  bool Inside(Vec p, float margin) const;  // at least margin inside field of view and picture

  float scale;  // pixels a unit
  Vec size;     // of the picture
  Vec fov;      // centre of the field of view
  float fov_radius = 0.395f;
  float temporal;  // +1 or -1: direction in x from the disc to the macula
  Vec macula, disc;
  float disc_radius;
  Color ground;    // reflectance of the plain retina
  float contrast;  // of lesions and vessels, about 1
  float softness;  // of every edge: defocus, about 1
};

// The picture as reflectance, and the masks.
struct Canvas {
  Canvas(const Eye& eye, int width, int height)
      : scale(eye.scale), width(width), height(height), rgb(static_cast<size_t>(width) * height) {}

  float scale;
  int width, height;
  std::vector<Color> rgb;

  // Calls visit(index, p) for every pixel within radius (in x and in y) of the centre.
  template <typename Visit>
  void Near(Vec centre, float radius, Visit visit) const {
    const int x0 = std::max(0, static_cast<int>((centre.x - radius) * scale));
    const int y0 = std::max(0, static_cast<int>((centre.y - radius) * scale));
    const int x1 = std::min(width - 1, static_cast<int>((centre.x + radius) * scale));
    const int y1 = std::min(height - 1, static_cast<int>((centre.y + radius) * scale));
    for (int y = y0; y <= y1; ++y) {
      for (int x = x0; x <= x1; ++x) {
        visit(static_cast<size_t>(y) * width + x, Vec{(x + 0.5f) / scale, (y + 0.5f) / scale});
      }
    }
  }
  template <typename Visit>
  void All(Visit visit) const {
    Near({0.5f * width / scale, 0.5f * height / scale}, std::max(width, height) / scale, visit);
  }
};

// Share of light that vessels take at each pixel, 0..1, and the arteries' bright central line.
struct Vessels {
  std::vector<float> vein, artery, reflex;
};

// A rough, soft spot. Shape is 1 at the centre, 0 on the outline, negative outside.
struct Blob {
  Vec centre, axis{1, 0};
  float radius = 0, stretch = 1;  // half-lengths: radius * stretch along the axis, radius across
  float roughness = 0, wave = 1;  // height of the outline's noise, and its waves a radius
  float edge = 0.001f;            // half-width of the soft edge
  uint32_t seed = 0;

  float Shape(Vec p) const;
  float Cover(Vec p, float pixel) const;  // 0..1; the edge is never sharper than a pixel
  float Reach() const {
    return radius * std::max(stretch, 1.0f) * (1 + 1.5f * roughness) + 2 * edge;
  }
};

// The layers, bottom to top. Each draws on the canvas; masks are 0 or 255.
void DrawGround(const Eye& eye, Random random, Canvas& canvas);
void DrawDisc(const Eye& eye, Random random, Canvas& canvas, Image& mask);
Vessels GrowVessels(const Eye& eye, Random random, const Canvas& canvas);
void DrawVessels(const Eye& eye, const Vessels& vessels, Canvas& canvas);
void DrawDecoys(const Eye& eye, Random random, Canvas& canvas);
void DrawLesions(const Eye& eye, Random random, const Vessels& vessels, Canvas& canvas,
                 std::array<Image, 4>& masks);
Image Photograph(const Eye& eye, Random random, const Canvas& canvas);

}  // namespace lseg::synth
