// CUB's device-wide algorithms, as shipped with the toolkit: kernels by other people, which look
// back at other blocks, shuffle, vote and use every width. Sizes are odd, keys of 32 and 64 bits.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cub/cub.cuh>
#include <numeric>
#include <vector>

#define CHECK(call)                                                              \
  do {                                                                           \
    const cudaError_t error = (call);                                            \
    if (error != cudaSuccess) {                                                  \
      std::printf("%s:%d: %s\n", __FILE__, __LINE__, cudaGetErrorString(error)); \
      std::exit(1);                                                              \
    }                                                                            \
  } while (0)

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t n) : n_(n) { CHECK(cudaMalloc(&data_, n * sizeof(T))); }
  explicit DeviceArray(const std::vector<T>& host) : DeviceArray(host.size()) {
    CHECK(cudaMemcpy(data_, host.data(), n_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { CHECK(cudaFree(data_)); }
  T* get() { return data_; }
  std::vector<T> Host() const {
    std::vector<T> host(n_);
    CHECK(cudaMemcpy(host.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  T* data_ = nullptr;
  size_t n_;
};

// Runs a CUB call twice, as its interface wants: for the size of its scratch, then for the work.
template <class F>
void Run(F call) {
  size_t bytes = 0;
  CHECK(call(nullptr, bytes));
  DeviceArray<uint8_t> scratch(bytes ? bytes : 1);
  CHECK(call(scratch.get(), bytes));
}

uint64_t state = 88172645463325252u;
uint64_t Next() {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

template <class T>
std::vector<T> Values(size_t n) {
  std::vector<T> v(n);
  for (T& x : v) x = static_cast<T>(Next());
  return v;
}

void Expect(bool good, const char* what, int bits, size_t n) {
  if (good) return;
  std::printf("%s of %zu %d-bit values is wrong\n", what, n, bits);
  std::exit(1);
}

template <class T>
void TestAll(int n) {
  const int bits = 8 * sizeof(T);
  const std::vector<T> host = Values<T>(n);
  DeviceArray<T> in(host), out(n), one(1);
  Run([&](void* s, size_t& b) { return cub::DeviceReduce::Sum(s, b, in.get(), one.get(), n); });
  Expect(one.Host()[0] == std::accumulate(host.begin(), host.end(), T{0}), "sum", bits, n);
  Run([&](void* s, size_t& b) { return cub::DeviceReduce::Max(s, b, in.get(), one.get(), n); });
  Expect(one.Host()[0] == *std::max_element(host.begin(), host.end()), "max", bits, n);

  std::vector<T> want(n);
  std::partial_sum(host.begin(), host.end(), want.begin());
  Run([&](void* s, size_t& b) {
    return cub::DeviceScan::InclusiveSum(s, b, in.get(), out.get(), n);
  });
  Expect(out.Host() == want, "scan", bits, n);

  DeviceArray<uint32_t> index_out(n);
  std::vector<uint32_t> index(n);
  std::iota(index.begin(), index.end(), 0);
  DeviceArray<uint32_t> index_in(index);
  Run([&](void* s, size_t& b) {
    return cub::DeviceRadixSort::SortPairs(s, b, in.get(), out.get(), index_in.get(),
                                           index_out.get(), n);
  });
  std::stable_sort(index.begin(), index.end(),
                   [&](uint32_t a, uint32_t b) { return host[a] < host[b]; });
  Expect(index_out.Host() == index, "sort", bits, n);
}

template <class T>
void TestHistogram(int n) {
  constexpr int kBins = 37;
  std::vector<T> host = Values<T>(n);
  for (T& x : host) x = static_cast<T>(x % 41);  // some beyond the last bin
  std::vector<int> want(kBins, 0);
  for (T x : host) {
    if (x < kBins) ++want[x];
  }
  DeviceArray<T> in(host);
  DeviceArray<int> bins(kBins);
  Run([&](void* s, size_t& b) {
    return cub::DeviceHistogram::HistogramEven(s, b, in.get(), bins.get(), kBins + 1, T{0},
                                               T{kBins}, n);
  });
  Expect(bins.Host() == want, "histogram", 8 * sizeof(T), n);
}

int main() {
  for (const int n : {1, 1000, 20011}) {
    TestAll<uint32_t>(n);
    TestAll<uint64_t>(n);
    TestHistogram<uint32_t>(n);
    TestHistogram<uint64_t>(n);
  }
  std::printf("all as expected\n");
}
