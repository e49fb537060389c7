// mma.sync: fragments are unpacked into small dense matrices (matrix_tiles.h), multiplied and
// packed again. A result is unwritten where its row of A, its column of B or its accumulator is:
// one test of all shadows first, for the common case that none is.
#include "tests/softgpu/machine/ops_matrix.h"

#include <cmath>
#include <limits>
#include <string>

#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/matrix_tiles.h"
#include "tests/softgpu/machine/warp_sync.h"

namespace softgpu {

bool WholeWarp(Warp& w, const Inst& i) { return w.exec == kAllLanes || Converge(w, i, kAllLanes); }

namespace {

using matrix::F8;

// Registers of the fragments, in Inst::list in this order.
struct Shape {
  int d, a, b, c;       // how many of each
  int ab_bytes;         // of a register of A, B
  int cd_bytes;         // of C, D
  bool packed = false;  // two columns in one register of C, D
};

const Ref* RefsD(const Inst& i) { return i.list; }
template <int D>
const Ref* RefsA(const Inst& i) {
  return i.list + D;
}

matrix::U8 ShadowsOf(const Warp& w, Ref r, int bytes) {
  return matrix::LoadVector<matrix::U8>(Shadow(w, r, bytes));
}

template <Shape s>
bool AllWritten(const Warp& w, const Inst& i) {
  matrix::U8 any{};
  const Ref* r = i.list + s.d;
#pragma GCC unroll 8
  for (int f = 0; f < s.a + s.b; ++f) any |= ShadowsOf(w, *r++, s.ab_bytes);
#pragma GCC unroll 8
  for (int f = 0; f < s.c; ++f) any |= ShadowsOf(w, *r++, s.cd_bytes);
  uint64_t words[4];
  std::memcpy(words, &any, sizeof(words));
  return (words[0] | words[1] | words[2] | words[3]) == 0;
}

// Shadows of D into out[register][lane]. Lanes outside of w.exec hold nothing.
void SpreadShadows(const Warp& w, const Inst& i, const Shape& s, uint8_t out[4][kLanes]) {
  const Ref* r = i.list + s.d;
  uint32_t rows = 0, columns = 0;
  for (int f = 0; f < s.a; ++f) {
    ForLanes(AnyShadow(Shadow(w, *r++, s.ab_bytes)) | ~w.exec,
             [&](int l) { rows |= 1u << (l / 4 + 8 * (f % 2)); });
  }
  for (int f = 0; f < s.b; ++f) {
    ForLanes(AnyShadow(Shadow(w, *r++, s.ab_bytes)) | ~w.exec,
             [&](int l) { columns |= 1u << (l / 4); });
  }
  for (int f = 0; f < s.c; ++f) {
    const uint8_t* c = Shadow(w, *r++, s.cd_bytes);
    for (int l = 0; l < kLanes; ++l) {
      const int row = l / 4 + 8 * (s.packed ? f : f / 2);
      if (s.packed) {
        out[f][l] = 0;
        for (int half = 0; half < 2; ++half) {
          const uint8_t bits = static_cast<uint8_t>(3 << (2 * half));
          const bool bad = rows >> row & 1 || columns >> (2 * (l % 4) + half) & 1 || c[l] & bits;
          if (bad) out[f][l] |= bits;
        }
      } else {
        const bool bad = rows >> row & 1 || columns >> (2 * (l % 4) + f % 2) & 1 || c[l];
        out[f][l] = bad ? ShadowAll(s.cd_bytes) : 0;
      }
    }
  }
}

template <Shape s>
void PutShadows(Warp& w, const Inst& i) {
  if (w.exec == kAllLanes && AllWritten<s>(w, i)) {
#pragma GCC unroll 4
    for (int f = 0; f < s.d; ++f) std::memset(Shadow(w, RefsD(i)[f], s.cd_bytes), 0, kLanes);
    return;
  }
  uint8_t shadows[4][kLanes];
  SpreadShadows(w, i, s, shadows);
  for (int f = 0; f < s.d; ++f) PutShadow(w, RefsD(i)[f], s.cd_bytes, shadows[f]);
}

// --- f16, bf16, tf32 ---------------------------------------------------------------------------

// kBlocks: of E along k. kHalfSums: accumulators are f16, two columns a register.
template <class Element, int kBlocks, bool kHalfSums>
struct FloatMma {
  static constexpr int kDepth = kBlocks * Element::kWidth;
  static constexpr Shape kShape = {.d = kHalfSums ? 2 : 4,
                                   .a = 2 * kBlocks,
                                   .b = kBlocks,
                                   .c = kHalfSums ? 2 : 4,
                                   .ab_bytes = 4,
                                   .cd_bytes = 4,
                                   .packed = kHalfSums};
  static constexpr uint32_t kFlops = 2 * 16 * 8 * kDepth;

