// CUTLASS's matrix products on tensor cores, as it ships them for sm_80: cp.async in several
// stages, ldmatrix plain and transposed, mma.sync, predicated edges. Kernels by other people.
// Values are small multiples of 1/8, so that every sum is exact and the answer equal, whatever the
// order.
#include <cutlass/gemm/device/gemm.h>

#include <cstdint>
#include <vector>

#include "program.h"

using cutlass::layout::ColumnMajor;
using cutlass::layout::RowMajor;

// dst = alpha a b + beta c, accumulated in f32. kAlign: elements a copy of a and b.
template <class T, class LayoutB, class Instruction, int kStages, int kAlign>
using Gemm = cutlass::gemm::device::Gemm<
    T, RowMajor, T, LayoutB, float, RowMajor, float, cutlass::arch::OpClassTensorOp,
    cutlass::arch::Sm80, cutlass::gemm::GemmShape<64, 64, 32>, cutlass::gemm::GemmShape<32, 32, 32>,
    Instruction, cutlass::epilogue::thread::LinearCombination<float, 1, float, float>,
    cutlass::gemm::threadblock::GemmIdentityThreadblockSwizzle<>, kStages, kAlign, kAlign>;

// k is contiguous in both: ldmatrix as it is. Copies of 4 bytes, so that any size goes.
using Tf32 = Gemm<cutlass::tfloat32_t, ColumnMajor, cutlass::gemm::GemmShape<16, 8, 8>, 3, 1>;
// n is contiguous in b: ldmatrix.trans. Copies of 16 bytes: k and n are multiples of 8.
using F16 = Gemm<cutlass::half_t, RowMajor, cutlass::gemm::GemmShape<16, 8, 16>, 4, 8>;

uint64_t state = 88172645463325252u;
template <class T>
std::vector<T> Values(int n) {
  std::vector<T> values;
  for (int i = 0; i < n; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    values.push_back(static_cast<T>(static_cast<float>(static_cast<int>(state % 33) - 16) / 8));
  }
  return values;
}

template <class T>
T* OnDevice(const std::vector<T>& host) {
  T* device = nullptr;
  OK(cudaMalloc(&device, host.size() * sizeof(T)));
  OK(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  return device;
}

template <class Gemm>
void Test(const char* name, int m, int n, int k) {
  using T = typename Gemm::ElementA;
  constexpr bool kColumns = cutlass::platform::is_same<typename Gemm::LayoutB, ColumnMajor>::value;
  const std::vector<T> a = Values<T>(m * k), b = Values<T>(k * n);
  std::vector<float> c = Values<float>(m * n), dst(c.size());
  T* const a_device = OnDevice(a);
  T* const b_device = OnDevice(b);
  float* const c_device = OnDevice(c);
  Gemm gemm;
  typename Gemm::Arguments arguments({m, n, k}, {a_device, k}, {b_device, kColumns ? k : n},
                                     {c_device, n}, {c_device, n}, {0.5f, 2.0f});
  CHECK(gemm(arguments) == cutlass::Status::kSuccess);
  OK(cudaMemcpy(dst.data(), c_device, dst.size() * sizeof(float), cudaMemcpyDeviceToHost));
  for (int row = 0; row < m; ++row) {
    for (int column = 0; column < n; ++column) {
      double sum = 0;
      for (int i = 0; i < k; ++i) {
        const T& factor = kColumns ? b[column * k + i] : b[i * n + column];
        sum += static_cast<double>(float(a[row * k + i])) * static_cast<double>(float(factor));
      }
      const int at = row * n + column;
      if (dst[at] == 0.5 * sum + 2.0 * c[at]) continue;
      std::printf("%s, m %d, n %d, k %d: row %d, column %d is %g, not %g\n", name, m, n, k, row,
                  column, dst[at], 0.5 * sum + 2.0 * c[at]);
      std::exit(1);
    }
  }
  OK(cudaFree(a_device));
  OK(cudaFree(b_device));
  OK(cudaFree(c_device));
}

int main() {
  Test<Tf32>("tf32", 64, 128, 64);
  Test<Tf32>("tf32", 67, 35, 77);
  Test<Tf32>("tf32", 1, 1, 1);
  Test<F16>("f16", 64, 64, 128);
  Test<F16>("f16", 97, 72, 136);
  Test<F16>("f16", 1, 8, 8);
  std::printf("all as expected\n");
}
