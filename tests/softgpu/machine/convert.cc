// See convert.h.
#include "tests/softgpu/machine/convert.h"

namespace softgpu {
namespace {

template <class To, class Slot, class From>
void Widen(const Warp& w, Ref r, To* v) {
  const Slot* s = Get<Slot>(w, r);
  for (int l = 0; l < kLanes; ++l) v[l] = static_cast<To>(static_cast<From>(s[l]));
}
// Integers of 8 to 32 bits (To = double), or all of them (To = int64_t).
template <class To, class Slot>
void LoadFrom(const Warp& w, Ref r, Type from, To* v) {
  switch (from) {
    case Type::kU8:
      return Widen<To, Slot, uint8_t>(w, r, v);
    case Type::kS8:
      return Widen<To, Slot, int8_t>(w, r, v);
    case Type::kU16:
      return Widen<To, Slot, uint16_t>(w, r, v);
    case Type::kS16:
      return Widen<To, Slot, int16_t>(w, r, v);
    case Type::kU32:
      return Widen<To, Slot, uint32_t>(w, r, v);
    case Type::kS32:
      return Widen<To, Slot, int32_t>(w, r, v);
    default:
      return Widen<To, Slot, int64_t>(w, r, v);
  }
}
template <class To>
void LoadInteger(const Warp& w, Ref r, const Conversion& c, To* v) {
  if (c.from_slot == 2) return LoadFrom<To, uint16_t>(w, r, c.from, v);
  if (c.from_slot == 4) return LoadFrom<To, uint32_t>(w, r, c.from, v);
  return LoadFrom<To, uint64_t>(w, r, c.from, v);
}

template <class Format>
void LoadHalves(const Warp& w, Ref r, double* v) {
  float f[kLanes];
  Format::template Load<kLanes>(Get<uint16_t>(w, r), f);
  for (int l = 0; l < kLanes; ++l) v[l] = f[l];
}

template <class Format>
void StoreHalves(Warp& w, Ref r, const double* v) {
  float f[kLanes];
  uint16_t h[kLanes];
  for (int l = 0; l < kLanes; ++l) f[l] = NarrowToOdd(v[l]);
  Format::template Store<kLanes>(f, h);
  Put(w, r, h);
}
void StoreFloats(Warp& w, Ref r, const double* v, bool ftz) {
  float f[kLanes];
  for (int l = 0; l < kLanes; ++l) f[l] = Output<false, false>(static_cast<float>(v[l]));
  if (ftz) {
    for (int l = 0; l < kLanes; ++l) f[l] = Flush(f[l]);
  }
  Put(w, r, f);
}

template <class T>
void StoreLow(Warp& w, Ref r, const uint64_t* bits) {
  T d[kLanes];
  for (int l = 0; l < kLanes; ++l) d[l] = static_cast<T>(bits[l]);
  Put(w, r, d);
}

}  // namespace

void LoadDoubles(const Warp& w, Ref r, const Conversion& c, double* v) {
  switch (c.from) {
    case Type::kF16:
      return LoadHalves<F16>(w, r, v);
    case Type::kBF16:
      return LoadHalves<BF16>(w, r, v);
    case Type::kF32: {
      const float* f = Get<float>(w, r);
      if (c.ftz) {
        for (int l = 0; l < kLanes; ++l) v[l] = Flush(f[l]);
      } else {
        for (int l = 0; l < kLanes; ++l) v[l] = f[l];
      }
      return;
    }
    case Type::kF64:
      std::memcpy(v, Get<double>(w, r), kLanes * sizeof(double));
      return;
    default:
      return LoadInteger(w, r, c, v);
  }
}

void LoadIntegers(const Warp& w, Ref r, const Conversion& c, int64_t* v) {
  LoadInteger(w, r, c, v);
}

void RoundDoubles(const Conversion& c, double* v) {
  if (c.to_integer) {
    switch (c.integer_rounding) {
      case Rounding::kNearest:
        for (int l = 0; l < kLanes; ++l) v[l] = std::rint(v[l]);
        break;
      case Rounding::kZero:
        for (int l = 0; l < kLanes; ++l) v[l] = std::trunc(v[l]);
        break;
      case Rounding::kDown:
        for (int l = 0; l < kLanes; ++l) v[l] = std::floor(v[l]);
        break;
      case Rounding::kUp:
        for (int l = 0; l < kLanes; ++l) v[l] = std::ceil(v[l]);
        break;
    }
  }
  if (c.sat) {  // no number becomes 0
    for (int l = 0; l < kLanes; ++l) v[l] = v[l] > 0 ? (v[l] < 1 ? v[l] : 1.0) : 0.0;
  }
  if (c.relu) {  // no number stays what it is
    for (int l = 0; l < kLanes; ++l) v[l] = v[l] <= 0 ? 0.0 : v[l];
  }
}

const FloatFormat& FormatOf(Type type) {
  switch (type) {
    case Type::kF16:
      return kFormatF16;
    case Type::kBF16:
      return kFormatBF16;
    case Type::kTF32:
      return kFormatTF32;
    case Type::kF32:
      return kFormatF32;
    case Type::kE4M3x2:
      return kFormatE4M3;
    case Type::kE5M2x2:
      return kFormatE5M2;
    default:
      return kFormatF64;
  }
}

void NarrowDoubles(const Conversion& c, const double* v, uint64_t* bits) {
  const FloatFormat& format = FormatOf(c.to);
  for (int l = 0; l < kLanes; ++l) {
    bits[l] = RoundToFormat(NumberOf(v[l]), format, c.rounding, c.finite);
  }
  if (c.ftz && c.to == Type::kF32) {
    for (int l = 0; l < kLanes; ++l) {
      bits[l] = bits[l] & 0x7f800000u ? bits[l] : bits[l] & 0x80000000u;
    }
  }
}

void StoreDoubles(Warp& w, Ref r, const Conversion& c, const double* v) {
  if (c.to == Type::kF64) return Put(w, r, v);
  if (c.rounding == RoundTo::kNearest && !c.finite) {
    if (c.to == Type::kF32) return StoreFloats(w, r, v, c.ftz);
    if (c.to == Type::kF16) return StoreHalves<F16>(w, r, v);
    if (c.to == Type::kBF16) return StoreHalves<BF16>(w, r, v);
  }
  uint64_t bits[kLanes];
  NarrowDoubles(c, v, bits);
  StoreBits(w, r, c.to_slot, bits);
}

void StoreBits(Warp& w, Ref r, int slot_bytes, const uint64_t* bits) {
  if (slot_bytes == 2) return StoreLow<uint16_t>(w, r, bits);
  if (slot_bytes == 4) return StoreLow<uint32_t>(w, r, bits);
  return StoreLow<uint64_t>(w, r, bits);
}

void StoreShadow(Warp& w, Ref r, const Conversion& c, const uint8_t* source) {
  uint8_t shadow[kLanes];
  std::memcpy(shadow, source, kLanes);
  Spread(shadow, ShadowAll(c.to_slot));
  PutShadow(w, r, c.to_slot, shadow);
}

}  // namespace softgpu
