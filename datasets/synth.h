// A synthetic stand-in for IDRiD: fundus photographs drawn from a seed, in the real set's folders
// and encodings, so that every tool can be tried, tested and demonstrated where no patient data may
// be.
//
// The pictures are hard in the ways that real ones are (uneven light, vessels that look like
// haemorrhages, pale spots that are no exudates), so that a threshold on colour fails and a small
// net learns. They are no evidence of how a method does on patients. See datasets/README.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "lseg/image.h"

namespace lseg {

struct SyntheticFundus {
  Image photo;                   // RGB
  std::array<Image, 4> lesions;  // 0 or 255, in the order EX, HE, MA, SE; all 0 where there is none
  Image disc;                    // 0 or 255: the optic disc
};

// Draws sample `index` of the set `seed`. A pure function: the same bytes for the same arguments on
// any number of threads and on every machine of one build (no libm but sqrt, no fused
// multiply-adds). Lengths scale with min(width, 1.5 * height), so that one sample drawn at two
// sizes shows the same eye, camera noise and lesions next to a size limit apart. On average the
// four lesions cover as many pixels as in IDRiD (per cent: EX 0.81, HE 0.99, MA 0.11, SE 0.19); SE
// is absent from about half of the samples and HE from some.
//
// Error unless width in [48, 16384], height in [32, 16384]. About half a second for 1440x960 on one core.
SyntheticFundus RenderFundus(uint64_t seed, uint64_t index, int width, int height);

// Writes samples 0 .. images-1 of the set `seed` below out_dir as IDRiD's segmentation part is laid
// out: images - images / 3 for training, then images / 3 for testing, numbered IDRiD_01 onwards;
// JPEG photographs, 1-bit palette TIFF masks, no file for a lesion that is absent. A note beside
// the two folders, SYNTHETIC.txt, says what they are; a set that has the note is replaced.
//
// Error, before anything is touched, where images < 1, the size is out of range, or out_dir holds
// an "A. Segmentation" without the note: it may be the real one. Error where out_dir cannot be
// written. Uses OpenMP, one sample a thread.
void WriteSyntheticIdrid(const std::string& out_dir, int images, uint64_t seed, int width,
                         int height);

}  // namespace lseg
