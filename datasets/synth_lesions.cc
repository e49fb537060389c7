// The four lesion kinds with their masks, and what resembles them and is no lesion. Each lesion
// kind is painted until it covers the share of the picture that was drawn for it, so that
// prevalences follow IDRiD's while counts and sizes vary.
#include "datasets/synth_scene.h"

namespace lseg::synth {
namespace {

enum Kind { kEx, kHe, kMa, kSe };

// A share of all pixels that averages `mean` and is often small, seldom large, as in IDRiD.
float Share(Random& random, float mean) {
  return mean * (0.15f + 2.55f * Square(random.Uniform()));
}

class Painter {
 public:
  Painter(const Eye& eye, Random& random, const Vessels& vessels, Canvas& canvas,
          std::array<Image, 4>& masks)
      : eye_(eye), random_(random), vessels_(vessels), canvas_(canvas), masks_(masks) {}

  // Flecks with sharp edges in sheets and rings, most of them about the macula.
  void HardExudates(float share) {
    Begin(kEx, share);
    while (Unfinished()) {
      const Vec hub = eye_.macula + PowerLaw(random_, 0.03f, 0.24f) * RandomDirection(random_);
      const float ring = random_.Uniform() < 0.4f ? random_.Uniform(0.02f, 0.06f) : 0.0f;
      const float spread = random_.Uniform(0.008f, 0.034f);
      const float largest = random_.Uniform(0.003f, 0.008f);
      const float strength = random_.Uniform(0.50f, 1.0f);
      const float green = random_.Uniform(1.4f, 1.8f);
      const Color fat = eye_.ground * Color{0.95f + 0.12f * green, green, 0.9f * green};
      const int flecks = 8 + static_cast<int>(random_.Below(80));
      for (int i = 0; i < flecks && Unfinished(); ++i) {
        Blob blob;
        blob.seed = random_.Bits();
        blob.centre = hub + ring * RandomDirection(random_) +
                      spread * Vec{Gaussian(random_), Gaussian(random_)};
        blob.axis = RandomDirection(random_);
        blob.radius = PowerLaw(random_, 0.0012f, largest);
        blob.stretch = random_.Uniform(1.0f, 1.9f);
        blob.roughness = 0.35f;
        blob.wave = 1.3f;
        blob.edge = 0.0007f * eye_.softness;
        Place(blob, fat, strength * random_.Uniform(0.75f, 1.0f), 0.4f);
      }
    }
  }

  // Pale, fluffy patches the size of a vessel arch's gap, not far from the disc.
  void SoftExudates(float share) {
    Begin(kSe, share);
    while (Unfinished()) {
      Blob blob;
      blob.seed = random_.Bits();
      blob.centre = eye_.disc + random_.Uniform(0.10f, 0.36f) * RandomDirection(random_);
      blob.axis = Perpendicular(Fibre(blob.centre));
      blob.radius = PowerLaw(random_, 0.008f, 0.02f);
      blob.stretch = random_.Uniform(1.0f, 1.5f);
      blob.roughness = 0.30f;
      blob.wave = 1.2f;
      blob.edge = 0.38f * blob.radius;
      const float green = random_.Uniform(1.40f, 1.65f);
      const Color wool = eye_.ground * Color{1.02f + 0.12f * green, green, 1.3f * green};
      Place(blob, wool, random_.Uniform(0.60f, 0.85f), 0.35f);
    }
  }

