// The table letter for letter, JSON and CSV value for value, of two images whose scores are known.
#include "lseg/eval_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace lseg {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

// 2x2 pixels, EX and SE. EX: in "a" all right; in "b" one of two found among two. SE: nowhere.
Evaluation Example(std::vector<Protocol> protocols = {Protocol::kIdrid33}) {
  Evaluation evaluation;
  evaluation.options.truth_list = "set/test.txt";
  evaluation.options.prob_folder = "out";
  PrEvaluator evaluator({.lesions = {"EX", "SE"}, .protocols = protocols});
  evaluation.options.scores = evaluator.options();
  evaluation.kind = PredictionKind::kNpy;
  evaluation.listed = 2;
  const std::vector<float> a = {1, 0, 0, 0, 0, 0, 0, 0}, b = {1, 1, 0, 0, 0, 1, 0, 0};
  const std::vector<uint8_t> truth_a = {1, 0, 0, 0, 0, 0, 0, 0}, truth_b = {1, 0, 1, 0, 0, 0, 0, 0};
  evaluation.images.push_back({"a", 2, 2, evaluator.Add("a", a.data(), truth_a.data(), 2, 2)});
  evaluation.images.push_back(
      {"b,\"1\"", 2, 2, evaluator.Add("b", b.data(), truth_b.data(), 2, 2)});
  evaluation.pooled = evaluator.Pooled();
  return evaluation;
}

// idrid33 by hand. Pooled EX: hits 2 of 3, predicted 3: (0, 1) (2/3, 2/3) (1, 3/8), so
// 2/3 * 5/6 + 1/3 * (2/3 + 3/8) / 2. "a": 1/2 ... (0, 1) (1, 1) (1, 1/4): 1. "b": (0, 1)
// (1/2, 1/2) (1, 1/2): 3/8 + 1/4.
constexpr double kPooled = 2 / 3. * 5 / 6 + 1 / 3. * (2 / 3. + 3 / 8.) / 2;
constexpr double kPerImage = (1 + 0.625) / 2;

TEST(EvalReport, Table) {
  EXPECT_EQ(TableText(Example()),
            "2 images of set/test.txt, predictions (npy) in out\n"
            "at 2x2, the prediction's size; pooled over 8 pixels\n"
            "idrid33: AUPR by the IDRiD challenge: 33 thresholds on 8-bit gray, trapezoids\n"
            "Dice to recall: where the probability is at least 0.5\n"
            "\n"
            "lesion  idrid33    Dice     IoU  precision  recall  prevalence\n"
            "EX       0.7292  0.6667  0.5000     0.6667  0.6667     0.37500\n"
            "SE            -  0.0000  0.0000     0.0000       -     0.00000\n"
            "mean     0.7292  0.6667  0.5000     0.6667  0.6667     0.37500\n"
            "SE: no positive pixel in the truth, so no AUPR; left out of the mean\n"
            "\n"
            "per image, mean over the images that have the lesion\n"
            "lesion  idrid33    Dice  images\n"
            "EX       0.8125  0.7500       2\n"
            "SE            -       -       0\n");
}

TEST(EvalReport, Json) {
  const json report = json::parse(JsonText(Example()));
  EXPECT_EQ(report["images"], 2);
  EXPECT_EQ(report["resolution"], "2x2");
  EXPECT_EQ(report["size_of"], "prediction");
  EXPECT_EQ(report["absent"], json::array({"SE"}));
  EXPECT_EQ(report["thresholds"]["EX"], 0.5);
  const json& scores = report["protocols"]["idrid33"];
  // Sums of a few products in double.
  EXPECT_NEAR(scores["EX"]["aupr"].get<double>(), kPooled, 1e-15);
  EXPECT_NEAR(scores["mean"]["aupr"].get<double>(), kPooled, 1e-15);
  EXPECT_NEAR(scores["EX"]["aupr_per_image"].get<double>(), kPerImage, 1e-15);
  EXPECT_EQ(scores["EX"]["dice"], 2 / 3.);
  EXPECT_EQ(scores["EX"]["iou"], 0.5);
  EXPECT_EQ(scores["EX"]["precision"], 2 / 3.);
  EXPECT_EQ(scores["EX"]["recall"], 2 / 3.);
  EXPECT_EQ(scores["EX"]["prevalence"], 3 / 8.);
  EXPECT_TRUE(scores["SE"]["aupr"].is_null());
  EXPECT_TRUE(scores["SE"]["recall"].is_null());
  EXPECT_EQ(scores["SE"]["dice"], 0);
  EXPECT_EQ(report.count("baseline"), 0u);
}

