// Stricter than ReadMask and ReadClassMap: those must read what is published, and do so by rules
// that other programs need not share. What only such a rule can read is said here.
#include "lseg/check_masks.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "lseg/dataset.h"
#include "lseg/image_decode.h"

namespace lseg {
namespace {

constexpr int kClasses = static_cast<int>(kLesionNames.size());

// Values from `least` on, and how many pixels have one.
struct Values {
  std::vector<int> values;
  int64_t pixels = 0;
  size_t first = 0;  // the first such pixel
};

Values ValuesFrom(const Image& image, int least) {
  std::array<int64_t, 256> counts = {};
  for (uint8_t value : image.pixels) ++counts[value];
  Values found;
  for (int value = least; value < 256; ++value) {
    if (counts[value] == 0) continue;
    found.values.push_back(value);
    found.pixels += counts[value];
  }
  found.first = std::find_if(image.pixels.begin(), image.pixels.end(),
                             [least](uint8_t value) { return value >= least; }) -
                image.pixels.begin();
  return found;
}

std::string Numbers(const std::vector<int>& values) {
  constexpr size_t kMost = 6;
  std::ostringstream text;
  for (size_t i = 0; i < std::min(values.size(), kMost); ++i) text << (i ? ", " : "") << values[i];
  if (values.size() > kMost) text << " and " << values.size() - kMost << " more";
  return text.str();
}

// Whether all pixels are black or one other colour, which ReadMask sees as lesion.
bool IsTwoColoured(const Samples& samples) {
  if (samples.kind != Samples::Kind::kColour) return false;
  const std::vector<uint8_t>& in = samples.image.pixels;
  const uint8_t* colour = nullptr;
  for (const uint8_t* pixel = in.data(); pixel < in.data() + in.size(); pixel += 3) {
    if (std::max({pixel[0], pixel[1], pixel[2]}) == 0) continue;
    if (!colour) colour = pixel;
    if (!std::equal(pixel, pixel + 3, colour)) return false;
  }
  return !colour || std::max({colour[0], colour[1], colour[2]}) > 127;
}

// Of a mask without colours; empty: it is one.
std::string MaskProblem(const Samples& samples) {
  const std::vector<int> values = ValuesFrom(samples.image, 1).values;
  const bool index = samples.kind == Samples::Kind::kIndex;
  if (values.empty()) return "";
  if (values.size() == 1 && (index || values[0] == 1 || values[0] == samples.white)) return "";
  std::string text = "is no mask of 0 and 255: its other values are " + Numbers(values);
  if (values.back() <= kClasses) return text + "; it looks like a class map: write a mask a lesion";
  if (index) return text + "; a palette image may have one index besides 0: save it as gray";
  if (values.size() == 1) {
    return text + "; it looks like a coloured mask turned to gray (red becomes 76): write 255";
  }
  return text + "; its edges look smoothed: set what is above half to 255, the rest to 0";
}

}  // namespace

std::optional<Image> CheckMask(const std::string& path, int64_t max_pixels, bool colours_pass,
                               const OnProblem& on_problem, const OnProblem& on_note) {
  const Samples samples = ReadMaskSamples(path, max_pixels);
  const bool colours = samples.kind == Samples::Kind::kColour;
  if (colours && colours_pass && IsTwoColoured(samples)) {
    on_note(path + ": is in colour; what is not black is the lesion");
  } else if (colours || samples.alpha) {
    on_problem(path + ": has colours or alpha, which programs read differently: save it with one " +
               "channel, 255 on the lesion and 0 elsewhere");
    return std::nullopt;
  } else if (const std::string problem = MaskProblem(samples); !problem.empty()) {
    on_problem(path + ": " + problem);
    return std::nullopt;
  }
  const int channels = samples.image.channels;
  Image mask(samples.image.width, samples.image.height, 1);
  const uint8_t* in = samples.image.pixels.data();
  for (uint8_t& pixel : mask.pixels) {
    pixel = std::any_of(in, in + channels, [](uint8_t value) { return value != 0; }) ? 255 : 0;
    in += channels;
  }
  return mask;
}

std::optional<Image> CheckClassMap(const std::string& path, int64_t max_pixels,
                                   const OnProblem& on_problem) {
  Image map = ReadClassMap(path, max_pixels);
  const Values strange = ValuesFrom(map, kClasses + 1);
  if (strange.values.empty()) return map;
  std::ostringstream text;
  text << path << ": has values that are no classes: " << Numbers(strange.values) << " ("
       << strange.pixels << " pixels, the first at (" << strange.first % map.width << ", "
       << strange.first / map.width << ")); 0 is background, 1 EX, 2 HE, 3 MA, 4 SE"
       << (strange.values.back() == 255 ? "; a mask may stand in the class map's place" : "");
  on_problem(text.str());
  return std::nullopt;
}

}  // namespace lseg
