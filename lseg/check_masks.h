// Truth files one by one: whether each says what a truth file may say. Errors are thrown where a
// file cannot be read, as by ReadMask and ReadClassMap; what is read but wrong is reported.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "lseg/image.h"

namespace lseg {

// Called with "FILE: what is wrong, what to do".
using OnProblem = std::function<void(const std::string&)>;

// The mask (0 or 255), or nothing after a call of on_problem. One of colours is a problem, but
// where colours_pass and there is one besides black, on_note is called instead.
std::optional<Image> CheckMask(const std::string& path, int64_t max_pixels, bool colours_pass,
                               const OnProblem& on_problem, const OnProblem& on_note);

// The class map, all of whose values are in 0..4, or nothing after a call of on_problem.
std::optional<Image> CheckClassMap(const std::string& path, int64_t max_pixels,
                                   const OnProblem& on_problem);

}  // namespace lseg
