// cvt between integers: they wrap, or with .sat clamp. Registers may be wider than the types: the
// upper bits of a source are not looked at, those of a result are copies of its sign or zeros.
#include <type_traits>

#include "tests/softgpu/machine/convert.h"

namespace softgpu {
namespace {

// The low bytes of the type, extended as it says.
template <class T>
void ExtendAs(int64_t* v) {
  for (int l = 0; l < kLanes; ++l) v[l] = static_cast<int64_t>(static_cast<T>(v[l]));
}
void Extend(Type type, int64_t* v) {
  switch (type) {
    case Type::kU8:
      return ExtendAs<uint8_t>(v);
    case Type::kS8:
      return ExtendAs<int8_t>(v);
    case Type::kU16:
      return ExtendAs<uint16_t>(v);
    case Type::kS16:
      return ExtendAs<int16_t>(v);
    case Type::kU32:
      return ExtendAs<uint32_t>(v);
    case Type::kS32:
      return ExtendAs<int32_t>(v);
    default:
      return;
  }
}
void Store(Warp& w, const Inst& i, const Conversion& c, const int64_t* v) {
  uint64_t bits[kLanes];
  std::memcpy(bits, v, sizeof(bits));
  StoreBits(w, i.r[0], c.to_slot, bits);
}

void RunWrap(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  int64_t v[kLanes];
  uint8_t shadow[kLanes];
  LoadIntegers(w, i.r[1], c, v);
  Extend(c.to, v);
  SourceShadow(w, i.r[1], c, shadow);
  Store(w, i, c, v);
  if (!AllWritten(shadow)) {  // unwritten bits go where the bits go, sign extension included
    for (int l = 0; l < kLanes; ++l) v[l] = static_cast<int64_t>(ShadowBits<uint64_t>(shadow[l]));
    Extend(c.from, v);
    Extend(c.to, v);
    for (int l = 0; l < kLanes; ++l) {
      shadow[l] = ShadowOfBits(static_cast<uint64_t>(v[l])) & ShadowAll(c.to_slot);
    }
  }
  PutShadow(w, i.r[0], c.to_slot, shadow);
}

void RunSaturate(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  const int width = 8 * c.to_bytes - (c.to_signed ? 1 : 0);  // of the largest value
  const auto high = static_cast<int64_t>((uint64_t{1} << (width & 63)) - 1);
  const int64_t low = c.to_signed ? -high - 1 : 0;
  int64_t v[kLanes];
  uint8_t shadow[kLanes];
  LoadIntegers(w, i.r[1], c, v);
  if (c.from == Type::kU64) {  // whose upper half looks negative here
    for (int l = 0; l < kLanes; ++l) v[l] = v[l] < 0 ? INT64_MAX : v[l];
  }
  if (width == 64) {  // of signed sources only
    for (int l = 0; l < kLanes; ++l) v[l] = v[l] < 0 ? 0 : v[l];
  } else {
    for (int l = 0; l < kLanes; ++l) v[l] = v[l] < low ? low : v[l] > high ? high : v[l];
  }
  SourceShadow(w, i.r[1], c, shadow);
  Store(w, i, c, v);
  StoreShadow(w, i.r[0], c, shadow);
}

// The common ones, each register as wide as its type, as one loop.
template <class D, class A>
constexpr Exec kDirect = RunMove<[](A a) { return static_cast<D>(a); }, 1, D, A>;
template <class D>
Exec DirectFrom(Type from) {
  switch (from) {
    case Type::kU16:
      return kDirect<D, uint16_t>;
    case Type::kS16:
      return kDirect<D, int16_t>;
    case Type::kU32:
      return kDirect<D, uint32_t>;
    case Type::kS32:
      return kDirect<D, int32_t>;
    case Type::kU64:
    case Type::kS64:
      return kDirect<D, uint64_t>;
    default:
      return nullptr;
  }
}
Exec Direct(const Conversion& c) {
  if (c.from_slot != Bytes(c.from) || c.to_slot != Bytes(c.to)) return nullptr;
  switch (c.to_slot) {
    case 2:
      return DirectFrom<uint16_t>(c.from);
    case 4:
      return DirectFrom<uint32_t>(c.from);
    default:
      return DirectFrom<uint64_t>(c.from);
  }
}

}  // namespace

void BuildConvertIntegers(Decoder& decoder, Inst& inst, const Conversion& c) {
  inst.exec = c.sat ? RunSaturate : Direct(c);
  if (inst.exec == nullptr) inst.exec = RunWrap;
  inst.extra = decoder.code().Keep<Conversion>(c);
}

}  // namespace softgpu
