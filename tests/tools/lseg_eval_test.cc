// The program on tiny files: scores that scikit-learn or a pencil gives, every form of truth and
// prediction, and what a user sees of each mistake.
#include <algorithm>
#include <limits>

#include "tests/tools/eval_set.h"

namespace lseg {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST_F(LsegEval, ScoresAreScikitLearns) {
  WriteMasks();
  WriteNpyMaps();
  const json scores = Scores({"--prob", Path("maps"), "--protocol", "all"});
  EXPECT_EQ(scores["images"], 2);
  const json& protocols = scores["protocols"];
  EXPECT_NEAR(protocols["idrid33"]["EX"]["aupr"].get<double>(), kIdrid33, kTolerance);
  EXPECT_NEAR(protocols["mmseg11"]["EX"]["aupr"].get<double>(), kMmseg11, kTolerance);
  EXPECT_NEAR(protocols["exact"]["EX"]["aupr"].get<double>(), kExact, kTolerance);
  // 12 of the 24 pixels are at 0.5 or above, 7 of them among EX's 9.
  EXPECT_EQ(protocols["idrid33"]["EX"]["recall"], 7 / 9.);
  EXPECT_EQ(protocols["idrid33"]["EX"]["precision"], 7 / 12.);
  EXPECT_EQ(protocols["idrid33"]["EX"]["dice"], 14 / 21.);
  EXPECT_EQ(protocols["idrid33"]["EX"]["prevalence"], 9 / 24.);
  for (const char* absent : {"HE", "MA"}) {
    EXPECT_TRUE(protocols["idrid33"][absent]["aupr"].is_null());
  }
  EXPECT_EQ(scores["absent"], json::array({"HE", "MA"}));
  const double mean = protocols["idrid33"]["mean"]["aupr"];
  const double se = protocols["idrid33"]["SE"]["aupr"];
  EXPECT_NEAR(mean, (kIdrid33 + se) / 2, kTolerance);
}

// Two pixels: the first is EX and MA at once, which no class map can say; HE and SE are not
// annotated.
TEST_F(LsegEval, ALineThatNamesMasksKeepsOverlapAndLeavesOut) {
  Image both(2, 1, 1), ma(2, 1, 1);
  both.pixels = {255, 255};
  ma.pixels = {255, 0};
  WritePng(Path("set/ex.png"), both);
  WritePng(Path("set/ma.png"), ma);
  WriteFile(Path("set/test.txt"), "images/a.png\tex.png\t-\tma.png\t-\n");
  const std::vector<float> maps = {1, 0, 1, 1, 1, 0, 1, 1};
  WriteNpy(Path("maps/a.prob.npy"), {4, 1, 2}, maps.data());
  const json scores = Scores({"--prob", Path("maps"), "--protocol", "all"});
  const json& of = scores["protocols"]["idrid33"];
  EXPECT_EQ(of["EX"]["recall"], 0.5);  // the second pixel is missed
  EXPECT_EQ(of["EX"]["precision"], 1.0);
  EXPECT_EQ(of["MA"]["recall"], 1.0);  // the first counts here, too
  EXPECT_EQ(of["MA"]["precision"], 1.0);
  for (const char* lesion : {"HE", "SE"}) {
    EXPECT_TRUE(of[lesion]["precision"].is_null()) << lesion;  // not 0: nothing counts
    EXPECT_EQ(scores["annotated"][lesion], 0);
  }
  EXPECT_EQ(scores["annotated"]["EX"], 1);
  EXPECT_EQ(scores["absent"], json::array());
  EXPECT_EQ(of["mean"]["recall"], 0.75);
  const ProgramResult result = Eval({"--prob", Path("maps"), "--csv", Path("images.csv")});
  EXPECT_THAT(result.out, HasSubstr("HE: annotated in none of the images"));
  EXPECT_THAT(ReadFile(Path("images.csv")), testing::Not(HasSubstr(",HE,")));
  WriteFile(Path("set/test.txt"), "images/a.png\tex.png\tma.png\n");
  EXPECT_THAT(Eval({"--prob", Path("maps")}).err, HasSubstr("its line has 2 masks"));
}

TEST_F(LsegEval, WritesTableCsvAndCurves) {
  WriteMasks();
  WriteNpyMaps();
  const ProgramResult result =
      Eval({"--prob", Path("maps"), "--csv", Path("images.csv"), "--curves", Path("curves.svg"),
            "--threshold", "0.5,0.25,0.5,0.3"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("2 images of " + Path("set/test.txt")));
  EXPECT_THAT(result.out, HasSubstr("at 4x3, the prediction's size; pooled over 24 pixels"));
  EXPECT_THAT(result.out, HasSubstr("idrid33: AUPR by the IDRiD challenge"));
  EXPECT_THAT(result.out, HasSubstr("at least EX 0.5, HE 0.25, MA 0.5, SE 0.3"));
  EXPECT_THAT(result.out,
              HasSubstr("\nEX       0.7450  0.6667  0.5000     0.5833  0.7778     0.37500\n"));
  EXPECT_THAT(result.out, HasSubstr("\nHE            -  0.0000"));
  EXPECT_THAT(result.out, HasSubstr("\nMA: no positive pixel in the truth"));
  const std::string csv = ReadFile(Path("images.csv"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 2 * 4);
  EXPECT_THAT(csv, HasSubstr("\na,4,3,EX,5,"));
  EXPECT_THAT(csv, HasSubstr("\nb,4,3,MA,0,,,,,0,\n"));
  EXPECT_THAT(ReadFile(Path("curves.svg")), HasSubstr(">EX, AUPR 0.7450</text>"));
}

TEST_F(LsegEval, GrayPngsScoreLikeTheProbabilitiesTheyRound) {
  WriteLabels("set/labels", ".png");  // no masks: the class map is the truth
  for (int image : {0, 1}) {
    const std::vector<float> maps = Maps(image);
    for (int c = 0; c < 4; ++c) {
      Image gray(4, 3, 1);
      for (int i = 0; i < 12; ++i) {
        gray.pixels[i] = static_cast<uint8_t>(std::lround(255.0 * maps[c * 12 + i]));
      }
      WritePng(Path("maps/" + Name(image) + "." + kLesions[c] + ".prob.png"), gray);
    }
  }
  const json scores = Scores({"--prob", Path("maps")});
  EXPECT_EQ(scores["predictions"], "8-bit png");
  EXPECT_NEAR(scores["protocols"]["idrid33"]["EX"]["aupr"].get<double>(), kIdrid33, kTolerance);
  EXPECT_EQ(scores["protocols"]["idrid33"]["EX"]["recall"], 7 / 9.);
}

TEST_F(LsegEval, ClassMapsHaveOnePoint) {
  WriteMasks();
  WriteLabels("maps", ".label.png");
  const json scores = Scores({"--labels", Path("maps")});
  for (const char* lesion : {"EX", "SE"}) {
    const json& of = scores["protocols"]["idrid33"][lesion];
    EXPECT_TRUE(of["aupr"].is_null());
    EXPECT_EQ(of["dice"], 1);
  }
  EXPECT_TRUE(scores["protocols"]["idrid33"]["mean"]["aupr"].is_null());
  EXPECT_THAT(Eval({"--labels", Path("maps")}).out, HasSubstr("AUPR has no value: class maps"));
}

// Masks may overlap, so they come before the class map.
TEST_F(LsegEval, MasksComeBeforeTheClassMap) {
  WriteMasks();
  for (int image : {0, 1}) {
    WriteIndexedPng(Path("set/labels/" + Name(image) + ".png"), Image(4, 3, 1));  // nothing
    WritePng(Path("set/masks/" + Name(image) + "_HE.png"), Mask(image, "EX"));
  }
  WriteNpyMaps();
  const json scores = Scores({"--prob", Path("maps")});
  EXPECT_EQ(scores["protocols"]["idrid33"]["EX"]["prevalence"], 9 / 24.);
  EXPECT_EQ(scores["protocols"]["idrid33"]["HE"]["prevalence"], 9 / 24.);
  EXPECT_NEAR(scores["protocols"]["idrid33"]["EX"]["aupr"].get<double>(), kIdrid33, kTolerance);
}

// Truth 4x2 with its left column EX; prediction 2x1: 1 on the left, 0 on the right.
TEST_F(LsegEval, ComparesAtThePredictionsOrTheTruthsSize) {
  WriteFile(Path("set/test.txt"), "images/a.png labels/a.png\n");
  Image classes(4, 2, 1);
  classes.pixels[0] = classes.pixels[4] = 1;
  WriteIndexedPng(Path("set/labels/a.png"), classes);
  const std::vector<float> maps = {1, 0};
  WriteNpy(Path("maps/a.prob.npy"), {1, 1, 2}, maps.data());
  Image label(2, 1, 1);
  label.pixels[0] = 1;
  WriteIndexedPng(Path("maps/a.label.png"), label);

  // Half of the left pixel's area is lesion: it is a lesion.
  json scores = Scores({"--prob", Path("maps"), "--classes", "EX"});
  EXPECT_EQ(scores["resolution"], "2x1");
  EXPECT_EQ(scores["size_of"], "prediction");
  EXPECT_EQ(scores["protocols"]["idrid33"]["EX"]["dice"], 1);
  // Columns become 1, 0.75, 0.25, 0: four pixels at 0.5 or above, two of them lesion.
  scores = Scores({"--prob", Path("maps"), "--classes", "EX", "--size", "truth"});
  EXPECT_EQ(scores["resolution"], "4x2");
  EXPECT_EQ(scores["size_of"], "truth");
  EXPECT_EQ(scores["protocols"]["idrid33"]["EX"]["dice"], 2 * 2 / (2 + 4.));
  EXPECT_EQ(scores["protocols"]["idrid33"]["EX"]["aupr"], 1);
  scores = Scores({"--labels", Path("maps"), "--classes", "EX", "--size", "truth"});
  EXPECT_EQ(scores["resolution"], "4x2");
  EXPECT_EQ(scores["protocols"]["idrid33"]["EX"]["dice"], 2 * 2 / (2 + 4.));
}

TEST_F(LsegEval, ColourBaseline) {
  WriteMasks();
  for (int image : {0, 1}) {
    Image photo(4, 3, 3, 128);
    for (int i = 0; i < 12; ++i) {  // green has EX's probability, red none of SE
      photo.pixels[3 * i + 1] = static_cast<uint8_t>(std::lround(255.0 * kProb[image * 12 + i]));
      photo.pixels[3 * i] = kTruth[image * 12 + i] ? 200 : 60;
    }
    WritePng(Path("set/images/" + Name(image) + ".png"), photo);
  }
  json scores = Scores({"--baseline", "colour"});
  EXPECT_EQ(scores.count("protocols"), 0u);
  EXPECT_EQ(scores["baseline"]["EX"]["map"], "R");
  EXPECT_EQ(scores["baseline"]["EX"]["aupr"], 1);
  EXPECT_NEAR(scores["baseline"]["EX"]["maps"]["G"].get<double>(), kIdrid33, kTolerance);
  EXPECT_EQ(scores["baseline"]["SE"]["map"], "inverse R");
  EXPECT_TRUE(scores["baseline"]["HE"]["aupr"].is_null());

  WriteNpyMaps();
  scores = Scores({"--prob", Path("maps"), "--baseline", "colour"});
  EXPECT_EQ(scores["baseline"]["EX"]["map"], "R");
  EXPECT_NEAR(scores["protocols"]["idrid33"]["EX"]["aupr"].get<double>(), kIdrid33, kTolerance);
}

TEST_F(LsegEval, NamesTheMissingPrediction) {
  WriteMasks();
  WriteNpyMaps();
  fs::remove(Path("maps/b.prob.npy"));
  ProgramResult result = Eval({"--prob", Path("maps"), "--json", Path("scores.json")});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err, "lseg_eval: no prediction for 1 of 2 images; the first missing file is " +
                            Path("maps/b.EX.prob.png") + " (or a .prob.npy)\n");
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_FALSE(fs::exists(Path("scores.json")));
  result = Eval({"--labels", Path("maps")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("for 2 of 2 images"));
  EXPECT_THAT(result.err, HasSubstr(Path("maps/a.label.png")));
}

TEST_F(LsegEval, NamesFileAndPixelOfWhatIsNoProbability) {
  WriteMasks();
  WriteNpyMaps();
  for (const char* size : {"prediction", "truth"}) {
    std::vector<float> maps = Maps(1);
    maps[12 + 6] = std::numeric_limits<float>::quiet_NaN();
    WriteNpy(Path("maps/b.prob.npy"), {4, 3, 4}, maps.data());
    ProgramResult result = Eval({"--prob", Path("maps"), "--size", size});
    EXPECT_EQ(result.code, 1);
    EXPECT_EQ(result.err, "lseg_eval: " + Path("maps/b.prob.npy") +
                              ": HE at x 2, y 1 is nan: a probability lies from 0 to 1\n");
    maps[12 + 6] = 1.25f;
    WriteNpy(Path("maps/b.prob.npy"), {4, 3, 4}, maps.data());
    result = Eval({"--prob", Path("maps"), "--size", size});
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, HasSubstr("HE at x 2, y 1 is 1.25"));
  }
}

TEST_F(LsegEval, RefusesWhatDoesNotFit) {
  WriteMasks();
  WriteNpyMaps();
  const auto message = [&] {
    const ProgramResult result = Eval({"--prob", Path("maps")});
    EXPECT_EQ(result.code, 1);
    return result.err;
  };
  WriteNpy(Path("maps/b.prob.npy"), {3, 4, 4}, Maps(1).data());
  EXPECT_THAT(message(), HasSubstr("maps/b.prob.npy: must have the shape (4 lesions, height"));
  WriteNpy(Path("maps/b.prob.npy"), {4, 12}, Maps(1).data());
  EXPECT_THAT(message(), HasSubstr("has 2 axes"));
  WriteNpy(Path("maps/b.prob.npy"), {4, 4, 3}, Maps(1).data());
  EXPECT_THAT(message(), HasSubstr("is 3x4, and the truth 4x3: one of them lies on its side"));
  fs::remove(Path("maps/b.prob.npy"));
  for (const std::string& lesion : kLesions) {
    const bool other = lesion == "MA";
    WritePng(Path("maps/b." + lesion + ".prob.png"), Image(other ? 5 : 4, 3, 1));
  }
  EXPECT_THAT(message(), HasSubstr("maps/b.MA.prob.png: is 5x3, and "));
  Image colour(4, 3, 3);
  colour.pixels[4] = 9;
  WritePng(Path("maps/b.EX.prob.png"), colour);
  EXPECT_THAT(message(), HasSubstr("b.EX.prob.png: is a picture in colour"));
  WriteNpyMaps();
  WriteFile(Path("set/test.txt"), "images/a.png labels/a.png\nimages/a.png labels/a.png\n");
  EXPECT_THAT(message(), HasSubstr("twice"));
  fs::remove(Path("set/test.txt"));
  EXPECT_THAT(message(), HasSubstr("set/test.txt"));

  Image classes(4, 3, 1);
  classes.pixels[0] = 4;
  WriteFile(Path("set/test.txt"), "images/a.png labels/a.png\n");
  WriteIndexedPng(Path("maps/a.label.png"), classes);
  const ProgramResult labels = Eval({"--labels", Path("maps"), "--classes", "EX,HE,MA"});
  EXPECT_EQ(labels.code, 1);
  EXPECT_THAT(labels.err, HasSubstr("a.label.png: has the class 4 of 3 lesions"));
}

TEST_F(LsegEval, WrongCommandLines) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "nothing to score"},
      {{"--prob", "a", "--labels", "b"}, "give one of them"},
      {{"--prob", "a", "--protocol", "idrid"}, "--protocol 'idrid' is none of idrid33"},
      {{"--prob", "a", "--threshold", "0.5,x"}, "'x' is not a number from 0 to 1"},
      {{"--prob", "a", "--threshold", "1.5"}, "'1.5' is not a number from 0 to 1"},
      {{"--prob", "a", "--threshold", "nan"}, "'nan' is not a number from 0 to 1"},
      {{"--prob", "a", "--threshold", "0.5,0.5"}, "has 2 values"},
      {{"--prob", "a", "--size", "1440x960"}, "neither prediction nor truth"},
      {{"--prob", "a", "--classes", "EX,EX"}, "'EX' is empty, given twice"},
      {{"--prob", "a", "--classes", "EX,,MA"}, "--classes 'EX,,MA'"},
      {{"--prob", "a", "--classes", "mean"}, "no name for a lesion"},
      {{"--prob", "a", "--baseline", "gray"}, "there is one, colour"},
      {{"--labels", "a", "--curves", "x.svg"}, "--curves needs probabilities"},
      {{"--labels", "a", "--threshold", "0.5"}, "--threshold needs probabilities"},
      {{"--prob", "a", "--at", "dice=0.5"}, "--at 'dice=0.5' is neither recall=P nor precision=P"},
      {{"--prob", "a", "--at", "recall=0"}, "--at 'recall=0' is neither"},
      {{"--prob", "a", "--at", "recall"}, "--at 'recall' is neither"},
      {{"--prob", "a", "--at", "recall=0.5,recall=0.50"}, "recall=0.5 twice"},
      {{"--prob", "a", "--resamples", "-1"}, "--resamples"},
      {{"--prob", "a", "--seed", "x"}, "--seed"},
      {{"--labels", "a", "--at", "recall=0.5"}, "--at needs probabilities"},
      {{"--baseline", "colour", "--versus", "x"}, "--versus needs predictions"},
      {{"--baseline", "colour", "--csv", "x.csv"}, "--csv needs predictions"}};
  for (const auto& [flags, message] : cases) {
    const ProgramResult result = Eval(flags);
    EXPECT_EQ(result.code, 2) << message;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1);
  }
  EXPECT_EQ(Eval({"--prob", "a"}, false).code, 2);
}

TEST_F(LsegEval, HelpTeaches) {
  const ProgramResult help = Eval({"--help"}, false);
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("lseg_eval --truth set/test.txt --prob maps"));
  EXPECT_THAT(help.out, HasSubstr("Exit codes"));
}

}  // namespace
}  // namespace lseg
