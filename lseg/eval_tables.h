// The tables of an evaluation, as cells: the terminal aligns them, the page makes HTML of them.
#pragma once

#include <string>
#include <vector>

#include "lseg/evaluate.h"

namespace lseg {

struct Table {
  std::string title;                           // may be empty
  std::vector<std::vector<std::string>> rows;  // the first are the headings
  std::vector<std::string> notes;              // below it, one a line
};

// Needs predictions; the first column says the lesion, the last row of some is "mean".
Table PooledTable(const Evaluation& evaluation);
Table PerImageTable(const Evaluation& evaluation);
// Need evaluation.statistics; without rows where there is nothing to say.
Table IntervalTable(const Evaluation& evaluation);  // of PooledTable's figures
Table PointsTable(const Evaluation& evaluation);    // thresholds chosen by the truth
Table LesionsTable(const Evaluation& evaluation);   // calibration, and single lesions found
// Needs evaluation.comparison. `all`: every figure, else the areas, Dice and FROC.
Table ComparisonTable(const Evaluation& evaluation, bool all);
// Needs evaluation.baseline.
Table BaselineTable(const Evaluation& evaluation);

// Which images were scored against what, how, and at what size: a line each.
std::vector<std::string> HeadLines(const Evaluation& evaluation);

}  // namespace lseg
