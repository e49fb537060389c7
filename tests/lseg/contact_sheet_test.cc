// Which pictures a contact sheet takes, and where they stand on it. How one looks is tested through
// lseg_prep (tests/tools/lseg_prep_check_test.cc).
#include "lseg/contact_sheet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lseg {
namespace {

TEST(ContactSheet, OfManyImagesTakesTheMostItMayEvenly) {
  const int images = 2 * ContactSheet::kMost + 1;
  ContactSheet sheet(images);
  for (int i = 0; i < images; ++i) {
    Image photo(8, 8, 3, static_cast<uint8_t>(i % 251));
    for (size_t k = 0; k < photo.pixels.size(); k += 3) {
      photo.pixels[k] = static_cast<uint8_t>(i / 251);
    }
    sheet.Add(photo, nullptr, std::to_string(i));
  }
  const Image drawn = sheet.Draw();
  ASSERT_EQ(drawn.width, 15 * 368);  // 200 pictures in 15 columns: 14 rows
  ASSERT_EQ(drawn.height, 14 * 266);
  int last = -1;
  for (int tile = 0; tile < ContactSheet::kMost; ++tile) {
    const uint8_t* centre = drawn.Row(tile / 15 * 266 + 124) + 3 * (tile % 15 * 368 + 184);
    const int index = centre[0] * 251 + centre[1];
    EXPECT_THAT(index - last, testing::AnyOf(2, 3)) << "tile " << tile;
    last = index;
  }
  EXPECT_EQ(last, images - 1);
}

}  // namespace
}  // namespace lseg
