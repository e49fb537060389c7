// wgmma: products of a group of four warps, operands in shared memory. Each warp computes its own
// 16 of the 64 rows when it gets there, which gives what the group would. Until wgmma.wait_group
// the sums count as never written, and operands in shared memory must stay what they are
// (wgmma_groups.h), and who wrote them must have made a fence.proxy.async since. Registers of A
// that are overwritten too early do not show here: PTX has new ones where the machine's are the
// same.
//
// The layouts of operands in shared memory are those of the manual's matrix descriptor: units of 16
// bytes (chunks), 8 x 8 chunks' rows to a core matrix, swizzled by address bits.
#include <cstring>
#include <string>

#include "tests/softgpu/machine/async_records.h"
#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/matrix_tiles.h"
#include "tests/softgpu/machine/ops_hopper.h"
#include "tests/softgpu/machine/ops_matrix.h"
#include "tests/softgpu/machine/ops_memory.h"
#include "tests/softgpu/machine/wgmma_groups.h"

namespace softgpu {
namespace {

using matrix::F8;

constexpr int kMaxN = 256;
constexpr int kRows = 16;        // of a warp
constexpr uint32_t kChunk = 16;  // bytes

// Inst::extra. Inst::list: the registers of D, then those of A if it is in registers. r: descriptor
// of A (or kNoRef), of B, predicate scale-d.
struct WgmmaSpec {
  AccessSpec read;
  int n = 0;
  bool scale_d_negated = false;
  float sign = 1;  // of the products
  bool a_transposed = false, b_transposed = false;
};

struct Descriptor {
  uint32_t start, leading, stride;  // bytes
  uint32_t swizzle;                 // chunks of a row: 1, 2, 4, 8

  // Where the chunk of 16 bytes is: `outer` counts rows, or for a transposed operand k; `inner`
  // chunks along the other way.
  uint32_t Chunk(uint32_t outer, uint32_t inner, bool transposed) const {
    const uint32_t row = outer % 8 * swizzle * kChunk;
    uint32_t address = start + row;
    if (transposed) {
      // Without swizzle the two strides change places.
      const uint32_t along = swizzle == 1 ? stride : leading;
      address += inner % swizzle * kChunk + inner / swizzle * along;
      address += outer / 8 * (swizzle == 1 ? leading : stride);
    } else {
      address += inner * (swizzle == 1 ? leading : kChunk) + outer / 8 * stride;
    }
    return address ^ ((address >> 7) & (swizzle - 1)) << 4;
  }
};

// The descriptor of all lanes of the warp.
Descriptor TakeDescriptor(Warp& w, const Inst& i, Ref ref) {
  const uint64_t* values = Get<uint64_t>(w, ref);
  const int first = std::countr_zero(w.exec);
  const uint64_t bits = values[first];
  if (AnyShadow(Shadow(w, ref, 8)) & w.exec) {
    Report(w, i, first, Check::kUninitialised, "a matrix descriptor was never written");
  }
  ForLanes(w.exec, [&](int l) {
    if (values[l] == bits) return;
    Report(w, i, l, Check::kWarpSync, "the lanes of a warp have different matrix descriptors");
  });
  const auto field = [bits](int at) { return static_cast<uint32_t>(bits >> at & 0x3fff) << 4; };
  static constexpr uint32_t kSwizzles[] = {1, 8, 4, 2};
  if (bits >> 49 & 7) {
    Report(w, i, first, Check::kMisaligned,
           "a matrix descriptor with a base offset: swizzled operands must be aligned here");
    throw LaunchFault{kErrorNotSupported};
  }
  return {field(0), field(16), field(32), kSwizzles[bits >> 62]};
}

// Of an operand `outers` rows (of k, if transposed), `inners` chunks of each from first_inner on:
// f(outer, inner, data, states). Core matrix by core matrix, so that a pass over shared memory
// reads one, as the machine does.
template <class F>
void ForChunks(Warp& w, const Inst& i, const AccessSpec& read, const Descriptor& d, int outers,
               int first_inner, int inners, bool transposed, AsyncOperands& held, F f) {
  const int chunks = outers * inners;
  for (int first = 0; first < chunks; first += kLanes) {
    uint64_t addresses[kLanes] = {};
    const int count = std::min(kLanes, chunks - first);
    for (int c = 0; c < count; ++c) {
      addresses[c] = d.Chunk(static_cast<uint32_t>((first + c) % outers),
                             static_cast<uint32_t>((first + c) / outers + first_inner), transposed);
    }
    uint32_t rest = count == kLanes ? kAllLanes : (1u << count) - 1;
    Reached reached;
    Reach(w, i, read, addresses, &rest, reached);
    ForLanes(reached.access.mask, [&](int c) {
      const uint8_t* data = LaneData(reached, c);
      held.offsets.push_back(static_cast<uint32_t>(data - w.block->shared.data()));
      held.data.insert(held.data.end(), data, data + kChunk);
      const uint32_t writer = UnfencedWriter(*w.block, held.offsets.back(), kChunk);
      if (writer != kNobody) {
        Report(w, i, c, Check::kRaceShared,
               "thread " + std::to_string(writer) + " wrote this operand, at shared address " +
                   Hex(held.offsets.back()) + ", and has made no fence.proxy.async since");
      }
      f((first + c) % outers, (first + c) / outers + first_inner, data,
        reached.written ? nullptr : LaneState(reached, c));
    });
  }
}

bool ElementUnwritten(const uint8_t* state, int element, int bytes) {
  for (int b = 0; state && b < bytes; ++b) {
    if (state[element * bytes + b] == kUnwritten) return true;
  }
  return false;
}

template <class Element, bool kHalfSums>
struct Wgmma {
  static constexpr int kWidth = Element::kWidth;  // elements of a chunk
  static constexpr int kDepth = 2 * kWidth;
  static constexpr int kBytes = 16 / kWidth;
  static constexpr int kRegistersA = 4;
  // Registers of D for 8 columns.
  static constexpr int kRegisters = kHalfSums ? 2 : 4;

