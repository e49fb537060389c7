// ldmatrix, stmatrix, movmatrix: 8 x 8 matrices of 16 bits between shared memory and fragments. A
// fragment register's slot read as one array is the matrix, row by row, so a row is one copy of 16
// bytes. Lane 8m + r holds the address of row r of matrix m.
#include <cstring>
#include <string>

#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/matrix_tiles.h"
#include "tests/softgpu/machine/ops_matrix.h"
#include "tests/softgpu/machine/ops_memory.h"
#include "tests/softgpu/machine/races.h"

namespace softgpu {
namespace {

constexpr int kRowBytes = 16;
constexpr int kMatrixBytes = 8 * kRowBytes;

// Inst::extra is the AccessSpec; a: matrices; b: transposed; r: their registers.

// A matrix and its bytes' shadow, a byte each (not 0: unwritten).
struct Tile {
  alignas(16) uint8_t data[kMatrixBytes];
  alignas(16) uint8_t shadow[kMatrixBytes];
};

void Transpose(uint8_t* matrix) {
  matrix::H8 rows[8];
  std::memcpy(rows, matrix, sizeof(rows));
  matrix::Transpose8x8(rows);
  std::memcpy(matrix, rows, sizeof(rows));
}

// Four bytes of a lane's shadow as its shadow bits, and back.
uint8_t PackShadow(const uint8_t* bytes) {
  uint8_t bits = 0;
  for (int b = 0; b < 4; ++b) bits |= static_cast<uint8_t>((bytes[b] != 0) << b);
  return bits;
}
void UnpackShadow(uint8_t bits, uint8_t* bytes) {
  for (int b = 0; b < 4; ++b) bytes[b] = bits >> b & 1;
}

// Of a row that no lane gave an address for, nothing is known.
void LoadRow(const Reached& reached, int lane, uint8_t* data, uint8_t* shadow) {
  if (!(reached.access.mask >> lane & 1)) {
    std::memset(shadow, 1, kRowBytes);
    return;
  }
  std::memcpy(data, LaneData(reached, lane), kRowBytes);
  const uint8_t* state = LaneState(reached, lane);
  for (int b = 0; b < kRowBytes; ++b) shadow[b] = state[b] == kUnwritten;
}

// The lanes that hold addresses, reached. False: they wait.
bool ReachRows(Warp& w, const Inst& i, Reached& reached) {
  if (!WholeWarp(w, i)) return false;
  const AccessSpec& spec = *static_cast<const AccessSpec*>(i.extra);
  uint64_t addresses[kLanes];
  const uint32_t exec = w.exec;
  w.exec &= i.a == 4 ? kAllLanes : (1u << (8 * i.a)) - 1;
  uint32_t rest = TakeAddresses(w, i, spec, addresses);
  w.exec = exec;
  reached.access.mask = 0;
  if (rest == 0) return true;
  Reach(w, i, spec, addresses, &rest, reached);
  if (rest || (reached.access.mask && reached.access.space != ptx::Space::kShared)) {
    Report(w, i, static_cast<int>(reached.access.first), Check::kOutOfBounds,
           "a matrix row that is not in shared memory");
    throw LaunchFault{kErrorIllegalAddress};
  }
  return true;
}

void LoadMatrix(Warp& w, const Inst& i) {
  Reached reached;
  if (!ReachRows(w, i, reached)) return;
  const uint32_t wanted = i.a == 4 ? kAllLanes : (1u << (8 * i.a)) - 1;
  const bool written = reached.written && reached.access.mask == wanted;
  if (written) FillLanes(reached);
  if (written && !i.b) {
    for (int m = 0; m < static_cast<int>(i.a); ++m) {
      uint8_t* const slot = Slot(w, i.r[m]);  // lanes that are not here have ended
      for (int row = 0; row < 8; ++row) {
        std::memcpy(slot + kRowBytes * row, reached.data[8 * m + row], kRowBytes);
      }
      std::memset(Shadow(w, i.r[m], 4), 0, kLanes);
    }
    return;
  }
  Tile tiles[4];
  for (int m = 0; m < static_cast<int>(i.a); ++m) {
    Tile& tile = tiles[m];
    for (int row = 0; row < 8; ++row) {
      if (written) {
        std::memcpy(tile.data + kRowBytes * row, reached.data[8 * m + row], kRowBytes);
      } else {
        LoadRow(reached, 8 * m + row, tile.data + kRowBytes * row, tile.shadow + kRowBytes * row);
      }
    }
    if (i.b) Transpose(tile.data);
    if (i.b && !written) Transpose(tile.shadow);
  }
  for (int m = 0; m < static_cast<int>(i.a); ++m) {
    uint32_t words[kLanes];
    std::memcpy(words, tiles[m].data, sizeof(words));
    Put(w, i.r[m], words);
    if (written) {
      ClearShadow(w, i.r[m], 4);
      continue;
    }
    uint8_t shadow[kLanes];
    for (int l = 0; l < kLanes; ++l) shadow[l] = PackShadow(tiles[m].shadow + 4 * l);
    PutShadow(w, i.r[m], 4, shadow);
  }
}

// The matrix in a register; lanes that are not here have nothing.
void FromRegister(const Warp& w, Ref r, bool transposed, Tile& tile) {
  std::memcpy(tile.data, Slot(w, r), kMatrixBytes);
  const uint8_t* shadow = Shadow(w, r, 4);
  for (int l = 0; l < kLanes; ++l) {
    UnpackShadow(w.exec >> l & 1 ? shadow[l] : 0xf, tile.shadow + 4 * l);
  }
  if (!transposed) return;
  Transpose(tile.data);
  Transpose(tile.shadow);
}

void StoreMatrix(Warp& w, const Inst& i) {
  Reached reached;
  if (!ReachRows(w, i, reached)) return;
  for (int m = 0; m < static_cast<int>(i.a); ++m) {
    Tile tile;
    FromRegister(w, i.r[m], i.b, tile);
    for (int row = 0; row < 8; ++row) {
      const int lane = 8 * m + row;
      if (!(reached.access.mask >> lane & 1)) continue;
      std::memcpy(LaneData(reached, lane), tile.data + kRowBytes * row, kRowBytes);
      uint8_t* state = LaneState(reached, lane);
      const uint8_t* shadow = tile.shadow + kRowBytes * row;
      for (int b = 0; b < kRowBytes; ++b) state[b] = shadow[b] ? kUnwritten : kWritten;
    }
  }
  if (w.block->races) w.block->races->OnWritten();
}

void MoveMatrix(Warp& w, const Inst& i) {
  if (!WholeWarp(w, i)) return;
  Tile tile;
  FromRegister(w, i.r[1], true, tile);
  uint32_t words[kLanes];
  uint8_t shadow[kLanes];
  std::memcpy(words, tile.data, sizeof(words));
  for (int l = 0; l < kLanes; ++l) shadow[l] = PackShadow(tile.shadow + 4 * l);
  Put(w, i.r[0], words);
  PutShadow(w, i.r[0], 4, shadow);
}

// ldmatrix d, [a]; stmatrix [a], s.
void BuildMemory(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const bool load = instruction.words[0] == "ldmatrix";
  if (!load && decoder.target() < 90) words.Refuse("needs sm_90");
  if (!words.Take("sync") || !words.Take("aligned")) words.Refuse("must be .sync.aligned");
  // ptxas takes these in any order, and CUTLASS has them in another one than the manual.
  int count = -1;
  bool shape = false;
  for (;;) {
    if (const int taken = words.TakeOneOf({"x1", "x2", "x4"}); taken >= 0) {
      count = taken;
    } else if (words.Take("m8n8")) {
      shape = true;
    } else if (words.Take("trans")) {
      inst.b = true;
    } else {
      break;
    }
  }
  if (!shape) words.Refuse("only .m8n8 is covered");
  if (count < 0) words.Refuse("the number of matrices must be x1, x2 or x4");
  AccessSpec spec;
  if (words.TakeOneOf({"shared", "shared::cta"}) >= 0) spec.space = ptx::Space::kShared;
  if (!words.Take("b16")) words.Refuse("the type must be b16");
  words.Finish();
  decoder.Operands(2);
  const ptx::Operand& fragment = instruction.operands[load ? 0 : 1];
  const Decoder::Address address =
      decoder.TakeAddress(instruction.operands[load ? 1 : 0], spec.space);
  inst.a = 1u << count;
  const auto elements = Decoder::Elements(fragment);
  if (elements.size() != inst.a) {
    words.Refuse("a fragment has " + std::to_string(elements.size()) + " registers, needs " +
                 std::to_string(inst.a));
  }
  for (uint32_t m = 0; m < inst.a; ++m) {
    inst.r[m] = load ? decoder.Destination(*elements[m], Type::kB32)
                     : decoder.Source(*elements[m], Type::kB32);
  }
  spec.base = address.base;
  spec.narrow = address.narrow;
  spec.offset = address.offset;
  spec.bytes = kRowBytes;
  spec.write = !load;
  inst.exec = load ? LoadMatrix : StoreMatrix;
  inst.klass = load ? InstClass::kMatrixLoad : InstClass::kStoreShared;
  inst.extra = decoder.code().Keep<AccessSpec>(spec);
}

void BuildMove(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (!words.Take("sync") || !words.Take("aligned")) words.Refuse("must be .sync.aligned");
  if (!words.Take("m8n8") || !words.Take("trans") || !words.Take("b16")) {
    words.Refuse("must be .m8n8.trans.b16");
  }
  words.Finish();
  decoder.Operands(2);
  inst.exec = MoveMatrix;
  inst.klass = InstClass::kWarpOp;
  inst.r[0] = decoder.Destination(instruction.operands[0], Type::kB32);
  inst.r[1] = decoder.Source(instruction.operands[1], Type::kB32);
}

}  // namespace

void AddMatrixMemoryOps(BuilderTable& table) {
  table["ldmatrix"] = BuildMemory;
  table["stmatrix"] = BuildMemory;
  table["movmatrix"] = BuildMove;
}

}  // namespace softgpu