  static void Multiply(const Warp& w, const Inst& i, F8* sums) {
    alignas(32) float a[16 * kDepth], b[kDepth * 8];
    const Ref* ra = RefsA<kShape.d>(i);
    const Ref* rb = ra + kShape.a;
    const Ref* rc = rb + kShape.b;
    for (int f = 0; f < kShape.a; ++f) {
      Element::Rows(Slot(w, ra[f]), a + (f % 2) * 8 * kDepth + (f / 2) * Element::kWidth, kDepth);
    }
    for (int f = 0; f < kShape.b; ++f) {
      Element::template Columns<!kHalfSums>(Slot(w, rb[f]), b + f * Element::kWidth * 8);
    }
    for (int half = 0; half < 2; ++half) {
      F8* c = sums + 8 * half;
      if constexpr (kHalfSums) {
        matrix::HalfElement::Rows(Slot(w, rc[half]), reinterpret_cast<float*>(c), 8);
      } else {
        matrix::LoadSplit(Slot(w, rc[2 * half]), Slot(w, rc[2 * half + 1]), c);
      }
      matrix::MultiplyAdd<kDepth>(a + half * 8 * kDepth, b, c);
    }
  }

  static void Run(Warp& w, const Inst& i) {
    if (!WholeWarp(w, i)) return;
    F8 sums[16];
    Multiply(w, i, sums);
    // Before D is stored: it may be one of the sources.
    PutShadows<kShape>(w, i);
    for (int half = 0; half < 2; ++half) {
      if constexpr (kHalfSums) {
        alignas(32) uint16_t d[64];
        matrix::StoreHalves(sums + 8 * half, d);
        uint32_t words[kLanes];
        std::memcpy(words, d, sizeof(words));
        Put(w, RefsD(i)[half], words);
      } else {
        // Lanes that are not here have ended.
        matrix::StoreSplit(sums + 8 * half, Slot(w, RefsD(i)[2 * half]),
                           Slot(w, RefsD(i)[2 * half + 1]));
      }
    }
  }
};

// --- s8, u8 ------------------------------------------------------------------------------------

// A register holds 4 elements of a lane: blocks of 8 x 16.
template <class TA, class TB, int kBlocks, bool kSaturate>
struct ByteMma {
  static constexpr int kDepth = kBlocks * 16;
  static constexpr Shape kShape = {
      .d = 4, .a = 2 * kBlocks, .b = kBlocks, .c = 4, .ab_bytes = 4, .cd_bytes = 4};
  static constexpr uint32_t kFlops = 2 * 16 * 8 * kDepth;

  static void Multiply(const Warp& w, const Ref* ra, F8* sums) {
    const Ref* rb = ra + kShape.a;
    alignas(32) float a[16 * kDepth], b[kDepth * 8];
    for (int f = 0; f < kShape.a; ++f) {
      matrix::ByteElement<TA>::Rows(Slot(w, ra[f]), a + (f % 2) * 8 * kDepth + (f / 2) * 16,
                                    kDepth);
    }
    for (int f = 0; f < kShape.b; ++f) {
      matrix::ByteElement<TB>::Columns(Slot(w, rb[f]), b + f * 128);
    }
    for (int half = 0; half < 2; ++half) {
      matrix::MultiplyAdd<kDepth>(a + half * 8 * kDepth, b, sums + 8 * half);
    }
  }

