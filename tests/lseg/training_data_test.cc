// The built-in data source: what a batch holds, from which files, and that nothing but the
// iteration decides it.
#include "lseg/training_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "tests/error_of.h"
#include "tests/lseg/tiny_dataset.h"

namespace lseg {
namespace {

using testing::HasSubstr;

struct Batch {
  std::vector<float> data;
  std::vector<uint8_t> label;
  bool operator==(const Batch&) const = default;
};

Batch FillBatch(TrainingData& source, int64_t iteration) {
  const std::vector<TensorDesc> blobs = source.Blobs();
  Batch batch{std::vector<float>(blobs[0].shape.Count()),
              std::vector<uint8_t>(blobs[1].shape.Count(), 9)};
  void* const pointers[] = {batch.data.data(), batch.label.data()};
  source.Fill(iteration, pointers);
  return batch;
}

TrainingDataOptions Crops(int width, int height, int batch = 1) {
  TrainingDataOptions options;
  options.augment.width = width;
  options.augment.height = height;
  options.batch_size = batch;
  return options;
}

// Crops that are the whole image as it is.
TrainingDataOptions Plain(int width, int height, int batch) {
  TrainingDataOptions options = Crops(width, height, batch);
  options.augment.scales = {1};
  options.augment.flip = options.augment.turn = false;
  options.augment.gain = options.augment.channel_gain = options.augment.offset = 0;
  return options;
}

TEST(TrainingData, DescribesItsBlobs) {
  const TempFolder folder;
  TrainingData source(WriteTinyDataset(folder, "t", 1, 40, 30), Crops(24, 16, 3));
  const std::vector<TensorDesc> blobs = source.Blobs();
  ASSERT_EQ(blobs.size(), 2u);
  EXPECT_EQ(blobs[0], (TensorDesc{{3, 3, 16, 24}}));
  EXPECT_EQ(blobs[1], (TensorDesc{{3, 4, 16, 24}, DType::kU8}));
  EXPECT_EQ(source.crops().width(), 40);
  EXPECT_EQ(source.crops().height(), 30);
}

TEST(TrainingData, IsAPureFunctionOfTheIteration) {
  const TempFolder folder;
  const std::string list = WriteTinyDataset(folder, "t", 3, 40, 30);
  TrainingData first(list, Crops(24, 16, 2)), second(list, Crops(24, 16, 2));
  std::vector<Batch> batches;
  for (int i = 0; i < 7; ++i) batches.push_back(FillBatch(first, i));
  for (int i = 6; i >= 0; --i) EXPECT_EQ(FillBatch(second, i), batches[i]) << i;
  EXPECT_NE(batches[0], batches[1]);
  TrainingDataOptions other = Crops(24, 16, 2);
  other.seed = 2;
  TrainingData third(list, other);
  EXPECT_NE(FillBatch(third, 0), batches[0]);
}

TEST(TrainingData, PrefetchedBatchesAreTheDirectOnes) {
  const TempFolder folder;
  const std::string list = WriteTinyDataset(folder, "t", 3, 40, 30);
  TrainingData direct(list, Crops(24, 16)), source(list, Crops(24, 16));
  Prefetcher prefetcher(&source, Device::kCpu);
  for (int i = 0; i < 6; ++i) {
    const std::span<void* const> blobs = prefetcher.Get(i);
    const Batch expected = FillBatch(direct, i);
    EXPECT_EQ(std::memcmp(blobs[0], expected.data.data(), expected.data.size() * 4), 0) << i;
    EXPECT_EQ(std::memcmp(blobs[1], expected.label.data(), expected.label.size()), 0) << i;
  }
}

TEST(TrainingData, ShowsEveryImageOncePerEpochInAnOrderOfItsOwn) {
  const TempFolder folder;
  constexpr int kImages = 6;
  TrainingData source(WriteTinyDataset(folder, "t", kImages, 20, 16), Plain(20, 16, 1));
  std::vector<std::vector<int>> epochs(3);
  for (int i = 0; i < 3 * kImages; ++i) {
    const Batch batch = FillBatch(source, i);
    for (int image = 0; image < kImages; ++image) {
      const Image photo = ReadPhoto(folder.Path("images/t" + std::to_string(image) + ".png"));
      bool same = true;
      for (int p = 0; p < 20 * 16; ++p) same = same && batch.data[p] == photo.pixels[3 * p + 2];
      if (same) epochs[i / kImages].push_back(image);
    }
  }
  for (const auto& epoch : epochs) {
    EXPECT_THAT(epoch, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5));
  }
  EXPECT_EQ(std::set<std::vector<int>>(epochs.begin(), epochs.end()).size(), 3u);
}

TEST(TrainingData, KeepsLesionsThatOverlapWhereThereAreMasks) {
  for (const bool masks : {true, false}) {
    const TempFolder folder;
    const std::string list = WriteTinyDataset(folder, "t", 1, 20, 16, masks);
    TinyImage image = MakeTinyImage(20, 16, 1);
    image.masks[0] = image.masks[2];  // EX lies where MA lies
    WriteIndexedPng(folder.Path("labels/t0.png"), ComposeClassMap(image.masks));
    for (int c = 0; c < 4 && masks; ++c) {
      WritePng(folder.Path("masks/t0_" + TinyClasses()[c] + ".png"), image.masks[c]);
    }
    TrainingData source(list, Plain(20, 16, 1));
    const Batch batch = FillBatch(source, 0);
    for (int c = 0; c < 4; ++c) {
      for (int p = 0; p < 20 * 16; ++p) {
        bool expected = image.masks[c].pixels[p] == 255;
        for (int over = 0; over < 4 && !masks; ++over) {
          // EX under SE under HE under MA: one class a pixel.
          constexpr int kRank[] = {0, 2, 3, 1};
          if (kRank[over] > kRank[c] && image.masks[over].pixels[p] == 255) expected = false;
        }
        ASSERT_EQ(batch.label[c * 320 + p], expected) << "masks " << masks << " class " << c;
      }
    }
  }
}

TEST(TrainingData, BeyondItsMemoryLimitDecodesAgain) {
  const TempFolder folder;
  const std::string list = WriteTinyDataset(folder, "t", 4, 40, 30);
  TrainingData all(list, Crops(24, 16));
  TrainingDataOptions small = Crops(24, 16);
  small.memory_limit = 9000;  // two images of 3600 bytes and their lesions' 4 bytes a pixel
  TrainingData some(list, small);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(FillBatch(some, i), FillBatch(all, i)) << i;
  EXPECT_GT(all.bytes_kept(), 4 * 3600);
  EXPECT_GT(some.bytes_kept(), 3600);
  EXPECT_LE(some.bytes_kept(), 9000);
}

TEST(TrainingData, NamesTheFileAtFault) {
  const TempFolder folder;
  const std::string list = WriteTinyDataset(folder, "t", 3, 40, 30);
  folder.Write("images/t2.png", "no photograph");
  TrainingData damaged(list, Crops(24, 16));
  EXPECT_THAT(ErrorOf([&] {
                for (int i = 0; i < 3; ++i) FillBatch(damaged, i);
              }),
              HasSubstr(folder.Path("images/t2.png")));

  WritePng(folder.Path("images/t2.png"), Image(41, 30, 3));
  TrainingData sizes(list, Crops(24, 16));
  EXPECT_THAT(ErrorOf([&] {
                for (int i = 0; i < 3; ++i) FillBatch(sizes, i);
              }),
              testing::AllOf(HasSubstr("t2.png is 41x30"), HasSubstr("labels/t2.png 40x30")));
}

// The same error comes through the thread that fetches ahead, for the iteration that wants the
// image.
TEST(TrainingData, ErrorsPassThroughThePrefetcher) {
  const TempFolder folder;
  const std::string list = WriteTinyDataset(folder, "t", 1, 40, 30);
  TrainingData source(list, Crops(24, 16));
  folder.Write("images/t0.png", "no photograph");
  Prefetcher prefetcher(&source, Device::kCpu);
  EXPECT_THAT(ErrorOf([&] { prefetcher.Get(0); }), HasSubstr("t0.png"));
}

}  // namespace
}  // namespace lseg
