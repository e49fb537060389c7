// Reading, net and writing overlapping: the same files and the same order of reports as one after
// the other, whatever fails, and three photographs at most at a time.
#include "lseg/segment_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/inotify.h>

#include <map>
#include <stdexcept>
#include <thread>

#include "framework/file.h"
#include "lseg/hand_over.h"
#include "tests/lseg/temp_folder.h"
#include "tests/lseg/tiny_model.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;

class SegmentStreamTest : public testing::Test {
 protected:
  SegmentStreamTest() {
    TinyModel().Write(folder_.Path("tiny.safetensors"));
    segmenter_ = std::make_unique<Segmenter>(folder_.Path("tiny.safetensors"), context_);
    for (int i = 0; i < 6; ++i) {
      Image photo(30 + 7 * i, 20 + 3 * i, 3);
      for (size_t k = 0; k < photo.pixels.size(); ++k) photo.pixels[k] = (k * 37 + 11 * i) % 256;
      const std::string name = "p" + std::to_string(i);
      WritePng(folder_.Path(name + ".png"), photo);
      photos_.push_back({folder_.Path(name + ".png"), name});
    }
  }

  SegmentJob Job(const std::string& out, bool overlap = true) const {
    SegmentJob job;
    job.out = folder_.Path(out);
    fs::create_directories(job.out);
    job.width = 24, job.height = 16;
    job.overlap = overlap;
    job.outputs = {{0.5f, 0.5f, 0.5f, 0.5f}, true, true};
    return job;
  }
  // Name and content of each file of a folder.
  static std::map<std::string, std::string> Files(const std::string& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.is_regular_file()) files[entry.path().filename()] = ReadFile(entry.path());
    }
    return files;
  }

  TempFolder folder_;
  Context context_;
  std::unique_ptr<Segmenter> segmenter_;
  std::vector<PhotoFile> photos_;
};

TEST_F(SegmentStreamTest, WritesTheSameFilesWithAndWithoutOverlap) {
  for (const bool native : {false, true}) {
    for (const bool working : {false, true}) {
      const std::string name = std::string(native ? "native" : "fixed") + (working ? "_w" : "_o");
      for (const bool overlap : {false, true}) {
        SegmentJob job = Job(name + (overlap ? "_overlap" : "_steps"), overlap);
        job.native = native;
        job.output_working = working;
        EXPECT_EQ(SegmentPhotos(job, photos_, *segmenter_, [](const SegmentReport&) {}), 0u);
      }
      const auto steps = Files(folder_.Path(name + "_steps"));
      EXPECT_EQ(steps.size(), 6u * 7);  // label, overlay, npy, four gray maps
      EXPECT_EQ(steps, Files(folder_.Path(name + "_overlap")));
    }
  }
}

// One photograph fails at being read, one at being written.
TEST_F(SegmentStreamTest, ReportsInOrderAndGoesOn) {
  for (const bool overlap : {false, true}) {
    const SegmentJob job = Job(overlap ? "overlap" : "steps", overlap);
    WriteFile(photos_[1].path, "no picture");
    fs::create_directories(job.out + "/p3.label.png/in the way");
    std::vector<SegmentReport> reports;
    const size_t failed = SegmentPhotos(
        job, photos_, *segmenter_, [&](const SegmentReport& report) { reports.push_back(report); });
    EXPECT_EQ(failed, 2u);
    ASSERT_EQ(reports.size(), 6u);
    for (size_t i = 0; i < reports.size(); ++i) {
      EXPECT_EQ(reports[i].index, i);
      EXPECT_GE(reports[i].seconds, 0);
      if (i == 1) {
        EXPECT_THAT(reports[i].error, HasSubstr(photos_[1].path));
      } else if (i == 3) {
        EXPECT_THAT(reports[i].error, HasSubstr("p3.label.png"));
      } else {
        EXPECT_EQ(reports[i].error, "");
        EXPECT_EQ(reports[i].width, 30 + 7 * static_cast<int>(i));
        EXPECT_EQ(reports[i].height, 20 + 3 * static_cast<int>(i));
      }
    }
  }
}

TEST_F(SegmentStreamTest, AnErrorOfTheNetIsThePhotographs) {
  WeightsFile broken = TinyModel();
  broken.metadata["lseg.classes"] = "EX,HE,MA,SE,NV";
  broken.Write(folder_.Path("broken.safetensors"));
  Segmenter segmenter(folder_.Path("broken.safetensors"), context_);
  std::vector<std::string> errors;
  EXPECT_EQ(SegmentPhotos(Job("out"), photos_, segmenter,
                          [&](const SegmentReport& r) { errors.push_back(r.error); }),
            6u);
  EXPECT_THAT(errors, testing::Each(HasSubstr("broken.safetensors")));
}

TEST_F(SegmentStreamTest, WhatAReportThrowsEndsTheWork) {
  for (const bool overlap : {false, true}) {
    size_t reports = 0;
    EXPECT_THAT(
        [&] {
          SegmentPhotos(Job("out", overlap), photos_, *segmenter_, [&](const SegmentReport&) {
            if (++reports == 2) throw std::runtime_error("enough");
          });
        },
        ThrowsMessage<std::runtime_error>("enough"));
    EXPECT_EQ(reports, 2u);
  }
}

// While the first is being reported, so not yet out of the writer's hands, the third is read: this
// waits for its file to be opened. The fourth is not: it can be removed before anybody misses it.
TEST_F(SegmentStreamTest, ThreePhotographsAreOnTheirWayAndNoMore) {
  const int watch = inotify_init();
  ASSERT_GE(watch, 0);
  ASSERT_GE(inotify_add_watch(watch, photos_[2].path.c_str(), IN_OPEN), 0);
  std::vector<std::string> errors;
  SegmentPhotos(Job("out"), photos_, *segmenter_, [&](const SegmentReport& report) {
    if (report.index == 0) {
      pollfd opened = {watch, POLLIN, 0};
      EXPECT_EQ(poll(&opened, 1, 60'000), 1) << "nothing is read while a photograph is reported";
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // time to read on, wrongly
      fs::remove(photos_[3].path);
    }
    errors.push_back(report.error);
  });
  close(watch);
  EXPECT_THAT(errors, testing::ElementsAre("", "", "", HasSubstr("no such file"), "", ""));
}

TEST_F(SegmentStreamTest, RefusesAJobThatContradictsItself) {
  SegmentJob job = Job("out");
  job.reduce_jpegs = true;
  const auto run = [&] { SegmentPhotos(job, photos_, *segmenter_, [](const SegmentReport&) {}); };
  EXPECT_THAT(run, ThrowsMessage<Error>(HasSubstr("fraction")));
  job = Job("out");
  job.width = 0;
  EXPECT_THAT(run, ThrowsMessage<Error>(HasSubstr("0x16")));
}

TEST(HandOver, KeepsTheOrderAndEndsOnEitherSide) {
  HandOver<int> numbers;
  std::jthread giver([&] {
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(numbers.Give(i));
    numbers.Close();
    EXPECT_FALSE(numbers.Give(-1));
  });
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(numbers.Take(), i);
  EXPECT_EQ(numbers.Take(), std::nullopt);

  HandOver<int> abandoned;
  std::jthread gives([&] { EXPECT_FALSE(abandoned.Give(1)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(10));  // either order is right
  abandoned.Close();
}

}  // namespace
}  // namespace lseg
