#include "tests/softgpu/runtime/guard_pages.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace softgpu {
namespace {

struct Slot {
  std::atomic<uintptr_t> begin{0}, end{0};  // 0: free
  std::atomic<bool> touched{false};
  std::atomic<const void*> instruction{nullptr};
};
constexpr int kSlots = 256;
Slot slots[kSlots];
struct sigaction previous_segv, previous_bus;

const void* Instruction(const void* context) {
  const auto* c = static_cast<const ucontext_t*>(context);
#if defined(__x86_64__)
  return reinterpret_cast<const void*>(c->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return reinterpret_cast<const void*>(c->uc_mcontext.pc);
#else
  (void)c;
  return nullptr;
#endif
}

// Only what a signal handler may do: atomics and mprotect.
void OnFault(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Slot& slot : slots) {
    const uintptr_t begin = slot.begin, end = slot.end;
    if (begin == 0 || address < begin || address >= end) continue;
    if (!slot.touched.exchange(true)) slot.instruction = Instruction(context);
    mprotect(reinterpret_cast<void*>(begin), end - begin, PROT_READ | PROT_WRITE);
    return;  // the instruction is tried again
  }
  // Not ours: it happens again under the program's own handler.
  sigaction(signal, signal == SIGBUS ? &previous_bus : &previous_segv, nullptr);
}

void Install() {
  struct sigaction action = {};
  action.sa_sigaction = OnFault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGSEGV, &action, &previous_segv);
  sigaction(SIGBUS, &action, &previous_bus);
}

}  // namespace

GuardSlot Guard(void* begin, size_t bytes) {
  static std::once_flag installed;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
  const uintptr_t last = (reinterpret_cast<uintptr_t>(begin) + bytes) / page * page;
  if (first >= last) return -1;
  for (int i = 0; i < kSlots; ++i) {
    Slot& slot = slots[i];
    if (slot.begin != 0) continue;
    std::call_once(installed, Install);
    slot.touched = false;
    slot.instruction = nullptr;
    slot.end = last;
    slot.begin = first;
    if (mprotect(reinterpret_cast<void*>(first), last - first, PROT_NONE) == 0) return i;
    slot.begin = 0;
    return -1;
  }
  return -1;
}

Touch Release(GuardSlot index) {
  if (index < 0) return {};
  Slot& slot = slots[index];
  mprotect(reinterpret_cast<void*>(slot.begin.load()), slot.end - slot.begin,
           PROT_READ | PROT_WRITE);
  slot.begin = 0;
  return {slot.touched, slot.instruction};
}

}  // namespace softgpu
