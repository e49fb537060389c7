// Photographs segmented one after the other, reading, net and writing overlapping: one thread reads
// and resamples the next photograph, the calling thread runs the net, one thread brings the maps of
// the photograph before back to size and writes them. Each of the three holds one photograph and
// waits for the other to take it: three are in memory, however many there are and however large. A
// photograph is decoded when, by its header, the memory for that is there.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lseg/field_of_view.h"
#include "lseg/photo_list.h"
#include "lseg/segment.h"
#include "lseg/segment_output.h"

namespace lseg {

struct SegmentReport;

struct SegmentJob {
  std::string out;            // folder of the maps, which is there
  bool native = false;        // the net sees photographs at their own size,
  int width = 0, height = 0;  // else fitted into this (lseg/fit.h)
  // Radius of the field of view that photographs are brought to (FrameFieldOfView); 0: as they fit.
  // Photographs of the size above, and native ones, stay as they are.
  double view_radius = 0;
  bool output_working = false;  // maps at that size, photographs as they fit, black beside and all,
                                // else at the photograph's own
  bool reduce_jpegs = false;    // ReadPhotoReduced; with output_working and not native only
  int64_t max_pixels = kMaxPixels;  // larger photographs are refused
  bool overlap = true;  // false: step by step on the calling thread, one photograph held
  SegmentOutputs outputs;
  // Both or none: what else is done with a photograph that was segmented, before its maps are
  // written and on the thread that writes them (LesionVisitor, but of the photograph alone, without
  // black beside it); and the most bytes that this takes for a photograph of a size.
  std::function<void(const SegmentReport& report, const Image& photo,
                     const Probabilities& probabilities, const Image& class_map)>
      visit;
  std::function<int64_t(int width, int height)> visit_memory;
};

struct SegmentReport {
  size_t index = 0;            // in the list
  int width = 0, height = 0;   // the photograph's own; 0 where it could not be read
  std::string doubt;           // why it looks like no fundus photograph; empty: it looks like one
  bool normalised = false;     // brought to job.view_radius
  double seconds = 0;          // since the report before, or the start
  std::string error;           // empty: its maps are written
  bool out_of_memory = false;  // the error is an OutOfMemory
};

// The most bytes that photographs of a size take at once, beside the net: of the three on their way
// where steps overlap, else of one. framing: how they are brought to the net, where that is not as
// they fit. decoding: ReadPhotoHeader's.
int64_t PhotoMemory(const SegmentJob& job, int width, int height, int classes,
                    const Framing* framing = nullptr, int64_t decoding = 0);

// Segments `photos` into job.out. Calls `report` once a photograph, in the list's order, from one
// thread, not always the calling one; what fails for one photograph is reported and ends nothing.
// What is written is bit for bit the same with and without overlap. Returns the number that failed.
// Throws Error for a job that contradicts itself, and what `report` throws, which ends the work.
size_t SegmentPhotos(const SegmentJob& job, const std::vector<PhotoFile>& photos,
                     Segmenter& segmenter, const std::function<void(const SegmentReport&)>& report);

}  // namespace lseg
