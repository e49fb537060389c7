// See compare.h.
#include "tests/softgpu/machine/compare.h"

namespace softgpu {
namespace {

template <Cmp kOp, class T>
uint32_t LanesWhere(const T* a, const T* b) {
  uint8_t holds[kLanes];
  for (int l = 0; l < kLanes; ++l) holds[l] = Holds<kOp>(a[l], b[l]) ? 0xff : 0;
  return LanesOf(holds);
}

template <Cmp kOp, class T, bool kFtz = false>
Mixed CompareValues(const Warp& w, const Inst& i, bool) {
  const T* a = Get<T>(w, i.r[2]);
  const T* b = Get<T>(w, i.r[3]);
  uint8_t shadow[kLanes];
  MixAndSpread(0xff, shadow, Shadow(w, i.r[2], sizeof(T)), Shadow(w, i.r[3], sizeof(T)));
  const uint32_t unwritten = LanesOf(shadow);
  if constexpr (kFtz) {
    T x[kLanes], y[kLanes];
    for (int l = 0; l < kLanes; ++l) x[l] = Flush(a[l]);
    for (int l = 0; l < kLanes; ++l) y[l] = Flush(b[l]);
    return {LanesWhere<kOp>(x, y), unwritten};
  } else {
    return {LanesWhere<kOp>(a, b), unwritten};
  }
}

// One 16-bit float of each lane, widened.
template <class Format, bool kPair, bool kFtz>
void LoadHalves(const Warp& w, Ref r, bool upper, float* x, uint8_t* shadow) {
  uint16_t h[kLanes];
  const uint8_t* s = Shadow(w, r, kPair ? 4 : 2);
  if constexpr (kPair) {
    const uint32_t* pairs = Get<uint32_t>(w, r);
    const int down = upper ? 16 : 0;
    const uint8_t bytes = upper ? 12 : 3;
    for (int l = 0; l < kLanes; ++l) h[l] = static_cast<uint16_t>(pairs[l] >> down);
    for (int l = 0; l < kLanes; ++l) shadow[l] |= s[l] & bytes;
  } else {
    std::memcpy(h, Get<uint16_t>(w, r), sizeof(h));
    Mix(s, shadow);
  }
  if constexpr (kFtz) {
    for (int l = 0; l < kLanes; ++l) h[l] = FlushHalf<Format>(h[l]);
  }
  Format::template Load<kLanes>(h, x);
}
template <Cmp kOp, class Format, bool kPair, bool kFtz>
Mixed CompareHalves(const Warp& w, const Inst& i, bool upper) {
  float a[kLanes], b[kLanes];
  uint8_t shadow[kLanes] = {};
  LoadHalves<Format, kPair, kFtz>(w, i.r[2], upper, a, shadow);
  LoadHalves<Format, kPair, kFtz>(w, i.r[3], upper, b, shadow);
  return {LanesWhere<kOp>(a, b), AnyShadow(shadow)};
}

template <Cmp kOp>
Comparison PickInteger(Type type) {
  switch (type) {
    case Type::kU16:
    case Type::kB16:
      return CompareValues<kOp, uint16_t>;
    case Type::kS16:
      return CompareValues<kOp, int16_t>;
    case Type::kU32:
    case Type::kB32:
      return CompareValues<kOp, uint32_t>;
    case Type::kS32:
      return CompareValues<kOp, int32_t>;
    case Type::kU64:
    case Type::kB64:
      return CompareValues<kOp, uint64_t>;
    case Type::kS64:
      return CompareValues<kOp, int64_t>;
    default:
      return nullptr;
  }
}
template <Cmp kOp>
Comparison PickFloat(Type type, bool ftz) {
  switch (type) {
    case Type::kF32:
      return ftz ? CompareValues<kOp, float, true> : CompareValues<kOp, float>;
    case Type::kF64:
      return CompareValues<kOp, double>;
    case Type::kF16:
      return ftz ? CompareHalves<kOp, F16, false, true> : CompareHalves<kOp, F16, false, false>;
    case Type::kF16x2:
      return ftz ? CompareHalves<kOp, F16, true, true> : CompareHalves<kOp, F16, true, false>;
    case Type::kBF16:
      return CompareHalves<kOp, BF16, false, false>;
    case Type::kBF16x2:
      return CompareHalves<kOp, BF16, true, false>;
    default:
      return nullptr;
  }
}

template <size_t... k>
Comparison PickIntegerOp(Cmp op, Type type, std::index_sequence<k...>) {
  constexpr Comparison (*kPick[])(Type) = {PickInteger<static_cast<Cmp>(k)>...};
  return kPick[static_cast<size_t>(op)](type);
}
template <size_t... k>
Comparison PickFloatOp(Cmp op, Type type, bool ftz, std::index_sequence<k...>) {
  constexpr Comparison (*kPick[])(Type, bool) = {PickFloat<static_cast<Cmp>(k)>...};
  return kPick[static_cast<size_t>(op)](type, ftz);
}

}  // namespace

ComparisonWords TakeComparison(Words& words) {
  ComparisonWords taken = {};
  const int signless = words.TakeOneOf({"lo", "ls", "hi", "hs"});
  if (signless >= 0) {
    constexpr Cmp kOps[] = {Cmp::kLt, Cmp::kLe, Cmp::kGt, Cmp::kGe};
    taken.op = kOps[signless];
    taken.unsigned_name = true;
  } else {
    const int op = words.TakeOneOf({"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu",
                                    "gtu", "geu", "num", "nan"});
    if (op < 0) words.Refuse("needs a comparison");
    taken.op = static_cast<Cmp>(op);
  }
  taken.combine = static_cast<BoolOp>(1 + words.TakeOneOf({"and", "or", "xor"}));
  taken.ftz = words.Take("ftz");
  return taken;
}

Comparison PickComparison(Words& words, const ComparisonWords& taken, Type type) {
  const bool bits = type == Type::kB16 || type == Type::kB32 || type == Type::kB64;
  const bool is_signed = type == Type::kS16 || type == Type::kS32 || type == Type::kS64;
  Comparison comparison = nullptr;
  if (IsFloat(type)) {
    const bool can_flush = type == Type::kF32 || type == Type::kF16 || type == Type::kF16x2;
    if (taken.unsigned_name || (taken.ftz && !can_flush)) words.Refuse("not for this type");
    comparison = PickFloatOp(taken.op, type, taken.ftz, std::make_index_sequence<14>{});
  } else {
    if (taken.op > Cmp::kGe || taken.ftz || (taken.unsigned_name && (bits || is_signed)) ||
        (bits && taken.op > Cmp::kNe)) {
      words.Refuse("not for this type");
    }
    comparison = PickIntegerOp(taken.op, type, std::make_index_sequence<6>{});
  }
  if (comparison == nullptr) words.Refuse("not for this type");
  return comparison;
}

}  // namespace softgpu
