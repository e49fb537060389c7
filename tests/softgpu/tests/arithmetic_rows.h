// The coverage table of the arithmetic, read and expanded, and its instructions run: each alone in
// a kernel, a lane for every set of operands. The table is the list of the tests' cases.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "tests/softgpu/tests/run_ptx.h"

namespace softgpu::testing {

using Word = unsigned __int128;

// One row of the table, and one instruction of a row.
struct Row {
  std::string pattern, operands;
  int sm = 80;
  bool bits = false;  // unwritten: bit by bit
};
inline void PrintTo(const Row& row, std::ostream* out) { *out << row.pattern; }
struct Form {
  std::string mnemonic;
  std::vector<std::string> words;
  // Types, flat: the elements of vectors and pairs one by one. "pred": a predicate, "carry": the
  // carry flag.
  std::vector<std::string> results, sources;
  std::string operands;  // as the table has them
  int sm = 80;
  bool bits = false;
  uint32_t lut = 0;

  bool Has(const std::string& word) const;
  const std::string& type(size_t k) const { return types_[k]; }  // the k-th type word
  std::vector<std::string> types_;
};

std::vector<Row> ReadRows();
std::vector<Form> Expand(const Row& row);
// How many bits a register of the type has; 1 for predicates and the carry.
int RegisterBits(const std::string& type);
// How many bits count: 8 for .u8.
int TypeBits(const std::string& type);

// values[k][lane] of source k; unwritten[k][lane]: a bit a byte (a predicate has one).
struct Inputs {
  std::vector<std::vector<Word>> values;
  std::vector<std::vector<uint32_t>> unwritten;
  size_t lanes() const { return values.empty() ? 0 : values[0].size(); }
};
struct Outputs {
  std::vector<std::vector<Word>> values;
  std::vector<std::vector<uint32_t>> unwritten;
};
// Edge values first, against each other, then seeded random ones.
Inputs MakeInputs(const Form& form, uint64_t seed, size_t lanes);
// PTX of the instruction between its loads and stores.
Case KernelOf(const Form& form, const Inputs& inputs);
// Fails the running test where the launch does.
Outputs RunForm(const Form& form, const Inputs& inputs);

// What an oracle says of one result.
struct Expected {
  Word bits = 0;
  bool any_nan = false;  // f64: payloads are not promised
  int ulps = 0;          // distance allowed, in the format's places
  double relative = 0;   // or this relative error, for f64
};
// False: no such instruction in this oracle.
bool IntegerOracle(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out);
bool LogicOracle(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out);
bool FloatOracle(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out);
bool ConvertOracle(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out);
bool CompareOracle(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out);
// The one whose instruction it is; the test fails where none is.
std::vector<Expected> Oracle(const Form& form, const std::vector<Word>& in);

}  // namespace softgpu::testing
