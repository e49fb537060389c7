#include "tests/softgpu/machine/sync_objects.h"

#include <algorithm>
#include <new>

#include "tests/softgpu/machine/clocks.h"

namespace softgpu {

std::byte* KnowledgeStore::NewChunk() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (chunks_.size() >= kMaxChunks) {
    full_.store(true, std::memory_order_relaxed);
    return nullptr;
  }
  chunks_.push_back(std::make_unique<std::byte[]>(kChunk));
  return chunks_.back().get();
}

void* KnowledgeMaker::Take(size_t bytes) {
  bytes = (bytes + alignof(Knowledge) - 1) / alignof(Knowledge) * alignof(Knowledge);
  if (bytes > left_) {
    at_ = store_.NewChunk();
    left_ = at_ ? KnowledgeStore::kChunk : 0;
    if (!at_) return nullptr;
  }
  void* const taken = at_;
  at_ += bytes;
  left_ -= bytes;
  return taken;
}

Knowledge* KnowledgeMaker::New() {
  void* const room = Take(sizeof(Knowledge));
  return room ? new (room) Knowledge : nullptr;
}

uint32_t* KnowledgeMaker::NewTimes(uint32_t count) {
  return static_cast<uint32_t*>(Take(count * sizeof(uint32_t)));
}

const Knowledge* KnowledgeMaker::Join(const Knowledge* a, const Knowledge* b) {
  if (!a || a == b) return b;
  if (!b) return a;
  // Polling reads the same again and again.
  if (!a->warps && (a->a == b || a->b == b)) return a;
  if (!b->warps && (b->a == a || b->b == a)) return b;
  Knowledge* const both = New();
  if (!both) return nullptr;
  both->a = a;
  both->b = b;
  return both;
}

void KnownSet::Add(const Knowledge* root) {
  if (!root || root == last_root_) return;
  last_root_ = root;
  frontier_.push_front(root);
}

bool KnownSet::BlockKnown::Covers(uint32_t warp, uint32_t lane, uint32_t time) const {
  if (warp < warps.size() && warps[warp] >= time) return true;
  for (const Thread& t : threads) {
    if (t.warp != warp) continue;
    if ((t.lane == lane || lane == kSomeLanes) && t.time >= time) return true;
    if (!t.lanes) continue;
    if (lane < kLanes && t.lanes[lane] >= time) return true;
    // Several or some of the lanes: any may be the one that is known.
    if (lane >= kLanes && *std::max_element(t.lanes, t.lanes + kLanes) >= time) return true;
  }
  return false;
}

void KnownSet::Take(const Knowledge& node, uint32_t warps) {
  BlockKnown& known = blocks_[node.block];
  known.warps.resize(warps);
  for (uint32_t w = 0; w < warps; ++w) known.warps[w] = std::max(known.warps[w], node.warps[w]);
  for (Thread& t : known.threads) {
    if (t.warp == node.warp && t.lane == node.lane && t.lanes == node.lanes) {
      t.time = std::max(t.time, node.time);
      return;
    }
  }
  known.threads.push_back({node.warp, node.lane, node.time, node.lanes});
}

bool KnownSet::Covers(uint64_t block, uint32_t warps, uint32_t warp, uint32_t lane, uint32_t time) {
  const auto found = blocks_.find(block);
  if (found != blocks_.end() && found->second.Covers(warp, lane, time)) return true;
  // Breadth first: what is asked for was mostly told lately.
  while (!frontier_.empty()) {
    const Knowledge* const node = frontier_.front();
    frontier_.pop_front();
    if (!seen_.insert(node).second) continue;
    if (node->a) frontier_.push_back(node->a);
    if (node->b) frontier_.push_back(node->b);
    if (!node->warps) continue;
    Take(*node, warps);
    if (node->block == block && blocks_[block].Covers(warp, lane, time)) return true;
  }
  return false;
}

void SyncObjects::Replace(Word& word, uint64_t block, Heads heads, KnowledgeMaker& maker) {
  const Heads before = {word.now.device, word.block == block ? word.now.block : nullptr};
  word.now = heads;
  word.readable = {maker.Join(heads.device, before.device), maker.Join(heads.block, before.block)};
  word.block = block;
}

void SyncObjects::Write(uint64_t address, uint32_t bytes, uint64_t block, Heads heads, bool join,
                        KnowledgeMaker& maker) {
  const bool tells = heads.device || heads.block;
  if (!tells && (join || empty())) return;
  if (tells) used_.store(true, std::memory_order_relaxed);
  Shard& shard = ShardOf(address >> 4);
  const std::lock_guard<std::mutex> lock(shard.mutex);
  if (!tells && !shard.cells.count(address >> 4)) return;
  Cell& cell = shard.cells[address >> 4];
  const uint64_t first = (address >> 2) & 3;
  const uint64_t last = std::min<uint64_t>(3, ((address & 15) + bytes - 1) >> 2);
  for (uint64_t k = first; k <= last; ++k) {
    Word& word = cell.words[k];
    // Part of a word: its neighbours' knowledge stays.
    if (join || bytes < 4) {
      const Knowledge* const here = word.block == block ? word.now.block : word.now.device;
      word.now = {maker.Join(heads.device, word.now.device), maker.Join(heads.block, here)};
      word.readable = word.now;
      word.block = block;
    } else if (k > first && cell.words[k - 1].block == block) {
      word = cell.words[k - 1];
    } else {
      Replace(word, block, heads, maker);
    }
  }
}

SyncObjects::Heads SyncObjects::Read(uint64_t address, uint32_t bytes, uint64_t block,
                                     KnowledgeMaker& maker) {
  Heads heads;
  Shard& shard = ShardOf(address >> 4);
  const std::lock_guard<std::mutex> lock(shard.mutex);
  const auto found = shard.cells.find(address >> 4);
  if (found == shard.cells.end()) return heads;
  const uint64_t first = (address >> 2) & 3;
  const uint64_t last = std::min<uint64_t>(3, ((address & 15) + bytes - 1) >> 2);
  for (uint64_t k = first; k <= last; ++k) {
    const Word& word = found->second.words[k];
    heads.device = maker.Join(word.readable.device, heads.device);
    if (word.block == block) heads.block = maker.Join(word.readable.block, heads.block);
  }
  return heads;
}

void SyncObjects::Clear() {
  if (empty()) return;
  for (Shard& shard : shards_) shard.cells.clear();
  used_.store(false, std::memory_order_relaxed);
}

}  // namespace softgpu
