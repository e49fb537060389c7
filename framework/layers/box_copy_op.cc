// One op for crop, slice and concat: a list of boxes to copy. Its gradient is the list reversed.
#include "framework/layers/layers.h"
#include "kernels/runtime/buffer.h"

namespace lseg {
namespace {

class BoxCopyOp : public Op {
 public:
  BoxCopyOp(std::string name, std::vector<BoxCopyPart> parts)
      : name_(std::move(name)), parts_(std::move(parts)) {
    for (const BoxCopyPart& part : parts_) part.params.Validate();
  }
  std::string Name() const override { return name_; }
  const std::vector<BoxCopyPart>* AsBoxCopies() const override { return &parts_; }

  std::optional<AxisMap> Map(bool vertical) const override {
    const BoxCopyParams& p = parts_[0].params;
    const int64_t shift = vertical ? p.src_at.h - p.dst_at.h : p.src_at.w - p.dst_at.w;
    return AxisMap{1, static_cast<double>(shift)};
  }

  void AddGradient(GradientBuilder& builder) const override {
    // The gradient's inputs are those of our outputs that have a gradient, its outputs all our
    // inputs.
    std::vector<TensorId> inputs;
    std::vector<int> place(builder.outputs(), -1), targets;
    for (int i = 0; i < builder.outputs(); ++i) {
      if (builder.OutputGradient(i) == kNoTensor) continue;
      place[i] = static_cast<int>(inputs.size());
      inputs.push_back(builder.OutputGradient(i));
    }
    for (int i = 0; i < builder.inputs(); ++i) targets.push_back(i);
    std::vector<BoxCopyPart> reversed;
    for (const BoxCopyPart& part : parts_) {
      if (place[part.output] < 0) continue;
      const BoxCopyParams& p = part.params;
      reversed.push_back(
          {place[part.output], part.input, {p.dst, p.src, p.box, p.dst_at, p.src_at}});
    }
    bool any = false;
    for (int i : targets) any = any || builder.Wanted(i);
    if (reversed.empty() || !any) return;
    builder.AddGradientNode(std::make_unique<BoxCopyOp>(name_ + "_backward", std::move(reversed)),
                            std::move(inputs), targets);
  }

  void Run(Context& context, const OpArgs& args) const override {
    std::vector<BoxCopyJob> jobs;
    const auto run = [&] {
      BoxCopies(context, jobs);
      jobs.clear();
    };
    for (int output = 0; output < static_cast<int>(args.out.size()); ++output) {
      const GradMode mode = args.modes[output];
      if (mode == GradMode::kSkip) continue;
      float* dst = args.f32_out(output);
      if (mode == GradMode::kWrite) ZeroUncovered(context, output, dst);
      // One tensor may be several outputs, whose boxes may overlap.
      for (const BoxCopyJob& job : jobs) {
        if (job.dst != dst) continue;
        run();
        break;
      }
      for (const BoxCopyPart& part : parts_) {
        if (part.output != output) continue;
        jobs.push_back({part.params, args.f32_in(part.input), dst, mode});
      }
    }
    run();
  }

 private:
  // Boxes of one output do not overlap, so whether they leave anything out is seen from their
  // sizes.
  void ZeroUncovered(Context& context, int output, float* dst) const {
    int64_t covered = 0, boxes = 0;
    const BoxCopyPart* one = nullptr;
    for (const BoxCopyPart& part : parts_) {
      if (part.output != output) continue;
      covered += part.params.box.Count();
      one = &part;
      ++boxes;
    }
    LSEG_CHECK(one != nullptr, name_ << ": nothing is copied to output " << output);
    const int64_t total = one->params.dst.Count();
    if (covered == total) return;
    if (boxes == 1) {
      ZeroOutside(context, one->params, dst);
    } else {
      QueueZero(context, dst, total * static_cast<int64_t>(sizeof(float)));
    }
  }

  std::string name_;
  std::vector<BoxCopyPart> parts_;
};

}  // namespace

std::unique_ptr<Op> MakeBoxCopyOp(std::string name, std::vector<BoxCopyPart> parts) {
  return std::make_unique<BoxCopyOp>(std::move(name), std::move(parts));
}

}  // namespace lseg