  struct Operands {
    alignas(32) float a[kRows * kDepth];
    alignas(32) float b[kMaxN / 8][kDepth * 8];
    bool a_unwritten[kRows] = {};
    bool b_unwritten[kMaxN] = {};
  };

  static void LoadARegisters(const Warp& w, const Ref* refs, Operands& o) {
    for (int f = 0; f < kRegistersA; ++f) {
      Element::Rows(Slot(w, refs[f]), o.a + (f % 2) * 8 * kDepth + (f / 2) * kWidth, kDepth);
      ForLanes(AnyShadow(Shadow(w, refs[f], 4)),
               [&](int l) { o.a_unwritten[l / 4 + 8 * (f % 2)] = true; });
    }
  }

  // The rows of this warp are 16 of 64: `first` of them.
  static void LoadA(Warp& w, const Inst& i, const WgmmaSpec& spec, AsyncOperands& held,
                    Operands& o) {
    Descriptor d = TakeDescriptor(w, i, i.r[0]);
    const int first = static_cast<int>(w.index % 4) * kRows;
    const auto place = [&](int outer, int inner, const uint8_t* data, const uint8_t* state) {
      float row[kWidth];
      Element::Row(data, row);
      for (int e = 0; e < kWidth; ++e) {
        const int m = spec.a_transposed ? inner * kWidth + e - first : outer - first;
        const int k = spec.a_transposed ? outer : inner * kWidth + e;
        o.a[m * kDepth + k] = row[e];
        if (ElementUnwritten(state, e, kBytes)) o.a_unwritten[m] = true;
      }
    };
    if (spec.a_transposed) {
      ForChunks(w, i, spec.read, d, kDepth, first / kWidth, kRows / kWidth, true, held, place);
      return;
    }
    d.start += static_cast<uint32_t>(first / 8) * d.stride;
    ForChunks(w, i, spec.read, d, kRows, 0, 2, false, held,
              [&](int outer, int inner, const uint8_t* data, const uint8_t* state) {
                place(outer + first, inner, data, state);
              });
  }

  static void LoadB(Warp& w, const Inst& i, const WgmmaSpec& spec, AsyncOperands& held,
                    Operands& o) {
    const Descriptor d = TakeDescriptor(w, i, i.r[1]);
    AccessSpec read = spec.read;
    read.counted = w.index % 4 == 0;  // the group reads it once
    const auto place = [&](int outer, int inner, const uint8_t* data, const uint8_t* state) {
      float row[kWidth];
      Element::Row(data, row);
      for (int e = 0; e < kWidth; ++e) {
        const int n = spec.b_transposed ? inner * kWidth + e : outer;
        const int k = spec.b_transposed ? outer : inner * kWidth + e;
        o.b[n / 8][8 * k + n % 8] = spec.sign * row[e];
        if (ElementUnwritten(state, e, kBytes)) o.b_unwritten[n] = true;
      }
    };
    if (spec.b_transposed) {
      ForChunks(w, i, read, d, kDepth, 0, spec.n / kWidth, true, held, place);
    } else {
      ForChunks(w, i, read, d, spec.n, 0, 2, false, held, place);
    }
  }

