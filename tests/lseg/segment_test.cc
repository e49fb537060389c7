// The Segmenter on models small enough to work out by hand.
#include "lseg/segment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <thread>

#include "kernels/runtime/random.h"
#include "lseg/npy.h"
#include "lseg/segment_output.h"
#include "tests/error_of.h"
#include "tests/framework/train_once.h"
#include "tests/lseg/tiny_model.h"

namespace lseg {
namespace {

using testing::HasSubstr;

class SegmentTest : public testing::Test {
 protected:
  SegmentTest() {
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    prefix_ = testing::TempDir() + "segment_" + test->name();
  }
  ~SegmentTest() override {
    for (const std::string& path : written_) std::remove(path.c_str());
  }

  std::string Write(const WeightsFile& file) {
    written_.push_back(prefix_ + ".safetensors");
    file.Write(written_.back());
    return written_.back();
  }
  // The message of the Error of segmenting a photograph with this file; empty where there is none.
  std::string ErrorOf(const WeightsFile& file) {
    try {
      Segmenter(Write(file), context_).Run(Image(4, 4, 3, 100));
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }

  Context context_;
  std::string prefix_;
  std::vector<std::string> written_;
};

// 5 x 3, every value another one.
Image Gradient(int width = 5, int height = 3) {
  Image photo(width, height, 3);
  for (size_t i = 0; i < photo.pixels.size(); ++i) photo.pixels[i] = (i * 37 + 11) % 256;
  return photo;
}

void ExpectTinyAnswer(const Probabilities& answer, const Image& photo) {
  ASSERT_EQ(answer.width, photo.width);
  ASSERT_EQ(answer.height, photo.height);
  ASSERT_EQ(answer.classes, (std::vector<std::string>{"EX", "HE", "MA", "SE"}));
  for (size_t i = 0; i < answer.Plane(); ++i) {
    const uint8_t* rgb = &photo.pixels[3 * i];
    const double logits[4] = {0.1 * (rgb[0] - 100), 0.1 * (rgb[1] - 50), 0.1 * (rgb[2] - 150), -1};
    for (size_t c = 0; c < 4; ++c) {
      // One f32 product and a sigmoid of 2 ulp: 1e-6 is an order above their rounding.
      EXPECT_NEAR(answer.Map(c)[i], Sigmoid(logits[c]), 1e-6) << "class " << c << " pixel " << i;
    }
  }
}

TEST_F(SegmentTest, AnswersPerPixelWithChannelsMeanAndScaleOfTheFile) {
  Segmenter segmenter(Write(TinyModel()), context_);
  EXPECT_EQ(segmenter.model().width, 8);
  EXPECT_EQ(segmenter.model().height, 6);
  ExpectTinyAnswer(segmenter.Run(Gradient()), Gradient());
}

TEST_F(SegmentTest, SizesMayComeInAnyOrder) {
  Segmenter segmenter(Write(TinyModel()), context_);
  for (auto [width, height] : {std::pair{5, 3}, {3, 5}, {9, 9}, {5, 3}, {1, 1}, {9, 9}}) {
    const Image photo = Gradient(width, height);
    ExpectTinyAnswer(segmenter.Run(photo), photo);
  }
}

TEST_F(SegmentTest, TheFileMayGoOnceItIsRead) {
  const std::string path = Write(TinyModel());
  Segmenter segmenter(path, context_);
  std::remove(path.c_str());
  ExpectTinyAnswer(segmenter.Run(Gradient()), Gradient());
}

// Each size reads the weights again, the last two of which stay.
TEST_F(SegmentTest, NorIsItsNameNeededForOtherSizes) {
  const std::string path = Write(TinyModel());
  Segmenter segmenter(path, context_);
  ExpectTinyAnswer(segmenter.Run(Gradient()), Gradient());
  WeightsFile another = TinyModel();
  another.Write(path);  // renamed into the place of the first
  std::remove(path.c_str());
  for (int width = 1; width < 4; ++width) {
    ExpectTinyAnswer(segmenter.Run(Gradient(width, 9)), Gradient(width, 9));
  }
}

TEST_F(SegmentTest, AFileThatIsWrittenOverIsNoLongerRead) {
  const std::string path = Write(TinyModel());
  Segmenter segmenter(path, context_);
  ExpectTinyAnswer(segmenter.Run(Gradient()), Gradient());
  std::ofstream(path, std::ios::in | std::ios::out | std::ios::ate) << "more";
  EXPECT_EQ(lseg::ErrorOf([&] { segmenter.Run(Gradient(4, 9)); }),
            path + ": was changed while it was in use");
  ExpectTinyAnswer(segmenter.Run(Gradient()), Gradient());
}

TEST_F(SegmentTest, APipeServesAllSizes) {
  const std::string file = Write(TinyModel()), pipe = prefix_ + ".fifo";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  written_.push_back(pipe);
  std::thread writer([&] { std::ofstream(pipe) << std::ifstream(file).rdbuf(); });
  Segmenter segmenter(pipe, context_);
  writer.join();
  for (int width = 1; width < 4; ++width) {
    ExpectTinyAnswer(segmenter.Run(Gradient(width, 9)), Gradient(width, 9));
  }
}

TEST_F(SegmentTest, ATensorThatTheNetLearnsMustBeThere) {
  WeightsFile half;
  half.metadata = TinyModel().metadata;
  half.Add(*TinyModel().Find("score.weight"));
  Segmenter segmenter(Write(half), context_);
  for (int photograph = 0; photograph < 2; ++photograph) {
    EXPECT_THAT(lseg::ErrorOf([&] { segmenter.Run(Image(4, 4, 3, 100)); }),
                HasSubstr("this file lacks: score.bias"));
  }
}

TEST_F(SegmentTest, WithoutMetadataTheBuiltInNetIsMeant) {
  WeightsFile bare;
  bare.Add(*TinyModel().Find("score.weight"));
  EXPECT_THAT(ErrorOf(bare), HasSubstr("conv1_1.weight"));
}

TEST_F(SegmentTest, UpsamplingThatDoesNotLearnMayBeMissing) {
  WeightsFile file = TinyModel();
  file.metadata["lseg.net"] = R"(
    layer { name: "data" type: "Input" top: "data"
            input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
    layer { name: "score" type: "Convolution" bottom: "data" top: "score"
            convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "up" type: "Deconvolution" bottom: "score" top: "up"
            param { lr_mult: 0 } param { lr_mult: 0 }
            convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 } }
    layer { name: "answer" type: "Sigmoid" bottom: "up" top: "probability" })";
  Segmenter segmenter(Write(file), context_);
  const Probabilities answer = segmenter.Run(Image(4, 4, 3, 100));
  EXPECT_EQ(answer.width, 8);  // the net's own size; the caller brings it to the photograph's
  // EX sees R = 100, its mean: logit 0 everywhere, whatever the upsampling weighs.
  EXPECT_NEAR(answer.Map(0)[3 * 8 + 3], 0.5, 1e-6);
  // SE is -1 in the middle, where the four taps of an upsampled pixel lie inside the image.
  EXPECT_NEAR(answer.Map(3)[3 * 8 + 3], Sigmoid(-1), 1e-6);
}

// A head over two stages, whose upsampling the file lacks. Of even sizes the score layer of the
// first stage is computed where that stage ends, and reads its weights as they are; of odd ones,
// where pooling rounds down, it is a layer of its own, which packs them.
std::string StagedText() {
  std::string text = InputText("data", "dim: 1 dim: 3 dim: 8 dim: 8");
  text += Conv3x3Text("a", "data") + ReluText("a") + Conv3x3Text("b", "a") + ReluText("b");
  text +=
      "layer { name: 'pool' type: 'Pooling' bottom: 'b' top: 'pool'\n"
      "  pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR } }\n";
  text += Conv3x3Text("c", "pool") + ReluText("c") + Conv3x3Text("d", "c") + ReluText("d");
  text += ConvText("s1", "b", "num_output: 2 kernel_size: 1");
  text += ConvText("s2", "d", "num_output: 2 kernel_size: 1");
  text +=
      "layer { name: 'up' type: 'Deconvolution' bottom: 's2' top: 'up' param { lr_mult: 0 }\n"
      "  convolution_param { num_output: 2 kernel_size: 4 stride: 2 bias_term: false } }\n"
      "layer { name: 'crop1' type: 'Crop' bottom: 's1' bottom: 'data' top: 'd1' }\n"
      "layer { name: 'crop2' type: 'Crop' bottom: 'up' bottom: 'data' top: 'd2' }\n";
  for (const char* side : {"1", "2"}) {
    text += std::string("layer { name: 'slice") + side + "' type: 'Slice' bottom: 'd" + side +
            "' top: 'd" + side + "a' top: 'd" + side +
            "b' slice_param { axis: 1 slice_point: 1 } }\n";
  }
  for (const char* lesion : {"a", "b"}) {
    text += std::string("layer { name: 'cat") + lesion + "' type: 'Concat' bottom: 'd1" + lesion +
            "' bottom: 'd2" + lesion + "' top: 'cat" + lesion + "' }\n" +
            ConvText(std::string("f") + lesion, std::string("cat") + lesion,
                     "num_output: 1 kernel_size: 1");
  }
  return text +
         "layer { name: 'logits' type: 'Concat' bottom: 'fa' bottom: 'fb' top: 'logits' }\n"
         "layer { name: 'answer' type: 'Sigmoid' bottom: 'logits' top: 'probability' }\n";
}

TEST_F(SegmentTest, NetsOfOtherSizesTakeNothingFromOneAnother) {
  WeightsFile file;
  Random random(1, 1);
  const auto add = [&](const std::string& layer, std::vector<int64_t> shape) {
    std::vector<float> weight(shape[0] * shape[1] * shape[2] * shape[3]), bias(shape[0]);
    for (float& value : weight) value = random.Uniform(-0.2f, 0.2f);
    for (float& value : bias) value = random.Uniform(-0.2f, 0.2f);
    file.Add({layer + ".bias", {shape[0]}, bias});
    file.Add({layer + ".weight", std::move(shape), weight});
  };
  add("a", {16, 3, 3, 3});
  for (const char* layer : {"b", "c", "d"}) add(layer, {16, 16, 3, 3});
  for (const char* layer : {"s1", "s2"}) add(layer, {2, 16, 1, 1});
  for (const char* layer : {"fa", "fb"}) add(layer, {1, 2, 1, 1});
  file.metadata = TinyModel().metadata;
  file.metadata["lseg.net"] = StagedText();
  file.metadata["lseg.classes"] = "EX,HE";
  const std::string path = Write(file);
  for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
    SCOPED_TRACE(ToString(precision));
    SegmenterOptions options;
    options.precision = precision;
    Segmenter segmenter(path, context_, options);
    for (const auto& [width, height] :
         {std::pair{36, 28}, {37, 29}, {36, 28}, {21, 22}, {37, 29}}) {
      const Image photo = Gradient(width, height);
      EXPECT_EQ(segmenter.Run(photo).values, Segmenter(path, context_, options).Run(photo).values)
          << width << "x" << height;
    }
  }
}

TEST_F(SegmentTest, TensorsWithoutUseAreNoted) {
  WeightsFile file = TinyModel();
  file.Add({"other.weight", {1}, {0}});
  Segmenter segmenter(Write(file), context_);
  segmenter.Run(Gradient());
  EXPECT_THAT(segmenter.notes(), testing::Contains(HasSubstr("skipped: other.weight")));
}

TEST_F(SegmentTest, AnAnswerThatIsNoProbabilityIsAnError) {
  // B and G come as -5 and 5: infinities of either sign, which the next layer adds up.
  WeightsFile large;
  large.metadata = TinyModel().metadata;
  large.metadata["lseg.net"] = R"(
    layer { name: "data" type: "Input" top: "data"
            input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
    layer { name: "score" type: "Convolution" bottom: "data" top: "score"
            convolution_param { num_output: 2 kernel_size: 1 bias_term: false } }
    layer { name: "sum" type: "Convolution" bottom: "score" top: "sum"
            convolution_param { num_output: 4 kernel_size: 1 bias_term: false } }
    layer { name: "answer" type: "Sigmoid" bottom: "sum" top: "probability" })";
  large.Add({"score.weight", {2, 3, 1, 1}, {3e38f, 0, 0, 0, 3e38f, 0}});
  large.Add({"sum.weight", {4, 2, 1, 1}, std::vector<float>(8, 1)});
  EXPECT_THAT(ErrorOf(large), HasSubstr("layer 'score'"));

  WeightsFile logits = TinyModel();
  logits.metadata["lseg.net"] = R"(
    layer { name: "data" type: "Input" top: "data"
            input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
    layer { name: "score" type: "Convolution" bottom: "data" top: "probability"
            convolution_param { num_output: 4 kernel_size: 1 } })";
  EXPECT_THAT(ErrorOf(logits), HasSubstr("where a probability was expected"));
}

TEST_F(SegmentTest, ClassesMustFitTheAnswer) {
  WeightsFile file = TinyModel();
  file.metadata["lseg.classes"] = "EX,MA";
  EXPECT_THAT(ErrorOf(file), HasSubstr("its classes are EX, MA"));
}

TEST_F(SegmentTest, OutputsHoldWhatTheProbabilitiesSay) {
  Probabilities maps(2, 1, {"EX", "HE", "MA", "SE"});
  maps.values = {0.2f, 0.9f, 0.7f, 0.1f, 0.1f, 0.8f, 0, 0};
  for (const char* end : {".label.png", ".overlay.png", ".prob.npy", ".EX.prob.png", ".HE.prob.png",
                          ".MA.prob.png", ".SE.prob.png"}) {
    written_.push_back(prefix_ + end);
  }
  WriteSegmentation(prefix_, Image(2, 1, 3, 9), maps,
                    {.thresholds = std::vector<float>(4, 0.5f), .npy = true, .png = true});
  EXPECT_THAT(ReadClassMap(prefix_ + ".label.png").pixels, testing::ElementsAre(2, 1));
  EXPECT_EQ(ReadPhoto(prefix_ + ".overlay.png").width, 2);
  const NpyArray array = ReadNpy(prefix_ + ".prob.npy");
  EXPECT_EQ(array.shape, (std::vector<int64_t>{4, 1, 2}));
  EXPECT_EQ(array.values, maps.values);
  EXPECT_EQ(ReadPhoto(prefix_ + ".MA.prob.png").pixels[3], 204);  // round(255 * 0.8)
}

TEST_F(SegmentTest, AClassNameCannotLeadOutOfTheFolder) {
  Probabilities maps(1, 1, {"../EX"});
  EXPECT_THROW(WriteSegmentation(prefix_, Image(1, 1, 3), maps, {.thresholds = {0.5f}}), Error);
}

// A 3x3 convolution that is not symmetric, at odd sizes: the mean of the four answers, each turned
// back pixel by pixel here.
TEST_F(SegmentTest, MirroredIsTheMeanOverMirrorImages) {
  std::string net = kTinyNet;
  net.replace(net.find("kernel_size: 1"), 14, "kernel_size: 3 pad: 1");
  WeightsFile model = TinyModel(), skewed;
  skewed.metadata = model.metadata;
  skewed.metadata["lseg.net"] = net;
  std::vector<float> weight(4 * 3 * 3 * 3);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = 0.1f * (static_cast<int>(i * 7 % 11) - 5);
  skewed.Add({"score.weight", {4, 3, 3, 3}, weight});
  skewed.Add({"score.bias", {4}, {0.1f, -0.2f, 0.3f, 0}});
  const std::string path = Write(skewed);
  Segmenter plain(path, context_);
  SegmenterOptions options;
  options.mirrored = true;
  Segmenter mirrored(path, context_, options);
  const Image photo = Gradient(9, 5);
  const Probabilities actual = mirrored.Run(photo);
  std::vector<double> expected(actual.values.size());
  for (const auto& [flip_x, flip_y] : {std::pair(0, 0), {1, 0}, {0, 1}, {1, 1}}) {
    const auto at = [&](int x, int y) {
      return (flip_y ? photo.height - 1 - y : y) * photo.width + (flip_x ? photo.width - 1 - x : x);
    };
    Image turned = photo;
    for (int y = 0; y < photo.height; ++y) {
      for (int x = 0; x < photo.width; ++x) {
        for (int c = 0; c < 3; ++c) {
          turned.pixels[3 * (y * photo.width + x) + c] = photo.pixels[3 * at(x, y) + c];
        }
      }
    }
    const Probabilities answer = plain.Run(turned);
    for (size_t c = 0; c < 4; ++c) {
      for (int y = 0; y < photo.height; ++y) {
        for (int x = 0; x < photo.width; ++x) {
          expected[c * answer.Plane() + at(x, y)] += answer.Map(c)[y * photo.width + x] / 4;
        }
      }
    }
  }
  double asymmetry = 0;
  const Probabilities once = plain.Run(photo);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(actual.values[i], expected[i], 3e-7) << i;  // four roundings of numbers below 4
    asymmetry = std::max(asymmetry, std::fabs(once.values[i] - expected[i]));
  }
  EXPECT_GT(asymmetry, 0.01) << "the mean shows something";
}

}  // namespace
}  // namespace lseg
