// The threads beside the net's run their OpenMP loops alone: a pool of their own each would take
// the processors from the net's, whose threads wait for one another at the end of every loop.
#include "lseg/segment_stream.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "lseg/fit.h"
#include "lseg/hand_over.h"

namespace lseg {
namespace {

// A photograph on its way.
struct Work {
  SegmentReport report;
  PhotoHeader header;  // zeros where it tells nothing
  int64_t need = 0;    // PhotoMemory by the header
  bool decoded = false;
  Image shown;      // at the size of the maps
  Image input;      // at the net's size; empty where that is `shown`
  Framing framing;  // of the photograph in `input`; of no width where it is not scaled
  Probabilities probabilities;

  const Image& Input() const { return input.pixels.empty() ? shown : input; }
};

// Runs a step; what it throws becomes the photograph's error, and its memory is freed.
template <class Step>
void Try(Work& work, const Step& step) {
  if (!work.report.error.empty()) return;
  try {
    step();
  } catch (const std::exception& error) {
    work.report.error = error.what();
    if (work.report.error.empty()) work.report.error = "unknown error";
    work.report.out_of_memory = dynamic_cast<const OutOfMemory*>(&error) != nullptr;
    work.shown = work.input = Image();
    work.probabilities = Probabilities();
  }
}

// What the header tells.
Work Open(const SegmentJob& job, const std::vector<PhotoFile>& photos, size_t index, int classes) {
  Work work;
  work.report.index = index;
  const std::string& path = photos[index].path;
  Try(work, [&] { work.header = ReadPhotoHeader(path, job.max_pixels).value_or(PhotoHeader()); });
  const auto& [width, height, decoding] = work.header;
  if (width > 0) work.need = PhotoMemory(job, width, height, classes, nullptr, decoding);
  return work;
}

// An OutOfMemory of the photograph where what it needs cannot be had beside the net.
void Admit(const SegmentJob& job, Segmenter& segmenter, Work& work) {
  if (work.need == 0) return;
  Try(work, [&] {
    segmenter.Prepare(job.native ? work.header.width : job.width,
                      job.native ? work.header.height : job.height, work.need);
  });
}

void Read(const SegmentJob& job, const std::vector<PhotoFile>& photos, Work& work) {
  work.decoded = true;
  Try(work, [&] {
    const std::string& path = photos[work.report.index].path;
    ReducedPhoto photo = ReadPhotoReduced(path, job.reduce_jpegs ? job.width : kWhole,
                                          job.reduce_jpegs ? job.height : kWhole, job.max_pixels);
    work.report.width = photo.width;
    work.report.height = photo.height;
    work.shown = std::move(photo.image);
    const FieldOfView view = FindFieldOfView(work.shown);
    work.report.doubt = view.doubt;
    if (job.native || (work.shown.width == job.width && work.shown.height == job.height)) return;
    work.framing = FrameFieldOfView(view, work.shown.width, work.shown.height, job.view_radius,
                                    job.width, job.height);
    work.report.normalised = work.framing.normalised;
    work.input = PlacePhoto(work.shown, work.framing.fit, work.framing.width, work.framing.height);
    if (!job.output_working) return;
    // Maps of the working size always show photographs as they fit.
    if (work.framing.normalised) {
      work.shown = FitPhoto(work.shown, job.width, job.height);
    } else {
      work.shown = std::exchange(work.input, Image());
    }
  });
}

// From the net's frame to the photograph, or, for maps of the working size, to where that fits.
void Unframe(const SegmentJob& job, Work& work) {
  const Framing& framing = work.framing;
  if (work.input.pixels.empty() || framing.width == 0) return;
  if (!framing.fit.Fills(framing.width, framing.height) || framing.normalised) {
    CropProbabilities(&work.probabilities, framing.fit);
  }
  if (!job.output_working || !framing.normalised) return;
  const Fit fit = FitInto(work.report.width, work.report.height, job.width, job.height);
  work.probabilities = ResizeProbabilities(work.probabilities, fit.width, fit.height);
  CropProbabilities(&work.probabilities, {-fit.left, -fit.top, job.width, job.height});
}

// beside: what all photographs on their way take at the least.
void Segment(const SegmentJob& job, Segmenter& segmenter, Work& work, int64_t beside,
             const std::function<void()>& before_answer) {
  Try(work, [&] {
    const int classes = static_cast<int>(segmenter.model().classes.size());
    work.need =
        PhotoMemory(job, work.report.width, work.report.height, classes,
                    work.framing.normalised ? &work.framing : nullptr, work.header.decoding);
    work.probabilities = segmenter.Run(work.Input(), std::max(beside, work.need), before_answer);
    Unframe(job, work);
    work.input = Image();
  });
}

Image Cut(const Image& image, const Fit& part) {
  Image cut(part.width, part.height, image.channels);
  for (int y = 0; y < part.height; ++y) {
    const uint8_t* from = image.Row(part.top + y) + int64_t{part.left} * image.channels;
    std::copy(from, from + int64_t{part.width} * image.channels, cut.Row(y));
  }
  return cut;
}

// What job.visit is to see: the photograph alone, also where the maps have black beside it.
LesionVisitor VisitorOf(const SegmentJob& job, const Work& work) {
  if (!job.visit) return nullptr;
  return [&](const Image& photo, const Probabilities& probabilities, const Image& class_map) {
    const Fit fit = job.output_working && work.framing.width > 0
                        ? FitInto(work.report.width, work.report.height, job.width, job.height)
                        : Fit{0, 0, photo.width, photo.height};
    if (fit.Fills(photo.width, photo.height)) {
      job.visit(work.report, photo, probabilities, class_map);
      return;
    }
    Probabilities part = probabilities;
    CropProbabilities(&part, fit);
    job.visit(work.report, Cut(photo, fit), part, Cut(class_map, fit));
  };
}

void Write(const SegmentJob& job, const std::vector<PhotoFile>& photos, Work& work) {
  Try(work, [&] {
    WriteSegmentation(job.out + "/" + photos[work.report.index].name, std::move(work.shown),
                      work.probabilities, job.outputs, VisitorOf(job, work));
  });
}

// Numbers reports and their failures.
class Reporter {
 public:
  explicit Reporter(const std::function<void(const SegmentReport&)>& report) : report_(report) {}

