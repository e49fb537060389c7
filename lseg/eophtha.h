// e-ophtha as its publishers lay it out (datasets/README.md): two collections, e_optha_EX and
// e_optha_MA, of a folder a patient; masks as PNGs, none of healthy eyes.
#pragma once

#include <string>
#include <vector>

#include "lseg/set_image.h"

namespace lseg {

// Whether the folder is one that FindEophtha reads.
bool IsEophtha(const std::string& root);

// The images below root, by patient and name; stems are PATIENT_NAME. root holds one collection or
// both, also each in a folder of its own, or is one. An image that stands in both is one image. It
// is annotated for the lesions of the collections that it stands in, and for no other: HE and SE
// never are.
//
// The set has no official parts. About a fifth of the patients are for testing: those whose name's
// SHA-256 is a multiple of 5 in its first 8 hexadecimal digits, so that a patient's part depends on
// nothing else.
//
// An Error names the folder or file: a mask whose photograph is not there, a photograph that should
// have a mask and has none, or two, or that is healthy and not, two photographs of one name, no
// photograph at all.
std::vector<SetImage> FindEophtha(const std::string& root);

}  // namespace lseg
