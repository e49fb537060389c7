// JSON is left to a library; what it lets pass (a key given twice, numbers of any kind) is checked
// here, since a weights file may come from anywhere.
#include "framework/weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "framework/file.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian values");

using Json = nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr char kMetadata[] = "__metadata__";

struct Entry {
  std::string key;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  int64_t count = 0;
  int64_t begin = 0, end = 0;
};

Json ParseHeader(std::string_view text, const std::string& name) {
  LSEG_CHECK(!text.empty() && text[0] == '{', name << ": the header does not start with '{'");
  std::vector<std::set<std::string>> keys;
  const auto refuse_repeats = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      LSEG_CHECK(keys.back().insert(value.get<std::string>()).second,
                 name << ": key '" << Printable(value.get<std::string>())
                      << "' stands twice in the header");
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), refuse_repeats);
  } catch (const Json::parse_error& error) {
    LSEG_FAIL(name << ": the header is not JSON, at its byte " << error.byte);
  } catch (const Json::out_of_range&) {
    LSEG_FAIL(name << ": the header has a number that no double holds");
  }
}

// A number that is an integer in [0, 2^63).
bool IsCount(const Json& value) {
  return value.is_number_unsigned() &&
         value.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
}

DType ParseDType(const Json& info, const std::string& where) {
  const auto dtype = info.find("dtype");
  LSEG_CHECK(dtype != info.end() && dtype->is_string(), where << " has no dtype");
  const std::string text = dtype->get<std::string>();
  if (text == "F32") return DType::kF32;
  if (text == "F16") return DType::kF16;
  if (text == "BF16") return DType::kBF16;
  LSEG_FAIL(where << " has dtype " << Printable(text) << ": F32, F16 and BF16 are read");
}

void ParseShape(const Json& info, const std::string& where, Entry& entry) {
  const auto shape = info.find("shape");
  LSEG_CHECK(shape != info.end() && shape->is_array(), where << " has no shape");
  for (const Json& dim : *shape) {
    LSEG_CHECK(IsCount(dim),
               where << " has a dimension that is not a count: " << Printable(dim.dump()));
    entry.shape.push_back(dim.get<int64_t>());
  }
  const std::optional<int64_t> count = ElementCount(entry.shape);
  LSEG_CHECK(count.has_value(), where << " has more elements than can be counted");
  entry.count = *count;
}

void ParseOffsets(const Json& info, int64_t data_size, const std::string& where, Entry& entry) {
  const auto offsets = info.find("data_offsets");
  LSEG_CHECK(offsets != info.end() && offsets->is_array() && offsets->size() == 2 &&
                 IsCount((*offsets)[0]) && IsCount((*offsets)[1]),
             where << " has no data_offsets of two counts");
  entry.begin = (*offsets)[0].get<int64_t>();
  entry.end = (*offsets)[1].get<int64_t>();
  LSEG_CHECK(entry.begin <= entry.end && entry.end <= data_size,
             where << " lies at bytes " << entry.begin << " to " << entry.end
                   << ", but the file has " << data_size << " bytes of data");
  // Division, since count * size may overflow.
  const int64_t bytes = entry.end - entry.begin, size = SizeOf(entry.dtype);
  LSEG_CHECK(bytes % size == 0 && bytes / size == entry.count,
             where << " has " << entry.count << " elements of " << size << " bytes, but " << bytes
                   << " bytes of data");
}

std::map<std::string, std::string> ParseMetadata(const Json& metadata, const std::string& name) {
  LSEG_CHECK(metadata.is_object(), name << ": " << kMetadata << " is not an object of strings");
  std::map<std::string, std::string> strings;
  for (const auto& [key, value] : metadata.items()) {
    LSEG_CHECK(value.is_string(), name << ": metadata '" << Printable(key) << "' is not a string");
    strings[key] = value.get<std::string>();
  }
  return strings;
}

// The tensors in order of their data, which they must tile.
std::vector<Entry> ParseEntries(const Json& header, int64_t data_size, const std::string& name) {
  std::vector<Entry> entries;
  for (const auto& [key, info] : header.items()) {
    if (key == kMetadata) continue;
    const std::string where = name + ": tensor '" + Printable(key) + "'";
    LSEG_CHECK(info.is_object(), where << " is not described by an object");
    Entry entry;
    entry.key = key;
    entry.dtype = ParseDType(info, where);
    ParseShape(info, where, entry);
    ParseOffsets(info, data_size, where, entry);
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  int64_t end = 0;
  for (const Entry& entry : entries) {
    LSEG_CHECK(entry.begin == end, name << ": tensor '" << Printable(entry.key)
                                        << "' starts at byte " << entry.begin
                                        << " of the data, where byte " << end
                                        << " follows: tensors must not overlap or leave gaps");
    end = entry.end;
  }
  LSEG_CHECK(end == data_size, name << ": the tensors end at byte " << end << " of the data, but "
                                    << data_size << " bytes are there");
  return entries;
}

std::vector<float> ReadFloats(const Entry& entry, const char* bytes) {
  std::vector<float> data(static_cast<size_t>(entry.count));
  if (entry.dtype == DType::kF32) {
    if (!data.empty()) std::memcpy(data.data(), bytes, data.size() * sizeof(float));
    return data;
  }
  for (size_t i = 0; i < data.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes + i * sizeof(bits), sizeof(bits));
    data[i] = entry.dtype == DType::kF16 ? F16ToF32(bits) : BF16ToF32(bits);
  }
  return data;
}

const char* FormatName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    default:
      LSEG_FAIL("weights: " << ToString(dtype) << " is no type of weights");
  }
}

