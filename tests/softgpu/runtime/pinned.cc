#include "tests/softgpu/runtime/pinned.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "tests/softgpu/runtime/runtime.h"

namespace softgpu {
namespace {

bool Overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

bool Overlaps(const Region& region, const Extent& extent, uint64_t address, uint64_t bytes) {
  return Overlap(region.address, Span(region, extent), address, bytes);
}

// Some parameter of the kernel looks like a pointer into the host range. (Pointers that lie in
// device memory are not seen: such a kernel is taken not to touch it.)
bool MayTouch(const KernelWork& kernel, const HostRange& range) {
  const std::vector<uint8_t>& params = kernel.config.params;
  const auto first = reinterpret_cast<uintptr_t>(range.address);
  for (size_t at = 0; at + 8 <= params.size(); at += 8) {
    uint64_t value;
    std::memcpy(&value, &params[at], 8);
    if (value - first < range.bytes) return true;
  }
  return false;
}

struct Use {
  bool read = false, written = false;
};

// What queued work may do to the bytes before `op`. Copies whose destination they are count as
// writers, and with `copies_read` those whose source they are as readers.
Use QueuedUse(Runtime& runtime, uint64_t address, uint64_t bytes, const HostRange& range) {
  Use use;
  for (const OpPtr& op : runtime.streams.pending()) {
    if (std::holds_alternative<HostWork>(op->work)) {
      use.read = use.written = true;
    } else if (const auto* kernel = std::get_if<KernelWork>(&op->work)) {
      if (MayTouch(*kernel, range)) use.read = use.written = true;
    } else if (const auto* copy = std::get_if<CopyWork>(&op->work)) {
      if (!copy->dst_device && Overlaps(copy->dst, copy->extent, address, bytes)) {
        use.written = true;
      }
      // A checked source is settled where bytes are poisoned: see OnEnqueue.
      if (!copy->src_device && copy->source == CopyWork::Source::kLive &&
          Overlaps(copy->src, copy->extent, address, bytes)) {
        use.read = true;
      }
    } else if (const auto* fill = std::get_if<FillWork>(&op->work)) {
      if (!fill->dst_device && Overlaps(fill->dst, fill->extent, address, bytes)) {
        use.written = true;
      }
    }
  }
  return use;
}

size_t RoundUpToPages(size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

const uint8_t* HostBytes(const Region& region) {
  return reinterpret_cast<const uint8_t*>(region.address);
}

// Compares a pinned source with what it held when the copy was queued.
void CheckSource(Runtime& runtime, const CopyWork& copy, const CallSite& site) {
  const std::vector<uint8_t> now = PackRows(HostBytes(copy.src), copy.src, copy.extent);
  const auto [a, b] = std::mismatch(now.begin(), now.end(), copy.staged->begin());
  if (a == now.end()) return;
  runtime.Report(Check::kPinned, site,
                 "byte " + std::to_string(a - now.begin()) + " of its pinned source was changed " +
                     "before the copy was done: wait for the stream or an event first");
}

}  // namespace

void Pinned::OnEnqueue(Runtime& runtime, Op& op) {
  auto* copy = std::get_if<CopyWork>(&op.work);
  if (copy == nullptr || copy->waited || copy->extent.bytes() == 0 ||
      !runtime.findings().On(Check::kPinned)) {
    return;
  }
  if (!copy->src_device && copy->source == CopyWork::Source::kLive) {
    const uint64_t bytes = Span(copy->src, copy->extent);
    const HostRange* range = runtime.memory().FindHost(copy->src.address, bytes);
    if (range != nullptr &&
        runtime.managed.count(reinterpret_cast<uintptr_t>(range->address)) == 0 &&
        !QueuedUse(runtime, copy->src.address, bytes, *range).written) {
      copy->staged = std::make_shared<const std::vector<uint8_t>>(
          PackRows(HostBytes(copy->src), copy->src, copy->extent));
      copy->source = CopyWork::Source::kPinned;
    }
  }
  if (copy->dst_device) return;
  const uint64_t bytes = Span(copy->dst, copy->extent);
  const HostRange* range = runtime.memory().FindHost(copy->dst.address, bytes);
  if (range == nullptr || runtime.managed.count(reinterpret_cast<uintptr_t>(range->address)) != 0 ||
      (!copy->src_device && copy->source != CopyWork::Source::kStaged)) {
    return;
  }
  const Use use = QueuedUse(runtime, copy->dst.address, bytes, *range);
  if (use.read || use.written) return;
  // Queued copies out of these bytes get them now.
  for (const OpPtr& other : runtime.streams.pending()) {
    auto* source = std::get_if<CopyWork>(&other->work);
    if (source == nullptr || source->source != CopyWork::Source::kPinned ||
        !Overlaps(source->src, source->extent, copy->dst.address, bytes)) {
      continue;
    }
    CheckSource(runtime, *source, other->site);
    source->source = CopyWork::Source::kStaged;
  }
  auto* dst = reinterpret_cast<uint8_t*>(copy->dst.address);
  for (size_t z = 0; z < copy->extent.depth; ++z) {
    for (size_t y = 0; y < copy->extent.height; ++y) {
      std::memset(dst + z * copy->dst.slice + y * copy->dst.pitch, kPoison, copy->extent.width);
    }
  }
  copy->poisoned = true;
  const bool dense = copy->extent.height == 1 && copy->extent.depth == 1;
  if (!dense) return;
  // Behind the end of a whole block there is nothing else on its last page.
  const auto block = runtime.host_blocks.find(copy->dst.address);
  const bool whole = block != runtime.host_blocks.end() && block->second.is_ours &&
                     block->second.bytes == copy->extent.width;
  copy->guard = Guard(dst, whole ? RoundUpToPages(copy->extent.width) : copy->extent.width);
}

void Pinned::BeforeCopy(Runtime& runtime, CopyWork& copy, const CallSite& site) {
  if (copy.source == CopyWork::Source::kPinned) CheckSource(runtime, copy, site);
  const Touch touch = Release(copy.guard);
  copy.guard = -1;
  if (!copy.poisoned) return;
  if (touch.touched) {
    const std::string where = CallSite::Line(touch.instruction);
    runtime.Report(Check::kPinned, site,
                   "its pinned destination was touched" + (where.empty() ? "" : " at " + where) +
                       " before the copy was done: wait for the stream or an event first");
    return;
  }
  const std::vector<uint8_t> now = PackRows(HostBytes(copy.dst), copy.dst, copy.extent);
  const auto touched = std::find_if(now.begin(), now.end(), [](uint8_t b) { return b != kPoison; });
  if (touched == now.end()) return;
  runtime.Report(Check::kPinned, site,
                 "byte " + std::to_string(touched - now.begin()) +
                     " of its pinned destination was written before the copy was done: wait for "
                     "the stream or an event first");
}

void Pinned::OnDropped(const CopyWork& copy) { Release(copy.guard); }

void Pinned::AfterCopy(Runtime& runtime, const CopyWork& copy) {
  if (copy.dst_device) return;
  const uint64_t bytes = Span(copy.dst, copy.extent);
  for (const OpPtr& other : runtime.streams.pending()) {
    auto* queued = std::get_if<CopyWork>(&other->work);
    if (queued == nullptr || queued == &copy) continue;
    if (!queued->dst_device && Overlaps(queued->dst, queued->extent, copy.dst.address, bytes)) {
      queued->poisoned = false;
    }
    // A copy that was queued earlier in another stream, out of bytes that this one wrote: a race
    // of streams, told by its values.
    if (queued->source == CopyWork::Source::kPinned &&
        Overlaps(queued->src, queued->extent, copy.dst.address, bytes)) {
      queued->source = CopyWork::Source::kLive;
    }
  }
}

}  // namespace softgpu
