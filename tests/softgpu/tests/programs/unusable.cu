// Built in the ways that softgpu can't run; it looks at no errors.
#include "program.h"

int main() {
  Fill<<<1, 32>>>(nullptr, 0, 1);
  cudaDeviceSynchronize();
  return 0;
}