void AppendValues(const WeightTensor& tensor, DType dtype, std::string* bytes) {
  if (dtype == DType::kF32) {
    bytes->append(reinterpret_cast<const char*>(tensor.data.data()),
                  tensor.data.size() * sizeof(float));
    return;
  }
  const bool f16 = dtype == DType::kF16;
  for (const float value : tensor.data) {
    const uint16_t bits = f16 ? F32ToF16(value) : F32ToBF16(value);
    LSEG_CHECK(!std::isfinite(value) || std::isfinite(f16 ? F16ToF32(bits) : BF16ToF32(bits)),
               "tensor '" << Printable(tensor.key) << "' has values that are beyond "
                          << ToString(dtype) << ", such as " << value);
    bytes->append(reinterpret_cast<const char*>(&bits), sizeof(bits));
  }
}

bool KeyBefore(const WeightTensor& tensor, const std::string& key) { return tensor.key < key; }

}  // namespace

std::optional<int64_t> ElementCount(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count)) return std::nullopt;
  }
  return count;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t dim : shape) text += (text.empty() ? "" : "x") + std::to_string(dim);
  return text.empty() ? "scalar" : text;
}

ValueRange RangeOf(const std::vector<float>& values) {
  ValueRange range;
  range.count = static_cast<int64_t>(values.size());
  double sum = 0;
  int64_t finite = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) {
      ++(std::isnan(value) ? range.nan : range.infinite);
      continue;
    }
    range.min = finite == 0 ? value : std::min(range.min, value);
    range.max = finite == 0 ? value : std::max(range.max, value);
    sum += std::fabs(value);
    ++finite;
  }
  if (finite > 0) range.mean_abs = sum / static_cast<double>(finite);
  return range;
}

WeightsFile WeightsFile::Read(const std::string& path) { return Parse(ReadFile(path), path); }

WeightsFile WeightsFile::Parse(std::string_view bytes, const std::string& name) {
  uint64_t header_size = 0;
  LSEG_CHECK(bytes.size() >= sizeof(header_size),
             name << ": not a safetensors file: " << bytes.size() << " bytes");
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  bytes.remove_prefix(sizeof(header_size));
  LSEG_CHECK(header_size <= bytes.size() && header_size <= kMaxHeader,
             name << ": not a whole safetensors file: a header of " << header_size
                  << " bytes is announced, " << bytes.size() << " bytes follow (limit "
                  << kMaxHeader << ")");
  const Json header = ParseHeader(bytes.substr(0, header_size), name);
  bytes.remove_prefix(header_size);

  WeightsFile file;
  if (header.contains(kMetadata)) file.metadata = ParseMetadata(header[kMetadata], name);
  for (const Entry& entry : ParseEntries(header, static_cast<int64_t>(bytes.size()), name)) {
    file.Add({entry.key, entry.shape, ReadFloats(entry, bytes.data() + entry.begin)});
  }
  return file;
}

void WeightsFile::Write(const std::string& path, DType dtype) const {
  if (dtype != DType::kF32) return WriteFile(path, Serialize(dtype));
  // The values as they lie in memory, not copied first: a checkpoint's are many.
  const std::string header = Header(dtype);
  std::vector<std::string_view> parts = {header};
  for (const WeightTensor& tensor : tensors_) {
    parts.emplace_back(reinterpret_cast<const char*>(tensor.data.data()),
                       tensor.data.size() * sizeof(float));
  }
  WriteParts(path, parts);
}

std::string WeightsFile::Serialize(DType dtype) const {
  std::string bytes = Header(dtype);
  int64_t values = 0;
  for (const WeightTensor& tensor : tensors_) values += std::ssize(tensor.data);
  bytes.reserve(bytes.size() + values * SizeOf(dtype));
  for (const WeightTensor& tensor : tensors_) AppendValues(tensor, dtype, &bytes);
  return bytes;
}

std::string WeightsFile::Header(DType dtype) const {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  uint64_t data_size = 0;
  for (const WeightTensor& tensor : tensors_) {
    const uint64_t begin = data_size;
    data_size += tensor.data.size() * static_cast<uint64_t>(SizeOf(dtype));
    auto& info = header[tensor.key];
    info["dtype"] = FormatName(dtype);
    info["shape"] = tensor.shape;
    info["data_offsets"] = {begin, data_size};
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::type_error&) {
    LSEG_FAIL("weights: a key or a metadata string is not UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  LSEG_CHECK(text.size() <= kMaxHeader, "weights: the header would have "
                                            << text.size() << " bytes, above the format's limit of "
                                            << kMaxHeader);
  const uint64_t header_size = text.size();
  std::string bytes(reinterpret_cast<const char*>(&header_size), sizeof(header_size));
  return bytes + text;
}

void WeightsFile::Add(WeightTensor tensor) {
  LSEG_CHECK(tensor.key != kMetadata, "weights: the key " << kMetadata << " is reserved");
  const std::optional<int64_t> count = ElementCount(tensor.shape);
  LSEG_CHECK(count == static_cast<int64_t>(tensor.data.size()),
             "weights: tensor '" << tensor.key << "' has " << tensor.data.size()
                                 << " values, which do not fill its shape");
  const auto at = std::lower_bound(tensors_.begin(), tensors_.end(), tensor.key, KeyBefore);
  LSEG_CHECK(at == tensors_.end() || at->key != tensor.key,
             "weights: tensor '" << tensor.key << "' is there already");
  tensors_.insert(at, std::move(tensor));
}

const WeightTensor* WeightsFile::Find(const std::string& key) const {
  const auto at = std::lower_bound(tensors_.begin(), tensors_.end(), key, KeyBefore);
  return at != tensors_.end() && at->key == key ? &*at : nullptr;
}

}  // namespace lseg
