// What streams and events promise, used to the full: any order that softgpu may choose gives the
// same results.
#include <atomic>
#include <thread>
#include <vector>

#include "program.h"

namespace {

constexpr int kN = 300;

struct Buffers {
  int *a = nullptr, *b = nullptr, *c = nullptr;
  Buffers() {
    for (int** p : {&a, &b, &c}) OK(cudaMalloc(p, kN * sizeof(int)));
  }
  ~Buffers() {
    for (int* p : {a, b, c}) OK(cudaFree(p));
  }
  // Synchronous with stream 0.
  static bool Holds(const int* device, int value) {
    std::vector<int> host(kN);
    OK(cudaMemcpy(host.data(), device, kN * sizeof(int), cudaMemcpyDeviceToHost));
    for (int v : host) {
      if (v != value) return false;
    }
    return true;
  }
};

void TestEvents(const Buffers& m) {
  cudaStream_t s[2];
  cudaEvent_t ready, done;
  for (cudaStream_t& stream : s) {
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  }
  OK(cudaEventCreateWithFlags(&ready, cudaEventDisableTiming));
  OK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
  for (int round = 1; round <= 5; ++round) {
    Fill<<<2, 64, 0, s[0]>>>(m.a, kN, round);
    OK(cudaEventRecord(ready, s[0]));
    OK(cudaStreamWaitEvent(s[1], ready, 0));
    Fill<<<2, 64, 0, s[1]>>>(m.b, kN, 10);
    Add<<<2, 64, 0, s[1]>>>(m.b, m.a, kN);
    OK(cudaEventRecord(done, s[1]));
    OK(cudaStreamWaitEvent(s[0], done, 0));  // before the next round overwrites m.a
    OK(cudaEventSynchronize(done));
    CHECK(Buffers::Holds(m.b, 10 + round));
  }
  for (cudaStream_t stream : s) OK(cudaStreamDestroy(stream));
  OK(cudaEventDestroy(ready));
  OK(cudaEventDestroy(done));
}

void TestLegacyStream(const Buffers& m) {
  cudaStream_t s[2];
  for (cudaStream_t& stream : s) OK(cudaStreamCreate(&stream));
  Fill<<<2, 64, 0, s[0]>>>(m.a, kN, 1);
  Fill<<<2, 64, 0, s[1]>>>(m.b, kN, 2);
  Add<<<2, 64>>>(m.a, m.b, kN);           // after both
  Add<<<2, 64, 0, s[1]>>>(m.b, m.a, kN);  // after that
  OK(cudaStreamDestroy(s[1]));            // its work goes on
  CHECK(Buffers::Holds(m.b, 5));
  CHECK(Buffers::Holds(m.a, 3));
  OK(cudaStreamDestroy(s[0]));
}

void TestPolling(const Buffers& m) {
  cudaStream_t stream;
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaEvent_t event;
  OK(cudaEventCreate(&event));
  OK(cudaEventQuery(event));  // never recorded: done
  Fill<<<2, 64, 0, stream>>>(m.a, kN, 1);
  Add<<<2, 64, 0, stream>>>(m.a, m.a, kN);
  OK(cudaEventRecord(event, stream));
  while (cudaEventQuery(event) == cudaErrorNotReady) {
  }
  OK(cudaStreamQuery(stream));
  CHECK(Buffers::Holds(m.a, 2));
  Fill<<<2, 64, 0, stream>>>(m.a, kN, 3);
  while (cudaStreamQuery(stream) == cudaErrorNotReady) {
  }
  CHECK(Buffers::Holds(m.a, 3));
  cudaGetLastError();
  OK(cudaEventDestroy(event));
  OK(cudaStreamDestroy(stream));
}

void TestHostFunctions(const Buffers& m) {
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  int* pinned = nullptr;
  OK(cudaMallocHost(&pinned, kN * sizeof(int)));
  static int sum, order, refused;
  sum = order = refused = 0;
  Fill<<<2, 64, 0, stream>>>(m.a, kN, 2);
  OK(cudaMemcpyAsync(pinned, m.a, kN * sizeof(int), cudaMemcpyDeviceToHost, stream));
  // May read what was copied, and write what is copied next.
  OK(cudaLaunchHostFunc(
      stream,
      [](void* data) {
        int* values = static_cast<int*>(data);
        for (int i = 0; i < kN; ++i) {
          sum += values[i];
          values[i] = 9;
        }
        order = order * 10 + 1;
        refused = cudaFree(nullptr);  // no calls in here
      },
      pinned));
  OK(cudaMemcpyAsync(m.b, pinned, kN * sizeof(int), cudaMemcpyHostToDevice, stream));
  OK(cudaStreamAddCallback(
      stream,
      [](cudaStream_t, cudaError_t status, void*) {
        if (status == cudaSuccess) order = order * 10 + 2;
      },
      nullptr, 0));
  OK(cudaStreamSynchronize(stream));
  CHECK(sum == 2 * kN && order == 12 && refused == cudaErrorNotPermitted);
  CHECK(Buffers::Holds(m.b, 9));
  OK(cudaFreeHost(pinned));
  OK(cudaStreamDestroy(stream));
}

void TestTimes(const Buffers& m) {
  cudaEvent_t start, middle, end;
  OK(cudaEventCreate(&start));
  OK(cudaEventCreate(&middle));
  OK(cudaEventCreate(&end));
  OK(cudaEventRecord(start));
  Fill<<<2, 64>>>(m.a, kN, 1);
  OK(cudaEventRecord(middle));
  for (int i = 0; i < 20; ++i) Fill<<<2, 64>>>(m.a, kN, 1);
  OK(cudaEventRecord(end));
  float first = -1, second = -1;
  FAILS(cudaEventElapsedTime(&first, start, end), cudaErrorNotReady);
  OK(cudaEventSynchronize(end));
  OK(cudaEventElapsedTime(&first, start, middle));
  OK(cudaEventElapsedTime(&second, middle, end));
  CHECK(first > 0 && second > 5 * first);
  for (cudaEvent_t event : {start, middle, end}) OK(cudaEventDestroy(event));
  FAILS(cudaEventSynchronize(start), cudaErrorInvalidResourceHandle);
}

void TestThreads(const Buffers& m) {
  std::vector<std::thread> threads;
  for (int* buffer : {m.a, m.b, m.c}) {
    threads.emplace_back([buffer] {
      Fill<<<2, 64, 0, cudaStreamPerThread>>>(buffer, kN, 4);
      for (int i = 0; i < 3; ++i) Add<<<2, 64, 0, cudaStreamPerThread>>>(buffer, buffer, kN);
      OK(cudaStreamSynchronize(cudaStreamPerThread));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int* buffer : {m.a, m.b, m.c}) CHECK(Buffers::Holds(buffer, 32));
}

void TestStreamsThemselves() {
  int least = 0, greatest = 0, priority = 1;
  OK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  CHECK(least == 0 && greatest < 0);
  cudaStream_t stream;
  OK(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
  unsigned flags = 0;
  OK(cudaStreamGetFlags(stream, &flags));
  OK(cudaStreamGetPriority(stream, &priority));
  CHECK(flags == cudaStreamNonBlocking && priority == greatest);
  OK(cudaStreamDestroy(stream));
  FAILS(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
}

}  // namespace

int main() {
  {
    const Buffers buffers;
    TestEvents(buffers);
    TestLegacyStream(buffers);
    TestPolling(buffers);
    TestHostFunctions(buffers);
    TestTimes(buffers);
    TestThreads(buffers);
  }
  TestStreamsThemselves();
  return 0;
}
