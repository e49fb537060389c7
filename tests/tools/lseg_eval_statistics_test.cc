// Intervals, thresholds, single lesions, another model, and the page, by the program: on two images
// the resamples can be listed.
#include "tests/tools/eval_set.h"

namespace lseg {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// Two images: their draws are the first twice, the second twice, or both, so intervals go from one
// image's figure to the other's.
TEST_F(LsegEval, IntervalsThresholdsAndLesions) {
  WriteMasks();
  WriteNpyMaps();
  const std::vector<std::string> flags = {"--prob", Path("maps"), "--protocol",
                                          "all",    "--at",       "recall=0.5"};
  const json scores = Scores(flags);
  const json& statistics = scores["statistics"];
  EXPECT_EQ(statistics["resamples"], 1000);
  EXPECT_EQ(statistics["seed"], 1);
  const json& of = statistics["figures"]["EX"];
  // EX at 0.5: 3 of 5 among 5 in "a", 4 of 4 among 7 in "b".
  EXPECT_EQ(of["recall"]["value"], 7 / 9.);
  EXPECT_EQ(of["recall"]["low"], 3 / 5.);
  EXPECT_EQ(of["recall"]["high"], 1);
  EXPECT_EQ(of["precision"]["low"], 4 / 7.);
  EXPECT_EQ(of["precision"]["high"], 3 / 5.);
  EXPECT_EQ(of["dice"]["resamples"], 1000);
  for (const char* protocol : {"idrid33", "mmseg11", "exact"}) {
    const json& aupr = scores["protocols"][protocol]["EX"];
    const json& figure = of[std::string(protocol) + ".aupr"];
    EXPECT_EQ(figure["value"], aupr["aupr"]) << protocol;
    EXPECT_LT(figure["low"].get<double>(), figure["high"].get<double>()) << protocol;
    EXPECT_NEAR((figure["low"].get<double>() + figure["high"].get<double>()) / 2,
                aupr["aupr_per_image"].get<double>(), 1e-12);  // its ends are those of the images
  }
  EXPECT_EQ(statistics["figures"]["HE"].count("dice"), 0u);  // absent
  // 8 are at 0.68 or above, 5 of them among the 9; 4 of 9 are less than half.
  const json& point = statistics["operating_points"]["EX"]["recall=0.5"];
  EXPECT_LE(point["threshold"].get<double>(), 0.68f);
  EXPECT_GT(point["threshold"].get<double>(), 0.65f);
  EXPECT_EQ(point["recall"], 5 / 9.);
  EXPECT_EQ(point["precision"], 5 / 8.);
  EXPECT_TRUE(statistics["operating_points"]["MA"]["max_dice"]["threshold"].is_null());
  int64_t pixels = 0;
  for (const json& bin : statistics["calibration"]["EX"]["bins"]) {
    pixels += bin["pixels"].get<int64_t>();
  }
  EXPECT_EQ(pixels, 24);
  EXPECT_EQ(statistics["calibration"]["EX"]["bins"].size(), 15u);
  // Rows of "a": 0010 / 0101 / 0110: all touch at corners; of "b": 0110 / 0010 / 0010.
  EXPECT_EQ(statistics["froc"]["EX"]["lesions"], 2);
  EXPECT_EQ(statistics["froc"]["EX"]["images"], 2);
  EXPECT_EQ(statistics["froc"]["EX"]["points"][0]["sensitivity"], 1);

  const std::string first = ReadFile(Path("scores.json"));
  Scores(flags);
  EXPECT_EQ(ReadFile(Path("scores.json")), first);  // the same command, the same draws
  std::vector<std::string> other = flags;
  other.insert(other.end(), {"--resamples", "0"});
  EXPECT_TRUE(Scores(other)["statistics"]["figures"]["EX"]["dice"]["low"].is_null());
}

TEST_F(LsegEval, AgainstAnotherModel) {
  WriteMasks();
  WriteNpyMaps();
  fs::create_directories(Path("other"));
  for (int image : {0, 1}) {
    std::vector<float> maps = Maps(image);
    for (int i = 0; i < 12; ++i) maps[i] = 0.25f;  // finds nothing of EX
    WriteNpy(Path("other/" + Name(image) + ".prob.npy"), {4, 3, 4}, maps.data());
  }
  const json versus = Scores({"--prob", Path("maps"), "--versus", Path("other")})["versus"];
  EXPECT_EQ(versus["folder"], Path("other"));
  const json& recall = versus["figures"]["EX"]["recall"];
  EXPECT_EQ(recall["value"], 7 / 9.);
  EXPECT_EQ(recall["other"], 0);
  EXPECT_EQ(recall["difference"], 7 / 9.);
  EXPECT_EQ(recall["low"], 3 / 5.);
  EXPECT_EQ(recall["high"], 1);
  EXPECT_EQ(recall["p"], 2 / 1001.);  // no draw of 1000 is at 0 or below
  const json& same = versus["figures"]["SE"]["idrid33.aupr"];
  EXPECT_EQ(same["difference"], 0);
  EXPECT_EQ(same["p"], 1);
  EXPECT_THAT(Eval({"--prob", Path("maps"), "--versus", Path("other")}).out,
              HasSubstr("\nthis against " + Path("other") + ", paired"));
  fs::remove(Path("other/b.prob.npy"));
  const ProgramResult missing = Eval({"--prob", Path("maps"), "--versus", Path("other")});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, HasSubstr(Path("other/b.EX.prob.png")));
}

