// How the warps of the implicit GEMM read their pixels from a halo in shared memory, tap by tap.
#pragma once

#include "kernels/cuda/conv_gemm_kernel.h"
#include "kernels/cuda/ptx.cuh"

namespace lseg::cuda {

// Walks through the taps of the chunks. A k step is 32 bytes of channels.
template <class Tile>
class PixelReader {
 public:
  __device__ PixelReader(uint32_t halo, int halos) : halo_begin_(halo), halo_(halo), halos_(halos) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    // Matrices of ldmatrix: pixels 0-7, pixels 8-15 of the first 16 bytes; the same of the second.
    column_ = lane % 16;
    segment_ = lane / 16;
    row_ = warp / Tile::kWarpsN * Tile::kFragmentsM;
    SetPixels();
  }

  __device__ void Load(int k, uint32_t (&a)[Tile::kFragmentsM][4]) const {
#pragma unroll
    for (int m = 0; m < Tile::kFragmentsM; ++m) {
      LdmatrixX4(a[m], (pixels_ ^ (k * 32)) + m * Tile::kHaloWidth * kRowBytes);
    }
  }

  __device__ void NextTap() {
    if (++tap_x_ == 3) {
      tap_x_ = 0;
      if (++tap_y_ == 3) {
        tap_y_ = 0;
        halo_ = halos_ > 1 && halo_ == halo_begin_ ? halo_begin_ + Tile::kHaloBytes : halo_begin_;
      }
    }
    SetPixels();
  }

 private:
  __device__ void SetPixels() {
    const int column = column_ + tap_x_;
    pixels_ = halo_ + ((row_ + tap_y_) * Tile::kHaloWidth + column) * kRowBytes +
              SwizzledByte(column, segment_ * 16);
  }

  uint32_t halo_begin_, halo_;
  int halos_;
  uint32_t pixels_;
  int column_, segment_, row_;
  int tap_y_ = 0, tap_x_ = 0;
};

}  // namespace lseg::cuda