  // Dots and blots in the depth, flames along the nerve fibres.
  void Haemorrhages(float share) {
    Begin(kHe, share);
    const Vec hub = eye_.fov + random_.Uniform(0.05f, 0.25f) * RandomDirection(random_);
    const float huddled = random_.Uniform(0.1f, 0.7f), flames = random_.Uniform(0.1f, 0.6f);
    while (Unfinished()) {
      Blob blob;
      blob.seed = random_.Bits();
      blob.centre = random_.Uniform() < huddled
                        ? hub + 0.06f * Vec{Gaussian(random_), Gaussian(random_)}
                        : eye_.fov + Reach() * RandomDirection(random_);
      blob.radius = PowerLaw(random_, 0.0046f, 0.020f);
      blob.roughness = 0.28f;
      blob.wave = 1.6f;
      blob.edge = 0.0018f * eye_.softness;
      blob.axis = RandomDirection(random_);
      blob.stretch = random_.Uniform(1.0f, 1.4f);
      if (random_.Uniform() < flames) {
        blob.axis = Normalized(Fibre(blob.centre) + 0.15f * RandomDirection(random_));
        blob.stretch = random_.Uniform(2.0f, 3.4f);
        blob.radius *= 0.75f;
        blob.roughness = 0.42f;
        blob.wave = 2.0f;
      }
      Place(blob, Blood(), random_.Uniform(0.5f, 0.9f), 0.4f);
    }
  }

  // Dots of width / 250 to width / 120 that sit off the larger vessels.
  void Microaneurysms(float share) {
    Begin(kMa, share);
    while (Unfinished()) {
      Blob blob;
      blob.seed = random_.Bits();
      blob.centre = random_.Uniform() < 0.5f
                        ? eye_.macula + 0.09f * Vec{Gaussian(random_), Gaussian(random_)}
                        : eye_.fov + Reach() * RandomDirection(random_);
      blob.axis = RandomDirection(random_);
      blob.radius = PowerLaw(random_, 0.0018f, 0.0039f);
      blob.stretch = random_.Uniform(1.0f, 1.2f);
      blob.edge = 0.0008f * eye_.softness;
      if (OnVessel(blob.centre)) continue;
      Place(blob, Blood(), random_.Uniform(0.60f, 0.95f), 0.3f);
    }
  }

 private:
  void Begin(Kind kind, float share) {
    kind_ = kind;
    wanted_ = static_cast<int64_t>(share * canvas_.rgb.size());
    painted_ = tries_ = 0;
  }
  // Gives up after many tries: a small picture may have no room left.
  bool Unfinished() { return painted_ < wanted_ && ++tries_ < 20000; }

  // A distance from the centre of the field of view, uniform over its area.
  float Reach() { return 0.97f * eye_.fov_radius * std::sqrt(random_.Uniform()); }

  // The direction of the nerve fibres: away from the disc, bending around the macula.
  Vec Fibre(Vec p) const {
    const Vec away = Normalized(p - eye_.disc);
    const Vec around = Perpendicular(Normalized(p - eye_.macula));
    const float bend = Bell(Dot(p - eye_.macula, p - eye_.macula) / Square(0.25f));
    return Normalized(away + (Dot(around, away) > 0 ? bend : -bend) * around);
  }

  Color Blood() {
    const float k = eye_.contrast, dark = random_.Uniform(0.7f, 1.0f);
    return eye_.ground * Color{1 - 0.24f * k * dark, 1 - 0.50f * k * dark, 1 - 0.36f * k * dark};
  }

  size_t Index(Vec p) const {
    const int x = std::clamp(static_cast<int>(p.x * eye_.scale), 0, canvas_.width - 1);
    const int y = std::clamp(static_cast<int>(p.y * eye_.scale), 0, canvas_.height - 1);
    return static_cast<size_t>(y) * canvas_.width + x;
  }
  bool OnVessel(Vec p) const {
    const size_t i = Index(p);
    return vessels_.vein[i] > 0.25f || vessels_.artery[i] > 0.25f;
  }

  // No lesion on the disc, outside the picture, or over another kind.
  bool Room(const Blob& blob) const {
    const float reach = blob.radius * std::max(blob.stretch, 1.0f);
    if (!eye_.Inside(blob.centre, reach + blob.edge + 0.004f)) return false;
    if (Length(blob.centre - eye_.disc) < 1.15f * eye_.disc_radius + reach) return false;
    for (float dx : {-1.2f, 0.0f, 1.2f}) {
      for (float dy : {-1.2f, 0.0f, 1.2f}) {
        const size_t i = Index(blob.centre + reach * Vec{dx, dy});
        for (int kind = 0; kind < 4; ++kind) {
          if (kind != kind_ && masks_[kind].pixels[i] != 0) return false;
          // Blood spots keep apart too: two that merge are no dots any more.
          if (kind == kind_ && kind == kMa && masks_[kind].pixels[i] != 0) return false;
        }
      }
    }
    return true;
  }