// A class map has one point of each curve, and nothing to calibrate.
TEST_F(LsegEval, ClassMapsHaveSingleLesions) {
  WriteMasks();
  WriteLabels("maps", ".label.png");
  fs::create_directories(Path("nothing"));
  for (int image : {0, 1}) {
    WriteIndexedPng(Path("nothing/" + Name(image) + ".label.png"), Image(4, 3, 1));
  }
  const json scores = Scores({"--labels", Path("maps"), "--versus", Path("nothing")});
  const json& statistics = scores["statistics"];
  EXPECT_EQ(statistics.count("calibration") + statistics.count("operating_points"), 0u);
  EXPECT_EQ(statistics["figures"]["EX"]["sensitivity"]["value"], 1);
  EXPECT_EQ(statistics["figures"]["EX"]["false_positives_per_image"]["value"], 0);
  ASSERT_EQ(statistics["froc"]["EX"]["points"].size(), 1u);
  EXPECT_EQ(statistics["froc"]["EX"]["lesions"], 2);
  EXPECT_EQ(scores["versus"]["figures"]["EX"]["sensitivity"]["other"], 0);
  EXPECT_EQ(scores["versus"]["figures"]["mean"]["dice"]["difference"], 1);
}

TEST_F(LsegEval, PageHasAllOfIt) {
  WriteMasks();
  WriteNpyMaps();
  WriteLabels("maps", ".label.png");
  ASSERT_EQ(Eval({"--prob", Path("maps"), "--versus", Path("maps"), "--html", Path("a.html")}).code,
            0);
  const std::string page = ReadFile(Path("a.html"));
  EXPECT_THAT(page, StartsWith("<!DOCTYPE html>\n<html lang=\"en\">"));
  for (const char* part :
       {"<td>0.7450</td>", "95 % intervals of these", "max_dice", "ECE", "FROC, 2 images at 4x3",
        "reliability, 2 images", "idrid33, 2 images at 4x3", "paired", "prefers-color-scheme",
        "width=device-width", "<th scope=\"row\">a</th><td>4x3</td><td>EX</td>"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  // Nothing is loaded from anywhere; what looks like an address is the name of SVG's elements.
  for (const char* part : {"<script", "src=", "<link", "url(", "@import"}) {
    EXPECT_THAT(page, testing::Not(HasSubstr(part)));
  }
  for (size_t at = page.find("http"); at != std::string::npos; at = page.find("http", at + 1)) {
    EXPECT_EQ(page.substr(at, 26), "http://www.w3.org/2000/svg");
  }
  ASSERT_EQ(Eval({"--labels", Path("maps"), "--html", Path("b.html")}).code, 0);
  EXPECT_THAT(ReadFile(Path("b.html")), testing::Not(HasSubstr("<svg")));
}

}  // namespace
}  // namespace lseg
