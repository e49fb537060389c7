// The words that ld, st and atom have in common, and what they say of an access.
#include <utility>

#include "tests/softgpu/machine/ops_memory.h"

namespace softgpu {
namespace {

bool IsCacheWord(std::string_view word) {
  for (const std::string_view known :
       {"ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc", "L1::evict_normal", "L1::evict_unchanged",
        "L1::evict_first", "L1::evict_last", "L1::no_allocate", "L2::64B", "L2::128B", "L2::256B",
        "L2::evict_last", "L2::evict_normal", "L2::evict_first"}) {
    if (word == known) return true;
  }
  return false;
}

}  // namespace

InstClass ClassOf(ptx::Space space, bool write) {
  switch (space) {
    case ptx::Space::kShared:
      return write ? InstClass::kStoreShared : InstClass::kLoadShared;
    case ptx::Space::kLocal:
      return write ? InstClass::kStoreLocal : InstClass::kLoadLocal;
    case ptx::Space::kConst:
    case ptx::Space::kParam:
      return write ? InstClass::kStoreLocal : InstClass::kLoadConst;
    default:
      return write ? InstClass::kStoreGlobal : InstClass::kLoadGlobal;
  }
}

int TakeAccessWords(Words& words, AccessSpec& spec, bool* has_cache_hint) {
  static constexpr std::pair<std::string_view, ptx::Space> kSpaces[] = {
      {"global", ptx::Space::kGlobal},      {"shared", ptx::Space::kShared},
      {"shared::cta", ptx::Space::kShared}, {"local", ptx::Space::kLocal},
      {"const", ptx::Space::kConst},        {"param", ptx::Space::kParam},
      {"param::entry", ptx::Space::kParam}, {"param::func", ptx::Space::kParam},
  };
  int elements = 1;
  *has_cache_hint = false;
  bool strong = false, stated_scope = false;
  while (!words.Peek().empty() && ParseType(words.Peek()) == Type::kNone) {
    const std::string_view word = words.Peek();
    bool known = IsCacheWord(word);
    for (const auto& [name, space] : kSpaces) {
      if (word != name) continue;
      spec.space = space;
      known = true;
    }
    if (word == "weak") known = true;
    if (word == "volatile" || word == "mmio") {
      spec.order = Order::kRelaxed;
      spec.scope = Scope::kSystem;
      known = true;
    }
    if (word == "relaxed" || word == "acquire" || word == "release" || word == "acq_rel") {
      spec.order = word == "relaxed"   ? Order::kRelaxed
                   : word == "acquire" ? Order::kAcquire
                   : word == "release" ? Order::kRelease
                                       : Order::kAcquireRelease;
      known = strong = true;
    }
    if (word == "cta" || word == "cluster" || word == "gpu" || word == "sys") {
      spec.scope = word == "gpu" ? Scope::kDevice : word == "sys" ? Scope::kSystem : Scope::kBlock;
      if (word == "cluster") spec.scope = Scope::kDevice;
      known = stated_scope = true;
    }
    if (word == "v2" || word == "v4") {
      elements = word == "v2" ? 2 : 4;
      known = true;
    }
    if (word == "L2::cache_hint") known = *has_cache_hint = true;
    // What is done atomically comes before its type; the caller knows those words.
    if (!known && spec.atomic) break;
    if (!known) words.Refuse("'." + std::string(word) + "' is not covered here");
    words.Next();
  }
  if (strong && !stated_scope && !spec.atomic) words.Refuse("its scope is missing");
  return elements;
}

}  // namespace softgpu
