// The vessel tree: arteries and veins that leave the disc in pairs, arch around the macula, branch
// and thin out. To a detector of red spots every vessel is a distractor.
#include "datasets/synth_scene.h"

namespace lseg::synth {
namespace {

constexpr float kStride = 0.0035f;    // units between two points of a vessel
constexpr float kThinnest = 0.0007f;  // radius at which a vessel ends

enum class Course { kArcade, kNasal, kToMacula, kWander };

struct Tip {
  Vec at, direction;
  float radius;
  Course course;
  float up;       // -1 or +1: the half of the picture in which an arcade runs
  float opening;  // of an arcade's parabola y^2 = opening * x about the disc
  bool vein;
  int generation;
};

class Tree {
 public:
  Tree(const Eye& eye, Random& random, const Canvas& canvas)
      : eye_(eye), random_(random), canvas_(canvas) {
    const size_t pixels = canvas.rgb.size();
    vessels_.vein.assign(pixels, 0);
    vessels_.artery.assign(pixels, 0);
    vessels_.reflex.assign(pixels, 0);
  }

  Vessels Grow() {
    for (float up : {-1.0f, 1.0f}) {
      for (bool vein : {true, false}) {
        Sprout(Course::kArcade, up, vein);
        Sprout(Course::kNasal, up, vein);
      }
    }
    const int straight = 2 + static_cast<int>(random_.Below(4));
    for (int i = 0; i < straight; ++i) {
      Sprout(Course::kToMacula, i % 2 == 0 ? 1.0f : -1.0f, random_.Below(2) == 0);
    }
    while (!tips_.empty()) {
      const Tip tip = tips_.back();
      tips_.pop_back();
      Follow(tip);
    }
    return std::move(vessels_);
  }

 private:
  // A trunk at the disc.
  void Sprout(Course course, float up, bool vein) {
    Tip tip{};
    tip.course = course;
    tip.up = up;
    tip.vein = vein;
    tip.opening = random_.Uniform(0.12f, 0.23f) * (vein ? 1.0f : 0.85f);
    tip.radius = (vein ? 0.0056f : 0.0042f) * random_.Uniform(0.8f, 1.15f);
    Vec lean{eye_.temporal * random_.Uniform(-0.3f, 0.4f), up};
    if (course == Course::kNasal) {
      tip.radius *= 0.75f;
      lean = {-eye_.temporal * random_.Uniform(0.5f, 1.4f), up};
    } else if (course == Course::kToMacula) {
      tip.radius *= random_.Uniform(0.3f, 0.45f);
      lean = {eye_.temporal, up * random_.Uniform(0.1f, 0.7f)};
    }
    tip.direction = Normalized(lean);
    tip.at = eye_.disc + Vec{-eye_.temporal * random_.Uniform(0.0f, 0.014f),
                             up * random_.Uniform(0.0f, 0.012f)};
    tips_.push_back(tip);
  }

  // Where a vessel of that course would go from here, and how strongly it is drawn there.
  Vec Wanted(const Tip& tip, float* pull) const {
    const Vec from_disc = tip.at - eye_.disc;
    *pull = 0.06f;
    if (tip.course == Course::kArcade) {
      const float x = std::max(eye_.temporal * from_disc.x, 0.0f);
      const float y = std::max(tip.up * from_disc.y, 0.0f);
      const Vec tangent = Normalized({2 * y + 0.01f, tip.opening});
      const float drift = 6 * (tip.opening * x - y * y) / tip.opening;
      *pull = 0.14f;
      return Normalized({eye_.temporal * tangent.x, tip.up * (tangent.y + drift)});
    }
    if (tip.course == Course::kNasal) return Normalized(from_disc);
    if (tip.course == Course::kToMacula) {
      *pull = 0.025f;
      return Normalized(eye_.macula + Vec{0.12f * eye_.temporal, 0} - tip.at);
    }
    *pull = 0.03f;
    return Normalized(0.5f * Normalized(from_disc) + Normalized(tip.at - eye_.macula));
  }

