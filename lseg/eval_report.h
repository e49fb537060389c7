// An evaluation as text: tables on the terminal, JSON, CSV, a page, and the curves as pictures.
// Values are fractions, not per cent; what has no value is "-" in the table, null in JSON, empty in
// CSV.
#pragma once

#include <string>
#include <vector>

#include "lseg/evaluate.h"
#include "lseg/plot.h"

namespace lseg {

// Aligned, some lines per lesion, with protocol, resolution and everything left out stated.
std::string TableText(const Evaluation& evaluation);

// {"protocols": {"idrid33": {"EX": {"aupr": ..., "dice": ..., "iou": ..., "precision": ...,
//                                   "recall": ..., "prevalence": ..., "aupr_per_image": ...},
//                            ..., "mean": {...}}},
//  "images": N, "resolution": "1440x960", "size_of": "prediction" or "truth", "predictions": "npy",
//  "thresholds": {"EX": 0.5, ...}, "absent": ["SE"],
//  "statistics": {
//    "resamples": 1000, "seed": 1,
//    "figures": {"EX": {"idrid33.aupr": {"value", "low", "high", "resamples"}, ...}, ..., "mean"},
//    "operating_points": {"EX": {"max_dice": {"threshold", "dice", "precision", "recall"}, ...}},
//    "calibration": {"EX": {"ece", "bins": [{"pixels", "positives", "mean_probability"}, ...]}},
//    "froc": {"EX": {"lesions": N, "images": N, "points": [
//      {"threshold", "sensitivity", "false_positives_per_image"}, ...]}}},
//  "versus": {"folder": "...", "figures": {"EX": {"idrid33.aupr": {
//    "value", "other", "difference", "low", "high", "p"}, ...}, ..., "mean"}},
//  "baseline": {"size": "1440x960", "EX": {"map": "inverse B", "aupr": ..., "maps": {"R": ...}}}}
// Means are over the lesions with positive pixels; aupr_per_image is the mean of an image's own
// areas over the images that have the lesion. "protocols" is missing without predictions;
// "statistics" (whose figures are Figures'), "versus" and "baseline" where they were not asked for;
// of class maps, "operating_points" and "calibration".
std::string JsonText(const Evaluation& evaluation);

// A row an image and lesion:
// image,width,height,lesion,positives,dice,iou,precision,recall,prevalence, and aupr_<protocol> for
// each protocol.
std::string CsvText(const Evaluation& evaluation);

// One chart a protocol, a line a lesion, its area in the legend.
std::vector<Panel> CurvePanels(const Evaluation& evaluation);
// Need evaluation.statistics; of probabilities.
Panel ReliabilityPanel(const Evaluation& evaluation);
Panel FrocPanel(const Evaluation& evaluation);

// A page of all of it that needs nothing else: tables, charts as inline SVG, no scripts.
std::string HtmlText(const Evaluation& evaluation);

}  // namespace lseg
