// cvt between integers: they wrap, or with .sat clamp. Registers may be wider than the types: the
// upper bits of a source are not looked at, those of a result are copies of its sign or zeros.
#include <type_traits>

#include "tests/softgpu/machine/convert.h"

namespace softgpu {
namespace {

int64_t Extend(Type type, int64_t v) {
  switch (type) {
    case Type::kU8:
      return static_cast<uint8_t>(v);
    case Type::kS8:
      return static_cast<int8_t>(v);
    case Type::kU16:
      return static_cast<uint16_t>(v);
    case Type::kS16:
      return static_cast<int16_t>(v);
    case Type::kU32:
      return static_cast<uint32_t>(v);
    case Type::kS32:
      return static_cast<int32_t>(v);
    default:
      return v;
  }
}

int64_t ShadowBits64(uint8_t shadow) { return static_cast<int64_t>(ShadowBits<uint64_t>(shadow)); }

void RunWrap(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  int64_t v[kLanes];
  uint64_t bits[kLanes];
  uint8_t shadow[kLanes];
  LoadIntegers(w, i.r[1], c, v);
  for (int l = 0; l < kLanes; ++l) bits[l] = static_cast<uint64_t>(Extend(c.to, v[l]));
  SourceShadow(w, i.r[1], c, shadow);
  if (!AllWritten(shadow)) {  // unwritten bits go where the bits go, sign extension included
    for (int l = 0; l < kLanes; ++l) {
      const int64_t moved = Extend(c.to, Extend(c.from, ShadowBits64(shadow[l])));
      shadow[l] = ShadowOfBits(static_cast<uint64_t>(moved)) & ShadowAll(c.to_slot);
    }
  }
  StoreBits(w, i.r[0], c.to_slot, bits);
  PutShadow(w, i.r[0], c.to_slot, shadow);
}

void RunSaturate(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  const int width = 8 * Bytes(c.to);
  const bool is_signed = IsSigned(c.to);
  const __int128 low = is_signed ? -(__int128{1} << (width - 1)) : __int128{0};
  const __int128 high = (__int128{1} << (is_signed ? width - 1 : width)) - 1;
  int64_t v[kLanes];
  uint64_t bits[kLanes];
  uint8_t shadow[kLanes];
  LoadIntegers(w, i.r[1], c, v);
  for (int l = 0; l < kLanes; ++l) {
    const __int128 wide = c.from == Type::kU64 ? __int128{static_cast<uint64_t>(v[l])} : v[l];
    bits[l] = static_cast<uint64_t>(wide < low ? low : wide > high ? high : wide);
  }
  SourceShadow(w, i.r[1], c, shadow);
  StoreBits(w, i.r[0], c.to_slot, bits);
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
