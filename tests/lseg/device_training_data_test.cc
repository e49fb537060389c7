// Crops made on the device beside those of TrainingData, whatever of the images is kept there.
#include "lseg/device_training_data.h"

#include <gmock/gmock.h>

#include "lseg/training_data.h"
#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"
#include "tests/lseg/tiny_dataset.h"

namespace lseg {
namespace {

constexpr int kWidth = 40, kHeight = 30;
constexpr int64_t kImageBytes = 4 * kWidth * kHeight;

TrainingDataOptions Crops(int64_t memory_limit) {
  TrainingDataOptions options;
  options.augment.width = 27;
  options.augment.height = 18;
  options.batch_size = 2;
  options.mean_bgr = {16.3f, 56.4f, 116.5f};
  options.seed = 5;
  options.memory_limit = memory_limit;
  return options;
}

struct Batch {
  std::vector<float> data;
  std::vector<uint8_t> label;
};

Batch FillBatch(TrainingData& source, int64_t iteration) {
  const std::vector<TensorDesc> blobs = source.Blobs();
  Batch batch{std::vector<float>(blobs[0].shape.Count(), NAN),
              std::vector<uint8_t>(blobs[1].shape.Count(), 9)};
  void* const pointers[] = {batch.data.data(), batch.label.data()};
  source.Fill(iteration, pointers);
  return batch;
}

Batch QueueBatch(DeviceTrainingData& source, Context& context, int64_t iteration) {
  const std::vector<TensorDesc> blobs = source.Blobs();
  const Memory<float> data(context, std::vector<float>(blobs[0].shape.Count(), NAN));
  const Memory<uint8_t> label(context, std::vector<uint8_t>(blobs[1].shape.Count(), 9));
  void* const pointers[] = {data.data(), label.data()};
  source.Queue(context, iteration, pointers);
  return {data.Values(), label.Values()};
}

class DeviceTrainingDataTest : public DeviceTest {
 protected:
  TempFolder folder_;
};
LSEG_ON_ALL_DEVICES(DeviceTrainingDataTest);

// All images stay on the device, two of the three, or none.
TEST_P(DeviceTrainingDataTest, BatchesAreThoseOfTheHost) {
  const std::string list = WriteTinyDataset(folder_, "t", 3, kWidth, kHeight);
  Context context(GetParam(), 2);
  for (const int64_t kept : {3, 2, 0}) {
    TrainingData host(list, Crops(1 << 20));
    DeviceTrainingData device(list, Crops(kept * kImageBytes));
    EXPECT_EQ(device.Blobs(), host.Blobs());
    // The next one read ahead, and others than that.
    for (const int64_t iteration : {0, 1, 2, 3, 9, 4}) {
      const Batch want = FillBatch(host, iteration);
      const Batch got = QueueBatch(device, context, iteration);
      EXPECT_EQ(got.label, want.label) << iteration;
      ASSERT_EQ(got.data.size(), want.data.size());
      for (size_t i = 0; i < want.data.size(); ++i) {
        // 4e-7 of 255 * gain, which is below 1.25 (kernels/crop_resample.h).
        ASSERT_NEAR(got.data[i], want.data[i], 4e-7 * 255 * 1.25) << iteration << " " << i;
      }
    }
    EXPECT_EQ(device.bytes_kept(), kept * kImageBytes);
  }
}

TEST_P(DeviceTrainingDataTest, DroppedImagesComeBack) {
  const std::string list = WriteTinyDataset(folder_, "t", 3, kWidth, kHeight);
  Context context(GetParam(), 2);
  DeviceTrainingData untouched(list, Crops(2 * kImageBytes)), dropped(list, Crops(2 * kImageBytes));
  for (const int64_t iteration : {0, 1, 2, 3, 4}) {
    const Batch want = QueueBatch(untouched, context, iteration);
    const Batch got = QueueBatch(dropped, context, iteration);
    EXPECT_EQ(got.label, want.label) << iteration;
    EXPECT_EQ(got.data, want.data) << iteration;
    if (iteration != 2) continue;
    EXPECT_EQ(dropped.bytes_kept(), 2 * kImageBytes);
    dropped.DropImages(context);
    EXPECT_EQ(dropped.bytes_kept(), 0);
  }
  EXPECT_EQ(dropped.bytes_kept(), 2 * kImageBytes);
}

TEST_P(DeviceTrainingDataTest, AnImageThatCannotBeReadIsNamed) {
  const std::string list = WriteTinyDataset(folder_, "t", 2, kWidth, kHeight);
  folder_.Write("images/t1.png", "no photograph");
  Context context(GetParam(), 2);
  DeviceTrainingData device(list, Crops(1 << 20));
  EXPECT_THAT(ErrorOf([&] { QueueBatch(device, context, 0); }), testing::HasSubstr("t1.png"));
}

}  // namespace
}  // namespace lseg