  static int32_t Add(int32_t c, int32_t sum) {
    if constexpr (!kSaturate) {
      return static_cast<int32_t>(static_cast<uint32_t>(c) + static_cast<uint32_t>(sum));
    }
    const int64_t exact = int64_t{c} + sum;
    constexpr int64_t kLow = std::numeric_limits<int32_t>::min();
    constexpr int64_t kHigh = std::numeric_limits<int32_t>::max();
    return static_cast<int32_t>(exact < kLow ? kLow : exact > kHigh ? kHigh : exact);
  }

  static void Run(Warp& w, const Inst& i) {
    if (!WholeWarp(w, i)) return;
    const Ref* ra = RefsA<kShape.d>(i);
    const Ref* rc = ra + kShape.a + kShape.b;
    F8 sums[16] = {};
    Multiply(w, ra, sums);
    float products[4][kLanes];
    for (int half = 0; half < 2; ++half) {
      matrix::StoreAccumulators(sums + 8 * half, products[2 * half], products[2 * half + 1]);
    }
    int32_t d[4][kLanes];
    for (int f = 0; f < 4; ++f) {
      const int32_t* c = Get<int32_t>(w, rc[f]);
      for (int l = 0; l < kLanes; ++l) {
        d[f][l] = Add(c[l], static_cast<int32_t>(products[f][l]));
      }
    }
    PutShadows<kShape>(w, i);
    for (int f = 0; f < 4; ++f) Put(w, RefsD(i)[f], d[f]);
  }
};

// --- f64 ---------------------------------------------------------------------------------------

struct DoubleMma {
  static constexpr Shape kShape = {.d = 2, .a = 1, .b = 1, .c = 2, .ab_bytes = 8, .cd_bytes = 8};
  static constexpr uint32_t kFlops = 2 * 8 * 8 * 4;

