// Faults of host code, one a case: "host_faults CASE" has the fault, "host_faults CASE fixed" is
// the same program without it. The line that softgpu has to name ends in "// found: CASE".
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "program.h"

namespace {

constexpr int kN = 256;
constexpr size_t kBytes = kN * sizeof(int);
constexpr cudaMemcpyKind kUp = cudaMemcpyDeviceToHost, kDown = cudaMemcpyHostToDevice;

int* Device(int value) {
  int* device = nullptr;
  OK(cudaMalloc(&device, kBytes));
  Fill<<<1, 64>>>(device, kN, value);
  OK(cudaDeviceSynchronize());
  return device;
}

void CopyOutOfRange(bool fixed) {
  int* device = Device(1);
  std::vector<int> host(kN + 1);
  const size_t bytes = kBytes + (fixed ? 0 : sizeof(int));
  (void)cudaMemcpy(host.data(), device, bytes, cudaMemcpyDeviceToHost);  // found: copy-range
  OK(cudaFree(device));
}

void CopyDirection(bool fixed) {
  int* device = Device(1);
  std::vector<int> host(kN);
  const auto kind = fixed ? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice;
  (void)cudaMemcpy(host.data(), device, kBytes, kind);  // found: copy-direction
  OK(cudaFree(device));
}

void CopyFreed(bool fixed) {
  int* device = Device(1);
  std::vector<int> host(kN);
  if (!fixed) OK(cudaFree(device));
  (void)cudaMemcpy(host.data(), device, kBytes, cudaMemcpyDeviceToHost);  // found: copy-freed
  if (fixed) OK(cudaFree(device));
}

void DoubleFree(bool fixed) {
  int* device = Device(1);
  OK(cudaFree(device));
  if (!fixed) (void)cudaFree(device);  // found: double-free
}

void FreeInside(bool fixed) {
  int* device = Device(1);
  (void)cudaFree(device + (fixed ? 0 : 1));  // found: free-inside
  if (!fixed) OK(cudaFree(device));
}

void Leak(bool fixed) {
  int* device = nullptr;
  OK(cudaMalloc(&device, kBytes));  // found: leak
  if (fixed) OK(cudaFree(device));
}

void PinnedLeak(bool fixed) {
  int* pinned = nullptr;
  OK(cudaMallocHost(&pinned, kBytes));  // found: pinned-leak
  if (fixed) OK(cudaFreeHost(pinned));
}

struct Pinned {
  int *host = nullptr, *device = Device(1);
  cudaStream_t stream = nullptr;
  Pinned() {
    OK(cudaMallocHost(&host, kBytes));
    std::memset(host, 0, kBytes);
    OK(cudaStreamCreate(&stream));
  }
  ~Pinned() {
    OK(cudaStreamDestroy(stream));
    OK(cudaFreeHost(host));
    OK(cudaFree(device));
  }
  void Wait() const { OK(cudaStreamSynchronize(stream)); }
};

void PinnedSource(bool fixed) {
  const Pinned p;
  OK(cudaMemcpyAsync(p.device, p.host, kBytes, kDown, p.stream));  // found: pinned-source
  if (fixed) p.Wait();
  p.host[7] = 1;
  p.Wait();
}

void PinnedDestination(bool fixed) {
  const Pinned p;
  OK(cudaMemcpyAsync(p.host, p.device, kBytes, kUp, p.stream));  // found: pinned-destination
  if (fixed) p.Wait();
  p.host[7] = 1;
  p.Wait();
}

void PinnedRead(bool fixed) {
  const Pinned p;
  OK(cudaMemcpyAsync(p.host, p.device, kBytes, kUp, p.stream));  // found: pinned-read
  if (fixed) p.Wait();
  const volatile int value = p.host[7];
  p.Wait();
  CHECK(value == 1 || !fixed);
}

void KernelOnFreed(bool fixed) {
  int* device = Device(1);
  if (!fixed) OK(cudaFree(device));
  Fill<<<1, 64>>>(device, kN, 2);
  const cudaError_t error = cudaDeviceSynchronize();
  CHECK((error == cudaSuccess) == fixed);
  if (fixed) OK(cudaFree(device));
}

void Uninitialised(bool fixed) {
  int* device = nullptr;
  OK(cudaMalloc(&device, kBytes));
  Fill<<<1, 64>>>(device, fixed ? kN : kN - 1, 2);
  std::vector<int> host(kN);
  OK(cudaMemcpy(host.data(), device, kBytes, cudaMemcpyDeviceToHost));  // found: uninitialised
  OK(cudaFree(device));
}

void UninitialisedCopied(bool fixed) {
  int *a = nullptr, *b = Device(1);
  OK(cudaMalloc(&a, kBytes));
  if (fixed) OK(cudaMemset(a, 0, kBytes));
  OK(cudaMemcpy(b + 8, a + 8, 4 * sizeof(int), cudaMemcpyDeviceToDevice));
  std::vector<int> host(kN);
  OK(cudaMemcpy(host.data(), b, kBytes, cudaMemcpyDeviceToHost));  // found: uninitialised-copied
  OK(cudaFree(a));
  OK(cudaFree(b));
}

void LaunchLimit(bool fixed) {
  int* device = Device(1);
  Fill<<<1, fixed ? 1024 : 1025>>>(device, kN, 2);  // found: launch-limit
  OK(cudaFree(device));
}

// Of these a run sees only one order: some seed has to choose the bad one.
void MissingEvent(bool fixed) {
  cudaStream_t first, second;
  cudaEvent_t written;
  OK(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  OK(cudaEventCreate(&written));
  int* device = Device(1);
  std::vector<int> host(kN);
  Fill<<<1, 64, 0, first>>>(device, kN, 2);
  OK(cudaEventRecord(written, first));
  if (fixed) OK(cudaStreamWaitEvent(second, written, 0));
  OK(cudaMemcpyAsync(host.data(), device, kBytes, cudaMemcpyDeviceToHost, second));
  for (int value : host) CHECK(value == 2);
  OK(cudaDeviceSynchronize());
  OK(cudaFree(device));
  OK(cudaStreamDestroy(first));
  OK(cudaStreamDestroy(second));
  OK(cudaEventDestroy(written));
}

// A stream that does not block knows nothing of stream 0.
void NonBlocking(bool fixed) {
  cudaStream_t stream;
  OK(cudaStreamCreateWithFlags(&stream, fixed ? cudaStreamDefault : cudaStreamNonBlocking));
  int *a = Device(1), *b = Device(2);
  Fill<<<1, 64>>>(a, kN, 5);
  Add<<<1, 64, 0, stream>>>(b, a, kN);
  OK(cudaDeviceSynchronize());
  std::vector<int> host(kN);
  OK(cudaMemcpy(host.data(), b, kBytes, cudaMemcpyDeviceToHost));
  for (int value : host) CHECK(value == 7);
  OK(cudaFree(a));
  OK(cudaFree(b));
  OK(cudaStreamDestroy(stream));
}

// Freed in one stream while another one still reads it.
void FreedInOtherStream(bool fixed) {
  cudaStream_t first, second;
  OK(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  int *a = nullptr, *b = Device(1);
  OK(cudaMallocAsync(&a, kBytes, first));
  Fill<<<1, 64, 0, first>>>(a, kN, 1);
  OK(cudaStreamSynchronize(first));
  Add<<<1, 64, 0, second>>>(b, a, kN);
  if (fixed) OK(cudaStreamSynchronize(second));
  OK(cudaFreeAsync(a, first));
  OK(cudaDeviceSynchronize());
  OK(cudaFree(b));
  OK(cudaStreamDestroy(first));
  OK(cudaStreamDestroy(second));
}

__constant__ int table[4];

void SymbolRange(bool fixed) {
  const int values[4] = {};
  (void)cudaMemcpyToSymbol(table, values, sizeof(values), fixed ? 0 : 4);  // found: symbol-range
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, std::function<void(bool)>> cases = {
      {"copy-range", CopyOutOfRange},
      {"copy-direction", CopyDirection},
      {"copy-freed", CopyFreed},
      {"symbol-range", SymbolRange},
      {"double-free", DoubleFree},
      {"free-inside", FreeInside},
      {"leak", Leak},
      {"pinned-leak", PinnedLeak},
      {"pinned-source", PinnedSource},
      {"pinned-destination", PinnedDestination},
      {"pinned-read", PinnedRead},
      {"kernel-freed", KernelOnFreed},
      {"uninitialised", Uninitialised},
      {"uninitialised-copied", UninitialisedCopied},
      {"launch-limit", LaunchLimit},
      {"missing-event", MissingEvent},
      {"non-blocking", NonBlocking},
      {"freed-in-other-stream", FreedInOtherStream},
  };
  const auto chosen = cases.find(argc > 1 ? argv[1] : "");
  CHECK(chosen != cases.end());
  chosen->second(argc > 2);
  return 0;
}
