// atom, red, fence, membar. The lanes of a warp go in ascending order, so that a run repeats; other
// blocks run on other threads meanwhile, so global memory is changed by the host's own atomics.
#include <string>

#include "tests/softgpu/machine/async_records.h"
#include "tests/softgpu/machine/atomic_values.h"
#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/ops_memory.h"
#include "tests/softgpu/machine/races.h"

namespace softgpu {
namespace {

using atomic::Bits128;

constexpr int kMaxElements = 4;  // of a vector form

const AccessSpec& SpecOf(const Inst& i) { return *static_cast<const AccessSpec*>(i.extra); }

// A shadow bit covers a byte, or two of a 128-bit value.
template <class S>
uint8_t ShadowOfState(const uint8_t* state) {
  constexpr int kBytesABit = sizeof(S) == 16 ? 2 : 1;
  uint8_t shadow = 0;
  for (size_t b = 0; b < sizeof(S); ++b) {
    if (state[b] == kUnwritten) shadow |= static_cast<uint8_t>(1u << (b / kBytesABit));
  }
  return shadow;
}
template <class S>
void SetState(uint8_t* state, uint8_t shadow) {
  constexpr int kBytesABit = sizeof(S) == 16 ? 2 : 1;
  for (size_t b = 0; b < sizeof(S); ++b) {
    state[b] = shadow >> (b / kBytesABit) & 1 ? kUnwritten : kWritten;
  }
}

// Runs f(lane, data, state or null, is_shared) for the lanes, space by space, each in ascending
// order; returns those that were reached.
template <class F>
uint32_t ForReached(Warp& w, const Inst& i, F f) {
  uint64_t addresses[kLanes];
  uint32_t done = 0;
  for (uint32_t rest = TakeAddresses(w, i, SpecOf(i), addresses); rest;) {
    Reached reached;
    Reach(w, i, SpecOf(i), addresses, &rest, reached);
    const Access& access = reached.access;
    if (access.mask == 0) continue;
    if (access.space != ptx::Space::kGlobal && access.space != ptx::Space::kShared) {
      Report(w, i, static_cast<int>(access.first), Check::kOutOfBounds,
             "an atomic operation on memory that is neither global nor shared");
      throw LaunchFault{kErrorIllegalAddress};
    }
    w.counters->atomic_lanes += static_cast<uint64_t>(std::popcount(access.mask));
    ForLanes(access.mask, [&](int l) {
      // Only where the check for it is off; there is nothing atomic about it on a device either.
      if (addresses[l] % (SpecOf(i).bytes)) return;
      f(l, LaneData(reached, l), LaneState(reached, l), access.space == ptx::Space::kShared);
      done |= 1u << l;
    });
    if (w.block->races) w.block->races->OnStrongRead(w, access);
  }
  return done;
}

// What is left of a result in lanes that were not reached: nothing.
template <class S>
void PutResult(Warp& w, Ref r, const S* d, uint8_t* shadow, uint32_t done) {
  ForLanes(w.exec & ~done, [&](int l) { shadow[l] = 0xff; });
  Put(w, r, d);
  PutShadow(w, r, sizeof(S), shadow);
}

// i.list: destinations (atom only), then b; i.a elements each; i.b: there are destinations.
// The result of arithmetic is unwritten where an operand was; an exchange stores b as it is.
template <class Op, class SharedOp = Op, bool kExchange = false>
void Modify(Warp& w, const Inst& i) {
  using S = typename Op::Storage;
  const Ref* b_refs = i.list + (i.b ? i.a : 0);
  S d[kMaxElements][kLanes] = {};
  uint8_t shadow[kMaxElements][kLanes] = {};
  const uint32_t done = ForReached(w, i, [&](int l, uint8_t* data, uint8_t* state, bool is_shared) {
    for (uint32_t e = 0; e < i.a; ++e, data += sizeof(S)) {
      const S b = Get<S>(w, b_refs[e])[l];
      const uint8_t b_shadow = Shadow(w, b_refs[e], sizeof(S))[l];
      d[e][l] =
          is_shared ? atomic::Update<SharedOp>(data, b, true) : atomic::Update<Op>(data, b, false);
      if (state == nullptr) continue;
      const uint8_t old = ShadowOfState<S>(state);
      shadow[e][l] = old;
      if (old | b_shadow) {
        SetState<S>(state, kExchange ? b_shadow : ShadowAll(sizeof(S)));
      }
      state += sizeof(S);
    }
  });
  for (uint32_t e = 0; i.b && e < i.a; ++e) PutResult(w, i.list[e], d[e], shadow[e], done);
}

template <class S>
using ExchangeOp = atomic::Exchange<S>;

// i.list: destination, comparand, value. With an unwritten comparand or memory it is open whether
// the value is stored: the bytes count as unwritten then.
template <class S>
void CompareAndSwap(Warp& w, const Inst& i) {
  const S* b = Get<S>(w, i.list[1]);
  const S* c = Get<S>(w, i.list[2]);
  const uint8_t* b_shadow = Shadow(w, i.list[1], sizeof(S));
  const uint8_t* c_shadow = Shadow(w, i.list[2], sizeof(S));
  S d[kLanes] = {};
  uint8_t shadow[kLanes] = {};
  const uint32_t done = ForReached(w, i, [&](int l, uint8_t* data, uint8_t* state, bool is_shared) {
    S* p = reinterpret_cast<S*>(data);
    if (is_shared) {
      d[l] = *p;
      if (d[l] == b[l]) *p = c[l];
    } else {
      d[l] = atomic::CompareExchange(p, b[l], c[l]);
    }
    if (state == nullptr) return;
    shadow[l] = ShadowOfState<S>(state);
    if (shadow[l] | b_shadow[l]) {
      SetState<S>(state, ShadowAll(sizeof(S)));
    } else if (c_shadow[l] && d[l] == b[l]) {
      SetState<S>(state, c_shadow[l]);
    }
  });
  PutResult(w, i.list[0], d, shadow, done);
}

// --- builders ----------------------------------------------------------------------------------

struct Row {
  const char* op;
  Type type;
  Exec exec;
  int sources = 1;
  bool atom_only = false;
};

using namespace atomic;
const Row kRows[] = {
    {"add", Type::kU32, Modify<Add<uint32_t>>},
    {"add", Type::kS32, Modify<Add<int32_t>>},
    {"add", Type::kU64, Modify<Add<uint64_t>>},
    {"add", Type::kF32, Modify<AddFloat<true>, AddFloat<false>>},
    {"add", Type::kF64, Modify<AddDouble>},
    {"add", Type::kF16, Modify<AddF16>},
    {"add", Type::kF16x2, Modify<Pair<AddF16>>},
    {"add", Type::kBF16, Modify<AddBF16>},
    {"add", Type::kBF16x2, Modify<Pair<AddBF16>>},
    {"min", Type::kU32, Modify<Min<uint32_t>>},
    {"min", Type::kS32, Modify<Min<int32_t>>},
    {"min", Type::kU64, Modify<Min<uint64_t>>},
    {"min", Type::kS64, Modify<Min<int64_t>>},
    {"max", Type::kU32, Modify<Max<uint32_t>>},
    {"max", Type::kS32, Modify<Max<int32_t>>},
    {"max", Type::kU64, Modify<Max<uint64_t>>},
    {"max", Type::kS64, Modify<Max<int64_t>>},
    {"inc", Type::kU32, Modify<Inc>},
    {"dec", Type::kU32, Modify<Dec>},
    {"and", Type::kB32, Modify<And<uint32_t>>},
    {"and", Type::kB64, Modify<And<uint64_t>>},
    {"or", Type::kB32, Modify<Or<uint32_t>>},
    {"or", Type::kB64, Modify<Or<uint64_t>>},
    {"xor", Type::kB32, Modify<Xor<uint32_t>>},
    {"xor", Type::kB64, Modify<Xor<uint64_t>>},
    {"exch", Type::kB32, Modify<ExchangeOp<uint32_t>, ExchangeOp<uint32_t>, true>, 1, true},
    {"exch", Type::kB64, Modify<ExchangeOp<uint64_t>, ExchangeOp<uint64_t>, true>, 1, true},
    {"exch", Type::kB128, Modify<ExchangeOp<Bits128>, ExchangeOp<Bits128>, true>, 1, true},
    {"cas", Type::kB16, CompareAndSwap<uint16_t>, 2, true},
    {"cas", Type::kB32, CompareAndSwap<uint32_t>, 2, true},
    {"cas", Type::kB64, CompareAndSwap<uint64_t>, 2, true},
    {"cas", Type::kB128, CompareAndSwap<Bits128>, 2, true},
};

// Of cta, cluster (which is one block here), gpu, sys.
constexpr Scope kScopes[] = {Scope::kBlock, Scope::kBlock, Scope::kDevice, Scope::kSystem};

bool IsHalf(Type type) {
  return type == Type::kF16 || type == Type::kF16x2 || type == Type::kBF16 || type == Type::kBF16x2;
}

// The words behind atom. Compilers differ in their order.
struct AtomWords {
  std::string op;
  Type type = Type::kNone;
  uint32_t elements = 1;
  bool noftz = false, cache_hint = false;
};
AtomWords TakeAtomWords(Words& words, AccessSpec& spec, int target) {
  AtomWords taken;
  spec.write = spec.atomic = true;
  spec.order = Order::kRelaxed;
  spec.scope = Scope::kDevice;
  static constexpr Order kOrders[] = {Order::kRelaxed, Order::kAcquire, Order::kRelease,
                                      Order::kAcquireRelease};
  while (!words.Peek().empty()) {
    if (int k = words.TakeOneOf({"relaxed", "acquire", "release", "acq_rel"}); k >= 0) {
      spec.order = kOrders[k];
    } else if (k = words.TakeOneOf({"cta", "cluster", "gpu", "sys"}); k >= 0) {
      if (k == 1 && target < 90) words.Refuse("clusters need sm_90");
      spec.scope = kScopes[k];
    } else if (words.Take("global")) {
      spec.space = ptx::Space::kGlobal;
    } else if (words.TakeOneOf({"shared", "shared::cta"}) >= 0) {
      spec.space = ptx::Space::kShared;
    } else if (k = words.TakeOneOf({"v2", "v4"}); k >= 0) {
      taken.elements = k == 0 ? 2 : 4;
    } else if (words.Take("noftz")) {
      taken.noftz = true;
    } else if (words.Take("L2::cache_hint")) {
      taken.cache_hint = true;
    } else if (const Type type = words.TryType(); type != Type::kNone) {
      taken.type = type;
    } else if (taken.op.empty()) {
      taken.op = words.Next();
    } else {
      words.Refuse("'." + std::string(words.Peek()) + "' is not covered here");
    }
  }
  return taken;
}

// b and c; their registers, or those of their elements.
void AddSources(const ptx::Instruction& instruction, Decoder& decoder, size_t first, size_t count,
                uint32_t elements, Type type, std::vector<Ref>& refs) {
  for (size_t o = first; o < first + count; ++o) {
    const auto parts = Decoder::Elements(instruction.operands[o]);
    if (parts.size() != elements) decoder.Refuse("a vector operand has the wrong length");
    for (const ptx::Operand* part : parts) refs.push_back(decoder.Source(*part, type));
  }
}

void BuildAtomic(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  AccessSpec spec;
  const bool returns = instruction.words[0] == "atom";
  const AtomWords taken = TakeAtomWords(words, spec, decoder.target());
  const Type type = taken.type;
  const Row* found = nullptr;
  for (const Row& row : kRows) {
    if (taken.op == row.op && type == row.type && (returns || !row.atom_only)) found = &row;
  }
  if (found == nullptr) words.Refuse("no such operation and type here");
  if (taken.noftz != IsHalf(type)) words.Refuse(".noftz goes with f16 and bf16, and must");
  const bool is_late = type == Type::kBF16 || type == Type::kBF16x2 || type == Type::kB128;
  if (is_late && decoder.target() < 90) words.Refuse("this type needs sm_90");
  if (taken.elements > 1 && (taken.op != "add" || type != Type::kF32 || decoder.target() < 90 ||
                             spec.space != ptx::Space::kGlobal)) {
    words.Refuse("vectors are for global add.f32 on sm_90");
  }
  const size_t destinations = returns ? 1 : 0, sources = static_cast<size_t>(found->sources);
  decoder.Operands(destinations + 1 + sources + (taken.cache_hint ? 1 : 0));
  const Decoder::Address address =
      decoder.TakeAddress(instruction.operands[destinations], spec.space);
  spec.base = address.base;
  spec.narrow = address.narrow;
  spec.offset = address.offset;
  spec.bytes = static_cast<uint32_t>(Bytes(type)) * taken.elements;
  std::vector<Ref> refs;
  if (returns) {
    const auto parts = Decoder::Elements(instruction.operands[0]);
    if (parts.size() != taken.elements) words.Refuse("a vector operand has the wrong length");
    for (const ptx::Operand* part : parts) refs.push_back(decoder.Destination(*part, type));
  }
  AddSources(instruction, decoder, destinations + 1, sources, taken.elements, type, refs);
  decoder.SetList(inst, std::move(refs));
  inst.exec = found->exec;
  inst.klass = InstClass::kAtomic;
  inst.a = taken.elements;
  inst.b = returns;
  inst.extra = decoder.code().Keep<AccessSpec>(spec);
}

// a: the Scope.
void Fence(Warp& w, const Inst& i) {
  if (w.block->races) w.block->races->OnFence(w, w.exec, static_cast<Scope>(i.a));
}

void ProxyFence(Warp& w, const Inst& i) {
  Fence(w, i);
  NoteProxyFence(w, w.exec);
}

void SetFence(Inst& inst, Scope scope) {
  inst.exec = Fence;
  inst.klass = InstClass::kFence;
  inst.a = static_cast<uint32_t>(scope);
}

constexpr Scope kMembarScopes[] = {Scope::kBlock, Scope::kDevice, Scope::kSystem};

void BuildFence(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  decoder.Operands(0);
  // The race checks know no proxies (what wgmma needs of them: async_records.h); a cluster is one
  // block.
  if (words.Take("proxy")) {
    if (!words.Take("async")) words.Refuse("only fence.proxy.async is covered");
    words.TakeOneOf({"global", "shared::cta", "shared::cluster"});
    words.Finish();
    SetFence(inst, Scope::kBlock);
    inst.exec = ProxyFence;
    return;
  }
  if (words.Take("mbarrier_init")) {
    if (!words.Take("release") || !words.Take("cluster")) words.Refuse("must be .release.cluster");
    words.Finish();
    SetFence(inst, Scope::kBlock);
    return;
  }
  words.TakeOneOf({"sc", "acq_rel", "acquire", "release"});
  const int scope = words.TakeOneOf({"cta", "cluster", "gpu", "sys"});
  if (scope < 0) words.Refuse("its scope must be cta, cluster, gpu or sys");
  if (scope == 1 && decoder.target() < 90) words.Refuse("clusters need sm_90");
  words.Finish();
  SetFence(inst, kScopes[scope]);
}

void BuildMembar(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  decoder.Operands(0);
  const int scope = words.TakeOneOf({"cta", "gl", "sys"});
  if (scope < 0) words.Refuse("its scope must be cta, gl or sys");
  words.Finish();
  SetFence(inst, kMembarScopes[scope]);
}

}  // namespace

void AddAtomicOps(BuilderTable& table) {
  table["atom"] = BuildAtomic;
  table["red"] = BuildAtomic;
  table["fence"] = BuildFence;
  table["membar"] = BuildMembar;
}

}  // namespace softgpu
