// JPEG by libjpeg-turbo, some three times as fast as stb, and able to decode at a fraction of the
// size. Whatever it only warns of in the picture's data is an error here: it would go on with gray.
//
// It reports errors by a callback that must not return, hence longjmp, as in png_read.cc: whatever
// calls it stands in functions of plain locals that return false after a jump.
#include <csetjmp>
#include <cstdio>
// jpeglib.h needs cstdio before it.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <new>

#include "lseg/image_decode.h"

namespace lseg {
namespace {

// A progressive file may hold scans without end, each of which costs a pass over the picture;
// encoders write about ten.
constexpr int kMaxScans = 500;

class JpegReader {
 public:
  explicit JpegReader(std::string_view bytes) : bytes_(bytes) {
    info_.err = jpeg_std_error(&errors_);
    errors_.error_exit = OnError;
    errors_.emit_message = OnMessage;
    info_.client_data = this;
    progress_.progress_monitor = OnProgress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool ReadHeader() {
    if (setjmp(jump_)) return false;
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  // Sets info().output_*. The exact transform and the smooth enlargement of colours are what stb
  // does, too.
  bool Start(int reduction) {
    if (setjmp(jump_)) return false;
    info_.scale_num = 1;
    info_.scale_denom = reduction;
    info_.out_color_space = info_.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    info_.dct_method = JDCT_ISLOW;
    info_.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&info_);
    return true;
  }

  bool ReadRows(uint8_t* pixels) {
    if (setjmp(jump_)) return false;
    const size_t stride = static_cast<size_t>(info_.output_width) * info_.output_components;
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = pixels + stride * info_.output_scanline;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);  // reads on to the end marker
    return true;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  [[noreturn]] void Fail() const {
    if (errors_.msg_code == JERR_OUT_OF_MEMORY) throw std::bad_alloc();
    LSEG_FAIL("is truncated or damaged (JPEG: " << reason_ << ")");
  }

 private:
  static JpegReader* Of(j_common_ptr info) { return static_cast<JpegReader*>(info->client_data); }
  static void OnError(j_common_ptr info) {
    JpegReader* reader = Of(info);
    char message[JMSG_LENGTH_MAX];
    info->err->format_message(info, message);
    std::snprintf(reader->reason_, sizeof(reader->reason_), "%s", message);
    std::longjmp(reader->jump_, 1);
  }
  static void OnMessage(j_common_ptr info, int level) {
    if (level < 0 && !Of(info)->Harmless()) OnError(info);
  }
  static void OnProgress(j_common_ptr info) {
    JpegReader* reader = Of(info);
    if (reader->info_.input_scan_number <= kMaxScans) return;
    std::snprintf(reader->reason_, sizeof(reader->reason_), "more than %d scans", kMaxScans);
    std::longjmp(reader->jump_, 1);
  }

  // Whether a warning leaves the picture whole: marks of unknown versions, and the zeros that some
  // cameras put behind the picture's data. Other bytes there are what a damaged code leaves over.
  bool Harmless() const {
    if (errors_.msg_code == JWRN_JFIF_MAJOR || errors_.msg_code == JWRN_ADOBE_XFORM) return true;
    if (errors_.msg_code != JWRN_EXTRANEOUS_DATA) return false;
    const JOCTET* end = info_.src->next_input_byte;
    const auto count = static_cast<size_t>(errors_.msg_parm.i[0]);
    const auto read = static_cast<size_t>(end - reinterpret_cast<const JOCTET*>(bytes_.data()));
    return count <= read && std::all_of(end - count, end, [](JOCTET byte) { return byte == 0; });
  }

  std::string_view bytes_;
  jpeg_decompress_struct info_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  char reason_[JMSG_LENGTH_MAX] = "";
  std::jmp_buf jump_;
};

}  // namespace

Image DecodeJpegByTurbo(std::string_view bytes, const JpegFrame& frame, int reduction) {
  JpegReader reader(bytes);
  if (!reader.ReadHeader()) reader.Fail();
  CheckSameFrame(frame, reader.info().image_width, reader.info().image_height,
                 reader.info().num_components);
  if (!reader.Start(reduction)) reader.Fail();
  Image image(static_cast<int>(reader.info().output_width),
              static_cast<int>(reader.info().output_height), reader.info().output_components);
  if (!reader.ReadRows(image.pixels.data())) reader.Fail();
  return image;
}

#define LSEG_TEXT_OF(x) #x
#define LSEG_TEXT(x) LSEG_TEXT_OF(x)
const char* JpegTurboName() { return "libjpeg-turbo " LSEG_TEXT(LIBJPEG_TURBO_VERSION); }

}  // namespace lseg
