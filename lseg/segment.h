// Segmenter: a weights file made ready to segment photographs. The file alone suffices: its
// metadata hold the net, the classes, the working size and the mean (lseg/model.h); what they lack
// is the built-in L-Seg's.
//
//   Segmenter segmenter("final.safetensors", context);
//   const Image photo = ReadPhoto("eye.jpg");
//   const ModelInfo& model = segmenter.model();
//   Probabilities p = segmenter.Run(Resize(photo, model.width, model.height));
//   p = ResizeProbabilities(p, photo.width, photo.height);
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/file.h"
#include "framework/net.h"
#include "lseg/image.h"
#include "lseg/model.h"
#include "lseg/photo_input.h"
#include "lseg/probabilities.h"

namespace lseg {

// What a process needs at the most while a net of a size is used, in bytes.
struct SegmentMemory {
  MemoryPlan net;       // on the GPU, if that is where it runs; else in the process' memory
  int64_t program = 0;  // what was there before the weights, other nets included
  int64_t beside = 0;   // what the caller of Run said it needs
  int64_t loading = 0;  // for a moment, before the net is made: weights as read, and as parameters
  int64_t Total() const { return std::max(net.Total(), loading) + program + beside; }
};

struct SegmenterOptions {
  // In place of what the weights file says of the model, for files that say nothing (.caffemodel).
  std::optional<NetDefinition> net;  // and what it says of classes, mean and scale
  std::vector<std::string> classes;  // empty: as above
  bool mirrored = false;  // probabilities are means over the photograph and its three mirror images
  std::optional<std::array<float, 3>> mean_bgr;
  Precision precision = Precision::kF32;
  bool measure_engines = false;  // choose the fastest by timing them, once a size
  std::string engine = "own";    // of convolutions: "own", or a library's (NetOptions.library)
  EngineCache* cache = nullptr;  // outlives the segmenter; may be null
  // Bytes that the process may have in memory, for nets on the CPU: larger images run in lower
  // strips. 0: what it has when the segmenter is made, and what is available then.
  int64_t memory_limit = 0;
  // Told of each size that gets a net, before the memory for it is taken, and again where more is
  // needed beside it.
  std::function<void(int width, int height, const SegmentMemory&)> planned;
};

class Segmenter {
 public:
  // Throws Error where the file cannot be read or its net has no answer (MakeInferenceNet).
  // `context` outlives the segmenter.
  Segmenter(const std::string& weights, Context& context, const SegmenterOptions& options = {});

  const ModelInfo& model() const { return model_; }

  // Probabilities of an RGB photograph at the size that it has, in the net's classes and at the
  // size of the net's answer (L-Seg's: the photograph's). A size that was not seen lately makes a
  // net of its own; the nets of the last two sizes are kept. Each has the weights as it takes them,
  // and parameters of its own: for another size the file is read again (which may have lost its
  // name by then, but must not have been changed). Of what cannot be read twice, such as a pipe,
  // all nets share the parameters, which are kept whole. Throws Error where the net does not take
  // the size, its memory cannot be had (OutOfMemory), a tensor that the net learns is missing in
  // the weights (half a model gives maps that look like an answer), or an answer is no probability.
  // beside: bytes that the caller will have in memory beside the net. before_answer is called when
  // the net has run, before memory is taken for what is returned.
  Probabilities Run(const Image& photo, int64_t beside = 0,
                    const std::function<void()>& before_answer = nullptr);

  // Makes the net of a size, as Run does.
  void Prepare(int width, int height, int64_t beside = 0) { NetOf(width, height, beside); }

  // For the log: how the net filled what the file lacks, and tensors that it has no use for.
  // Complete once a net was made.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  struct SizedNet {
    int width, height;
    std::unique_ptr<PhotoInput> input;
    std::unique_ptr<Net> net;
  };

  Probabilities RunOnce(SizedNet& sized, const Image& photo,
                        const std::function<void()>& before_answer);
  SizedNet& NetOf(int width, int height, int64_t beside);
  void MakeNet(int width, int height, int64_t beside);
  // Of a net without what others share with it.
  int64_t Held(const MemoryPlan& net) const;
  SegmentMemory MemoryOf(const MemoryPlan& net, int64_t beside) const;
  bool Fits(const SegmentMemory& memory) const;
  void CheckFits(const SegmentMemory& memory) const;
  void Tell(int width, int height, const SegmentMemory& memory);
  WeightsFile ReadFile();
  std::shared_ptr<ParameterSet> LoadParameters(const NetOptions& options);
  void NoteLoading(const NetParts& net, const LoadReport& report);
  void CheckProbabilities(const Probabilities& answer, Net& net) const;

  int64_t program_;  // bytes of the process before anything was read
  std::string path_;
  InputFile file_;
  std::vector<std::string> foreign_;  // layers that ParseWeights skipped
  WeightsFile weights_;               // emptied once they are in the first net
  ModelInfo model_;
  InferenceNet inference_;
  Context& context_;
  SegmenterOptions options_;
  std::shared_ptr<ParameterSet> shared_;  // where all nets share them, once there is one
  int64_t parameter_bytes_ = 0;           // known once there is a net
  int64_t told_ = 0;                      // the most that was told since the last net was made
  std::list<SizedNet> nets_;              // the latest in front
  std::vector<std::string> notes_;
};

}  // namespace lseg
