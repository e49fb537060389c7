// Inputs that a layer changes in place: what is fed is still the input.
#include <gtest/gtest.h>

#include <memory>

#include "framework/net.h"
#include "tests/error_of.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

const Shape kShape{1, 3, 4, 5};

// Numbers from -30 up: batch i begins at i - 30.
class Counting : public DataSource {
 public:
  std::vector<TensorDesc> Blobs() const override { return {{kShape}}; }
  void Fill(int64_t iteration, std::span<void* const> blobs) override {
    auto* values = static_cast<float*>(blobs[0]);
    for (int64_t i = 0; i < kShape.Count(); ++i) values[i] = static_cast<float>(iteration + i - 30);
  }
};

std::unique_ptr<Net> MakeNet(Context& context, const std::string& in_place,
                             const std::string& before = "") {
  const std::string text = before + InputText("data", "dim: 1 dim: 3 dim: 4 dim: 5") + in_place +
                           ConvText("score", "data", "num_output: 2 kernel_size: 1") +
                           InputText("label", "dim: 1 dim: 2 dim: 4 dim: 5") +
                           LossText("loss", "score", "label");
  static const caffe::SolverParameter solver = [] {
    caffe::SolverParameter sgd;
    sgd.set_type("SGD");
    return sgd;
  }();
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver;
  options.keep = {"data"};
  return std::make_unique<Net>(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(),
                               context, std::make_shared<ParameterSet>(), options);
}

const std::string kDropout = "layer { type: 'Dropout' bottom: 'data' top: 'data' }\n";

TEST(InputsChangedInPlace, AreFedByHand) {
  Context context;
  for (const std::string& layer : {ReluText("data"), kDropout}) {
    const auto net = MakeNet(context, layer);
    ASSERT_TRUE(net->HasInput("data"));
    Counting().Fill(0, std::vector<void*>{net->Input("data")});
    net->Fetch(0);
    net->Forward();
    const std::vector<float> data = net->Read("data");
    int passed = 0, stopped = 0;
    for (size_t i = 0; i < data.size(); ++i) {
      const float fed = static_cast<float>(i) - 30;
      (data[i] == 0 ? stopped : passed) += 1;
      if (data[i] == 0) continue;
      EXPECT_EQ(data[i], layer == kDropout ? 2 * fed : fed);
    }
    EXPECT_GT(passed, 10);
    EXPECT_GT(stopped, 10);
  }
}

TEST(InputsChangedInPlace, AreFedFromASource) {
  Context context;
  Counting source;
  for (const std::string& layer : {ReluText("data"), kDropout}) {
    const auto net = MakeNet(context, layer);
    net->AttachSource(&source, {"data"});
    net->Fetch(7);
    net->Forward();
    const float last = static_cast<float>(7 + kShape.Count() - 1 - 30);
    const float read = net->Read("data").back();
    EXPECT_TRUE(read == last || (layer == kDropout && (read == 0 || read == 2 * last))) << read;
  }
  EXPECT_EQ(ErrorOf([&] { MakeNet(context, "")->AttachSource(&source, {"score"}); }),
            "blob 'score' is no input of the net");
  EXPECT_EQ(ErrorOf([&] { MakeNet(context, "")->Input("nothing"); }),
            "blob 'nothing' is no input of the net");
}

TEST(InputsChangedInPlace, HaveGradientsOfWhatIsFed) {
  Context context;
  const auto net = MakeNet(context, ReluText("data"), "force_backward: true ");
  Counting().Fill(0, std::vector<void*>{net->Input("data")});
  net->Forward();
  net->Backward();
  const std::vector<float> gradient = net->Gradient("data");
  for (size_t i = 0; i < gradient.size(); ++i) {
    EXPECT_EQ(gradient[i] == 0, i <= 30) << i;  // the ReLU lets nothing through up to 0
  }
}

}  // namespace
}  // namespace lseg