  void Follow(Tip tip) {
    float turn = 0, since_branch = random_.Uniform(0.0f, 0.03f);
    const float side = random_.Below(2) == 0 ? 1.0f : -1.0f;
    float next_side = side;
    const float wiggle = tip.generation == 0 ? 0.017f : 0.026f;
    const float taper = tip.generation == 0 ? 0.9972f : 0.9885f;
    for (int step = 0; step < 260 && tip.radius > kThinnest; ++step) {
      float pull;
      const Vec wanted = Wanted(tip, &pull);
      if (tip.generation > 0 && Dot(tip.direction, wanted) < -0.3f) return;  // it would curl up
      turn = 0.85f * turn + wiggle * Gaussian(random_);
      tip.direction = Normalized(tip.direction + turn * Perpendicular(tip.direction) +
                                 pull * (wanted - tip.direction));
      const Vec from = tip.at;
      tip.at = tip.at + kStride * tip.direction;
      if (!eye_.Inside(tip.at, -0.01f)) return;
      if (Length(tip.at - eye_.macula) < 0.045f) return;  // the fovea has no vessels
      Stroke(from, tip);
      tip.radius *= taper;
      since_branch += kStride;
      const bool clear_of_disc = Length(tip.at - eye_.disc) > 1.2f * eye_.disc_radius;
      if (clear_of_disc && since_branch > 0.03f && random_.Uniform() < 0.07f) {
        Branch(&tip, next_side);
        next_side = random_.Uniform() < 0.75f ? -next_side : next_side;
        since_branch = 0;
      }
    }
  }

  void Branch(Tip* tip, float side) {
    if (tip->generation >= 3) return;
    const float share = random_.Uniform(0.40f, 0.78f);
    Tip child = *tip;
    child.generation = tip->generation + 1;
    child.radius = share * tip->radius;
    child.direction = Normalized(tip->direction + side * random_.Uniform(0.5f, 1.1f) *
                                                      Perpendicular(tip->direction));
    const bool inwards = Dot(child.direction, eye_.macula - tip->at) > 0;
    child.course = inwards && tip->course == Course::kArcade && tip->generation == 0
                       ? Course::kToMacula
                       : Course::kWander;
    tip->radius *= std::sqrt(1 - 0.35f * Square(share));
    tip->direction = Normalized(tip->direction - side * 0.12f * Perpendicular(tip->direction));
    tips_.push_back(child);
  }

  // Draws the piece from `from` to tip.at: darkest where the ray through the tube is longest.
  void Stroke(Vec from, const Tip& tip) {
    const float pixel = 1 / eye_.scale;
    const float radius = std::max(tip.radius, 0.7f * pixel);
    const float edge = std::max(0.0006f * eye_.softness, 0.5f * pixel);
    const float strength = std::min(1.0f, tip.radius / radius) *
                           (0.40f + 0.60f * std::min(1.0f, tip.radius / 0.0038f));
    const Vec along = tip.at - from;
    const float length2 = std::max(Dot(along, along), 1e-12f);
    std::vector<float>& plane = tip.vein ? vessels_.vein : vessels_.artery;
    canvas_.Near(from + 0.5f * along, radius + edge + kStride, [&](size_t i, Vec p) {
      const float t = std::clamp(Dot(p - from, along) / length2, 0.0f, 1.0f);
      const float distance = Length(p - from - t * along);
      if (distance >= radius + edge) return;
      const float depth = std::sqrt(std::max(1 - 0.8f * Square(distance / radius), 0.15f));
      const float cover = strength * depth * Step(-edge, edge, radius - distance);
      plane[i] = std::max(plane[i], cover);
      if (tip.radius > 0.0022f) {
        const float line = Bell(Square(distance / (0.42f * radius))) * (tip.vein ? 0.35f : 1.0f);
        vessels_.reflex[i] = std::max(vessels_.reflex[i], line);
      }
    });
  }

  const Eye& eye_;
  Random& random_;
  const Canvas& canvas_;
  std::vector<Tip> tips_;
  Vessels vessels_;
};

}  // namespace

Vessels GrowVessels(const Eye& eye, Random random, const Canvas& canvas) {
  return Tree(eye, random, canvas).Grow();
}

void DrawVessels(const Eye& eye, const Vessels& vessels, Canvas& canvas) {
  const float k = eye.contrast;
  for (size_t i = 0; i < canvas.rgb.size(); ++i) {
    const float vein = k * vessels.vein[i];
    const float artery =
        vessels.vein[i] > 0.5f ? 0.4f * k * vessels.artery[i] : k * vessels.artery[i];
    const float shine = 0.10f * vessels.reflex[i];
    Color& c = canvas.rgb[i];
    c = c * Color{(1 - 0.24f * vein) * (1 - 0.10f * artery),
                  (1 - 0.46f * vein) * (1 - 0.34f * artery),
                  (1 - 0.40f * vein) * (1 - 0.30f * artery)};
    c = c * Color{1 + 0.6f * shine, 1 + 1.5f * shine, 1 + 1.5f * shine};
  }
}

}  // namespace lseg::synth
