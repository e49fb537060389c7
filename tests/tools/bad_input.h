// A small world for the programs to be given wrong files and flags in: photographs, a prepared set,
// weights, maps, a training, all of toy size. Whatever is tried, what was there must stay.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "framework/file.h"
#include "tests/lseg/tiny_dataset.h"
#include "tests/lseg/tiny_model.h"
#include "tests/tools/run_program.h"

namespace lseg {

class BadInput : public testing::Test {
 protected:
  using Arguments = std::vector<std::string>;

  // Made once: every test works on a copy.
  static void SetUpTestSuite() {
    world_ = new TempFolder;
    namespace fs = std::filesystem;
    WriteTinyDataset(*world_, "train", 2, 32, 24);
    world_->Write("net.prototxt", kTinyTrainNet);
    world_->Write("solver.prototxt",
                  "type: \"SGD\" base_lr: 0.01 lr_policy: \"fixed\" max_iter: 2 random_seed: 3");
    TinyModel().Write(world_->Path("w.safetensors"));
    const auto run = [](Arguments arguments) {
      const ProgramResult result = RunProgram(arguments, world_->Path("log"));
      ASSERT_EQ(result.code, 0) << arguments[0] << ": " << result.err;
    };
    run({LSEG_CONVERT, world_->Path("w.safetensors"), world_->Path("w.caffemodel")});
    run({LSEG_INFER, "--weights", world_->Path("w.safetensors"), "--input",
         world_->Path("train.txt"), "--out", world_->Path("maps"), "--prob", "npy"});
    run({LSEG_TRAIN, "--net", world_->Path("net.prototxt"), "--solver",
         world_->Path("solver.prototxt"), "--data", world_->Path("train.txt"), "--crop", "24x16",
         "--out", world_->Path("run")});
    run({LSEG_PREP, "synth", "--out", world_->Path("idrid"), "--images", "3", "--width", "96",
         "--height", "64"});
    run({LSEG_PREP, "build", "--root", world_->Path("idrid"), "--out", world_->Path("data"),
         "--width", "48", "--height", "32"});
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override {
    std::filesystem::copy(world_->Path(""), folder_.Path("w"),
                          std::filesystem::copy_options::recursive);
  }

  std::string Path(const std::string& name) const { return folder_.Path("w/" + name); }
  std::string Write(const std::string& name, const std::string& bytes) const {
    return folder_.Write("w/" + name, bytes);
  }

  // Command lines that succeed as they stand, but for what `changed` puts in a flag's place.
  Arguments Infer(const std::map<std::string, std::string>& changed = {}) const {
    return Command(LSEG_INFER,
                   {{"--weights", Path("w.safetensors")},
                    {"--input", Path("images/train0.png")},
                    {"--out", Path("maps")}},
                   changed);
  }
  Arguments Train(const std::map<std::string, std::string>& changed = {}) const {
    return Command(LSEG_TRAIN,
                   {{"--net", Path("net.prototxt")},
                    {"--solver", Path("solver.prototxt")},
                    {"--data", Path("train.txt")},
                    {"--crop", "24x16"},
                    {"--out", Path("new")}},
                   changed);
  }
  Arguments Eval(const std::map<std::string, std::string>& changed = {}) const {
    return Command(LSEG_EVAL, {{"--truth", Path("train.txt")}, {"--prob", Path("maps")}}, changed);
  }
  Arguments Build(const std::map<std::string, std::string>& changed = {}) const {
    return Command(
        LSEG_PREP,
        {{"--root", Path("idrid")}, {"--out", Path("data")}, {"--width", "48"}, {"--height", "32"}},
        changed, {"build"});
  }
  Arguments Check(const std::string& input) const { return {LSEG_PREP, "check", input}; }
  Arguments Convert(const std::string& in, const std::string& out = "") const {
    Arguments arguments = {LSEG_CONVERT, in};
    if (!out.empty()) arguments.push_back(out);
    return arguments;
  }

  // Every file's bytes, by name.
  std::map<std::string, std::string> Contents() const {
    std::map<std::string, std::string> contents;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.Path("w"))) {
      if (entry.is_regular_file())
        contents[entry.path().string()] = ReadFile(entry.path().string());
    }
    return contents;
  }

  // The program ends with `code` and one line on stderr that starts with its name and holds all of
  // `texts`; no file that was there changes but for those that `may_change` names the start of.
  void ExpectOneLine(const Arguments& arguments, int code, const std::vector<std::string>& texts,
                     const std::string& may_change = "") {
    std::string command;
    for (const std::string& argument : arguments) {
      command += std::filesystem::path(argument).filename().string() + " ";
    }
    const std::map<std::string, std::string> before = Contents();
    const ProgramResult result = RunProgram(arguments, folder_.Path("log"));
    EXPECT_EQ(result.code, code) << command << result.err;
    const std::string program = std::filesystem::path(arguments[0]).filename().string();
    EXPECT_THAT(result.err, testing::StartsWith(program + ": ")) << command;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << command << result.err;
    for (const std::string& text : texts) {
      EXPECT_THAT(result.err, testing::HasSubstr(text)) << command;
    }
    EXPECT_LT(result.peak_bytes, int64_t{1} << 30) << command;
    ExpectKept(before, command, may_change);
  }
  void ExpectKept(const std::map<std::string, std::string>& before, const std::string& command,
                  const std::string& may_change) {
    const std::map<std::string, std::string> after = Contents();
    for (const auto& [name, bytes] : before) {
      if (!may_change.empty() && name.starts_with(Path(may_change))) continue;
      const auto found = after.find(name);
      ASSERT_TRUE(found != after.end()) << command << "removed " << name;
      EXPECT_TRUE(found->second == bytes) << command << "changed " << name;
    }
    for (const auto& [name, bytes] : after) {
      EXPECT_EQ(name.find(".partial"), std::string::npos) << command << "left " << name;
    }
  }

  TempFolder folder_;

 private:
  static Arguments Command(const std::string& program, std::map<std::string, std::string> flags,
                           const std::map<std::string, std::string>& changed,
                           Arguments first = {}) {
    for (const auto& [flag, value] : changed) {
      flags[flag] = value;
      if (value == "absent") flags.erase(flag);
    }
    Arguments arguments = {program};
    arguments.insert(arguments.end(), first.begin(), first.end());
    for (const auto& [flag, value] : flags) {
      arguments.push_back(flag);
      if (value != "set") arguments.push_back(value);
    }
    return arguments;
  }

  inline static TempFolder* world_ = nullptr;
};

}  // namespace lseg
