// winograd.h with products in f32, for every instruction set, and what does not depend on types.
#include "kernels/cpu/simd_targets.h"
#include "kernels/cpu/winograd.h"
#include "kernels/runtime/integers.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/winograd_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lseg {
namespace HWY_NAMESPACE {
namespace {

void Convolve(const WinogradShape& s, const Conv3x3Args<float>& args, const WinogradJob& job) {
  if (s.tile == 2) {
    if (s.block == 8) return ConvolveJob<BlockedF32, ProductsF32, 8, 2>(s, args, job);
    return ConvolveJob<BlockedF32, ProductsF32, 16, 2>(s, args, job);
  }
  if (s.block == 8) return ConvolveJob<BlockedF32, ProductsF32, 8, 4>(s, args, job);
  ConvolveJob<BlockedF32, ProductsF32, 16, 4>(s, args, job);
}

void ConvolveBf16(const WinogradShape& s, const Conv3x3Args<BFloat16, float>& args,
                  const WinogradJob& job) {
  ConvolveJob<NhwcBF16, ProductsF32, 16, 4>(s, args, job);
}

void Pack(const WinogradShape& s, const float* weight, bool transposed, int64_t panel,
          float* packed) {
  if (s.tile == 2) {
    if (s.block == 8) return PackPanel<ProductsF32, 8, 2>(s, weight, transposed, panel, packed);
    return PackPanel<ProductsF32, 16, 2>(s, weight, transposed, panel, packed);
  }
  if (s.block == 8) return PackPanel<ProductsF32, 8, 4>(s, weight, transposed, panel, packed);
  PackPanel<ProductsF32, 16, 4>(s, weight, transposed, panel, packed);
}

int64_t Panel(int64_t block) { return block == 8 ? PanelSize<8>() : PanelSize<16>(); }

int64_t TileRows() { return kTileRows; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lseg
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lseg {

HWY_EXPORT(Convolve);
HWY_EXPORT(ConvolveBf16);
HWY_EXPORT(Pack);
HWY_EXPORT(Panel);
HWY_EXPORT(TileRows);

int64_t WinogradPanelSize(int64_t block) { return HWY_DYNAMIC_DISPATCH(Panel)(block); }

int64_t WinogradPanels(const WinogradShape& shape) {
  const int64_t panel = WinogradPanelSize(shape.block);
  return CeilDiv(shape.OutBlocks() * shape.block, panel);
}

int64_t WinogradTileRows() { return HWY_DYNAMIC_DISPATCH(TileRows)(); }

int64_t WinogradPackedCount(const WinogradShape& shape) {
  return WinogradPanels(shape) * WinogradPanelSize(shape.block) * shape.Positions() *
         shape.InBlocks() * shape.block;
}

int64_t WinogradScratchBytes(const WinogradShape& shape, int64_t tiles, int64_t value_bytes) {
  return shape.Positions() * (WinogradSrcPlane(shape, tiles, value_bytes) * value_bytes +
                              WinogradProductPlane(shape, tiles) * int64_t{sizeof(float)});
}

void WinogradPackWeights(const WinogradShape& shape, const float* weight, bool transposed,
                         int64_t panel, float* packed) {
  HWY_DYNAMIC_DISPATCH(Pack)(shape, weight, transposed, panel, packed);
}

void WinogradConvolve(const WinogradShape& shape, const Conv3x3Args<float>& args,
                      const WinogradJob& job) {
  HWY_DYNAMIC_DISPATCH(Convolve)(shape, args, job);
}

void WinogradConvolve(const WinogradShape& shape, const Conv3x3Args<BFloat16, float>& args,
                      const WinogradJob& job) {
  HWY_DYNAMIC_DISPATCH(ConvolveBf16)(shape, args, job);
}

}  // namespace lseg
#endif
