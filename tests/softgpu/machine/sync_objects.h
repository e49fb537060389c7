// What threads tell each other through strong accesses: a release leaves a Knowledge at the
// address, an acquire takes it up. Knowledge is a graph that only grows, shared by all blocks of a
// launch and freed with it; it is searched only where an access may race, so that a spin lock or a
// look-back over thousands of blocks costs a node a release.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace softgpu {

// Times are a block's own; 0 is before it started.
struct Knowledge {
  uint64_t block = 0;
  const uint32_t* warps = nullptr;  // a warp of the block: accesses of all lanes up to that time;
                                    // null: a node that only joins a and b
  const uint32_t* lanes = nullptr;  // 32 times of lanes of `warp`, or null
  uint32_t warp = 0, lane = 0;      // who released: its own accesses up to `time`
  uint32_t time = 0;
  const Knowledge* a = nullptr;  // what else is known
  const Knowledge* b = nullptr;
};

// Memory of a launch's knowledge; each block takes chunks and fills them by itself.
class KnowledgeStore {
 public:
  static constexpr size_t kChunk = 64 * 1024;
  // nullptr: the limit is reached. From then on order between threads is not known for sure.
  std::byte* NewChunk();
  bool full() const { return full_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kMaxChunks = 16 * 1024;  // 1 GiB
  std::atomic<bool> full_{false};
  std::mutex mutex_;
  std::vector<std::unique_ptr<std::byte[]>> chunks_;
};

// A block's way to make knowledge. Results are null once the store is full.
class KnowledgeMaker {
 public:
  explicit KnowledgeMaker(KnowledgeStore& store) : store_(store) {}
  Knowledge* New();
  uint32_t* NewTimes(uint32_t count);
  // Everything that either knows; null where both are.
  const Knowledge* Join(const Knowledge* a, const Knowledge* b);

 private:
  void* Take(size_t bytes);
  KnowledgeStore& store_;
  std::byte* at_ = nullptr;
  size_t left_ = 0;
};

// An index of a knowledge graph for one knower; roots are added, never taken away.
class KnownSet {
 public:
  void Add(const Knowledge* root);
  // Whether an access is covered. kSomeLanes (see clocks.h) asks whether any lane may be.
  bool Covers(uint64_t block, uint32_t warps, uint32_t warp, uint32_t lane, uint32_t time);

 private:
  struct Thread {
    uint32_t warp, lane, time;
    const uint32_t* lanes;
  };
  struct BlockKnown {
    std::vector<uint32_t> warps;
    std::vector<Thread> threads;
    bool Covers(uint32_t warp, uint32_t lane, uint32_t time) const;
  };
  void Take(const Knowledge& node, uint32_t warps);
  const Knowledge* last_root_ = nullptr;
  std::deque<const Knowledge*> frontier_;
  std::unordered_set<const Knowledge*> seen_;
  std::unordered_map<uint64_t, BlockKnown> blocks_;
};

// The knowledge that lies at addresses. Thread-safe.
class SyncObjects {
 public:
  // For a reader of another block and one of the writer's block: scopes differ.
  struct Heads {
    const Knowledge* device = nullptr;
    const Knowledge* block = nullptr;
  };
  // Nothing lies anywhere: reading and clearing can be left out.
  bool empty() const { return !used_.load(std::memory_order_relaxed); }
  // A strong write of a thread of this block. It replaces what lay there, or joins it (an atomic
  // continues a release sequence).
  void Write(uint64_t address, uint32_t bytes, uint64_t block, Heads heads, bool join,
             KnowledgeMaker& maker);
  Heads Read(uint64_t address, uint32_t bytes, uint64_t block, KnowledgeMaker& maker);
  void Clear();

 private:
  struct Word {
    Heads now;
    // With what lay there before the last write: a reader may have taken the value of then.
    Heads readable;
    uint64_t block = ~uint64_t{0};  // of the last writer
  };
  static void Replace(Word& word, uint64_t block, Heads heads, KnowledgeMaker& maker);
  struct Cell {  // 16 aligned bytes
    Word words[4];
  };
  struct alignas(64) Shard {
    std::mutex mutex;
    std::unordered_map<uint64_t, Cell> cells;
  };
  static constexpr uint64_t kShards = 64;
  Shard& ShardOf(uint64_t cell) { return shards_[(cell ^ cell >> 6 ^ cell >> 12) % kShards]; }
  Shard shards_[kShards];
  std::atomic<bool> used_{false};
};

}  // namespace softgpu
