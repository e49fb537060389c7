// Flags that cannot be, alone and together, and outputs that cannot be written: one line that names
// the flag or file, exit code 2 or 1, and nothing that was there is damaged.
#include <sys/stat.h>

#include "tests/tools/bad_input.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

class BadCommands : public BadInput {
 protected:
  void ExpectUsage(const Arguments& arguments, const std::vector<std::string>& texts) {
    std::vector<std::string> all = texts;
    all.push_back("(see --help)");
    ExpectOneLine(arguments, 2, all);
  }
  // The program where files may not grow beyond some blocks, as on a full disk.
  static Arguments OnFullDisk(const Arguments& arguments, const std::string& blocks) {
    Arguments all = {"/bin/sh", "-c", "trap '' XFSZ; ulimit -f " + blocks + "; exec \"$@\"", "sh"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
  }
};

TEST_F(BadCommands, NumbersOutOfRange) {
  using Change = std::map<std::string, std::string>;
  for (const Change& change : std::vector<Change>{{{"--width", "0"}, {"--height", "6"}},
                                                  {{"--width", "-8"}, {"--height", "6"}},
                                                  {{"--width", "8.5"}, {"--height", "6"}},
                                                  {{"--threads", "0"}},
                                                  {{"--threads", "-1"}},
                                                  {{"--threads", "two"}},
                                                  {{"--max-pixels", "0"}},
                                                  {{"--max-pixels", "-5"}},
                                                  {{"--max-pixels", "501000000"}},
                                                  {{"--max-pixels", "200M"}},
                                                  {{"--threshold", "0"}},
                                                  {{"--threshold", "1.5"}},
                                                  {{"--threshold", "nan"}},
                                                  {{"--threshold", ""}},
                                                  {{"--memory", "0G"}},
                                                  {{"--memory", "-1G"}},
                                                  {{"--memory", "4"}},
                                                  {{"--device", "tpu"}},
                                                  {{"--precision", "f8"}},
                                                  {{"--engine", "fast"}},
                                                  {{"--tune", "maybe"}},
                                                  {{"--output-size", "large"}},
                                                  {{"--prob", "jpg"}}}) {
    ExpectUsage(Infer(change), {change.size() == 1 ? change.begin()->first : "--width"});
  }
  for (const Change& change : std::vector<Change>{{{"--iterations", "0"}},
                                                  {{"--iterations", "-3"}},
                                                  {{"--iterations", "1e3"}},
                                                  {{"--crop", "0x0"}},
                                                  {{"--crop", "24"}},
                                                  {{"--crop", "-24x16"}},
                                                  {{"--crop", "24x"}},
                                                  {{"--seed", "-1"}},
                                                  {{"--val-every", "0"}},
                                                  {{"--checkpoint-every", "-1"}},
                                                  {{"--threads", "0"}},
                                                  {{"--max-pixels", "0"}},
                                                  {{"--device", "gpu"}},
                                                  {{"--precision", ""}}}) {
    ExpectUsage(Train(change), {change.begin()->first});
  }
  for (const Change& change : std::vector<Change>{{{"--width", "0"}},
                                                  {{"--height", "-1"}},
                                                  {{"--width", "999999"}},
                                                  {{"--threads", "0"}},
                                                  {{"--from", "idird"}},
                                                  {{"--max-pixels", "x"}}}) {
    ExpectUsage(Build(change), {change.begin()->first});
  }
  for (const Change& change : std::vector<Change>{{{"--threshold", "2"}},
                                                  {{"--threshold", "0.5,0.5"}},
                                                  {{"--protocol", "best"}},
                                                  {{"--size", "big"}},
                                                  {{"--classes", "EX,EX"}},
                                                  {{"--threads", "-2"}},
                                                  {{"--baseline", "gray"}},
                                                  {{"--max-pixels", "0"}}}) {
    ExpectUsage(Eval(change), {change.begin()->first});
  }
  for (const char* images : {"0", "-1", "x"}) {
    ExpectUsage({LSEG_PREP, "synth", "--out", Path("synth"), "--images", images}, {"--images"});
  }
}

TEST_F(BadCommands, FlagsThatContradict) {
  ExpectUsage(Infer({{"--native", "set"}, {"--width", "8"}, {"--height", "6"}}),
              {"--native", "--width"});
  ExpectUsage(Infer({{"--width", "8"}}), {"--width and --height go together"});
  ExpectUsage(Infer({{"--scaled-decoding", "set"}}), {"--scaled-decoding needs"});
  ExpectUsage(Infer({{"--input", Path("maps")}, {"--out", Path("maps")}}), {"--out"});
  ExpectUsage(Eval({{"--labels", Path("labels")}}), {"--prob and --labels"});
  ExpectUsage(Eval({{"--prob", "absent"}}), {"give --prob, --labels or --baseline"});
  ExpectUsage(Eval({{"--prob", "absent"}, {"--labels", Path("labels")}, {"--threshold", "0.5"}}),
              {"--threshold"});
  ExpectUsage(Convert(Path("w.safetensors"), Path("w.safetensors")), {"same file"});
  ExpectUsage(Convert(Path("w.txt")), {"w.txt"});
  ExpectUsage({LSEG_CONVERT}, {"IN"});
  Arguments precision = Convert(Path("w.safetensors"), Path("w.caffemodel"));
  precision.insert(precision.end(), {"--precision", "f16"});
  ExpectUsage(precision, {"--precision"});
  ExpectUsage(Train({{"--dot", Path("net.dot")}}), {"--dot needs --dry-run"});
  ExpectUsage(Train({{"--dry-run", "set"}, {"--resume", "set"}}), {"--dry-run and --resume"});
  for (const char* mean : {"1,2", "1,2,3,4", "a,b,c", "-1,0,0", "0,0,256", "nan,0,0"}) {
    ExpectUsage(Infer({{"--mean", mean}}), {"--mean"});
  }
  ExpectUsage(Infer({{"--classes", "EX,EX"}}), {"--classes"});
  ExpectUsage(Train({{"--classes", "EX,EX"}}), {"--classes"});
  ExpectUsage(Train({{"--val-every", "2"}}), {"--val-every without --val"});
  ExpectUsage({LSEG_TRAIN, "--out", Path("run"), "--resume", "--seed", "77"}, {"--seed 77"});
  ExpectOneLine(Train({{"--out", Path("run")}}), 1, {"holds a training already"});
  ExpectOneLine({LSEG_TRAIN, "--out", Path("maps"), "--resume"}, 1, {"no checkpoint"});
  ExpectUsage(Train({{"--data", "absent"}}), {"--data is missing"});
}

TEST_F(BadCommands, MistypedLines) {
  for (const Arguments& good : {Infer(), Train(), Eval(), Build()}) {
    Arguments bad = good;
    bad.push_back("stray");
    ExpectUsage(bad, {"stray argument 'stray'"});
    bad.back() = "--nosuch";
    ExpectUsage(bad, {"nosuch"});
    bad = good;
    bad.insert(bad.end(), {"--threads", "1", "--threads", "2"});
    ExpectUsage(bad, {"--threads is given twice"});
    bad = good;
    bad.insert(bad.end(), {"--threads", "--max-pixels", "5"});
    ExpectUsage(bad, {"--threads needs a value"});
  }
  ExpectUsage(Infer({{"--input", "absent"}}), {"--input is missing"});
  ExpectUsage(Infer({{"--out", ""}}), {"--out is empty"});
  ExpectUsage(Train({{"--out", "absent"}}), {"--out is missing"});
  ExpectUsage(Eval({{"--truth", "absent"}}), {"--truth is missing"});
  ExpectUsage(Build({{"--root", "absent"}}), {"--root is missing"});
}

TEST_F(BadCommands, OutputsThatCannotBeMade) {
  const std::string file = Write("file", "mine");
  const std::string below = file + "/below";
  for (const std::string& out : {file, below}) {
    ExpectOneLine(Infer({{"--out", out}}), 1, {"file"});
    ExpectOneLine(Train({{"--out", out}}), 1, {"file"});
    ExpectOneLine(Build({{"--out", out}}), 1, {"file"});
    ExpectOneLine({LSEG_PREP, "synth", "--out", out, "--images", "1"}, 1, {"file"});
  }
  const std::string missing = Path("no such folder/x");
  for (const char* flag : {"--json", "--csv", "--curves"}) {
    ExpectOneLine(Eval({{flag, missing}}), 1, {missing, "No such file or directory"});
    ExpectOneLine(Eval({{flag, Path("maps")}}), 1, {"maps", "Is a directory"});
    ExpectOneLine(Eval({{flag, below}}), 1, {"below", "Not a directory"});
  }
  ExpectOneLine(Train({{"--dry-run", "set"}, {"--dot", missing}}), 1, {missing, "No such file"});
  Arguments sheet = Check(Path("train.txt"));
  sheet.insert(sheet.end(), {"--sheet", missing + ".png"});
  ExpectOneLine(sheet, 1, {"x.png", "No such file or directory"});
  for (const char* end : {".safetensors", ".caffemodel"}) {
    ExpectOneLine(Convert(Path("w.safetensors"), Path("no/x2") + end), 1, {"x2", "No such file"});
  }
  fs::create_directories(Path("folder.caffemodel"));
  ExpectOneLine(Convert(Path("w.safetensors"), Path("folder.caffemodel")), 1, {"Is a directory"});
}

TEST_F(BadCommands, DevicesAndLinksStayWhatTheyAre) {
  ExpectOneLine(Eval({{"--json", "/dev/full"}}), 1, {"/dev/full", "No space left on device"});
  struct stat status = {};
  ASSERT_EQ(stat("/dev/full", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  const ProgramResult result = RunProgram(Eval({{"--json", "/dev/stdout"}}), folder_.Path("log"));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, testing::HasSubstr("\"protocols\""));
  Write("target.json", "old");
  fs::create_symlink("target.json", Path("link.json"));
  EXPECT_EQ(RunProgram(Eval({{"--json", Path("link.json")}}), folder_.Path("log")).code, 0);
  EXPECT_TRUE(fs::is_symlink(Path("link.json")));
  EXPECT_THAT(ReadFile(Path("target.json")), testing::HasSubstr("\"protocols\""));
}

TEST_F(BadCommands, AFullDiskLeavesWhatWasThere) {
  const std::map<std::string, std::string> before = Contents();
  const auto run = [&](const Arguments& arguments, const std::string& name) {
    const ProgramResult result = RunProgram(OnFullDisk(arguments, "2"), folder_.Path("log"));
    EXPECT_EQ(result.code, 1) << arguments[0] << result.err;
    EXPECT_THAT(result.err,
                testing::AllOf(testing::HasSubstr(name), testing::HasSubstr("File too large")));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    ExpectKept(before, arguments[0] + " " + name, "");
  };
  run(Build({{"--width", "960"}, {"--height", "640"}}), "data");
  run(Eval({{"--curves", Path("maps/curves.svg")}}), "curves.svg");
  run({LSEG_PREP, "synth", "--out", Path("synth"), "--images", "1"}, "synth");
  run(Infer(), "train0");
  run(Train(), "new");
}

TEST_F(BadCommands, NoSuchDevice) {
  if (LSEG_TEST_WITH_CUDA) GTEST_SKIP() << "this build has CUDA's kernels";
  ExpectOneLine(Infer({{"--device", "cuda"}}), 1, {"cuda"});
  ExpectOneLine(Train({{"--device", "cuda"}}), 1, {"cuda"}, "new");
}

}  // namespace
}  // namespace lseg
