// The retina without vessels: pigment, choroid, macula, nerve fibres, optic disc; and the camera
// that takes the finished picture.
#include "datasets/synth_scene.h"

namespace lseg::synth {
namespace {

// An angle in [0, 4) that grows as atan2 does, from y / (|x| + |y|); 0 along +x.
float DiamondAngle(Vec v) {
  const float t = v.y / std::max(std::abs(v.x) + std::abs(v.y), 1e-6f);
  return v.x >= 0 ? (v.y >= 0 ? t : 4 + t) : 2 - t;
}

// Pale streaks that radiate from the disc, strongest above and below it. The angle's seam points
// along the axis to the macula and away from it, where they fade out.
float NerveFibres(const Eye& eye, uint32_t seed, Vec p) {
  const Vec v = p - eye.disc;
  const float distance = Length(v);
  const float reach = Bell(Square(distance / 0.30f)) * Step(0.03f, 0.08f, distance);
  if (reach <= 0) return 0;
  const float upright = Step(0.25f, 0.8f, std::abs(v.y) / std::max(distance, 1e-6f));
  const float angle = DiamondAngle(v);
  const float streak = Fbm(seed, {angle * 26, distance * 9}, 3);
  return reach * upright * (0.45f + 0.55f * streak);
}

struct Light {
  explicit Light(Random& random) {
    gain = random.Uniform(0.80f, 1.20f);
    slope = random.Uniform(0.05f, 0.28f) * RandomDirection(random);
    vignette = random.Uniform(0.12f, 0.38f);
    hot_at = random.Uniform(0.0f, 0.6f) * RandomDirection(random);
    hot = random.Uniform(0.0f, 0.45f);
    haze_at = RandomDirection(random);
    haze = random.Uniform() < 0.6f ? random.Uniform(0.05f, 0.32f) : 0.0f;
    veil = random.Uniform(0.012f, 0.035f);
    seed = random.Bits();
  }

  // q: from the centre of the field of view, 1 at its edge.
  Color Apply(Color c, Vec q) const {
    const float d2 = Dot(q, q);
    const float even = 1 + Dot(slope, q) - vignette * d2 * (0.4f + 0.6f * d2) +
                       hot * Bell(0.8f * Dot(q - hot_at, q - hot_at)) +
                       0.10f * Noise(seed, 1.7f * q);
    c = gain * even * c;
    // Light scattered by the lens: gray-blue, thickest towards one side of the rim.
    const float rim = haze * Step(0.45f, 1.05f, std::sqrt(d2)) * Step(-0.6f, 1.0f, Dot(haze_at, q));
    c = Mix(c, {0.46f, 0.43f, 0.34f}, rim);
    return {c.r + veil, c.g + veil, c.b + veil};
  }

