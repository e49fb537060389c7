// cvt: what a conversion is, and its stages, each a loop over lanes. All but the 64-bit integers
// are exact in f64, so that most conversions go through it: load, round to an integer, clamp,
// narrow.
#pragma once

#include "tests/softgpu/machine/float_format.h"
#include "tests/softgpu/machine/half.h"
#include "tests/softgpu/machine/rounding.h"

namespace softgpu {

struct Conversion {
  Type from = Type::kNone, to = Type::kNone;
  int from_slot = 0, to_slot = 0;    // bytes a lane of the registers
  int from_bytes = 0, to_bytes = 0;  // of the types
  bool to_signed = false;
  bool to_integer = false;  // .rni, .rzi, .rmi, .rpi: also of floats to floats
  Rounding integer_rounding = Rounding::kNearest;
  RoundTo rounding = RoundTo::kNearest;
  bool ftz = false, sat = false, relu = false, finite = false;
};

inline bool IsInteger(Type type) {
  switch (type) {
    case Type::kU8:
    case Type::kS8:
    case Type::kU16:
    case Type::kS16:
    case Type::kU32:
    case Type::kS32:
    case Type::kU64:
    case Type::kS64:
      return true;
    default:
      return false;
  }
}

// The source in slot r as f64; not for 64-bit integers. .ftz is done.
void LoadDoubles(const Warp& w, Ref r, const Conversion& c, double* v);
// An integer source as 64 bits, extended by its sign.
void LoadIntegers(const Warp& w, Ref r, const Conversion& c, int64_t* v);
// Rounding to integers, .sat and .relu of a float result.
void RoundDoubles(const Conversion& c, double* v);
// The bits of v in the float type c.to, .ftz done; by RoundToFormat, slow.
void NarrowDoubles(const Conversion& c, const double* v, uint64_t* bits);
// The same and into slot r, fast where the rounding is to nearest.
void StoreDoubles(Warp& w, Ref r, const Conversion& c, const double* v);
// Stores the low bytes of each lane into slot r of c.to_slot bytes, and the shadow: all of a lane
// where the source's was not 0.
void StoreBits(Warp& w, Ref r, int slot_bytes, const uint64_t* bits);
void StoreShadow(Warp& w, Ref r, const Conversion& c, const uint8_t* source);
const FloatFormat& FormatOf(Type type);

// Shadow of the bytes of the source type.
inline void SourceShadow(const Warp& w, Ref r, const Conversion& c, uint8_t* shadow) {
  const uint8_t* s = Shadow(w, r, c.from_slot);
  const uint8_t bytes = ShadowAll(c.from_bytes);
  for (int l = 0; l < kLanes; ++l) shadow[l] = s[l] & bytes;
}

// ops_convert_pack.cc: two sources into one register, tf32, 8-bit floats, cvt.pack. False: it is
// another cvt.
bool BuildConvertPack(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
// ops_convert_integer.cc
void BuildConvertIntegers(Decoder& decoder, Inst& inst, const Conversion& c);

}  // namespace softgpu
