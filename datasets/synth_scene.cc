// Arithmetic, noise and anatomy of the synthetic fundus generator.
#include "datasets/synth_scene.h"

namespace lseg::synth {
namespace {

// A number in [-1, 1] for a lattice point: an integer hash, good enough to look at and far cheaper
// than Philox, which feeds its seed.
float Lattice(uint32_t seed, int x, int y) {
  uint32_t h =
      seed ^ (static_cast<uint32_t>(x) * 0x8DA6B343u) ^ (static_cast<uint32_t>(y) * 0xD8163841u);
  h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
  h = (h ^ (h >> 12)) * 0x297A2D39u;
  h ^= h >> 15;
  return static_cast<float>(h >> 8) * 0x1p-23f - 1.0f;
}

int Floor(float x) {
  const int i = static_cast<int>(x);
  return i - (x < static_cast<float>(i));
}

}  // namespace

Vec RandomDirection(Random& random) {
  for (;;) {
    const float x = random.Uniform(-1, 1);
    const Vec v{x, random.Uniform(-1, 1)};
    const float d2 = Dot(v, v);
    if (d2 > 0.01f && d2 <= 1) return Normalized(v);
  }
}

float Gaussian(Random& random) {
  float sum = -2;
  for (int i = 0; i < 4; ++i) sum += random.Uniform();
  return 1.7320508f * sum;  // four uniforms have variance 1/3
}

float PowerLaw(Random& random, float low, float high) {
  return low / (1 - random.Uniform() * (1 - low / high));
}

float Noise(uint32_t seed, Vec at) {
  const int x = Floor(at.x), y = Floor(at.y);
  const float u = Step(0, 1, at.x - x), v = Step(0, 1, at.y - y);
  const float a = Lattice(seed, x, y), b = Lattice(seed, x + 1, y);
  const float c = Lattice(seed, x, y + 1), d = Lattice(seed, x + 1, y + 1);
  const float top = a + u * (b - a), bottom = c + u * (d - c);
  return top + v * (bottom - top);
}

float Fbm(uint32_t seed, Vec at, int octaves) {
  float sum = 0, height = 1;
  for (int i = 0; i < octaves; ++i) {
    sum += height * Noise(seed + static_cast<uint32_t>(i), at);
    // Twice the frequency, turned by atan(3/4), so that the lattices do not line up.
    at = {1.6f * at.x - 1.2f * at.y + 17.3f, 1.2f * at.x + 1.6f * at.y - 5.1f};
    height *= 0.5f;
  }
  return sum;
}

Random PartRandom(uint64_t seed, uint64_t index, Part part) {
  return Random(seed, index * 8 + static_cast<uint64_t>(part));
}

Eye::Eye(Random random, int width, int height) {
  scale = std::min(static_cast<float>(width), 1.5f * height);
  size = {width / scale, height / scale};
  fov = {0.465f * size.x + random.Uniform(-0.004f, 0.004f),
         0.5f * size.y + random.Uniform(-0.004f, 0.004f)};
  temporal = random.Below(2) == 0 ? 1.0f : -1.0f;
  disc = fov + Vec{-temporal * random.Uniform(0.22f, 0.30f), random.Uniform(-0.04f, 0.02f)};
  disc_radius = random.Uniform(0.053f, 0.064f);
  macula = disc + Vec{temporal * random.Uniform(0.265f, 0.30f), random.Uniform(0.0f, 0.045f)};
  // IDRiD's medians of R, G/R and B/R are .64, .47 and .08. Blue stays higher here: at 0 its
  // inverse would saturate, and a saturated map scores well on 33 thresholds without detecting
  // anything.
  const float red = random.Uniform(0.55f, 0.82f);
  const float pale = random.Uniform();
  const float green = red * (0.36f + 0.16f * pale + random.Uniform(-0.03f, 0.05f));
  ground = {red, green, green * (0.30f + 0.35f * pale * random.Uniform())};
  contrast = random.Uniform(0.85f, 1.15f);
  softness = random.Uniform(0.8f, 1.6f);
}

bool Eye::Inside(Vec p, float margin) const {
  return Length(p - fov) < fov_radius - margin && p.x > margin && p.y > margin &&
         p.x < size.x - margin && p.y < size.y - margin;
}

float Blob::Shape(Vec p) const {
  const Vec q = p - centre;
  const Vec local{Dot(q, axis) / (radius * stretch), Dot(q, Perpendicular(axis)) / radius};
  float shape = 1 - Length(local);
  // The noise is waved across the axis only: a stretched blob frays into streaks.
  if (roughness > 0 && shape > -roughness - 0.5f) shape += roughness * Fbm(seed, wave * local, 2);
  return shape;
}

float Blob::Cover(Vec p, float pixel) const {
  const float soft = std::max(edge, 0.6f * pixel) / radius;
  return Step(-soft, soft, Shape(p));
}

}  // namespace lseg::synth
