// The weights that come with the project (lseg/weights/README.md), for who gives none.
#pragma once

#include <string>

namespace lseg {

// Path of lseg_idrid.safetensors: beside an installed program, ../share/lseg/; else in the source
// tree that the program was built from. "" where neither is there.
std::string DefaultWeights();

}  // namespace lseg