  float gain, vignette, hot, haze, veil;
  Vec slope, hot_at, haze_at;
  uint32_t seed;
};

// The sensor's shoulder: linear up to 0.78, never above 0.93, so that highlights keep their detail.
float Shoulder(float x) {
  const float over = x - 0.78f;
  return over <= 0 ? x : 0.78f + over * 0.15f / (over + 0.15f);
}

// 1 inside the field of view, 0 outside: a disc, and the camera's two index teeth at its upper
// right.
float FieldOfView(const Eye& eye, Vec p) {
  const float soft = std::max(0.0012f, 0.6f / eye.scale);
  const Vec q = p - eye.fov;
  float inside = eye.fov_radius - Length(q);
  const Vec teeth[] = {{0.839f, -0.545f}, {0.885f, -0.466f}};
  for (Vec tooth : teeth) {
    const float radial = 0.010f - std::abs(Dot(q, tooth) - eye.fov_radius);
    const float across = 0.013f - std::abs(Dot(q, Perpendicular(tooth)));
    inside = std::max(inside, std::min(radial, across));
  }
  return Step(-soft, soft, inside);
}

uint8_t ToByte(float x) { return static_cast<uint8_t>(std::clamp(255 * x + 0.5f, 0.0f, 255.0f)); }

}  // namespace

void DrawGround(const Eye& eye, Random random, Canvas& canvas) {
  const uint32_t broad = random.Bits(), grain = random.Bits(), hue = random.Bits();
  const uint32_t choroid = random.Bits(), warp = random.Bits(), fibres = random.Bits();
  const float mottle = random.Uniform(0.03f, 0.08f);
  const float tigroid = random.Uniform() < 0.4f ? random.Uniform(0.05f, 0.16f) : 0.0f;
  const float sheen = random.Uniform(0.03f, 0.16f);
  const float fovea = random.Uniform(0.10f, 0.30f), region = random.Uniform(0.06f, 0.16f);
  const Vec drift = RandomDirection(random);
  canvas.All([&](size_t i, Vec p) {
    if (Length(p - eye.fov) > eye.fov_radius + 0.03f) return;
    const float level = 1 + mottle * Fbm(broad, 14.0f * p, 3) + 0.022f * Fbm(grain, 110.0f * p, 2);
    const float tint = 0.06f * Fbm(hue, 5.0f * p, 2);
    Color c = level * (eye.ground * Color{1 - 0.3f * tint, 1 + tint, 1 + 1.5f * tint});
    if (tigroid > 0) {  // the choroid's vessels shine through in patches away from the macula
      const float patch =
          Step(0.0f, 0.5f, Dot(drift, p - eye.macula) * 2.2f + Noise(warp, 4.0f * p) * 0.3f);
      const Vec bent = p + 0.02f * Vec{Noise(warp, 18.0f * p), Noise(warp + 1, 18.0f * p)};
      const float ridge = 1 - std::abs(Fbm(choroid, {52 * bent.x, 30 * bent.y}, 2));
      c = (1 + tigroid * patch * (Step(0.55f, 1.0f, ridge) - 0.35f)) *
          (c * Color{1, 1 + 0.5f * tigroid * patch * ridge, 1});
    }
    const float d2 = Dot(p - eye.macula, p - eye.macula);
    const float dark = fovea * Bell(d2 / Square(0.075f)) + region * Bell(d2 / Square(0.21f));
    c = c * Color{1 - 0.7f * dark, 1 - dark, 1 - dark};
    const float pale = sheen * NerveFibres(eye, fibres, p);
    canvas.rgb[i] = c * Color{1 + 0.5f * pale, 1 + 1.3f * pale, 1 + 1.7f * pale};
  });
}

void DrawDisc(const Eye& eye, Random random, Canvas& canvas, Image& mask) {
  const Blob disc{.centre = eye.disc,
                  .axis = Normalized({random.Uniform(-0.3f, 0.3f), 1}),
                  .radius = eye.disc_radius,
                  .stretch = random.Uniform(1.0f, 1.14f),
                  .roughness = 0.02f,
                  .wave = 1.5f,
                  .edge = 0.0035f * eye.softness,
                  .seed = random.Bits()};
  Blob cup = disc;
  cup.centre = disc.centre +
               Vec{eye.temporal * random.Uniform(0.004f, 0.016f), random.Uniform(-0.005f, 0.005f)};
  cup.radius *= random.Uniform(0.35f, 0.6f);
  cup.edge = 0.4f * cup.radius;
  const float bright = random.Uniform(1.35f, 1.75f);
  const Color rim = eye.ground * Color{1.05f + 0.4f * (bright - 1), bright, 1.15f * bright};
  const Color pit = rim * Color{1.12f, random.Uniform(1.2f, 1.4f), random.Uniform(1.3f, 1.7f)};
  const Color halo = eye.ground * Color{1.08f, 1.18f, 1.2f};
  const float ring = random.Uniform(0.1f, 0.5f);
  const uint32_t texture = random.Bits();
  canvas.Near(eye.disc, 2.2f * eye.disc_radius, [&](size_t i, Vec p) {
    const float shape = disc.Shape(p);
    Color& c = canvas.rgb[i];
    // The scleral crescent: a paler ring on the temporal side.
    const float side = Step(-0.2f, 0.9f, eye.temporal * (p.x - eye.disc.x) / eye.disc_radius);
    c = Mix(c, halo, ring * (0.3f + 0.7f * side) * Step(-0.55f, -0.1f, shape));
    const float cover = disc.Cover(p, 1 / eye.scale);
    c = Mix(c, (1 + 0.05f * Fbm(texture, 60.0f * p, 2)) * rim, 0.9f * cover);
    c = Mix(c, pit, 0.8f * cover * cup.Cover(p, 1 / eye.scale));
    if (shape > 0) mask.pixels[i] = 255;
  });
}

Image Photograph(const Eye& eye, Random random, const Canvas& canvas) {
  const Light light(random);
  const float noise = random.Uniform(0.8f, 1.8f) / 255;
  const float black = random.Uniform(0.004f, 0.014f);
  Image photo(canvas.width, canvas.height, 3);
  canvas.All([&](size_t i, Vec p) {
    const float inside = FieldOfView(eye, p);
    Color c{0.8f * black, 0.6f * black, 0.7f * black};
    if (inside > 0) {
      const Color lit = light.Apply(canvas.rgb[i], (1 / eye.fov_radius) * (p - eye.fov));
      c = Mix(c, {Shoulder(lit.r), Shoulder(lit.g), Shoulder(lit.b)}, inside);
    }
    // The number of ones in 32 random bits is nearly normal, with deviation 2.83.
    float grain[3];
    for (float& g : grain) g = (__builtin_popcount(random.Bits()) - 16) * (noise / 2.83f);
    const float level = 0.3f + 0.7f * inside;
    photo.pixels[3 * i] = ToByte(c.r + level * grain[0]);
    photo.pixels[3 * i + 1] = ToByte(c.g + level * grain[1]);
    photo.pixels[3 * i + 2] = ToByte(c.b + level * grain[2]);
  });
  return photo;
}

}  // namespace lseg::synth