  static void Run(Warp& w, const Inst& i) {
    if (!WholeWarp(w, i)) return;
    const Ref* ra = RefsA<kShape.d>(i);
    const double* a = Get<double>(w, ra[0]);
    const double* b = Get<double>(w, ra[1]);
    double d[2][kLanes];
    for (int f = 0; f < 2; ++f) {
      const double* c = Get<double>(w, ra[2 + f]);
      for (int l = 0; l < kLanes; ++l) {
        const int m = l / 4, n = 2 * (l % 4) + f;
        double sum = c[l];
        for (int k = 0; k < 4; ++k) sum = std::fma(a[4 * m + k], b[4 * n + k], sum);
        d[f][l] = sum;
      }
    }
    PutShadows<kShape>(w, i);
    for (int f = 0; f < 2; ++f) Put(w, RefsD(i)[f], d[f]);
  }
};

// --- builders ----------------------------------------------------------------------------------

struct Row {
  const char* shape;
  Type d, a, b, c;
  Exec exec, saturating;
  const Shape* fragments;
  uint32_t flops;
};

template <class Element, int kBlocks, bool kHalfSums = false>
constexpr Row FloatRow(const char* shape, Type element) {
  using M = FloatMma<Element, kBlocks, kHalfSums>;
  const Type sums = kHalfSums ? Type::kF16 : Type::kF32;
  return {shape, sums, element, element, sums, M::Run, nullptr, &M::kShape, M::kFlops};
}
template <class TA, class TB, int kBlocks>
constexpr Row ByteRow(const char* shape) {
  using M = ByteMma<TA, TB, kBlocks, false>;
  using Saturating = ByteMma<TA, TB, kBlocks, true>;
  constexpr Type kA = std::is_signed_v<TA> ? Type::kS8 : Type::kU8;
  constexpr Type kB = std::is_signed_v<TB> ? Type::kS8 : Type::kU8;
  return {shape, Type::kS32, kA, kB, Type::kS32, M::Run, Saturating::Run, &M::kShape, M::kFlops};
}

using matrix::BFloatElement;
using matrix::HalfElement;
using matrix::TensorFloatElement;
constexpr Row kRows[] = {
    FloatRow<HalfElement, 2>("m16n8k16", Type::kF16),
    FloatRow<HalfElement, 2, true>("m16n8k16", Type::kF16),
    FloatRow<BFloatElement, 2>("m16n8k16", Type::kBF16),
    FloatRow<HalfElement, 1>("m16n8k8", Type::kF16),
    FloatRow<HalfElement, 1, true>("m16n8k8", Type::kF16),
    FloatRow<BFloatElement, 1>("m16n8k8", Type::kBF16),
    FloatRow<TensorFloatElement, 1>("m16n8k4", Type::kTF32),
    FloatRow<TensorFloatElement, 2>("m16n8k8", Type::kTF32),
    ByteRow<int8_t, int8_t, 1>("m16n8k16"),
    ByteRow<int8_t, uint8_t, 1>("m16n8k16"),
    ByteRow<uint8_t, int8_t, 1>("m16n8k16"),
    ByteRow<uint8_t, uint8_t, 1>("m16n8k16"),
    ByteRow<int8_t, int8_t, 2>("m16n8k32"),
    ByteRow<int8_t, uint8_t, 2>("m16n8k32"),
    ByteRow<uint8_t, int8_t, 2>("m16n8k32"),
    ByteRow<uint8_t, uint8_t, 2>("m16n8k32"),
    {"m8n8k4", Type::kF64, Type::kF64, Type::kF64, Type::kF64, DoubleMma::Run, nullptr,
     &DoubleMma::kShape, DoubleMma::kFlops},
};

void AddFragment(const ptx::Operand& operand, int count, Type type, bool destination,
                 Decoder& decoder, std::vector<Ref>& refs) {
  const auto elements = Decoder::Elements(operand);
  if (static_cast<int>(elements.size()) != count) {
    decoder.Refuse("a fragment has " + std::to_string(elements.size()) + " registers, needs " +
                   std::to_string(count));
  }
  for (const ptx::Operand* e : elements) {
    refs.push_back(destination ? decoder.Destination(*e, type) : decoder.Source(*e, type));
  }
}

void BuildMma(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (!words.Take("sync") || !words.Take("aligned")) words.Refuse("must be mma.sync.aligned");
  const std::string shape(words.Next());
  if (!words.Take("row") || !words.Take("col")) words.Refuse("the layouts must be row.col");
  const bool saturate = words.Take("satfinite");
  const Type d = words.TakeType(), a = words.TakeType(), b = words.TakeType(), c = words.TakeType();
  if (d == Type::kF64) words.Take("rn");
  words.Finish();
  decoder.Operands(4);
  for (const Row& row : kRows) {
    if (shape != row.shape || d != row.d || a != row.a || b != row.b || c != row.c) continue;
    if (saturate && row.saturating == nullptr) words.Refuse(".satfinite is for s8 and u8");
    const Shape& s = *row.fragments;
    const Type ab_type = s.ab_bytes == 8 ? Type::kB64 : Type::kB32;
    const Type cd_type = s.cd_bytes == 8 ? Type::kB64 : Type::kB32;
    std::vector<Ref> refs;
    AddFragment(instruction.operands[0], s.d, cd_type, true, decoder, refs);
    AddFragment(instruction.operands[1], s.a, ab_type, false, decoder, refs);
    AddFragment(instruction.operands[2], s.b, ab_type, false, decoder, refs);
    AddFragment(instruction.operands[3], s.c, cd_type, false, decoder, refs);
    decoder.SetList(inst, std::move(refs));
    inst.exec = saturate ? row.saturating : row.exec;
    inst.klass = InstClass::kMatrix;
    inst.flops_warp = row.flops;
    return;
  }
  words.Refuse("no such shape and types here");
}

}  // namespace

void AddMatrixOps(BuilderTable& table) {
  table["mma"] = BuildMma;
  AddMatrixMemoryOps(table);
}

}  // namespace softgpu