  void operator()(SegmentReport report) {
    const auto now = std::chrono::steady_clock::now();
    report.seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    if (!report.error.empty()) ++failed_;
    report_(report);
  }
  size_t failed() const { return failed_; }

 private:
  const std::function<void(const SegmentReport&)>& report_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  size_t failed_ = 0;
};

// A photograph that needs more than all before it is read by the calling thread, when it has been
// seen whether that can be had; the others are read beside the net.
void Overlap(const SegmentJob& job, const std::vector<PhotoFile>& photos, Segmenter& segmenter,
             Reporter& reporter) {
  HandOver<Work> read, segmented;
  std::atomic<int64_t> admitted = 0;  // the most that a photograph needed
  std::mutex reading;                 // one photograph is decoded at a time
  const int classes = static_cast<int>(segmenter.model().classes.size());
  std::exception_ptr stopped_by;  // what a report threw
  std::jthread reader, writer;    // joined when this function ends, and before that let go:
  const struct Closer {
    HandOver<Work>&read, &segmented;
    ~Closer() {
      read.Close();
      segmented.Close();
    }
  } closer{read, segmented};
  reader = std::jthread([&] {
    omp_set_num_threads(1);
    for (size_t i = 0; i < photos.size(); ++i) {
      Work work = Open(job, photos, i, classes);
      if (work.need <= admitted) {
        const std::lock_guard lock(reading);
        Read(job, photos, work);
      }
      if (!read.Give(std::move(work))) break;
    }
    read.Close();
  });
  writer = std::jthread([&] {
    omp_set_num_threads(1);
    try {
      while (std::optional<Work> work = segmented.Take()) {
        Write(job, photos, *work);
        reporter(std::move(work->report));
      }
    } catch (...) {
      stopped_by = std::current_exception();
    }
    segmented.Close();
  });
  while (std::optional<Work> work = read.Take()) {
    if (!work->decoded) {
      segmented.WaitForTaker();
      Admit(job, segmenter, *work);
      const std::lock_guard lock(reading);
      Read(job, photos, *work);
    }
    // The maps before must be taken and written anyway, and their memory will be free.
    Segment(job, segmenter, *work, admitted, [&] { segmented.WaitForTaker(); });
    if (work->report.error.empty()) admitted = std::max<int64_t>(admitted, work->need);
    if (!segmented.Give(std::move(*work))) break;
  }
  segmented.Close();
  writer.join();
  if (stopped_by) std::rethrow_exception(stopped_by);
}

}  // namespace

int64_t PhotoMemory(const SegmentJob& job, int width, int height, int classes,
                    const Framing* framing, int64_t decoding) {
  const int64_t own = int64_t{width} * height, working = int64_t{job.width} * job.height;
  const int64_t input = job.native           ? own
                        : framing == nullptr ? working
                                             : int64_t{framing->width} * framing->height;
  // What a normalised photograph is scaled to, of which the frame shows a part.
  const int64_t scaled = framing == nullptr ? 0 : int64_t{framing->fit.width} * framing->fit.height;
  const int64_t shown = !job.output_working ? own : framing == nullptr ? input : working;
  const int64_t images = 3 * (shown + (shown == input ? 0 : input));  // 8-bit RGB
  const int64_t answer = 4 * classes * (input + scaled);
  // Probabilities are resampled only to be written: maps of that size, and one whose rows are.
  const bool resampled = shown != input && (job.outputs.npy || job.outputs.png);
  const int64_t resized = resampled ? 4 * (classes + 1) * shown : 0;
  // Reading ends with copies: one turned upright, where the header says nothing better; one for the
  // net, and that put into its frame; and one for maps of the working size. Writing holds the class
  // map, the picture with outlines, what these cover, and a PNG; and then the probabilities. A
  // visitor sees class map and photograph.
  const bool framed =
      !job.native && !FitInto(width, height, job.width, job.height).Fills(job.width, job.height);
  const int64_t reading =
      std::max(decoding > 0 ? decoding : 2 * 3 * own,
               (shown == own ? 0 : 3 * own) + images + 3 * (framed ? input : scaled));
  const int64_t running = images + answer;
  const int64_t visiting = job.visit ? 4 * shown + job.visit_memory(width, height) +
                                           (job.output_working ? answer + 4 * shown : 0)
                                     : 0;
  const int64_t writing = answer + std::max({7 * shown, resized + 2 * shown, visiting});
  // The net's answer is copied when the maps before are written.
  return job.overlap ? reading + std::max(running, images + writing)
                     : std::max({reading, running, writing});
}

size_t SegmentPhotos(const SegmentJob& job, const std::vector<PhotoFile>& photos,
                     Segmenter& segmenter,
                     const std::function<void(const SegmentReport&)>& report) {
  LSEG_CHECK(job.native || (job.width > 0 && job.height > 0),
             "photographs cannot be segmented at " << job.width << "x" << job.height);
  LSEG_CHECK(
      !job.reduce_jpegs || (job.output_working && !job.native),
      "JPEGs are decoded at a fraction of their size only where neither the net nor the maps "
      "have their own size");
  Reporter reporter(report);
  if (job.overlap) {
    Overlap(job, photos, segmenter, reporter);
  } else {
    for (size_t i = 0; i < photos.size(); ++i) {
      Work work = Open(job, photos, i, static_cast<int>(segmenter.model().classes.size()));
      Admit(job, segmenter, work);
      Read(job, photos, work);
      Segment(job, segmenter, work, 0, nullptr);
      Write(job, photos, work);
      reporter(std::move(work.report));
    }
  }
  return reporter.failed();
}

}  // namespace lseg