  // Of D's registers of a block of 8 columns; in: of what is added to.
  static void SpreadShadows(const Operands& o, int block, uint8_t* shadows) {
    for (int f = 0; f < kRegisters; ++f, shadows += kLanes) {
      for (int l = 0; l < kLanes; ++l) {
        const int row = l / 4 + 8 * (kHalfSums ? f : f / 2), column = 8 * block + 2 * (l % 4);
        if (kHalfSums) {
          for (int half = 0; half < 2; ++half) {
            const int bits = 3 << (2 * half);
            if (o.a_unwritten[row] || o.b_unwritten[column + half] || shadows[l] & bits) {
              shadows[l] |= static_cast<uint8_t>(bits);
            }
          }
        } else if (o.a_unwritten[row] || o.b_unwritten[column + f % 2] || shadows[l]) {
          shadows[l] = 0xf;
        }
      }
    }
  }
  static void HoldShadows(Warp& w, const Inst& i, const Operands& o, int blocks, bool adds) {
    uint8_t shadows[kMaxN / 8 * kRegisters * kLanes] = {};
    const int count = blocks * kRegisters;
    if (adds) TakeSumShadows(w, i.list, count, shadows);
    for (int block = 0; block < blocks; ++block) {
      SpreadShadows(o, block, shadows + block * kRegisters * kLanes);
    }
    HoldSumShadows(w, i.list, count, shadows);
  }

  static void LoadSums(const Warp& w, const Ref* d, F8* sums) {
    for (int half = 0; half < 2; ++half) {
      if constexpr (kHalfSums) {
        for (int m = 0; m < 8; ++m) {
          sums[8 * half + m] =
              matrix::Half::Convert(matrix::LoadVector<matrix::H8>(Slot(w, d[half]) + 16 * m));
        }
      } else {
        matrix::LoadAccumulators(Slot(w, d[2 * half]), Slot(w, d[2 * half + 1]), sums + 8 * half);
      }
    }
  }
  static void StoreSums(Warp& w, const Ref* d, const F8* sums) {
    for (int half = 0; half < 2; ++half) {
      if constexpr (kHalfSums) {
        uint16_t values[64];
        uint32_t words[kLanes];
        matrix::StoreHalves(sums + 8 * half, values);
        std::memcpy(words, values, sizeof(words));
        Put(w, d[half], words);
      } else {
        float values[2][kLanes];
        matrix::StoreAccumulators(sums + 8 * half, values[0], values[1]);
        Put(w, d[2 * half], values[0]);
        Put(w, d[2 * half + 1], values[1]);
      }
    }
  }

