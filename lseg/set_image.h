// An image of a published set, or of a user's own folders, and where its truth stands: what the
// readers of the layouts give (lseg/idrid.h and its neighbours), and preparation and checks take.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "lseg/dataset.h"

namespace lseg {

enum class Part { kTrain, kVal, kTest };

struct SetImage {
  std::string stem;   // names what is made from it; no two of a set have the same
  std::string photo;  // path
  // EX HE MA SE; empty: there is no such file, no such lesion, where it is annotated.
  std::array<std::string, kLesionNames.size()> masks = {};
  Part part = Part::kTrain;
  // Whether the set's graders looked for the lesion.
  std::array<bool, kLesionNames.size()> annotated = {true, true, true, true};
  std::string label = {};    // a class map in the masks' place
  std::string patient = {};  // whose images stand on one side of a split; empty: not known
};

}  // namespace lseg