TEST(EvalReport, Csv) {
  EXPECT_EQ(
      CsvText(Example()),
      "image,width,height,lesion,positives,dice,iou,precision,recall,prevalence,aupr_idrid33\n"
      "a,2,2,EX,1,1,1,1,1,0.25,1\n"
      "a,2,2,SE,0,,,,,0,\n"
      "\"b,\"\"1\"\"\",2,2,EX,2,0.5,0.333333333,0.5,0.5,0.5,0.625\n"
      "\"b,\"\"1\"\"\",2,2,SE,0,0,0,0,,0,\n");
}

TEST(EvalReport, ClassMapsHaveNoAreas) {
  Evaluation evaluation = Example({});
  evaluation.options.scores.protocols = {Protocol::kIdrid33};
  evaluation.kind = PredictionKind::kClassMap;
  EXPECT_THAT(TableText(evaluation), HasSubstr("AUPR has no value: class maps have one point"));
  EXPECT_THAT(TableText(evaluation), HasSubstr("EX            -  0.6667"));
  EXPECT_THAT(TableText(evaluation), Not(HasSubstr("trapezoids")));
  const json report = json::parse(JsonText(evaluation));
  EXPECT_TRUE(report["protocols"]["idrid33"]["EX"]["aupr"].is_null());
  EXPECT_TRUE(report["protocols"]["idrid33"]["mean"]["aupr"].is_null());
  EXPECT_EQ(report["protocols"]["idrid33"]["EX"]["dice"], 2 / 3.);
  EXPECT_TRUE(report["thresholds"]["EX"].is_null());
}

TEST(EvalReport, Baseline) {
  Evaluation evaluation;
  evaluation.options.scores.lesions = {"EX", "SE"};
  evaluation.listed = 3;
  evaluation.baseline_size = "4x4";
  ColourAreas areas{{0.1, 0.2, 0.05, 0.3, 0.3, 0.01}, 3};
  evaluation.baseline = {areas, ColourAreas()};
  EXPECT_EQ(
      TableText(evaluation),
      "colour baseline of 3 images at 4x4: idrid33 AUPR of the colours taken as probabilities\n"
      "lesion    best        map       R       G       B  inverse R  inverse G  inverse B\n"
      "EX      0.3000  inverse R  0.1000  0.2000  0.0500     0.3000     0.3000     0.0100\n"
      "SE           -          -       -       -       -          -          -          -\n");
  const json report = json::parse(JsonText(evaluation));
  EXPECT_EQ(report.count("protocols"), 0u);
  EXPECT_EQ(report["baseline"]["EX"]["map"], "inverse R");
  EXPECT_EQ(report["baseline"]["EX"]["aupr"], 0.3);
  EXPECT_EQ(report["baseline"]["EX"]["maps"]["G"], 0.2);
  EXPECT_TRUE(report["baseline"]["SE"]["aupr"].is_null());
}

TEST(EvalReport, Curves) {
  const std::vector<Panel> panels = CurvePanels(Example({Protocol::kIdrid33, Protocol::kMmseg11}));
  ASSERT_EQ(panels.size(), 2u);
  EXPECT_EQ(panels[0].title, "idrid33, 2 images at 2x2");
  EXPECT_EQ(panels[1].title, "mmseg11, 2 images at 2x2");
  ASSERT_EQ(panels[0].series.size(), 2u);
  EXPECT_EQ(panels[0].series[0].name, "EX, AUPR 0.7292");
  EXPECT_EQ(panels[0].series[0].x.size(), 33u);
  EXPECT_EQ(panels[0].series[0].x.back(), 1);
  EXPECT_EQ(panels[0].series[0].y.back(), 3 / 8.);
  EXPECT_EQ(panels[0].series[1].name, "SE, absent");
  EXPECT_TRUE(panels[0].series[1].x.empty());
}

TEST(EvalReport, SizeRange) {
  EXPECT_EQ(SizeRange({{"a", 30, 20, {}}, {"b", 30, 20, {}}}), "30x20");
  EXPECT_EQ(SizeRange({{"a", 30, 20, {}}, {"b", 9, 100, {}}, {"c", 20, 20, {}}}), "20x20 to 9x100");
}

}  // namespace
}  // namespace lseg