  // Paints one spot; its mask is where it covers more than `cut`.
  void Place(const Blob& blob, Color target, float opacity, float cut) {
    if (!Room(blob)) return;
    Image& mask = masks_[kind_];
    canvas_.Near(blob.centre, blob.Reach(), [&](size_t i, Vec p) {
      const float cover = blob.Cover(p, 1 / eye_.scale);
      if (cover <= 0) return;
      const float uneven = 1 + 0.06f * Noise(blob.seed, (2.5f / blob.radius) * (p - blob.centre));
      canvas_.rgb[i] = Mix(canvas_.rgb[i], uneven * target, opacity * cover);
      if (cover > cut && mask.pixels[i] == 0 && eye_.Inside(p, 0.002f)) {
        mask.pixels[i] = 255;
        ++painted_;
      }
    });
  }

  const Eye& eye_;
  Random& random_;
  const Vessels& vessels_;
  Canvas& canvas_;
  std::array<Image, 4>& masks_;
  Kind kind_ = kEx;
  int64_t wanted_ = 0, painted_ = 0, tries_ = 0;
};

// One family of unlabelled spots.
struct Decoy {
  uint32_t most;              // number: 0 .. most - 1
  float smallest, largest;    // radius
  float stretch, softness;    // longest stretch; edge as a share of the radius
  Color tint;                 // of the ground
  float faintest, strongest;  // opacity
};

constexpr Decoy kDecoys[] = {
    {60, 0.0015f, 0.006f, 1.3f, 0.60f, {1.08f, 1.26f, 1.2f}, 0.3f, 0.8f},   // drusen
    {9, 0.003f, 0.008f, 8.0f, 0.80f, {1.10f, 1.35f, 1.9f}, 0.10f, 0.40f},   // reflexes
    {4, 0.03f, 0.07f, 1.6f, 0.95f, {1.02f, 1.30f, 2.1f}, 0.08f, 0.35f},     // dust on the lens
    {16, 0.003f, 0.012f, 1.6f, 0.45f, {0.70f, 0.74f, 0.85f}, 0.25f, 0.80f}  // pigment
};

}  // namespace

void DrawDecoys(const Eye& eye, Random random, Canvas& canvas) {
  for (const Decoy& decoy : kDecoys) {
    const uint32_t count = random.Below(decoy.most);
    const Vec hub = eye.fov + random.Uniform(0.0f, 0.25f) * RandomDirection(random);
    const float spread = random.Uniform(0.05f, 0.2f);
    for (uint32_t n = 0; n < count; ++n) {
      Blob blob;
      blob.centre = hub + spread * Vec{Gaussian(random), Gaussian(random)};
      blob.radius = PowerLaw(random, decoy.smallest, decoy.largest);
      blob.stretch = random.Uniform(1.0f, decoy.stretch);
      blob.axis = RandomDirection(random);
      blob.roughness = 0.15f;
      blob.edge = decoy.softness * blob.radius;
      blob.seed = random.Bits();
      const float opacity = random.Uniform(decoy.faintest, decoy.strongest);
      canvas.Near(blob.centre, blob.Reach(), [&](size_t i, Vec p) {
        canvas.rgb[i] =
            Mix(canvas.rgb[i], decoy.tint * eye.ground, opacity * blob.Cover(p, 1 / eye.scale));
      });
    }
  }
}

void DrawLesions(const Eye& eye, Random random, const Vessels& vessels, Canvas& canvas,
                 std::array<Image, 4>& masks) {
  const bool soft = random.Uniform() < 0.5f, blood = random.Uniform() < 0.9f;
  Painter painter(eye, random, vessels, canvas, masks);
  if (soft) painter.SoftExudates(Share(random, 0.0038f));
  painter.HardExudates(Share(random, 0.0081f));
  if (blood) painter.Haemorrhages(Share(random, 0.0110f));
  painter.Microaneurysms(Share(random, 0.0011f));
}

}  // namespace lseg::synth
