// lseg_prep build on e-ophtha's and a user's own folders, in small: what comes out, and every trap
// in them.
#include <nlohmann/json.hpp>

#include "lseg/sha256.h"
#include "tests/tools/prep_sets.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Eophtha : public LsegPrepSets {
 protected:
  // E1/C1 has exudates and microaneurysms, E2/C2 exudates only, E3/C3 microaneurysms only; E3/C4 is
  // another image of the third patient. E5/C5 is healthy in both, E1/C6 has no exudates.
  void SetUp() override {
    Photo("set/e_optha_EX/EX/E1/C1.jpg", 100);
    Mask("set/e_optha_EX/Annotation_EX/E1/C1_EX.png", 0);
    Photo("set/e_optha_EX/EX/E2/C2.JPG", 110);
    Mask("set/e_optha_EX/Annotation_EX/E2/C2_EX.png", 8);
    Photo("set/e_optha_EX/healthy/E5/C5.JPG", 120);
    Photo("set/e_optha_EX/healthy/E1/C6.jpg", 130);
    folder_.Write("set/e_optha_EX/EX/E1/Thumbs.db", "x");
    Photo("set/e_optha_MA/MA/E1/C1.jpg", 100);
    Mask("set/e_optha_MA/Annotation_MA/E1/C1.png", 24);
    Photo("set/e_optha_MA/MA/E3/C3.jpg", 140);
    Mask("set/e_optha_MA/Annotation_MA/E3/C3_EX.png", 16);
    Photo("set/e_optha_MA/MA/E3/C4.jpg", 150);
    Mask("set/e_optha_MA/Annotation_MA/E3/C4_MA.png", 16);
    Photo("set/e_optha_MA/healthy/E5/C5.JPG", 120);
  }
  // All lines of the lists.
  std::vector<std::string> Lines() {
    std::vector<std::string> lines;
    for (const char* list : {"train.txt", "val.txt", "test.txt"}) {
      if (!fs::exists(Out(list))) continue;
      std::istringstream text(ReadFile(Out(list)));
      for (std::string line; std::getline(text, line);) lines.push_back(line);
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  static std::string Line(const std::string& stem, bool ex, bool ma) {
    return "images/" + stem + ".png\t" + (ex ? "masks/" + stem + "_EX.png" : "-") + "\t-\t" +
           (ma ? "masks/" + stem + "_MA.png" : "-") + "\t-";
  }
};

TEST_F(Eophtha, SaysOfEachImageWhatItIsAnnotatedFor) {
  const ProgramResult result = Build("eophtha");
  ExpectBuilt(result);
  EXPECT_THAT(Lines(), ElementsAre(Line("E1_C1", true, true), Line("E1_C6", true, false),
                                   Line("E2_C2", true, false), Line("E3_C3", false, true),
                                   Line("E3_C4", false, true), Line("E5_C5", true, true)));
  EXPECT_EQ(Pixels("E1_C1_EX.png"), 16);
  EXPECT_EQ(Pixels("E1_C1_MA.png"), 16);
  EXPECT_EQ(Pixels("E5_C5_EX.png"), 0);
  EXPECT_EQ(Pixels("E1_C6_EX.png"), 0);
  EXPECT_EQ(Pixels("E3_C3_MA.png"), 16);
  // Nothing says that a lesion is absent which nobody has looked for.
  EXPECT_FALSE(fs::exists(Out("labels")));
  EXPECT_FALSE(fs::exists(Out("masks/E2_C2_MA.png")));
  const json manifest = json::parse(ReadFile(Out("manifest.json")));
  EXPECT_EQ(manifest["images"]["E2_C2"]["annotated"], json::array({"EX"}));
  // EX: 2 of 4 images have 16 of 384 pixels; MA: 3 of 4.
  EXPECT_THAT(result.out, HasSubstr("EX 2.083, HE not annotated, MA 3.125, SE not annotated"));
  // What comes out is a set that the doctor finds nothing wrong with.
  const ProgramResult check = Run({"check", folder_.Path("out")});
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_THAT(check.out, HasSubstr("HE not annotated"));
}

TEST_F(Eophtha, ThePolicyIsByPatientAndDependsOnNothingElse) {
  for (int patient = 10; patient < 40; ++patient) {
    const std::string name = "E00" + std::to_string(patient);
    for (const char* file : {"/A.jpg", "/B.jpg"}) {
      Photo("set/e_optha_MA/healthy/" + name + file, static_cast<uint8_t>(patient));
    }
  }
  ExpectBuilt(Build("eophtha"));
  const std::string train = ReadFile(Out("train.txt")), test = ReadFile(Out("test.txt"));
  EXPECT_FALSE(fs::exists(Out("val.txt")));
  int tested = 0;
  for (int patient = 10; patient < 40; ++patient) {
    const std::string name = "E00" + std::to_string(patient);
    const bool is_test = std::stoul(Sha256(name).substr(0, 8), nullptr, 16) % 5 == 0;
    tested += is_test;
    for (const char* file : {"_A.png", "_B.png"}) {
      EXPECT_EQ(test.find("images/" + name + file) != std::string::npos, is_test) << name;
      EXPECT_EQ(train.find("images/" + name + file) != std::string::npos, !is_test) << name;
    }
  }
  EXPECT_GT(tested, 0);
  // A file of patients or images takes the policy's place.
  const std::string split = folder_.Write("split.txt", "E3  # both images\nE2_C2\n");
  ExpectBuilt(Build("eophtha", {"--split", split}));
  EXPECT_EQ(ReadFile(Out("val.txt")), Line("E2_C2", true, false) + "\n" +
                                          Line("E3_C3", false, true) + "\n" +
                                          Line("E3_C4", false, true) + "\n");
  EXPECT_FALSE(fs::exists(Out("test.txt")));
  Remove("out");
  folder_.Write("split.txt", "E3_C3\n");
  const ProgramResult apart = Build("eophtha", {"--split", split});
  EXPECT_EQ(apart.code, 1);
  EXPECT_THAT(apart.err,
              HasSubstr("'E3_C3' and 'E3_C4', which are of one patient, into two lists"));
}

TEST_F(Eophtha, OneCollectionIsEnoughAndMayLieAnywhere) {
  Remove("set/e_optha_MA");
  ExpectBuilt(Build("eophtha"));
  EXPECT_THAT(Lines(), ElementsAre(Line("E1_C1", true, false), Line("E1_C6", true, false),
                                   Line("E2_C2", true, false), Line("E5_C5", true, false)));
  const std::vector<std::string> lines = Lines();
  fs::create_directories(folder_.Path("set/e_ophtha_EX"));
  fs::rename(folder_.Path("set/e_optha_EX"), folder_.Path("set/e_ophtha_EX/e_optha_EX"));
  ExpectBuilt(Build("eophtha"));
  EXPECT_EQ(Lines(), lines);
  ExpectBuilt(Run({"build", "--from", "eophtha", "--root",
                   folder_.Path("set/e_ophtha_EX/e_optha_EX"), "--out", folder_.Path("out")}));
  EXPECT_EQ(Lines(), lines);
}

TEST_F(Eophtha, EveryTrapIsOneLineThatNamesIt) {
  Mask("set/e_optha_EX/Annotation_EX/E1/C9_EX.png", 0);
  ExpectRefused(Build("eophtha"), "E1/C9_EX.png: is the mask of no photograph");
  Remove("set/e_optha_EX/Annotation_EX/E1/C9_EX.png");
  Mask("set/e_optha_EX/Annotation_EX/E1/C1.png", 0);
  ExpectRefused(Build("eophtha"), "is the mask of the same photograph as C1");
  Remove("set/e_optha_EX/Annotation_EX/E1/C1.png");
  Photo("set/e_optha_EX/EX/E1/C8.jpg", 1);
  ExpectRefused(Build("eophtha"), "EX/E1/C8.jpg: has no mask in 'Annotation_EX'");
  Remove("set/e_optha_EX/EX/E1/C8.jpg");
  Photo("set/e_optha_EX/healthy/E1/C1.jpg", 1);
  ExpectRefused(Build("eophtha"), "stands in 'EX' and in 'healthy'");
  Remove("set/e_optha_EX/healthy/E1/C1.jpg");
  Photo("set/e_optha_EX/EX/E1/C1.JPG", 1);
  ExpectRefused(Build("eophtha"), ": there is another file of this stem, C1.");
  Remove("set/e_optha_EX/EX/E1/C1.JPG");
  Remove("set/e_optha_EX/EX");
  ExpectRefused(Build("eophtha"), "e_optha_EX/EX: this folder of the set is missing");
  Remove("set");
  ExpectRefused(Build("eophtha"), "set: no such folder");
  fs::create_directories(folder_.Path("set"));
  ExpectRefused(Build("eophtha"), "set: holds neither 'e_optha_EX'");
}

// --- own folders ---------------------------------------------------------------------------------

class Own : public LsegPrepSets {
 protected:
  ProgramResult BuildOwn(std::vector<std::string> more) {
    more.insert(more.begin(), {"--images", folder_.Path("photos")});
    return Build("folders", more);
  }
  std::string Truth() { return folder_.Path("truth"); }
};

TEST_F(Own, MasksByPattern) {
  Photo("photos/a b.JPG", 10);
  Photo("photos/c.png", 20);
  folder_.Write("photos/notes.txt", "");
  Mask("truth/MA/a b-mask.tif", 0);
  Mask("truth/ex/a b-mask.png", 8);
  Mask("truth/ex/c-mask.png", 16);
  Mask("truth/OD/c-mask.png", 16);
  const std::string split = folder_.Write("split.txt", "c\n");
  const ProgramResult result =
      BuildOwn({"--masks", Truth(), "--mask-pattern", "{lesion}/{stem}-mask.*", "--split", split});
  ExpectBuilt(result);
  // What the pattern passes over is said; HE and SE are nowhere; c has no microaneurysm.
  EXPECT_THAT(result.out,
              HasSubstr("1 image files do not match the pattern, such as OD/c-mask.png"));
  EXPECT_EQ(ReadFile(Out("train.txt")),
            "images/a b.png\tmasks/a b_EX.png\t-\tmasks/a b_MA.png\t-\n");
  EXPECT_EQ(ReadFile(Out("val.txt")), "images/c.png\tmasks/c_EX.png\t-\tmasks/c_MA.png\t-\n");
  EXPECT_EQ(Pixels("c_MA.png"), 0);
  EXPECT_EQ(Pixels("c_EX.png"), 16);
}

// A mask is no photograph, wherever it lies.
TEST_F(Own, MasksAmongThePhotographs) {
  Photo("photos/a.jpg", 10);
  Photo("photos/b.jpg", 20);
  Mask("photos/a_EX.png", 0);
  Mask("photos/b_EX.png", 8);
  Mask("photos/a_HE.png", 16);
  const ProgramResult result = BuildOwn({"--masks", folder_.Path("photos/../photos")});
  ExpectBuilt(result);
  EXPECT_THAT(result.out, HasSubstr("photos: 3 image files are masks by the pattern"));
  EXPECT_THAT(result.out, Not(HasSubstr("do not match")));
  EXPECT_EQ(ReadFile(Out("train.txt")),
            "images/a.png\tmasks/a_EX.png\tmasks/a_HE.png\t-\t-\n"
            "images/b.png\tmasks/b_EX.png\tmasks/b_HE.png\t-\t-\n");
  EXPECT_EQ(Pixels("a_EX.png"), 16);
}

TEST_F(Own, ClassMaps) {
  Photo("photos/a.jpg", 10);
  Image map(48, 32, 1);
  for (int y = 0; y < 16; ++y) std::fill_n(map.Row(y), 16, uint8_t{3});
  fs::create_directories(Truth());
  WriteIndexedPng(Truth() + "/a.png", map);
  ExpectBuilt(BuildOwn({"--labels", Truth()}));
  EXPECT_EQ(ReadFile(Out("train.txt")), "images/a.png labels/a.png\n");
  EXPECT_EQ(Pixels("a_MA.png"), 8 * 8);
  EXPECT_EQ(Pixels("a_EX.png"), 0);
}

TEST_F(Own, EveryTrapIsOneLineThatNamesIt) {
  ExpectRefused(BuildOwn({"--masks", Truth()}), "photos: no such folder");
  fs::create_directories(folder_.Path("photos"));
  ExpectRefused(BuildOwn({"--masks", Truth()}), "photos: there is no photograph");
  Photo("photos/a.jpg", 10);
  ExpectRefused(BuildOwn({"--masks", Truth()}), "truth: no such folder");
  fs::create_directories(Truth());
  ExpectRefused(BuildOwn({"--masks", Truth()}), "truth: no image file in it matches");
  ExpectRefused(BuildOwn({"--labels", Truth()}), "a.jpg: has no class map a.png or .tif");
  Mask("truth/a.png", 0);
  ExpectRefused(BuildOwn({"--masks", Truth()}), "'{stem}_{lesion}.*', as a.png does not");
  ExpectRefused(BuildOwn({"--masks", Truth(), "--mask-pattern", "{stem}.png"}),
                "the pattern '{stem}.png' must hold {stem} and {lesion}");
  Mask("truth/b_EX.png", 0);
  ExpectRefused(BuildOwn({"--masks", Truth()}), "b_EX.png: is the mask of no photograph");
  ExpectRefused(BuildOwn({"--labels", Truth()}), "b_EX.png: is the class map of no photograph");
  Remove("truth/b_EX.png");
  Mask("truth/a_EX.png", 0);
  Mask("truth/a_EX.tif", 0);
  ExpectRefused(BuildOwn({"--masks", Truth()}), "a_EX.tif: is another mask of EX beside");
  Remove("truth/a_EX.tif");
  Photo("photos/a.png", 10);
  ExpectRefused(BuildOwn({"--masks", Truth()}), ": there is another file of this stem, a.");
  const std::vector<std::pair<std::vector<std::string>, std::string>> usage = {
      {{"--masks", "m", "--labels", "l"}, "give one of --masks and --labels"},
      {{}, "give one of --masks and --labels"},
      {{"--labels", "l", "--mask-pattern", "x"}, "--mask-pattern needs --masks"},
      {{"--masks", "m", "--root", "r"}, "--root: folders are named by --images"}};
  for (const auto& [flags, text] : usage) ExpectRefused(BuildOwn(flags), text, 2);
  ExpectRefused(Build("ddr", {"--images", "x"}), "--images is for --from folders", 2);
}

}  // namespace
}  // namespace lseg