  static void Run(Warp& w, const Inst& i) {
    if (!WholeWarp(w, i)) return;
    const auto& spec = *static_cast<const WgmmaSpec*>(i.extra);
    const int blocks = spec.n / 8;
    Operands o;
    AsyncOperands& held = HoldOperands(w, i);
    if (i.r[0] == kNoRef) {
      LoadARegisters(w, i.list + blocks * kRegisters, o);
    } else {
      LoadA(w, i, spec, held, o);
    }
    LoadB(w, i, spec, held, o);
    const int first = std::countr_zero(w.exec);
    if (PredicateShadow(w, i.r[2]) & w.exec) {
      Report(w, i, first, Check::kUninitialised, "scale-d was never written");
    }
    const bool adds = ((PredicateValue(w, i.r[2]) >> first) & 1) != spec.scale_d_negated;
    for (int block = 0; block < blocks; ++block) {
      const Ref* d = i.list + block * kRegisters;
      F8 sums[kRows] = {};
      if (adds) LoadSums(w, d, sums);
      for (int half = 0; half < 2; ++half) {
        matrix::MultiplyAdd<kDepth>(o.a + half * 8 * kDepth, o.b[block], sums + 8 * half);
      }
      StoreSums(w, d, sums);
    }
    HoldShadows(w, i, o, blocks, adds);
  }
};

// --- builders ----------------------------------------------------------------------------------

struct Row {
  Type d, ab;
  const char* depth;  // of the shape
  Exec exec;
};
using matrix::BFloatElement;
using matrix::HalfElement;
using matrix::TensorFloatElement;
const Row kRowsOfTable[] = {
    {Type::kF32, Type::kF16, "k16", Wgmma<HalfElement, false>::Run},
    {Type::kF16, Type::kF16, "k16", Wgmma<HalfElement, true>::Run},
    {Type::kF32, Type::kBF16, "k16", Wgmma<BFloatElement, false>::Run},
    {Type::kF32, Type::kTF32, "k8", Wgmma<TensorFloatElement, false>::Run},
};

// n of "m64n<n>k16" where the rest is as said, else 0.
int TakeShape(const std::string& shape, const std::string& depth) {
  if (!shape.starts_with("m64n") || !shape.ends_with(depth)) return 0;
  const std::string digits = shape.substr(4, shape.size() - 4 - depth.size());
  if (digits.empty() || digits.size() > 3) return 0;
  int n = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return 0;
    n = 10 * n + (c - '0');
  }
  return n >= 8 && n <= kMaxN && n % 8 == 0 ? n : 0;
}

float TakeSign(const ptx::Operand& operand, Decoder& decoder) {
  const int64_t sign = decoder.Integer(operand);
  if (sign != 1 && sign != -1) decoder.Refuse("an imm-scale must be 1 or -1");
  return static_cast<float>(sign);
}
bool TakeBit(const ptx::Operand& operand, Decoder& decoder) {
  const int64_t bit = decoder.Integer(operand);
  if (bit != 0 && bit != 1) decoder.Refuse("an imm-trans must be 0 or 1");
  return bit == 1;
}

void BuildMultiply(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst,
                   Words& words) {
  const std::string shape(words.Next());
  const Type d = words.TakeType(), a = words.TakeType(), b = words.TakeType();
  words.Finish();
  const Row* found = nullptr;
  WgmmaSpec spec;
  for (const Row& row : kRowsOfTable) {
    if (d != row.d || a != row.ab || b != row.ab) continue;
    spec.n = TakeShape(shape, row.depth);
    if (spec.n) found = &row;
  }
  if (found == nullptr) words.Refuse("no such shape and types here");
  const auto& operands = instruction.operands;
  if (operands.size() < 6) words.Refuse("has too few operands");
  const bool in_registers = operands[1].kind == ptx::Operand::Kind::kVector;
  // Operands of 16 bits say whether they are transposed, but A not from registers.
  const size_t transposes = a == Type::kTF32 ? 0 : in_registers ? 1 : 2;
  decoder.Operands(6 + transposes);
  std::vector<Ref> refs;
  const auto elements = Decoder::Elements(operands[0]);
  if (static_cast<int>(elements.size()) != spec.n / (d == Type::kF16 ? 4 : 2)) {
    words.Refuse("the number of registers does not fit the shape");
  }
  for (const ptx::Operand* e : elements) refs.push_back(decoder.Destination(*e, Type::kB32));
  if (in_registers) {
    if (operands[1].elements.size() != 4) words.Refuse("A has 4 registers");
    for (const auto& e : operands[1].elements) refs.push_back(decoder.Source(e, Type::kB32));
  } else {
    inst.r[0] = decoder.Source(operands[1], Type::kB64);
  }
  inst.r[1] = decoder.Source(operands[2], Type::kB64);
  inst.r[2] = decoder.SourcePredicate(operands[3], &spec.scale_d_negated);
  spec.sign = TakeSign(operands[4], decoder) * TakeSign(operands[5], decoder);
  if (transposes == 2) spec.a_transposed = TakeBit(operands[6], decoder);
  if (transposes) spec.b_transposed = TakeBit(operands.back(), decoder);
  spec.read.space = ptx::Space::kShared;
  spec.read.bytes = kChunk;
  decoder.SetList(inst, std::move(refs));
  decoder.code().entry->has_wgmma = true;
  inst.exec = found->exec;
  inst.klass = InstClass::kMatrix;
  inst.flops_warp = static_cast<uint32_t>(2 * kRows * spec.n * (a == Type::kTF32 ? 8 : 16));
  inst.extra = decoder.code().Keep<WgmmaSpec>(spec);
}

void Fence(Warp& w, const Inst& i) { WholeWarp(w, i); }
void CommitGroup(Warp& w, const Inst& i) {
  if (WholeWarp(w, i)) CommitSums(w);
}
void WaitGroup(Warp& w, const Inst& i) {
  if (WholeWarp(w, i)) WaitSums(w, i.a);
}

void BuildWgmma(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (decoder.target() < 90) words.Refuse("needs sm_90a");
  const int what = words.TakeOneOf({"mma_async", "fence", "commit_group", "wait_group"});
  if (what < 0 || !words.Take("sync") || !words.Take("aligned")) {
    words.Refuse("must be mma_async, fence, commit_group or wait_group, .sync.aligned");
  }
  if (what == 0) {
    BuildMultiply(instruction, decoder, inst, words);
    return;
  }
  words.Finish();
  decoder.Operands(what == 3 ? 1 : 0);
  if (what == 3) {
    const int64_t left = decoder.Integer(instruction.operands[0]);
    if (left < 0 || left > 0x7fffffff) words.Refuse("the number of groups is no number");
    inst.a = static_cast<uint32_t>(left);
  }
  inst.exec = what == 1 ? Fence : what == 2 ? CommitGroup : WaitGroup;
  inst.klass = InstClass::kFence;
}

}  // namespace

void AddWgmmaOps(BuilderTable& table) { table["wgmma"] = BuildWgmma; }

}  // namespace softgpu
